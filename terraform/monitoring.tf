# Whether it works: logs, queries of them, alarms, one dashboard, and what it may cost. How to answer
# an alarm: docs/operations.md.

# -- logs ------------------------------------------------------------------------------------------

resource "aws_cloudwatch_log_group" "function" {
  #checkov:skip=CKV_AWS_158: CloudWatch Logs encrypts them; they hold no words, and a key of one's own costs by the month
  #checkov:skip=CKV_AWS_338: log_retention_days decides; a year of chat logs is nobody's default
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
}

resource "aws_cloudwatch_log_group" "access" {
  #checkov:skip=CKV_AWS_158: as the function's
  #checkov:skip=CKV_AWS_338: as the function's
  name              = "/aws/apigateway/${var.name}"
  retention_in_days = var.log_retention_days
}

resource "aws_cloudwatch_log_group" "authorizer" {
  #checkov:skip=CKV_AWS_158: as the function's
  #checkov:skip=CKV_AWS_338: as the function's
  count = local.authorizers

  name              = "/aws/lambda/${local.authorizer_name}"
  retention_in_days = var.log_retention_days
}

# Saved in Logs Insights, in a folder of the deployment's name.
resource "aws_cloudwatch_query_definition" "each" {
  for_each = fileset("${path.module}/queries", "*.txt")

  name            = "${var.name}/${trimsuffix(each.key, ".txt")}"
  log_group_names = [aws_cloudwatch_log_group.function.name]
  query_string    = trimspace(file("${path.module}/queries/${each.key}"))
}

# -- what is counted -------------------------------------------------------------------------------

locals {
  # Metrics of our own: the function writes them into its log (src/metrics.py has their names), and
  # CloudWatch reads them there. The namespace is the function's name.
  ours     = var.name
  of_model = { Model = basename(var.model_id) } # an ARN's last part, as clients are told it

  of_function = { FunctionName = aws_lambda_function.chat.function_name }
  of_logs     = { LogGroupName = aws_cloudwatch_log_group.function.name }
  of_api      = { ApiId = aws_apigatewayv2_api.chat.id, Stage = var.stage }
  of_table    = { TableName = aws_dynamodb_table.conversations.name }
  of_queue    = { QueueName = local.dead_letters }

  # A stream is ended deadline_seconds before Lambda's timeout. Past half of that, saving was slow.
  late_ms = floor(1000 * (var.timeout_seconds - var.deadline_seconds / 2))
}

# -- alarms ----------------------------------------------------------------------------------------

