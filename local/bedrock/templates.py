"""Parses prompt templates: from one string to the system prompt and the turns.

Rules:
- Strict, in terms of control tokens: whatever a tokenizer would match is a token, whether the
  template or a user wrote it. A caller that passes such a token on in a user's text gets turns that
  were never sent, or an error; a wrong template gets an error.
- Pure. Every violation is a ValidationException. The services are less strict: the model answers,
  without sense.
- A prompt ends where the answer begins. Text after that point is the answer's `prefill`.

Sources: Meta's model cards and prompt formats for Llama 2, 3 and 4; Mistral's instruct tokenizer V1
and the Bedrock user guide's prompts for it; DeepSeek R1's chat template and the Bedrock user
guide's "DeepSeek models".

Does not know: the rest of a request (`templated.py`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from local.bedrock.native import check_alternation, malformed_request
from local.bedrock.pieces import ServiceError, Turn


@dataclass(frozen=True, slots=True)
class Conversation:
    """The content of a prompt. `prefill` is the beginning of the answer, if there is one."""

    system: str
    turns: tuple[Turn, ...]
    prefill: str = ""


@dataclass(frozen=True, slots=True)
class HeaderTemplate:
    """Templates in which a header with the role precedes each message: Llama 3 and 4."""

    begin: str
    open: str
    close: str
    end: str

    def __call__(self, prompt: str) -> Conversation:
        """Returns the conversation. Raises ServiceError."""
        tokens = _Tokens(prompt, _ANGLED)
        tokens.take(self.begin, empty=True)
        messages: list[tuple[str, str]] = []
        while True:
            role = tokens.take(self.open)
            text = tokens.take(self.close)
            if not text.startswith("\n\n"):
                raise _template_error(f"no blank line after the header of {role!r}")
            text = text.removeprefix("\n\n")
            if tokens.ended:
                break
            tokens.take(self.end, empty=True)
            messages.append((role, text))
        if role != "assistant":
            raise _template_error("the prompt does not end where the assistant begins")
        system = messages.pop(0)[1] if messages and messages[0][0] == "system" else ""
        return Conversation(system, _turns(messages), text)


@dataclass(frozen=True, slots=True)
class BracketTemplate:
    """Templates that enclose user messages in `[INST]`: Llama 2 and Mistral.

    `bos_per_round`: each round begins with `<s>`, not only the first. `system_tags`: the system
    prompt is enclosed in `<<SYS>>`; otherwise it is the first paragraph of the first message, from
    which nothing distinguishes it.
    """

    bos_per_round: bool
    system_tags: bool

    def __call__(self, prompt: str) -> Conversation:
        """Returns the conversation. Raises ServiceError."""
        tokens = _Tokens(prompt, _BRACKETS)
        tokens.take("<s>", empty=True)
        system, messages = "", list[tuple[str, str]]()
        while True:
            text = tokens.take("[INST]")
            if self.system_tags and not messages and not text.strip() and tokens.next == "<<SYS>>":
                system = tokens.take("<<SYS>>").strip("\n")
                text = tokens.take("<</SYS>>").removeprefix("\n\n")
            messages.append(("user", _without_padding(text)))
            answer = _without_padding(tokens.take("[/INST]"))
            if tokens.ended:
                break
            messages.append(("assistant", answer))
            tokens.take("</s>", empty=True)
            if self.bos_per_round:
                tokens.take("<s>", empty=True)
        if not self.system_tags:
            before, blank, after = messages[0][1].partition("\n\n")
            if blank:
                system, messages[0] = before, ("user", after)
        return Conversation(system, _turns(messages), answer)


def deepseek(prompt: str) -> Conversation:
    """Returns the conversation in a prompt for DeepSeek R1. Raises ServiceError."""
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


LLAMA2 = BracketTemplate(bos_per_round=True, system_tags=True)
LLAMA3 = HeaderTemplate(
    "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
)
LLAMA4 = HeaderTemplate("<|begin_of_text|>", "<|header_start|>", "<|header_end|>", "<|eot|>")
MISTRAL = BracketTemplate(bos_per_round=False, system_tags=False)

# The control tokens that the tokenizers match, as the only group: exact names, in exact case.
_ANGLED = re.compile(r"(<\|[a-z0-9_]+\|>)")
_BRACKETS = re.compile(r"(</?s>|\[/?INST\]|<</?SYS>>)")
_FULLWIDTH = re.compile("(<\N{FULLWIDTH VERTICAL LINE}[A-Za-z0-9▁]+\N{FULLWIDTH VERTICAL LINE}>)")


def _special(name: str) -> str:
    """Returns a control token of DeepSeek's, whose bars are fullwidth."""
    return f"<\N{FULLWIDTH VERTICAL LINE}{name}\N{FULLWIDTH VERTICAL LINE}>"


class _Tokens:
    """Iterates over the control tokens of a prompt, each with the text after it."""

    def __init__(self, prompt: str, control: re.Pattern[str]) -> None:
        before, *rest = control.split(prompt)
        if before.strip():
            raise _template_error("there is text before the first control token")
        self._pairs = list(zip(rest[::2], rest[1::2], strict=True))
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at == len(self._pairs)

    @property
    def next(self) -> str:
        return "the end" if self.ended else self._pairs[self._at][0]

    def take(self, token: str, *, empty: bool = False) -> str:
        """Consumes this token, which must be the next, and returns the text after it.

        Raises ServiceError for another token and, with `empty`, for text after it.
        """
        if self.next != token:
            raise _template_error(f"{token} expected, found {self.next}")
        text = self._pairs[self._at][1]
        if empty and text.strip():
            raise _template_error(f"there is text between {token} and the next control token")
        self._at += 1
        return text


def _without_padding(text: str) -> str:
    """Returns the text without the one space that the template puts beside its tokens."""
    return text.removeprefix(" ").removesuffix(" ")


def _turns(messages: Sequence[tuple[str, str]]) -> tuple[Turn, ...]:
    turns = []
    for role, text in messages:
        if role not in ("user", "assistant"):
            raise _template_error(f"the role {role!r} is unknown")
        turns.append(Turn("user" if role == "user" else "assistant", (text,)))
    return check_alternation(turns)


def _template_error(problem: str) -> ServiceError:
    return malformed_request(f"#/prompt: {problem}")
