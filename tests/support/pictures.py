"""The conversation that the pictures in docs/images show: the questions, and the model."""

from local.stack import settings_for

MODEL = "smollm2"
SETTINGS = {**settings_for(MODEL, {}), "TEMPERATURE": "0"}  # so that each run is similar
QUESTIONS = (
    "What is the capital of France?",
    "Write a Python function that adds two numbers.",
)
