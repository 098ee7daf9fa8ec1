// Renders an answer's Markdown while it grows.
//
// Rules: an answer's text is never trusted markup. HTML in it is shown as text, except a few tags
// without attributes; the Markdown library's output is sanitized once more before it becomes nodes.
// Links lead to http, https and mailto only, in a new tab. An image is replaced by its alternative
// text: loading it would disclose to its host that, and when, the answer was read.
//
// Text is appended; only the last block, which may still change, is parsed and rendered again.

import { Marked } from "./vendor/marked.esm.js";
import DOMPurify from "./vendor/purify.es.js";

const ALLOWED_TAG = /^<\/?(?:b|br|em|i|kbd|mark|s|strong|sub|sup|u)\s*\/?>$/i;
const LINK = /^(?:https?|mailto):/i;
const LANGUAGE = /^language-[\w+#.-]+$/;
const SANITIZE_OPTIONS = {
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

function escapeHtml(text) {
  return text.replace(/[&<>"]/g, (each) => `&#${each.charCodeAt(0)};`);
}

const marked = new Marked({
  gfm: true,
  renderer: {
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    // Below the page's own headings; models usually start at the second level.
    heading({ tokens, depth }) {
      const level = Math.min(Math.max(depth + 1, 3), 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    html: ({ text, block }) => {
      if (ALLOWED_TAG.test(text.trim())) return text;
      return block ? `<p>${escapeHtml(text)}</p>` : escapeHtml(text);
    },
    image: ({ text }) => escapeHtml(text),
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

/** A button that copies what `text()` returns, and confirms it. */
export function copyButton(label, text) {
  const button = element("button", { type: "button", className: "quiet", textContent: "Copy" });
  button.setAttribute("aria-label", label);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copy failed";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}

/** Adds a language label and a copy button to code, and scrolling to wide code and tables. */
function decorate(fragment) {
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

/** An answer: `element` is its node, `source` its Markdown. */
export class Answer {
  element = element("div", { className: "answer" });
  source = "";
  #blocks = [];
  #tail = 0; // index of the block that may still change,
  #tailStart = 0; // and its offset in the source
  #animationFrame = 0;
  #notBefore = 0; // time of the next render, in ms

  /** Adds text; it is rendered with the next animation frame, or a later one. */
  append(text) {
    this.source += text.replaceAll("\r", "");
    this.#animationFrame ||= requestAnimationFrame(() => this.#renderThrottled());
  }

  /** Renders all of it again: link definitions at the end apply to everything before them. */
  finish() {
    cancelAnimationFrame(this.#animationFrame);
    this.#tail = this.#tailStart = 0;
    this.#render();
  }

  /** Renders, then pauses three times as long, so that a very long block cannot block the page. */
  #renderThrottled() {
    const began = performance.now();
    if (began < this.#notBefore) {
      this.#animationFrame = requestAnimationFrame(() => this.#renderThrottled());
      return;
    }
    this.#animationFrame = 0;
    this.#render();
    this.#notBefore = began + 4 * (performance.now() - began);
  }

  #render() {
    let at = this.#tailStart;
    let index = this.#tail;
    for (const token of marked.lexer(this.source.slice(at))) {
      if (token.type !== "space" && token.type !== "def") {
        this.#renderBlock(index, token);
        [this.#tail, this.#tailStart] = [index, at];
        index += 1;
      }
      at += token.raw.length;
    }
    for (const block of this.#blocks.splice(index)) block.element.remove();
  }

  #renderBlock(index, token) {
    const html = marked.parser([token]);
    const block = (this.#blocks[index] ??= this.#addBlock());
    if (html === block.html) return;
    const code = token.type === "code" ? token : null;
    if (code && block.code && code.lang === block.code.lang && code.text.startsWith(block.code.text)) {
      // Long code grows without being rendered again.
      block.element.querySelector("code").append(code.text.slice(block.code.text.length));
    } else {
      block.element.replaceChildren(decorate(DOMPurify.sanitize(html, SANITIZE_OPTIONS)));
      if (code) block.element.querySelector("code").textContent = code.text;
    }
    Object.assign(block, { html, code });
  }

  #addBlock() {
    const made = { element: element("div", { className: "block" }), html: null, code: null };
    this.element.append(made.element);
    return made;
  }
}
