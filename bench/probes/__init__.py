"""The function itself, with a measurement around it; run as the function of the local stack."""
