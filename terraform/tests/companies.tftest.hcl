# What an organization requires of a deployment: keys, roles, topics and ceilings of its own, a long system
# prompt, and a function that is stopped.

mock_provider "aws" {
  source = "./tests"
}

variables {
  package     = { s3 = { bucket = "packages", key = "lambda.zip" } }
  kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
}

run "for_a_company" {
  module {
    source = "./modules/chat"
  }

  variables {
    auth                 = "jwt"
    jwt                  = { issuer = "https://issuer.example.com", audience = ["web"] }
    account_logging      = true
    authorizer_package   = { s3 = { bucket = "packages", key = "authorizer.zip" } }
    reserved_concurrency = 0
    on_demand_throughput = { max_read_request_units = 500, max_write_request_units = 1000 }
    # 65,536 bytes, in 21,846 characters
    system_prompt = join("", [replace(format("%021845d", 0), "0", "語"), "."])

    iam = {
      permissions_boundary = "arn:aws:iam::123456789012:policy/boundary"
      path                 = "/applications/chat/"
    }
    alarms = {
      email      = "me@example.com"
      topic_arns = ["arn:aws:sns:us-east-1:123456789012:on-call"]
    }
    web = {
      client_id   = "web"
      web_acl_arn = "arn:aws:wafv2:us-east-1:123456789012:global/webacl/page/01234567-89ab-cdef-0123-456789abcdef"
    }
  }

  # -- roles

  assert {
    condition = alltrue([
      for each in concat([aws_iam_role.function], aws_iam_role.authorizer, aws_iam_role.logging) :
      each.permissions_boundary == "arn:aws:iam::123456789012:policy/boundary" && each.path == "/applications/chat/"
    ])
    error_message = "Each role has the permissions boundary and the path."
  }

  # -- the key

  assert {
    condition = alltrue([
      for key in concat(
        [for each in concat([aws_cloudwatch_log_group.function, aws_cloudwatch_log_group.access], aws_cloudwatch_log_group.authorizer) : each.kms_key_id],
        [for each in values(aws_s3_bucket_server_side_encryption_configuration.this) : one(one(each.rule).apply_server_side_encryption_by_default).kms_master_key_id],
        [one(aws_dynamodb_table.conversations.server_side_encryption).kms_key_arn, aws_sqs_queue.dead_letters.kms_master_key_id],
      ) : key == var.kms_key_arn
    ])
    error_message = "The key encrypts the table, each log group, the queue and both buckets."
  }

  assert {
    condition = (
      aws_sqs_queue.dead_letters.sqs_managed_sse_enabled != true &&
      alltrue([for each in values(aws_s3_bucket_server_side_encryption_configuration.this) : one(one(each.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms" && one(each.rule).bucket_key_enabled])
    )
    error_message = "SQS takes one kind of encryption, and S3 has a bucket key."
  }

  assert {
    condition = {
      for each in data.aws_iam_policy_document.function.statement : each.sid => [join(" ", sort(each.actions)), one(each.resources), one(each.condition).variable, one(one(each.condition).values)] if startswith(each.sid, "UseKey")
      } == {
      UseKeyForConversations = ["kms:Decrypt kms:DescribeKey kms:Encrypt kms:GenerateDataKey kms:ReEncryptFrom kms:ReEncryptTo", var.kms_key_arn, "kms:ViaService", "dynamodb.us-east-1.amazonaws.com"]
      UseKeyForDeadLetters   = ["kms:Decrypt kms:GenerateDataKey", var.kms_key_arn, "kms:ViaService", "sqs.us-east-1.amazonaws.com"]
      UseKeyForSystemPrompt  = ["kms:Decrypt", var.kms_key_arn, "kms:ViaService", "s3.us-east-1.amazonaws.com"]
    }
    error_message = "The function uses the key only by way of the services that it calls."
  }

  # -- the system prompt

  assert {
    condition = (
      length(aws_s3_object.prompt[0].content) == 21846 && aws_s3_object.prompt[0].bucket == aws_s3_bucket.prompt[0].id &&
      one(aws_s3_bucket_versioning.prompt[0].versioning_configuration).status == "Enabled"
    )
    error_message = "A system prompt of 64 KB is an object in a bucket with versioning."
  }

  assert {
    condition = (
      aws_lambda_function.chat.environment[0].variables["SYSTEM_PROMPT"] == "" &&
      aws_lambda_function.chat.environment[0].variables["SYSTEM_PROMPT_OBJECT"] == "https://mock.s3.us-east-1.amazonaws.com/system-prompt.txt?versionId=v1"
    )
    error_message = "The function's environment names the version of the object."
  }

  assert {
    condition = {
      for each in data.aws_iam_policy_document.function.statement : each.sid => [one(each.actions), one(each.resources)] if each.sid == "ReadSystemPrompt"
    } == { ReadSystemPrompt = ["s3:GetObjectVersion", "arn:aws:s3:::mock/system-prompt.txt"] }
    error_message = "The function may read the versions of that object, and no other."
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this["prompt"].block_public_acls, aws_s3_bucket_public_access_block.this["prompt"].block_public_policy,
      aws_s3_bucket_public_access_block.this["prompt"].ignore_public_acls, aws_s3_bucket_public_access_block.this["prompt"].restrict_public_buckets,
    ]) && [for each in data.aws_iam_policy_document.bucket["prompt"].statement : [each.effect, one(each.condition).variable]] == [["Deny", "aws:SecureTransport"]]
    error_message = "The prompt's bucket has no public access, and requests without TLS are denied."
  }

  # -- cost, alarms and access

  assert {
    condition = (
      one(aws_dynamodb_table.conversations.on_demand_throughput).max_read_request_units == 500 &&
      one(aws_dynamodb_table.conversations.on_demand_throughput).max_write_request_units == 1000
    )
    error_message = "on_demand_throughput limits what the table consumes."
  }

  assert {
    condition     = aws_lambda_function.chat.reserved_concurrent_executions == 0 && length(aws_lambda_invocation.trial) == 0 && output.reserved_concurrency == 0
    error_message = "reserved_concurrency = 0 stops the function, of which no new version is tried, and the output says so."
  }

  assert {
    condition     = alltrue([for each in values(aws_cloudwatch_metric_alarm.this) : each.alarm_actions == toset([aws_sns_topic.alarms[0].arn, "arn:aws:sns:us-east-1:123456789012:on-call"]) && each.ok_actions == each.alarm_actions])
    error_message = "Each alarm is sent to the existing topics, too."
  }

  assert {
    condition     = aws_cloudfront_distribution.web[0].web_acl_id == var.web.web_acl_arn
    error_message = "The page's distribution has the web ACL."
  }
}

run "with_the_longest_prompt_of_an_environment" {
  command = plan

  module {
    source = "./modules/chat"
  }

  variables {
    system_prompt        = replace(format("%01024d", 0), "0", "語") # 3,072 bytes
    alarms               = { topic_arns = ["arn:aws:sns:us-east-1:123456789012:on-call"] }
    on_demand_throughput = { max_write_request_units = 1000 }
  }

  assert {
    condition = (
      aws_lambda_function.chat.environment[0].variables["SYSTEM_PROMPT"] == var.system_prompt &&
      aws_lambda_function.chat.environment[0].variables["SYSTEM_PROMPT_OBJECT"] == "" &&
      length(aws_s3_bucket.prompt) == 0 && length(aws_s3_object.prompt) == 0
    )
    error_message = "A prompt of 3 KB is an environment variable, and needs no bucket."
  }

  assert {
    condition     = [for each in data.aws_iam_policy_document.function.statement : each.sid if length(regexall("^UseKey|Prompt$", each.sid)) > 0] == ["UseKeyForConversations", "UseKeyForDeadLetters"]
    error_message = "Without an object the function may read none."
  }

  assert {
    condition     = alltrue([for each in values(aws_cloudwatch_metric_alarm.this) : each.alarm_actions == toset(["arn:aws:sns:us-east-1:123456789012:on-call"])]) && length(aws_sns_topic.alarms) == 0
    error_message = "Existing topics need no topic of the deployment's own."
  }
}

run "with_a_longer_prompt" {
  command = plan

  module {
    source = "./modules/chat"
  }

  variables {
    system_prompt = replace(format("%03073d", 0), "0", "x")
  }

  assert {
    condition     = length(aws_s3_object.prompt) == 1 && aws_lambda_function.chat.environment[0].variables["SYSTEM_PROMPT"] == ""
    error_message = "One byte more than the environment's share makes it an object."
  }
}

# Here, unlike in the tests of the other examples, the key's ARN is not known when the module is planned.
run "example" {
  command = plan

  module {
    source = "./examples/company"
  }

  assert {
    condition = toset(one([for each in data.aws_iam_policy_document.key.statement : one(each.condition).values if each.sid == "EncryptLogs"])) == toset([
      "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/${module.chat.function_name}",
      "arn:aws:logs:us-east-1:123456789012:log-group:/aws/apigateway/${module.chat.function_name}",
    ])
    error_message = "The key's policy names the module's log groups."
  }
}
