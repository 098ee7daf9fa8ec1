# What a deployment says of itself; `make smoke`, `make url` and `make wscat` read it.

output "websocket_url" {
  description = "Where to connect. Where auth is iam the URL has to be signed: `make url`."
  value       = aws_apigatewayv2_stage.live.invoke_url
}

output "page_url" {
  description = "The page, and web_client_id's redirect URI; null where there is none. A new one takes some minutes to be there."
  value       = var.web_page ? "${local.page_origin}/" : null
}

output "wscat_command" {
  description = "How to talk to it from a terminal."
  value = {
    iam  = "make wscat DEPLOYED=1"
    jwt  = "npx wscat -c '${aws_apigatewayv2_stage.live.invoke_url}?format=text' -s chat.v1 -s \"bearer.$TOKEN\""
    none = "npx wscat -c '${aws_apigatewayv2_stage.live.invoke_url}?format=text'"
  }[var.auth]
}

output "function_name" {
  description = "The function; its log group is /aws/lambda/ and this."
  value       = aws_lambda_function.chat.function_name
}

output "function_alias" {
  description = "The alias that the API invokes."
  value       = aws_lambda_alias.live.name
}

output "table_name" {
  description = "The table of the conversations."
  value       = aws_dynamodb_table.conversations.name
}

output "dashboard_url" {
  description = "The dashboard, in the AWS console."
  value       = "https://${local.region}.console.aws.amazon.com/cloudwatch/home?region=${local.region}#dashboards/dashboard/${aws_cloudwatch_dashboard.chat.dashboard_name}"
}

output "api_id" {
  description = "The API's id."
  value       = aws_apigatewayv2_api.chat.id
}

output "stage" {
  description = "The API's stage."
  value       = aws_apigatewayv2_stage.live.name
}

output "auth" {
  description = "Who may connect: iam, jwt or none."
  value       = var.auth
}

output "region" {
  description = "Where it is deployed."
  value       = local.region
}
