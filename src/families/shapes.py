"""How each family is asked and how its chunks are read: two small functions for each. Pure.

Rules
- A request function gives the JSON body. It is handed a prompt in order: messages that alternate,
  tokens within the model's ceiling, control tokens out of force (`model_families.body`).
- A chunk function gives the events of one decoded chunk. What it does not know gives none.
- Where public sources disagree, both forms are read, and the place says so.

Does not know which model is of which family, or what Bedrock adds to every chunk (`native`).
"""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from families import templates
from families.chunks import Json, child, drop_unset, first, stopped, text, usage
from families.types import Event, Prompt, ReasoningDelta, TextDelta, Usage

Body = dict[str, Any]

# -- Claude (Messages) -----------------------------------------------------------------------------
# Bedrock User Guide, "Anthropic Claude Messages API"; Anthropic, "Streaming Messages" and "Prompt
# caching"; langchain-aws.

_CACHE_POINT = {"cache_control": {"type": "ephemeral"}}


def claude_request(prompt: Prompt) -> Body:
    """With `cache`, two of the four points allowed: behind the system prompt and the history.

    Each turn then finds what the one before it had cached. A prefix too short is simply not cached.
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


def _cached(words: str) -> Body:
    return {"type": "text", "text": words, **_CACHE_POINT}


def claude_events(chunk: Json) -> Iterator[Event]:
    """Text and thinking by block; tools, signatures, pings and the unknown say nothing."""
    delta = child(chunk, "delta")
    match chunk.get("type"):
        case "content_block_delta":
            if said := text(delta, "text"):
                yield TextDelta(said)
            elif thought := text(delta, "thinking"):
                yield ReasoningDelta(thought)
        case "message_start":
            # Its output count is only a beginning (1): believed, it would make an answer that
            # breaks off weigh next to nothing.
            for begun in _claude_usage(child(chunk, "message")):
                yield replace(begun, output_tokens=None)
        case "message_delta":
            yield from _claude_usage(chunk)
            yield from stopped(delta.get("stop_reason"))


def _claude_usage(holder: Json) -> Iterator[Usage]:
    yield from usage(
        child(holder, "usage"),
        input_tokens="input_tokens",
        output_tokens="output_tokens",
        cache_read_tokens="cache_read_input_tokens",
        cache_write_tokens="cache_creation_input_tokens",
    )


# -- Amazon Nova -----------------------------------------------------------------------------------
# Amazon Nova User Guide, "Complete request schema" and "Streaming responses"; litellm.


def nova_request(prompt: Prompt) -> Body:
    """Nova 1 and 2."""
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


def nova_events(chunk: Json) -> Iterator[Event]:
    """The usage follows the stop reason."""
    delta = child(child(chunk, "contentBlockDelta"), "delta")
    if said := text(delta, "text"):
        yield TextDelta(said)
    # Nova 2 puts the text one level deeper than the Converse API's delta does; both are read.
    reasoning = child(delta, "reasoningContent")
    if thought := text(child(reasoning, "reasoningText") or reasoning, "text"):
        yield ReasoningDelta(thought)
    yield from usage(
        child(child(chunk, "metadata"), "usage"),
        input_tokens="inputTokens",
        output_tokens="outputTokens",
        cache_read_tokens="cacheReadInputTokenCount",
        cache_write_tokens="cacheWriteInputTokenCount",
    )
    yield from stopped(child(chunk, "messageStop").get("stopReason"))


# -- Amazon Titan Text -----------------------------------------------------------------------------
# Bedrock User Guide, "Amazon Titan Text models"; Portkey gateway (complete.ts).


def titan_request(prompt: Prompt) -> Body:
    """One text, with a line for each speaker."""
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


def titan_events(chunk: Json) -> Iterator[Event]:
    """Text, counts and reason side by side; the last chunk may have all three."""
    if said := text(chunk, "outputText"):
        yield TextDelta(said)
    yield from usage(
        chunk, input_tokens="inputTextTokenCount", output_tokens="totalOutputTextTokenCount"
    )
    yield from stopped(chunk.get("completionReason"))


# -- Meta Llama ------------------------------------------------------------------------------------
# Bedrock User Guide, "Meta Llama models"; langchain-aws; Portkey gateway (complete.ts).


def llama2_request(prompt: Prompt) -> Body:
    """Llama 2."""
    return _llama(templates.llama2(prompt), prompt)


def llama3_request(prompt: Prompt) -> Body:
    """Llama 3 to 3.3."""
    return _llama(templates.llama3(prompt), prompt)


def llama4_request(prompt: Prompt) -> Body:
    """Llama 4."""
    return _llama(templates.llama4(prompt), prompt)


def _llama(words: str, prompt: Prompt) -> Body:
    # There are no stop sequences here: the body has no field for them.
    return {
        "prompt": words,
        "max_gen_len": prompt.max_tokens,
        **drop_unset(temperature=prompt.temperature, top_p=prompt.top_p),
    }


def llama_events(chunk: Json) -> Iterator[Event]:
    """The prompt is counted in the first chunk, what was generated in each."""
    if said := text(chunk, "generation"):
        yield TextDelta(said)
    yield from usage(
        chunk, input_tokens="prompt_token_count", output_tokens="generation_token_count"
    )
    yield from stopped(chunk.get("stop_reason"))


# -- prompts with `max_tokens` and `stop`: Mistral's text models, DeepSeek R1 ----------------------
# Bedrock User Guide, "Mistral AI text completion" and "DeepSeek models"; langchain-aws; a recorded
# Mistral chunk in litellm's issue 2464.


def mistral_text_request(prompt: Prompt) -> Body:
    """Mistral 7B, Mixtral, and the first Large and Small."""
    return {"prompt": templates.mistral(prompt), **_sampling(prompt)}


def deepseek_r1_request(prompt: Prompt) -> Body:
    """DeepSeek R1."""
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


def mistral_text_events(chunk: Json) -> Iterator[Event]:
    """`outputs`; the last one has the reason."""
    output = first(chunk, "outputs")
    if said := text(output, "text"):
        yield TextDelta(said)
    yield from stopped(output.get("stop_reason"))


# -- messages with OpenAI's names ------------------------------------------------------------------
# Bedrock User Guide, "OpenAI models", "Mistral AI chat completion", "AI21 Labs Jamba models",
# "Writer AI Palmyra models"; langchain-aws; litellm; recorded chunks of gpt-oss in Cherry Studio's
# issue 10225 and of Kimi in Bike4Mind's pull request 1089.


def chat_request(prompt: Prompt) -> Body:
    """`max_tokens` for all: gpt-oss takes it beside its `max_completion_tokens` (langchain-aws)."""
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    messages = [{"role": m.role, "content": m.text} for m in prompt.messages]
    return {"messages": system + messages, **_sampling(prompt)}


def chat_request_without_stop(prompt: Prompt) -> Body:
    """The same where the body has no `stop`: Mistral's chat."""
    return {name: value for name, value in chat_request(prompt).items() if name != "stop"}


