# The WebSocket API: a route for each entry of routes.json, with its integration, and the stage.
#
# Rules
# - routes.json and event.json.vtl define the API; the local gateway reads the same files.
# - Only $connect is authorized: API Gateway supports authorization on no other route of a WebSocket
#   API, and every open connection has passed $connect.

locals {
  api = jsondecode(file("${path.module}/routes.json"))

  # chat_integration decides about the asynchronous routes.
  integration_of = {
    for key, row in local.api.routes : key => row.integration == "async" ? var.chat_integration : row.integration
  }
  mock_responses  = { for key, row in local.api.routes : key => row.response if row.integration == "mock" }
  invoking_routes = toset([for key, kind in local.integration_of : key if kind != "mock"])

  # API Gateway quotas: 29 s for integrations of a WebSocket API; it cannot be raised.
  integration_timeout_ms = 29000

  # A template selection expression: without the backslash $default would be a variable.
  select_default = "\\$default"

  # The routes of clients, each with its own throttle. $disconnect is API Gateway's: without it a
  # connection's item would remain.
  throttled_routes = setsubtract(keys(local.api.routes), ["$disconnect"])

  # API Gateway quotas: the lowest default of any Region for all APIs of an account, in requests per second
  # and at once. AWS may refuse a higher throttle than the account's.
  account_rate  = 2500
  account_burst = 1250

  authorization = { cognito = "CUSTOM", iam = "AWS_IAM", jwt = "CUSTOM", none = "NONE" }[var.auth]
}

resource "aws_apigatewayv2_api" "chat" {
  name                       = var.name
  description                = "A streaming chatbot on Amazon Bedrock"
  protocol_type              = "WEBSOCKET"
  route_selection_expression = local.api.routeSelectionExpression

  disable_execute_api_endpoint = !local.has_default

  tags = local.tags
}

# One integration for each way of invoking the function, shared by the routes. Both exist whatever
# chat_integration is, so that a change of it only updates the routes.
#
# async: API Gateway passes the header to Lambda, which answers 202 immediately. Both parts (header
# mapping, X-Amz-Invocation-Type) are documented, but AWS shows no example of their combination in a
# WebSocket API; chat_integration = "proxy" is the alternative.
resource "aws_apigatewayv2_integration" "function" {
  for_each = toset(["async", "proxy"])

  api_id               = aws_apigatewayv2_api.chat.id
  integration_type     = { proxy = "AWS_PROXY", async = "AWS" }[each.key]
  integration_method   = "POST"
  integration_uri      = aws_lambda_alias.live.invoke_arn
  timeout_milliseconds = local.integration_timeout_ms

  request_parameters            = each.key == "async" ? { "integration.request.header.X-Amz-Invocation-Type" = "'Event'" } : null
  template_selection_expression = each.key == "async" ? local.select_default : null
  request_templates             = each.key == "async" ? { "$default" = file("${path.module}/event.json.vtl") } : null
}

# API Gateway Developer Guide, "Set up a WebSocket API integration response": an integration that is no
# proxy needs at least one. Its routes have no route response, so nothing is sent to the client.
resource "aws_apigatewayv2_integration_response" "async" {
  api_id                   = aws_apigatewayv2_api.chat.id
  integration_id           = aws_apigatewayv2_integration.function["async"].id
  integration_response_key = "$default"
}

# Routes that API Gateway answers by itself. Without the route response, the integration's response
# would be dropped.
resource "aws_apigatewayv2_integration" "mock" {
  for_each = local.mock_responses

  api_id                        = aws_apigatewayv2_api.chat.id
  integration_type              = "MOCK"
  timeout_milliseconds          = local.integration_timeout_ms
  template_selection_expression = local.select_default
  request_templates             = { "$default" = jsonencode({ statusCode = 200 }) }
}

resource "aws_apigatewayv2_integration_response" "mock" {
  for_each = local.mock_responses

  api_id                        = aws_apigatewayv2_api.chat.id
  integration_id                = aws_apigatewayv2_integration.mock[each.key].id
  integration_response_key      = "$default"
  template_selection_expression = local.select_default
  response_templates            = { "$default" = each.value }
}

resource "aws_apigatewayv2_route_response" "mock" {
  for_each = local.mock_responses

  api_id             = aws_apigatewayv2_api.chat.id
  route_id           = aws_apigatewayv2_route.this[each.key].id
  route_response_key = "$default"
}

