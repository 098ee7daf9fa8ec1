// One question and its answer, as an element of the page.
//
// It does not know the connection, or what its buttons do.

import { Answer, copyButton } from "./markdown.js";
import { CONTINUABLE, errorText, NEEDS_NEW_CHAT, STOP_REASONS, usageText } from "./messages.js";

function element(name, className, textContent = "") {
  return Object.assign(document.createElement(name), { className, textContent });
}

function button(label, onClick) {
  const made = Object.assign(element("button", "quiet", label), { type: "button" });
  made.addEventListener("click", onClick);
  return made;
}

export class Turn {
  element = element("article", "turn");
  #answer = new Answer();
  #reasoning = null;
  #waiting = element("p", "waiting");
  #actions;

  /**
   * `question` is null if the turn continues the answer before it. `actions` are the buttons'
   * callbacks: continueAnswer(), retry(), newChat().
   */
  constructor(question, actions) {
    this.#actions = actions;
    if (question !== null) {
      this.element.append(element("h2", "visually-hidden", "You"), element("div", "question", question));
    }
    this.#waiting.append(element("span", "visually-hidden", "Waiting for the answer"));
    this.element.append(element("h2", "visually-hidden", "Answer"), this.#answer.element, this.#waiting);
    this.element.ariaBusy = "true";
  }

  /** The answer so far, as plain text. */
  get text() {
    return this.#answer.element.innerText;
  }

  addText(text) {
    this.#waiting.remove();
    this.#answer.append(text);
  }

  addReasoning(text) {
    if (!this.#reasoning) {
      const details = element("details", "reasoning");
      this.#reasoning = element("div", "");
      details.append(element("summary", "", "Reasoning"), this.#reasoning);
      this.#answer.element.before(details);
    }
    this.#reasoning.append(text);
  }

  /** Ends the turn with the request's last frame. */
  end(frame) {
    if (frame.type === "error") this.#endWithError(frame);
    else this.#endWithReason(frame.stop_reason, usageText(frame));
  }

  /** Ends a turn of the history, by its stored state. */
  endStored(state) {
    this.#endWithReason(state, "");
  }

  #endWithReason(reason, usage) {
    const continuable = CONTINUABLE.has(reason) && this.#answer.source.trim();
    this.#close(STOP_REASONS[reason], continuable && this.#continueButton(), usage);
  }

  #endWithError(frame) {
    const actions = this.#actions;
    let action = null;
    if (NEEDS_NEW_CHAT.has(frame.code)) action = button("New chat", actions.newChat);
    else if (this.#answer.source.trim()) action = this.#continueButton();
    else if (frame.retryable) action = button("Try again", actions.retry);
    this.element.classList.add("failed");
    this.#close(errorText(frame), action, "");
  }

  #continueButton() {
    const made = button("Continue", this.#actions.continueAnswer);
    made.classList.add("continue");
    return made;
  }

  #close(note, action, usage) {
    this.#waiting.remove();
    this.#answer.finish();
    this.element.ariaBusy = null;
    if (note) this.element.append(element("p", "note", note));
    const foot = element("div", "foot");
    if (this.#answer.source.trim()) foot.append(copyButton("Copy answer", () => this.#answer.source));
    if (action) foot.append(action);
    if (usage) foot.append(element("span", "usage", usage));
    this.element.append(foot);
  }
}
