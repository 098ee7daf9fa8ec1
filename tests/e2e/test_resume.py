"""Stop, resume and continue, through the whole stack."""

import itertools
import secrets

from support.e2e_clients import Client, Frame, client, endless, script, text


def ask(one: Client, body: str) -> str:
    """Asks under a request id of its own."""
    request_id = secrets.token_hex(8)
    one.send({"action": "chat", "request_id": request_id, "body": body})
    return request_id


def rest(one: Client, request_id: str, from_seq: int = 0) -> list[Frame]:
    """The frames of one request from `from_seq` on, up to its terminal one: none missing."""
    frames: list[Frame] = []
    while not frames or frames[-1]["type"] not in ("done", "error"):
        frames.append(one.receive())
    assert {request_id} == {frame["request_id"] for frame in frames}
    assert list(range(from_seq, from_seq + len(frames))) == [frame["seq"] for frame in frames]
    return frames


def test_a_stopped_answer_ends_with_what_was_said(stack: str) -> None:
    """Long before the model's own end, and the conversation continues."""
    session_id = secrets.token_hex(8)
    with client(stack, session_id=session_id) as one:
        request_id = ask(one, endless("on "))
        assert "start" == one.receive()["type"]
        assert "delta" == one.receive()["type"]
        one.send({"action": "stop", "request_id": request_id})
        frames = rest(one, request_id, 2)

        assert ("done", "stopped") == (frames[-1]["type"], frames[-1]["stop_reason"])
        (_, stored), _ = history(one)
        assert stored.startswith("on on ")
        assert "You said: hi" == text(one.say("hi"))


def history(one: Client) -> tuple[tuple[str, str], Frame]:
    page, done = one.say({"action": "history"})
    turn = page["turns"][-1]
    return (turn["state"], turn["assistant"]), done


def test_stop_from_another_tab(stack: str) -> None:
    """Any connection of the session may stop it, also without the request's id."""
    session_id = secrets.token_hex(8)
    with client(stack, session_id=session_id) as one, client(stack, session_id=session_id) as two:
        request_id = ask(one, endless())
        one.receive()
        two.send({"action": "stop"})

        assert "stopped" == rest(one, request_id, 1)[-1]["stop_reason"]


def test_nothing_to_stop(stack: str) -> None:
    """A stop that finds nothing says so under an id of its own; the request's frames stay whole."""
    with client(stack, session_id=secrets.token_hex(8)) as one:
        ended = one.say({"action": "chat", "request_id": "r", "body": "hi"})
        (frame,) = one.say({"action": "stop", "request_id": "r"})

    assert ("error", "invalid_request") == (frame["type"], frame["code"])
    assert frame["request_id"] != ended[0]["request_id"]


def test_resume_while_it_runs(stack: str) -> None:
    """Who lost the connection gets every frame that is missing, and then the live ones."""
    session_id = secrets.token_hex(8)
    with client(stack, session_id=session_id) as one:
        request_id = ask(one, endless("ab "))
        received = [one.receive() for _ in range(5)]
    with client(stack, session_id=session_id) as two:
        two.send({"action": "resume", "request_id": request_id, "from_seq": len(received)})
        received += [two.receive() for _ in range(5)]
        received += two.stop()

        assert {request_id} == {frame["request_id"] for frame in received}
        assert list(range(len(received))) == [frame["seq"] for frame in received]
        assert ("stopped", text(received)) == history(two)[0]


def test_resume_after_it_ended(stack: str) -> None:
    """Every frame from any `seq` on, as it was sent, however often it is requested."""
    session_id = secrets.token_hex(8)
    with client(stack, session_id=session_id) as one:
        request_id = ask(one, script(chunks=20, rate=200, text="é🙂 "))
        frames = rest(one, request_id)
        for from_seq in range(len(frames)):
            one.send({"action": "resume", "request_id": request_id, "from_seq": from_seq})
            assert frames[from_seq:] == rest(one, request_id, from_seq)


def test_resume_of_an_answer_without_a_listener(stack: str) -> None:
    """It was finished with no client, and is replayed completely."""
    session_id = secrets.token_hex(8)
    with client(stack, session_id=session_id) as one:
        request_id = ask(one, script(chunks=30, rate=60, text="ab "))
    with client(stack, session_id=session_id) as two:
        two.send({"action": "resume", "request_id": request_id})
        assert "ab " * 30 == text(rest(two, request_id))


def test_resume_of_something_unknown(stack: str) -> None:
    """It never came: the client may send it."""
    with client(stack, session_id=secrets.token_hex(8)) as one:
        (frame,) = one.say({"action": "resume", "request_id": "never"})

    assert ("error", "invalid_request", "never") == (
        frame["type"],
        frame["code"],
        frame["request_id"],
    )


def test_a_request_sent_again_after_reconnecting(stack: str) -> None:
    """It is not answered twice: duplicate, and resume has the answer."""
    session_id = secrets.token_hex(8)
    asked = {"action": "chat", "request_id": "r-1", "body": "hi"}
    with client(stack, session_id=session_id) as one:
        first = one.say(asked)
    with client(stack, session_id=session_id) as two:
        assert "duplicate" == two.say(asked)[-1]["code"]
        two.send({"action": "resume", "request_id": "r-1"})
        assert first == rest(two, "r-1")


def test_history_reports_the_running_request(stack: str) -> None:
    """After a reload the page knows what to resume."""
    session_id = secrets.token_hex(8)
    with client(stack, session_id=session_id) as one, client(stack, session_id=session_id) as two:
        request_id = ask(one, endless())
        one.receive()
        assert request_id == two.say({"action": "history"})[-1]["running"]
        one.stop()
        assert "running" not in two.say({"action": "history"})[-1]


def test_only_a_stopped_answer_is_continued(stack: str) -> None:
    """It continues in a turn of its own; a whole one does not."""
    with client(stack, session_id=secrets.token_hex(8)) as one:
        ask(one, endless())
        one.until("delta")
        one.stop()

        assert "Continue exactly" in text(one.say({"action": "chat", "continue": True}))
        (frame,) = one.say({"continue": True})
        assert "invalid_request" == frame["code"]


def test_a_question_in_parts(stack: str) -> None:
    """In any order, and answered once."""
    question = " ".join(f"{n:0100}" for n in range(600))
    size = 16_000
    parts = [question[at : at + size] for at in range(0, len(question), size)]
    for order in itertools.islice(itertools.permutations(range(len(parts))), 0, 24, 11):
        with client(stack, session_id=secrets.token_hex(8)) as one:
            for n in order:
                one.send({"request_id": "r", "body": parts[n], "part": n + 1, "parts": len(parts)})
            assert f"You said: {question}" == text(rest(one, "r"))
