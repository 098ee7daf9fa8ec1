# The user pool of auth = "cognito". That it is applied here, with mocked values, proves that the page, the
# pool, its client and the authorizer do not depend on each other in a circle.

mock_provider "aws" {
  source = "./tests"
}

variables {
  auth               = "cognito"
  package            = { s3 = { bucket = "packages", key = "lambda.zip" } }
  authorizer_package = { s3 = { bucket = "packages", key = "authorizer.zip" } }
}

run "with_a_page" {
  module {
    source = "./modules/chat"
  }

  variables {
    web                 = {}
    deletion_protection = true
  }

  # -- who may join

  assert {
    condition     = aws_cognito_user_pool.users[0].admin_create_user_config[0].allow_admin_create_user_only
    error_message = "Only an administrator can create users."
  }

  assert {
    condition = alltrue([
      for message in [
        aws_cognito_user_pool.users[0].admin_create_user_config[0].invite_message_template[0].email_message,
        aws_cognito_user_pool.users[0].admin_create_user_config[0].invite_message_template[0].sms_message,
      ] : strcontains(message, "{username}") && strcontains(message, "{####}")
    ])
    error_message = "Cognito sends no invitation without both placeholders."
  }

  assert {
    condition     = strcontains(aws_cognito_user_pool.users[0].admin_create_user_config[0].invite_message_template[0].email_message, "https://d111111abcdef8.cloudfront.net/")
    error_message = "The invitation names the page."
  }

  assert {
    condition = (
      aws_cognito_user_pool.users[0].username_attributes == toset(["email"]) && aws_cognito_user_pool.users[0].auto_verified_attributes == toset(["email"]) &&
      !aws_cognito_user_pool.users[0].username_configuration[0].case_sensitive
    )
    error_message = "A user's name is the email address, in any case."
  }

  assert {
    condition     = aws_cognito_user_pool.users[0].deletion_protection == "ACTIVE"
    error_message = "deletion_protection protects the users, too."
  }

  assert {
    condition = (
      aws_cognito_user_pool.users[0].password_policy[0].minimum_length == 12 && aws_cognito_user_pool.users[0].password_policy[0].temporary_password_validity_days == 7 &&
      aws_cognito_user_pool.users[0].mfa_configuration == "OFF" && length(aws_cognito_user_pool.users[0].software_token_mfa_configuration) == 0
    )
    error_message = "Passwords have at least 12 characters; no second factor is needed."
  }

  # -- the client

  assert {
    condition = (
      !aws_cognito_user_pool_client.chat[0].generate_secret && aws_cognito_user_pool_client.chat[0].allowed_oauth_flows_user_pool_client &&
      aws_cognito_user_pool_client.chat[0].allowed_oauth_flows == toset(["code"]) && aws_cognito_user_pool_client.chat[0].allowed_oauth_scopes == toset(["openid", "email"]) &&
      aws_cognito_user_pool_client.chat[0].prevent_user_existence_errors == "ENABLED" && aws_cognito_user_pool_client.chat[0].enable_token_revocation &&
      !contains(aws_cognito_user_pool_client.chat[0].explicit_auth_flows, "ALLOW_USER_PASSWORD_AUTH")
    )
    error_message = "The client is public, and has the authorization code flow only."
  }

  assert {
    condition = aws_cognito_user_pool_client.chat[0].callback_urls == toset([
      "https://d111111abcdef8.cloudfront.net/", "http://localhost:8976/", "http://localhost:8977/", "http://localhost:8978/",
    ]) && aws_cognito_user_pool_client.chat[0].logout_urls == toset(["https://d111111abcdef8.cloudfront.net/"])
    error_message = "Cognito redirects to the page and to the terminal client, and nowhere else."
  }

  # -- the authorizer

  assert {
    condition = (
      aws_apigatewayv2_route.this["$connect"].authorization_type == "CUSTOM" && aws_apigatewayv2_route.this["$connect"].authorizer_id == aws_apigatewayv2_authorizer.jwt[0].id &&
      aws_lambda_function.authorizer[0].environment[0].variables == tomap({
        JWT_ISSUER   = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Mock12345"
        JWT_AUDIENCE = "[\"1mockclient\"]"
      }) &&
      aws_lambda_function.chat.environment[0].variables["AUTH"] == "jwt"
    )
    error_message = "$connect accepts tokens of the pool for the client; the function sees a JWT's principal."
  }

  # -- the page

  assert {
    condition = { for name, value in jsondecode(aws_s3_object.web_config[0].content) : name => value if name != "websocket_url" } == {
      auth       = "jwt"
      issuer     = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Mock12345"
      client_id  = "1mockclient"
      scope      = "openid email"
      token      = "id_token"
      logout_url = "https://bedrock-stream-chat-daeb2672.auth.us-east-1.amazoncognito.com/logout?client_id=1mockclient&logout_uri=https%3A%2F%2Fd111111abcdef8.cloudfront.net%2F"
    }
    error_message = "The page signs users in at the pool."
  }

  assert {
    condition = strcontains(
      one(one(aws_cloudfront_response_headers_policy.web[0].security_headers_config).content_security_policy).content_security_policy,
      "connect-src 'self' wss://abcde12345.execute-api.us-east-1.amazonaws.com https://cognito-idp.us-east-1.amazonaws.com https://bedrock-stream-chat-daeb2672.auth.us-east-1.amazoncognito.com;"
    )
    error_message = "The page may connect to the issuer and to its token endpoint."
  }

  # -- outputs

  assert {
    condition = output.sign_in == {
      issuer    = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Mock12345"
      client_id = "1mockclient"
      scope     = "openid email"
      token     = "id_token"
      } && output.user_pool_id == "us-east-1_Mock12345" && output.auth == "cognito" && (
      output.sign_in_domain == "https://bedrock-stream-chat-daeb2672.auth.us-east-1.amazoncognito.com"
    )
    error_message = "The outputs say how to sign in, and where `make user` invites."
  }
}

