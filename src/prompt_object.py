"""A system prompt that is too long for the environment: a version of an object in S3, read at init.

Rules
- The URL names one version, so each version of the function keeps the prompt it was published with.
- A prompt that cannot be read is a `SettingsError`: no question is answered without it.
- botocore signs and sends the request, without its client for S3, whose data the zip does not
  contain. All attempts together end within the ten seconds that Lambda allows for the init phase.

Imported only where `SYSTEM_PROMPT_OBJECT` is set. Does not know what the prompt is for.
"""

import re
import time
from collections.abc import Callable
from typing import Any

import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from settings import SettingsError

CONNECT_SECONDS = 1.0
READ_SECONDS = 1.5
# Before each further attempt. Refusals are repeated, too: a permission that was just granted takes
# some seconds to apply everywhere.
PAUSES = (0.5, 1.0)

_OK = 200
_CODE = re.compile(rb"<Code>(\w+)</Code>")  # S3's error code, in the body of an error


class _UnreadableError(Exception):
    """What S3 sent is not the object."""


def read(url: str, session: boto3.Session, pause: Callable[[float], None] = time.sleep) -> str:
    """The prompt in the object at `url`, which names its version.

    Raises:
        SettingsError: it cannot be read, or it is no text.
    """
    seconds: Any = (CONNECT_SECONDS, READ_SECONDS)  # botocore's own form; its types know one number
    http = URLLib3Session(proxies=get_environ_proxies(url), timeout=seconds)
    try:
        text = _repeated(lambda: _content(url, session, http), pause).decode().strip()
    except (BotoCoreError, _UnreadableError, UnicodeDecodeError) as error:
        raise SettingsError(f"SYSTEM_PROMPT_OBJECT cannot be read: {error}") from error
    finally:
        http.close()
    if not text:
        raise SettingsError("SYSTEM_PROMPT_OBJECT cannot be read: the object is empty")
    return text


def _repeated(attempt: Callable[[], bytes], pause: Callable[[float], None]) -> bytes:
    for seconds in PAUSES:
        try:
            return attempt()
        except (BotoCoreError, _UnreadableError):
            pause(seconds)
    return attempt()


def _content(url: str, session: boto3.Session, http: URLLib3Session) -> bytes:
    request = AWSRequest("GET", url)
    credentials: Any = session.get_credentials()  # without any, `add_auth` raises
    S3SigV4Auth(credentials, "s3", session.region_name).add_auth(request)
    response = http.send(request.prepare())
    content: bytes = response.content
    if response.status_code != _OK:
        code = _CODE.search(content)
        raise _UnreadableError(f"{response.status_code} {code[1].decode() if code else ''}".strip())
    # urllib3 accepts a body that ends early, as botocore asks it to.
    if str(len(content)) != response.headers.get("Content-Length", ""):
        raise _UnreadableError("the response was cut")
    return content
