# The ARNs for a model_id. Nothing is mocked: the module has no data sources and no resources.

variables {
  account               = "123456789012"
  partition             = "aws"
  region                = "us-east-1"
  foundation_model_arns = []
}

run "model_id" {
  command = plan

  module {
    source = "./modules/models"
  }

  variables {
    model_id = "zai.glm-4.7"
  }

  assert {
    condition     = !output.is_profile && output.invoked_arn == "arn:aws:bedrock:us-east-1::foundation-model/zai.glm-4.7"
    error_message = "A model id stands for the model in this Region."
  }
}

run "global_profile" {
  command = plan

  module {
    source = "./modules/models"
  }

  variables {
    model_id = "global.anthropic.claude-sonnet-4-6"
  }

  assert {
    condition     = output.is_profile && output.invoked_arn == "arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-sonnet-4-6"
    error_message = "An inference profile belongs to the account."
  }

  assert {
    condition = toset(output.foundation_model_arns) == toset([
      "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-6",
      "arn:aws:bedrock:::foundation-model/anthropic.claude-sonnet-4-6",
    ])
    error_message = "A global profile needs the model in this Region, and the ARN without a Region."
  }
}

run "geographic_profile" {
  command = plan

  module {
    source = "./modules/models"
  }

  variables {
    model_id = "us.amazon.nova-lite-v1:0"
  }

  assert {
    condition = toset(output.foundation_model_arns) == toset([
      for region in ["us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "ca-west-1"] : "arn:aws:bedrock:${region}::foundation-model/amazon.nova-lite-v1:0"
    ])
    error_message = "A geographic profile needs the model in each Region of the geography."
  }
}

run "source_region_outside_the_geography" {
  command = plan

  module {
    source = "./modules/models"
  }

  variables {
    model_id = "eu.amazon.nova-lite-v1:0"
  }

  assert {
    condition     = length(output.foundation_model_arns) == 9 && contains(output.foundation_model_arns, "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0")
    error_message = "The source Region is included."
  }
}

run "profile_arn" {
  command = plan

  module {
    source = "./modules/models"
  }

  variables {
    model_id = "arn:aws:bedrock:ap-northeast-1:123456789012:inference-profile/jp.anthropic.claude-sonnet-4-5-20250929-v1:0"
  }

  assert {
    condition = output.invoked_arn == var.model_id && toset(output.foundation_model_arns) == toset([
      "arn:aws:bedrock:ap-northeast-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0",
      "arn:aws:bedrock:ap-northeast-3::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0",
    ])
    error_message = "The ARN's Region is the source Region."
  }
}

run "application_profile" {
  command = plan

  module {
    source = "./modules/models"
  }

  variables {
    model_id              = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
    foundation_model_arns = ["arn:aws:bedrock:us-west-2::foundation-model/anthropic.claude-sonnet-4-6"]
  }

  assert {
    condition     = output.is_profile && output.invoked_arn == var.model_id && output.foundation_model_arns == tolist(var.foundation_model_arns)
    error_message = "The models of an application inference profile are those of foundation_model_arns."
  }
}

run "unknown_geography" {
  command = plan

  module {
    source = "./modules/models"
  }

  variables {
    model_id              = "sa.amazon.nova-lite-v1:0"
    foundation_model_arns = ["arn:aws:bedrock:sa-east-1::foundation-model/amazon.nova-lite-v1:0"]
  }

  assert {
    condition     = output.invoked_arn == "arn:aws:bedrock:us-east-1:123456789012:inference-profile/sa.amazon.nova-lite-v1:0" && output.foundation_model_arns == tolist(var.foundation_model_arns)
    error_message = "foundation_model_arns makes a profile of an unknown geography usable."
  }
}

run "imported_model" {
  command = plan

  module {
    source = "./modules/models"
  }

  variables {
    model_id = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abc123"
  }

  assert {
    condition     = !output.is_profile && output.invoked_arn == var.model_id && length(output.foundation_model_arns) == 0
    error_message = "An imported model is invoked by its ARN, without foundation models."
  }
}

run "model_arn" {
  command = plan

  module {
    source = "./modules/models"
  }

  variables {
    model_id = "arn:aws:bedrock:us-west-2::foundation-model/us.looks-like-a-profile"
  }

  assert {
    condition     = !output.is_profile && output.invoked_arn == var.model_id && length(output.foundation_model_arns) == 0
    error_message = "The kind of an ARN decides, whatever its id looks like."
  }
}

run "profile_in_another_partition" {
  command = plan

  module {
    source = "./modules/models"
  }

  variables {
    model_id  = "us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0"
    partition = "aws-us-gov"
    region    = "us-gov-west-1"
  }

  assert {
    condition = output.invoked_arn == "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:inference-profile/${var.model_id}" && toset(output.foundation_model_arns) == toset([
      "arn:aws-us-gov:bedrock:us-gov-east-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0",
      "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0",
    ])
    error_message = "us-gov is a geography of its own, and its ARNs have its partition."
  }
}