_REASONING = {"reasoning_content", "reasoning"}  # a chunk has the one or the other


def choice_events(chunk: Json) -> Iterator[Event]:
    """The first choice, in whichever of the forms that are met.

    Text: `delta.content`; Mistral's `message.content`, which is no less a delta; DeepSeek R1's
    `text`, which Palmyra may have too (langchain-aws reads it there, Writer's guide has `delta`).
    Reason: `finish_reason`, or `stop_reason` (Mistral, DeepSeek R1). Where an OpenAI-like server
    counts cached tokens, they are among `prompt_tokens`: not told apart, to count none twice.
    """
    choice = first(chunk, "choices")
    said = child(choice, "delta") or child(choice, "message")
    for name in _REASONING & said.keys():
        # Text, or an object with a text (Envoy's AI gateway writes Converse's form).
        if thought := text(said, name) or text(child(said, name), "text"):
            yield ReasoningDelta(thought)
            break
    yield from _content(said.get("content") or choice.get("text"))
    yield from usage(
        child(chunk, "usage"), input_tokens="prompt_tokens", output_tokens="completion_tokens"
    )
    yield from stopped(choice.get("finish_reason") or choice.get("stop_reason"))


def _content(content: object) -> Iterator[Event]:
    """Text, or Mistral's list of parts: `{"text"}`, and `{"thinking": [{"text"}]}` of Magistral."""
    if isinstance(content, str) and content:
        yield TextDelta(content)
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict):
                if said := text(part, "text"):
                    yield TextDelta(said)
                elif thought := text(first(part, "thinking"), "text"):
                    yield ReasoningDelta(thought)


# -- Cohere Command R ------------------------------------------------------------------------------
# Bedrock User Guide, "Cohere Command R and Command R+ models"; Cohere's Chat API v1; litellm.


def command_r_request(prompt: Prompt) -> Body:
    """The question stands apart from what was said before it."""
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


def command_r_events(chunk: Json) -> Iterator[Event]:
    """The end repeats the whole answer in `response`, which is not read.

    The reason stands beside it or (recorded in the AI SDK's tests) inside it. The older Command
    models name no `event_type`.
    """
    kind = chunk.get("event_type")
    if kind == "stream-end" or chunk.get("is_finished") is True:
        response = child(chunk, "response")
        yield from usage(  # Cohere's own; on Bedrock the invocation metrics follow
            child(response, "token_count"),
            input_tokens="prompt_tokens",
            output_tokens="response_tokens",
        )
        word = chunk.get("finish_reason") or response.get("finish_reason")
        yield from stopped(word if isinstance(word, str) and word else "not told")
    elif kind in ("text-generation", None) and (said := text(chunk, "text")):
        yield TextDelta(said)
