"""The prompts of families that take one string: system prompt and turns in a template. Pure.

Rules
- Texts come without control tokens in force (`control_tokens`): every token in a prompt is the
  template's own.
- A prompt ends where the answer begins.
- These models begin an answer with a blank: it is not said twice, by the model and the template.
- The messages alternate, and begin and end with the user's (`model_types.alternating`).

Does not know the rest of a request (`family_shapes`).
"""

from msgspec import Struct

from families.types import Message, Prompt


class Headed(Struct, frozen=True):
    """Llama 3 and 4: each message under a header with its role."""

    open: str
    close: str
    end: str

    def __call__(self, prompt: Prompt) -> str:
        """The prompt as one string."""
        messages = prompt.messages
        if prompt.system:
            messages = (Message("system", prompt.system), *messages)
        said = "".join(f"{self._header(m.role)}{m.text}{self.end}" for m in messages)
        return f"<|begin_of_text|>{said}{self._header('assistant')}"

    def _header(self, role: str) -> str:
        return f"{self.open}{role}{self.close}\n\n"


# Meta, "Model Cards & Prompt Formats", Llama 3.1 and Llama 4; Bedrock User Guide, "Meta Llama
# models". langchain-aws puts line feeds between messages and none after a header: Meta has neither.
llama3 = Headed("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
llama4 = Headed("<|header_start|>", "<|header_end|>", "<|eot|>")


def llama2(prompt: Prompt) -> str:
    """Meta, "Llama 2" prompt format: a `<s>` for each round, the system prompt inside the first."""
    system = f"<<SYS>>\n{prompt.system}\n<</SYS>>\n\n" if prompt.system else ""
    return "".join(
        f"<s>[INST] {system if at == 0 else ''}{message.text} [/INST]"
        if message.role == "user"
        else f" {message.text.strip()} </s>"
        for at, message in enumerate(prompt.messages)
    )


def mistral(prompt: Prompt) -> str:
    """Bedrock User Guide, "Mistral AI text completion"; Mistral's instruct tokenizer V1.

    There is no place for a system prompt: it stands before the first question, as the chat
    templates on Hugging Face put it. langchain-aws borrows Llama 2's `<<SYS>>`, which Mistral has
    not learnt.
    """
    system = f"{prompt.system}\n\n" if prompt.system else ""
    said = "".join(
        f"[INST] {system if at == 0 else ''}{message.text} [/INST]"
        if message.role == "user"
        else f" {message.text.strip()}</s>"
        for at, message in enumerate(prompt.messages)
    )
    return f"<s>{said}"


def deepseek(prompt: Prompt) -> str:
    """Bedrock User Guide, "DeepSeek models"; DeepSeek-R1's tokenizer_config.json.

    The prompt opens the reasoning, as both do: without it the model may skip it. langchain-aws
    writes these tokens with an ordinary bar, which the tokenizer does not know.
    """
    said = "".join(
        f"<｜User｜>{message.text}"
        if message.role == "user"
        else f"<｜Assistant｜>{message.text}<｜end▁of▁sentence｜>"
        for message in prompt.messages
    )
    return f"<｜begin▁of▁sentence｜>{prompt.system}{said}<｜Assistant｜><think>\n"


def titan(prompt: Prompt) -> str:
    """Bedrock User Guide, "Amazon Titan Text models": a line for each speaker."""
    system = f"{prompt.system}\n\n" if prompt.system else ""
    said = "".join(
        f"User: {message.text}\n" if message.role == "user" else f"Bot: {message.text.strip()}\n"
        for message in prompt.messages
    )
    return f"{system}{said}Bot:"
