# The function: its code, its settings, how it is invoked, and where events go that it never answered.
#
# Everything invokes the alias "live", which names one published version: an update is there at once
# and as a whole.

locals {
  # Every setting of src/settings.py, by its name; an empty one counts as unset. The tests compare the
  # names. CALLBACK_URL stays empty: each event tells where its connection is.
  environment = {
    TABLE_NAME          = aws_dynamodb_table.conversations.name
    MODEL_ID            = var.model_id
    MODEL_FAMILY        = var.model_family
    AUTH                = var.auth
    ALLOWED_ORIGINS     = jsonencode(concat(local.page_origins, var.allowed_origins))
    REQUESTS_PER_DAY    = tostring(var.requests_per_day)
    TOKENS_PER_DAY      = tostring(var.tokens_per_day)
    CALLBACK_URL        = ""
    SYSTEM_PROMPT       = var.system_prompt
    MAX_OUTPUT_TOKENS   = tostring(var.max_output_tokens)
    TEMPERATURE         = var.temperature == null ? "" : tostring(var.temperature)
    TOP_P               = var.top_p == null ? "" : tostring(var.top_p)
    STOP_SEQUENCES      = jsonencode(var.stop_sequences)
    MAX_INPUT_BYTES     = tostring(var.max_input_bytes)
    HISTORY_TOKENS      = tostring(var.history_tokens)
    HISTORY_TURNS       = tostring(var.history_turns)
    SESSION_DAYS        = tostring(var.session_days)
    ON_DISCONNECT       = var.on_disconnect
    SHOW_REASONING      = tostring(var.show_reasoning)
    PROMPT_CACHE        = tostring(var.prompt_cache)
    GUARDRAIL_ID        = var.guardrail_id
    GUARDRAIL_VERSION   = var.guardrail_version
    SERVICE_TIER        = var.service_tier
    PERFORMANCE_LATENCY = var.performance_latency
    RETRY_SECONDS       = tostring(var.retry_seconds)
    STALL_SECONDS       = tostring(var.stall_seconds)
    DEADLINE_SECONDS    = tostring(var.deadline_seconds)
  }

  # Lambda quotas: 4 KB for all of the environment. Base64 counts bytes, four for each three.
  environment_bytes = 3 / 4 * sum([for name, value in local.environment : length(base64encode("${name}${value}"))])

  # Lambda Developer Guide, "Improving startup performance with Lambda SnapStart", on 2026-11-22:
  # Python 3.12 and newer, both architectures, all commercial Regions but these.
  without_snap_start = ["ap-east-2", "ap-southeast-6"]
}

resource "aws_lambda_function" "chat" {
  #checkov:skip=CKV_AWS_116: what fails goes to an on-failure destination, which tells more than a dead-letter queue
  #checkov:skip=CKV_AWS_117: it calls AWS's public endpoints only; in a VPC it would need a NAT gateway or four endpoints, paid by the hour
  #checkov:skip=CKV_AWS_173: the environment holds settings and no secret, and Lambda encrypts it
  #checkov:skip=CKV_AWS_272: the package is made and deployed from one checkout; signing wants a profile and a bucket first
  function_name = var.name
  description   = "Streams Amazon Bedrock's answers to WebSocket connections"
  role          = aws_iam_role.function.arn

  filename         = var.lambda_zip
  source_code_hash = filebase64sha256(var.lambda_zip)
  handler          = "handler.lambda_handler"
  runtime          = "python3.13"
  architectures    = [var.architecture]
  publish          = true

  memory_size                    = var.memory_size
  timeout                        = var.timeout_seconds
  reserved_concurrent_executions = coalesce(var.reserved_concurrency, -1)

  environment {
    variables = local.environment
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

  lifecycle {
    precondition {
      condition     = local.environment_bytes <= 4096
      error_message = "The settings take more than the 4 KB that Lambda has for them: shorten system_prompt."
    }

    precondition {
      condition     = !var.snap_start || !contains(local.without_snap_start, local.region)
      error_message = "Lambda has no SnapStart in ${local.region}."
    }
  }

  depends_on = [aws_iam_role_policy.function]
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  description      = "What the API invokes"
  function_name    = aws_lambda_function.chat.function_name
  function_version = aws_lambda_function.chat.version
}

# One statement for each route that invokes it: this API, this stage, this route, and nothing else.
resource "aws_lambda_permission" "routes" {
  for_each = local.invoked

  statement_id  = "route-${trimprefix(each.key, "$")}"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.chat.function_name
  qualifier     = aws_lambda_alias.live.name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.chat.execution_arn}/${var.stage}/${each.key}"
}

# A question is answered once and soon, or not at all: whoever asked has seen an error, or has gone,
# by the time that Lambda would try again. 60 s is the least age that Lambda takes.
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
}

# By name: the provider watches a new queue for half a minute, for which the rest need not wait.
locals {
  dead_letters     = "${var.name}-dead-letters"
  dead_letters_arn = "arn:${local.partition}:sqs:${local.region}:${local.account}:${local.dead_letters}"
}

# The events that were never answered, with what people said in them: hence 14 days at most, SQS's
# limit, and nobody is granted to read it.
resource "aws_sqs_queue" "dead_letters" {
  name                      = local.dead_letters
  message_retention_seconds = 14 * 24 * 60 * 60
  sqs_managed_sse_enabled   = true
}
