# What this is built with, and where.

terraform {
  # 1.9: the first whose validations may look at other variables.
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # What it was tried with. 6 renames and removes arguments (aws_region's name, for one); nobody
      # has tried it here.
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

  # Roles and budgets have no Region: with it in their names, one account holds one deployment a Region.
  global_name = "${var.name}-${local.region}"
}
