// A WebSocket that reconnects.
//
// Rules: one socket at a time. A lost one is reopened after a pause that doubles each time and is
// randomized, so that many clients do not reconnect to a recovering server at the same moment. A
// socket that has been silent for too long is tested with a ping, and closed if no pong arrives.
//
// It does not know what frames mean, how a connection is authenticated, or the page.

// API Gateway closes a connection that was idle for ten minutes; this is well below that.
const IDLE_SECONDS = 240;
// While a response is pending: long enough for a model that reasons, short enough for a user who waits.
const SILENT_SECONDS = 20;
const PONG_SECONDS = 10;
const OPEN_SECONDS = 15;
const FIRST_PAUSE_SECONDS = 0.5;
const MAX_PAUSE_SECONDS = 30;

const PING = JSON.stringify({ action: "ping" });

/** Seconds until the next attempt, after `failures` in a row. */
function pause(failures) {
  const longest = Math.min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** failures);
  return longest * (0.5 + Math.random() / 2);
}

/**
 * `open` returns a new WebSocket, or a promise of one; it is retried after an error that is
 * `transient`. `on` has these callbacks:
 * - `state({name, ...})`: `name` is "connecting", "open", "waiting" (`until`: when the next attempt
 *   starts, in ms; `refused`: the socket never opened; `error`: what `open` threw) or "closed"
 *   (`error`);
 * - `frame(object)`: a frame from the server;
 * - `isPending()`: whether a response is expected; `isVisible()`: whether the page is visible.
 */
export class Connection {
  #open;
  #on;
  #socket = null;
  #opening = false;
  #failures = 0;
  #retryTimer = 0;
  #silenceTimer = 0;

  constructor(open, on) {
    this.#open = open;
    this.#on = on;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Connects, unless there is a socket or one is being opened. */
  async connect() {
    if (this.#socket || this.#opening) return;
    this.#cancelRetry();
    this.#opening = true;
    this.#on.state({ name: "connecting", again: this.#failures > 0 });
    try {
      this.#use(await this.#open());
    } catch (error) {
      if (error.transient) this.#scheduleRetry({ error });
      else this.#on.state({ name: "closed", error });
    } finally {
      this.#opening = false;
    }
  }

  /** Tests the socket or reconnects now: the network is back, or the page became visible. */
  check() {
    if (this.isOpen) this.#ping();
    else if (this.#retryTimer) this.connect();
  }

  /** Sends an object. Only while the socket is open. */
  send(message) {
    this.#socket.send(JSON.stringify(message));
    this.#restartSilenceTimer();
  }

  #use(socket) {
    let opened = false;
    this.#socket = socket;
    this.#silenceTimer = setTimeout(() => this.#lost(socket, false), OPEN_SECONDS * 1000);
    socket.onopen = () => {
      opened = true;
      this.#restartSilenceTimer();
      this.#on.state({ name: "open" });
    };
    socket.onmessage = ({ data }) => {
      this.#failures = 0;
      this.#restartSilenceTimer();
      this.#on.frame(JSON.parse(data));
    };
    socket.onclose = () => this.#lost(socket, opened);
  }

  #restartSilenceTimer() {
    clearTimeout(this.#silenceTimer);
    const seconds = this.#on.isPending() ? SILENT_SECONDS : IDLE_SECONDS;
    this.#silenceTimer = setTimeout(() => {
      if (this.#on.isPending() || this.#on.isVisible()) this.#ping();
      else this.#restartSilenceTimer();
    }, seconds * 1000);
  }

  #ping() {
    const socket = this.#socket;
    socket.send(PING);
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#lost(socket, true), PONG_SECONDS * 1000);
  }

  #lost(socket, opened) {
    if (socket !== this.#socket) return;
    this.#discardSocket();
    this.#scheduleRetry({ refused: !opened });
  }

  #scheduleRetry(reason) {
    const delay = pause(this.#failures) * 1000;
    this.#failures += 1;
    this.#retryTimer = setTimeout(() => this.connect(), delay);
    this.#on.state({ name: "waiting", until: Date.now() + delay, ...reason });
  }

  #cancelRetry() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
  }

  #discardSocket() {
    clearTimeout(this.#silenceTimer);
    const socket = this.#socket;
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
