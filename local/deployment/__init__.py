"""A deployment by Terraform on this machine: applied, read back, and served."""
