# The Lambda function: code, environment, alias, permissions, and the queue for events that failed.
#
# The API invokes the alias "live", which names one published version, so an update takes effect
# immediately and as a whole.

locals {
  # The environment variables that src/settings.py reads; an empty one counts as unset.
  environment = merge(
    {
      TABLE_NAME           = aws_dynamodb_table.conversations.name
      SYSTEM_PROMPT_OBJECT = local.prompt_url
    },
    {
      for name, value in local.settings :
      upper(name) => value == null ? "" : try(tostring(value), jsonencode(value))
    },
  )

  # Lambda quotas: 4 KB for all environment variables. Base64 gives their length in bytes: four
  # characters for each three bytes. CALLBACK_URL is not known before there is an API, whose id has ten.
  environment_bytes = length("CALLBACK_URL${local.callback_form}") + 3 / 4 * sum([
    for name, value in local.environment : length(base64encode("${name}${value}"))
  ])

  # Lambda Developer Guide, "Improving startup performance with Lambda SnapStart", on 2026-11-22:
  # Python 3.12 and newer, both architectures, all commercial Regions except these.
  regions_without_snap_start = ["ap-east-2", "ap-southeast-6"]
}

resource "aws_lambda_function" "chat" {
  #checkov:skip=CKV_AWS_116: failed events go to an on-failure destination, which records more than a dead-letter queue
  #checkov:skip=CKV_AWS_117: it calls only AWS's public endpoints; in a VPC it would need a NAT gateway or four endpoints, billed by the hour
  #checkov:skip=CKV_AWS_173: the environment contains settings and no secret, and Lambda encrypts it
  #checkov:skip=CKV_AWS_272: the package is built and deployed from one checkout; code signing requires a signing profile and a bucket
  function_name = var.name
  description   = "Streams answers from Amazon Bedrock to WebSocket connections"
  role          = aws_iam_role.function.arn

  filename          = local.packages.lambda.path
  s3_bucket         = local.packages.lambda.bucket
  s3_key            = local.packages.lambda.key
  s3_object_version = local.packages.lambda.version
  source_code_hash  = local.packages.lambda.hash

  handler       = "handler.lambda_handler"
  runtime       = "python3.13"
  architectures = [var.architecture]
  publish       = true

  memory_size                    = var.memory_size
  timeout                        = var.timeout_seconds
  reserved_concurrent_executions = coalesce(var.reserved_concurrency, -1) # 0 stops it

  environment {
    variables = merge(local.environment, { CALLBACK_URL = local.callback_url })
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.function.name
    log_format            = "JSON"
    application_log_level = "INFO"
    system_log_level      = "INFO"
  }

  tracing_config {
    mode = "Active"
  }

  dynamic "snap_start" {
    for_each = var.snap_start ? [true] : []

    content {
      apply_on = "PublishedVersions"
    }
  }

  tags = local.tags

  lifecycle {
    precondition {
      condition     = local.packages.lambda.is_zip
      error_message = local.packages.lambda.problem
    }

    precondition {
      condition     = local.environment_bytes <= 4096
      error_message = "The settings exceed the 4 KB that Lambda allows for environment variables: shorten allowed_origins, stop_sequences or system_prompt, which is an object in S3 instead if it is longer than 3,072 bytes."
    }

    precondition {
      condition     = !var.snap_start || !contains(local.regions_without_snap_start, local.region)
      error_message = "Lambda does not offer SnapStart in ${local.region}."
    }
  }

  depends_on = [aws_iam_role_policy.function]
}

# A new version is tried before the alias names it. One that fails at its start, by a setting that it
# refuses or an import that is missing, ends the run here, and clients stay on the version before.
# The event is a $connect that every `auth` refuses, or its format: the function reads and writes
# nothing for it. An error that it returns is no failure here: `make smoke` finds those.
resource "aws_lambda_invocation" "trial" {
  count = var.reserved_concurrency == 0 ? 0 : 1 # a stopped function cannot be invoked

  function_name = aws_lambda_function.chat.function_name
  qualifier     = aws_lambda_function.chat.version
  input = jsonencode({
    queryStringParameters = { format = "trial" }
    requestContext = {
      apiId        = "trial"
      connectionId = "trial"
      eventType    = "CONNECT"
      requestId    = "trial"
      routeKey     = "$connect"
      stage        = var.stage
    }
  })
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  description      = "The version that the API invokes"
  function_name    = aws_lambda_function.chat.function_name
  function_version = aws_lambda_function.chat.version

  # Deleting a function deletes its aliases.
  lifecycle {
    replace_triggered_by = [aws_lambda_function.chat.arn]
  }

  depends_on = [aws_lambda_invocation.trial]
}

# One statement for each route that invokes the function, limited to this API, stage and route.
resource "aws_lambda_permission" "routes" {
  for_each = local.invoking_routes

  statement_id  = "route-${trimprefix(each.key, "$")}"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.chat.function_name
  qualifier     = aws_lambda_alias.live.name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.chat.execution_arn}/${var.stage}/${each.key}"

  # Deleting an alias deletes its permissions.
  lifecycle {
    replace_triggered_by = [aws_lambda_alias.live.arn]
  }
}

# No retries: the client has received an error or has disconnected by the time Lambda would retry. 60 s
# is Lambda's minimum for the maximum event age.
resource "aws_lambda_function_event_invoke_config" "live" {
  function_name                = aws_lambda_function.chat.function_name
  qualifier                    = aws_lambda_alias.live.name
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 60

  destination_config {
    on_failure {
      destination = aws_sqs_queue.dead_letters.arn
    }
  }

  lifecycle {
    replace_triggered_by = [aws_lambda_alias.live.arn]
  }
}

# The ARN is built from the name, so that other resources do not wait for the queue: the provider
# polls a new queue for half a minute.
locals {
  dead_letters     = "${var.name}-dead-letters"
  dead_letters_arn = "arn:${local.partition}:sqs:${local.region}:${local.account}:${local.dead_letters}"
}

# Events that failed. They contain messages, so no role may read them; 14 days is SQS's maximum.
resource "aws_sqs_queue" "dead_letters" {
  name                      = local.dead_letters
  message_retention_seconds = 14 * 24 * 60 * 60
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
  tags                      = local.tags
}
