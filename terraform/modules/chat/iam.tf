# IAM roles and their policies: each role has the actions and resources that it uses, and no others.
# Each statement has one purpose.
#
# The only wildcards: the streams of the role's own log group (Lambda names them), the connections of
# this API and stage (their ids are random), and "*" for X-Ray, whose actions support no resources
# (Service Authorization Reference, "AWS X-Ray").

module "models" {
  source = "../models"

  model_id              = var.model_id
  foundation_model_arns = var.foundation_model_arns
  account               = local.account
  partition             = local.partition
  region                = local.region
}

locals {
  guardrail_arn = startswith(var.guardrail_id, "arn:") ? var.guardrail_id : (
    "arn:${local.partition}:bedrock:${local.region}:${local.account}:guardrail/${var.guardrail_id}"
  )
}

locals {
  # What the function's role may do with kms_key_arn, by purpose. DynamoDB Developer Guide, "DynamoDB
  # encryption at rest usage notes": the actions that it needs on behalf of those who use a table, without
  # kms:CreateGrant, which only creating the table needs. SQS Developer Guide, "Amazon SQS Key management":
  # those of a producer. S3 User Guide, "Using server-side encryption with AWS KMS keys": that of a reader.
  key_uses = var.kms_key_arn == null ? {} : merge(
    {
      Conversations = {
        service = "dynamodb"
        actions = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
      }
      DeadLetters = { service = "sqs", actions = ["kms:Decrypt", "kms:GenerateDataKey"] }
    },
    local.prompt_count == 0 ? {} : { SystemPrompt = { service = "s3", actions = ["kms:Decrypt"] } },
  )
}

# -- the function ----------------------------------------------------------------------------------

data "aws_iam_policy_document" "assume_lambda" {
  statement {
    sid     = "AssumedByLambda"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "function" {
  # A transaction is authorized by the actions of its parts: DynamoDB Developer Guide, "Using IAM with
  # DynamoDB transactions".
  statement {
    sid = "ReadAndWriteConversations"
    actions = [
      "dynamodb:BatchWriteItem",
      "dynamodb:GetItem",
      "dynamodb:PutItem",
      "dynamodb:Query",
      "dynamodb:UpdateItem",
    ]
    resources = [aws_dynamodb_table.conversations.arn]
  }

  statement {
    sid       = "PostToConnections"
    actions   = ["execute-api:ManageConnections"]
    resources = ["${aws_apigatewayv2_api.chat.execution_arn}/${var.stage}/POST/@connections/*"]
  }

  statement {
    sid       = module.models.is_profile ? "InvokeInferenceProfile" : "InvokeModel"
    actions   = ["bedrock:InvokeModelWithResponseStream"]
    resources = [module.models.invoked_arn]
  }

  # An inference profile forwards the call to a model, which IAM authorizes too.
  dynamic "statement" {
    for_each = module.models.is_profile ? [module.models.foundation_model_arns] : []

    content {
      sid       = "InvokeModelsThroughProfile"
      actions   = ["bedrock:InvokeModelWithResponseStream"]
      resources = statement.value

      condition {
        test     = "StringEquals"
        variable = "bedrock:InferenceProfileArn"
        values   = [module.models.invoked_arn]
      }
    }
  }

  dynamic "statement" {
    for_each = var.guardrail_id == "" ? [] : [local.guardrail_arn]

    content {
      sid       = "ApplyGuardrail"
      actions   = ["bedrock:ApplyGuardrail"]
      resources = concat([statement.value], var.guardrail_profile_arns)
    }
  }

  dynamic "statement" {
    for_each = aws_s3_bucket.prompt

    content {
      sid       = "ReadSystemPrompt"
      actions   = ["s3:GetObjectVersion"]
      resources = ["${statement.value.arn}/${local.prompt_key}"]
    }
  }

  # With the customer managed key, only in requests of the services that keep the data. CloudWatch Logs uses
  # the key itself: docs/deploy.md has the statements of the key's policy.
  dynamic "statement" {
    for_each = local.key_uses

    content {
      sid       = "UseKeyFor${statement.key}"
      actions   = statement.value.actions
      resources = [var.kms_key_arn]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["${statement.value.service}.${local.region}.amazonaws.com"]
      }
    }
  }

  # Lambda itself sends these, with the function's role.
  statement {
    sid       = "SendDeadLetters"
    actions   = ["sqs:SendMessage"]
    resources = [local.dead_letters_arn]
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.function.arn}:log-stream:*"]
  }

  statement {
    sid       = "WriteTraces"
    actions   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
    resources = ["*"]
  }
}

resource "aws_iam_role" "function" {
  name                 = "${local.global_name}-function"
  path                 = var.iam.path
  description          = "The chatbot's function"
  assume_role_policy   = data.aws_iam_policy_document.assume_lambda.json
  permissions_boundary = var.iam.permissions_boundary
  tags                 = local.tags
}

resource "aws_iam_role_policy" "function" {
  name   = "function"
  role   = aws_iam_role.function.id
  policy = data.aws_iam_policy_document.function.json
}

# -- the authorizer --------------------------------------------------------------------------------

data "aws_iam_policy_document" "authorizer" {
  count = local.authorizer_count

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.authorizer[0].arn}:log-stream:*"]
  }

  statement {
    sid       = "WriteTraces"
    actions   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
    resources = ["*"]
  }
}

resource "aws_iam_role" "authorizer" {
  count = local.authorizer_count

  name                 = "${local.global_name}-authorizer"
  path                 = var.iam.path
  description          = "The chatbot's authorizer"
  assume_role_policy   = data.aws_iam_policy_document.assume_lambda.json
  permissions_boundary = var.iam.permissions_boundary
  tags                 = local.tags
}

resource "aws_iam_role_policy" "authorizer" {
  count = local.authorizer_count

  name   = "authorizer"
  role   = aws_iam_role.authorizer[0].id
  policy = data.aws_iam_policy_document.authorizer[0].json
}

# -- API Gateway's logs ----------------------------------------------------------------------------

data "aws_iam_policy_document" "assume_api_gateway" {
  statement {
    sid     = "AssumedByApiGateway"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["apigateway.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "logging" {
  count = var.account_logging ? 1 : 0

  name                 = "${local.global_name}-api-logs"
  path                 = var.iam.path
  description          = "Lets API Gateway write logs, for the whole account and Region"
  assume_role_policy   = data.aws_iam_policy_document.assume_api_gateway.json
  permissions_boundary = var.iam.permissions_boundary
  tags                 = local.tags
}

# AWS's managed policy: the role serves every API of the account, and API Gateway requires all of it.
resource "aws_iam_role_policy_attachment" "logging" {
  count = var.account_logging ? 1 : 0

  role       = aws_iam_role.logging[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
}

resource "aws_api_gateway_account" "logging" {
  count = var.account_logging ? 1 : 0

  # Version 6 of the provider resets the account's setting on destroy; version 5 leaves it, with the name of
  # the role that is then deleted (its argument for that is deprecated, and 6 refuses it): docs/deploy.md.
  cloudwatch_role_arn = aws_iam_role.logging[0].arn

  depends_on = [aws_iam_role_policy_attachment.logging]
}
