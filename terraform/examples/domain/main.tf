# Names of one's own in a Route 53 hosted zone: the page at chat.example.com, the API at ws.example.com.
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

locals {
  zone_id = "Z0123456789ABC"
}

module "chat" {
  source = "../../modules/chat"

  name     = "chat-domain"
  model_id = "eu.amazon.nova-lite-v1:0"

  package = {
    s3 = {
      bucket = "my-artifacts"
      key    = "bedrock-stream-chat/lambda-arm64.zip"
      hash   = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" # base64-encoded SHA-256 of the zip
    }
  }

  domain = {
    name                         = "ws.example.com"
    certificate_arn              = "arn:aws:acm:eu-central-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
    zone_id                      = local.zone_id
    disable_execute_api_endpoint = true # clients have one address
  }

  web = {
    domain = {
      name            = "chat.example.com"
      certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
      zone_id         = local.zone_id
    }
  }
}

output "urls" {
  description = "The page's URL, and the WebSocket URL of other clients."
  value       = { page = module.chat.page_url, websocket = module.chat.websocket_url }
}
