"""Handlers of other designs, each run as the function of the same local stack."""
