"""The limits of an API Gateway WebSocket API, each with its source. Tests shorten them."""

from dataclasses import dataclass

KILOBYTE = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds. None of the quotas can be raised at AWS."""

    # API Gateway quota: WebSocket frame size, 32 KB. A larger one closes with 1009.
    frame: int = 32 * KILOBYTE
    # API Gateway quota: message payload size, 128 KB, in frames of at most 32 KB. Else 1009.
    message: int = 128 * KILOBYTE
    # The frame quota "also applies to @connections commands". The SDK's own model lets 128 KB
    # through, so what API Gateway does between the two is unconfirmed. Strict here: 413 over 32 KB.
    post: int = 32 * KILOBYTE
    # API Gateway quota: length of the URL, in characters. That the answer is 414 is unconfirmed.
    url: int = 4096
    # API Gateway quota: result of a Lambda authorizer, 8 KB. A longer one is an error.
    authorizer: int = 8 * KILOBYTE
    # API Gateway quota: integration timeout, 29 s for every type of integration.
    integration: float = 29.0
    # API Gateway quota: idle connection timeout, 10 minutes.
    idle: float = 10 * 60.0
    # API Gateway quota: connection duration, 2 hours.
    life: float = 2 * 60 * 60.0
    # What is buffered for a client that does not read, before a post gets 429. AWS documents that
    # there is such a buffer and not how large it is.
    client_buffer: int = 256 * KILOBYTE
    # The kernel's part of it (SO_SNDBUF; Linux doubles it). With the kernel's own default, it
    # would take megabytes before this process noticed.
    kernel_buffer: int = 64 * KILOBYTE
    # How long a client may take to answer a close frame (RFC 6455 leaves it open).
    closing: float = 5.0
    # An HTTP connection without a request in progress, or with an incomplete one. Longer than the
    # pause between two posts of one warm Lambda, so that keep-alive pays.
    http_idle: float = 350.0
    # How often the time limits above are enforced.
    sweep: float = 1.0


AWS_QUOTAS = Limits()
