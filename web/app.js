// The page: user actions become requests, and frames become turns.
//
// Stored in the browser: the latest session's id and the theme (localStorage); and, for this tab only,
// its session's id, the pending question, the draft, and what signin.js stores (sessionStorage).
// Nothing else. Signing out deletes everything but the theme.

import { Connection } from "./connection.js";
import { errorText } from "./messages.js";
import { Conversation, CONTINUE, newId } from "./protocol.js";
import { Turn } from "./turn.js";

const PROTOCOL = "chat.v1";
// Within this distance of the end, the page scrolls along with a growing answer.
const NEAR_END_PIXELS = 48;

const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((each) => [each.id, each]));

// -- the conversation ---------------------------------------------------------------------------------

const turns = new Map(); // by request id
let entries = []; // of the history, until it is complete
let sendAfterHistory = false; // whether the user pressed Enter before the history was complete
let conversation;

function openSession(sessionId) {
  conversation?.lost();
  localStorage.setItem("session", sessionId); // for the next new tab
  store("session", sessionId); // for this tab, whatever session other tabs open
  turns.clear();
  entries = [];
  sendAfterHistory = false;
  page.log.replaceChildren();
  conversation = new Conversation(sessionId, (frame) => connection.send(frame), onFrame);
  if (connection.isOpen) {
    notify("");
    conversation.opened();
  }
  update();
}

function newChat() {
  openSession(newId());
  page.question.focus();
}

function onFrame(request, frame) {
  FRAME_HANDLERS[request.kind](request, frame);
  update();
}

const FRAME_HANDLERS = {
  chat(request, frame) {
    const turn = turns.get(request.id);
    if (frame === null) return withdraw(request, turn);
    if (frame.type === "start") page.model.textContent = frame.model;
    else if (frame.type === "delta") turn.addText(frame.text);
    else if (frame.type === "reasoning") turn.addReasoning(frame.text);
    else {
      turn.end(frame);
      sessionStorage.removeItem("pending");
      announce(frame.type === "error" ? errorText(frame) : `Answer: ${turn.text}`);
    }
  },
  history(_, frame) {
    if (frame.type === "restart") entries = [];
    else if (frame.type === "history") entries.push(...frame.turns);
    else if (frame.type === "done") {
      notify("");
      showHistory(frame.running);
      if (sendAfterHistory) send();
    } else if (frame.retryable) notify(errorText(frame), "Try again", requestHistory);
    else notify(errorText(frame), "New chat", newChat);
  },
  clear(_, frame) {
    if (frame.type === "error") return notify(errorText(frame));
    // A question that was asked since then is not cleared.
    for (const each of [...page.log.children]) if (!each.ariaBusy) each.remove();
    if (!page.log.childElementCount) sessionStorage.removeItem("pending");
    announce("Cleared.");
  },
};

function requestHistory() {
  entries = [];
  conversation.history();
  update();
}

/** Hides an error of the last request. A notice about the connection stays until it is open. */
function dismissError() {
  if (connection.isOpen) notify("");
}

/** Adds a turn to the page, for a request, or for a stored turn if there is none. */
function addTurn(question, request, place = "append") {
  const turn = new Turn(question, {
    continueAnswer: () => showRequest(conversation.continueAnswer()),
    retry() {
      turn.element.remove();
      showRequest(question === null ? conversation.continueAnswer() : conversation.ask(question));
    },
    newChat,
  });
  if (request) turns.set(request.id, turn);
  page.log[place](turn.element);
  return turn;
}

/** Shows a request that was just made. */
function showRequest(request) {
  const { id, text } = request;
  store("pending", JSON.stringify({ session: conversation.sessionId, id, text }));
  dismissError();
  addTurn(text, request);
  announce("Generating an answer.");
  atEnd = true;
  update();
  page.question.focus();
}

/** Stores a value for this tab. One that exceeds the browser's quota is not stored. */
function store(name, text) {
  try {
    sessionStorage.setItem(name, text);
  } catch {
    sessionStorage.removeItem(name);
  }
}

/** Moves a question that was not sent back to the composer. */
function withdraw(request, turn) {
  turn.element.remove();
  sessionStorage.removeItem("pending");
  // Before the draft. A request to continue has no text.
  setDraft([request.text, page.question.value].filter((each) => each?.trim()).join("\n\n"));
}

