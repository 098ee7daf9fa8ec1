"""Covers web/ (app, connection, protocol, turn): the page in a real browser, on the whole stack."""

import json
import re
import threading
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from playwright.sync_api import BrowserContext, Page, WebSocket, expect
from support.browsers import REQUESTS, BrowserLog, Chat, Served, refusing, replaced
from support.e2e_clients import PATIENCE, SCHEMA, client, script
from support.stacks import MANY

from deploy.url import presigned
from errors import CODES
from local.auth.authorizers import iam_authorizer
from local.auth.modes import USER_NAMES, user
from local.aws.account import REGION
from local.gateway.http_connection import HttpResponse
from local.gateway.websocket import Socket
from turn import CONTINUE

# The request that has not ended, as the tab stores it.
PENDING = "sessionStorage.getItem('pending')"
REFUSED = "WebSocket connection to"  # the browser's own report of a refused handshake

# Records the answers' lengths whenever they change.
WATCH = """() => {
  const log = document.getElementById("log");
  window.lengths = [];
  new MutationObserver(() => window.lengths.push(
    [...document.querySelectorAll(".answer")].map((each) => each.textContent.length).join()
  )).observe(log, { childList: true, characterData: true, subtree: true });
}"""
# Counts the frames that the page has received.
COUNT = """
  window.received = 0;
  window.WebSocket = class extends WebSocket {
    constructor(...how) {
      super(...how);
      this.addEventListener("message", () => (window.received += 1));
    }
  };
"""
# So that a page does nothing by itself, as it would after some seconds of silence.
NO_LONG_TIMERS = """
  const setShortTimer = window.setTimeout;
  window.setTimeout = (what, after, ...more) =>
    after >= 10_000 ? 0 : setShortTimer(what, after, ...more);
"""
# The scroll position, and its distance from the end, in pixels.
PLACE = """() => {
  const { scrollTop, scrollHeight, clientHeight } = document.getElementById("scroller");
  return { top: scrollTop, left: Math.round(scrollHeight - scrollTop - clientHeight) };
}"""
# Whether the scroll position is the same for some frames of the screen: a wheel scrolls smoothly.
AT_REST = """async () => {
  const scroller = document.getElementById("scroller");
  const before = scroller.scrollTop;
  for (let frames = 0; frames < 10; frames += 1) await new Promise(requestAnimationFrame);
  return scroller.scrollTop === before;
}"""
# Records what is announced to screen readers.
LISTEN = """() => {
  window.announced = [];
  const place = document.getElementById("announcer");
  new MutationObserver(() => window.announced.push(place.textContent))
    .observe(place, { childList: true, characterData: true, subtree: true });
}"""


def record_sockets(page: Page, sockets: list[WebSocket]) -> None:
    """Record the sockets that the page opens."""

    def opened(socket: WebSocket) -> None:
        sockets.append(socket)

    page.on("websocket", opened)


def session(chat: Chat) -> str:
    return str(chat.page.evaluate("localStorage.getItem('session')"))


def history(chat: Chat, site: Served) -> list[dict[str, Any]]:
    """Return the session's turns, as another client receives them."""
    turns: dict[int, dict[str, Any]] = {}
    with client(site.stack.url, session_id=session(chat)) as one:
        for frame in one.say({"action": "history"})[:-1]:
            for entry in frame["turns"]:
                turn = turns.setdefault(entry["turn"], {**entry, "user": "", "assistant": ""})
                turn["user"] += entry["user"]
                turn["assistant"] += entry["assistant"]
    return list(turns.values())


def stop_clock(page: Page) -> None:
    """Stop the page's clock, which is installed: from now on only the test moves it."""
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)


def wait_for_length(chat: Chat, characters: int) -> None:
    """Wait until the last answer is longer than this."""
    longer = "length => [...document.querySelectorAll('.answer')].at(-1).innerText.length > length"
    chat.page.wait_for_function(longer, arg=characters)


def stopped(chat: Chat, site: Served) -> str:
    """Stop the answer; return its text, which must be the one that the server has stored."""
    turns = chat.ended.count() + 1
    chat.button("Stop").click()
    chat.has_ended(turns)
    text = chat.answers.last.inner_text()
    assert text == history(chat, site)[-1]["assistant"].strip()
    return text


