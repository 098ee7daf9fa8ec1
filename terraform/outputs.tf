# Written by `make docs` from modules/chat.

output "websocket_url" {
  description = "The WebSocket URL. With auth = \"iam\" clients connect to a signed form of it: `make url`."
  value       = module.chat.websocket_url
}

output "callback_url" {
  description = "The URL at which `@connections` are: the API's default endpoint, or the domain where that is off."
  value       = module.chat.callback_url
}

output "domain_target" {
  description = "What a DNS record of domain.name points to, without domain.zone_id: API Gateway's domain name, and the hosted zone of its alias; null without a domain."
  value       = module.chat.domain_target
}

output "page_url" {
  description = "The web page's URL, which is also the redirect URI of the client that signs users in; null without a page. A new page is available after a few minutes."
  value       = module.chat.page_url
}

output "page_domain_name" {
  description = "CloudFront's domain name of the web page, to which a DNS record of web.domain points, without web.domain.zone_id; null without a page."
  value       = module.chat.page_domain_name
}

output "page_bucket" {
  description = "The name of the bucket with the web page's files; null without a page."
  value       = module.chat.page_bucket
}

output "wscat_command" {
  description = "The command that opens a chat in a terminal."
  value       = module.chat.wscat_command
}

output "function_name" {
  description = "The Lambda function's name. Its log group is /aws/lambda/<name>."
  value       = module.chat.function_name
}

output "function_arn" {
  description = "The ARN of the Lambda function, without a version."
  value       = module.chat.function_arn
}

output "function_alias" {
  description = "The function's alias that the API invokes."
  value       = module.chat.function_alias
}

output "function_alias_arn" {
  description = "The ARN of the alias that the API invokes."
  value       = module.chat.function_alias_arn
}

output "function_log_group_name" {
  description = "The name of the function's log group."
  value       = module.chat.function_log_group_name
}

output "function_role_arn" {
  description = "The ARN of the function's IAM role."
  value       = module.chat.function_role_arn
}

output "function_role_name" {
  description = "The name of the function's IAM role, to which further policies can be attached."
  value       = module.chat.function_role_name
}

output "table_name" {
  description = "The name of the DynamoDB table that stores the conversations."
  value       = module.chat.table_name
}

output "table_arn" {
  description = "The ARN of the DynamoDB table that stores the conversations."
  value       = module.chat.table_arn
}

output "dead_letters_arn" {
  description = "The ARN of the SQS queue of events that were not handled."
  value       = module.chat.dead_letters_arn
}

output "dead_letters_url" {
  description = "The URL of the SQS queue of events that were not handled."
  value       = module.chat.dead_letters_url
}

output "topic_arn" {
  description = "The ARN of the SNS topic that receives the alarms; null without alarms.email."
  value       = module.chat.topic_arn
}

output "dashboard_url" {
  description = "The URL of the CloudWatch dashboard in the AWS console."
  value       = module.chat.dashboard_url
}

output "api_id" {
  description = "The id of the WebSocket API."
  value       = module.chat.api_id
}

output "connect_arn" {
  description = "The ARN on which to grant execute-api:Invoke: with auth = \"iam\", identities with that permission may connect."
  value       = module.chat.connect_arn
}

output "stage" {
  description = "The name of the API's stage."
  value       = module.chat.stage
}

output "auth" {
  description = "How clients authenticate: cognito, iam, jwt or none."
  value       = module.chat.auth
}

output "sign_in" {
  description = "What a client needs to sign users in: the issuer, the client's id there, the scope, and the token to send. Null with auth = \"iam\" and \"none\", and with \"jwt\" if web.client_id is not set."
  value       = module.chat.sign_in
}

output "sign_in_domain" {
  description = "The URL of Cognito's sign-in pages; null without auth = \"cognito\"."
  value       = module.chat.sign_in_domain
}

output "user_pool_id" {
  description = "The id of the Cognito user pool, into which `make user` invites; null without auth = \"cognito\"."
  value       = module.chat.user_pool_id
}

output "user_pool_arn" {
  description = "The ARN of the Cognito user pool; null without auth = \"cognito\"."
  value       = module.chat.user_pool_arn
}

output "region" {
  description = "The AWS Region of the deployment."
  value       = module.chat.region
}

output "chat_integration" {
  description = "How API Gateway invokes the function for messages: async or proxy."
  value       = module.chat.chat_integration
}

output "reserved_concurrency" {
  description = "The function's reserved concurrency: 0 if the deployment is stopped, null if none is reserved."
  value       = module.chat.reserved_concurrency
}
