# The ARNs that IAM needs for a model_id. Pure: no data sources and no resources.
#
# AWS's own list of a profile's models (the data source aws_bedrock_inference_profile) is not used: it
# would require an account, with the model enabled, for each plan, tests included.

locals {
  # The Regions to which a geography's inference profiles may route a call. The Regions of one profile
  # depend on the model and the source Region; this is the union, because the policy allows these
  # models only through the chosen profile. A missing Region would make calls fail, an extra one does
  # no harm; foundation_model_arns overrides the list.
  #
  # Bedrock User Guide, "Supported Regions and models for inference profiles" and the model cards that
  # replaced it; "Global cross-Region inference" for global. As of 2026-11-22, not confirmed by calls.
  regions_of = {
    us     = ["us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "ca-west-1"]
    eu     = ["eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3"]
    apac   = ["ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-7"]
    au     = ["ap-southeast-2", "ap-southeast-4"]
    jp     = ["ap-northeast-1", "ap-northeast-3"]
    ca     = ["ca-central-1", "ca-west-1"]
    us-gov = ["us-gov-east-1", "us-gov-west-1"]
    global = [""] # the model in the source Region, and its ARN without a Region
  }

  # model_id is an ARN, a geography and a model, or a model.
  arn        = try(regex("^arn:[^:]+:bedrock:(?P<region>[^:]*):[^:]*:(?P<kind>[^/]+)/(?P<id>.+)$", var.model_id), null)
  geographic = try(regex("^(?P<geography>${join("|", keys(local.regions_of))})\\.(?P<model>.+)$", try(local.arn.id, var.model_id)), null)

  is_profile = (
    local.arn == null
    ? local.geographic != null || length(var.foundation_model_arns) > 0
    : endswith(try(local.arn.kind, ""), "inference-profile")
  )
}
