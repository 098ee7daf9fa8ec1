"""The peer: the seed's chain behind a WebSocket. It posts the answer once it is complete."""

import base64
import json
import os
from typing import Any

import boto3
from cold_seed import chain  # type: ignore[import-not-found]  # beside this file

# Titan's prompt format: the chain's default fits no particular model, and Titan rejects it.
chain.prompt = chain.prompt.model_copy(update={"template": "{history}\nUser: {input}\nBot:"})
connections = boto3.client("apigatewaymanagementapi", endpoint_url=os.environ["CALLBACK_URL"])


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    """Answers every message; accepts every connection."""
    meta = event["requestContext"]
    if meta["eventType"] != "MESSAGE":
        return {"statusCode": 200}
    text = chain.predict(input=base64.b64decode(event["body"]).decode())
    frame = {"request_id": meta["requestId"], "msg": text, "status": "completed"}
    connections.post_to_connection(
        ConnectionId=meta["connectionId"], Data=json.dumps(frame).encode()
    )
    return {"statusCode": 200}
