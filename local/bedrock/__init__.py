"""Bedrock Runtime on loopback, and the models behind it."""
