"""Bedrock's model families: how each is asked and how its stream is read. Pure."""
