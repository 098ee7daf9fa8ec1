"""`python -m bedrock_chat`, where the command `bedrock-chat` is not installed."""

import sys

from bedrock_chat.cli import main

sys.exit(main())
