"""Makes the parts of the documents that are made of the sources."""
