"""Creates LangChain's ChatBedrock and the other two clients."""

import boto3
from langchain_aws import ChatBedrock

model = ChatBedrock(
    client=boto3.client("bedrock-runtime"),
    model="anthropic.claude-3-5-sonnet-20240620-v1:0",
    streaming=True,
)
boto3.client("dynamodb")
boto3.client(
    "apigatewaymanagementapi", endpoint_url="https://a.execute-api.us-east-1.amazonaws.com/p"
)
