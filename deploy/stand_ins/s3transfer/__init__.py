"""Replaces s3transfer, which transfers files from and to S3: the function does not."""