/** Shows the history, and resumes or repeats the request that was active when the page was closed. */
function showHistory(running) {
  const stored = new Map();
  for (const entry of entries) {
    const turn = stored.get(entry.turn) ?? { ...entry, user: "", assistant: "" };
    turn.user += entry.user;
    turn.assistant += entry.assistant;
    stored.set(entry.turn, turn);
  }
  for (const entry of [...stored.values()].reverse()) {
    const turn = addTurn(entry.user.startsWith(CONTINUE) ? null : entry.user, null, "prepend");
    turn.addText(entry.assistant);
    turn.endStored(entry.state);
  }
  const pending = JSON.parse(sessionStorage.getItem("pending"));
  const mine = pending?.session === conversation.sessionId && !turns.has(pending.id) ? pending : null;
  const answered = entries.some((entry) => entry.request_id === mine?.id);
  entries = [];
  if (answered) sessionStorage.removeItem("pending");
  if (running) {
    const text = running === mine?.id ? mine.text : null;
    if (!turns.has(running)) addTurn(text, conversation.join(running, text));
  } else if (mine && !answered) {
    const { id, text } = mine;
    addTurn(text, text === null ? conversation.continueAnswer(id) : conversation.ask(text, id));
  }
}

// -- the connection -----------------------------------------------------------------------------------

const config = await fetch("config.json")
  .then((response) => response.json())
  .catch((error) => {
    notify("The page's configuration cannot be loaded. Reload the page later.");
    throw error;
  });
let signedUrl = null; // with IAM: pasted by the user, and stored only here

/** Opens a socket, for each kind of authentication. */
const OPENERS = {
  none: () => new WebSocket(config.websocket_url, [PROTOCOL]),
  async jwt() {
    const { signIn, signOut } = await import("./signin.js");
    const { token, name } = await signIn(config);
    page["sign-out"].hidden = false;
    page["sign-out"].title = name ?? "";
    page["sign-out"].onclick = () => {
      for (const name of ["session", "pending", "draft"]) sessionStorage.removeItem(name);
      localStorage.removeItem("session");
      return signOut();
    };
    return new WebSocket(config.websocket_url, [PROTOCOL, `bearer.${token}`]);
  },
  async iam() {
    signedUrl ??= await promptForUrl();
    return new WebSocket(signedUrl, [PROTOCOL]);
  },
};

// Browsers do not disclose to a page why a handshake failed.
const HANDSHAKE_ERRORS = {
  none: "Cannot connect: the server is unreachable, or does not allow this page.",
  jwt: "Cannot connect: the server is unreachable, or rejected this sign-in.",
  iam: "Cannot connect: the server is unreachable, or the signed URL has expired.",
};

const CONNECTION_STATES = {
  connecting: ({ again }) => notify(again ? "Reconnecting …" : "Connecting …"),
  open() {
    notify("");
    conversation.opened();
  },
  waiting({ until, refused, error }) {
    conversation.lost();
    if (refused) signedUrl = null;
    if (error) startCountdown(until, `Not connected: ${error.message}`);
    else startCountdown(until, refused ? HANDSHAKE_ERRORS[config.auth] : "Connection lost.");
  },
  closed({ error }) {
    conversation.lost();
    notify(`Not connected: ${error.message}`, "Connect", () => connection.connect());
  },
};

const connection = new Connection(() => OPENERS[config.auth](), {
  state(state) {
    clearInterval(countdown);
    CONNECTION_STATES[state.name](state);
    update();
  },
  frame: (frame) => conversation.receive(frame),
  isPending: () => conversation.current !== null,
  isVisible: () => document.visibilityState === "visible",
});
let countdown = 0;

/** Shows the seconds until the next attempt, after `reason`. */
function startCountdown(until, reason) {
  const tick = () => {
    const seconds = Math.max(1, Math.ceil((until - Date.now()) / 1000));
    showNotice(`${reason} Reconnecting in ${seconds} s.`, "Reconnect now", () => connection.check());
  };
  tick();
  countdown = setInterval(tick, 1000);
  announce(reason);
}

function promptForUrl() {
  return new Promise((resolve, reject) => {
    page["signed-url"].value = page["url-error"].textContent = "";
    page["url-dialog"].showModal();
    page["signed-url"].form.onsubmit = (event) => {
      event.preventDefault();
      const url = page["signed-url"].value.trim();
      page["url-error"].textContent = urlError(url);
      if (urlError(url)) return;
      resolve(url);
      page["url-dialog"].close();
    };
    page["url-dialog"].onclose = () => reject(new Error("a signed URL is required."));
  });
}

