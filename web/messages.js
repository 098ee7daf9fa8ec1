// The texts that the page shows for error codes, stop reasons and usage.

const time = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** The text for each error code. */
export const ERRORS = {
  invalid_request: "The server rejected this request as invalid.",
  too_large: "The message is too long. Shorten it, or split it into several.",
  unauthorized: "You do not have access to this conversation. Start a new chat.",
  busy: "Another answer is in progress in this conversation, possibly in another tab. Try again when it has ended.",
  duplicate: "This question was already sent.",
  throttled: "Rate limit reached; try again shortly.",
  model_unavailable: "The model is temporarily unavailable.",
  model_error: "The model failed before the answer was complete.",
  context_too_long: "This conversation is too long for the model. Start a new chat.",
  deadline: "The time limit was reached before the answer began.",
  over_budget: "Today's quota is used up.",
  internal: "An internal server error occurred.",
};

/** Error codes that only a new chat can resolve. */
export const NEEDS_NEW_CHAT = new Set(["unauthorized", "context_too_long"]);

/** The text for an error frame. */
export function errorText({ code, retry_at: retryAt }) {
  const text = ERRORS[code] ?? ERRORS.internal;
  return retryAt ? `${text} You can ask again from ${time.format(retryAt * 1000)}.` : text;
}

/** Why an answer ended, by stop reason or stored state; none for an answer that completed. */
export const STOP_REASONS = {
  max_tokens: "The answer reached the length limit.",
  content_filtered: "The model's content filter ended the answer.",
  guardrail: "A guardrail ended the answer.",
  stopped: "Stopped.",
  deadline: "The answer reached the time limit.",
  disconnected: "The answer ended because no client was connected.",
  error: "The answer ended with an error.",
  unfinished: "The answer is incomplete.",
};

/** The stop reasons and states after which the model can continue the answer. */
export const CONTINUABLE = new Set(["max_tokens", "stopped", "deadline", "disconnected", "error", "unfinished"]);

function duration(ms) {
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Token counts and latency, in one line. */
export function usageText({ usage = {}, latency_ms: latency = {} }) {
  const parts = [];
  if (usage.output_tokens !== undefined) {
    parts.push(
      `${(usage.input_tokens ?? 0).toLocaleString()} tokens in, ${usage.output_tokens.toLocaleString()} out`,
    );
  }
  if (latency.first_token !== undefined) parts.push(`first token after ${duration(latency.first_token)}`);
  return parts.join(" · ");
}
