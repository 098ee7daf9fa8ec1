"""Creates the seed's objects: ConversationChain with BedrockLLM and ConversationBufferMemory."""

import warnings

import boto3
from langchain_aws import BedrockLLM
from langchain_classic.chains import ConversationChain  # type: ignore[import-not-found]
from langchain_classic.memory import ConversationBufferMemory  # type: ignore[import-not-found]

warnings.simplefilter("ignore")  # all three are deprecated
model = BedrockLLM(
    client=boto3.client("bedrock-runtime"),
    model="amazon.titan-text-express-v1",
    streaming=True,
)
chain = ConversationChain(llm=model, memory=ConversationBufferMemory())
boto3.client("dynamodb")
boto3.client(
    "apigatewaymanagementapi", endpoint_url="https://a.execute-api.us-east-1.amazonaws.com/p"
)
