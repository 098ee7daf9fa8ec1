"""Lambda on this machine: a function, its execution environments and its event queue."""
