"""Covers web/ (app, link, protocol, turn): conversations in a real browser, on the whole stack."""

import json
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from playwright.sync_api import BrowserContext, Page, WebSocket, expect
from support.browsers import REQUESTS, Chat, Served, Told, refusing, replaced
from support.e2e_clients import SCHEMA, person, script

from deploy.url import presigned
from errors import CODES
from handler import CONTINUE
from local.auth.authorizers import iam_authorizer
from local.auth.modes import USER_NAMES, user
from local.aws.account import REGION
from local.gateway.http_connection import HttpResponse
from local.gateway.websocket import Socket

# What was asked and has not ended, as the tab notes it.
ASKED = "sessionStorage.getItem('asked')"
REFUSED = "WebSocket connection to"  # the browser's own complaint about a refused handshake

# Notes how long the answers are whenever they change.
WATCH = """() => {
  const log = document.getElementById("log");
  window.lengths = [];
  new MutationObserver(() => window.lengths.push(
    [...document.querySelectorAll(".answer")].map((each) => each.textContent.length).join()
  )).observe(log, { childList: true, characterData: true, subtree: true });
}"""
# Counts the frames that the page has heard.
COUNT = """
  window.heard = 0;
  window.WebSocket = class extends WebSocket {
    constructor(...how) {
      super(...how);
      this.addEventListener("message", () => (window.heard += 1));
    }
  };
"""
# Where the person reads, and how far that is from the end, in pixels.
PLACE = """() => {
  const { scrollTop, scrollHeight, clientHeight } = document.getElementById("scroller");
  return { top: scrollTop, left: Math.round(scrollHeight - scrollTop - clientHeight) };
}"""
# Notes what a screen reader is told.
LISTEN = """() => {
  window.announced = [];
  const place = document.getElementById("announcer");
  new MutationObserver(() => window.announced.push(place.textContent))
    .observe(place, { childList: true, characterData: true, subtree: true });
}"""


def heard(page: Page, sockets: list[WebSocket]) -> None:
    """Notes the connections that the page makes."""

    def opened(socket: WebSocket) -> None:
        sockets.append(socket)

    page.on("websocket", opened)


def session(chat: Chat) -> str:
    return str(chat.page.evaluate("localStorage.getItem('session')"))


def history(chat: Chat, site: Served) -> list[dict[str, Any]]:
    """The session's turns, as the server tells them to another client."""
    turns: dict[int, dict[str, Any]] = {}
    with person(site.stack.url, session_id=session(chat)) as one:
        for frame in one.say({"action": "history"})[:-1]:
            for entry in frame["turns"]:
                turn = turns.setdefault(entry["turn"], {**entry, "user": "", "assistant": ""})
                turn["user"] += entry["user"]
                turn["assistant"] += entry["assistant"]
    return list(turns.values())


def test_an_answer_grows(chat: Chat) -> None:
    """What arrives is seen while more is to come, and is all there in the end."""
    chat.page.evaluate(WATCH)
    answer = chat.asked(chunks=60, rate=60, text="word ")

    lengths = [int(each) for each in chat.page.evaluate("window.lengths") if each]
    assert len(set(lengths)) >= 5
    assert lengths == sorted(lengths)
    assert ("word " * 60).strip() == answer.inner_text()
    expect(chat.page.locator(".figures")).to_contain_text("60 out · first word after")
    expect(chat.page.locator("#model")).to_contain_text("claude")


def test_what_has_settled_is_not_drawn_again(chat: Chat) -> None:
    """A paragraph that is whole stays the very same element, and so does code that grows."""
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
def test_stop_and_continue(chat: Chat, by: str) -> None:
    """What was said stays, and the answer can be asked to go on; once."""
    chat.ask(chunks=2000, rate=50, text="on ")
    chat.begins()
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


def test_the_longest_answer_can_go_on(chat: Chat) -> None:
    """An answer that reached its greatest length says so."""
    chat.asked(chunks=3, stop_reason="max_tokens")

    expect(chat.notes).to_have_text("The answer reached its greatest length.")
    expect(chat.button("Continue")).to_be_visible()


