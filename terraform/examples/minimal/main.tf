# The fewest inputs: IAM authenticates, and the terminal client is the only one.
#
# In a configuration of your own, `source` is where the module is:
#   git::https://example.com/bedrock-stream-chat.git//terraform/modules/chat?ref=<a commit>

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }
}

provider "aws" {
  region = "eu-central-1"
}

module "chat" {
  source = "../../modules/chat"

  name = "chat-minimal"

  # A package that was uploaded before: nothing is built here, so no Python is needed.
  package = {
    s3 = {
      bucket = "my-artifacts"
      key    = "bedrock-stream-chat/lambda-arm64.zip"
      hash   = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" # base64-encoded SHA-256 of the zip
    }
  }
}

# Identities with this policy may connect.
data "aws_iam_policy_document" "connect" {
  statement {
    actions   = ["execute-api:Invoke"]
    resources = [module.chat.connect_arn]
  }
}

resource "aws_iam_policy" "connect" {
  name   = "chat-minimal-connect"
  policy = data.aws_iam_policy_document.connect.json
}

output "websocket_url" {
  description = "The WebSocket URL, which clients sign."
  value       = module.chat.websocket_url
}
