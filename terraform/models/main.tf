# Which models a model_id stands for, as IAM knows them. Pure: asks nobody and makes nothing.
#
# AWS itself tells the Regions of one profile (the data source aws_bedrock_inference_profile), but then
# no plan could be made without an account and a model enabled in it, and so none in a test.

variable "model_id" {
  description = "A model id, an inference profile id, or the ARN of either."
  type        = string
  nullable    = false
}

variable "foundation_model_arns" {
  description = "The models behind the profile, where they are told; else the table tells."
  type        = list(string)
  nullable    = false
}

variable "account" {
  description = "Whose profiles they are."
  type        = string
  nullable    = false
}

variable "partition" {
  description = "aws, or another."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Where the call is made, unless model_id says."
  type        = string
  nullable    = false
}

locals {
  # Where a geography's inference profiles may send a call. Which Regions a profile has depends on the
  # model and on where the call is made; this is all that any has, for the policy opens them to calls
  # through the chosen profile only. A call is refused where one is missing here, so there are rather
  # too many; foundation_model_arns overrides.
  #
  # Bedrock User Guide, "Supported Regions and models for inference profiles" and the model cards that
  # took its place; "Global cross-Region inference" for global. As of 2026-11-22, and unproven where a
  # call was never made.
  regions_of = {
    us     = ["us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "ca-west-1"]
    eu     = ["eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3"]
    apac   = ["ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-7"]
    au     = ["ap-southeast-2", "ap-southeast-4"]
    jp     = ["ap-northeast-1", "ap-northeast-3"]
    ca     = ["ca-central-1", "ca-west-1"]
    us-gov = ["us-gov-east-1", "us-gov-west-1"]
    global = [""] # the model where the call is made, and its ARN without a Region
  }

  # model_id is an ARN, or a geography and a model, or a model.
  arn        = try(regex("^arn:[^:]+:bedrock:(?P<region>[^:]*):[^:]*:(?P<kind>[^/]+)/(?P<id>.+)$", var.model_id), null)
  geographic = try(regex("^(?P<geography>${join("|", keys(local.regions_of))})\\.(?P<model>.+)$", try(local.arn.id, var.model_id)), null)

  is_profile = (
    local.arn == null
    ? local.geographic != null || length(var.foundation_model_arns) > 0
    : endswith(try(local.arn.kind, ""), "inference-profile")
  )
}

output "is_profile" {
  description = "Whether it is an inference profile, which passes calls on."
  value       = local.is_profile
}

output "called" {
  description = "What is called. A profile is the account's, a foundation model nobody's."
  value = local.arn != null ? var.model_id : (
    local.is_profile
    ? "arn:${var.partition}:bedrock:${var.region}:${var.account}:inference-profile/${var.model_id}"
    : "arn:${var.partition}:bedrock:${var.region}::foundation-model/${var.model_id}"
  )
}

output "behind" {
  description = "The foundation models that a profile passes calls on to; none where it is no profile."
  value = !local.is_profile ? [] : length(var.foundation_model_arns) > 0 ? var.foundation_model_arns : [
    for region in distinct(concat([try(local.arn.region, var.region)], try(local.regions_of[local.geographic.geography], []))) :
    "arn:${var.partition}:bedrock:${region}::foundation-model/${try(local.geographic.model, "")}"
  ]
}
