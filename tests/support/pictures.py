"""The conversation that the pictures in docs/images show: the questions, and the model.

The function requests the model by a name that states what answers, so that no picture shows an
answer of SmolLM2 under the name of another model.
"""

from local.stack import settings_for

MODEL = "smollm2"
MODEL_ID = "arn:aws:bedrock:us-east-1:123456789012:imported-model/smollm2"
# The temperature makes runs similar.
SETTINGS = {**settings_for(MODEL, {}), "MODEL_FAMILY": "openai-chat", "TEMPERATURE": "0"}
QUESTIONS = (
    "What is the capital of France?",
    "Write a Python function that adds two numbers.",
)
