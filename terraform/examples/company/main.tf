# In an organization with rules of its own: one account, a customer managed key, a permissions boundary, a
# path for roles, an existing topic for alarms, a web ACL for the page, and ceilings for the cost.
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
  region              = "us-east-1"
  allowed_account_ids = [local.account]
}

locals {
  account = "123456789012"
  name    = "chat-company"
  here    = "arn:aws:%s:us-east-1:${local.account}:%s"

  log_groups = [for path in ["lambda/${local.name}", "apigateway/${local.name}"] : format(local.here, "logs", "log-group:/aws/${path}")]
}

module "chat" {
  source = "../../modules/chat"

  name        = local.name
  package     = { s3 = { bucket = "my-artifacts", key = "lambda-arm64.zip", version = "Xb2c" } }
  kms_key_arn = aws_kms_key.chat.arn

  iam = {
    permissions_boundary = "arn:aws:iam::${local.account}:policy/boundary"
    path                 = "/applications/"
  }
  alarms = { topic_arns = [format(local.here, "sns", "on-call")] }
  web = {
    web_acl_arn = format(local.here, "wafv2", "global/webacl/page/01234567-89ab-cdef-0123-456789abcdef")
  }

  reserved_concurrency = 50
  on_demand_throughput = { max_read_request_units = 1000, max_write_request_units = 2000 }
}

# -- the key ---------------------------------------------------------------------------------------

resource "aws_kms_key" "chat" {
  description         = "The data of the chat"
  enable_key_rotation = true
  policy              = data.aws_iam_policy_document.key.json
}

data "aws_iam_policy_document" "key" {
  # Policies of IAM decide about principals of the account: the function's role has what it needs, and who
  # applies this needs kms:CreateGrant, kms:DescribeKey, kms:Decrypt and kms:GenerateDataKey.
  statement {
    sid       = "AdministeredByAccount"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${local.account}:root"]
    }
  }

  # CloudWatch Logs User Guide, "Encrypt log data in CloudWatch Logs using AWS Key Management Service".
  statement {
    sid       = "EncryptLogs"
    actions   = ["kms:Decrypt*", "kms:Describe*", "kms:Encrypt*", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.us-east-1.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = local.log_groups
    }
  }

  # CloudFront Developer Guide, "Restrict access to an Amazon S3 origin", SSE-KMS. Required for a page. The
  # distribution's own ARN is known only when it exists.
  statement {
    sid       = "DecryptPage"
    actions   = ["kms:Decrypt"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudfront.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:aws:cloudfront::${local.account}:distribution/*"]
    }
  }
}
