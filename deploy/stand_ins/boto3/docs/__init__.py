"""Instead of what makes boto3's documentation."""
