// The page: what a person does becomes requests, and what is heard becomes turns.
//
// Kept in the browser: the newest session's id and the theme (localStorage), and, of this tab alone,
// its session's id, the question that is under way, the one that is being written, and what signin.js
// keeps (sessionStorage). Nothing else; and of these the theme alone once a person has signed out.

import { Link } from "./link.js";
import { Conversation, CONTINUE, newId } from "./protocol.js";
import { Turn } from "./turn.js";
import { errorText } from "./words.js";

const PROTOCOL = "chat.v1";
// So near to the end a person counts as reading along.
const NEAR_PIXELS = 48;

const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((each) => [each.id, each]));

// -- the conversation ---------------------------------------------------------------------------------

const turns = new Map(); // by the id of their request
let past = []; // entries of the history, while it is told
let held = false; // whether the question is sent as soon as the history is told
let conversation;

function begin(sessionId) {
  conversation?.lost();
  localStorage.setItem("session", sessionId); // for the next tab
  keep("session", sessionId); // this one stays with it, whatever others begin
  turns.clear();
  past = [];
  held = false;
  page.log.replaceChildren();
  conversation = new Conversation(sessionId, (frame) => link.send(frame), hear);
  if (link.isOpen) {
    warn("");
    conversation.opened();
  }
  show();
}

function newChat() {
  begin(newId());
  page.question.focus();
}

function hear(request, frame) {
  HEARERS[request.kind](request, frame);
  show();
}

const HEARERS = {
  chat(request, frame) {
    const turn = turns.get(request.id);
    if (frame === null) return takeBack(request, turn);
    if (frame.type === "start") page.model.textContent = frame.model;
    else if (frame.type === "delta") turn.say(frame.text);
    else if (frame.type === "reasoning") turn.reason(frame.text);
    else {
      turn.end(frame);
      sessionStorage.removeItem("asked");
      announce(frame.type === "error" ? errorText(frame) : `Answer: ${turn.text}`);
    }
  },
  history(_, frame) {
    if (frame.type === "again") past = [];
    else if (frame.type === "history") past.push(...frame.turns);
    else if (frame.type === "done") {
      warn("");
      remember(frame.running);
      if (held) send();
    } else if (frame.retryable) warn(errorText(frame), "Try again", recall);
    else warn(errorText(frame), "New chat", newChat);
  },
  clear(_, frame) {
    if (frame.type === "error") return warn(errorText(frame));
    // What was asked since then is not forgotten.
    for (const each of [...page.log.children]) if (!each.ariaBusy) each.remove();
    if (!page.log.childElementCount) sessionStorage.removeItem("asked");
    announce("Cleared.");
  },
};

/** Asks for what was said before. */
function recall() {
  past = [];
  conversation.history();
  show();
}

/** A failure is told until something else is asked; that the connection is away, until it is back. */
function unwarn() {
  if (link.isOpen) warn("");
}

/** A turn on the page, for a request; with none, for one of the past. */
function add(question, request, place = "append") {
  const turn = new Turn(question, {
    goOn: () => follow(conversation.goOn()),
    askAgain() {
      turn.element.remove();
      follow(question === null ? conversation.goOn() : conversation.ask(question));
    },
    newChat,
  });
  if (request) turns.set(request.id, turn);
  page.log[place](turn.element);
  return turn;
}

/** Shows a request that was just made. */
function follow(request) {
  const { id, text } = request;
  keep("asked", JSON.stringify({ session: conversation.sessionId, id, text }));
  unwarn();
  add(text, request);
  announce("Answering.");
  following = true;
  show();
  page.question.focus();
}

/** Keeps something for this tab; what does not fit is not worth stopping for. */
function keep(name, text) {
  try {
    sessionStorage.setItem(name, text);
  } catch {
    sessionStorage.removeItem(name);
  }
}

function takeBack(request, turn) {
  turn.element.remove();
  sessionStorage.removeItem("asked");
  // What is being written stays, behind what is taken back. Going on has no text.
  write([request.text, page.question.value].filter((each) => each?.trim()).join("\n\n"));
}

