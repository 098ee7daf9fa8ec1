"""Instead of s3transfer, which copies files from and to S3; nothing here does."""
