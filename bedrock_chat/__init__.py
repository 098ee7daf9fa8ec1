"""The terminal client. It shares the protocol with the server, and nothing else."""
