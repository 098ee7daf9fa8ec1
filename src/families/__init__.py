"""Bedrock's model families: request bodies, prompt templates and stream chunks. Pure, no I/O."""