/** Why a signed URL cannot be used; "" if it can. */
function urlError(url) {
  const { origin } = new URL(config.websocket_url);
  if (!URL.canParse(url) || new URL(url).origin !== origin) return `The URL must begin with ${origin}/`;
  const format = new URL(url).searchParams.get("format") ?? "events";
  return format === "events" ? "" : `The URL is signed for format=${format}; sign one without a format.`;
}

// -- the page -----------------------------------------------------------------------------------------

let atEnd = true; // whether the user reads at the end of the conversation

/** Updates all controls from the current state. */
function update() {
  const current = conversation?.current;
  const answering = current?.kind === "chat";
  page.send.hidden = answering;
  toggle(page.stop, "hidden", !answering);
  page.stop.classList.toggle("stopping", Boolean(current?.stopping));
  page.send.disabled = !page.question.value.trim();
  toggle(page.clear, "disabled", answering || !page.log.childElementCount);
  page.empty.hidden = page.log.childElementCount > 0 || current?.kind === "history";
}

/** Sets a button's `hidden` or `disabled`. If it had the focus and loses it, the composer gets it. */
function toggle(button, property, value) {
  if (value && button === document.activeElement) page.question.focus();
  button[property] = value;
}

/** Reports a text to screen readers. */
function announce(text) {
  page.announcer.textContent = text;
}

/** Shows a notice and reports it to screen readers; "" hides it. */
function notify(text, label = "", onClick = null) {
  showNotice(text, label, onClick);
  if (text) announce(text);
}

/** Shows one line above the composer, with a button if it has a label; "" hides it. */
function showNotice(text, label, onClick) {
  page.notice.hidden = !text;
  page["notice-text"].textContent = text;
  toggle(page["notice-action"], "hidden", !label);
  page["notice-action"].textContent = label;
  page["notice-action"].onclick = onClick;
}

function setDraft(text) {
  page.question.value = text;
  page.question.dispatchEvent(new Event("input"));
}

function send() {
  const text = page.question.value.toWellFormed();
  // Whether an earlier request is still active is known only when the history is complete.
  sendAfterHistory = conversation.current?.kind === "history";
  if (!text.trim() || sendAfterHistory || conversation.current?.kind === "chat") return;
  showRequest(conversation.ask(text));
  setDraft("");
}

function stop() {
  conversation.stop();
  update();
}

page.composer.addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
page.question.addEventListener("input", () => {
  sendAfterHistory = false;
  store("draft", page.question.value);
  if (!CSS.supports("field-sizing", "content")) {
    page.question.style.height = "auto";
    page.question.style.height = `${page.question.scrollHeight}px`;
  }
  update();
});

/**
 * Whether a key event belongs to an input method, where Enter selects a candidate. Safari ends the
 * composition before the keydown of that Enter; only `keyCode` still shows it:
 * https://webkit.org/b/165004
 */
const isComposing = (event) => event.isComposing || event.keyCode === 229;

page.question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !isComposing(event)) {
    event.preventDefault();
    send();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !isComposing(event) && !document.querySelector("dialog[open]")) stop();
});
page.stop.addEventListener("click", stop);
page.new.addEventListener("click", newChat);
page.clear.addEventListener("click", () => page["clear-dialog"].showModal());
page["clear-cancel"].addEventListener("click", () => page["clear-dialog"].close());
page["clear-confirm"].addEventListener("click", () => {
  page["clear-dialog"].close();
  dismissError();
  conversation.clear();
});
page["url-cancel"].addEventListener("click", () => page["url-dialog"].close());
page.theme.addEventListener("click", () => {
  const { dataset } = document.documentElement;
  const current = dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const theme = current === "dark" ? "light" : "dark";
  dataset.theme = theme;
  localStorage.setItem("theme", theme);
});

page.scroller.addEventListener("scroll", () => {
  const { scrollHeight, scrollTop, clientHeight } = page.scroller;
  atEnd = scrollHeight - scrollTop - clientHeight < NEAR_END_PIXELS;
  toggle(page.latest, "hidden", atEnd);
});
page.latest.addEventListener("click", scrollToEnd);
new ResizeObserver(() => atEnd && scrollToEnd()).observe(page.log);

function scrollToEnd() {
  page.scroller.scrollTop = page.scroller.scrollHeight;
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible") return;
  connection.check();
  conversation.refresh();
});
addEventListener("online", () => connection.check());

setDraft(sessionStorage.getItem("draft") ?? "");
const previousSession = sessionStorage.getItem("session") ?? localStorage.getItem("session");
openSession(previousSession ?? newId());
if (previousSession) requestHistory();
update();
connection.connect();
