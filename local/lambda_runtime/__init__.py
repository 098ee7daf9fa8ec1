"""Lambda on a laptop: a function, its environments and its asynchronous queue."""