def test_reasoning(chat: Chat) -> None:
    """It is there for who wants it, and closed for who does not."""
    chat.asked(chunks=2, text="so ", reasoning=3)

    details = chat.page.locator("details.reasoning")
    expect(details).not_to_have_attribute("open", "")
    details.locator("summary").click()
    expect(details).to_contain_text("hm hm hm")
    assert "so so" == chat.answers.inner_text()


def closed_at_the_gateway(site: Served) -> None:
    """As `DELETE /@connections/{id}` does."""

    def close() -> None:
        for each in list(site.stack.gateway._sockets.values()):
            site.stack.gateway.connections._delete(each, b"")

    site.call(close)


def test_a_lost_connection_resumes(site: Served, chat: Chat) -> None:
    """However often and in whichever way it is lost: no word is missing, and none comes twice."""
    sockets: list[WebSocket] = []
    heard(chat.page, sockets)
    chat.ask(chunks=150, rate=50, text="ab ")
    for n, cut in enumerate((site.drop, lambda: closed_at_the_gateway(site), site.drop)):
        long = "n => document.querySelector('.answer').innerText.length > n"
        chat.page.wait_for_function(long, arg=50 * (n + 1))
        expect(chat.page.locator("#notice")).to_be_hidden()
        with chat.page.expect_websocket():
            cut()
    chat.has_ended()

    assert ("ab " * 150).strip() == chat.answers.inner_text()
    assert 3 == len(sockets)
    assert 1 == len(history(chat, site))


@pytest.mark.parametrize("arrives", [False, True], ids=["lost on its way", "taken, and not told"])
def test_a_question_is_asked_once(site: Served, chat: Chat, *, arrives: bool) -> None:
    """Where the connection ends before a word is heard, it is sent again, and asked once."""
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
        answer = chat.asked("the question")

    assert "You said: the question" == answer.inner_text()
    assert 1 == len(cut)
    assert 1 == len(history(chat, site))


@pytest.mark.parametrize("times", [0, 2], ids=["one is lost", "one comes twice"])
def test_frames_that_are_lost_or_doubled(site: Served, chat: Chat, times: int) -> None:
    """A gap in `seq` is asked for, and a frame that came before is dropped."""
    methods = site.stack.gateway.connections._methods
    post = methods["POST"]
    posts = 0

    def faulty(socket: Socket, body: bytes) -> HttpResponse:
        nonlocal posts
        posts += 1
        answers = [post(socket, body) for _ in range(times if posts == 5 else 1)]
        return answers[0] if answers else HttpResponse(200)

    methods["POST"] = faulty
    try:
        answer = chat.asked(chunks=100, rate=60, text="ab ")
    finally:
        methods["POST"] = post

    assert posts > 5
    assert ("ab " * 100).strip() == answer.inner_text()


def test_a_reload(chat: Chat) -> None:
    """The conversation is there again, and an answer that runs goes on with its question."""
    chat.asked("first")
    chat.ask(chunks=100, rate=50, text="ab ")
    expect(chat.answers.last).to_contain_text("ab ab")
    chat.question.fill("half a thought")
    chat.page.reload()
    chat.has_ended(2)

    assert ["You said: first", ("ab " * 100).strip()] == chat.answers.all_inner_texts()
    questions = chat.page.locator(".question").all_inner_texts()
    assert ["first", script(chunks=100, rate=50, text="ab ")] == questions
    expect(chat.question).to_have_value("half a thought")
    chat.page.reload()
    chat.has_ended(2)
    assert ["You said: first", ("ab " * 100).strip()] == chat.answers.all_inner_texts()


def test_a_long_question(site: Served, chat: Chat, context: BrowserContext) -> None:
    """What does not fit one frame of 32 KB arrives whole, whatever characters it is made of."""
    question = ('é"x"\\' * 130 + "🙂\n") * 60
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    chat.page.evaluate("text => navigator.clipboard.writeText(text)", question)
    chat.question.press("Control+v")
    chat.question.press("Enter")
    chat.has_ended()

    (turn,) = history(chat, site)
    assert question == turn["user"]


