"""`python -m local.bedrock`."""

from local.bedrock.server import main

main()
