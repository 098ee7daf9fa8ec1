"""The wire protocol: what clients send and receive, and how it is written."""
