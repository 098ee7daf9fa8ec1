# Outputs; `make smoke`, `make url`, `make chat` and `make wscat` read them.

output "websocket_url" {
  description = "The WebSocket URL. With auth = \"iam\" clients connect to a signed form of it: `make url`."
  value       = aws_apigatewayv2_stage.live.invoke_url
}

output "page_url" {
  description = "The web page's URL, which is also the redirect URI of web_client_id; null without a page. A new page is available after a few minutes."
  value       = var.web_page ? "${local.page_origin}/" : null
}

output "wscat_command" {
  description = "The command that opens a chat in a terminal."
  value = {
    iam  = "make wscat DEPLOYED=1"
    jwt  = "npx wscat -c '${aws_apigatewayv2_stage.live.invoke_url}?format=text' -s chat.v1 -s \"bearer.$TOKEN\""
    none = "npx wscat -c '${aws_apigatewayv2_stage.live.invoke_url}?format=text'"
  }[var.auth]
}

output "function_name" {
  description = "The Lambda function's name. Its log group is /aws/lambda/<name>."
  value       = aws_lambda_function.chat.function_name
}

output "function_alias" {
  description = "The function's alias that the API invokes."
  value       = aws_lambda_alias.live.name
}

output "table_name" {
  description = "The name of the DynamoDB table that stores the conversations."
  value       = aws_dynamodb_table.conversations.name
}

output "dashboard_url" {
  description = "The URL of the CloudWatch dashboard in the AWS console."
  value       = "https://${local.region}.console.aws.amazon.com/cloudwatch/home?region=${local.region}#dashboards/dashboard/${aws_cloudwatch_dashboard.chat.dashboard_name}"
}

output "api_id" {
  description = "The id of the WebSocket API."
  value       = aws_apigatewayv2_api.chat.id
}

output "stage" {
  description = "The name of the API's stage."
  value       = aws_apigatewayv2_stage.live.name
}

output "auth" {
  description = "How clients authenticate: iam, jwt or none."
  value       = var.auth
}

output "region" {
  description = "The AWS Region of the deployment."
  value       = local.region
}
