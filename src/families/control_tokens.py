"""Neutralizes control tokens in user and model text, so that no text can leave its turn. Pure.

Rules
- Whatever resembles a control token of any family's template is rewritten with other brackets:
  `[/INST]` becomes `(/INST)`, `<|eot_id|>` becomes `‹|eot_id|›`. It remains readable, and no
  tokenizer matches it.
- The rule is the same for all families: an imported model may be of another family than configured.
- It is wider than tokenizers, which match exactly: it ignores case, and allows spaces inside and
  both kinds of bar. A rewritten `< / S >` does less harm than one that a model takes for a token.
- Each replacement is one character for one character. Nothing is removed, so that no removal can
  join two halves to a token.
- One pass is enough. A token in the result contains no replacement character, so it would have been
  in the input, unchanged. There the pass matches it, or something that overlaps it; and a match
  begins and ends with a bracket, so that every overlap replaces a bracket of the token. Brackets
  around a neutralized token may remain (`<|a‹s›|>`): no tokenizer has a token with `‹` or `›`.

Does not know templates. Reasons: docs/decisions/0005-control-tokens.md.
"""

import re

# Not NFKC-equivalent to "<" and ">" (the fullwidth forms are): no normalizer turns them back.
_REPLACEMENTS = str.maketrans("[]<>", "()‹›")

_BAR = "[|｜]"
# All repetitions are bounded: no text may cost quadratic time.
_GAP = r"\s{0,3}"
# The longest known, "<|reserved_special_token_247|>", has 26 characters between its bars.
_NAME = "[^<>|｜]{1,80}"
_ANGLED = (
    "s|unk|pad|bos|eos|mask|(?:start|end)_of_(?:turn|image)|think|reasoning"
    "|(?:SPECIAL|extra_id)_[0-9]{1,6}"
)
# mistral-common, `SpecialTokens`. `[control_8]` to `[control_768]` are reserved by Mistral 7B v0.3.
# The last line ignores no case: in small letters these are ordinary section headings.
_SQUARE = (
    "INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|CALL_ID|ARGS|THINK"
    "|IMG|IMG_BREAK|IMG_END|PREFIX|MIDDLE|SUFFIX|control_[0-9]{1,6}"
    "|(?-i:AUDIO|BEGIN_AUDIO|TRANSCRIBE|MODEL_SETTINGS)"
)

# Not compiled at import, which would cost every cold start; `re` caches it at the first use.
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

# Titan has no control tokens: a turn begins with the speaker's name at the beginning of a line.
_SPEAKER = r"(^|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029])([^\S\r\n]{0,40})(user|bot)([^\S\r\n]{0,3}):"


def neutralize(text: str) -> str:
    """Returns `text` with the brackets of every control token replaced."""
    if "<" not in text and "[" not in text and "]" not in text:
        return text
    return re.sub(
        _TOKEN, lambda token: token[0].translate(_REPLACEMENTS), text, flags=re.IGNORECASE
    )


def neutralize_transcript(text: str) -> str:
    """Returns the same, with `Bot:` at the beginning of a line rewritten to `(Bot):`."""
    return re.sub(_SPEAKER, r"\1\2(\3)\4:", neutralize(text), flags=re.IGNORECASE)


def unchanged(text: str) -> str:
    """Returns `text`: for families whose service separates the messages itself."""
    return text