# Gives the frames that ask a text, their sizes and whether their characters are whole; and what
# is told at once.
PARTS = """async (text) => {
  const { Conversation } = await import("./protocol.js");
  const [sent, told] = [[], []];
  const send = (frame) => sent.push(frame);
  const conversation = new Conversation("session", send, (_, frame) => told.push(frame.code));
  conversation.opened();
  conversation.ask(text);
  await null;
  conversation.lost();
  const size = (frame) => new TextEncoder().encode(JSON.stringify(frame)).length;
  return [sent.map((frame) => [frame, size(frame), frame.body.isWellFormed()]), told];
}"""


def test_parts(chat: Chat) -> None:
    """Together they are the question; each fits a frame, and no character is divided."""
    for text in ("x", "é", "🙂", "a🙂", '"\\\n', "\u0001"):
        whole = text * (100_000 // len(text.encode()))
        frames, told = chat.page.evaluate(PARTS, whole)

        assert [] == told
        assert whole == "".join(frame["body"] for frame, _, _ in frames)
        assert all(size <= 32 * 1024 and well_formed for _, size, well_formed in frames)
        count = len(frames)
        numbers = [(frame["part"], frame["parts"]) for frame, _, _ in frames]
        assert [(n, count) for n in range(1, count + 1)] == numbers
    # What would take more than the 32 parts that the server takes is not sent.
    assert [[], ["too_large"]] == chat.page.evaluate(PARTS, "\u0001" * 200_000)


def test_a_new_chat(chat: Chat) -> None:
    """It is empty, knows nothing of the other, and is there after a reload."""
    chat.asked("first")
    other = session(chat)
    chat.button("New chat").click()
    expect(chat.answers).to_have_count(0)
    assert other != session(chat)
    chat.asked("second")
    chat.page.reload()
    chat.has_ended()
    assert ["You said: second"] == chat.answers.all_inner_texts()


def test_clear(chat: Chat) -> None:
    """Only who means it loses the conversation; then the server has none of it."""
    chat.asked("first")
    chat.button("Clear this chat").click()
    chat.button("Keep it").click()
    expect(chat.answers).to_have_count(1)
    chat.button("Clear this chat").click()
    chat.button("Clear it").click()
    expect(chat.answers).to_have_count(0)
    expect(chat.question).to_be_focused()
    expect(chat.page.get_by_role("status")).to_have_text("Cleared.")
    chat.page.reload()
    expect(chat.page.get_by_text("What would you like to know?")).to_be_visible()
    assert "You said: second" == chat.asked("second").inner_text()


def test_what_was_cleared_is_not_asked_again(site: Served, chat: Chat) -> None:
    """The page forgets what is answered or cleared; what the server forgot has ended, once."""
    chat.asked("first")
    (turn,) = history(chat, site)
    asked = {"session": session(chat), "id": turn["request_id"], "text": "first"}
    note = f"sessionStorage.setItem('asked', {json.dumps(json.dumps(asked))})"
    chat.page.evaluate(note)
    chat.page.reload()
    chat.has_ended()
    assert chat.page.evaluate(ASKED) is None

    chat.page.evaluate(note)
    chat.button("Clear this chat").click()
    chat.button("Clear it").click()
    expect(chat.answers).to_have_count(0)
    assert chat.page.evaluate(ASKED) is None

    chat.page.evaluate(note)
    chat.page.reload()
    expect(chat.notes).to_have_text("The server could not make sense of this.")


# Gives the frames that are sent where an answer is joined while something else is under way.
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


def test_an_answer_that_is_joined_may_have_to_wait(chat: Chat) -> None:
    """Its frames are asked for as soon as it is its turn."""
    assert [["clear", "first"], ["resume", "joined"]] == chat.page.evaluate(JOINING)


def test_a_question_waits_for_the_history(site: Served, chat: Chat) -> None:
    """Until it is known what was asked before, nothing else is; then it is, by itself."""
    chat.asked("first")
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
    """A gateway behind which one request for `action` fails, for a moment."""
    received = site.stack.gateway.received
    post = site.stack.gateway.connections._methods["POST"]
    failed: list[str] = []

    def receive(socket: Socket, text: str) -> None:
        asked = json.loads(text)
        if asked["action"] == action and not failed:
            failed.append(text)
            told = {"type": "error", "code": "throttled", "message": "", "retryable": True}
            post(socket, json.dumps({**told, "seq": 0, "request_id": asked["request_id"]}).encode())
        else:
            received(socket, text)

    return receive


def test_a_history_that_fails_for_a_moment(site: Served, chat: Chat) -> None:
    """The page says so, and asks for it again when the person wants it."""
    chat.asked("first")
    notice = chat.page.locator("#notice")
    with replaced(site.stack.gateway, "received", failing(site, "history")):
        chat.page.reload()
        expect(notice).to_contain_text("Too much is being asked at the moment.")
        expect(chat.page.get_by_role("status")).to_contain_text("Too much is being asked")
        chat.button("Try again").click()
        chat.has_ended()
    expect(notice).to_be_hidden()
    expect(chat.question).to_be_focused()
    assert "You said: first" == chat.answers.inner_text()


def test_a_clear_that_fails(site: Served, chat: Chat) -> None:
    """The page says so, until something else is asked."""
    chat.asked("first")
    notice = chat.page.locator("#notice")
    with replaced(site.stack.gateway, "received", failing(site, "clear")):
        chat.button("Clear this chat").click()
        chat.button("Clear it").click()
        expect(notice).to_contain_text("Too much is being asked at the moment.")
    chat.asked("second")
    expect(notice).to_be_hidden()


def test_a_tab_keeps_its_conversation(site: Served, chat: Chat, context: BrowserContext) -> None:
    """Whatever another tab has begun meanwhile; a third begins with the newest."""
    chat.asked("first")
    other = Chat(context.new_page(), site.page).open()
    other.has_ended()
    other.button("New chat").click()
    other.asked("second")
    third = Chat(context.new_page(), site.page).open()
    expect(third.answers).to_have_text(["You said: second"])
    chat.page.reload()
    expect(chat.answers).to_have_text(["You said: first"])


def test_busy_in_another_tab(site: Served, chat: Chat, context: BrowserContext) -> None:
    """The second tab says why it cannot ask, and can when the first has ended."""
    chat.asked("hello")
    other = Chat(context.new_page(), site.page).open()
    other.has_ended()
    chat.ask(chunks=2000, rate=50)
    chat.begins()
    other.asked("me too")
    expect(other.notes).to_contain_text("Another answer is still running")
    chat.button("Stop").click()
    chat.has_ended(2)
    other.button("Try again").click()
    expect(other.answers.last).to_have_text("You said: me too")


def test_an_answer_in_two_tabs(site: Served, chat: Chat, context: BrowserContext) -> None:
    """The newest tab hears it; the other has the rest as soon as somebody looks at it."""
    chat.ask(chunks=60, rate=40, text="ab ")
    chat.begins()
    other = Chat(context.new_page(), site.page)
    other.page.goto(site.page)
    other.has_ended()
    expect(chat.ended).to_have_count(0)
    chat.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    chat.has_ended()

    assert ("ab " * 60).strip() == chat.answers.inner_text() == other.answers.inner_text()


ERRORS: list[tuple[dict[str, Any], str, str | None]] = [
    ({"fault": {"before": "ThrottlingException"}}, "Too much is being asked", "Try again"),
    ({"fault": {"before": "AccessDeniedException"}}, "The model cannot be reached", None),
    ({"fault": {"before": "ModelErrorException"}}, "The model failed", "Try again"),
    ({"fault": {"at": 3, "type": "cut"}, "chunks": 5}, "The model failed", "Continue"),
    ({"fault": {"at": 3, "type": "validationException"}, "chunks": 5}, "", "Continue"),
]


def test_errors(chat: Chat) -> None:
    """Each is a sentence, with the way on where there is one."""
    for number, (order, words, way) in enumerate(ERRORS, start=1):
        chat.asked(**order)
        expect(chat.notes).to_have_count(number)
        expect(chat.notes.last).to_contain_text(words)
        ways = [
            each
            for each in ("Try again", "Continue")
            if chat.page.locator(".turn").last.get_by_role("button", name=each).is_visible()
        ]
        assert [way] * bool(way) == ways, order

    chat.question.fill("x" * 150_000)
    chat.question.press("Enter")
    chat.has_ended(len(ERRORS) + 1)
    expect(chat.notes.last).to_contain_text("longer than this chat takes")


def test_there_is_a_sentence_for_everything(chat: Chat) -> None:
    """For each code of an error, and for each way in which an answer does not end by itself."""
    codes, ends = chat.page.evaluate(
        """async () => {
          const words = await import("./words.js");
          return [Object.keys(words.ERRORS), Object.keys(words.ENDS)];
        }"""
    )
    said = [
        SCHEMA["$defs"]["done"]["properties"]["stop_reason"],
        SCHEMA["$defs"]["turn"]["properties"]["state"],
    ]
    by_itself = {"end_turn", "stop_sequence", "other", "complete"}

    assert set(CODES) - {"duplicate"} == set(codes)  # that is resumed, not told
    assert {each["const"] for values in said for each in values["oneOf"]} - by_itself == set(ends)


def test_a_conversation_that_cannot_be_read(chat: Chat) -> None:
    """The page says so, and offers another."""
    chat.page.evaluate("sessionStorage.setItem('session', 'no id at all')")
    chat.page.reload()
    notice = chat.page.locator("#notice")
    expect(notice).to_contain_text("The server could not make sense of this.")
    notice.get_by_role("button", name="New chat").click()
    expect(notice).to_be_hidden()
    assert "You said: hello" == chat.asked("hello").inner_text()


def test_over_budget(site: Served, chat: Chat) -> None:
    """It says when the allowance is free again."""
    chat.asked("hello")
    table = boto3.resource("dynamodb", endpoint_url=site.dynamodb, region_name=REGION).Table("chat")
    (count,) = [item for item in table.scan()["Items"] if str(item["pk"]).startswith("budget#")]
    table.put_item(Item={**count, "requests": REQUESTS})
    try:
        chat.asked("more")
    finally:
        table.put_item(Item=count)

    expect(chat.notes).to_contain_text("Today's allowance is used up. It is free again ")
    expect(chat.notes).to_contain_text(str(time.gmtime().tm_year))


def test_refused(site: Served, chat: Chat, told: Told) -> None:
    """A page is not told why it may not connect; it says what it may be, and tries again."""
    told.expected.append(REFUSED)
    notice = chat.page.locator("#notice")
    with refusing(site):
        site.drop()
        expect(notice).to_contain_text("the server is not there, or does not take this page in")
        expect(notice).to_contain_text("Trying again in")
        chat.ask("when you can")
    chat.button("Try now").click()
    expect(chat.question).to_be_focused()
    expect(chat.answers).to_have_text("You said: when you can")
    expect(notice).to_be_hidden()


def test_a_question_is_taken_back(site: Served, chat: Chat, told: Told) -> None:
    """One that could not leave yet is given back to who stops it, before what is written by now."""
    told.expected.append(REFUSED)
    with refusing(site):
        site.drop()
        expect(chat.page.locator("#notice")).to_contain_text("Trying again in")
        chat.ask("never mind")
        chat.button("Stop").click()
        expect(chat.question).to_have_value("never mind")
        expect(chat.question).to_be_focused()
        expect(chat.page.locator(".turn")).to_have_count(0)
        chat.question.press("Enter")
        chat.question.fill("or rather")
        chat.question.press("Escape")
    expect(chat.question).to_have_value("never mind\n\nor rather")


def test_a_signed_url(site: Served, page: Page, told: Told) -> None:
    """Under IAM the page asks for a signed URL, keeps it nowhere, and asks anew if need be."""
    told.expected.append(REFUSED)
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
            "nonsense": "It should begin with ws://",
            "wss://elsewhere.example/": "It should begin with ws://",
            f"{site.stack.url}?format=text": "It is signed for format=text",
        }.items():
            field.fill(wrong)
            chat.button("Connect").click()
            expect(page.get_by_role("alert")).to_contain_text(words)
        field.fill(site.stack.url)  # not signed: refused
        chat.button("Connect").click()
        expect(page.locator("#notice")).to_contain_text("the signed URL is used up")
        expect(field).to_be_visible()
        field.fill(signed)
        field.press("Enter")
        assert "You said: hello" == chat.asked("hello").inner_text()

    kept = page.evaluate("JSON.stringify([localStorage, sessionStorage, location.href])")
    assert "Signature" not in kept


