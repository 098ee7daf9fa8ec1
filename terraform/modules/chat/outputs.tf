# Outputs. The root passes all of them on; `make smoke`, `make url`, `make chat` and `make wscat` read some.

output "websocket_url" {
  description = "The WebSocket URL. With auth = \"iam\" clients connect to a signed form of it: `make url`."
  value       = local.websocket_url

  # The domain serves the API once it is mapped.
  depends_on = [aws_apigatewayv2_api_mapping.chat]
}

output "callback_url" {
  description = "The URL at which `@connections` are: the API's default endpoint, or the domain where that is off."
  value       = local.callback_url
}

output "domain_target" {
  description = "What a DNS record of domain.name points to, without domain.zone_id: API Gateway's domain name, and the hosted zone of its alias; null without a domain."
  value = one([for each in aws_apigatewayv2_domain_name.chat : {
    name    = each.domain_name_configuration[0].target_domain_name
    zone_id = each.domain_name_configuration[0].hosted_zone_id
  }])
}

output "page_url" {
  description = "The web page's URL, which is also the redirect URI of the client that signs users in; null without a page. A new page is available after a few minutes."
  value       = one([for origin in local.page_origins : "${origin}/"])
}

output "page_domain_name" {
  description = "CloudFront's domain name of the web page, to which a DNS record of web.domain points, without web.domain.zone_id; null without a page."
  value       = one(aws_cloudfront_distribution.web[*].domain_name)
}

output "page_bucket" {
  description = "The name of the bucket with the web page's files; null without a page."
  value       = one(aws_s3_bucket.web[*].id)
}

output "wscat_command" {
  description = "The command that opens a chat in a terminal."
  value = {
    cognito = "npx wscat -c '${local.websocket_url}?format=text' -s chat.v1 -s \"bearer.$TOKEN\""
    iam     = "make wscat DEPLOYED=1"
    jwt     = "npx wscat -c '${local.websocket_url}?format=text' -s chat.v1 -s \"bearer.$TOKEN\""
    none    = "npx wscat -c '${local.websocket_url}?format=text'"
  }[var.auth]
}

output "function_name" {
  description = "The Lambda function's name. Its log group is /aws/lambda/<name>."
  value       = aws_lambda_function.chat.function_name
}

output "function_arn" {
  description = "The ARN of the Lambda function, without a version."
  value       = aws_lambda_function.chat.arn
}

output "function_alias" {
  description = "The function's alias that the API invokes."
  value       = aws_lambda_alias.live.name
}

output "function_alias_arn" {
  description = "The ARN of the alias that the API invokes."
  value       = aws_lambda_alias.live.arn
}

output "function_log_group_name" {
  description = "The name of the function's log group."
  value       = aws_cloudwatch_log_group.function.name
}

output "function_role_arn" {
  description = "The ARN of the function's IAM role."
  value       = aws_iam_role.function.arn
}

output "function_role_name" {
  description = "The name of the function's IAM role, to which further policies can be attached."
  value       = aws_iam_role.function.name
}

output "table_name" {
  description = "The name of the DynamoDB table that stores the conversations."
  value       = aws_dynamodb_table.conversations.name
}

output "table_arn" {
  description = "The ARN of the DynamoDB table that stores the conversations."
  value       = aws_dynamodb_table.conversations.arn
}

output "dead_letters_arn" {
  description = "The ARN of the SQS queue of events that were not handled."
  value       = aws_sqs_queue.dead_letters.arn
}

output "dead_letters_url" {
  description = "The URL of the SQS queue of events that were not handled."
  value       = aws_sqs_queue.dead_letters.url
}

output "topic_arn" {
  description = "The ARN of the SNS topic that receives the alarms; null without alarms.email."
  value       = one(aws_sns_topic.alarms[*].arn)
}

output "dashboard_url" {
  description = "The URL of the CloudWatch dashboard in the AWS console."
  value       = "https://${local.region}.console.aws.amazon.com/cloudwatch/home?region=${local.region}#dashboards/dashboard/${aws_cloudwatch_dashboard.chat.dashboard_name}"
}

output "api_id" {
  description = "The id of the WebSocket API."
  value       = aws_apigatewayv2_api.chat.id
}

output "connect_arn" {
  description = "The ARN on which to grant execute-api:Invoke: with auth = \"iam\", identities with that permission may connect."
  value       = "${aws_apigatewayv2_api.chat.execution_arn}/${aws_apigatewayv2_stage.live.name}/$connect"
}

output "stage" {
  description = "The name of the API's stage."
  value       = aws_apigatewayv2_stage.live.name
}

output "auth" {
  description = "How clients authenticate: cognito, iam, jwt or none."
  value       = var.auth
}

output "sign_in" {
  description = "What a client needs to sign users in: the issuer, the client's id there, the scope, and the token to send. Null with auth = \"iam\" and \"none\", and with \"jwt\" if web.client_id is not set."
  value       = local.sign_in
}

output "sign_in_domain" {
  description = "The URL of Cognito's sign-in pages; null without auth = \"cognito\"."
  value       = one([for each in aws_cognito_user_pool_domain.users : local.cognito_domain])
}

output "user_pool_id" {
  description = "The id of the Cognito user pool, into which `make user` invites; null without auth = \"cognito\"."
  value       = one(aws_cognito_user_pool.users[*].id)
}

output "user_pool_arn" {
  description = "The ARN of the Cognito user pool; null without auth = \"cognito\"."
  value       = one(aws_cognito_user_pool.users[*].arn)
}

output "region" {
  description = "The AWS Region of the deployment."
  value       = local.region
}

output "chat_integration" {
  description = "How API Gateway invokes the function for messages: async or proxy."
  value       = var.chat_integration
}

output "reserved_concurrency" {
  description = "The function's reserved concurrency: 0 if the deployment is stopped, null if none is reserved."
  value       = var.reserved_concurrency
}
