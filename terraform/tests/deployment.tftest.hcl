# What is built: with nothing chosen, and with each choice. AWS itself is mocked, so everything that it
# would refuse is looked at here.

mock_provider "aws" {
  source = "./tests"
}

variables {
  # Any file will do for a package.
  lambda_zip     = "routes.json"
  authorizer_zip = "event.json.vtl"
}

run "nothing_chosen" {
  # -- routes

  assert {
    condition = toset(keys(aws_apigatewayv2_route.each)) == toset([
      "$connect", "$disconnect", "$default", "chat", "stop", "resume", "history", "clear", "ping",
    ])
    error_message = "The API has the protocol's routes and no others."
  }

  assert {
    condition = { for key, route in aws_apigatewayv2_route.each : key => route.target } == merge(
      { for key in ["$connect", "$disconnect"] : key => "integrations/${aws_apigatewayv2_integration.function["proxy"].id}" },
      { for key in ["$default", "chat", "stop", "resume", "history", "clear"] : key => "integrations/${aws_apigatewayv2_integration.function["async"].id}" },
      { ping = "integrations/${aws_apigatewayv2_integration.mock["ping"].id}" },
    )
    error_message = "Connecting is waited for, what is said is handed over, and a ping is answered on the spot."
  }

  assert {
    condition = { for key, route in aws_apigatewayv2_route.each : key => route.authorization_type if route.authorization_type != "NONE" } == {
      "$connect" = "AWS_IAM"
    }
    error_message = "$connect is authorized by IAM; API Gateway takes no authorization on any other route."
  }

  # -- integrations

  assert {
    condition     = alltrue([for each in concat(values(aws_apigatewayv2_integration.function), values(aws_apigatewayv2_integration.mock)) : each.timeout_milliseconds <= 29000])
    error_message = "API Gateway waits for at most 29 s."
  }

  assert {
    condition = (
      aws_apigatewayv2_integration.function["async"].integration_type == "AWS" &&
      aws_apigatewayv2_integration.function["async"].integration_method == "POST" &&
      aws_apigatewayv2_integration.function["async"].request_parameters == tomap({ "integration.request.header.X-Amz-Invocation-Type" = "'Event'" })
    )
    error_message = "An asynchronous integration tells Lambda so, in a static header, which is quoted."
  }

  assert {
    condition = (
      aws_apigatewayv2_integration.function["async"].template_selection_expression == "\\$default" &&
      aws_apigatewayv2_integration.function["async"].request_templates == tomap({ "$default" = file("event.json.vtl") })
    )
    error_message = "Its event is made by event.json.vtl, which an escaped $default selects."
  }

  assert {
    condition = (
      aws_apigatewayv2_integration.function["proxy"].integration_type == "AWS_PROXY" &&
      aws_apigatewayv2_integration.function["proxy"].request_templates == null
    )
    error_message = "A proxy integration has no template."
  }

  assert {
    condition     = alltrue([for each in values(aws_apigatewayv2_integration.function) : each.integration_uri == aws_lambda_alias.live.invoke_arn])
    error_message = "The API invokes the alias."
  }

  assert {
    condition = (
      aws_apigatewayv2_integration.mock["ping"].integration_type == "MOCK" &&
      aws_apigatewayv2_integration.mock["ping"].template_selection_expression == "\\$default" &&
      jsondecode(aws_apigatewayv2_integration.mock["ping"].request_templates["$default"]) == { statusCode = 200 } &&
      aws_apigatewayv2_integration_response.mock["ping"].integration_id == aws_apigatewayv2_integration.mock["ping"].id &&
      aws_apigatewayv2_integration_response.mock["ping"].template_selection_expression == "\\$default" &&
      jsondecode(aws_apigatewayv2_integration_response.mock["ping"].response_templates["$default"]) == { type = "pong" } &&
      aws_apigatewayv2_route_response.mock["ping"].route_id == aws_apigatewayv2_route.each["ping"].id &&
      aws_apigatewayv2_route.each["ping"].route_response_selection_expression == "$default"
    )
    error_message = "A ping is answered with a pong, all the way to the client."
  }

  # -- stage

  assert {
    condition = (
      aws_apigatewayv2_stage.live.auto_deploy &&
      aws_apigatewayv2_stage.live.default_route_settings[0].throttling_rate_limit == 50 &&
      aws_apigatewayv2_stage.live.default_route_settings[0].throttling_burst_limit == 100
    )
    error_message = "Changes go live by themselves, and the stage is throttled."
  }

  assert {
    condition     = !aws_apigatewayv2_stage.live.default_route_settings[0].data_trace_enabled && aws_apigatewayv2_stage.live.default_route_settings[0].logging_level == "OFF"
    error_message = "API Gateway writes down nothing of what is said."
  }

  assert {
    condition = alltrue([
      for value in values(jsondecode(aws_apigatewayv2_stage.live.access_log_settings[0].format)) :
      can(regex("^\\$context\\.[A-Za-z.]+$", value)) && !can(regex("(?i)body|query|path|url|header|userAgent", value))
    ])
    error_message = "The access log is JSON, without bodies, query strings and whatever else may bear a token."
  }

  # -- function

  assert {
    condition = (
      aws_lambda_function.chat.runtime == "python3.13" &&
      aws_lambda_function.chat.handler == "handler.lambda_handler" &&
      aws_lambda_function.chat.architectures == tolist(["arm64"]) &&
      aws_lambda_function.chat.source_code_hash == filebase64sha256("routes.json") &&
      aws_lambda_function.chat.publish &&
      aws_lambda_alias.live.function_version == aws_lambda_function.chat.version
    )
    error_message = "The function is Python 3.13 on arm64, and its alias the version just published."
  }

  assert {
    condition     = aws_lambda_function.chat.timeout == 900 && aws_lambda_function.chat.reserved_concurrent_executions == -1 && length(aws_lambda_function.chat.snap_start) == 0
    error_message = "It may run as long as Lambda lets it; nothing is reserved, and no snapshot paid for."
  }

  assert {
    condition     = aws_lambda_function.chat.logging_config[0].log_format == "JSON" && aws_lambda_function.chat.logging_config[0].log_group == "/aws/lambda/bedrock-stream-chat" && aws_lambda_function.chat.tracing_config[0].mode == "Active"
    error_message = "It logs JSON into its own group, and is traced."
  }

  assert {
    condition = (
      aws_lambda_function_event_invoke_config.live.qualifier == "live" &&
      aws_lambda_function_event_invoke_config.live.maximum_retry_attempts == 0 &&
      aws_lambda_function_event_invoke_config.live.maximum_event_age_in_seconds == 60 &&
      aws_lambda_function_event_invoke_config.live.destination_config[0].on_failure[0].destination == aws_sqs_queue.dead_letters.arn
    )
    error_message = "An event is tried once, within a minute, and kept where that fails."
  }

  assert {
    condition     = aws_sqs_queue.dead_letters.sqs_managed_sse_enabled && aws_sqs_queue.dead_letters.message_retention_seconds == 1209600
    error_message = "Dead letters are encrypted and kept for 14 days."
  }

  assert {
    condition = {
      for key, permission in aws_lambda_permission.routes : key => permission.source_arn if permission.qualifier == "live" && permission.principal == "apigateway.amazonaws.com"
      } == {
      for key in ["$connect", "$disconnect", "$default", "chat", "stop", "resume", "history", "clear"] :
      key => "arn:aws:execute-api:us-east-1:123456789012:abcde12345/live/${key}"
    }
    error_message = "Each route that invokes the function may do so, of this API and stage, by the alias; no other."
  }

  # -- table

  assert {
    condition = (
      aws_dynamodb_table.conversations.billing_mode == "PAY_PER_REQUEST" &&
      aws_dynamodb_table.conversations.hash_key == "pk" && aws_dynamodb_table.conversations.range_key == "sk" &&
      { for each in aws_dynamodb_table.conversations.attribute : each.name => each.type } == { pk = "S", sk = "S" } &&
      one(aws_dynamodb_table.conversations.ttl).attribute_name == "expires_at" && one(aws_dynamodb_table.conversations.ttl).enabled &&
      one(aws_dynamodb_table.conversations.point_in_time_recovery).enabled &&
      one(aws_dynamodb_table.conversations.server_side_encryption).enabled &&
      !aws_dynamodb_table.conversations.deletion_protection_enabled
    )
    error_message = "The table is as src/memory.py says, paid by the call, encrypted, and restorable."
  }

  # -- roles

  assert {
    condition = {
      for each in data.aws_iam_policy_document.function.statement : each.sid => each.resources
      } == {
      KeepConversations = toset([aws_dynamodb_table.conversations.arn])
      PostToConnections = toset(["arn:aws:execute-api:us-east-1:123456789012:abcde12345/live/POST/@connections/*"])
      CallTheProfile    = toset(["arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-sonnet-4-6"])
      CallModelsThroughTheProfile = toset([
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-6",
        "arn:aws:bedrock:::foundation-model/anthropic.claude-sonnet-4-6",
      ])
      KeepDeadLetters = toset(["arn:aws:sqs:us-east-1:123456789012:${aws_sqs_queue.dead_letters.name}"])
      WriteLogs       = toset(["${aws_cloudwatch_log_group.function.arn}:log-stream:*"])
      WriteTraces     = toset(["*"])
    }
    error_message = "Its own table, connections of its own API and stage, its model, its dead letters and its logs; only traces are granted on everything."
  }

  assert {
    condition = {
      for each in data.aws_iam_policy_document.function.statement : each.sid => join(" ", sort(each.actions))
      } == {
      KeepConversations           = "dynamodb:BatchWriteItem dynamodb:GetItem dynamodb:PutItem dynamodb:Query dynamodb:UpdateItem"
      PostToConnections           = "execute-api:ManageConnections"
      CallTheProfile              = "bedrock:InvokeModelWithResponseStream"
      CallModelsThroughTheProfile = "bedrock:InvokeModelWithResponseStream"
      KeepDeadLetters             = "sqs:SendMessage"
      WriteLogs                   = "logs:CreateLogStream logs:PutLogEvents"
      WriteTraces                 = "xray:PutTelemetryRecords xray:PutTraceSegments"
    }
    error_message = "No action is granted that the function does not use."
  }

  assert {
    condition = one([for each in data.aws_iam_policy_document.function.statement : each.condition if each.sid == "CallModelsThroughTheProfile"]) == toset([{
      test     = "StringEquals"
      variable = "bedrock:InferenceProfileArn"
      values   = tolist(["arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-sonnet-4-6"])
    }])
    error_message = "The models behind a profile may be called through that profile only."
  }

  # -- what is only there when it is asked for

  assert {
    condition = alltrue([for each in [
      aws_apigatewayv2_authorizer.jwt, aws_lambda_function.authorizer, aws_lambda_permission.authorizer, aws_iam_role.authorizer, aws_cloudwatch_log_group.authorizer,
      aws_api_gateway_account.logging, aws_iam_role.logging, aws_sns_topic.alarms, aws_sns_topic_subscription.email, aws_budgets_budget.monthly,
      aws_s3_bucket.web, aws_s3_object.web, aws_s3_object.web_config, aws_cloudfront_distribution.web,
    ] : length(each) == 0])
    error_message = "No authorizer, no account's logging role, no alarm mail, no budget and no page unless chosen."
  }

  # -- watch

  assert {
    condition     = alltrue([for each in [aws_cloudwatch_log_group.function, aws_cloudwatch_log_group.access] : each.retention_in_days == 30])
    error_message = "Logs are kept for 30 days."
  }

  assert {
    condition     = alltrue([for each in values(aws_cloudwatch_metric_alarm.each) : (each.statistic == null) != (each.extended_statistic == null) && each.treat_missing_data == "notBreaching" && length(each.alarm_actions) == 0])
    error_message = "An alarm has one statistic, is silent while nobody chats, and tells nobody unless asked."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.each["function-duration"].threshold == 895000
    error_message = "Near the timeout is past half of the guard before it."
  }

  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.chat.dashboard_body).widgets) == 14
    error_message = "The dashboard has a graph for each thing to look at."
  }

  # -- outputs

  assert {
    condition = (
      output.websocket_url == "wss://abcde12345.execute-api.us-east-1.amazonaws.com/live" && output.wscat_command == "make wscat DEPLOYED=1" &&
      output.function_name == "bedrock-stream-chat" && output.function_alias == "live" && output.table_name == "bedrock-stream-chat" &&
      output.api_id == "abcde12345" && output.stage == "live" && output.auth == "iam" && output.region == "us-east-1" && output.page_url == null &&
      strcontains(output.dashboard_url, "#dashboards/dashboard/bedrock-stream-chat")
    )
    error_message = "The outputs say where it is and how to talk to it."
  }
}

