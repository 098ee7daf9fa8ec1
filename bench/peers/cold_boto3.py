"""Creates the same clients as AWS's samples do, with boto3 as installed."""

import boto3

boto3.client("bedrock-runtime")
boto3.client("dynamodb")
boto3.client(
    "apigatewaymanagementapi", endpoint_url="https://a.execute-api.us-east-1.amazonaws.com/p"
)
