"""Instead of what makes botocore's documentation; `utils` stays, for handlers are made with it."""
