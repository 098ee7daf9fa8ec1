// What the page says to a person, by what the server said.

const time = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** A sentence for each code of an error. */
export const ERRORS = {
  invalid_request: "The server could not make sense of this.",
  too_large: "This is longer than this chat takes. Shorten it, or ask in steps.",
  unauthorized: "This conversation belongs to somebody else. Begin a new chat.",
  busy: "Another answer is still running in this conversation, perhaps in another tab. Try again when it has ended.",
  throttled: "Too much is being asked at the moment. Try again in a little while.",
  model_unavailable: "The model cannot be reached at the moment.",
  model_error: "The model failed before it was done.",
  context_too_long: "This conversation is too long for the model by now. Begin a new chat.",
  deadline: "The time for one answer was over before a word of it.",
  over_budget: "Today's allowance is used up.",
  internal: "Something failed on the server's side.",
};

/** Codes after which a new chat is the way on. */
export const NEEDS_NEW_CHAT = new Set(["unauthorized", "context_too_long"]);

/** What an error frame means. */
export function errorText({ code, retry_at: retryAt }) {
  const text = ERRORS[code] ?? ERRORS.internal;
  return retryAt ? `${text} It is free again ${time.format(retryAt * 1000)}.` : text;
}

/** What is said beneath an answer that did not end by itself, by stop reason or by state. */
export const ENDS = {
  max_tokens: "The answer reached its greatest length.",
  content_filtered: "The model held back the rest.",
  guardrail: "A guardrail ended the answer.",
  stopped: "Stopped.",
  deadline: "The time for one answer was over.",
  disconnected: "The answer ended when nobody listened.",
  error: "The answer broke off.",
  unfinished: "The answer broke off.",
};

/** Of those, the ones after which the model can be asked to go on. */
export const GOES_ON = new Set(["max_tokens", "stopped", "deadline", "disconnected", "error", "unfinished"]);

function duration(ms) {
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Tokens and times, in a line. */
export function figures({ usage = {}, latency_ms: latency = {} }) {
  const parts = [];
  if (usage.output_tokens !== undefined) {
    parts.push(
      `${(usage.input_tokens ?? 0).toLocaleString()} tokens in, ${usage.output_tokens.toLocaleString()} out`,
    );
  }
  if (latency.first_token !== undefined) parts.push(`first word after ${duration(latency.first_token)}`);
  return parts.join(" · ");
}
