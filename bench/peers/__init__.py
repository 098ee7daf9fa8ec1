"""Handlers of other designs, each run as the function of the local stack."""