def test_an_answer_grows_while_it_arrives(chat: Chat) -> None:
    """Its length on the page takes several values before it ends, and never shrinks."""
    chat.page.evaluate(WATCH)
    chat.ask(chunks=MANY, rate=60, text="word ")
    chat.page.wait_for_function("() => new Set(window.lengths).size > 5")
    chat.button("Stop").click()
    chat.has_ended()

    lengths = [int(each) for each in chat.page.evaluate("window.lengths") if each]
    assert lengths == sorted(lengths)


def test_a_complete_answer_is_shown_with_its_usage(chat: Chat) -> None:
    """All of its text, the tokens, the latency and the model's name."""
    answer = chat.answer_to(chunks=60, text="word ")

    assert ("word " * 60).strip() == answer.inner_text()
    expect(chat.page.locator(".usage")).to_contain_text("60 out · first token after")
    expect(chat.page.locator("#model")).to_contain_text("claude")


def test_finished_blocks_are_not_rendered_again(chat: Chat) -> None:
    """A finished paragraph remains the same element, and so does code that grows."""
    chat.ask(chunks=40, rate=80, text="para\n\n")
    first = chat.page.locator(".answer p").first.element_handle()
    chat.has_ended()
    assert first.evaluate("each => each.isConnected")
    assert 40 == chat.page.locator(".answer p").count()

    with_code = "```js\n" + "let a = 1\n" * 3
    chat.ask(chunks=40, rate=80, text=with_code)
    code = chat.page.locator(".answer pre").first.element_handle()
    chat.has_ended(2)
    assert code.evaluate("each => each.isConnected")


@pytest.mark.parametrize("by", ["button", "Escape"])
def test_a_stopped_answer_can_be_continued(chat: Chat, by: str) -> None:
    """Its text stays; the button to continue it is there until it is used."""
    chat.ask(chunks=MANY, rate=50, text="on ")
    chat.has_started()
    if by == "button":
        chat.button("Stop").click()
    else:
        chat.page.keyboard.press("Escape")
    expect(chat.notes).to_have_text("Stopped.")
    expect(chat.question).to_be_focused()
    assert chat.answers.inner_text().startswith("on on")

    chat.button("Continue").click()
    chat.has_ended(2)
    expect(chat.question).to_be_focused()
    expect(chat.answers.last).to_contain_text(CONTINUE)
    expect(chat.page.locator(".question")).to_have_count(1)
    expect(chat.button("Continue")).to_have_count(0)
    chat.page.reload()
    chat.has_ended(2)
    expect(chat.page.locator(".question")).to_have_count(1)


def test_an_answer_at_the_length_limit_can_be_continued(chat: Chat) -> None:
    """A note says that the answer reached the limit."""
    chat.answer_to(chunks=3, stop_reason="max_tokens")

    expect(chat.notes).to_have_text("The answer reached the length limit.")
    expect(chat.button("Continue")).to_be_visible()


def test_reasoning_is_collapsed(chat: Chat) -> None:
    """It can be opened, and is not part of the answer."""
    chat.answer_to(chunks=2, text="so ", reasoning=3)

    details = chat.page.locator("details.reasoning")
    expect(details).not_to_have_attribute("open", "")
    details.locator("summary").click()
    expect(details).to_contain_text("hm hm hm")
    assert "so so" == chat.answers.inner_text()


def closed_at_the_gateway(site: Served) -> None:
    """Close all connections, as `DELETE /@connections/{id}` does."""

    def close() -> None:
        for each in list(site.stack.gateway._sockets.values()):
            site.stack.gateway.connections._delete(each, b"")

    site.call(close)


def test_a_lost_connection_resumes(site: Served, chat: Chat) -> None:
    """Whenever and however the connection closes, no text is missing, and none is there twice."""
    sockets: list[WebSocket] = []
    record_sockets(chat.page, sockets)
    chat.ask(chunks=MANY, rate=50, text="ab ")
    length = 0
    for cut in (site.drop, lambda: closed_at_the_gateway(site), site.drop):
        wait_for_length(chat, length)
        expect(chat.page.locator("#notice")).to_be_hidden()
        with chat.page.expect_websocket():
            cut()
        length = len(chat.answers.inner_text())
    wait_for_length(chat, length)
    text = stopped(chat, site)

    assert re.fullmatch("(ab )*ab", text)
    assert 3 == len(sockets)
    assert 1 == len(history(chat, site))


