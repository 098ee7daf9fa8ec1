"""Each family's request body and stream chunks: one function to build, one to read. Pure.

Rules
- A request function returns the JSON body. Its prompt is prepared by `registry.request_body`:
  alternating messages, the output limit applied, control tokens neutralized.
- An events function returns the events of one decoded chunk; none for what it does not recognize.
- Where public sources disagree, both forms are read, and a comment names the sources.

Does not know which model belongs to which family, or what Bedrock adds to every chunk (`chunks`).
"""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from families import templates
from families.chunks import (
    JsonObject,
    drop_unset,
    get_first,
    get_object,
    get_text,
    stop_events,
    usage_events,
)
from families.types import ModelEvent, Prompt, ReasoningDelta, TextDelta, Usage

Body = dict[str, Any]

# -- Claude (Messages) -----------------------------------------------------------------------------
# Bedrock User Guide, "Anthropic Claude Messages API"; Anthropic, "Streaming Messages" and "Prompt
# caching"; langchain-aws.

_CACHE_POINT = {"cache_control": {"type": "ephemeral"}}


def claude_request(prompt: Prompt) -> Body:
    """Returns the body. With `cache`, two of the four cache points that a request may have.

    They follow the system prompt and the history, so that each turn reads what the previous one
    cached. A prefix that is too short is not cached, without an error.
    """
    system: Any = prompt.system
    messages: list[Body] = [{"role": m.role, "content": m.text} for m in prompt.messages]
    if prompt.cache:
        system = [_cached(prompt.system)] if prompt.system else ""
        if len(messages) > 1:
            messages[-2]["content"] = [_cached(messages[-2]["content"])]
    return {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": prompt.max_tokens,
        "messages": messages,
        **drop_unset(
            system=system,
            temperature=prompt.temperature,
            top_p=prompt.top_p,
            stop_sequences=list(prompt.stop_sequences),
        ),
    }


def _cached(text: str) -> Body:
    return {"type": "text", "text": text, **_CACHE_POINT}


def claude_events(chunk: JsonObject) -> Iterator[ModelEvent]:
    """Reads text and thinking deltas; ignores tools, signatures, pings and unknown types."""
    delta = get_object(chunk, "delta")
    match chunk.get("type"):
        case "content_block_delta":
            if answer := get_text(delta, "text"):
                yield TextDelta(answer)
            elif reasoning := get_text(delta, "thinking"):
                yield ReasoningDelta(reasoning)
        case "message_start":
            # Its output count is a placeholder (1), which would stand for the whole answer if the
            # stream ended early.
            for initial in _claude_usage(get_object(chunk, "message")):
                yield replace(initial, output_tokens=None)
        case "message_delta":
            yield from _claude_usage(chunk)
            yield from stop_events(delta.get("stop_reason"))


def _claude_usage(parent: JsonObject) -> Iterator[Usage]:
    yield from usage_events(
        get_object(parent, "usage"),
        input_tokens="input_tokens",
        output_tokens="output_tokens",
        cache_read_tokens="cache_read_input_tokens",
        cache_write_tokens="cache_creation_input_tokens",
    )


# -- Amazon Nova -----------------------------------------------------------------------------------
# Amazon Nova User Guide, "Complete request schema" and "Streaming responses"; litellm.


def nova_request(prompt: Prompt) -> Body:
    """Returns the body for Nova 1 and 2."""
    return {
        "schemaVersion": "messages-v1",
        "messages": [{"role": m.role, "content": [{"text": m.text}]} for m in prompt.messages],
        **drop_unset(system=[{"text": prompt.system}] if prompt.system else None),
        "inferenceConfig": {
            "maxTokens": prompt.max_tokens,
            **drop_unset(
                temperature=prompt.temperature,
                topP=prompt.top_p,
                stopSequences=list(prompt.stop_sequences),
            ),
        },
    }


