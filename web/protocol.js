// The wire protocol: requests, sent one after the other, and their frames, in order.
//
// Rules: a request keeps its id until it has ended, whatever happens to the connection. One that got
// no frame is sent again under the same id; the server accepts each id once, so no question is
// answered twice. One that had started is resumed at the next `seq`. Each frame is delivered once,
// and none is skipped.
//
// It does not know sockets, or the page.

// API Gateway's quota for one WebSocket frame. A browser cannot split a message into several.
const FRAME_BYTES = 32 * 1024;
// As in src/wire/requests.py.
const MAX_PARTS = 32;
// A request without a frame for this long is resumed.
const SILENT_SECONDS = 60;
// A resume that failed with a retryable error is sent again after this pause.
const RETRY_SECONDS = 2;
// As in src/turn.py: how the history shows a turn that continues the answer before it.
export const CONTINUE = "Continue exactly where your last answer ended.";

const HISTORY_TURNS = 50;
const TOO_LARGE = { type: "error", code: "too_large", retryable: false };

const utf8 = new TextEncoder();

/** The size of `text` within a frame, in bytes. */
function bytes(text) {
  return utf8.encode(JSON.stringify(text)).length - 2;
}

/** The frames of a question: one, or as many parts as it needs. */
function questionFrames(text, ids) {
  const chat = { action: "chat", ...ids, body: text };
  if (utf8.encode(JSON.stringify(chat)).length <= FRAME_BYTES) return [chat];
  const partBytes = FRAME_BYTES - utf8.encode(JSON.stringify({ ...chat, body: "", part: 99, parts: 99 })).length;
  const bodies = [];
  for (let rest = text; rest;) {
    const body = prefix(rest, partBytes);
    bodies.push(body);
    rest = rest.slice(body.length);
  }
  return bodies.map((body, n) => ({ ...chat, body, part: n + 1, parts: bodies.length }));
}

/**
 * The longest prefix of `text` that takes at most `limit` bytes in a frame. It never ends inside a
 * character: half a surrogate pair takes six bytes in JSON and the pair four, so if half of it fits,
 * the pair fits.
 */
function prefix(text, limit) {
  let [low, high] = [1, Math.min(text.length, limit)];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (bytes(text.slice(0, middle)) <= limit) low = middle;
    else high = middle - 1;
  }
  return text.slice(0, low);
}

/** A new, unguessable id. */
export function newId() {
  const random = crypto.getRandomValues(new Uint8Array(24));
  return btoa(String.fromCharCode(...random))
    .replaceAll("+", "-")
    .replaceAll("/", "_");
}

/**
 * One session's requests. `send(object)` writes a frame. `onFrame(request, frame)` is called with each
 * frame, once and in order; with null if the request was withdrawn before it was sent.
 */
export class Conversation {
  #send;
  #onFrame;
  #connected = false;
  #queue = [];
  #timer = 0;

  constructor(sessionId, send, onFrame) {
    this.sessionId = sessionId;
    this.#send = send;
    this.#onFrame = onFrame;
  }

  /** The active request, if any. */
  get current() {
    return this.#queue[0] ?? null;
  }

  ask(text, id = newId()) {
    return this.#add({ kind: "chat", id, text, frames: questionFrames(text, this.#ids(id)) });
  }