run "everything_chosen" {
  variables {
    name                 = "other"
    stage                = "beta"
    auth                 = "jwt"
    jwt_issuer           = "https://issuer.example.com/pool"
    jwt_audience         = ["web", "cli"]
    chat_integration     = "proxy"
    architecture         = "x86_64"
    timeout_seconds      = 120
    reserved_concurrency = 5
    snap_start           = true
    deletion_protection  = true
    temperature          = 0.5
    stop_sequences       = ["END"]
    allowed_origins      = ["https://chat.example.com"]
    guardrail_id         = "abc123"

    guardrail_profile_arns = ["arn:aws:bedrock:us-east-2:123456789012:guardrail-profile/us.guardrail.v1:0"]

    account_logging     = true
    alarm_email         = "me@example.com"
    monthly_budget_usd  = 50
    web_page            = true
    web_client_id       = "web"
    web_scope           = "openid email"
    web_token           = "access_token"
    web_connect_origins = ["https://login.example.com"]
    web_domain          = "chat.example.org"
    web_certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
  }

  assert {
    condition     = toset(keys(aws_apigatewayv2_integration.function)) == toset(["proxy"]) && aws_apigatewayv2_integration.function["proxy"].integration_type == "AWS_PROXY"
    error_message = "With chat_integration = \"proxy\" nothing is asynchronous."
  }

  assert {
    condition = {
      for key, route in aws_apigatewayv2_route.each : key => [route.authorization_type, route.authorizer_id] if route.authorization_type != "NONE" || route.authorizer_id != null
      } == {
      "$connect" = ["CUSTOM", aws_apigatewayv2_authorizer.jwt[0].id]
    }
    error_message = "With auth = \"jwt\" the authorizer stands before $connect, and nowhere else."
  }

  assert {
    condition     = aws_apigatewayv2_authorizer.jwt[0].authorizer_type == "REQUEST" && aws_apigatewayv2_authorizer.jwt[0].identity_sources == null && aws_apigatewayv2_authorizer.jwt[0].authorizer_uri == aws_lambda_function.authorizer[0].invoke_arn
    error_message = "The authorizer is asked whatever the token comes in."
  }

  assert {
    condition = (
      aws_lambda_function.authorizer[0].handler == "authorizer.lambda_handler" &&
      aws_lambda_function.authorizer[0].runtime == "python3.13" &&
      aws_lambda_function.authorizer[0].architectures == tolist(["x86_64"]) &&
      aws_lambda_function.authorizer[0].source_code_hash == filebase64sha256("event.json.vtl") &&
      aws_lambda_function.authorizer[0].environment[0].variables == tomap({ JWT_ISSUER = "https://issuer.example.com/pool", JWT_AUDIENCE = "[\"web\",\"cli\"]" }) &&
      aws_lambda_permission.authorizer[0].source_arn == "arn:aws:execute-api:us-east-1:123456789012:abcde12345/authorizers/auth12"
    )
    error_message = "The authorizer's function knows the issuer and the audiences, and only this API's authorizer may invoke it."
  }

  assert {
    condition     = [for each in data.aws_iam_policy_document.authorizer[0].statement : each.sid] == ["WriteLogs", "WriteTraces"]
    error_message = "The authorizer's role may write logs and traces, and nothing else."
  }

  assert {
    condition = (
      aws_lambda_function.chat.architectures == tolist(["x86_64"]) && aws_lambda_function.chat.timeout == 120 &&
      aws_lambda_function.chat.reserved_concurrent_executions == 5 && one(aws_lambda_function.chat.snap_start).apply_on == "PublishedVersions"
    )
    error_message = "The function is as chosen."
  }

  assert {
    condition = (
      aws_lambda_function.chat.environment[0].variables["TEMPERATURE"] == "0.5" && aws_lambda_function.chat.environment[0].variables["TOP_P"] == "" &&
      aws_lambda_function.chat.environment[0].variables["STOP_SEQUENCES"] == "[\"END\"]" &&
      aws_lambda_function.chat.environment[0].variables["ALLOWED_ORIGINS"] == "[\"https://chat.example.org\",\"https://chat.example.com\"]" &&
      aws_lambda_function.chat.environment[0].variables["SHOW_REASONING"] == "false" &&
      aws_lambda_function.chat.environment[0].variables["AUTH"] == "jwt" &&
      aws_lambda_function.chat.environment[0].variables["GUARDRAIL_ID"] == "abc123"
    )
    error_message = "The settings reach the function: lists as JSON, what is unset as empty."
  }

  assert {
    condition     = one([for each in data.aws_iam_policy_document.function.statement : each.resources if each.sid == "ApplyTheGuardrail"]) == toset(["arn:aws:bedrock:us-east-1:123456789012:guardrail/abc123", "arn:aws:bedrock:us-east-2:123456789012:guardrail-profile/us.guardrail.v1:0"])
    error_message = "With a guardrail, that one may be applied, and its profile where it has one."
  }

  assert {
    condition     = one([for each in data.aws_iam_policy_document.function.statement : each.resources if each.sid == "PostToConnections"]) == toset(["arn:aws:execute-api:us-east-1:123456789012:abcde12345/beta/POST/@connections/*"])
    error_message = "The stage in the policy is the stage."
  }

  assert {
    condition     = aws_dynamodb_table.conversations.deletion_protection_enabled
    error_message = "The table is protected where that is chosen."
  }

  assert {
    condition     = aws_api_gateway_account.logging[0].cloudwatch_role_arn == aws_iam_role.logging[0].arn && aws_api_gateway_account.logging[0].reset_on_delete
    error_message = "With account_logging API Gateway has a role to log by, and none once this is gone."
  }

  assert {
    condition     = alltrue([for each in values(aws_cloudwatch_metric_alarm.each) : each.alarm_actions == toset([aws_sns_topic.alarms[0].arn])]) && aws_sns_topic_subscription.email[0].endpoint == "me@example.com"
    error_message = "With alarm_email each alarm is mailed there."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.each["authorizer-errors"].dimensions == tomap({ FunctionName = "other-authorizer" })
    error_message = "The authorizer has an alarm of its own."
  }

  assert {
    condition     = aws_budgets_budget.monthly[0].limit_amount == "50" && alltrue([for each in aws_budgets_budget.monthly[0].notification : each.subscriber_email_addresses == toset(["me@example.com"])])
    error_message = "A budget tells alarm_email."
  }

  assert {
    condition = jsondecode(aws_s3_object.web_config[0].content) == {
      websocket_url = "wss://abcde12345.execute-api.us-east-1.amazonaws.com/live", auth = "jwt"
      issuer        = "https://issuer.example.com/pool", client_id = "web", scope = "openid email", token = "access_token"
    }
    error_message = "The page is told where people sign in."
  }

  assert {
    condition = strcontains(
      aws_cloudfront_response_headers_policy.web[0].security_headers_config[0].content_security_policy[0].content_security_policy,
      "connect-src 'self' wss://abcde12345.execute-api.us-east-1.amazonaws.com https://issuer.example.com https://login.example.com;"
    )
    error_message = "The page may connect to the API, to the issuer, and to what web_connect_origins names."
  }

  assert {
    condition = (
      output.page_url == "https://chat.example.org/" && aws_cloudfront_distribution.web[0].aliases == toset(["chat.example.org"]) &&
      aws_cloudfront_distribution.web[0].viewer_certificate[0].minimum_protocol_version == "TLSv1.2_2021" &&
      aws_cloudfront_distribution.web[0].viewer_certificate[0].ssl_support_method == "sni-only" &&
      !aws_cloudfront_distribution.web[0].viewer_certificate[0].cloudfront_default_certificate
    )
    error_message = "Under a name of its own the page has that certificate, and TLS 1.2 at least."
  }

  assert {
    condition     = strcontains(output.wscat_command, "-s chat.v1 -s \"bearer.$TOKEN\"")
    error_message = "The command bears the token as a subprotocol."
  }
}

