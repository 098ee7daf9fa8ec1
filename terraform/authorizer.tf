# Who may connect, where auth is jwt: a function of its own looks at the token of each $connect.
#
# It has no identity sources: the token may come as a subprotocol or in the query string, and with a
# source named, API Gateway would refuse whoever uses the other before asking.

locals {
  authorizer_name = "${var.name}-authorizer"
  authorizers     = var.auth == "jwt" ? 1 : 0
}

resource "aws_apigatewayv2_authorizer" "jwt" {
  count = local.authorizers

  name            = "jwt"
  api_id          = aws_apigatewayv2_api.chat.id
  authorizer_type = "REQUEST"
  authorizer_uri  = aws_lambda_function.authorizer[0].invoke_arn

  # $connect turns away from it before it goes.
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lambda_function" "authorizer" {
  #checkov:skip=CKV_AWS_115: reserved concurrency is refused where the account's limit is low
  #checkov:skip=CKV_AWS_116: API Gateway waits for its answer; nothing invokes it asynchronously
  #checkov:skip=CKV_AWS_117: it fetches the issuer's keys from the internet
  #checkov:skip=CKV_AWS_173: the environment holds the issuer's address and the audience, and no secret
  #checkov:skip=CKV_AWS_272: as the function
  count = local.authorizers

  function_name = local.authorizer_name
  description   = "Says whose token it is that connects"
  role          = aws_iam_role.authorizer[0].arn

  filename         = var.authorizer_zip
  source_code_hash = filebase64sha256(var.authorizer_zip)
  handler          = "authorizer.lambda_handler"
  runtime          = "python3.13"
  architectures    = [var.architecture]
  memory_size      = 512
  timeout          = 10

  environment {
    variables = {
      JWT_ISSUER   = var.jwt_issuer
      JWT_AUDIENCE = jsonencode(var.jwt_audience)
    }
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.authorizer[0].name
    log_format            = "JSON"
    application_log_level = "INFO"
    system_log_level      = "INFO"
  }

  tracing_config {
    mode = "Active"
  }

  depends_on = [aws_iam_role_policy.authorizer]
}

resource "aws_lambda_permission" "authorizer" {
  count = local.authorizers

  statement_id  = "authorizer"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.authorizer[0].function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.chat.execution_arn}/authorizers/${aws_apigatewayv2_authorizer.jwt[0].id}"
}
