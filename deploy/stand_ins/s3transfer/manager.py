"""The part of s3transfer that boto3.compat imports."""


class TransferConfig:
    """Settings of S3 transfers, which are not used."""

    UNSET_DEFAULT = object()  # boto3.compat derives the version from it