run "without_a_page" {
  command = plan

  module {
    source = "./modules/chat"
  }

  variables {
    deletion_protection = false

    cognito = { self_sign_up = true, mfa = true, domain_prefix = "chat-of-ours" }
  }

  assert {
    condition     = aws_cognito_user_pool_client.chat[0].callback_urls == toset(["http://localhost:8976/", "http://localhost:8977/", "http://localhost:8978/"])
    error_message = "Without a page only the terminal client signs users in."
  }

  assert {
    condition = (
      !aws_cognito_user_pool.users[0].admin_create_user_config[0].allow_admin_create_user_only && aws_cognito_user_pool.users[0].mfa_configuration == "ON" &&
      aws_cognito_user_pool.users[0].software_token_mfa_configuration[0].enabled && aws_cognito_user_pool.users[0].deletion_protection == "INACTIVE" &&
      aws_cognito_user_pool_domain.users[0].domain == "chat-of-ours"
    )
    error_message = "Users may join by themselves, and need a second factor, if that is chosen."
  }
}

run "a_reserved_word_in_the_domain" {
  command = plan

  module {
    source = "./modules/chat"
  }

  variables {
    name = "aws-chat"
  }

  expect_failures = [aws_cognito_user_pool_domain.users]
}

run "a_pool_without_its_auth" {
  command = plan

  module {
    source = "./modules/chat"
  }

  variables {
    auth    = "iam"
    cognito = { mfa = true }
  }

  expect_failures = [var.cognito]
}

run "another_issuer_beside_the_pool" {
  command = plan

  module {
    source = "./modules/chat"
  }

  variables {
    jwt = { issuer = "https://issuer.example.com", audience = ["web"] }
  }

  expect_failures = [var.jwt]
}

run "another_client_beside_the_pool" {
  command = plan

  module {
    source = "./modules/chat"
  }

  variables {
    web = { client_id = "web" }
  }

  expect_failures = [var.web]
}
