# What is created with the defaults, and with each option. AWS is mocked, so the values that AWS would
# reject are checked here.

mock_provider "aws" {
  source = "./tests"
}

variables {
  package            = { s3 = { bucket = "packages", key = "lambda.zip", version = "v1", hash = "LambdaLambdaLambdaLambdaLambdaLambdaLambdaL=" } }
  authorizer_package = { s3 = { bucket = "packages", key = "authorizer.zip", hash = "AuthorAuthorAuthorAuthorAuthorAuthorAuthorA=" } }
}

run "defaults" {
  module {
    source = "./modules/chat"
  }

  # -- routes

  assert {
    condition = { for key, route in aws_apigatewayv2_route.this : key => route.target } == {
      for key, row in jsondecode(file("modules/chat/routes.json")).routes : key => join("/", ["integrations", (
        row.integration == "mock" ? aws_apigatewayv2_integration.mock[key].id : aws_apigatewayv2_integration.function[row.integration].id
      )])
    }
    error_message = "The API has the routes of routes.json, each with its integration, and no others."
  }

  assert {
    condition = { for key, route in aws_apigatewayv2_route.this : key => route.authorization_type if route.authorization_type != "NONE" } == {
      "$connect" = "AWS_IAM"
    }
    error_message = "$connect is authorized by IAM; API Gateway supports authorization on no other route."
  }

  # -- integrations

  assert {
    condition     = alltrue([for each in concat(values(aws_apigatewayv2_integration.function), values(aws_apigatewayv2_integration.mock)) : each.timeout_milliseconds <= 29000])
    error_message = "The maximum timeout of an integration is 29 s."
  }

  assert {
    condition = (
      aws_apigatewayv2_integration.function["async"].integration_type == "AWS" &&
      aws_apigatewayv2_integration.function["async"].integration_method == "POST" &&
      aws_apigatewayv2_integration.function["async"].request_parameters == tomap({ "integration.request.header.X-Amz-Invocation-Type" = "'Event'" })
    )
    error_message = "An asynchronous integration sets the invocation type in a static header, which is quoted."
  }

  assert {
    condition = (
      aws_apigatewayv2_integration.function["async"].template_selection_expression == "\\$default" &&
      aws_apigatewayv2_integration.function["async"].request_templates == tomap({ "$default" = file("modules/chat/event.json.vtl") })
    )
    error_message = "The event is built by event.json.vtl, which an escaped $default selects."
  }

  assert {
    condition = (
      aws_apigatewayv2_integration.function["proxy"].integration_type == "AWS_PROXY" &&
      aws_apigatewayv2_integration.function["proxy"].request_templates == null
    )
    error_message = "A proxy integration has no template."
  }

  assert {
    condition = (
      aws_apigatewayv2_integration_response.async.integration_id == aws_apigatewayv2_integration.function["async"].id &&
      aws_apigatewayv2_integration_response.async.integration_response_key == "$default"
    )
    error_message = "An integration that is no proxy has an integration response for everything."
  }

  assert {
    condition     = alltrue([for each in values(aws_apigatewayv2_integration.function) : each.integration_uri == aws_lambda_alias.live.invoke_arn])
    error_message = "The API invokes the alias."
  }

  assert {
    condition = alltrue([
      for key, row in jsondecode(file("modules/chat/routes.json")).routes : (
        aws_apigatewayv2_integration.mock[key].integration_type == "MOCK" &&
        aws_apigatewayv2_integration.mock[key].template_selection_expression == "\\$default" &&
        jsondecode(aws_apigatewayv2_integration.mock[key].request_templates["$default"]) == { statusCode = 200 } &&
        aws_apigatewayv2_integration_response.mock[key].integration_id == aws_apigatewayv2_integration.mock[key].id &&
        aws_apigatewayv2_integration_response.mock[key].template_selection_expression == "\\$default" &&
        aws_apigatewayv2_integration_response.mock[key].response_templates["$default"] == row.response &&
        aws_apigatewayv2_route_response.mock[key].route_id == aws_apigatewayv2_route.this[key].id &&
        aws_apigatewayv2_route.this[key].route_response_selection_expression == "$default"
      ) if row.integration == "mock"
    ])
    error_message = "A mock integration's response reaches the client."
  }

  # -- stage

  assert {
    condition = (
      aws_apigatewayv2_stage.live.auto_deploy &&
      { for each in aws_apigatewayv2_stage.live.route_settings : each.route_key => [each.throttling_rate_limit, each.throttling_burst_limit] } == {
        for key in keys(jsondecode(file("modules/chat/routes.json")).routes) : key => [50, 100] if key != "$disconnect"
      }
    )
    error_message = "Changes are deployed automatically, and each route that clients use is throttled."
  }

  assert {
    condition     = aws_apigatewayv2_stage.live.default_route_settings[0].throttling_rate_limit == 2500 && aws_apigatewayv2_stage.live.default_route_settings[0].throttling_burst_limit == 1250
    error_message = "The function's posts are not throttled with the clients' messages."
  }

  assert {
    condition = alltrue([
      for each in concat(aws_apigatewayv2_stage.live.default_route_settings, tolist(aws_apigatewayv2_stage.live.route_settings)) :
      !each.data_trace_enabled && each.logging_level == "OFF"
    ])
    error_message = "API Gateway logs no messages."
  }

  assert {
    condition = alltrue([
      for value in values(jsondecode(aws_apigatewayv2_stage.live.access_log_settings[0].format)) :
      can(regex("^\\$context\\.[A-Za-z.]+$", value)) && !can(regex("(?i)body|query|path|url|header|userAgent", value))
    ])
    error_message = "The access log is JSON, without bodies, query strings and other values that may contain a token."
  }

  # -- function

  assert {
    condition = (
      aws_lambda_function.chat.runtime == "python3.13" &&
      aws_lambda_function.chat.handler == "handler.lambda_handler" &&
      aws_lambda_function.chat.architectures == tolist(["arm64"]) &&
      aws_lambda_function.chat.filename == null &&
      aws_lambda_function.chat.s3_bucket == "packages" &&
      aws_lambda_function.chat.s3_key == "lambda.zip" &&
      aws_lambda_function.chat.s3_object_version == "v1" &&
      aws_lambda_function.chat.source_code_hash == "LambdaLambdaLambdaLambdaLambdaLambdaLambdaL=" &&
      aws_lambda_function.chat.publish &&
      aws_lambda_alias.live.function_version == aws_lambda_function.chat.version &&
      aws_lambda_invocation.trial[0].qualifier == aws_lambda_function.chat.version
    )
    error_message = "The function is Python 3.13 on arm64, and its alias names the published version."
  }

  assert {
    condition     = aws_lambda_function.chat.timeout == 900 && aws_lambda_function.chat.reserved_concurrent_executions == -1 && length(aws_lambda_function.chat.snap_start) == 0
    error_message = "The timeout is Lambda's maximum; no concurrency is reserved, and SnapStart is off."
  }

  assert {
    condition     = aws_lambda_function.chat.logging_config[0].log_format == "JSON" && aws_lambda_function.chat.logging_config[0].log_group == "/aws/lambda/bedrock-stream-chat" && aws_lambda_function.chat.tracing_config[0].mode == "Active"
    error_message = "It writes JSON to its own log group, and is traced."
  }

  assert {
    condition = (
      aws_lambda_function_event_invoke_config.live.qualifier == "live" &&
      aws_lambda_function_event_invoke_config.live.maximum_retry_attempts == 0 &&
      aws_lambda_function_event_invoke_config.live.maximum_event_age_in_seconds == 60 &&
      aws_lambda_function_event_invoke_config.live.destination_config[0].on_failure[0].destination == aws_sqs_queue.dead_letters.arn
    )
    error_message = "An event is handled once, within a minute; if that fails, it goes to the dead-letter queue."
  }

  assert {
    condition     = aws_sqs_queue.dead_letters.sqs_managed_sse_enabled && aws_sqs_queue.dead_letters.message_retention_seconds == 1209600
    error_message = "Dead letters are encrypted and retained for 14 days."
  }

  assert {
    condition = {
      for key, permission in aws_lambda_permission.routes : key => permission.source_arn if permission.qualifier == "live" && permission.principal == "apigateway.amazonaws.com"
      } == {
      for key, row in jsondecode(file("modules/chat/routes.json")).routes :
      key => "arn:aws:execute-api:us-east-1:123456789012:abcde12345/live/${key}" if row.integration != "mock"
    }
    error_message = "Each route that invokes the function may invoke its alias, for this API and stage; no other may."
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
      aws_dynamodb_table.conversations.deletion_protection_enabled
    )
    error_message = "The table has the keys and time to live that src/store/table.py uses; it is on demand, encrypted, restorable and protected."
  }

  # -- roles

  assert {
    condition = {
      for each in data.aws_iam_policy_document.function.statement : each.sid => each.resources
      } == {
      ReadAndWriteConversations = toset([aws_dynamodb_table.conversations.arn])
      PostToConnections         = toset(["arn:aws:execute-api:us-east-1:123456789012:abcde12345/live/POST/@connections/*"])
      InvokeInferenceProfile    = toset(["arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-sonnet-4-6"])
      InvokeModelsThroughProfile = toset([
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-6",
        "arn:aws:bedrock:::foundation-model/anthropic.claude-sonnet-4-6",
      ])
      SendDeadLetters = toset(["arn:aws:sqs:us-east-1:123456789012:${aws_sqs_queue.dead_letters.name}"])
      WriteLogs       = toset(["${aws_cloudwatch_log_group.function.arn}:log-stream:*"])
      WriteTraces     = toset(["*"])
    }
    error_message = "The role is limited to its own table, connections, model, queue and logs; only X-Ray has no resource."
  }

  assert {
    condition = {
      for each in data.aws_iam_policy_document.function.statement : each.sid => join(" ", sort(each.actions))
      } == {
      ReadAndWriteConversations  = "dynamodb:BatchWriteItem dynamodb:GetItem dynamodb:PutItem dynamodb:Query dynamodb:UpdateItem"
      PostToConnections          = "execute-api:ManageConnections"
      InvokeInferenceProfile     = "bedrock:InvokeModelWithResponseStream"
      InvokeModelsThroughProfile = "bedrock:InvokeModelWithResponseStream"
      SendDeadLetters            = "sqs:SendMessage"
      WriteLogs                  = "logs:CreateLogStream logs:PutLogEvents"
      WriteTraces                = "xray:PutTelemetryRecords xray:PutTraceSegments"
    }
    error_message = "The role has only the actions that the function uses."
  }

  assert {
    condition = one([for each in data.aws_iam_policy_document.function.statement : each.condition if each.sid == "InvokeModelsThroughProfile"]) == toset([{
      test     = "StringEquals"
      variable = "bedrock:InferenceProfileArn"
      values   = tolist(["arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-sonnet-4-6"])
    }])
    error_message = "The foundation models may be invoked only through the inference profile."
  }

  # -- optional resources

  assert {
    condition = alltrue([for each in [
      aws_apigatewayv2_authorizer.jwt, aws_lambda_function.authorizer, aws_lambda_permission.authorizer, aws_iam_role.authorizer, aws_cloudwatch_log_group.authorizer,
      aws_api_gateway_account.logging, aws_iam_role.logging, aws_sns_topic.alarms, aws_sns_topic_subscription.email, aws_budgets_budget.monthly,
      aws_s3_bucket.web, aws_s3_object.web, aws_s3_object.web_config, aws_cloudfront_distribution.web, aws_s3_bucket.prompt, aws_s3_object.prompt,
    ] : length(each) == 0])
    error_message = "Authorizer, logging role, alarm email, budget, web page and an object for the prompt are not created by default."
  }

  # -- monitoring

  assert {
    condition     = alltrue([for each in [aws_cloudwatch_log_group.function, aws_cloudwatch_log_group.access] : each.retention_in_days == 30])
    error_message = "Logs are retained for 30 days."
  }

  assert {
    condition = alltrue([
      for each in values(aws_cloudwatch_metric_alarm.this) :
      (each.metric_name == null) == (length([for query in each.metric_query : query if query.return_data == true]) == 1) && each.treat_missing_data == "notBreaching" && length(each.alarm_actions) == 0
    ])
    error_message = "An alarm watches one metric or one expression, is off without traffic, and has no action by default."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["function-duration"].threshold == 895000
    error_message = "The threshold of function-duration is half of deadline_seconds before the timeout."
  }

  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.chat.dashboard_body).widgets) == 14
    error_message = "The dashboard has 14 graphs."
  }

  # -- outputs

  assert {
    condition = (
      output.websocket_url == "wss://abcde12345.execute-api.us-east-1.amazonaws.com/live" && output.wscat_command == "make wscat DEPLOYED=1" &&
      output.function_name == "bedrock-stream-chat" && output.function_alias == "live" && output.table_name == "bedrock-stream-chat" &&
      output.api_id == "abcde12345" && output.connect_arn == "arn:aws:execute-api:us-east-1:123456789012:abcde12345/live/$connect" && output.stage == "live" && output.auth == "iam" && output.region == "us-east-1" && output.page_url == null &&
      strcontains(output.dashboard_url, "#dashboards/dashboard/bedrock-stream-chat-us-east-1")
    )
    error_message = "The outputs describe the deployment and how to connect."
  }
}

