"""Replaces urllib3's HTTP/2, except `probe`: requests to AWS use HTTP/1.1."""
