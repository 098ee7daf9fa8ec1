# Names of one's own: the WebSocket API's, with var.domain, and their records in Route 53.
#
# Rules
# - Clients use local.websocket_url, which is the domain where there is one.
# - The function posts to connections at local.callback_url, which is never what a client typed: the API's
#   default endpoint, or the domain where that endpoint is off.

locals {
  has_default       = var.domain == null ? true : !var.domain.disable_execute_api_endpoint
  callback_form     = local.has_default ? "https://{{api-id}}.execute-api.${local.region}.${data.aws_partition.current.dns_suffix}/${var.stage}" : "https://${var.domain.name}"
  callback_url      = replace(local.callback_form, "{{api-id}}", aws_apigatewayv2_api.chat.id)
  websocket_origin  = var.domain == null ? aws_apigatewayv2_api.chat.api_endpoint : "wss://${var.domain.name}"
  websocket_url     = var.domain == null ? aws_apigatewayv2_stage.live.invoke_url : "wss://${var.domain.name}/"
  domain_count      = var.domain == null ? 0 : 1
  page_record_types = try(local.web_domain.zone_id, null) == null ? [] : ["A", "AAAA"]
}

# API Gateway Developer Guide, "Custom domain names for WebSocket APIs": Regional ones, TLS 1.2 at least.
resource "aws_apigatewayv2_domain_name" "chat" {
  count = local.domain_count

  domain_name = var.domain.name
  tags        = local.tags

  domain_name_configuration {
    certificate_arn = var.domain.certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
  }
}

# Without a key the whole domain is the stage: URLs have no path.
resource "aws_apigatewayv2_api_mapping" "chat" {
  count = local.domain_count

  api_id      = aws_apigatewayv2_api.chat.id
  domain_name = aws_apigatewayv2_domain_name.chat[0].id
  stage       = aws_apigatewayv2_stage.live.id
}

resource "aws_route53_record" "chat" {
  count = try(var.domain.zone_id, null) == null ? 0 : 1

  zone_id = var.domain.zone_id
  name    = var.domain.name
  type    = "A"

  alias {
    name                   = aws_apigatewayv2_domain_name.chat[0].domain_name_configuration[0].target_domain_name
    zone_id                = aws_apigatewayv2_domain_name.chat[0].domain_name_configuration[0].hosted_zone_id
    evaluate_target_health = false
  }
}

resource "aws_route53_record" "web" {
  for_each = toset(local.page_record_types)

  zone_id = local.web_domain.zone_id
  name    = local.web_domain.name
  type    = each.key

  alias {
    name                   = aws_cloudfront_distribution.web[0].domain_name
    zone_id                = aws_cloudfront_distribution.web[0].hosted_zone_id
    evaluate_target_health = false
  }
}
