# The DynamoDB table of conversations, connections and daily quotas. Its items: src/store/.

resource "aws_dynamodb_table" "conversations" {
  #checkov:skip=CKV_AWS_119: kms_key_arn sets the key; without it, AWS's key for DynamoDB encrypts the table, at no cost
  name         = var.name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "pk"
  range_key    = "sk"

  deletion_protection_enabled = var.deletion_protection

  tags = local.tags

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  # A deleted table can be restored to its last state for 35 days.
  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }

  dynamic "on_demand_throughput" {
    for_each = var.on_demand_throughput[*]

    content {
      max_read_request_units  = on_demand_throughput.value.max_read_request_units
      max_write_request_units = on_demand_throughput.value.max_write_request_units
    }
  }
}
