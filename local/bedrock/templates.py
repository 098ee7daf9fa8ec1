"""Prompt templates read backwards: one string in, the system prompt and the turns out.

Rules:
- Strict, and in the terms of control tokens: what a tokenizer would take for one is one, whoever
  wrote it. A caller that lets a user's words hold such a token gets turns that nobody said, or a
  refusal; a wrong template gets a refusal.
- Pure. Every mistake is a ValidationException. The services are laxer: they answer nonsense.
- A prompt ends where the answer is to begin. What stands there already is the answer's `opening`.

Sources: Meta's model cards and prompt formats for Llama 2, 3 and 4; Mistral's instruct tokenizer V1
and the Bedrock user guide's prompts for it; DeepSeek R1's chat template and the Bedrock user
guide's "DeepSeek models".

Does not know: the rest of a request (`local/bedrock/templated.py`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from local.bedrock.native import alternating, malformed
from local.bedrock.pieces import Failure, Turn


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a prompt says. `opening` is the beginning of the answer, if the caller wrote one."""

    system: str
    turns: tuple[Turn, ...]
    opening: str = ""


@dataclass(frozen=True, slots=True)
class Headed:
    """Templates where each message has a header with its role: Llama 3 and 4."""

    begin: str
    open: str
    close: str
    end: str

    def __call__(self, prompt: str) -> Conversation:
        """The conversation. Raises Failure."""
        tokens = _Tokens(prompt, _ANGLED)
        tokens.take(self.begin, empty=True)
        messages: list[tuple[str, str]] = []
        while True:
            role = tokens.take(self.open)
            text = tokens.take(self.close)
            if not text.startswith("\n\n"):
                raise _wrong(f"no blank line after the header of {role!r}")
            text = text.removeprefix("\n\n")
            if tokens.ended:
                break
            tokens.take(self.end, empty=True)
            messages.append((role, text))
        if role != "assistant":
            raise _wrong("the prompt does not end where the assistant begins")
        system = messages.pop(0)[1] if messages and messages[0][0] == "system" else ""
        return Conversation(system, _turns(messages), text)


@dataclass(frozen=True, slots=True)
class Bracketed:
    """Templates that put the user into `[INST]`: Llama 2 and Mistral.

    `anew`: each round begins with `<s>`, not only the first. `tagged`: the system prompt stands in
    `<<SYS>>`; else it is the first paragraph of the first message, and cannot be told from it.
    """

    anew: bool
    tagged: bool

    def __call__(self, prompt: str) -> Conversation:
        """The conversation. Raises Failure."""
        tokens = _Tokens(prompt, _BRACKETS)
        tokens.take("<s>", empty=True)
        system, messages = "", list[tuple[str, str]]()
        while True:
            said = tokens.take("[INST]")
            if self.tagged and not messages and not said.strip() and tokens.next == "<<SYS>>":
                system = tokens.take("<<SYS>>").strip("\n")
                said = tokens.take("<</SYS>>").removeprefix("\n\n")
            messages.append(("user", _set_off(said)))
            answer = _set_off(tokens.take("[/INST]"))
            if tokens.ended:
                break
            messages.append(("assistant", answer))
            tokens.take("</s>", empty=True)
            if self.anew:
                tokens.take("<s>", empty=True)
        if not self.tagged:
            before, blank, after = messages[0][1].partition("\n\n")
            if blank:
                system, messages[0] = before, ("user", after)
        return Conversation(system, _turns(messages), answer)


def deepseek(prompt: str) -> Conversation:
    """The conversation in a prompt for DeepSeek R1. Raises Failure."""
    tokens = _Tokens(prompt, _FULLWIDTH)
    system = tokens.take(_special("begin▁of▁sentence"))
    messages = []
    while True:
        messages.append(("user", tokens.take(_special("User"))))
        answer = tokens.take(_special("Assistant"))
        if tokens.ended:
            break
        messages.append(("assistant", answer))
        tokens.take(_special("end▁of▁sentence"), empty=True)
    return Conversation(system, _turns(messages), answer)


LLAMA2 = Bracketed(anew=True, tagged=True)
LLAMA3 = Headed("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
LLAMA4 = Headed("<|begin_of_text|>", "<|header_start|>", "<|header_end|>", "<|eot|>")
MISTRAL = Bracketed(anew=False, tagged=False)

# What the tokenizers take for control tokens, each as the only group.
_ANGLED = re.compile(r"(<\|[a-z0-9_]+\|>)")
_BRACKETS = re.compile(r"(</?s>|\[/?INST\]|<</?SYS>>)")
_FULLWIDTH = re.compile(
    "(<\N{FULLWIDTH VERTICAL LINE}[^\N{FULLWIDTH VERTICAL LINE}<>]+\N{FULLWIDTH VERTICAL LINE}>)"
)


def _special(name: str) -> str:
    """A control token of DeepSeek's, whose bars only look like the common one."""
    return f"<\N{FULLWIDTH VERTICAL LINE}{name}\N{FULLWIDTH VERTICAL LINE}>"


class _Tokens:
    """The control tokens of a prompt in turn, each with the text after it."""

    def __init__(self, prompt: str, control: re.Pattern[str]) -> None:
        before, *rest = control.split(prompt)
        if before.strip():
            raise _wrong("there is text before the first control token")
        self._pairs = list(zip(rest[::2], rest[1::2], strict=True))
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at == len(self._pairs)

    @property
    def next(self) -> str:
        return "the end" if self.ended else self._pairs[self._at][0]

    def take(self, token: str, *, empty: bool = False) -> str:
        """The text after this token, which must be the next; `empty` allows no text."""
        if self.next != token:
            raise _wrong(f"{token} expected, found {self.next}")
        text = self._pairs[self._at][1]
        if empty and text.strip():
            raise _wrong(f"there is text between {token} and the next control token")
        self._at += 1
        return text


def _set_off(text: str) -> str:
    """Without the one space by which a template sets off its tokens."""
    return text.removeprefix(" ").removesuffix(" ")


def _turns(messages: Sequence[tuple[str, str]]) -> tuple[Turn, ...]:
    turns = []
    for role, text in messages:
        if role not in ("user", "assistant"):
            raise _wrong(f"the role {role!r} is not known here")
        turns.append(Turn("user" if role == "user" else "assistant", (text,)))
    return alternating(turns)


def _wrong(what: str) -> Failure:
    return malformed(f"#/prompt: {what}")
