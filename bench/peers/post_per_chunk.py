"""The peer: one `post_to_connection` for each chunk, as in AWS's streaming samples.

The essence of https://github.com/aws-samples/serverless-patterns
(apigw-websocket-api-bedrock-streaming): no history, no lease, no coalescing; the next chunk is read
after the post of the last one.
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
    question = base64.b64decode(event["body"]).decode()
    response = bedrock.invoke_model_with_response_stream(
        modelId="global.anthropic.claude-sonnet-4-6",
        body=json.dumps(
            {
                "anthropic_version": "bedrock-2023-05-31",
                "max_tokens": 4096,
                "messages": [{"role": "user", "content": question}],
            }
        ),
    )
    for message in response["body"]:
        chunk = json.loads(message["chunk"]["bytes"])
        if chunk.get("delta", {}).get("type") == "text_delta":
            post(meta["connectionId"], {"type": "delta", "text": chunk["delta"]["text"]})
        elif chunk["type"] == "message_stop":
            post(meta["connectionId"], {"type": "done"})
    return {"statusCode": 200}


def post(connection_id: str, frame: dict[str, str]) -> None:
    """Posts one frame."""
    connections.post_to_connection(ConnectionId=connection_id, Data=json.dumps(frame).encode())
