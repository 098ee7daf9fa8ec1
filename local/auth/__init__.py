"""Authentication on the local stack: IAM signatures, an OIDC issuer, or none."""