def nova_events(chunk: JsonObject) -> Iterator[ModelEvent]:
    """Reads Nova's chunks; the usage follows the stop reason."""
    delta = get_object(get_object(chunk, "contentBlockDelta"), "delta")
    if answer := get_text(delta, "text"):
        yield TextDelta(answer)
    # Nova 2 puts the text one level deeper than the Converse API's delta does; both are read.
    content = get_object(delta, "reasoningContent")
    if reasoning := get_text(get_object(content, "reasoningText") or content, "text"):
        yield ReasoningDelta(reasoning)
    yield from usage_events(
        get_object(get_object(chunk, "metadata"), "usage"),
        input_tokens="inputTokens",
        output_tokens="outputTokens",
        cache_read_tokens="cacheReadInputTokenCount",
        cache_write_tokens="cacheWriteInputTokenCount",
    )
    yield from stop_events(get_object(chunk, "messageStop").get("stopReason"))


# -- Amazon Titan Text -----------------------------------------------------------------------------
# Bedrock User Guide, "Amazon Titan Text models"; Portkey gateway (complete.ts).


def titan_request(prompt: Prompt) -> Body:
    """Returns the body: one text with a line per message."""
    return {
        "inputText": templates.titan(prompt),
        "textGenerationConfig": {
            "maxTokenCount": prompt.max_tokens,
            **drop_unset(
                temperature=prompt.temperature,
                topP=prompt.top_p,
                stopSequences=list(prompt.stop_sequences),
            ),
        },
    }


def titan_events(chunk: JsonObject) -> Iterator[ModelEvent]:
    """Reads text, counts and stop reason; the last chunk may have all three."""
    if answer := get_text(chunk, "outputText"):
        yield TextDelta(answer)
    yield from usage_events(
        chunk, input_tokens="inputTextTokenCount", output_tokens="totalOutputTextTokenCount"
    )
    yield from stop_events(chunk.get("completionReason"))


# -- Meta Llama ------------------------------------------------------------------------------------
# Bedrock User Guide, "Meta Llama models"; langchain-aws; Portkey gateway (complete.ts).


def llama2_request(prompt: Prompt) -> Body:
    """Returns the body for Llama 2."""
    return _llama(templates.llama2(prompt), prompt)


def llama3_request(prompt: Prompt) -> Body:
    """Returns the body for Llama 3 to 3.3."""
    return _llama(templates.llama3(prompt), prompt)


def llama4_request(prompt: Prompt) -> Body:
    """Returns the body for Llama 4."""
    return _llama(templates.llama4(prompt), prompt)


def _llama(text: str, prompt: Prompt) -> Body:
    # No stop sequences: the body has no field for them.
    return {
        "prompt": text,
        "max_gen_len": prompt.max_tokens,
        **drop_unset(temperature=prompt.temperature, top_p=prompt.top_p),
    }


def llama_events(chunk: JsonObject) -> Iterator[ModelEvent]:
    """Reads Llama's chunks: prompt tokens in the first, generated tokens in each."""
    if answer := get_text(chunk, "generation"):
        yield TextDelta(answer)
    yield from usage_events(
        chunk, input_tokens="prompt_token_count", output_tokens="generation_token_count"
    )
    yield from stop_events(chunk.get("stop_reason"))


# -- prompts with `max_tokens` and `stop`: Mistral's text models, DeepSeek R1 ----------------------
# Bedrock User Guide, "Mistral AI text completion" and "DeepSeek models"; langchain-aws; a recorded
# Mistral chunk in litellm's issue 2464.


def mistral_text_request(prompt: Prompt) -> Body:
    """Returns the body for Mistral 7B, Mixtral, and the first Large and Small."""
    return {"prompt": templates.mistral(prompt), **_sampling(prompt)}


def deepseek_r1_request(prompt: Prompt) -> Body:
    """Returns the body for DeepSeek R1."""
    return {"prompt": templates.deepseek(prompt), **_sampling(prompt)}


def _sampling(prompt: Prompt) -> Body:
    return {
        "max_tokens": prompt.max_tokens,
        **drop_unset(
            temperature=prompt.temperature,
            top_p=prompt.top_p,
            stop=list(prompt.stop_sequences),
        ),
    }


def mistral_text_events(chunk: JsonObject) -> Iterator[ModelEvent]:
    """Reads `outputs[0]`; the last chunk has the stop reason."""
    output = get_first(chunk, "outputs")
    if answer := get_text(output, "text"):
        yield TextDelta(answer)
    yield from stop_events(output.get("stop_reason"))


