"""`python -m local.aws`: moto's server."""

from local.aws.moto_server import main

main()
