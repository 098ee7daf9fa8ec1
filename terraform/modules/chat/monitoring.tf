# Log groups, saved queries, alarms, the dashboard, and the cost budget. How to respond to an alarm:
# docs/operations.md.

# -- logs ------------------------------------------------------------------------------------------

resource "aws_cloudwatch_log_group" "function" {
  #checkov:skip=CKV_AWS_158: kms_key_arn sets the key; without it CloudWatch Logs encrypts them, and they contain no messages
  #checkov:skip=CKV_AWS_338: log_retention_days sets it; a year would be too long a default
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = local.tags
}

resource "aws_cloudwatch_log_group" "access" {
  #checkov:skip=CKV_AWS_158: as for the function's
  #checkov:skip=CKV_AWS_338: as for the function's
  name              = "/aws/apigateway/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = local.tags
}

resource "aws_cloudwatch_log_group" "authorizer" {
  #checkov:skip=CKV_AWS_158: as for the function's
  #checkov:skip=CKV_AWS_338: as for the function's
  count = local.authorizer_count

  name              = "/aws/lambda/${local.authorizer_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = local.tags
}

# Saved queries of Logs Insights, in a folder with the name of the deployment.
resource "aws_cloudwatch_query_definition" "this" {
  for_each = fileset("${path.module}/queries", "*.txt")

  name            = "${var.name}/${trimsuffix(each.key, ".txt")}"
  log_group_names = [aws_cloudwatch_log_group.function.name]
  query_string    = trimspace(file("${path.module}/queries/${each.key}"))
}

# -- metrics ---------------------------------------------------------------------------------------

locals {
  # The namespace of the function's own metrics, which CloudWatch extracts from its log. src/metrics.py
  # defines them.
  namespace = var.name

  dimensions = {
    model    = { Model = basename(var.model_id) } # for an ARN its last part, as in src/settings.py
    function = { FunctionName = aws_lambda_function.chat.function_name }
    logs     = { LogGroupName = aws_cloudwatch_log_group.function.name }
    api      = { ApiId = aws_apigatewayv2_api.chat.id, Stage = var.stage }
    table    = { TableName = aws_dynamodb_table.conversations.name }
    queue    = { QueueName = local.dead_letters }
  }

  # A stream is ended deadline_seconds before the timeout. If half of that has passed, saving is slow.
  duration_threshold_ms = floor(1000 * (var.timeout_seconds - var.deadline_seconds / 2))
}

# -- alarms ----------------------------------------------------------------------------------------

