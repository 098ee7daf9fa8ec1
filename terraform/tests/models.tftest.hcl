# Which models a model_id stands for. Nothing is mocked, for nothing is asked.

variables {
  account               = "123456789012"
  partition             = "aws"
  region                = "us-east-1"
  foundation_model_arns = []
}

run "a_model" {
  command = plan

  module {
    source = "./models"
  }

  variables {
    model_id = "zai.glm-4.7"
  }

  assert {
    condition     = !output.is_profile && output.called == "arn:aws:bedrock:us-east-1::foundation-model/zai.glm-4.7"
    error_message = "A model's id means the model in this Region."
  }
}

run "a_global_profile" {
  command = plan

  module {
    source = "./models"
  }

  variables {
    model_id = "global.anthropic.claude-sonnet-4-6"
  }

  assert {
    condition     = output.is_profile && output.called == "arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-sonnet-4-6"
    error_message = "A profile is the account's."
  }

  assert {
    condition = toset(output.behind) == toset([
      "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-6",
      "arn:aws:bedrock:::foundation-model/anthropic.claude-sonnet-4-6",
    ])
    error_message = "A global profile needs the model here, and the model without a Region."
  }
}

run "a_profile_of_a_geography" {
  command = plan

  module {
    source = "./models"
  }

  variables {
    model_id = "us.amazon.nova-lite-v1:0"
  }

  assert {
    condition = toset(output.behind) == toset([
      for region in ["us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "ca-west-1"] : "arn:aws:bedrock:${region}::foundation-model/amazon.nova-lite-v1:0"
    ])
    error_message = "A geography's profile needs the model in each of its Regions."
  }
}

run "a_profile_called_from_outside_its_regions" {
  command = plan

  module {
    source = "./models"
  }

  variables {
    model_id = "eu.amazon.nova-lite-v1:0"
  }

  assert {
    condition     = length(output.behind) == 9 && contains(output.behind, "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0")
    error_message = "The Region of the call counts among them."
  }
}

run "the_arn_of_a_profile" {
  command = plan

  module {
    source = "./models"
  }

  variables {
    model_id = "arn:aws:bedrock:ap-northeast-1:123456789012:inference-profile/jp.anthropic.claude-sonnet-4-5-20250929-v1:0"
  }

  assert {
    condition = output.called == var.model_id && toset(output.behind) == toset([
      "arn:aws:bedrock:ap-northeast-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0",
      "arn:aws:bedrock:ap-northeast-3::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0",
    ])
    error_message = "An ARN says where it is called."
  }
}

run "an_application_profile" {
  command = plan

  module {
    source = "./models"
  }

  variables {
    model_id              = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
    foundation_model_arns = ["arn:aws:bedrock:us-west-2::foundation-model/anthropic.claude-sonnet-4-6"]
  }

  assert {
    condition     = output.is_profile && output.called == var.model_id && output.behind == tolist(var.foundation_model_arns)
    error_message = "What is behind an application inference profile is as it is told."
  }
}

run "a_geography_that_is_new" {
  command = plan

  module {
    source = "./models"
  }

  variables {
    model_id              = "sa.amazon.nova-lite-v1:0"
    foundation_model_arns = ["arn:aws:bedrock:sa-east-1::foundation-model/amazon.nova-lite-v1:0"]
  }

  assert {
    condition     = output.called == "arn:aws:bedrock:us-east-1:123456789012:inference-profile/sa.amazon.nova-lite-v1:0" && output.behind == tolist(var.foundation_model_arns)
    error_message = "A profile that the table does not know can be told."
  }
}

run "an_imported_model" {
  command = plan

  module {
    source = "./models"
  }

  variables {
    model_id = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abc123"
  }

  assert {
    condition     = !output.is_profile && output.called == var.model_id && length(output.behind) == 0
    error_message = "A model of the account's own is called by its ARN, and has nothing behind it."
  }
}

run "a_model_by_its_arn" {
  command = plan

  module {
    source = "./models"
  }

  variables {
    model_id = "arn:aws:bedrock:us-west-2::foundation-model/us.looks-like-a-profile"
  }

  assert {
    condition     = !output.is_profile && output.called == var.model_id && length(output.behind) == 0
    error_message = "An ARN says what it is, whatever its id looks like."
  }
}

run "a_profile_in_another_partition" {
  command = plan

  module {
    source = "./models"
  }

  variables {
    model_id  = "us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0"
    partition = "aws-us-gov"
    region    = "us-gov-west-1"
  }

  assert {
    condition = output.called == "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:inference-profile/${var.model_id}" && toset(output.behind) == toset([
      "arn:aws-us-gov:bedrock:us-gov-east-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0",
      "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0",
    ])
    error_message = "us-gov is not us, and its ARNs are of its own partition."
  }
}
