// An answer's Markdown as a part of the page, while it grows.
//
// Rules: what an answer says is never markup of ours. HTML in it is shown as the text that it is, but
// for a few tags without attributes; what the Markdown library makes is cleaned once more before it
// becomes nodes. Links go to the web and to mail alone, in a tab of their own. An image is its
// alternative text: its address would tell somebody else that, and when, this was read.
//
// Text is appended; only the last block, which may still change, is read and drawn again.

import { Marked } from "./vendor/marked.esm.js";
import DOMPurify from "./vendor/purify.es.js";

const PLAIN_TAG = /^<\/?(?:b|br|em|i|kbd|mark|s|strong|sub|sup|u)\s*\/?>$/i;
const LINK = /^(?:https?|mailto):/i;
const LANGUAGE = /^language-[\w+#.-]+$/;
const CLEAN = {
  ALLOWED_TAGS: (
    "a b blockquote br code del em h3 h4 h5 h6 hr i kbd li mark ol p pre s strong sub sup " +
    "table tbody td th thead tr u ul"
  ).split(" "),
  ALLOWED_ATTR: ["align", "class", "href", "start", "title"],
  ALLOWED_URI_REGEXP: LINK,
  ADD_URI_SAFE_ATTR: ["align", "start"],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

function escaped(text) {
  return text.replace(/[&<>"]/g, (each) => `&#${each.charCodeAt(0)};`);
}

const marked = new Marked({
  gfm: true,
  renderer: {
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    // Below the page's own headings; models begin with the second level more often than not.
    heading({ tokens, depth }) {
      const level = Math.min(Math.max(depth + 1, 3), 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    html: ({ text, block }) => {
      if (PLAIN_TAG.test(text.trim())) return text;
      return block ? `<p>${escaped(text)}</p>` : escaped(text);
    },
    image: ({ text }) => escaped(text),
  },
});

DOMPurify.addHook("uponSanitizeAttribute", (_, attribute) => {
  if (attribute.attrName === "class") attribute.keepAttr = LANGUAGE.test(attribute.attrValue);
});
DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.hasAttribute("href")) {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer");
  }
});

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** A button that copies what `text` gives, and says that it did. */
export function copyButton(label, text) {
  const button = element("button", { type: "button", className: "quiet", textContent: "Copy" });
  button.setAttribute("aria-label", label);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}

/** Gives code its language and a button, and lets what is too wide scroll by itself. */
function furnish(fragment) {
  for (const pre of fragment.querySelectorAll("pre")) {
    const code = pre.querySelector("code") ?? pre;
    const language = code.className.replace("language-", "");
    pre.tabIndex = 0;
    const frame = element("div", { className: "code" });
    pre.replaceWith(frame);
    const name = element("span", { textContent: language || "code" });
    const copy = copyButton("Copy code", () => code.textContent);
    frame.append(element("div", {}, name, copy), pre);
  }
  for (const table of fragment.querySelectorAll("table")) {
    const frame = element("div", { className: "table", tabIndex: 0, role: "group", ariaLabel: "Table" });
    table.replaceWith(frame);
    frame.append(table);
  }
  return fragment;
}

/** An answer. `element` shows it; `source` is its Markdown. */
export class Answer {
  element = element("div", { className: "answer" });
  source = "";
  #blocks = [];
  #open = 0; // the block that may still change,
  #from = 0; // and where in the source it begins
  #frame = 0;
  #rested = 0;

  /** Adds text, and draws before the next frame of the screen, or a later one. */
  append(text) {
    this.source += text.replaceAll("\r", "");
    this.#frame ||= requestAnimationFrame(() => this.#drawInTime());
  }

  /** Nothing more comes: links that were explained at the end are known to all that came before. */
  finish() {
    cancelAnimationFrame(this.#frame);
    this.#open = this.#from = 0;
    this.#draw();
  }

  /** Draws, and rests three times as long: the page stays quick, however long a list becomes. */
  #drawInTime() {
    const began = performance.now();
    if (began < this.#rested) {
      this.#frame = requestAnimationFrame(() => this.#drawInTime());
      return;
    }
    this.#frame = 0;
    this.#draw();
    this.#rested = began + 4 * (performance.now() - began);
  }

  #draw() {
    let at = this.#from;
    let index = this.#open;
    for (const token of marked.lexer(this.source.slice(at))) {
      if (token.type !== "space" && token.type !== "def") {
        this.#put(index, token);
        [this.#open, this.#from] = [index, at];
        index += 1;
      }
      at += token.raw.length;
    }
    for (const block of this.#blocks.splice(index)) block.element.remove();
  }

  #put(index, token) {
    const html = marked.parser([token]);
    const block = (this.#blocks[index] ??= this.#block());
    if (html === block.html) return;
    const code = token.type === "code" ? token : null;
    if (code && block.code && code.lang === block.code.lang && code.text.startsWith(block.code.text)) {
      // Long code grows without being drawn again.
      block.element.querySelector("code").append(code.text.slice(block.code.text.length));
    } else {
      block.element.replaceChildren(furnish(DOMPurify.sanitize(html, CLEAN)));
      if (code) block.element.querySelector("code").textContent = code.text;
    }
    Object.assign(block, { html, code });
  }

  #block() {
    const made = { element: element("div", { className: "block" }), html: null, code: null };
    this.element.append(made.element);
    return made;
  }
}
