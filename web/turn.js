// One question and its answer, as a part of the page.
//
// What it does not know: the connection, and what its buttons do.

import { Answer, copyButton } from "./render.js";
import { ENDS, errorText, figures, GOES_ON, NEEDS_NEW_CHAT } from "./words.js";

function element(name, className, textContent = "") {
  return Object.assign(document.createElement(name), { className, textContent });
}

function button(label, act) {
  const made = Object.assign(element("button", "quiet", label), { type: "button" });
  made.addEventListener("click", act);
  return made;
}

export class Turn {
  element = element("article", "turn");
  #answer = new Answer();
  #reasoning = null;
  #waiting = element("p", "waiting");
  #act;

  /** `question` is null where the model only goes on. `act`: goOn(), askAgain(), newChat(). */
  constructor(question, act) {
    this.question = question;
    this.#act = act;
    if (question !== null) {
      this.element.append(element("h2", "unseen", "You"), element("div", "question", question));
    }
    this.#waiting.append(element("span", "unseen", "Waiting for the answer"));
    this.element.append(element("h2", "unseen", "Answer"), this.#answer.element, this.#waiting);
    this.element.ariaBusy = "true";
  }

  /** What was answered so far, as plain text. */
  get text() {
    return this.#answer.element.innerText;
  }

  say(text) {
    this.#waiting.remove();
    this.#answer.append(text);
  }

  reason(text) {
    if (!this.#reasoning) {
      const details = element("details", "reasoning");
      this.#reasoning = element("div", "");
      details.append(element("summary", "", "Reasoning"), this.#reasoning);
      this.#answer.element.before(details);
    }
    this.#reasoning.append(text);
  }

  /** The request's last frame. */
  end(frame) {
    if (frame.type === "error") this.#failed(frame);
    else this.#ended(frame.stop_reason, figures(frame));
  }

  /** How a turn of the history ended. */
  past(state) {
    this.#ended(state, "");
  }

  #ended(reason, told) {
    const goesOn = GOES_ON.has(reason) && this.#answer.source.trim();
    this.#close(ENDS[reason], goesOn && this.#goOn(), told);
  }

  #failed(frame) {
    const act = this.#act;
    let way = null;
    if (NEEDS_NEW_CHAT.has(frame.code)) way = button("New chat", act.newChat);
    else if (this.#answer.source.trim()) way = this.#goOn();
    else if (frame.retryable) way = button("Try again", act.askAgain);
    this.element.classList.add("failed");
    this.#close(errorText(frame), way, "");
  }

  #goOn() {
    const made = button("Continue", this.#act.goOn);
    made.classList.add("go-on");
    return made;
  }

  #close(note, way, told) {
    this.#waiting.remove();
    this.#answer.finish();
    this.element.ariaBusy = null;
    if (note) this.element.append(element("p", "note", note));
    const foot = element("div", "foot");
    if (this.#answer.source.trim()) foot.append(copyButton("Copy answer", () => this.#answer.source));
    if (way) foot.append(way);
    if (told) foot.append(element("span", "figures", told));
    this.element.append(foot);
  }
}
