"""The peer: a post per chunk, each with all the text so far, as in the seed.

Its frames have the seed's members (`request_id`, `msg`, `status`) and number, without LangChain.
"""

import base64
import json
import os
from typing import Any

import boto3

bedrock = boto3.client("bedrock-runtime")
connections = boto3.client("apigatewaymanagementapi", endpoint_url=os.environ["CALLBACK_URL"])


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    """Answers every message; accepts every connection."""
    meta = event["requestContext"]
    if meta["eventType"] != "MESSAGE":
        return {"statusCode": 200}
    response = bedrock.invoke_model_with_response_stream(
        modelId="global.anthropic.claude-sonnet-4-6",
        body=json.dumps(
            {
                "anthropic_version": "bedrock-2023-05-31",
                "max_tokens": 4096,
                "messages": [{"role": "user", "content": base64.b64decode(event["body"]).decode()}],
            }
        ),
    )
    text = ""
    for message in response["body"]:
        chunk = json.loads(message["chunk"]["bytes"])
        if chunk["type"] == "content_block_delta":
            text += chunk["delta"]["text"]
            post(meta, text, "proceeding")
        elif chunk["type"] == "message_stop":
            post(meta, text, "completed")
    return {"statusCode": 200}


def post(meta: dict[str, str], text: str, status: str) -> None:
    """Posts one frame."""
    frame = {"request_id": meta["requestId"], "msg": text, "status": status}
    connections.post_to_connection(
        ConnectionId=meta["connectionId"], Data=json.dumps(frame, ensure_ascii=False).encode()
    )