@pytest.mark.parametrize("arrives", [False, True], ids=["lost", "accepted"])
def test_a_question_is_answered_once(site: Served, chat: Chat, *, arrives: bool) -> None:
    """Also if the connection closes before its first frame, and the page sends it again."""
    received = site.stack.gateway.received
    cut: list[str] = []

    def once(socket: Socket, text: str) -> None:
        if "the question" in text and not cut:
            cut.append(text)
            socket.abort()
            if arrives:
                received(socket, text)
        else:
            received(socket, text)

    with replaced(site.stack.gateway, "received", once):
        answer = chat.answer_to("the question")

    assert "You said: the question" == answer.inner_text()
    assert 1 == len(cut)
    assert 1 == len(history(chat, site))


@pytest.mark.parametrize("times", [0, 2], ids=["one is lost", "one arrives twice"])
def test_a_lost_or_repeated_frame_is_corrected(site: Served, chat: Chat, times: int) -> None:
    """A gap in `seq` is requested again, and a repeated frame is dropped."""
    methods = site.stack.gateway.connections._methods
    post = methods["POST"]
    posts = 0
    fifth = threading.Event()

    def faulty(socket: Socket, body: bytes) -> HttpResponse:
        nonlocal posts
        posts += 1
        answers = [post(socket, body) for _ in range(times if posts == 5 else 1)]
        if posts == 5:
            fifth.set()
        return answers[0] if answers else HttpResponse(200)

    methods["POST"] = faulty
    try:
        chat.ask(chunks=MANY, rate=60, text="ab ")
        chat.has_started()
        assert fifth.wait(PATIENCE)
        wait_for_length(chat, len(chat.answers.inner_text()))
        text = stopped(chat, site)
    finally:
        methods["POST"] = post

    assert re.fullmatch("(ab )*ab", text)


def test_a_reload_restores_the_conversation(site: Served, chat: Chat) -> None:
    """With the draft; a running answer continues below its question."""
    chat.answer_to("first")
    chat.ask(chunks=MANY, rate=50, text="ab ")
    expect(chat.answers.last).to_contain_text("ab ab")
    chat.question.fill("a draft")
    chat.page.reload()
    expect(chat.answers.last).to_contain_text("ab ab")
    wait_for_length(chat, len(chat.answers.last.inner_text()))
    text = stopped(chat, site)

    assert re.fullmatch("(ab )*ab", text)
    questions = chat.page.locator(".question").all_inner_texts()
    assert ["first", script(chunks=MANY, rate=50, text="ab ")] == questions
    expect(chat.question).to_have_value("a draft")
    chat.page.reload()
    chat.has_ended(2)
    assert ["You said: first", text] == chat.answers.all_inner_texts()


def test_a_long_question(site: Served, chat: Chat, context: BrowserContext) -> None:
    """A question that does not fit one frame of 32 KB arrives complete, whatever its characters."""
    question = ('é"x"\\' * 130 + "🙂\n") * 60
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    chat.page.evaluate("text => navigator.clipboard.writeText(text)", question)
    chat.question.press("Control+v")
    chat.question.press("Enter")
    chat.has_ended()

    (turn,) = history(chat, site)
    assert question == turn["user"]


# Returns a question's frames, their sizes, and whether their characters are complete; and the codes
# of the errors that it ends with at once.
PARTS = """async (text) => {
  const { Conversation } = await import("./protocol.js");
  const [sent, codes] = [[], []];
  const send = (frame) => sent.push(frame);
  const conversation = new Conversation("session", send, (_, frame) => codes.push(frame.code));
  conversation.opened();
  conversation.ask(text);
  await null;
  conversation.lost();
  const size = (frame) => new TextEncoder().encode(JSON.stringify(frame)).length;
  return [sent.map((frame) => [frame, size(frame), frame.body.isWellFormed()]), codes];
}"""


