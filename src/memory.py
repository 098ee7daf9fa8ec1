"""The hand-written conversation buffer: what was said, and what of it the model sees again.

Rules
- One item per turn, numbered. Reading costs what the window costs, however long the conversation.
- Roles alternate, and every answer that a person saw a word of is part of the conversation.

Does not know DynamoDB's calls and failures (`table`), who may speak (`leases`), Bedrock, or
frames on a wire.

"""

from collections.abc import Iterable

from msgspec import Struct

from families.types import Message, Prompt, Usage

# A guess for text whose tokens nobody counted, on the careful side: English runs at about four
# bytes a token, other scripts at three or fewer.
ESTIMATED_BYTES_PER_TOKEN = 3


# -- the buffer: pure ------------------------------------------------------------------------------


class Turn(Struct, frozen=True, kw_only=True):
    """One question and what was answered.

    `state` is complete, stopped, deadline, error, disconnected or unfinished. `tokens` is what the
    turn adds to a later prompt. `created_at` is in seconds of Unix time. `stop_reason` is the
    model's, where it ended by itself; `reasoning` is kept where it was shown.
    """

    number: int
    request_id: str
    user: str
    assistant: str
    state: str
    tokens: int
    created_at: int
    stop_reason: str = ""
    reasoning: str = ""

    @property
    def is_incomplete(self) -> bool:
        """Whether there is an answer, and more of it to come."""
        ended = self.state == "complete" and self.stop_reason != "max_tokens"
        return bool(self.assistant.strip()) and not ended


def window(newest_first: Iterable[Turn], budget: int) -> tuple[Turn, ...]:
    """The newest turns that fit into `budget` tokens together, oldest first.

    A turn without an answer is passed over: models refuse an empty message, and its question was
    most likely asked again.
    """
    kept: list[Turn] = []
    left = budget
    for turn in newest_first:
        if not turn.assistant.strip():
            continue
        left -= turn.tokens
        if left < 0:
            break
        kept.append(turn)
    return tuple(reversed(kept))


def messages(past: Iterable[Turn], question: str) -> tuple[Message, ...]:
    """The conversation as a model reads it: user and assistant in turn, the new question last."""
    said = [
        message
        for turn in past
        for message in (Message("user", turn.user), Message("assistant", turn.assistant))
    ]
    return (*said, Message("user", question))


def turn_tokens(usage: Usage, past: Iterable[Turn], question: str, answer: str) -> int:
    """What this turn will add to a later prompt.

    Bedrock reports the whole prompt; less what the turns before it are known to weigh, that is the
    question (and, in a first turn, the system prompt). Where Bedrock reported nothing: a guess.
    """
    prompt = usage.prompt_tokens
    asked = (
        estimate_tokens(question)
        if prompt is None
        else max(1, prompt - sum(t.tokens for t in past))
    )
    said = estimate_tokens(answer) if usage.output_tokens is None else usage.output_tokens
    return asked + said


def used_tokens(usage: Usage, prompt: Prompt, said: str) -> int:
    """What a call has cost, as Bedrock reported, else a guess. `said`: all that the model said."""
    read, written = usage.prompt_tokens, usage.output_tokens
    return (prompt_tokens_estimate(prompt) if read is None else read) + (
        estimate_tokens(said) if written is None else written
    )


def prompt_tokens_estimate(prompt: Prompt) -> int:
    """A guess at what a prompt weighs."""
    return estimate_tokens(prompt.system) + sum(
        estimate_tokens(message.text) for message in prompt.messages
    )


def estimate_tokens(text: str) -> int:
    """What a text may weigh whose tokens nobody counted."""
    return len(text.encode()) // ESTIMATED_BYTES_PER_TOKEN + 1
