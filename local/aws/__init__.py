"""AWS without an account: moto's server, and what it lacks."""
