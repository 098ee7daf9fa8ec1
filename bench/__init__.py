"""Measurements: each a ratio between ours and a named peer, taken in one run on one machine."""
