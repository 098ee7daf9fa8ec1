"""Terraform applied on this machine, and what was deployed, read back and served."""