locals {
  # Each looks at five minutes; `periods` of them have to be above `above`.
  alarms = merge(
    {
      function-errors = {
        why       = "An invocation ended in an exception, or Lambda stopped it. The function itself lets none out: look at the first ERROR lines."
        namespace = "AWS/Lambda", metric = "Errors", of = local.of_function, statistic = "Sum", above = 0, periods = 1
      }
      function-throttles = {
        why       = "Lambda had no room for an invocation: the account's concurrency, or reserved_concurrency, is used up."
        namespace = "AWS/Lambda", metric = "Throttles", of = local.of_function, statistic = "Sum", above = 0, periods = 1
      }
      function-duration = {
        why       = "An answer came close to Lambda's timeout after its stream was ended: saving or posting is slow."
        namespace = "AWS/Lambda", metric = "Duration", of = local.of_function, statistic = "Maximum", above = local.late_ms, periods = 1
      }
      events-late = {
        why       = "Frames wait for half of the 60 s after which Lambda drops them."
        namespace = "AWS/Lambda", metric = "AsyncEventAge", of = local.of_function, statistic = "Maximum", above = 30000, periods = 1
      }
      events-dropped = {
        why       = "Frames were never handled: they are in the dead-letter queue."
        namespace = "AWS/Lambda", metric = "AsyncEventsDropped", of = local.of_function, statistic = "Sum", above = 0, periods = 1
      }
      dead-letters-lost = {
        why       = "A frame that was never handled could not be put into the dead-letter queue either."
        namespace = "AWS/Lambda", metric = "DestinationDeliveryFailures", of = local.of_function, statistic = "Sum", above = 0, periods = 1
      }
      dead-letters = {
        why       = "There are frames that were never handled."
        namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", of = local.of_queue, statistic = "Maximum", above = 0, periods = 1
      }
      api-integration-errors = {
        why       = "The function refused or failed more than a few requests of API Gateway's. Refused connections count too."
        namespace = "AWS/ApiGateway", metric = "IntegrationError", of = local.of_api, statistic = "Sum", above = 5, periods = 1
      }
      api-execution-errors = {
        why       = "API Gateway could not call the function: permissions, throttles, or an integration that it does not understand."
        namespace = "AWS/ApiGateway", metric = "ExecutionError", of = local.of_api, statistic = "Sum", above = 0, periods = 1
      }
      first-token-slow = {
        why       = "One in ten answers takes more than ten seconds to begin."
        namespace = local.ours, metric = "FirstTokenLatency", of = local.of_model, statistic = "p90", above = 10000, periods = 3
      }
      failures-internal = {
        why       = "A fault on our side, told to the client as internal."
        namespace = local.ours, metric = "Failures", of = merge(local.of_model, { Code = "internal" }), statistic = "Sum", above = 0, periods = 1
      }
      failures-model-unavailable = {
        why       = "Bedrock cannot be reached or may not be used: model access, permissions, an outage."
        namespace = local.ours, metric = "Failures", of = merge(local.of_model, { Code = "model_unavailable" }), statistic = "Sum", above = 0, periods = 1
      }
      failures-model-error = {
        why       = "The model fails more than now and then, or its streams break."
        namespace = local.ours, metric = "Failures", of = merge(local.of_model, { Code = "model_error" }), statistic = "Sum", above = 5, periods = 2
      }
      failures-throttled = {
        why       = "Bedrock or DynamoDB turns requests away, and trying again did not help."
        namespace = local.ours, metric = "Failures", of = merge(local.of_model, { Code = "throttled" }), statistic = "Sum", above = 5, periods = 2
      }
      metrics-unreadable = {
        why       = "CloudWatch could not read metrics out of a log line: the alarms on our own metrics may be blind."
        namespace = "AWS/Logs", metric = "EMFParsingErrors", of = local.of_logs, statistic = "Sum", above = 0, periods = 1
      }
      metrics-invalid = {
        why       = "CloudWatch read metrics in a log line and refused them: the alarms on our own metrics may be blind."
        namespace = "AWS/Logs", metric = "EMFValidationErrors", of = local.of_logs, statistic = "Sum", above = 0, periods = 1
      }
      table-reads-throttled = {
        why       = "DynamoDB turned reads away."
        namespace = "AWS/DynamoDB", metric = "ReadThrottleEvents", of = local.of_table, statistic = "Sum", above = 0, periods = 1
      }
      table-writes-throttled = {
        why       = "DynamoDB turned writes away."
        namespace = "AWS/DynamoDB", metric = "WriteThrottleEvents", of = local.of_table, statistic = "Sum", above = 0, periods = 1
      }
    },
    var.auth != "jwt" ? {} : {
      authorizer-errors = {
        why       = "The authorizer failed, so nobody can connect: perhaps the issuer's keys cannot be fetched."
        namespace = "AWS/Lambda", metric = "Errors", of = { FunctionName = local.authorizer_name }, statistic = "Sum", above = 0, periods = 1
      }
    },
  )
}

resource "aws_cloudwatch_metric_alarm" "each" {
  for_each = local.alarms

  alarm_name        = "${var.name}-${each.key}"
  alarm_description = each.value.why

  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.of
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  period              = 300
  evaluation_periods  = each.value.periods
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  treat_missing_data  = "notBreaching" # nobody is chatting

  alarm_actions = aws_sns_topic.alarms[*].arn
  ok_actions    = aws_sns_topic.alarms[*].arn
}

resource "aws_sns_topic" "alarms" {
  #checkov:skip=CKV_AWS_26: CloudWatch cannot publish under AWS's key for SNS, and alarms hold numbers, no words
  count = var.alarm_email == null ? 0 : 1

  name = "${var.name}-alarms"
}