# -- OpenAI chat completions and compatible shapes -------------------------------------------------
# Bedrock User Guide, "OpenAI models", "Mistral AI chat completion", "AI21 Labs Jamba models",
# "Writer AI Palmyra models"; langchain-aws; litellm; recorded chunks of gpt-oss in Cherry Studio's
# issue 10225 and of Kimi in Bike4Mind's pull request 1089.


def chat_request(prompt: Prompt) -> Body:
    """Returns the body. gpt-oss takes `max_tokens` or `max_completion_tokens` (langchain-aws)."""
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    messages = [{"role": m.role, "content": m.text} for m in prompt.messages]
    return {"messages": system + messages, **_sampling(prompt)}


def chat_request_without_stop(prompt: Prompt) -> Body:
    """Returns the same body without `stop`, which Mistral's chat models do not have."""
    return {name: value for name, value in chat_request(prompt).items() if name != "stop"}


_REASONING_FIELDS = ("reasoning_content", "reasoning")  # a chunk has one of them at most


def choice_events(chunk: JsonObject) -> Iterator[ModelEvent]:
    """Reads the first choice in all known forms.

    Text: `delta.content`; Mistral's `message.content`, which is a delta despite its name; DeepSeek
    R1's `text`, which Palmyra may have too (langchain-aws reads it, Writer's guide has `delta`).
    Stop reason: `finish_reason`, or `stop_reason` (Mistral, DeepSeek R1). OpenAI-compatible servers
    include cached tokens in `prompt_tokens`; they are not separated here, so none counts twice.
    """
    choice = get_first(chunk, "choices")
    delta = get_object(choice, "delta") or get_object(choice, "message")
    for name in _REASONING_FIELDS:
        # A string, or an object with a `text` (Envoy AI Gateway uses Converse's form).
        if reasoning := get_text(delta, name) or get_text(get_object(delta, name), "text"):
            yield ReasoningDelta(reasoning)
            break
    yield from _content_events(delta.get("content") or choice.get("text"))
    yield from usage_events(
        get_object(chunk, "usage"), input_tokens="prompt_tokens", output_tokens="completion_tokens"
    )
    yield from stop_events(choice.get("finish_reason") or choice.get("stop_reason"))


def _content_events(content: object) -> Iterator[ModelEvent]:
    """Reads a string, or Mistral's parts: `{"text"}`, Magistral's `{"thinking": [{"text"}]}`."""
    if isinstance(content, str) and content:
        yield TextDelta(content)
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict):
                if answer := get_text(part, "text"):
                    yield TextDelta(answer)
                elif reasoning := get_text(get_first(part, "thinking"), "text"):
                    yield ReasoningDelta(reasoning)


# -- Cohere Command R ------------------------------------------------------------------------------
# Bedrock User Guide, "Cohere Command R and Command R+ models"; Cohere's Chat API v1; litellm.


def command_r_request(prompt: Prompt) -> Body:
    """Returns the body: the question and, separately, the history."""
    *past, question = prompt.messages
    roles = {"user": "USER", "assistant": "CHATBOT"}
    return {
        "message": question.text,
        "max_tokens": prompt.max_tokens,
        **drop_unset(
            preamble=prompt.system,
            chat_history=[{"role": roles[m.role], "message": m.text} for m in past],
            temperature=prompt.temperature,
            p=prompt.top_p,
            stop_sequences=list(prompt.stop_sequences),
        ),
    }


def command_r_events(chunk: JsonObject) -> Iterator[ModelEvent]:
    """Reads Command R's events. `stream-end` repeats the whole answer, which is ignored.

    The stop reason is beside `response` or (recorded in the AI SDK's tests) inside it. The older
    Command models have no `event_type`.
    """
    kind = chunk.get("event_type")
    if kind == "stream-end" or chunk.get("is_finished") is True:
        response = get_object(chunk, "response")
        yield from usage_events(  # Cohere's own; on Bedrock the invocation metrics replace it
            get_object(response, "token_count"),
            input_tokens="prompt_tokens",
            output_tokens="response_tokens",
        )
        reason = chunk.get("finish_reason") or response.get("finish_reason")
        yield from stop_events(reason if isinstance(reason, str) and reason else "unknown")
    elif kind in ("text-generation", None) and (answer := get_text(chunk, "text")):
        yield TextDelta(answer)
