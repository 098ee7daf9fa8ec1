# Common data. Each part of the deployment has a file of its own: api.tf, function.tf, dynamodb.tf, ...
#
# The module configures no provider. It creates everything in the Region and the account of the aws
# provider that it is given.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.id # its name; the attribute `name` is deprecated in version 6

  # Names of roles, budgets, dashboards and CloudFront's policies are unique in an account: they include
  # the Region, so that each Region can have a deployment of the same name.
  global_name = "${var.name}-${local.region}"

  tags = merge({ project = var.name }, var.tags)

  # The model families by name, with the beginnings of their model ids: generated from
  # src/families/registry.py by `make docs`.
  registry      = jsondecode(file("${path.module}/families.json"))
  families      = local.registry.families
  region_prefix = local.registry.region_prefix # of an inference profile's id, as a regular expression
}