def test_a_connection_is_kept(site: Served, page: Page) -> None:
    """A person may read for an hour: a ping goes out before API Gateway thinks nobody is there."""
    sent: list[str | bytes] = []

    def opened(socket: WebSocket) -> None:
        socket.on("framesent", noted)

    def noted(text: str | bytes) -> None:
        sent.append(text)

    page.on("websocket", opened)
    page.add_init_script(COUNT)
    page.clock.install()
    Chat(page, site.page).open()
    for pongs in range(1, 16):
        page.clock.run_for(241_000)
        page.wait_for_function("pongs => window.heard === pongs", arg=pongs)

    assert [{"action": "ping"}] * 15 == [json.loads(each) for each in sent]


def test_a_silent_connection_is_given_up(site: Served, page: Page, told: Told) -> None:
    """Where an answer is awaited and nothing at all is heard, another connection has it."""
    told.expected.append("closed before")
    chat = Chat(page, site.page)
    page.clock.install()
    chat.open()

    def deaf(_socket: Socket, _text: str) -> None:
        return

    with replaced(site.stack.gateway, "received", deaf):
        chat.ask("is anybody there")
        page.clock.run_for(20_000)
        page.clock.run_for(10_000)
    page.clock.resume()
    expect(chat.answers).to_have_text("You said: is anybody there")


