# Who may do what: each role only what it uses, on what it uses. One statement has one purpose.
#
# The only wildcards: streams of the role's own log group (Lambda names them), connections of this API
# and stage (their ids are made at random), and "*" for X-Ray, whose actions know no resources
# (Service Authorization Reference, "AWS X-Ray").

# -- which models ----------------------------------------------------------------------------------

locals {
  # Where a geography's inference profiles may send a call. Which Regions a profile has depends on the
  # model and on where the call is made; this is all that any has, for a statement below opens them to
  # calls through the chosen profile only. A call is refused where one is missing here, so there are
  # rather too many; foundation_model_arns overrides.
  #
  # Bedrock User Guide, "Supported Regions and models for inference profiles", and the model cards that
  # took its place; as of 2026-11-22. AWS tells the Regions of one profile itself (the data source
  # aws_bedrock_inference_profile), but then no plan could be made without an account and a model
  # enabled in it, and so none in a test.
  regions_of = {
    us     = ["us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "ca-west-1"]
    eu     = ["eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3"]
    apac   = ["ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-7"]
    au     = ["ap-southeast-2", "ap-southeast-4"]
    jp     = ["ap-northeast-1", "ap-northeast-3"]
    ca     = ["ca-central-1", "ca-west-1"]
    us-gov = ["us-gov-east-1", "us-gov-west-1"]
    # "Global cross-Region inference": the model where the call is made, and its ARN without a Region.
    global = [""]
  }

  # What model_id is: an ARN, or a geography and a model, or a model.
  model_arn  = try(regex("^arn:[^:]+:bedrock:(?P<region>[^:]*):[^:]*:(?P<kind>[^/]+)/(?P<id>.+)$", var.model_id), null)
  geographic = try(regex("^(?P<geography>${join("|", keys(local.regions_of))})\\.(?P<model>.+)$", try(local.model_arn.id, var.model_id)), null)
  is_profile = (
    local.model_arn == null
    ? local.geographic != null || length(var.foundation_model_arns) > 0
    : endswith(try(local.model_arn.kind, ""), "inference-profile")
  )

  # What is called, as IAM knows it. A profile is the account's, a foundation model nobody's.
  called = local.model_arn != null ? var.model_id : (
    local.is_profile
    ? "arn:${local.partition}:bedrock:${local.region}:${local.account}:inference-profile/${var.model_id}"
    : "arn:${local.partition}:bedrock:${local.region}::foundation-model/${var.model_id}"
  )

  called_from = try(local.model_arn.region, local.region)
  behind_profile = length(var.foundation_model_arns) > 0 ? var.foundation_model_arns : [
    for region in distinct(concat([local.called_from], try(local.regions_of[local.geographic.geography], []))) :
    "arn:${local.partition}:bedrock:${region}::foundation-model/${try(local.geographic.model, "")}"
  ]

  guardrail_arn = startswith(var.guardrail_id, "arn:") ? var.guardrail_id : (
    "arn:${local.partition}:bedrock:${local.region}:${local.account}:guardrail/${var.guardrail_id}"
  )
}

# -- the function ----------------------------------------------------------------------------------

data "aws_iam_policy_document" "assumed_by_lambda" {
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
    sid = "KeepConversations"
    actions = [
      "dynamodb:BatchWriteItem",
      "dynamodb:DeleteItem",
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
    sid       = local.is_profile ? "CallTheProfile" : "CallTheModel"
    actions   = ["bedrock:InvokeModelWithResponseStream"]
    resources = [local.called]
  }

  # A profile passes the call on, and IAM is asked again for where it goes.
  dynamic "statement" {
    for_each = local.is_profile ? [local.behind_profile] : []

    content {
      sid       = "CallModelsThroughTheProfile"
      actions   = ["bedrock:InvokeModelWithResponseStream"]
      resources = statement.value

      condition {
        test     = "StringEquals"
        variable = "bedrock:InferenceProfileArn"
        values   = [local.called]
      }
    }
  }

  dynamic "statement" {
    for_each = var.guardrail_id == "" ? [] : [local.guardrail_arn]

    content {
      sid       = "ApplyTheGuardrail"
      actions   = ["bedrock:ApplyGuardrail"]
      resources = [statement.value]
    }
  }

  # Lambda itself sends these, in the role's name.
  statement {
    sid       = "KeepDeadLetters"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letters.arn]
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
  name               = "${local.global_name}-function"
  description        = "The chatbot's function"
  assume_role_policy = data.aws_iam_policy_document.assumed_by_lambda.json
}

resource "aws_iam_role_policy" "function" {
  name   = "function"
  role   = aws_iam_role.function.id
  policy = data.aws_iam_policy_document.function.json
}

# -- the authorizer --------------------------------------------------------------------------------

data "aws_iam_policy_document" "authorizer" {
  count = local.authorizers

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
  count = local.authorizers

  name               = "${local.global_name}-authorizer"
  description        = "The chatbot's authorizer"
  assume_role_policy = data.aws_iam_policy_document.assumed_by_lambda.json
}

resource "aws_iam_role_policy" "authorizer" {
  count = local.authorizers

  name   = "authorizer"
  role   = aws_iam_role.authorizer[0].id
  policy = data.aws_iam_policy_document.authorizer[0].json
}

# -- API Gateway's logs ----------------------------------------------------------------------------

data "aws_iam_policy_document" "assumed_by_api_gateway" {
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

  name               = "${local.global_name}-api-logs"
  description        = "API Gateway's logs, for the whole account and Region"
  assume_role_policy = data.aws_iam_policy_document.assumed_by_api_gateway.json
}

# AWS's own policy, for the role serves every API of the account, and API Gateway refuses less.
resource "aws_iam_role_policy_attachment" "logging" {
  count = var.account_logging ? 1 : 0

  role       = aws_iam_role.logging[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
}

resource "aws_api_gateway_account" "logging" {
  count = var.account_logging ? 1 : 0

  cloudwatch_role_arn = aws_iam_role.logging[0].arn
  # Else the account would name a role that is gone.
  reset_on_delete = true

  depends_on = [aws_iam_role_policy_attachment.logging]
}
