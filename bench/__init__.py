"""Measurements: each the ratio of ours to a named peer, from one run on one machine."""
