"""AWS without an account: moto's server, corrections to it, and a recorder of calls to AWS."""
