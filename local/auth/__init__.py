"""The authentication modes of the local stack: IAM signatures, JWTs of a local issuer, or none."""