  continueAnswer(id = newId()) {
    const frame = { action: "chat", ...this.#ids(id), continue: true };
    return this.#add({ kind: "chat", id, text: null, frames: [frame] });
  }

  clear(id = newId()) {
    return this.#add({ kind: "clear", id, frames: [{ action: "clear", ...this.#ids(id) }] });
  }

  history(id = newId()) {
    const frame = { action: "history", ...this.#ids(id), limit: HISTORY_TURNS };
    return this.#add({ kind: "history", id, frames: [frame] });
  }

  /** Resumes a request that an earlier page, or another client, sent. */
  join(id, text = null) {
    return this.#add({ kind: "chat", id, text, frames: [], sent: true });
  }

  /** Stops the active answer; withdraws it if it was never sent. */
  stop() {
    const request = this.current;
    if (request?.kind !== "chat") return;
    if (request.sent) {
      request.stopping = true;
      if (this.#connected) this.#sendStop(request);
    } else {
      this.#end(request, null);
    }
  }

  /** Resumes the active answer: its frames may have gone to another connection meanwhile. */
  refresh() {
    if (this.#connected && this.current?.kind === "chat" && this.current.sent) this.#resume(this.current);
  }

  /** The connection opened: sends or resumes the active request. */
  opened() {
    this.#connected = true;
    const request = this.current;
    if (!request) return;
    if (request.next > 0 || !request.frames.length) this.#resume(request);
    else this.#start(request);
    if (request.stopping) this.#sendStop(request);
  }

  /** The connection closed. */
  lost() {
    this.#connected = false;
    clearTimeout(this.#timer);
  }

  /** Processes one frame from the server. */
  receive(frame) {
    const request = this.current;
    if (!request || frame.type === "pong") return;
    if (!frame.type) {
      // API Gateway's own error names no request. One without a frame yet may not have arrived.
      if (request.next === 0) this.#resumeLater(request, RETRY_SECONDS);
    } else if (frame.request_id === request.id) {
      this.#process(request, frame);
    } else if (request.resuming && frame.type === "error" && frame.retryable) {
      this.#resumeLater(request, RETRY_SECONDS); // the error of a failed resume has an id of its own
    }
  }

  #ids(id) {
    return { request_id: id, session_id: this.sessionId };
  }

  #add(fields) {
    const request = { next: 0, sent: false, accepted: false, resuming: false, stopping: false, ...fields };
    this.#queue.push(request);
    if (this.#connected && request === this.current) this.opened();
    return request;
  }

  #start(request) {
    request.sent = true;
    request.resuming = false;
    if (request.frames.length > MAX_PARTS) {
      queueMicrotask(() => this.#end(request, TOO_LARGE)); // after the caller has the request
      return;
    }
    for (const frame of request.frames) this.#send(frame);
    this.#resumeLater(request, SILENT_SECONDS);
  }

  #resume(request) {
    if (request.kind === "history") {
      request.next = 0; // the server does not store its frames: send it again
      this.#onFrame(request, { type: "restart" });
      this.#start(request);
      return;
    }
    request.resuming = true;
    this.#send({ action: "resume", ...this.#ids(request.id), from_seq: request.next });
    this.#resumeLater(request, SILENT_SECONDS);
  }

  #sendStop(request) {
    this.#send({ action: "stop", ...this.#ids(request.id) });
  }

  #resumeLater(request, seconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#resume(request), seconds * 1000);
  }

  #process(request, frame) {
    if (frame.type === "error" && frame.code === "duplicate") {
      request.accepted = true;
      if (request.next === 0) this.#resume(request);
    } else if (frame.type === "error" && frame.seq === 0 && request.resuming) {
      // The resume failed. A request that the server never received is sent now; one that it accepted
      // and has deleted since, as after `clear`, has ended.
      const unknown = frame.code === "invalid_request" && request.next === 0 && !request.accepted;
      if (unknown && request.frames.length) this.#start(request);
      else this.#end(request, frame);
    } else if (frame.seq > request.next) {
      if (!request.resuming) this.#resume(request);
    } else if (frame.seq === request.next) {
      request.next += 1;
      request.resuming = false;
      if (frame.type === "done" || frame.type === "error") this.#end(request, frame);
      else {
        this.#resumeLater(request, SILENT_SECONDS);
        this.#onFrame(request, frame);
      }
    }
  }

  #end(request, frame) {
    clearTimeout(this.#timer);
    this.#queue.shift();
    const next = this.current; // a request made in the callback is started there
    this.#onFrame(request, frame);
    if (this.#connected && next && next === this.current) this.opened();
  }
}