/** Shows the history, and goes on with what ran, or was asked, when the page was left. */
function remember(running) {
  const whole = new Map();
  for (const entry of past) {
    const turn = whole.get(entry.turn) ?? { ...entry, user: "", assistant: "" };
    turn.user += entry.user;
    turn.assistant += entry.assistant;
    whole.set(entry.turn, turn);
  }
  for (const entry of [...whole.values()].reverse()) {
    const turn = add(entry.user.startsWith(CONTINUE) ? null : entry.user, null, "prepend");
    turn.say(entry.assistant);
    turn.past(entry.state);
  }
  const asked = JSON.parse(sessionStorage.getItem("asked"));
  const mine = asked?.session === conversation.sessionId && !turns.has(asked.id) ? asked : null;
  const answered = past.some((entry) => entry.request_id === mine?.id);
  past = [];
  if (answered) sessionStorage.removeItem("asked");
  if (running) {
    const text = running === mine?.id ? mine.text : null;
    if (!turns.has(running)) add(text, conversation.join(running, text));
  } else if (mine && !answered) {
    add(mine.text, mine.text === null ? conversation.goOn(mine.id) : conversation.ask(mine.text, mine.id));
  }
}

// -- the connection -----------------------------------------------------------------------------------

const config = await fetch("config.json")
  .then((answer) => answer.json())
  .catch((error) => {
    warn("What this page has to know cannot be read. Load it again in a while.");
    throw error;
  });
let signedUrl = null; // under IAM: pasted, and kept here alone

/** How a socket is opened, for each way of being let in. */
const OPENERS = {
  none: () => new WebSocket(config.websocket_url, [PROTOCOL]),
  async jwt() {
    const { signIn, signOut } = await import("./signin.js");
    const { token, name } = await signIn(config);
    page["sign-out"].hidden = false;
    page["sign-out"].title = name ?? "";
    page["sign-out"].onclick = () => {
      for (const name of ["session", "asked", "draft"]) sessionStorage.removeItem(name);
      localStorage.removeItem("session");
      return signOut();
    };
    return new WebSocket(config.websocket_url, [PROTOCOL, `bearer.${token}`]);
  },
  async iam() {
    signedUrl ??= await askForUrl();
    return new WebSocket(signedUrl, [PROTOCOL]);
  },
};

// A browser does not tell a page why it was refused.
const REFUSALS = {
  none: "Cannot connect: the server is not there, or does not take this page in.",
  jwt: "Cannot connect: the server is not there, or does not accept this sign-in.",
  iam: "Cannot connect: the server is not there, or the signed URL is used up.",
};

const LINK_STATES = {
  connecting: ({ again }) => warn(again ? "Connecting again …" : "Connecting …"),
  open() {
    warn("");
    conversation.opened();
  },
  waiting({ until, refused, error }) {
    conversation.lost();
    if (refused) signedUrl = null;
    if (error) count(until, `Not connected: ${error.message}`);
    else count(until, refused ? REFUSALS[config.auth] : "The connection was lost.");
  },
  closed({ error }) {
    conversation.lost();
    warn(`Not connected: ${error.message}`, "Connect", () => link.connect());
  },
};

const link = new Link(() => OPENERS[config.auth](), {
  state(state) {
    clearInterval(counting);
    LINK_STATES[state.name](state);
    show();
  },
  frame: (frame) => conversation.receive(frame),
  awaited: () => conversation.current !== null,
  watched: () => document.visibilityState === "visible",
});
let counting = 0;

/** Says how long it is until the next attempt. */
function count(until, why) {
  const tell = () => {
    const seconds = Math.max(1, Math.ceil((until - Date.now()) / 1000));
    notice(`${why} Trying again in ${seconds} s.`, "Try now", () => link.nudge());
  };
  tell();
  counting = setInterval(tell, 1000);
  announce(why);
}

function askForUrl() {
  return new Promise((resolve, reject) => {
    page.signed.value = page["signed-wrong"].textContent = "";
    page.signing.showModal();
    page.signed.form.onsubmit = (event) => {
      event.preventDefault();
      const pasted = page.signed.value.trim();
      page["signed-wrong"].textContent = mistake(pasted);
      if (mistake(pasted)) return;
      resolve(pasted);
      page.signing.close();
    };
    page.signing.onclose = () => reject(new Error("a signed URL is needed."));
  });
}

