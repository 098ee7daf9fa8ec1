# The DynamoDB table of conversations, connections and daily quotas. Its items: src/store/.

resource "aws_dynamodb_table" "conversations" {
  #checkov:skip=CKV_AWS_119: encrypted with AWS's key for DynamoDB; a customer managed key costs per month and per request
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
    enabled = true
  }
}
