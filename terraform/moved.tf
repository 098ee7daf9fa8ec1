# Until the module existed, its resources were those of this folder. With these blocks a state of that time
# is kept: `make plan` shows moves, and of the API, the functions and the table nothing that is replaced. The
# dashboard is, because its name now includes the Region.
#
# A resource that exists and is in no state is adopted by an `import` block: docs/deploy.md.

moved {
  from = aws_apigatewayv2_api.chat
  to   = module.chat.aws_apigatewayv2_api.chat
}

moved {
  from = aws_apigatewayv2_integration.function
  to   = module.chat.aws_apigatewayv2_integration.function
}

moved {
  from = aws_apigatewayv2_integration.mock
  to   = module.chat.aws_apigatewayv2_integration.mock
}

moved {
  from = aws_apigatewayv2_integration_response.mock
  to   = module.chat.aws_apigatewayv2_integration_response.mock
}

moved {
  from = aws_apigatewayv2_route_response.mock
  to   = module.chat.aws_apigatewayv2_route_response.mock
}

moved {
  from = aws_apigatewayv2_route.this
  to   = module.chat.aws_apigatewayv2_route.this
}

moved {
  from = aws_apigatewayv2_stage.live
  to   = module.chat.aws_apigatewayv2_stage.live
}

moved {
  from = aws_apigatewayv2_authorizer.jwt
  to   = module.chat.aws_apigatewayv2_authorizer.jwt
}

moved {
  from = aws_lambda_function.authorizer
  to   = module.chat.aws_lambda_function.authorizer
}

moved {
  from = aws_lambda_permission.authorizer
  to   = module.chat.aws_lambda_permission.authorizer
}

moved {
  from = aws_dynamodb_table.conversations
  to   = module.chat.aws_dynamodb_table.conversations
}

moved {
  from = aws_lambda_function.chat
  to   = module.chat.aws_lambda_function.chat
}

moved {
  from = aws_lambda_alias.live
  to   = module.chat.aws_lambda_alias.live
}

moved {
  from = aws_lambda_permission.routes
  to   = module.chat.aws_lambda_permission.routes
}

moved {
  from = aws_lambda_function_event_invoke_config.live
  to   = module.chat.aws_lambda_function_event_invoke_config.live
}

moved {
  from = aws_sqs_queue.dead_letters
  to   = module.chat.aws_sqs_queue.dead_letters
}

moved {
  from = aws_iam_role.function
  to   = module.chat.aws_iam_role.function
}

moved {
  from = aws_iam_role_policy.function
  to   = module.chat.aws_iam_role_policy.function
}

moved {
  from = aws_iam_role.authorizer
  to   = module.chat.aws_iam_role.authorizer
}

moved {
  from = aws_iam_role_policy.authorizer
  to   = module.chat.aws_iam_role_policy.authorizer
}

moved {
  from = aws_iam_role.logging
  to   = module.chat.aws_iam_role.logging
}

moved {
  from = aws_iam_role_policy_attachment.logging
  to   = module.chat.aws_iam_role_policy_attachment.logging
}

moved {
  from = aws_api_gateway_account.logging
  to   = module.chat.aws_api_gateway_account.logging
}

moved {
  from = aws_cloudwatch_log_group.function
  to   = module.chat.aws_cloudwatch_log_group.function
}

moved {
  from = aws_cloudwatch_log_group.access
  to   = module.chat.aws_cloudwatch_log_group.access
}

moved {
  from = aws_cloudwatch_log_group.authorizer
  to   = module.chat.aws_cloudwatch_log_group.authorizer
}

moved {
  from = aws_cloudwatch_query_definition.this
  to   = module.chat.aws_cloudwatch_query_definition.this
}

moved {
  from = aws_cloudwatch_metric_alarm.this
  to   = module.chat.aws_cloudwatch_metric_alarm.this
}

moved {
  from = aws_sns_topic.alarms
  to   = module.chat.aws_sns_topic.alarms
}

moved {
  from = aws_sns_topic_subscription.email
  to   = module.chat.aws_sns_topic_subscription.email
}

moved {
  from = aws_cloudwatch_dashboard.chat
  to   = module.chat.aws_cloudwatch_dashboard.chat
}

moved {
  from = aws_budgets_budget.monthly
  to   = module.chat.aws_budgets_budget.monthly
}

moved {
  from = aws_s3_bucket.web
  to   = module.chat.aws_s3_bucket.web
}

moved {
  from = aws_s3_bucket_public_access_block.web[0]
  to   = module.chat.aws_s3_bucket_public_access_block.this["web"]
}

moved {
  from = aws_s3_bucket_server_side_encryption_configuration.web[0]
  to   = module.chat.aws_s3_bucket_server_side_encryption_configuration.this["web"]
}

moved {
  from = aws_s3_bucket_policy.web[0]
  to   = module.chat.aws_s3_bucket_policy.this["web"]
}

moved {
  from = aws_s3_object.web
  to   = module.chat.aws_s3_object.web
}

moved {
  from = aws_s3_object.web_config
  to   = module.chat.aws_s3_object.web_config
}

moved {
  from = aws_cloudfront_origin_access_control.web
  to   = module.chat.aws_cloudfront_origin_access_control.web
}

moved {
  from = aws_cloudfront_response_headers_policy.web
  to   = module.chat.aws_cloudfront_response_headers_policy.web
}

moved {
  from = aws_cloudfront_distribution.web
  to   = module.chat.aws_cloudfront_distribution.web
}