locals {
  # Periods are of five minutes; `periods` is how many in a row have to exceed the threshold.
  alarms = merge(
    {
      function-errors = {
        description = "An invocation raised an exception, timed out or ran out of memory. The function handles its own errors: see the first ERROR lines in its log."
        namespace   = "AWS/Lambda", metric = "Errors", dimensions = local.dimensions.function, statistic = "Sum", threshold = 0, periods = 1
      }
      function-throttles = {
        description = "Lambda throttled invocations: the account's concurrency, or reserved_concurrency, is exhausted."
        namespace   = "AWS/Lambda", metric = "Throttles", dimensions = local.dimensions.function, statistic = "Sum", threshold = 0, periods = 1
      }
      function-duration = {
        description = "An invocation came close to its timeout after the stream was ended: saving or posting is slow."
        namespace   = "AWS/Lambda", metric = "Duration", dimensions = local.dimensions.function, statistic = "Maximum", threshold = local.duration_threshold_ms, periods = 1
      }
      events-late = {
        description = "Messages have waited in Lambda's queue for more than 30 s; after 60 s they are dropped."
        namespace   = "AWS/Lambda", metric = "AsyncEventAge", dimensions = local.dimensions.function, statistic = "Maximum", threshold = 30000, periods = 1
      }
      events-dropped = {
        description = "Lambda dropped messages without handling them. They are in the dead-letter queue."
        namespace   = "AWS/Lambda", metric = "AsyncEventsDropped", dimensions = local.dimensions.function, statistic = "Sum", threshold = 0, periods = 1
      }
      dead-letters-lost = {
        description = "Lambda dropped messages and could not send them to the dead-letter queue."
        namespace   = "AWS/Lambda", metric = "DestinationDeliveryFailures", dimensions = local.dimensions.function, statistic = "Sum", threshold = 0, periods = 1
      }
      dead-letters = {
        description = "The dead-letter queue contains messages that were not handled."
        namespace   = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = local.dimensions.queue, statistic = "Maximum", threshold = 0, periods = 1
      }
      api-integration-errors = {
        description = "More than five requests from API Gateway to the function failed within five minutes. Rejected connections count, too."
        namespace   = "AWS/ApiGateway", metric = "IntegrationError", dimensions = local.dimensions.api, statistic = "Sum", threshold = 5, periods = 1
      }
      api-execution-errors = {
        description = "API Gateway could not invoke the function: missing permissions, throttling, or an invalid integration."
        namespace   = "AWS/ApiGateway", metric = "ExecutionError", dimensions = local.dimensions.api, statistic = "Sum", threshold = 0, periods = 1
      }
      first-token-slow = {
        description = "The first token took more than 10 s in at least one of ten answers."
        namespace   = local.namespace, metric = "FirstTokenLatency", dimensions = local.dimensions.model, statistic = "p90", threshold = 10000, periods = 3
      }
      failures-internal = {
        description = "A request failed with the code internal: an error in the function or the table."
        namespace   = local.namespace, metric = "Failures", dimensions = merge(local.dimensions.model, { Code = "internal" }), statistic = "Sum", threshold = 0, periods = 1
      }
      failures-model-unavailable = {
        description = "Bedrock is unavailable or access is denied: model access, permissions, or an outage."
        namespace   = local.namespace, metric = "Failures", dimensions = merge(local.dimensions.model, { Code = "model_unavailable" }), statistic = "Sum", threshold = 0, periods = 1
      }
      failures-model-error = {
        description = "The model returned errors, or its streams broke, more than five times in each of two five-minute periods."
        namespace   = local.namespace, metric = "Failures", dimensions = merge(local.dimensions.model, { Code = "model_error" }), statistic = "Sum", threshold = 5, periods = 2
      }
      failures-throttled = {
        description = "Bedrock or DynamoDB throttled requests, and retries failed, more than five times in each of two five-minute periods."
        namespace   = local.namespace, metric = "Failures", dimensions = merge(local.dimensions.model, { Code = "throttled" }), statistic = "Sum", threshold = 5, periods = 2
      }
      metrics-unreadable = {
        description = "CloudWatch could not parse the metrics in a log line: alarms on the function's own metrics may not work."
        namespace   = "AWS/Logs", metric = "EMFParsingErrors", dimensions = local.dimensions.logs, statistic = "Sum", threshold = 0, periods = 1
      }
      metrics-invalid = {
        description = "CloudWatch rejected the metrics in a log line as invalid: alarms on the function's own metrics may not work."
        namespace   = "AWS/Logs", metric = "EMFValidationErrors", dimensions = local.dimensions.logs, statistic = "Sum", threshold = 0, periods = 1
      }
      table-reads-throttled = {
        description = "DynamoDB throttled read requests."
        namespace   = "AWS/DynamoDB", metric = "ReadThrottleEvents", dimensions = local.dimensions.table, statistic = "Sum", threshold = 0, periods = 1
      }
      table-writes-throttled = {
        description = "DynamoDB throttled write requests."
        namespace   = "AWS/DynamoDB", metric = "WriteThrottleEvents", dimensions = local.dimensions.table, statistic = "Sum", threshold = 0, periods = 1
      }
    },
    local.authorizer_count == 0 ? {} : {
      authorizer-errors = {
        description = "The authorizer failed, so clients cannot connect. The issuer's keys may be unavailable."
        namespace   = "AWS/Lambda", metric = "Errors", dimensions = { FunctionName = local.authorizer_name }, statistic = "Sum", threshold = 0, periods = 1
      }
    },
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name        = "${var.name}-${each.key}"
  alarm_description = each.value.description

  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  period              = 300
  evaluation_periods  = each.value.periods
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching" # there is no traffic

  alarm_actions = local.alarm_topics
  ok_actions    = local.alarm_topics

  tags = local.tags
}

locals {
  email_count  = var.alarms.email == null ? 0 : 1
  alarm_topics = concat(aws_sns_topic.alarms[*].arn, var.alarms.topic_arns)
}

resource "aws_sns_topic" "alarms" {
  #checkov:skip=CKV_AWS_26: CloudWatch cannot publish to a topic encrypted with AWS's key for SNS; alarms contain no messages
  count = local.email_count

  name = "${var.name}-alarms"
  tags = local.tags
}

resource "aws_sns_topic_subscription" "email" {
  count = local.email_count

  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = var.alarms.email
}

# -- the dashboard ---------------------------------------------------------------------------------

locals {
  # Each entry is a graph: its metrics as [namespace, metric, dimensions, statistic].
  graphs = {
    "Answers: time to the first token, and Bedrock's part of it (ms)" = concat(
      [for statistic in ["p50", "p90", "p99"] : [local.namespace, "FirstTokenLatency", local.dimensions.model, statistic]],
      [for statistic in ["p50", "p90"] : [local.namespace, "BedrockWait", local.dimensions.model, statistic]],
    )
    "Answers: total time (ms)" = [
      for statistic in ["p50", "p90", "p99"] : [local.namespace, "TurnLatency", local.dimensions.model, statistic]
    ]
    "Answers: tokens" = [
      for metric in ["InputTokens", "OutputTokens", "CacheReadTokens", "CacheWriteTokens"] : [local.namespace, metric, local.dimensions.model, "Sum"]
    ]
    "Answers: posts, and deltas per post" = [
      [local.namespace, "Posts", local.dimensions.model, "Sum"],
      [local.namespace, "DeltasPerPost", local.dimensions.model, "Average"],
    ]
    "Answers: requests, retries, over budget" = [
      [local.namespace, "Turns", local.dimensions.model, "Sum"],
      [local.namespace, "Retries", local.dimensions.model, "Sum"],
      [local.namespace, "Failures", merge(local.dimensions.model, { Code = "over_budget" }), "Sum"],
    ]
    "Function: invocations, errors, throttles" = [
      for metric in ["Invocations", "Errors", "Throttles"] : ["AWS/Lambda", metric, local.dimensions.function, "Sum"]
    ]
    "Function: duration (ms)" = [
      for statistic in ["p50", "p90", "Maximum"] : ["AWS/Lambda", "Duration", local.dimensions.function, statistic]
    ]
    "Function: concurrent executions" = [["AWS/Lambda", "ConcurrentExecutions", local.dimensions.function, "Maximum"]]
    "Messages: age (ms), dropped, dead letters" = [
      ["AWS/Lambda", "AsyncEventAge", local.dimensions.function, "Maximum"],
      ["AWS/Lambda", "AsyncEventsDropped", local.dimensions.function, "Sum"],
      ["AWS/SQS", "ApproximateNumberOfMessagesVisible", local.dimensions.queue, "Maximum"],
    ]
    "API: connections and messages" = [
      for metric in ["ConnectCount", "MessageCount"] : ["AWS/ApiGateway", metric, local.dimensions.api, "Sum"]
    ]
    "API: errors" = [
      for metric in ["ClientError", "IntegrationError", "ExecutionError"] : ["AWS/ApiGateway", metric, local.dimensions.api, "Sum"]
    ]
    "Table: consumed capacity, throttled requests" = [
      for metric in ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits", "ReadThrottleEvents", "WriteThrottleEvents"] :
      ["AWS/DynamoDB", metric, local.dimensions.table, "Sum"]
    ]
  }

  # Graphs of all values of a dimension that occur, for every model. CloudWatch User Guide, "CloudWatch
  # search expression syntax": names with more than letters and digits need quotes.
  searches = {
    "Answers: by stop reason"   = ["Turns", "StopReason"]
    "Answers: failures by code" = ["Failures", "Code"]
  }

  widget_metrics = merge(
    {
      for title, row in local.searches : title => [[{
        expression = "SEARCH('{\"${local.namespace}\",Model,${row[1]}} MetricName=\"${row[0]}\"', 'Sum', 300)"
        label      = "", id = "found"
      }]]
    },
    {
      for title, rows in local.graphs : title => [
        for row in rows : concat([row[0], row[1]], flatten([for name, value in row[2] : [name, value]]), [{ stat = row[3] }])
      ]
    },
  )
}

# Dashboards are global to an account: the name includes the Region.
resource "aws_cloudwatch_dashboard" "chat" {
  dashboard_name = local.global_name
  dashboard_body = jsonencode({
    widgets = [
      for index, title in keys(local.widget_metrics) : {
        type = "metric", width = 8, height = 6, x = 8 * (index % 3), y = 6 * floor(index / 3)
        properties = {
          title = title, region = local.region, period = 300, view = "timeSeries", metrics = local.widget_metrics[title]
        }
      }
    ]
  })
}

# -- the budget ------------------------------------------------------------------------------------

# For the whole account: models are billed under several names, some through AWS Marketplace.
resource "aws_budgets_budget" "monthly" {
  count = var.alarms.monthly_budget_usd == null ? 0 : 1

  name         = local.global_name
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.alarms.monthly_budget_usd)
  limit_unit   = "USD"
  tags         = local.tags

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type          = notification.key
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      comparison_operator        = "GREATER_THAN"
      subscriber_email_addresses = [var.alarms.email]
    }
  }
}
