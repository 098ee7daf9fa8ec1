# Users of a pool that is created here, whom an administrator invites. They sign in on the web page, or in
# the terminal: bedrock-chat <page_url>.
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

  name    = "team-chat"
  auth    = "cognito"
  cognito = { mfa = true }
  web     = {}

  package            = { s3 = { bucket = "my-artifacts", key = "lambda-arm64.zip", version = "Xb2c" } }
  authorizer_package = { s3 = { bucket = "my-artifacts", key = "authorizer-arm64.zip", version = "Yb2c" } }
}

output "page_url" {
  description = "The web page."
  value       = module.chat.page_url
}

output "invite" {
  description = "The command that invites a user."
  value       = "aws cognito-idp admin-create-user --user-pool-id ${module.chat.user_pool_id} --desired-delivery-mediums EMAIL --username ada@example.com --user-attributes Name=email,Value=ada@example.com Name=email_verified,Value=true"
}
