# The provider's configuration, which the module leaves to its caller.

variable "region" {
  description = "The AWS Region. If null, the provider's own default applies (AWS_REGION, or the profile's Region)."
  type        = string
  default     = null

  validation {
    condition     = var.region == null ? true : can(regex("^[a-z]{2,4}(-[a-z]+)+-[0-9]+$", var.region))
    error_message = "region must be the name of an AWS Region, such as eu-central-1."
  }
}

variable "allowed_account_ids" {
  description = "The AWS accounts in which this configuration may be applied. With credentials of any other account Terraform stops before it plans. If empty, any account is accepted."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.allowed_account_ids : can(regex("^[0-9]{12}$", id))])
    error_message = "allowed_account_ids must be account ids of 12 digits."
  }
}

provider "aws" {
  region              = var.region
  allowed_account_ids = length(var.allowed_account_ids) == 0 ? null : var.allowed_account_ids
}
