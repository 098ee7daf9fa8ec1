"""Instead of boto3's resources: this function uses clients."""
