"""Deployment to AWS: packaging, preflight checks, Terraform, signed URLs and the smoke test."""
