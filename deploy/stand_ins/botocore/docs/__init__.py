"""Replaces botocore's documentation generator, except `utils`, which handlers use."""