run "all_options" {
  module {
    source = "./modules/chat"
  }

  variables {
    name                 = "other"
    stage                = "beta"
    auth                 = "jwt"
    jwt                  = { issuer = "https://issuer.example.com/pool", audience = ["web", "cli"] }
    chat_integration     = "proxy"
    architecture         = "x86_64"
    timeout_seconds      = 120
    reserved_concurrency = 5
    snap_start           = true
    deletion_protection  = false
    temperature          = 0.5
    stop_sequences       = ["END"]
    allowed_origins      = ["https://chat.example.com"]
    guardrail_id         = "abc123"

    guardrail_profile_arns = ["arn:aws:bedrock:us-east-2:123456789012:guardrail-profile/us.guardrail.v1:0"]

    account_logging = true
    alarms          = { email = "me@example.com", monthly_budget_usd = 50 }
    web = {
      client_id       = "web"
      scope           = "openid email"
      token           = "access_token"
      connect_origins = ["https://login.example.com"]
      domain = {
        name            = "chat.example.org"
        certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
      }
    }
  }

  assert {
    condition     = !contains([for route in values(aws_apigatewayv2_route.this) : route.target], "integrations/${aws_apigatewayv2_integration.function["async"].id}")
    error_message = "With chat_integration = \"proxy\" no route is asynchronous."
  }

  assert {
    condition = {
      for key, route in aws_apigatewayv2_route.this : key => [route.authorization_type, route.authorizer_id] if route.authorization_type != "NONE" || route.authorizer_id != null
      } == {
      "$connect" = ["CUSTOM", aws_apigatewayv2_authorizer.jwt[0].id]
    }
    error_message = "With auth = \"jwt\" the authorizer is attached to $connect alone."
  }

  assert {
    condition     = aws_apigatewayv2_authorizer.jwt[0].authorizer_type == "REQUEST" && aws_apigatewayv2_authorizer.jwt[0].identity_sources == null && aws_apigatewayv2_authorizer.jwt[0].authorizer_uri == aws_lambda_function.authorizer[0].invoke_arn
    error_message = "The authorizer has no identity sources, so it is invoked for each way of sending a token."
  }

  assert {
    condition = (
      aws_lambda_function.authorizer[0].handler == "authorizer.lambda_handler" &&
      aws_lambda_function.authorizer[0].runtime == "python3.13" &&
      aws_lambda_function.authorizer[0].architectures == tolist(["x86_64"]) &&
      aws_lambda_function.authorizer[0].s3_key == "authorizer.zip" &&
      aws_lambda_function.authorizer[0].source_code_hash == "AuthorAuthorAuthorAuthorAuthorAuthorAuthorA=" &&
      aws_lambda_function.authorizer[0].environment[0].variables == tomap({ JWT_ISSUER = "https://issuer.example.com/pool", JWT_AUDIENCE = "[\"web\",\"cli\"]" }) &&
      aws_lambda_permission.authorizer[0].source_arn == "arn:aws:execute-api:us-east-1:123456789012:abcde12345/authorizers/auth12"
    )
    error_message = "The authorizer's function has the issuer and the audiences, and only this API's authorizer may invoke it."
  }

  assert {
    condition     = [for each in data.aws_iam_policy_document.authorizer[0].statement : each.sid] == ["WriteLogs", "WriteTraces"]
    error_message = "The authorizer's role may only write logs and traces."
  }

  assert {
    condition = (
      aws_lambda_function.chat.architectures == tolist(["x86_64"]) && aws_lambda_function.chat.timeout == 120 &&
      aws_lambda_function.chat.reserved_concurrent_executions == 5 && one(aws_lambda_function.chat.snap_start).apply_on == "PublishedVersions"
    )
    error_message = "The function has the chosen architecture, timeout, concurrency and SnapStart."
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
    error_message = "The settings reach the function: lists as JSON, unset ones as empty strings."
  }

  assert {
    condition     = one([for each in data.aws_iam_policy_document.function.statement : each.resources if each.sid == "ApplyGuardrail"]) == toset(["arn:aws:bedrock:us-east-1:123456789012:guardrail/abc123", "arn:aws:bedrock:us-east-2:123456789012:guardrail-profile/us.guardrail.v1:0"])
    error_message = "The role may apply the guardrail, and use its guardrail profile."
  }

  assert {
    condition     = one([for each in data.aws_iam_policy_document.function.statement : each.resources if each.sid == "PostToConnections"]) == toset(["arn:aws:execute-api:us-east-1:123456789012:abcde12345/beta/POST/@connections/*"])
    error_message = "The policy names the stage."
  }

  assert {
    condition     = !aws_dynamodb_table.conversations.deletion_protection_enabled
    error_message = "Without deletion_protection the table can be deleted."
  }

  assert {
    condition     = aws_api_gateway_account.logging[0].cloudwatch_role_arn == aws_iam_role.logging[0].arn
    error_message = "account_logging sets API Gateway's logging role."
  }

  assert {
    condition     = alltrue([for each in values(aws_cloudwatch_metric_alarm.this) : each.alarm_actions == toset([aws_sns_topic.alarms[0].arn])]) && aws_sns_topic_subscription.email[0].endpoint == "me@example.com"
    error_message = "Each alarm is sent to alarms.email."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["authorizer-errors"].dimensions == tomap({ FunctionName = "other-authorizer" })
    error_message = "The authorizer has an alarm of its own."
  }

  assert {
    condition     = aws_budgets_budget.monthly[0].limit_amount == "50" && alltrue([for each in aws_budgets_budget.monthly[0].notification : each.subscriber_email_addresses == toset(["me@example.com"])])
    error_message = "The budget notifies alarms.email."
  }

  assert {
    condition = jsondecode(aws_s3_object.web_config[0].content) == {
      websocket_url = "wss://abcde12345.execute-api.us-east-1.amazonaws.com/live", auth = "jwt"
      issuer        = "https://issuer.example.com/pool", client_id = "web", scope = "openid email", token = "access_token", logout_url = null
    }
    error_message = "The web page's configuration has the issuer and the client."
  }

  assert {
    condition = strcontains(
      aws_cloudfront_response_headers_policy.web[0].security_headers_config[0].content_security_policy[0].content_security_policy,
      "connect-src 'self' wss://abcde12345.execute-api.us-east-1.amazonaws.com https://issuer.example.com https://login.example.com;"
    )
    error_message = "The page may connect to the API, the issuer, and web.connect_origins."
  }

  assert {
    condition = (
      output.page_url == "https://chat.example.org/" && aws_cloudfront_distribution.web[0].aliases == toset(["chat.example.org"]) &&
      aws_cloudfront_distribution.web[0].viewer_certificate[0].minimum_protocol_version == "TLSv1.2_2021" &&
      aws_cloudfront_distribution.web[0].viewer_certificate[0].ssl_support_method == "sni-only" &&
      !aws_cloudfront_distribution.web[0].viewer_certificate[0].cloudfront_default_certificate
    )
    error_message = "With web.domain the page has that certificate, and at least TLS 1.2."
  }

  assert {
    condition     = strcontains(output.wscat_command, "-s chat.v1 -s \"bearer.$TOKEN\"")
    error_message = "The wscat command sends the token as a subprotocol."
  }
}