run "a_page" {
  variables {
    web_page = true
  }

  assert {
    condition     = output.page_url == "https://d111111abcdef8.cloudfront.net/"
    error_message = "Without a name of its own the page is where CloudFront says."
  }

  assert {
    condition     = jsondecode(aws_lambda_function.chat.environment[0].variables["ALLOWED_ORIGINS"]) == ["https://d111111abcdef8.cloudfront.net"]
    error_message = "Browsers may connect from the page, and from nowhere else."
  }

  assert {
    condition = jsondecode(aws_s3_object.web_config[0].content) == {
      websocket_url = "wss://abcde12345.execute-api.us-east-1.amazonaws.com/live", auth = "iam"
      issuer        = null, client_id = null, scope = "openid", token = "id_token"
    }
    error_message = "The page is told where to connect, and how to come in."
  }

  assert {
    condition     = toset(keys(aws_s3_object.web)) == setsubtract(fileset("../web", "**"), ["headers.json"])
    error_message = "Every file of web/ is uploaded, but for what CloudFront is told: each is of a kind that is known."
  }

  assert {
    condition = (
      alltrue([for each in concat(values(aws_s3_object.web), aws_s3_object.web_config) : each.cache_control == "no-cache"]) &&
      aws_s3_object.web["index.html"].content_type == "text/html; charset=utf-8"
    )
    error_message = "Each file says what it is, and is asked for anew."
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.web[0].block_public_acls, aws_s3_bucket_public_access_block.web[0].block_public_policy,
      aws_s3_bucket_public_access_block.web[0].ignore_public_acls, aws_s3_bucket_public_access_block.web[0].restrict_public_buckets,
    ])
    error_message = "The bucket is nobody's but its owner's."
  }

  assert {
    condition = {
      for each in data.aws_iam_policy_document.web[0].statement : each.sid => [coalesce(each.effect, "Allow"), join(" ", each.actions), one(each.condition).variable, one(one(each.condition).values)]
      } == {
      ReadByTheDistribution = ["Allow", "s3:GetObject", "AWS:SourceArn", "arn:aws:cloudfront::123456789012:distribution/E1MOCK"]
      NothingWithoutTls     = ["Deny", "s3:*", "aws:SecureTransport", "false"]
    }
    error_message = "This distribution may read it, and nobody anything without TLS."
  }

  assert {
    condition = (
      aws_cloudfront_distribution.web[0].default_cache_behavior[0].viewer_protocol_policy == "redirect-to-https" &&
      aws_cloudfront_distribution.web[0].default_cache_behavior[0].compress && aws_cloudfront_distribution.web[0].http_version == "http2and3" &&
      aws_cloudfront_distribution.web[0].default_root_object == "index.html" &&
      one(aws_cloudfront_distribution.web[0].origin).origin_access_control_id == aws_cloudfront_origin_access_control.web[0].id &&
      aws_cloudfront_distribution.web[0].default_cache_behavior[0].response_headers_policy_id == aws_cloudfront_response_headers_policy.web[0].id &&
      aws_cloudfront_distribution.web[0].viewer_certificate[0].cloudfront_default_certificate && length(coalesce(aws_cloudfront_distribution.web[0].aliases, [])) == 0
    )
    error_message = "The page is served by TLS alone, compressed, with its headers, under CloudFront's own name."
  }

  assert {
    condition     = aws_cloudfront_origin_access_control.web[0].signing_behavior == "always" && aws_cloudfront_origin_access_control.web[0].origin_access_control_origin_type == "s3"
    error_message = "The distribution signs what it asks of the bucket."
  }
}

run "anybody" {
  command = plan

  variables {
    auth     = "none"
    model_id = "amazon.nova-lite-v1:0"
  }

  assert {
    condition     = [for each in data.aws_iam_policy_document.function.statement : each.resources if startswith(each.sid, "Call")] == [toset(["arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"])]
    error_message = "Where a model is called by itself, it is the only one."
  }

  assert {
    condition     = alltrue([for route in values(aws_apigatewayv2_route.each) : route.authorization_type == "NONE"]) && length(aws_apigatewayv2_authorizer.jwt) == 0
    error_message = "With auth = \"none\" anybody may connect."
  }
}

run "a_model_by_its_arn" {
  command = plan

  variables {
    model_id = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.each["first-token-slow"].dimensions == tomap({ Model = "us.amazon.nova-lite-v1:0" })
    error_message = "Metrics bear the model's name as clients are told it, without the account."
  }
}
