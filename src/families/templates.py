"""Prompt templates of the families that take system prompt and messages as one string. Pure.

Rules
- The texts have been neutralized (`control_tokens`): every control token in a prompt is the
  template's own.
- A prompt ends where the answer begins.
- These models begin an answer with a space; earlier answers are stripped, because the template
  writes that space itself.
- The messages alternate, and begin and end with the user's (`types.alternating`).

Does not know the rest of a request (`shapes`).
"""

from msgspec import Struct

from families.types import Message, Prompt


class HeaderTemplate(Struct, frozen=True):
    """Template of Llama 3 and 4: each message follows a header with its role."""

    open: str
    close: str
    end: str

    def __call__(self, prompt: Prompt) -> str:
        """Returns the prompt as one string."""
        messages = prompt.messages
        if prompt.system:
            messages = (Message("system", prompt.system), *messages)
        turns = "".join(f"{self._header(m.role)}{m.text}{self.end}" for m in messages)
        return f"<|begin_of_text|>{turns}{self._header('assistant')}"

    def _header(self, role: str) -> str:
        return f"{self.open}{role}{self.close}\n\n"


# Meta, "Model Cards & Prompt Formats", Llama 3.1 and Llama 4; Bedrock User Guide, "Meta Llama
# models". langchain-aws puts line feeds between messages and none after a header: the reverse.
llama3 = HeaderTemplate("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
llama4 = HeaderTemplate("<|header_start|>", "<|header_end|>", "<|eot|>")


def llama2(prompt: Prompt) -> str:
    """Llama 2: one `<s>` per round, the system prompt inside the first (Meta, "Llama 2")."""
    system = f"<<SYS>>\n{prompt.system}\n<</SYS>>\n\n" if prompt.system else ""
    return "".join(
        f"<s>[INST] {system if index == 0 else ''}{message.text} [/INST]"
        if message.role == "user"
        else f" {message.text.strip()} </s>"
        for index, message in enumerate(prompt.messages)
    )


def mistral(prompt: Prompt) -> str:
    """Mistral's text models.

    Sources: Bedrock User Guide, "Mistral AI text completion"; Mistral's instruct tokenizer V1. The
    template has no system role: the system prompt precedes the first question, as in the chat
    templates on Hugging Face. langchain-aws uses Llama 2's `<<SYS>>`, which Mistral was not trained
    on.
    """
    system = f"{prompt.system}\n\n" if prompt.system else ""
    turns = "".join(
        f"[INST] {system if index == 0 else ''}{message.text} [/INST]"
        if message.role == "user"
        else f" {message.text.strip()}</s>"
        for index, message in enumerate(prompt.messages)
    )
    return f"<s>{turns}"


def deepseek(prompt: Prompt) -> str:
    """DeepSeek R1. The prompt opens the reasoning, which the model otherwise may skip.

    Sources: Bedrock User Guide, "DeepSeek models"; DeepSeek-R1's tokenizer_config.json.
    langchain-aws writes these tokens with an ASCII bar, which the tokenizer does not match.
    """
    turns = "".join(
        f"<｜User｜>{message.text}"
        if message.role == "user"
        else f"<｜Assistant｜>{message.text}<｜end▁of▁sentence｜>"
        for message in prompt.messages
    )
    return f"<｜begin▁of▁sentence｜>{prompt.system}{turns}<｜Assistant｜><think>\n"


def titan(prompt: Prompt) -> str:
    """Titan Text: a line per message (Bedrock User Guide, "Amazon Titan Text models")."""
    system = f"{prompt.system}\n\n" if prompt.system else ""
    turns = "".join(
        f"User: {message.text}\n" if message.role == "user" else f"Bot: {message.text.strip()}\n"
        for message in prompt.messages
    )
    return f"{system}{turns}Bot:"