def test_what_a_screen_reader_hears(chat: Chat) -> None:
    """That it is being answered, and then the answer: once, not word by word."""
    chat.page.evaluate(LISTEN)
    chat.asked(chunks=40, rate=40, text="word ")

    assert ["Answering.", "Answer: " + ("word " * 40).strip()] == chat.page.evaluate(
        "window.announced"
    )
    expect(chat.page.get_by_role("log")).to_have_attribute("aria-live", "off")


def test_it_scrolls_along_only_with_who_reads_at_the_end(chat: Chat) -> None:
    """Who scrolls back is left in peace, and finds the way to the end again."""
    chat.ask(chunks=200, rate=100, text="line\n\n")
    chat.page.wait_for_function("() => document.getElementById('scroller').scrollTop > 400")
    chat.page.get_by_role("main").hover()
    chat.page.mouse.wheel(0, -300)
    expect(chat.button("Newest ↓")).to_be_visible()
    left = chat.page.evaluate(PLACE)["top"]
    chat.has_ended()
    assert left == chat.page.evaluate(PLACE)["top"]
    chat.button("Newest ↓").click()
    expect(chat.button("Newest ↓")).to_be_hidden()
    expect(chat.question).to_be_focused()
    assert 0 == chat.page.evaluate(PLACE)["left"]
    chat.ask(chunks=50, rate=100, text="line\n\n")
    chat.has_ended(2)
    chat.page.wait_for_function(f"() => ({PLACE})().left === 0")


def test_copy(chat: Chat, context: BrowserContext) -> None:
    """An answer is copied as Markdown, and code as it is."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    chat.asked(chunks=1, text="**Look**:\n\n```py\nx = '<b>'\n```\n")
    pasted = "navigator.clipboard.readText()"
    chat.button("Copy answer").click()
    expect(chat.button("Copy answer")).to_have_text("Copied")
    assert "**Look**:\n\n```py\nx = '<b>'\n```\n" == chat.page.evaluate(pasted)
    chat.button("Copy code").click()
    expect(chat.button("Copy code")).to_have_text("Copied")
    assert "x = '<b>'" == chat.page.evaluate(pasted)
