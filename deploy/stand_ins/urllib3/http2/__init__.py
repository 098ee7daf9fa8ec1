"""Instead of urllib3's HTTP/2: AWS's endpoints are asked in HTTP/1.1, and `probe` needs no more."""