run "web_page" {
  command = plan

  module {
    source = "./modules/chat"
  }

  variables {
    web = {}
  }

  assert {
    condition     = output.page_url == "https://d111111abcdef8.cloudfront.net/"
    error_message = "Without web.domain the page has CloudFront's domain name."
  }

  assert {
    condition     = jsondecode(aws_lambda_function.chat.environment[0].variables["ALLOWED_ORIGINS"]) == ["https://d111111abcdef8.cloudfront.net"]
    error_message = "Browsers may connect from the page alone."
  }

  assert {
    condition = jsondecode(aws_s3_object.web_config[0].content) == {
      websocket_url = "wss://abcde12345.execute-api.us-east-1.amazonaws.com/live", auth = "iam"
      issuer        = null, client_id = null, scope = null, token = null, logout_url = null
    }
    error_message = "The web page's configuration has the WebSocket URL and the kind of authentication."
  }

  assert {
    condition     = toset(keys(aws_s3_object.web)) == setsubtract(fileset("../web", "**"), ["headers.json"])
    error_message = "Every file of web/ is uploaded, except headers.json: each has a known content type."
  }

  assert {
    condition = (
      alltrue([for each in concat(values(aws_s3_object.web), aws_s3_object.web_config) : each.cache_control == "no-cache"]) &&
      aws_s3_object.web["index.html"].content_type == "text/html; charset=utf-8"
    )
    error_message = "Each file has a content type and is revalidated."
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this["web"].block_public_acls, aws_s3_bucket_public_access_block.this["web"].block_public_policy,
      aws_s3_bucket_public_access_block.this["web"].ignore_public_acls, aws_s3_bucket_public_access_block.this["web"].restrict_public_buckets,
    ])
    error_message = "The bucket has no public access."
  }

  assert {
    condition = {
      for each in data.aws_iam_policy_document.bucket["web"].statement : each.sid => [coalesce(each.effect, "Allow"), join(" ", each.actions), one(each.condition).variable, one(one(each.condition).values)]
      } == {
      ReadByDistribution = ["Allow", "s3:GetObject", "AWS:SourceArn", "arn:aws:cloudfront::123456789012:distribution/E1MOCK"]
      DenyWithoutTls     = ["Deny", "s3:*", "aws:SecureTransport", "false"]
    }
    error_message = "The distribution may read the bucket; requests without TLS are denied."
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
    error_message = "The page is served over TLS only, compressed, with its headers, under CloudFront's domain name."
  }

  assert {
    condition     = aws_cloudfront_origin_access_control.web[0].signing_behavior == "always" && aws_cloudfront_origin_access_control.web[0].origin_access_control_origin_type == "s3"
    error_message = "The distribution signs its requests to the bucket."
  }
}

