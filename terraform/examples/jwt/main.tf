# Users of an existing OIDC issuer, with the web page, on which they sign in; and a second deployment in
# another Region, by an alias of the provider.
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
  region = "us-east-1"
}

provider "aws" {
  alias  = "europe"
  region = "eu-central-1"
}

locals {
  client_id = "chat-page" # a public client at the issuer, without a secret

  chat = {
    jwt = { issuer = "https://login.example.com/realms/staff", audience = [local.client_id] }
    web = { client_id = local.client_id }
    package = {
      lambda     = { s3 = { bucket = "my-artifacts", key = "lambda-arm64.zip", version = "Xb2c" } }
      authorizer = { s3 = { bucket = "my-artifacts", key = "authorizer-arm64.zip", version = "Yb2c" } }
    }
  }
}

module "chat" {
  source = "../../modules/chat"

  for_each = toset(["blue", "green"]) # two deployments side by side

  name               = "chat-${each.key}"
  auth               = "jwt"
  jwt                = local.chat.jwt
  web                = local.chat.web
  package            = local.chat.package.lambda
  authorizer_package = local.chat.package.authorizer

  depends_on = [aws_iam_account_alias.this]
}

module "chat_europe" {
  source = "../../modules/chat"

  count = 1

  providers = {
    aws = aws.europe
  }

  name               = "chat-blue"
  model_id           = "eu.amazon.nova-lite-v1:0"
  auth               = "jwt"
  jwt                = local.chat.jwt
  web                = local.chat.web
  package            = local.chat.package.lambda
  authorizer_package = local.chat.package.authorizer
}

# Something of yours that has to exist first.
resource "aws_iam_account_alias" "this" {
  account_alias = "chat-example"
}

output "page_urls" {
  description = "The web pages, each of which is a redirect URI of the client at the issuer."
  value       = merge({ for name, chat in module.chat : name => chat.page_url }, { europe = module.chat_europe[0].page_url })
}
