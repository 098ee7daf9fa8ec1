"""`python -m local.aws`."""

from local.aws.moto_server import main

main()
