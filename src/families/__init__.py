"""Bedrock's model families: request bodies, prompt templates and stream chunks. No I/O."""
