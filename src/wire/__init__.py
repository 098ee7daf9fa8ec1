"""The wire protocol: the frames of clients and of the server, and how they are written."""
