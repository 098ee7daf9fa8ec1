// What is said over the wire: requests that go out one after the other, and their frames, in order.
//
// Rules: a request keeps its id until it has ended, whatever happens to the connection. One that was
// not heard of is sent again under that id; the server takes each id once, so nothing is asked
// twice. One that had begun is resumed at the next `seq`. A frame is told once, and none is left out.
//
// What it does not know: sockets, and the page.

// A frame has 32 KB at most (API Gateway's quota), and a browser cannot divide a message into frames.
const FRAME_BYTES = 32 * 1024;
// As src/wire/requests.py.
const MAX_PARTS = 32;
// After so long without a frame of it, the server is asked what became of a request.
const QUIET_SECONDS = 60;
// A failure to resume that may pass is tried again so much later.
const AGAIN_SECONDS = 2;
// As src/handler.py: how a turn that only goes on looks in the history.
export const CONTINUE = "Continue exactly where your last answer ended.";

const HISTORY_TURNS = 50;
const TOO_LARGE = { type: "error", code: "too_large", retryable: false };

const utf8 = new TextEncoder();

/** Bytes that `text` has as part of a frame. */
function bytes(text) {
  return utf8.encode(JSON.stringify(text)).length - 2;
}

/** The frames that ask `text`: one, or as many as it takes. */
function questions(text, ids) {
  const chat = { action: "chat", ...ids, body: text };
  if (utf8.encode(JSON.stringify(chat)).length <= FRAME_BYTES) return [chat];
  const room = FRAME_BYTES - utf8.encode(JSON.stringify({ ...chat, body: "", part: 99, parts: 99 })).length;
  const bodies = [];
  for (let rest = text; rest;) {
    const body = head(rest, room);
    bodies.push(body);
    rest = rest.slice(body.length);
  }
  return bodies.map((body, n) => ({ ...chat, body, part: n + 1, parts: bodies.length }));
}

/**
 * As much of the beginning of `text` as has `room` bytes in a frame. It ends with a whole character:
 * half a surrogate pair takes six bytes in JSON, and the pair four, so where half fits, all of it does.
 */
function head(text, room) {
  let [least, most] = [1, Math.min(text.length, room)];
  while (least < most) {
    const middle = Math.ceil((least + most) / 2);
    if (bytes(text.slice(0, middle)) <= room) least = middle;
    else most = middle - 1;
  }
  return text.slice(0, least);
}

/** A new id, that nobody guesses. */
export function newId() {
  const random = crypto.getRandomValues(new Uint8Array(24));
  return btoa(String.fromCharCode(...random))
    .replaceAll("+", "-")
    .replaceAll("/", "_");
}

/**
 * One session's requests. `send(object)` writes a frame; `tell(request, frame)` hears each frame
 * once and in order, and `tell(request, null)` of a request that was taken back.
 */
export class Conversation {
  #send;
  #tell;
  #connected = false;
  #queue = [];
  #timer = 0;

  constructor(sessionId, send, tell) {
    this.sessionId = sessionId;
    this.#send = send;
    this.#tell = tell;
  }

  /** The request that is under way, if one is. */
  get current() {
    return this.#queue[0] ?? null;
  }

  ask(text, id = newId()) {
    return this.#add({ kind: "chat", id, text, frames: questions(text, this.#ids(id)) });
  }

  goOn(id = newId()) {
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

  /** Goes on with a request of an earlier page, or of another one. */
  join(id, text = null) {
    return this.#add({ kind: "chat", id, text, frames: [], sent: true });
  }

  /** Ends the answer that is under way; one that was never sent is taken back. */
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

  /** Somebody looks again: an answer may be told elsewhere by now. */
  look() {
    if (this.#connected && this.current?.kind === "chat" && this.current.sent) this.#resume(this.current);
  }

  /** The connection is there: what is under way goes on. */
  opened() {
    this.#connected = true;
    const request = this.current;
    if (!request) return;
    if (request.next > 0 || !request.frames.length) this.#resume(request);
    else this.#begin(request);
    if (request.stopping) this.#sendStop(request);
  }

  /** The connection is gone. */
  lost() {
    this.#connected = false;
    clearTimeout(this.#timer);
  }

  /** One frame from the server. */
  receive(frame) {
    const request = this.current;
    if (!request || frame.type === "pong") return;
    if (!frame.type) {
      // API Gateway's own error names no request. One that has not begun may not have come through.
      if (request.next === 0) this.#later(request, AGAIN_SECONDS);
    } else if (frame.request_id === request.id) {
      this.#take(request, frame);
    } else if (request.resuming && frame.type === "error" && frame.retryable) {
      this.#later(request, AGAIN_SECONDS); // a resume that failed is told under an id of its own
    }
  }

  #ids(id) {
    return { request_id: id, session_id: this.sessionId };
  }

  #add(fields) {
    const request = { next: 0, sent: false, taken: false, resuming: false, stopping: false, ...fields };
    this.#queue.push(request);
    if (this.#connected && request === this.current) this.opened();
    return request;
  }

  #begin(request) {
    request.sent = true;
    request.resuming = false;
    if (request.frames.length > MAX_PARTS) {
      queueMicrotask(() => this.#end(request, TOO_LARGE)); // when whoever asks has the request
      return;
    }
    for (const frame of request.frames) this.#send(frame);
    this.#later(request, QUIET_SECONDS);
  }

  #resume(request) {
    if (request.kind === "history") {
      request.next = 0; // it is not kept; it is told anew
      this.#tell(request, { type: "again" });
      this.#begin(request);
      return;
    }
    request.resuming = true;
    this.#send({ action: "resume", ...this.#ids(request.id), from_seq: request.next });
    this.#later(request, QUIET_SECONDS);
  }

  #sendStop(request) {
    this.#send({ action: "stop", ...this.#ids(request.id) });
  }

  #later(request, seconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#resume(request), seconds * 1000);
  }

  #take(request, frame) {
    if (frame.type === "error" && frame.code === "duplicate") {
      request.taken = true;
      if (request.next === 0) this.#resume(request);
    } else if (frame.type === "error" && frame.seq === 0 && request.resuming) {
      // It is the resume that failed. What the server never got, it gets now; what it took and has
      // forgotten since, as after `clear`, is over.
      const unknown = frame.code === "invalid_request" && request.next === 0 && !request.taken;
      if (unknown && request.frames.length) this.#begin(request);
      else this.#end(request, frame);
    } else if (frame.seq > request.next) {
      if (!request.resuming) this.#resume(request);
    } else if (frame.seq === request.next) {
      request.next += 1;
      request.resuming = false;
      if (frame.type === "done" || frame.type === "error") this.#end(request, frame);
      else {
        this.#later(request, QUIET_SECONDS);
        this.#tell(request, frame);
      }
    }
  }

  #end(request, frame) {
    clearTimeout(this.#timer);
    this.#queue.shift();
    const next = this.current; // what is asked while this is told is begun there
    this.#tell(request, frame);
    if (this.#connected && next && next === this.current) this.opened();
  }
}