/** Why a signed URL will not do; "" where it will. */
function mistake(pasted) {
  const { origin } = new URL(config.websocket_url);
  if (!URL.canParse(pasted) || new URL(pasted).origin !== origin) return `It should begin with ${origin}/`;
  const format = new URL(pasted).searchParams.get("format") ?? "events";
  return format === "events" ? "" : `It is signed for format=${format}; this page needs one without.`;
}

// -- the page -----------------------------------------------------------------------------------------

let following = true; // whether the person reads at the end

/** Brings everything in line with what is so. */
function show() {
  const current = conversation?.current;
  const answering = current?.kind === "chat";
  page.send.hidden = answering;
  withdraw(page.stop, "hidden", !answering);
  page.stop.classList.toggle("stopping", Boolean(current?.stopping));
  page.send.disabled = !page.question.value.trim();
  withdraw(page.clear, "disabled", answering || !page.log.childElementCount);
  page.empty.hidden = page.log.childElementCount > 0 || current?.kind === "history";
}

/** Makes a button `hidden` or `disabled`, or not; whoever was on it goes on at the question. */
function withdraw(button, how, gone) {
  if (gone && button === document.activeElement) page.question.focus();
  button[how] = gone;
}

function announce(text) {
  page.announcer.textContent = text;
}

/** Tells what is the matter, in sight and to a screen reader; "" for nothing. */
function warn(text, label = "", act = null) {
  notice(text, label, act);
  if (text) announce(text);
}

/** One line above the composer; "" for none. */
function notice(text, label, act) {
  page.notice.hidden = !text;
  page["notice-text"].textContent = text;
  withdraw(page["notice-action"], "hidden", !label);
  page["notice-action"].textContent = label;
  page["notice-action"].onclick = act;
}

function write(text) {
  page.question.value = text;
  page.question.dispatchEvent(new Event("input"));
}

function send() {
  const text = page.question.value.toWellFormed();
  // What was asked before, and whether it runs, is known once the history is told.
  held = conversation.current?.kind === "history";
  if (!text.trim() || held || conversation.current?.kind === "chat") return;
  follow(conversation.ask(text));
  write("");
}

function stop() {
  conversation.stop();
  show();
}

page.composer.addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
page.question.addEventListener("input", () => {
  held = false;
  keep("draft", page.question.value);
  if (!CSS.supports("field-sizing", "content")) {
    page.question.style.height = "auto";
    page.question.style.height = `${page.question.scrollHeight}px`;
  }
  show();
});

/**
 * Whether a key is an input method's: Enter chooses among its proposals. Safari ends the composition
 * before it tells of that Enter, and `keyCode` alone still knows: https://webkit.org/b/165004
 */
const composes = (event) => event.isComposing || event.keyCode === 229;

page.question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !composes(event)) {
    event.preventDefault();
    send();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !composes(event) && !document.querySelector("dialog[open]")) stop();
});
page.stop.addEventListener("click", stop);
page.new.addEventListener("click", newChat);
page.clear.addEventListener("click", () => page.clearing.showModal());
page.keep.addEventListener("click", () => page.clearing.close());
page.forget.addEventListener("click", () => {
  page.clearing.close();
  unwarn();
  conversation.clear();
});
page.later.addEventListener("click", () => page.signing.close());
page.theme.addEventListener("click", () => {
  const { dataset } = document.documentElement;
  const shown = dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const theme = shown === "dark" ? "light" : "dark";
  dataset.theme = theme;
  localStorage.setItem("theme", theme);
});

page.scroller.addEventListener("scroll", () => {
  const { scrollHeight, scrollTop, clientHeight } = page.scroller;
  following = scrollHeight - scrollTop - clientHeight < NEAR_PIXELS;
  withdraw(page.newest, "hidden", following);
});
page.newest.addEventListener("click", toEnd);
new ResizeObserver(() => following && toEnd()).observe(page.log);

function toEnd() {
  page.scroller.scrollTop = page.scroller.scrollHeight;
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible") return;
  link.nudge();
  conversation.look();
});
addEventListener("online", () => link.nudge());

write(sessionStorage.getItem("draft") ?? "");
const known = sessionStorage.getItem("session") ?? localStorage.getItem("session");
begin(known ?? newId());
if (known) recall();
show();
link.connect();
