# Values that are refused by validation, before any request to AWS.

mock_provider "aws" {
  source = "./tests"
}

variables {
  lambda_zip     = "routes.json"
  authorizer_zip = "routes.json"
}

run "below_the_minimum" {
  command = plan

  variables {
    requests_per_day     = -1
    tokens_per_day       = -1
    max_output_tokens    = 0
    temperature          = -0.1
    top_p                = -0.1
    max_input_bytes      = 0
    history_tokens       = -1
    history_turns        = 0
    session_days         = 0
    retry_seconds        = -1
    stall_seconds        = 0
    deadline_seconds     = 0
    memory_size          = 128
    reserved_concurrency = 0
    throttle_rate        = 0
    throttle_burst       = 0
    monthly_budget_usd   = 0
    log_retention_days   = 0
  }

  expect_failures = [
    var.requests_per_day, var.tokens_per_day, var.max_output_tokens, var.temperature, var.top_p, var.max_input_bytes, var.history_tokens,
    var.history_turns, var.session_days, var.retry_seconds, var.stall_seconds, var.deadline_seconds, var.memory_size,
    var.reserved_concurrency, var.throttle_rate, var.throttle_burst, var.monthly_budget_usd, var.log_retention_days,
  ]
}

run "above_the_maximum" {
  command = plan

  variables {
    max_output_tokens = 64001
    temperature       = 1.1
    top_p             = 1.1
    max_input_bytes   = 131073
    history_tokens    = 1000001
    history_turns     = 201
    session_days      = 3651
    retry_seconds     = 301
    stall_seconds     = 901
    deadline_seconds  = 301
    memory_size       = 10241
    throttle_rate     = 10001
    throttle_burst    = 5001
    name              = "a-name-that-is-longer-than-thirty-six-c"
  }

  expect_failures = [
    var.max_output_tokens, var.temperature, var.top_p, var.max_input_bytes, var.history_tokens, var.history_turns, var.session_days,
    var.retry_seconds, var.stall_seconds, var.deadline_seconds, var.memory_size, var.throttle_rate, var.throttle_burst,
    var.name,
  ]
}

run "not_a_whole_number" {
  command = plan

  variables {
    requests_per_day  = 1.5
    tokens_per_day    = 1.5
    max_output_tokens = 1.5
    max_input_bytes   = 1.5
    history_tokens    = 1.5
    history_turns     = 1.5
    session_days      = 1.5
    timeout_seconds   = 100.5
    memory_size       = 1024.5
    throttle_burst    = 1.5
  }

  expect_failures = [
    var.requests_per_day, var.tokens_per_day, var.max_output_tokens, var.max_input_bytes, var.history_tokens, var.history_turns,
    var.session_days, var.timeout_seconds, var.memory_size, var.throttle_burst,
  ]
}

run "unknown_choice" {
  command = plan

  variables {
    auth                = "basic"
    on_disconnect       = "wait"
    service_tier        = "gold"
    performance_latency = "fast"
    chat_integration    = "queue"
    architecture        = "riscv"
    guardrail_version   = "0"
    model_id            = "arn:aws:s3:::bucket/key"
    log_retention_days  = 31
    timeout_seconds     = 901
    web_token           = "refresh_token"
    web_domain          = "chat.example.com"
    # CloudFront requires certificates in us-east-1.
    web_certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/01234567"
  }

  expect_failures = [
    var.auth, var.on_disconnect, var.service_tier, var.performance_latency, var.chat_integration, var.architecture,
    var.guardrail_version, var.model_id, var.log_retention_days, var.timeout_seconds, var.web_token, var.web_certificate_arn,
  ]
}

run "malformed" {
  command = plan

  variables {
    name            = "My_Chat"
    stage           = "a/b"
    allowed_origins = ["https://chat.example.com/"]
    stop_sequences  = [""]
    guardrail_id    = "arn:aws:bedrock:us-east-1:123456789012:guardrail/*"
    alarm_email     = "me"
    auth            = "jwt"
    jwt_issuer      = "http://issuer.example.com"
    jwt_audience    = [""]
    # A wildcard would allow every model.
    foundation_model_arns = ["arn:aws:bedrock:us-east-1::foundation-model/*"]
    web_scope             = "email"
    web_connect_origins   = ["https://*.example.com"]
    web_domain            = "https://chat.example.com"
  }

  expect_failures = [
    var.name, var.stage, var.allowed_origins, var.stop_sequences, var.guardrail_id, var.alarm_email,
    var.foundation_model_arns, var.jwt_issuer, var.jwt_audience, var.web_scope, var.web_connect_origins,
    var.web_domain,
  ]
}

run "missing_companion" {
  command = plan

  variables {
    auth               = "jwt"
    timeout_seconds    = 10
    deadline_seconds   = 10
    monthly_budget_usd = 50
    model_id           = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
    web_domain         = "chat.example.com"
  }

  expect_failures = [
    var.jwt_issuer, var.jwt_audience, var.timeout_seconds, var.monthly_budget_usd, var.foundation_model_arns,
    var.web_certificate_arn,
  ]
}

run "companion_alone" {
  command = plan

  variables {
    jwt_issuer            = "https://issuer.example.com"
    jwt_audience          = ["web"]
    model_id              = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abc123"
    foundation_model_arns = ["arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-8b-instruct-v1:0"]
  }

  expect_failures = [var.jwt_issuer, var.jwt_audience, var.foundation_model_arns]
}

run "web_page_without_client_id" {
  command = plan

  variables {
    auth         = "jwt"
    jwt_issuer   = "https://issuer.example.com"
    jwt_audience = ["web"]
    web_page     = true
    web_token    = "access_token"
  }

  expect_failures = [var.web_client_id]
}

run "web_page_with_another_audience" {
  command = plan

  variables {
    auth          = "jwt"
    jwt_issuer    = "https://issuer.example.com"
    jwt_audience  = ["api"]
    web_page      = true
    web_client_id = "web"
  }

  expect_failures = [var.web_client_id]
}

run "environment_too_large" {
  command = plan

  variables {
    # 1,024 characters of three bytes each
    system_prompt  = join("", [for index in range(1024) : "語"])
    model_id       = "amazon.nova-lite-v1:0"
    stop_sequences = [join("", [for index in range(512) : "ab"])]
  }

  expect_failures = [aws_lambda_function.chat]
}

run "snap_start_in_an_unsupported_region" {
  command = plan

  variables {
    snap_start = true
  }

  override_data {
    target = data.aws_region.current
    values = { name = "ap-east-2" }
  }

  expect_failures = [aws_lambda_function.chat]
}
