# The Lambda authorizer of $connect, with auth = "cognito" and "jwt": it verifies the client's token.
#
# It has no identity sources, because the token is in the subprotocol or in the query string: API
# Gateway would reject a request that lacks a named source without invoking the authorizer.

locals {
  authorizer_name  = "${var.name}-authorizer"
  authorizer_count = contains(["cognito", "jwt"], var.auth) ? 1 : 0

  # An ID token of Cognito has the client as its audience; its access tokens name it in client_id, which
  # the authorizer accepts for it.
  jwt_issuer   = var.auth == "cognito" ? local.sign_in.issuer : try(var.jwt.issuer, null)
  jwt_audience = var.auth == "cognito" ? [local.sign_in.client_id] : try(var.jwt.audience, [])
}

resource "aws_apigatewayv2_authorizer" "jwt" {
  count = local.authorizer_count

  name            = "jwt"
  api_id          = aws_apigatewayv2_api.chat.id
  authorizer_type = "REQUEST"
  authorizer_uri  = aws_lambda_function.authorizer[0].invoke_arn
}

resource "aws_lambda_function" "authorizer" {
  #checkov:skip=CKV_AWS_115: AWS refuses reserved concurrency in accounts with a low limit
  #checkov:skip=CKV_AWS_116: API Gateway invokes it synchronously
  #checkov:skip=CKV_AWS_117: it fetches the issuer's keys over the internet
  #checkov:skip=CKV_AWS_173: the environment contains the issuer and the audience, and no secret
  #checkov:skip=CKV_AWS_272: as for the chat function
  count = local.authorizer_count

  function_name = local.authorizer_name
  description   = "Verifies the JWT of a connecting client"
  role          = aws_iam_role.authorizer[0].arn

  filename          = local.packages.authorizer.path
  s3_bucket         = local.packages.authorizer.bucket
  s3_key            = local.packages.authorizer.key
  s3_object_version = local.packages.authorizer.version
  source_code_hash  = local.packages.authorizer.hash

  handler       = "authorizer.lambda_handler"
  runtime       = "python3.13"
  architectures = [var.architecture]
  memory_size   = 512
  timeout       = 10

  environment {
    variables = {
      JWT_ISSUER   = local.jwt_issuer
      JWT_AUDIENCE = jsonencode(local.jwt_audience)
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

  tags = local.tags

  lifecycle {
    precondition {
      condition     = local.packages.authorizer.is_zip
      error_message = local.packages.authorizer.problem
    }
  }

  depends_on = [aws_iam_role_policy.authorizer]
}

resource "aws_lambda_permission" "authorizer" {
  count = local.authorizer_count

  statement_id  = "authorizer"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.authorizer[0].function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.chat.execution_arn}/authorizers/${aws_apigatewayv2_authorizer.jwt[0].id}"

  # Deleting a function deletes its permissions.
  lifecycle {
    replace_triggered_by = [aws_lambda_function.authorizer[0].arn]
  }
}
