"""What puts the system on AWS: packing, checking, Terraform, and talking to what was deployed."""
