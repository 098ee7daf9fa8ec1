output "is_profile" {
  description = "Whether model_id is an inference profile, which routes calls to foundation models."
  value       = local.is_profile
}

output "invoked_arn" {
  description = "The ARN that is invoked: of an inference profile in the account, or of a foundation model."
  value = local.arn != null ? var.model_id : (
    local.is_profile
    ? "arn:${var.partition}:bedrock:${var.region}:${var.account}:inference-profile/${var.model_id}"
    : "arn:${var.partition}:bedrock:${var.region}::foundation-model/${var.model_id}"
  )
}

output "foundation_model_arns" {
  description = "The foundation models to which the inference profile routes calls; empty for a model."
  value = !local.is_profile ? [] : length(var.foundation_model_arns) > 0 ? var.foundation_model_arns : [
    for region in distinct(concat([try(local.arn.region, var.region)], try(local.regions_of[local.geographic.geography], []))) :
    "arn:${var.partition}:bedrock:${region}::foundation-model/${try(local.geographic.model, "")}"
  ]
}
