"""What boto3.compat imports, whoever uses S3 or not."""


class TransferConfig:
    """Settings of copies that are not made."""

    UNSET_DEFAULT = object()  # by this boto3.compat tells the version
