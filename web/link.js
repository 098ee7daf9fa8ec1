// A WebSocket that comes back.
//
// Rules: one socket at a time. One that is lost is opened again after a pause that doubles, and
// differs from client to client, so that a server that was away is not met by all at once. A socket
// that nothing was heard of is asked for a sign of life, and given up where none comes.
//
// What it does not know: what frames mean, who is let in, and the page.

// API Gateway ends a connection that was idle for ten minutes; this is well below it.
const IDLE_SECONDS = 240;
// While something is awaited: long enough for a model that thinks, short enough for a person.
const SILENT_SECONDS = 20;
const PONG_SECONDS = 10;
const OPENING_SECONDS = 15;
const FIRST_PAUSE_SECONDS = 0.5;
const LONGEST_PAUSE_SECONDS = 30;

const PING = JSON.stringify({ action: "ping" });

/** Seconds until the next attempt, after `failures` in a row. */
function pause(failures) {
  const most = Math.min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** failures);
  return most * (0.5 + Math.random() / 2);
}

/**
 * `open` gives a new WebSocket, or a promise of one. `on` hears: `state({name, ...})`, where `name`
 * is "connecting", "open", "waiting" (`until`, in ms; `refused`: it never opened; `error`: there was
 * none to open) or "closed"; `frame(object)`; and says whether something is `awaited()` and the page
 * `watched()`. An error of `open` that is `passing` is no reason to stay closed.
 */
export class Link {
  #open;
  #on;
  #socket = null;
  #opening = false;
  #failures = 0;
  #retry = 0;
  #beat = 0;

  constructor(open, on) {
    this.#open = open;
    this.#on = on;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Connects, unless it is or does already. */
  async connect() {
    if (this.#socket || this.#opening) return;
    this.#unwait();
    this.#opening = true;
    this.#on.state({ name: "connecting", again: this.#failures > 0 });
    try {
      this.#use(await this.#open());
    } catch (error) {
      if (error.passing) this.#wait({ error });
      else this.#on.state({ name: "closed", error });
    } finally {
      this.#opening = false;
    }
  }

  /** There is reason to look now: the network is back, or somebody watches again. */
  nudge() {
    if (this.isOpen) this.#ping();
    else if (this.#retry) this.connect();
  }

  /** Sends an object. Only while it is open. */
  send(message) {
    this.#socket.send(JSON.stringify(message));
    this.#listen();
  }

  #use(socket) {
    let opened = false;
    this.#socket = socket;
    this.#beat = setTimeout(() => this.#lost(socket, false), OPENING_SECONDS * 1000);
    socket.onopen = () => {
      opened = true;
      this.#listen();
      this.#on.state({ name: "open" });
    };
    socket.onmessage = ({ data }) => {
      this.#failures = 0;
      this.#listen();
      this.#on.frame(JSON.parse(data));
    };
    socket.onclose = () => this.#lost(socket, opened);
  }

  /** Sets the clock for the next sign of life. */
  #listen() {
    clearTimeout(this.#beat);
    const seconds = this.#on.awaited() ? SILENT_SECONDS : IDLE_SECONDS;
    this.#beat = setTimeout(() => {
      if (this.#on.awaited() || this.#on.watched()) this.#ping();
      else this.#listen();
    }, seconds * 1000);
  }

  #ping() {
    const socket = this.#socket;
    socket.send(PING);
    clearTimeout(this.#beat);
    this.#beat = setTimeout(() => this.#lost(socket, true), PONG_SECONDS * 1000);
  }

  #lost(socket, opened) {
    if (socket !== this.#socket) return;
    this.#leave();
    this.#wait({ refused: !opened });
  }

  #wait(why) {
    const wait = pause(this.#failures) * 1000;
    this.#failures += 1;
    this.#retry = setTimeout(() => this.connect(), wait);
    this.#on.state({ name: "waiting", until: Date.now() + wait, ...why });
  }

  #unwait() {
    clearTimeout(this.#retry);
    this.#retry = 0;
  }

  #leave() {
    clearTimeout(this.#beat);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }
}