run "domain" {
  module {
    source = "./modules/chat"
  }

  variables {
    domain = { name = "ws.example.com", certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/01234567", zone_id = "Z1" }
    web    = { domain = { name = "chat.example.com", certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/01234567", zone_id = "Z2" } }
  }

  assert {
    condition = (
      one(aws_apigatewayv2_domain_name.chat[0].domain_name_configuration).endpoint_type == "REGIONAL" &&
      one(aws_apigatewayv2_domain_name.chat[0].domain_name_configuration).security_policy == "TLS_1_2" &&
      aws_apigatewayv2_api_mapping.chat[0].stage == aws_apigatewayv2_stage.live.id && aws_apigatewayv2_api_mapping.chat[0].api_mapping_key == null &&
      aws_apigatewayv2_api_mapping.chat[0].domain_name == aws_apigatewayv2_domain_name.chat[0].id
    )
    error_message = "The domain is mapped to the stage, without a path, with TLS 1.2 at least."
  }

  assert {
    condition = (
      [aws_route53_record.chat[0].zone_id, aws_route53_record.chat[0].name, aws_route53_record.chat[0].type] == ["Z1", "ws.example.com", "A"] &&
      { for type, each in aws_route53_record.web : type => [each.zone_id, each.name, one(each.alias).name] } == {
        for type in ["A", "AAAA"] : type => ["Z2", "chat.example.com", "d111111abcdef8.cloudfront.net"]
      }
    )
    error_message = "Records in the hosted zones point to API Gateway and CloudFront."
  }

  assert {
    condition = (
      output.websocket_url == "wss://ws.example.com/" && jsondecode(aws_s3_object.web_config[0].content).websocket_url == "wss://ws.example.com/" &&
      strcontains(
        aws_cloudfront_response_headers_policy.web[0].security_headers_config[0].content_security_policy[0].content_security_policy,
        "connect-src 'self' wss://ws.example.com;"
      )
    )
    error_message = "Clients and the page use the domain."
  }

  assert {
    condition = (
      !aws_apigatewayv2_api.chat.disable_execute_api_endpoint &&
      aws_lambda_function.chat.environment[0].variables["CALLBACK_URL"] == "https://abcde12345.execute-api.us-east-1.amazonaws.com/live"
    )
    error_message = "The function posts to the API's default endpoint, while there is one."
  }
}

run "domain_alone" {
  module {
    source = "./modules/chat"
  }

  variables {
    domain = { name = "ws.example.com", certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/01234567", disable_execute_api_endpoint = true }
  }

  assert {
    condition = (
      aws_apigatewayv2_api.chat.disable_execute_api_endpoint && aws_lambda_function.chat.environment[0].variables["CALLBACK_URL"] == "https://ws.example.com" &&
      output.callback_url == "https://ws.example.com"
    )
    error_message = "Without the default endpoint the function posts to the domain."
  }

  assert {
    condition     = length(aws_route53_record.chat) == 0 && length(aws_route53_record.web) == 0 && output.domain_target != null
    error_message = "Without a hosted zone no record is created, and the outputs have what it points to."
  }
}

run "no_authentication" {
  command = plan

  module {
    source = "./modules/chat"
  }

  variables {
    auth     = "none"
    model_id = "amazon.nova-lite-v1:0"
  }

  assert {
    condition     = [for each in data.aws_iam_policy_document.function.statement : each.resources if startswith(each.sid, "Invoke")] == [toset(["arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"])]
    error_message = "A model that is not an inference profile is the only resource."
  }

  assert {
    condition     = alltrue([for route in values(aws_apigatewayv2_route.this) : route.authorization_type == "NONE"]) && length(aws_apigatewayv2_authorizer.jwt) == 0
    error_message = "With auth = \"none\" no route is authorized."
  }
}

run "model_by_arn" {
  command = plan

  module {
    source = "./modules/chat"
  }

  variables {
    model_id = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["failures-internal"].dimensions == tomap({ Model = "us.amazon.nova-lite-v1:0", Code = "internal" })
    error_message = "The metrics' Model is the ARN's last part, without the account."
  }
}

run "snap_start_in_an_unsupported_region" {
  command = plan

  module {
    source = "./modules/chat"
  }

  variables {
    snap_start = true
  }

  override_data {
    target = data.aws_region.current
    values = { id = "ap-east-2" }
  }

  expect_failures = [aws_lambda_function.chat]
}
