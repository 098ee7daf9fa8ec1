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

provider "aws" {
  region = var.region
}
