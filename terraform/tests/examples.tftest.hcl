# Each example is planned as it is, and the root module passes everything on.

mock_provider "aws" {
  source          = "./tests"
  override_during = plan
}

mock_provider "aws" {
  alias           = "europe"
  source          = "./tests"
  override_during = plan
}

run "minimal" {
  command = plan

  module {
    source = "./examples/minimal"
  }

  assert {
    condition     = aws_iam_policy.connect.name == "chat-minimal-connect"
    error_message = "The example's own resources are planned, too."
  }
}

run "jwt" {
  command = plan

  module {
    source = "./examples/jwt"
  }

  assert {
    condition     = toset(keys(module.chat)) == toset(["blue", "green"]) && length(module.chat_europe) == 1
    error_message = "The module works with for_each, count, depends_on and an alias of the provider."
  }
}

run "cognito" {
  command = plan

  module {
    source = "./examples/cognito"
  }

  assert {
    condition     = strcontains(output.invite, "us-east-1_Mock12345")
    error_message = "The example invites into its pool."
  }
}

run "domain" {
  command = plan

  module {
    source = "./examples/domain"
  }

  override_data {
    target          = module.chat.data.aws_region.current
    values          = { id = "eu-central-1" } # where the certificate is
    override_during = plan
  }

  assert {
    condition     = output.urls == { page = "https://chat.example.com/", websocket = "wss://ws.example.com/" }
    error_message = "Both have names of their own."
  }
}

run "root" {
  command = plan

  variables {
    name                = "other"
    package             = { s3 = { bucket = "packages", key = "lambda.zip" } }
    web                 = {}
    alarms              = { email = "me@example.com" }
    deletion_protection = true
  }

  assert {
    condition = (
      output.function_name == "other" && output.page_url == "https://d111111abcdef8.cloudfront.net/" &&
      output.page_domain_name == "d111111abcdef8.cloudfront.net" && output.topic_arn == "arn:aws:sns:us-east-1:123456789012:mock"
    )
    error_message = "The root passes variables on to the module, and its outputs back."
  }
}

run "refused_by_the_root" {
  command = plan

  variables {
    region              = ""
    allowed_account_ids = ["1234"]
    package             = { s3 = { bucket = "packages", key = "lambda.zip" } }
  }

  expect_failures = [var.allowed_account_ids, var.region]
}