def test_a_long_question_is_split_into_parts(chat: Chat) -> None:
    """Together they are the question; each fits a frame, and no character is split."""
    for text in ("x", "é", "🙂", "a🙂", '"\\\n', "\u0001"):
        whole = text * (100_000 // len(text.encode()))
        frames, codes = chat.page.evaluate(PARTS, whole)

        assert [] == codes
        assert whole == "".join(frame["body"] for frame, _, _ in frames)
        assert all(size <= 32 * 1024 and well_formed for _, size, well_formed in frames)
        count = len(frames)
        numbers = [(frame["part"], frame["parts"]) for frame, _, _ in frames]
        assert [(n, count) for n in range(1, count + 1)] == numbers
    # A question of more parts than the server's limit of 32 is not sent.
    assert [[], ["too_large"]] == chat.page.evaluate(PARTS, "\u0001" * 200_000)


def test_a_new_chat_is_another_session(chat: Chat) -> None:
    """It is empty, independent of the first, and is restored by a reload."""
    chat.answer_to("first")
    other = session(chat)
    chat.button("New chat").click()
    expect(chat.answers).to_have_count(0)
    assert other != session(chat)
    chat.answer_to("second")
    chat.page.reload()
    chat.has_ended()
    assert ["You said: second"] == chat.answers.all_inner_texts()


def test_clear_deletes_the_conversation(chat: Chat) -> None:
    """After a confirmation, on the page and on the server."""
    chat.answer_to("first")
    chat.button("Clear this chat").click()
    chat.button("Cancel").click()
    expect(chat.answers).to_have_count(1)
    chat.button("Clear this chat").click()
    chat.button("Clear").click()
    expect(chat.answers).to_have_count(0)
    expect(chat.question).to_be_focused()
    expect(chat.page.get_by_role("status")).to_have_text("Cleared.")
    chat.page.reload()
    expect(chat.page.get_by_text("What would you like to know?")).to_be_visible()
    assert "You said: second" == chat.answer_to("second").inner_text()


def test_a_cleared_question_is_not_sent_again(site: Served, chat: Chat) -> None:
    """A pending request is deleted once it is answered or cleared, also by the server alone."""
    chat.answer_to("first")
    (turn,) = history(chat, site)
    pending = {"session": session(chat), "id": turn["request_id"], "text": "first"}
    note = f"sessionStorage.setItem('pending', {json.dumps(json.dumps(pending))})"
    chat.page.evaluate(note)
    chat.page.reload()
    chat.has_ended()
    assert chat.page.evaluate(PENDING) is None

    chat.page.evaluate(note)
    chat.button("Clear this chat").click()
    chat.button("Clear").click()
    expect(chat.answers).to_have_count(0)
    assert chat.page.evaluate(PENDING) is None

    chat.page.evaluate(note)
    chat.page.reload()
    expect(chat.notes).to_have_text("The server rejected this request as invalid.")


# Returns the frames that are sent if an answer is joined while another request is active.
JOINING = """async () => {
  const { Conversation } = await import("./protocol.js");
  const sent = [];
  const conversation = new Conversation("session", (frame) => sent.push(frame), () => {});
  conversation.opened();
  conversation.clear("first");
  conversation.join("joined");
  conversation.receive({ type: "done", request_id: "first", seq: 0 });
  conversation.lost();
  return sent.map((frame) => [frame.action, frame.request_id]);
}"""


def test_a_joined_answer_waits_for_the_active_request(chat: Chat) -> None:
    """Its frames are requested as soon as the other request has ended."""
    assert [["clear", "first"], ["resume", "joined"]] == chat.page.evaluate(JOINING)


def test_a_question_waits_for_the_history(site: Served, chat: Chat) -> None:
    """It is sent automatically once the history is complete."""
    chat.answer_to("first")
    received = site.stack.gateway.received

    def but_history(socket: Socket, text: str) -> None:
        if json.loads(text)["action"] != "history":
            received(socket, text)

    with replaced(site.stack.gateway, "received", but_history):
        chat.page.reload()
        expect(chat.page.locator("#notice")).to_be_hidden()
        chat.ask("too early")
        assert [0, "too early"] == [chat.page.locator(".turn").count(), chat.question.input_value()]
    site.drop()
    expect(chat.answers).to_have_text(["You said: first", "You said: too early"])
    expect(chat.question).to_have_value("")


def failing(site: Served, action: str) -> Callable[[Socket, str], None]:
    """Return a gateway's `received` whose first request for `action` fails, retryably."""
    received = site.stack.gateway.received
    post = site.stack.gateway.connections._methods["POST"]
    failed: list[str] = []

    def receive(socket: Socket, text: str) -> None:
        request = json.loads(text)
        if request["action"] == action and not failed:
            failed.append(text)
            error = {"type": "error", "code": "throttled", "message": "", "retryable": True}
            frame = {**error, "seq": 0, "request_id": request["request_id"]}
            post(socket, json.dumps(frame).encode())
        else:
            received(socket, text)

    return receive


def test_a_failed_history_can_be_requested_again(site: Served, chat: Chat) -> None:
    """The page shows the error with a button."""
    chat.answer_to("first")
    notice = chat.page.locator("#notice")
    with replaced(site.stack.gateway, "received", failing(site, "history")):
        chat.page.reload()
        expect(notice).to_contain_text("Rate limit reached; try again shortly.")
        expect(chat.page.get_by_role("status")).to_contain_text("Rate limit reached")
        chat.button("Try again").click()
        chat.has_ended()
    expect(notice).to_be_hidden()
    expect(chat.question).to_be_focused()
    assert "You said: first" == chat.answers.inner_text()


def test_a_failed_clear_is_reported(site: Served, chat: Chat) -> None:
    """Until the next question."""
    chat.answer_to("first")
    notice = chat.page.locator("#notice")
    with replaced(site.stack.gateway, "received", failing(site, "clear")):
        chat.button("Clear this chat").click()
        chat.button("Clear").click()
        expect(notice).to_contain_text("Rate limit reached; try again shortly.")
    chat.answer_to("second")
    expect(notice).to_be_hidden()


def test_a_tab_keeps_its_conversation(site: Served, chat: Chat, context: BrowserContext) -> None:
    """Whatever session another tab opens; a third tab opens the latest one."""
    chat.answer_to("first")
    other = Chat(context.new_page(), site.page).open()
    other.has_ended()
    other.button("New chat").click()
    other.answer_to("second")
    third = Chat(context.new_page(), site.page).open()
    expect(third.answers).to_have_text(["You said: second"])
    chat.page.reload()
    expect(chat.answers).to_have_text(["You said: first"])


def test_a_second_tab_is_busy_during_an_answer(
    site: Served, chat: Chat, context: BrowserContext
) -> None:
    """It explains why, and can ask again when the answer has ended."""
    chat.answer_to("hello")
    other = Chat(context.new_page(), site.page).open()
    other.has_ended()
    chat.ask(chunks=MANY, rate=50)
    chat.has_started()
    other.answer_to("me too")
    expect(other.notes).to_contain_text("Another answer is in progress")
    chat.button("Stop").click()
    chat.has_ended(2)
    other.button("Try again").click()
    expect(other.answers.last).to_have_text("You said: me too")


def test_the_latest_tab_receives_the_answer(
    site: Served, page: Page, context: BrowserContext
) -> None:
    """The first tab receives the rest as soon as it becomes visible."""
    page.add_init_script(NO_LONG_TIMERS)
    chat = Chat(page, site.page).open()
    chat.ask(chunks=MANY, rate=40, text="ab ")
    chat.has_started()
    other = Chat(context.new_page(), site.page)
    other.page.goto(site.page)
    other.has_started()  # from here on, only this tab receives frames
    text = stopped(other, site)
    expect(chat.ended).to_have_count(0)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    chat.has_ended()

    assert re.fullmatch("(ab )*ab", text)
    assert text == chat.answers.inner_text()


ERRORS: list[tuple[dict[str, Any], str, str | None]] = [
    ({"fault": {"before": "ThrottlingException"}}, "Rate limit reached", "Try again"),
    ({"fault": {"before": "AccessDeniedException"}}, "The model is temporarily unavailable", None),
    ({"fault": {"before": "ModelErrorException"}}, "The model failed", "Try again"),
    ({"fault": {"at": 3, "type": "cut"}, "chunks": 5}, "The model failed", "Continue"),
    ({"fault": {"at": 3, "type": "validationException"}, "chunks": 5}, "", "Continue"),
]


def test_each_error_is_shown_with_its_action(chat: Chat) -> None:
    """A sentence, and a button if there is something to do."""
    for number, (order, words, action) in enumerate(ERRORS, start=1):
        chat.answer_to(**order)
        expect(chat.notes).to_have_count(number)
        expect(chat.notes.last).to_contain_text(words)
        actions = [
            each
            for each in ("Try again", "Continue")
            if chat.page.locator(".turn").last.get_by_role("button", name=each).is_visible()
        ]
        assert [action] * bool(action) == actions, order

    chat.question.fill("x" * 150_000)
    chat.question.press("Enter")
    chat.has_ended(len(ERRORS) + 1)
    expect(chat.notes.last).to_contain_text("The message is too long.")


def test_every_code_and_stop_reason_has_a_text(chat: Chat) -> None:
    """Except the stop reasons and states of an answer that completed."""
    codes, reasons = chat.page.evaluate(
        """async () => {
          const { ERRORS, STOP_REASONS } = await import("./messages.js");
          return [Object.keys(ERRORS), Object.keys(STOP_REASONS)];
        }"""
    )
    definitions = [
        SCHEMA["$defs"]["done"]["properties"]["stop_reason"],
        SCHEMA["$defs"]["turn"]["properties"]["state"],
    ]
    completed = {"end_turn", "stop_sequence", "other", "complete"}

    assert set(CODES) == set(codes)
    assert {each["const"] for values in definitions for each in values["oneOf"]} - completed == set(
        reasons
    )


def test_a_conversation_that_cannot_be_loaded(chat: Chat) -> None:
    """The page reports it, and offers a new chat."""
    chat.page.evaluate("sessionStorage.setItem('session', 'no id at all')")
    chat.page.reload()
    notice = chat.page.locator("#notice")
    expect(notice).to_contain_text("The server rejected this request as invalid.")
    notice.get_by_role("button", name="New chat").click()
    expect(notice).to_be_hidden()
    assert "You said: hello" == chat.answer_to("hello").inner_text()


def test_an_exhausted_quota_shows_when_it_resets(site: Served, chat: Chat) -> None:
    """The time is part of the error's text."""
    chat.answer_to("hello")
    table = boto3.resource("dynamodb", endpoint_url=site.dynamodb, region_name=REGION).Table("chat")
    (count,) = [item for item in table.scan()["Items"] if str(item["pk"]).startswith("budget#")]
    table.put_item(Item={**count, "requests": REQUESTS})
    try:
        chat.answer_to("more")
    finally:
        table.put_item(Item=count)

    expect(chat.notes).to_have_text(
        re.compile(r"^Today's quota is used up\. You can ask again from .*\d:00.*\.$")
    )


def test_a_refused_connection_can_be_retried(
    site: Served, page: Page, browser_log: BrowserLog
) -> None:
    """The page shows the possible reasons, when it tries again, and a button to do it now."""
    browser_log.expected.append(REFUSED)
    chat, notice = Chat(page, site.page), page.locator("#notice")
    page.clock.install()
    chat.open()
    stop_clock(page)  # so that it does not try again by itself
    with refusing(site):
        site.drop()
        expect(notice).to_contain_text("Connection lost. Reconnecting in")
        page.clock.run_for(1_000)
        expect(notice).to_contain_text("the server is unreachable, or does not allow this page")
        expect(notice).to_contain_text("Reconnecting in")
        chat.ask("when you can")
    chat.button("Reconnect now").click()
    page.clock.resume()
    expect(chat.question).to_be_focused()
    expect(chat.answers).to_have_text("You said: when you can")
    expect(notice).to_be_hidden()


def test_an_unsent_question_can_be_withdrawn(
    site: Served, chat: Chat, browser_log: BrowserLog
) -> None:
    """Stop moves it back to the composer, before the current draft."""
    browser_log.expected.append(REFUSED)
    with refusing(site):
        site.drop()
        expect(chat.page.locator("#notice")).to_contain_text("Reconnecting in")
        chat.ask("never mind")
        chat.button("Stop").click()
        expect(chat.question).to_have_value("never mind")
        expect(chat.question).to_be_focused()
        expect(chat.page.locator(".turn")).to_have_count(0)
        chat.question.press("Enter")
        chat.question.fill("or rather")
        chat.question.press("Escape")
    expect(chat.question).to_have_value("never mind\n\nor rather")


def test_iam_needs_a_signed_url(site: Served, page: Page, browser_log: BrowserLog) -> None:
    """The page prompts for it, again if it is refused, and never stores it."""
    browser_log.expected.append(REFUSED)
    alice = user(USER_NAMES[0])
    authorizer = iam_authorizer({alice.access_key: alice})
    signed = presigned(site.stack.url, alice.credentials, REGION)
    config = {"websocket_url": site.stack.url, "auth": "iam"}
    page.route("**/config.json", lambda route: route.fulfill(json=config))
    chat = Chat(page, site.page)
    field = page.get_by_role("textbox", name="Signed URL")
    with replaced(site.stack.gateway, "_authorizer", authorizer):
        page.goto(site.page)
        for wrong, words in {
            "nonsense": "The URL must begin with ws://",
            "wss://elsewhere.example/": "The URL must begin with ws://",
            f"{site.stack.url}?format=text": "The URL is signed for format=text",
        }.items():
            field.fill(wrong)
            chat.button("Connect").click()
            expect(page.get_by_role("alert")).to_contain_text(words)
        field.fill(site.stack.url)  # not signed: refused
        chat.button("Connect").click()
        expect(page.locator("#notice")).to_contain_text("the signed URL has expired")
        expect(field).to_be_visible()
        field.fill(signed)
        field.press("Enter")
        assert "You said: hello" == chat.answer_to("hello").inner_text()

    stored = page.evaluate("JSON.stringify([localStorage, sessionStorage, location.href])")
    assert "Signature" not in stored


def test_an_idle_connection_is_kept_open(site: Served, page: Page) -> None:
    """For an hour: the page sends a ping before API Gateway's idle timeout."""
    sent: list[str | bytes] = []

    def opened(socket: WebSocket) -> None:
        socket.on("framesent", record)

    def record(text: str | bytes) -> None:
        sent.append(text)

    page.on("websocket", opened)
    page.add_init_script(COUNT)
    page.clock.install()
    Chat(page, site.page).open()
    stop_clock(page)
    for pongs in range(1, 16):
        page.clock.run_for(241_000)
        page.wait_for_function("pongs => window.received === pongs", arg=pongs)

    assert [{"action": "ping"}] * 15 == [json.loads(each) for each in sent]


def test_a_silent_connection_is_replaced(site: Served, page: Page, browser_log: BrowserLog) -> None:
    """If a response is pending and a ping gets no pong; the new connection receives the answer."""
    browser_log.expected.append("closed before")
    chat = Chat(page, site.page)
    page.clock.install()
    chat.open()
    stop_clock(page)

    def ignore(_socket: Socket, _text: str) -> None:
        return

    with replaced(site.stack.gateway, "received", ignore):
        chat.ask("hello")
        page.clock.run_for(20_000)
        page.clock.run_for(10_000)
    page.clock.resume()
    expect(chat.answers).to_have_text("You said: hello")


def test_an_answer_is_announced_once(chat: Chat) -> None:
    """To screen readers: that it has started, and then all of it, not each word."""
    chat.page.evaluate(LISTEN)
    chat.answer_to(chunks=40, rate=40, text="word ")

    assert ["Generating an answer.", "Answer: " + ("word " * 40).strip()] == chat.page.evaluate(
        "window.announced"
    )
    expect(chat.page.get_by_role("log")).to_have_attribute("aria-live", "off")


def test_the_page_scrolls_along_only_at_the_end(chat: Chat) -> None:
    """After scrolling back it stays where it is, and a button leads to the end again."""
    chat.ask(chunks=MANY, rate=100, text="line\n\n")
    chat.page.wait_for_function("() => document.getElementById('scroller').scrollTop > 400")
    chat.page.get_by_role("main").hover()
    chat.page.mouse.wheel(0, -300)
    latest = chat.button("Jump to latest ↓")
    expect(latest).to_be_visible()
    chat.page.wait_for_function(AT_REST)
    top = chat.page.evaluate(PLACE)["top"]
    wait_for_length(chat, len(chat.answers.inner_text()))
    assert top == chat.page.evaluate(PLACE)["top"]
    chat.page.keyboard.press("Escape")
    chat.has_ended()
    assert top == chat.page.evaluate(PLACE)["top"]
    latest.click()
    expect(latest).to_be_hidden()
    expect(chat.question).to_be_focused()
    assert 0 == chat.page.evaluate(PLACE)["left"]
    chat.ask(chunks=50, rate=100, text="line\n\n")
    chat.has_ended(2)
    chat.page.wait_for_function(f"() => ({PLACE})().left === 0")


def test_answers_and_code_can_be_copied(chat: Chat, context: BrowserContext) -> None:
    """An answer as Markdown, and code as plain text."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    chat.answer_to(chunks=1, text="**Look**:\n\n```py\nx = '<b>'\n```\n")
    pasted = "navigator.clipboard.readText()"
    chat.button("Copy answer").click()
    expect(chat.button("Copy answer")).to_have_text("Copied")
    assert "**Look**:\n\n```py\nx = '<b>'\n```\n" == chat.page.evaluate(pasted)
    chat.button("Copy code").click()
    expect(chat.button("Copy code")).to_have_text("Copied")
    assert "x = '<b>'" == chat.page.evaluate(pasted)
