# Versions of Terraform and its provider, the provider's configuration, and common data.

terraform {
  # 1.9 is the first version whose validations can refer to other variables.
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # Tested with 5.100. Version 6 renames and removes arguments (such as aws_region's name) and is not
      # tested.
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = merge({ project = var.name }, var.tags)
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name

  # The names of roles and budgets are unique in an account: they include the Region, so that each
  # Region can have a deployment of the same name.
  global_name = "${var.name}-${local.region}"
}
