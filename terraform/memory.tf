# The table that holds conversations, connections and allowances. What is in it: src/memory.py.

resource "aws_dynamodb_table" "conversations" {
  #checkov:skip=CKV_AWS_119: encrypted under AWS's key for DynamoDB; a key of one's own costs by the month and by the call, and whoever may read the table may use it
  name         = var.name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "pk"
  range_key    = "sk"

  deletion_protection_enabled = var.deletion_protection

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

  # A deleted table's last state stays restorable for 35 days.
  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled = true
  }
}
