# The system prompt. A short one is an environment variable. A long one is an object in a private bucket
# of its own, which exists only for that.
#
# Rules
# - The function's environment names one version of the object: each version of the function reads the
#   prompt that it was published with, also when the alias is moved back to it.
# - The key is fixed. A new prompt is a new version of the object, and no version is deleted before
#   `make destroy`, or before the prompt is short again.

locals {
  # In UTF-8 bytes. Base64 has four characters for each three bytes; without its padding its length gives their
  # exact number.
  prompt_bytes = floor(3 / 4 * length(trim(base64encode(var.system_prompt), "=")))

  # Decided by the prompt alone, because other settings may be unknown before they are applied. Lambda allows
  # 4 KB for all environment variables; the others take less than 1 KB, unless lists among them are long.
  prompt_count = local.prompt_bytes > 3072 ? 1 : 0
  prompt_key   = "system-prompt.txt"

  # Path and query of src/prompt_object.py's request.
  prompt_url = local.prompt_count == 0 ? "" : join("", [
    "https://${aws_s3_bucket.prompt[0].bucket_regional_domain_name}/${local.prompt_key}",
    "?versionId=${aws_s3_object.prompt[0].version_id}",
  ])
}

resource "aws_s3_bucket" "prompt" {
  #checkov:skip=CKV_AWS_18: only the function reads it, and logs its own starts
  #checkov:skip=CKV_AWS_144: Terraform's configuration has the prompt
  #checkov:skip=CKV_AWS_145: kms_key_arn sets the key; without it S3's own key suffices
  #checkov:skip=CKV2_AWS_61: a version is needed for as long as the function's version that reads it
  #checkov:skip=CKV2_AWS_62: nothing consumes its notifications
  count = local.prompt_count

  # Bucket names are unique across all accounts: Terraform appends 26 characters.
  bucket_prefix = "${var.name}-"
  # All objects are managed by Terraform.
  force_destroy = true

  tags = local.tags
}

resource "aws_s3_bucket_versioning" "prompt" {
  count = local.prompt_count

  bucket = aws_s3_bucket.prompt[0].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_object" "prompt" {
  count = local.prompt_count

  bucket       = aws_s3_bucket.prompt[0].id
  key          = local.prompt_key
  content      = var.system_prompt
  content_type = "text/plain; charset=utf-8"

  # An object has at most ten tags; other resources have more.
  override_provider {
    default_tags {
      tags = {}
    }
  }

  # Without versioning the object would have no version to name, and another key if the default is set later.
  depends_on = [
    aws_s3_bucket_server_side_encryption_configuration.this,
    aws_s3_bucket_versioning.prompt,
  ]
}
