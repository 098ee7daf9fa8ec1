"""The conversation buffer: the turns of a conversation, and which of them the model reads. Pure.

Rules
- A turn is one question and its answer; turns are numbered from 1.
- The messages for the model alternate between user and assistant, and every answer of which the
  client received any text is among them while the token budget lasts.

Does not know how turns are stored (`store.conversations`), who may read them (`store.sessions`),
Bedrock, or frames.
"""

from collections.abc import Iterable

from msgspec import Struct

from families.types import Message, Prompt, Usage

# For text whose tokens Bedrock did not report; it overestimates: English has about four bytes a
# token, other scripts three or fewer.
ESTIMATED_BYTES_PER_TOKEN = 3


class Turn(Struct, frozen=True, kw_only=True):
    """One question and its answer.

    `state` is complete, stopped, deadline, error, disconnected or unfinished. `tokens` is what the
    turn adds to a later prompt. `created_at` is in seconds of Unix time. `stop_reason` is the
    model's, where the answer is complete; `reasoning` is stored where it was shown.
    """

    number: int
    request_id: str = ""
    user: str = ""
    assistant: str = ""
    state: str = "complete"
    tokens: int = 0
    created_at: int = 0
    stop_reason: str = ""
    reasoning: str = ""

    @property
    def is_incomplete(self) -> bool:
        """Whether there is an answer that can be continued."""
        ended = self.state == "complete" and self.stop_reason != "max_tokens"
        return bool(self.assistant.strip()) and not ended


def window(newest_first: Iterable[Turn], budget: int) -> tuple[Turn, ...]:
    """Returns the newest turns that fit into `budget` tokens together, oldest first.

    A turn without an answer is left out: models refuse an empty message, and its question was
    probably sent again.
    """
    fitting: list[Turn] = []
    remaining = budget
    for turn in newest_first:
        if not turn.assistant.strip():
            continue
        remaining -= turn.tokens
        if remaining < 0:
            break
        fitting.append(turn)
    return tuple(reversed(fitting))


def messages(past: Iterable[Turn], question: str) -> tuple[Message, ...]:
    """Returns the messages for the model, user and assistant in turn, the new question last."""
    past_messages = [
        message
        for turn in past
        for message in (Message("user", turn.user), Message("assistant", turn.assistant))
    ]
    return (*past_messages, Message("user", question))


def turn_tokens(usage: Usage, past: Iterable[Turn], question: str, answer: str) -> int:
    """Returns the tokens that this turn adds to a later prompt.

    Bedrock reports the tokens of the whole prompt; without those of the turns in it, they are the
    question's (and, in a first turn, the system prompt's). Estimated where Bedrock reports none.
    """
    prompt = usage.prompt_tokens
    question_tokens = (
        estimate_tokens(question)
        if prompt is None
        else max(1, prompt - sum(t.tokens for t in past))
    )
    reported = usage.output_tokens
    return question_tokens + (estimate_tokens(answer) if reported is None else reported)


def used_tokens(usage: Usage, prompt: Prompt, output: str) -> int:
    """Returns the tokens that a call used, as Bedrock reported them, or else estimated.

    `output` is all text that the model returned.
    """
    prompt_tokens, output_tokens = usage.prompt_tokens, usage.output_tokens
    return (estimate_prompt_tokens(prompt) if prompt_tokens is None else prompt_tokens) + (
        estimate_tokens(output) if output_tokens is None else output_tokens
    )


def estimate_prompt_tokens(prompt: Prompt) -> int:
    """Estimates the tokens of a prompt."""
    return estimate_tokens(prompt.system) + sum(
        estimate_tokens(message.text) for message in prompt.messages
    )


def estimate_tokens(text: str) -> int:
    """Estimates the tokens of a text; at least 1."""
    return len(text.encode()) // ESTIMATED_BYTES_PER_TOKEN + 1
