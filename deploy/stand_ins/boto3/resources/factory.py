"""What a boto3 session makes at once, whoever uses resources or not."""


class ResourceFactory:
    """Makes none."""

    def __init__(self, emitter: object) -> None:
        del emitter
