"""The terminal client. It shares the wire protocol with the server, and no code."""
