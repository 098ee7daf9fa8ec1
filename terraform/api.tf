# The WebSocket API: a route for each row of routes.json, and what stands behind it.
#
# Rules
# - routes.json and event.json.vtl say what the API is; the local gateway serves from the same files.
# - Only $connect is authorized: API Gateway takes no authorization elsewhere, and needs none, for
#   whoever has a connection has passed $connect.

locals {
  api = jsondecode(file("${path.module}/routes.json"))

  # chat_integration says what becomes of the asynchronous ones.
  kind_of = {
    for key, row in local.api.routes : key => row.integration == "async" ? var.chat_integration : row.integration
  }
  answers = { for key, row in local.api.routes : key => row.response if row.integration == "mock" }
  invoked = toset([for key, kind in local.kind_of : key if kind != "mock"])

  # API Gateway quotas: 29 s for a WebSocket API's integrations, and it cannot be raised.
  integration_timeout_ms = 29000

  # What selects among templates is an expression too: a bare $default would be a variable.
  select_default = "\\$default"

  authorization = { iam = "AWS_IAM", jwt = "CUSTOM", none = "NONE" }[var.auth]
}

resource "aws_apigatewayv2_api" "chat" {
  name                       = var.name
  description                = "A streaming chatbot on Amazon Bedrock"
  protocol_type              = "WEBSOCKET"
  route_selection_expression = local.api.routeSelectionExpression
}

# One integration for each way of calling the function; the routes share them.
#
# async: API Gateway passes the header on to Lambda, which answers 202 at once. Built of documented
# parts (header mapping, X-Amz-Invocation-Type), but AWS documents no example of the pair for
# WebSocket APIs: chat_integration = "proxy" is the way out.
resource "aws_apigatewayv2_integration" "function" {
  for_each = toset([for kind in values(local.kind_of) : kind if kind != "mock"])

  api_id               = aws_apigatewayv2_api.chat.id
  integration_type     = { proxy = "AWS_PROXY", async = "AWS" }[each.key]
  integration_method   = "POST"
  integration_uri      = aws_lambda_alias.live.invoke_arn
  timeout_milliseconds = local.integration_timeout_ms

  request_parameters            = each.key == "async" ? { "integration.request.header.X-Amz-Invocation-Type" = "'Event'" } : null
  template_selection_expression = each.key == "async" ? local.select_default : null
  request_templates             = each.key == "async" ? { "$default" = file("${path.module}/event.json.vtl") } : null

  # The routes turn to another one before this one goes: API Gateway deletes none that is in use.
  lifecycle {
    create_before_destroy = true
  }
}

# What API Gateway answers by itself. The three responses belong together: without the route's, what
# the integration returns is dropped.
resource "aws_apigatewayv2_integration" "mock" {
  for_each = local.answers

  api_id                        = aws_apigatewayv2_api.chat.id
  integration_type              = "MOCK"
  timeout_milliseconds          = local.integration_timeout_ms
  template_selection_expression = local.select_default
  request_templates             = { "$default" = jsonencode({ statusCode = 200 }) }
}

resource "aws_apigatewayv2_integration_response" "mock" {
  for_each = local.answers

  api_id                        = aws_apigatewayv2_api.chat.id
  integration_id                = aws_apigatewayv2_integration.mock[each.key].id
  integration_response_key      = "$default"
  template_selection_expression = local.select_default
  response_templates            = { "$default" = each.value }
}

resource "aws_apigatewayv2_route_response" "mock" {
  for_each = local.answers

  api_id             = aws_apigatewayv2_api.chat.id
  route_id           = aws_apigatewayv2_route.each[each.key].id
  route_response_key = "$default"
}

resource "aws_apigatewayv2_route" "each" {
  #checkov:skip=CKV_AWS_309: API Gateway authorizes $connect alone, and that by var.auth; none of the others takes a type
  for_each = local.kind_of

  api_id    = aws_apigatewayv2_api.chat.id
  route_key = each.key
  target = join("/", ["integrations", (
    each.value == "mock"
    ? aws_apigatewayv2_integration.mock[each.key].id
    : aws_apigatewayv2_integration.function[each.value].id
  )])

  authorization_type = each.key == "$connect" ? local.authorization : "NONE"
  authorizer_id      = each.key == "$connect" && var.auth == "jwt" ? one(aws_apigatewayv2_authorizer.jwt[*].id) : null

  route_response_selection_expression = each.value == "mock" ? "$default" : null
}

# Made once everything that it serves is there; from then on it follows each change by itself.
resource "aws_apigatewayv2_stage" "live" {
  #checkov:skip=CKV2_AWS_51: a client certificate shows API Gateway to an HTTP backend; this one invokes Lambda
  api_id      = aws_apigatewayv2_api.chat.id
  name        = var.stage
  auto_deploy = true

  default_route_settings {
    throttling_rate_limit  = var.throttle_rate
    throttling_burst_limit = var.throttle_burst
    # Execution logs would hold what people say.
    data_trace_enabled = false
    logging_level      = "OFF"
  }

  # Needs a role of the account's: see account_logging.
  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn
    format          = jsonencode(local.access_log)
  }

  depends_on = [
    aws_api_gateway_account.logging,
    aws_apigatewayv2_integration_response.mock,
    aws_apigatewayv2_route.each,
    aws_apigatewayv2_route_response.mock,
    aws_lambda_function_event_invoke_config.live,
    aws_lambda_permission.routes,
  ]
}

# API Gateway Developer Guide, "Configure logging for WebSocket APIs": these are its variables. No body
# and no query string is among them, for those hold words, signatures and tokens.
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
    integrationStatus  = "$context.integration.status" # the function's own; ...integrationStatus is Lambda's
    integrationLatency = "$context.integrationLatency"
  }
}
