"""Replaces boto3's resources: the function uses clients."""
