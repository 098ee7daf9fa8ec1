# On which models a model_id lets the function call Bedrock.

mock_provider "aws" {
  source = "./tests"
}

variables {
  lambda_zip = "routes.json"
}

run "a_model" {
  command = plan

  variables {
    model_id = "zai.glm-4.7"
  }

  assert {
    condition     = !local.is_profile && local.called == "arn:aws:bedrock:us-east-1::foundation-model/zai.glm-4.7"
    error_message = "A model's id means the model in this Region."
  }
}

run "a_global_profile" {
  command = plan

  variables {
    model_id = "global.anthropic.claude-sonnet-4-6"
  }

  assert {
    condition     = local.is_profile && local.called == "arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-sonnet-4-6"
    error_message = "A profile is the account's."
  }

  assert {
    condition = toset(local.behind_profile) == toset([
      "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-6",
      "arn:aws:bedrock:::foundation-model/anthropic.claude-sonnet-4-6",
    ])
    error_message = "A global profile needs the model here, and the model without a Region."
  }
}

run "a_profile_of_a_geography" {
  command = plan

  variables {
    model_id = "us.amazon.nova-lite-v1:0"
  }

  assert {
    condition = toset(local.behind_profile) == toset([
      for region in ["us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "ca-west-1"] : "arn:aws:bedrock:${region}::foundation-model/amazon.nova-lite-v1:0"
    ])
    error_message = "A geography's profile needs the model in each of its Regions."
  }
}

run "a_profile_called_from_outside_its_regions" {
  command = plan

  variables {
    model_id = "eu.amazon.nova-lite-v1:0"
  }

  assert {
    condition     = length(local.behind_profile) == 9 && contains(local.behind_profile, "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0")
    error_message = "The Region of the call counts among them."
  }
}

run "the_arn_of_a_profile" {
  command = plan

  variables {
    model_id = "arn:aws:bedrock:ap-northeast-1:123456789012:inference-profile/jp.anthropic.claude-sonnet-4-5-20250929-v1:0"
  }

  assert {
    condition = local.called == var.model_id && toset(local.behind_profile) == toset([
      "arn:aws:bedrock:ap-northeast-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0",
      "arn:aws:bedrock:ap-northeast-3::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0",
    ])
    error_message = "An ARN says where it is called."
  }
}

run "an_application_profile" {
  command = plan

  variables {
    model_id              = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
    model_family          = "claude"
    foundation_model_arns = ["arn:aws:bedrock:us-west-2::foundation-model/anthropic.claude-sonnet-4-6"]
  }

  assert {
    condition     = local.is_profile && local.called == var.model_id && local.behind_profile == tolist(var.foundation_model_arns)
    error_message = "What is behind an application inference profile is as it is told."
  }
}

run "a_geography_that_is_new" {
  command = plan

  variables {
    model_id              = "sa.amazon.nova-lite-v1:0"
    foundation_model_arns = ["arn:aws:bedrock:sa-east-1::foundation-model/amazon.nova-lite-v1:0"]
  }

  assert {
    condition     = local.called == "arn:aws:bedrock:us-east-1:123456789012:inference-profile/sa.amazon.nova-lite-v1:0" && local.behind_profile == tolist(var.foundation_model_arns)
    error_message = "A profile that the table does not know can be told."
  }
}

run "an_imported_model" {
  command = plan

  variables {
    model_id     = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abc123"
    model_family = "llama3"
  }

  assert {
    condition     = !local.is_profile && local.called == var.model_id
    error_message = "A model of the account's own is called by its ARN, and has nothing behind it."
  }
}