# API Gateway refuses to delete an integration or an authorizer that a route uses. A route is therefore
# replaced, which deletes it first, whenever one of those that it may use is. The alternative,
# create_before_destroy there, extends to all that they depend on: table, role, log group and function,
# of which no second one with the same name can be created.
resource "terraform_data" "route_uses" {
  for_each = local.integration_of

  input = {
    authorizers  = each.key == "$connect" ? aws_apigatewayv2_authorizer.jwt[*].id : []
    integrations = each.value == "mock" ? [aws_apigatewayv2_integration.mock[each.key].id] : values(aws_apigatewayv2_integration.function)[*].id
  }
}

resource "aws_apigatewayv2_route" "this" {
  #checkov:skip=CKV_AWS_309: only $connect supports authorization in a WebSocket API, and var.auth sets it
  for_each = local.integration_of

  api_id    = aws_apigatewayv2_api.chat.id
  route_key = each.key
  target = join("/", ["integrations", (
    each.value == "mock"
    ? aws_apigatewayv2_integration.mock[each.key].id
    : aws_apigatewayv2_integration.function[each.value].id
  )])

  authorization_type = each.key == "$connect" ? local.authorization : "NONE"
  authorizer_id      = each.key == "$connect" && local.authorizer_count > 0 ? one(aws_apigatewayv2_authorizer.jwt[*].id) : null

  route_response_selection_expression = each.value == "mock" ? "$default" : null

  lifecycle {
    replace_triggered_by = [terraform_data.route_uses[each.key]]
  }
}

# Created after everything that it serves; it then deploys each change automatically.
resource "aws_apigatewayv2_stage" "live" {
  #checkov:skip=CKV2_AWS_51: a client certificate identifies API Gateway to an HTTP backend; this API invokes Lambda
  api_id      = aws_apigatewayv2_api.chat.id
  name        = var.stage
  auto_deploy = true

  # For what has no settings of its own: $disconnect and, as AWS does not say otherwise, the function's
  # posts to connections, of which an answer has a hundred. Without values the provider would set 0.
  default_route_settings {
    throttling_rate_limit  = max(local.account_rate, var.throttle_rate)
    throttling_burst_limit = max(local.account_burst, var.throttle_burst)
    # Execution logs would contain messages.
    data_trace_enabled = false
    logging_level      = "OFF"
  }

  dynamic "route_settings" {
    for_each = local.throttled_routes

    content {
      route_key              = route_settings.key
      throttling_rate_limit  = var.throttle_rate
      throttling_burst_limit = var.throttle_burst
      data_trace_enabled     = false
      logging_level          = "OFF"
    }
  }

  # Requires the account's logging role: see account_logging.
  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn
    format          = jsonencode(local.access_log)
  }

  tags = local.tags

  depends_on = [
    aws_api_gateway_account.logging,
    aws_apigatewayv2_integration_response.async,
    aws_apigatewayv2_integration_response.mock,
    aws_apigatewayv2_route.this,
    aws_apigatewayv2_route_response.mock,
    aws_lambda_function_event_invoke_config.live,
    aws_lambda_permission.routes,
  ]
}

# The variables are those of API Gateway Developer Guide, "Configure logging for WebSocket APIs". Bodies
# and query strings are left out: they contain messages, signatures and tokens.
locals {
  access_log = {
    requestId          = "$context.requestId"
    extendedRequestId  = "$context.extendedRequestId"
    requestTime        = "$context.requestTime"
    eventType          = "$context.eventType"
    routeKey           = "$context.routeKey"
    status             = "$context.status"
    connectionId       = "$context.connectionId"
    messageId          = "$context.messageId"
    sourceIp           = "$context.identity.sourceIp"
    errorMessage       = "$context.error.message"
    errorType          = "$context.error.responseType"
    authorizeError     = "$context.authorize.error"
    authorizerError    = "$context.authorizer.error"
    authorizerLatency  = "$context.authorizer.latency"
    integrationError   = "$context.integration.error"
    integrationStatus  = "$context.integration.status" # the function's status code; ...integrationStatus is that of Lambda's API
    integrationLatency = "$context.integrationLatency"
  }
}
