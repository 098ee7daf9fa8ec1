"""`python -m bedrock_chat`, for when the `bedrock-chat` command is not installed."""

import sys

from bedrock_chat.cli import main

sys.exit(main())