resource "aws_sns_topic_subscription" "email" {
  count = var.alarm_email == null ? 0 : 1

  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

# -- the dashboard ---------------------------------------------------------------------------------

locals {
  # Each row is one graph: its metrics as [namespace, metric, dimensions, statistic].
  graphs = {
    "Answers: until the first words, and Bedrock's part of it (ms)" = concat(
      [for statistic in ["p50", "p90", "p99"] : [local.ours, "FirstTokenLatency", local.of_model, statistic]],
      [for statistic in ["p50", "p90"] : [local.ours, "BedrockWait", local.of_model, statistic]],
    )
    "Answers: until the end (ms)" = [
      for statistic in ["p50", "p90", "p99"] : [local.ours, "TurnLatency", local.of_model, statistic]
    ]
    "Answers: tokens" = [
      for metric in ["InputTokens", "OutputTokens", "CacheReadTokens", "CacheWriteTokens"] : [local.ours, metric, local.of_model, "Sum"]
    ]
    "Answers: posts, and deltas in each" = [
      [local.ours, "Posts", local.of_model, "Sum"],
      [local.ours, "DeltasPerPost", local.of_model, "Average"],
    ]
    "Answers: asked for, called again, over budget" = [
      [local.ours, "Turns", local.of_model, "Sum"],
      [local.ours, "Retries", local.of_model, "Sum"],
      [local.ours, "Failures", merge(local.of_model, { Code = "over_budget" }), "Sum"],
    ]
    "Function: invocations, errors, throttles" = [
      for metric in ["Invocations", "Errors", "Throttles"] : ["AWS/Lambda", metric, local.of_function, "Sum"]
    ]
    "Function: duration (ms)" = [
      for statistic in ["p50", "p90", "Maximum"] : ["AWS/Lambda", "Duration", local.of_function, statistic]
    ]
    "Function: running at once" = [["AWS/Lambda", "ConcurrentExecutions", local.of_function, "Maximum"]]
    "Frames: age (ms), dropped, dead letters" = [
      ["AWS/Lambda", "AsyncEventAge", local.of_function, "Maximum"],
      ["AWS/Lambda", "AsyncEventsDropped", local.of_function, "Sum"],
      ["AWS/SQS", "ApproximateNumberOfMessagesVisible", local.of_queue, "Maximum"],
    ]
    "API: connections and messages" = [
      for metric in ["ConnectCount", "MessageCount"] : ["AWS/ApiGateway", metric, local.of_api, "Sum"]
    ]
    "API: errors" = [
      for metric in ["ClientError", "IntegrationError", "ExecutionError"] : ["AWS/ApiGateway", metric, local.of_api, "Sum"]
    ]
    "Table: units used, throttled" = [
      for metric in ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits", "ReadThrottleEvents", "WriteThrottleEvents"] :
      ["AWS/DynamoDB", metric, local.of_table, "Sum"]
    ]
  }

  # What occurs is found by itself, of every model. Quotes: CloudWatch User Guide, "CloudWatch search
  # expression syntax", asks for them where a name has more than letters and digits.
  searched = {
    "Answers: how they ended"    = ["Turns", "StopReason"]
    "Answers: failures, by code" = ["Failures", "Code"]
  }

  drawn = merge(
    {
      for title, row in local.searched : title => [[{
        expression = "SEARCH('{\"${local.ours}\",Model,${row[1]}} MetricName=\"${row[0]}\"', 'Sum', 300)"
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

resource "aws_cloudwatch_dashboard" "chat" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [
      for index, title in keys(local.drawn) : {
        type = "metric", width = 8, height = 6, x = 8 * (index % 3), y = 6 * floor(index / 3)
        properties = {
          title = title, region = local.region, period = 300, view = "timeSeries", metrics = local.drawn[title]
        }
      }
    ]
  })
}

# -- the budget ------------------------------------------------------------------------------------

# The whole account's, for Bedrock's models are billed under many names, some of them the marketplace's.
resource "aws_budgets_budget" "monthly" {
  count = var.monthly_budget_usd == null ? 0 : 1

  name         = local.global_name
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.monthly_budget_usd)
  limit_unit   = "USD"

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type          = notification.key
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      comparison_operator        = "GREATER_THAN"
      subscriber_email_addresses = [var.alarm_email]
    }
  }
}
