"""Taking the force out of control tokens in what people and models have said. Pure.

Rules
- Whatever looks like a control token of any family's template is rewritten with other brackets:
  `[/INST]` becomes `(/INST)`, `<|eot_id|>` becomes `‹|eot_id|›`. People and models can still read
  it; no tokenizer takes it for the token.
- One rule for all families: an imported model may be of another family than its operator says.
- More is rewritten than tokenizers match, which is exact: other cases, spaces inside, the two kinds
  of bar. Fewer surprises are worth more than a `< / S >` that stays as it was.
- One character for one: nothing is removed, so that no removal can put a token together.

Does not know templates. Why so: docs/decisions/0005-control-tokens.md.
"""

import re

# Not NFKC-equivalent to "<" and ">" (as the fullwidth forms are): no normaliser turns them back.
_PLAIN = str.maketrans("[]<>", "()‹›")

_BAR = "[|｜]"
_GAP = r"\s{0,3}"  # bounded, as all of this is: a hostile text must not cost quadratic time
# The longest there is, "<|reserved_special_token_247|>", has 26 characters between its bars.
_NAME = "[^<>|｜]{1,80}"
_ANGLED = (
    "s|unk|pad|bos|eos|mask|(?:start|end)_of_(?:turn|image)|think|reasoning"
    "|(?:SPECIAL|extra_id)_[0-9]{1,6}"
)
_SQUARE = (
    "INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|CALL_ID|ARGS|THINK"
    "|IMG|IMG_BREAK|IMG_END|PREFIX|MIDDLE|SUFFIX"
)

# Compiled by `re` when it is first asked for, and kept there: not every model has any.
_TOKEN = "|".join(
    (
        # Llama 3 and 4, DeepSeek, gpt-oss, Qwen, Kimi, GLM, Jamba, Command R: <|name|>.
        rf"<{_GAP}{_BAR}{_NAME}{_BAR}{_GAP}>",
        # SentencePiece's own; Gemma's turns; reasoning; Nemotron's.
        rf"<{_GAP}/?{_GAP}(?:{_ANGLED}){_GAP}>",
        # Llama 2.
        rf"<{_GAP}<{_GAP}/?{_GAP}SYS{_GAP}>{_GAP}>",
        # Mistral, all versions of its tokenizer; Llama 2 shares [INST].
        rf"\[{_GAP}/?{_GAP}(?:{_SQUARE}){_GAP}\]",
        # MiniMax: ]~!b[ begins, ]~b] opens a turn, [e~[ ends it; ]!p~[, ]<]start of image[>[.
        r"\]~!?[a-z]{1,8}[\[\]]|\]![a-z]{1,8}~\[|\[[a-z]~\[|\]<\][a-z ]{1,24}\[>\[",
    )
)

# Titan has no tokens: its turns begin with a name at the beginning of a line.
_LABEL = r"(^|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029])([^\S\r\n]{0,40})(user|bot)([^\S\r\n]{0,3}):"


def neutralize(text: str) -> str:
    """`text` with every control token taken out of force; all else as it was."""
    if "<" not in text and "[" not in text and "]" not in text:
        return text
    return re.sub(_TOKEN, lambda token: token[0].translate(_PLAIN), text, flags=re.IGNORECASE)


def neutralize_lines(text: str) -> str:
    """The same, and no line begins with the name of a speaker: `Bot:` becomes `(Bot):`."""
    return re.sub(_LABEL, r"\1\2(\3)\4:", neutralize(text), flags=re.IGNORECASE)


def unchanged(text: str) -> str:
    """For families whose messages the service itself keeps apart."""
    return text
