"""Covers bedrock_chat/loopback.py: which requests answer an attempt to sign in."""

import socket
import struct
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlencode

import pytest
from support.e2e_clients import ROOT
from support.sign_ins import fetch

from bedrock_chat import loopback
from bedrock_chat.issuer import SignInError
from bedrock_chat.loopback import PORTS, receiver, redirect_uri

ANY = (0,)


def answer(uri: str, **query: str) -> tuple[int, str]:
    return fetch(f"{uri.replace('localhost', '127.0.0.1')}?{urlencode(query)}")


def test_the_code_of_the_attempt_is_received(capfd: pytest.CaptureFixture[str]) -> None:
    """The browser's page contains nothing of the request, and neither does the terminal."""
    with receiver(ANY) as waiting:
        sent = answer(waiting.attempt.redirect_uri, code="abc", state=waiting.attempt.state)
        code = waiting.code()

    assert "abc" == code
    assert (200, f"<!doctype html><title>Sign in</title><p>{loopback.DONE}") == sent
    assert ("", "") == capfd.readouterr()


@pytest.mark.parametrize(
    ("query", "path", "status"),
    [
        ({"code": "theirs", "state": "guessed"}, "", 400),
        ({"code": "theirs"}, "", 400),
        ({"state": "{state}"}, "", 400),
        ({"code": "theirs", "state": "{state}"}, "favicon.ico", 404),
    ],
    ids=["another state", "no state", "no code", "another path"],
)
def test_other_requests_do_not_end_the_attempt(
    query: dict[str, str], path: str, status: int
) -> None:
    """Any page of a browser on this machine can send one."""
    with receiver(ANY) as waiting:
        uri, state = waiting.attempt.redirect_uri, waiting.attempt.state
        theirs = {name: value.format(state=state) for name, value in query.items()}
        refused = answer(f"{uri}{path}", **theirs)
        answer(uri, code="mine", state=state)
        code = waiting.code()

    assert (status, "mine") == (refused[0], code)


def test_a_connection_without_a_request_holds_up_nothing() -> None:
    """Browsers open connections before they need them."""
    with receiver(ANY) as waiting:
        port = int(waiting.attempt.redirect_uri.rpartition(":")[2].strip("/"))
        with socket.create_connection(("127.0.0.1", port)):
            answer(waiting.attempt.redirect_uri, code="abc", state=waiting.attempt.state)
            assert "abc" == waiting.code()


def test_an_invalid_request_is_not_logged(capfd: pytest.CaptureFixture[str]) -> None:
    """The library's own answers to such requests would be, with their first line."""
    with receiver(ANY) as waiting:
        port = int(waiting.attempt.redirect_uri.rpartition(":")[2].strip("/"))
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"POST /?code=secret HTTP/1.1\r\n\r\n")
            received = connection.recv(100)

    assert received.startswith(b"HTTP/1.0 501 ")
    assert ("", "") == capfd.readouterr()


def test_a_connection_that_is_reset_is_not_reported(capfd: pytest.CaptureFixture[str]) -> None:
    """A browser closes connections that it does not need."""
    abort = struct.pack("ii", 1, 0)  # no orderly end
    with receiver(ANY) as waiting:
        port = int(waiting.attempt.redirect_uri.rpartition(":")[2].strip("/"))
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abort)
                connection.sendall(b"GET /")
        answer(waiting.attempt.redirect_uri, code="abc", state=waiting.attempt.state)
        assert "abc" == waiting.code()

    assert ("", "") == capfd.readouterr()


def test_the_issuers_refusal_is_reported() -> None:
    """With its reason, in one line without control characters."""
    with receiver(ANY) as waiting:
        state = waiting.attempt.state
        answer(waiting.attempt.redirect_uri, error="access_denied", state=state)
        with pytest.raises(SignInError, match=r"^The issuer refused the sign-in: access denied\.$"):
            waiting.code()
        text = "no \x1b[2Jseat."
        answer(waiting.attempt.redirect_uri, error="x", error_description=text, state=state)
        with pytest.raises(SignInError, match=r"^The issuer refused the sign-in: no ␛\[2Jseat\.$"):
            waiting.code()


def test_an_attempt_without_an_answer_ends() -> None:
    """After a time."""
    with receiver(ANY) as waiting, pytest.raises(SignInError, match="No sign-in within 0 minutes"):
        waiting.code(seconds=0.01)


def test_the_next_port_is_used_if_one_is_in_use() -> None:
    """Without a free one the ports are named."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with receiver((port, 0)) as waiting:
            assert redirect_uri(port) != waiting.attempt.redirect_uri
        with pytest.raises(SignInError, match=f"the ports {port} are in use"), receiver((port,)):
            pass


def test_only_this_machine_can_connect() -> None:
    """The address is loopback's."""
    with loopback._listening(ANY, BaseHTTPRequestHandler) as server:
        assert "127.0.0.1" == server.server_address[0]


def test_each_attempt_has_its_own_state_and_verifier() -> None:
    """At least 256 bits; neither is in the attempt's representation."""
    with receiver(ANY) as one, receiver(ANY) as other:
        values = {one.attempt.state, one.attempt.verifier, other.attempt.state}
    assert 3 == len(values)
    assert all(len(value) >= 43 for value in values)
    assert not any(value in repr(one.attempt) for value in values)


def test_the_redirect_uris_are_those_that_the_documentation_lists() -> None:
    """Issuers have to know them."""
    documented = [redirect_uri(port) for port in PORTS]
    text = (ROOT / "docs" / "terminal.md").read_text()
    assert not [uri for uri in documented if uri not in text]
