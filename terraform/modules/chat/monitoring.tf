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

# Rules
# - Each is about the deployment or a service that it uses. What a stranger can cause is on the dashboard
#   and rings no alarm: rejected connections and clients (ClientError, IntegrationError), invalid frames,
#   denials of the authorizer, exceeded quotas.
# - `metric` is what an alarm watches, as [namespace, metric, dimensions, statistic]. Where it watches an
#   `expression`, its `metrics` have ids, and each of them is billed as an alarm: docs/deploy.md, Costs.
# - A service writes no value where nothing happened: missing ones are 0 in an expression, and no alarm.
# - CloudWatch evaluates an alarm each minute, over the last `minutes`.

locals {
  alarms = merge(
    {
      failures-internal = {
        description = "A request failed with the code internal: an error in the function or the table, or a frame that API Gateway refused."
        metric      = [local.namespace, "Failures", merge(local.dimensions.model, { Code = "internal" }), "Sum"]
        threshold   = 0, minutes = 5
      }
      failure-rate = {
        description = "More than a quarter of the questions failed within 15 minutes, and at least three: the model is unavailable, fails or throttles, or DynamoDB throttles."
        metrics = {
          turns       = [local.namespace, "Turns", local.dimensions.model, "Sum"]
          unavailable = [local.namespace, "Failures", merge(local.dimensions.model, { Code = "model_unavailable" }), "Sum"]
          broken      = [local.namespace, "Failures", merge(local.dimensions.model, { Code = "model_error" }), "Sum"]
          throttled   = [local.namespace, "Failures", merge(local.dimensions.model, { Code = "throttled" }), "Sum"]
        }
        # Turns include those that failed, but not a request that failed before its turn: there may be
        # fewer turns than failures, or none.
        expressions = { failures = "FILL(unavailable, 0) + FILL(broken, 0) + FILL(throttled, 0)" }
        expression  = "IF(4 * failures > FILL(turns, 0), failures, 0)"
        threshold   = 2, minutes = 15
      }
      first-token-slow = {
        description = "A quarter of the answers within 15 minutes, of at least four, took more than 10 s to the first token."
        metrics = {
          slow    = [local.namespace, "FirstTokenLatency", local.dimensions.model, "p75"]
          answers = [local.namespace, "FirstTokenLatency", local.dimensions.model, "SampleCount"]
        }
        expression = "IF(answers >= 4, slow, 0)"
        threshold  = 10000, minutes = 15
      }
      function-errors = {
        description = "An invocation raised an exception, timed out or ran out of memory. The function handles its own errors: see the first ERROR lines in its log."
        metric      = ["AWS/Lambda", "Errors", local.dimensions.function, "Sum"]
        threshold   = 0, minutes = 5
      }
      function-throttles = {
        description = "Lambda throttled invocations: the account's concurrency, or reserved_concurrency, is exhausted."
        metric      = ["AWS/Lambda", "Throttles", local.dimensions.function, "Sum"]
        threshold   = 0, minutes = 5
      }
      function-duration = {
        description = "An invocation came close to its timeout after the stream was ended: saving or posting is slow."
        metric      = ["AWS/Lambda", "Duration", local.dimensions.function, "Maximum"]
        threshold   = local.duration_threshold_ms, minutes = 5
      }
      dead-letters = {
        description = "The dead-letter queue contains messages that Lambda dropped: none was handled within 60 s, or the invocation failed."
        metric      = ["AWS/SQS", "ApproximateNumberOfMessagesVisible", local.dimensions.queue, "Maximum"]
        threshold   = 0, minutes = 5
      }
      dead-letters-lost = {
        description = "Lambda dropped messages and could not send them to the dead-letter queue."
        metric      = ["AWS/Lambda", "DestinationDeliveryFailures", local.dimensions.function, "Sum"]
        threshold   = 0, minutes = 5
      }
      api-execution-errors = {
        description = "API Gateway could not invoke the function: missing permissions, throttling, or an invalid integration."
        metric      = ["AWS/ApiGateway", "ExecutionError", local.dimensions.api, "Sum"]
        threshold   = 0, minutes = 5
      }
      table-throttled = {
        description = "DynamoDB throttled more than ten requests within 15 minutes. A few are retried without effect."
        metrics = {
          reads  = ["AWS/DynamoDB", "ReadThrottleEvents", local.dimensions.table, "Sum"]
          writes = ["AWS/DynamoDB", "WriteThrottleEvents", local.dimensions.table, "Sum"]
        }
        expression = "FILL(reads, 0) + FILL(writes, 0)"
        threshold  = 10, minutes = 15
      }
      metrics-rejected = {
        description = "CloudWatch could not read the metrics in a log line: alarms on the function's own metrics may not work."
        metrics = {
          unreadable = ["AWS/Logs", "EMFParsingErrors", local.dimensions.logs, "Sum"]
          invalid    = ["AWS/Logs", "EMFValidationErrors", local.dimensions.logs, "Sum"]
        }
        expression = "FILL(unreadable, 0) + FILL(invalid, 0)"
        threshold  = 0, minutes = 5
      }
    },
    local.authorizer_count == 0 ? {} : {
      authorizer-errors = {
        description = "The authorizer failed, so clients cannot connect. The issuer's keys may be unavailable."
        metric      = ["AWS/Lambda", "Errors", { FunctionName = local.authorizer_name }, "Sum"]
        threshold   = 0, minutes = 5
      }
    },
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name        = "${var.name}-${each.key}"
  alarm_description = each.value.description

  namespace           = try(each.value.metric[0], null)
  metric_name         = try(each.value.metric[1], null)
  dimensions          = try(each.value.metric[2], null)
  statistic           = try(each.value.metric[3], null)
  period              = can(each.value.metric) ? 60 * each.value.minutes : null
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching" # there is no traffic

  dynamic "metric_query" {
    for_each = try(each.value.metrics, {})

    content {
      id = metric_query.key

      metric {
        namespace   = metric_query.value[0]
        metric_name = metric_query.value[1]
        dimensions  = metric_query.value[2]
        stat        = metric_query.value[3]
        period      = 60 * each.value.minutes
      }
    }
  }

  dynamic "metric_query" {
    for_each = merge(try(each.value.expressions, {}), { for text in try([each.value.expression], []) : "alarm" => text })

    content {
      id          = metric_query.key
      expression  = metric_query.value
      label       = each.key
      return_data = metric_query.key == "alarm"
    }
  }

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
