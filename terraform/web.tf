# The page: the files of web/ in a private bucket, behind CloudFront; only where web_page asks for it.
#
# Rules
# - Nobody but this distribution reads the bucket, and nobody writes it but who deploys.
# - web/headers.json says what each answer's headers are; local/page.py reads it, too.
# - A browser asks for each file anew and is answered 304 where it has not changed (no-cache), so a
#   deployment is live at once, nothing has to be invalidated, and no page has modules of two versions.

locals {
  web_pages = var.web_page ? 1 : 0

  # The API's word and not the stage's: the stage waits for the function, which is told of the page.
  websocket_origin = aws_apigatewayv2_api.chat.api_endpoint
  issuer_origin    = var.jwt_issuer == null ? [] : [regex("^https?://[^/]+", var.jwt_issuer)]
  page_connects    = distinct(concat([local.websocket_origin], local.issuer_origin, var.web_connect_origins))

  page_origin  = var.web_domain == null ? one([for each in aws_cloudfront_distribution.web : "https://${each.domain_name}"]) : "https://${var.web_domain}"
  page_origins = var.web_page ? [local.page_origin] : []

  # Of web/ what is for browsers, by its kind: as local/page.py has it.
  content_types = {
    css  = "text/css; charset=utf-8"
    html = "text/html; charset=utf-8"
    js   = "text/javascript; charset=utf-8"
    json = "application/json; charset=utf-8"
    svg  = "image/svg+xml; charset=utf-8"
    txt  = "text/plain; charset=utf-8"
  }
  page_kinds = join(",", keys(local.content_types))
  page_files = !var.web_page ? [] : setsubtract(fileset(var.web_folder, "**/*.{${local.page_kinds}}"), ["headers.json"])

  page_headers = !var.web_page ? {} : {
    for name, value in jsondecode(file("${var.web_folder}/headers.json")) :
    name => replace(value, "$${connect}", join(" ", local.page_connects))
  }
  # CloudFront takes these by a member each, and not among the other headers.
  security_headers = ["Content-Security-Policy", "Referrer-Policy", "Strict-Transport-Security", "X-Content-Type-Options", "X-Frame-Options"]
  other_headers    = { for name, value in local.page_headers : name => value if !contains(local.security_headers, name) }

  # CloudFront Developer Guide, "Use managed cache policies": CachingOptimized. It serves compressed
  # files, leaves the query string out, and keeps what is no-cache for 1 s.
  caching_optimized = "658327ea-f89d-4fab-a63d-7e88639e58f6"
}

# -- the files -------------------------------------------------------------------------------------

resource "aws_s3_bucket" "web" {
  #checkov:skip=CKV_AWS_18: what is read here was asked of CloudFront, for a page that is the same for everybody
  #checkov:skip=CKV_AWS_21: each object is a file of the repository, where its versions are
  #checkov:skip=CKV_AWS_144: the files are in the repository, and CloudFront has them near everybody
  #checkov:skip=CKV_AWS_145: the page is public; S3's own key is enough
  #checkov:skip=CKV2_AWS_61: nothing in it grows old
  #checkov:skip=CKV2_AWS_62: nobody waits for a change
  count = local.web_pages

  # Names of buckets are one for all accounts: Terraform adds the time, in 26 digits.
  bucket_prefix = "${var.name}-"
  # What is in it was put there by Terraform.
  force_destroy = true
}

resource "aws_s3_bucket_public_access_block" "web" {
  count = local.web_pages

  bucket                  = aws_s3_bucket.web[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "web" {
  count = local.web_pages

  bucket = aws_s3_bucket.web[0].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

data "aws_iam_policy_document" "web" {
  count = local.web_pages

  statement {
    sid       = "ReadByTheDistribution"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.web[0].arn}/*"]

    principals {
      type        = "Service"
      identifiers = ["cloudfront.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "AWS:SourceArn"
      values   = [aws_cloudfront_distribution.web[0].arn]
    }
  }

  statement {
    sid       = "NothingWithoutTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.web[0].arn, "${aws_s3_bucket.web[0].arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "web" {
  count = local.web_pages

  bucket = aws_s3_bucket.web[0].id
  policy = data.aws_iam_policy_document.web[0].json

  # S3 takes one change of a bucket's access at a time.
  depends_on = [aws_s3_bucket_public_access_block.web]
}

resource "aws_s3_object" "web" {
  for_each = local.page_files

  bucket        = aws_s3_bucket.web[0].id
  key           = each.key
  source        = "${var.web_folder}/${each.key}"
  etag          = filemd5("${var.web_folder}/${each.key}")
  content_type  = local.content_types[regex("[^.]+$", each.key)]
  cache_control = "no-cache"

  # An object takes ten tags, fewer than all else here.
  override_provider {
    default_tags {
      tags = {}
    }
  }
}

# What the page has to know of this deployment, and anybody may.
resource "aws_s3_object" "web_config" {
  count = local.web_pages

  bucket = aws_s3_bucket.web[0].id
  key    = "config.json"
  content = jsonencode({
    websocket_url = aws_apigatewayv2_stage.live.invoke_url
    auth          = var.auth
    issuer        = var.jwt_issuer
    client_id     = var.web_client_id
    scope         = var.web_scope
    token         = var.web_token
  })
  content_type  = local.content_types["json"]
  cache_control = "no-cache"

  override_provider {
    default_tags {
      tags = {}
    }
  }
}

# -- the distribution ------------------------------------------------------------------------------

resource "aws_cloudfront_origin_access_control" "web" {
  count = local.web_pages

  name                              = local.global_name
  description                       = "The chatbot's page"
  origin_access_control_origin_type = "s3"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

resource "aws_cloudfront_response_headers_policy" "web" {
  #checkov:skip=CKV_AWS_259: web/headers.json has it, where checkov does not look
  count = local.web_pages

  name    = local.global_name
  comment = "web/headers.json"

  security_headers_config {
    dynamic "content_security_policy" {
      for_each = [for name, value in local.page_headers : value if name == "Content-Security-Policy"]

      content {
        content_security_policy = content_security_policy.value
        override                = true
      }
    }

    dynamic "content_type_options" {
      for_each = [for name, value in local.page_headers : value if name == "X-Content-Type-Options"]

      content {
        override = true # its value can only be nosniff
      }
    }

    dynamic "frame_options" {
      for_each = [for name, value in local.page_headers : value if name == "X-Frame-Options"]

      content {
        frame_option = frame_options.value
        override     = true
      }
    }

    dynamic "referrer_policy" {
      for_each = [for name, value in local.page_headers : value if name == "Referrer-Policy"]

      content {
        referrer_policy = referrer_policy.value
        override        = true
      }
    }

    dynamic "strict_transport_security" {
      for_each = [for name, value in local.page_headers : value if name == "Strict-Transport-Security"]

      content {
        access_control_max_age_sec = one(regex("max-age=([0-9]+)", strict_transport_security.value))
        include_subdomains         = strcontains(strict_transport_security.value, "includeSubDomains")
        preload                    = strcontains(strict_transport_security.value, "preload")
        override                   = true
      }
    }
  }

  dynamic "custom_headers_config" {
    for_each = length(local.other_headers) > 0 ? [local.other_headers] : []

    content {
      dynamic "items" {
        for_each = custom_headers_config.value

        content {
          header   = items.key
          value    = items.value
          override = true
        }
      }
    }
  }
}

resource "aws_cloudfront_distribution" "web" {
  #checkov:skip=CKV_AWS_68: what is served is public and the same for everybody; a firewall costs by the month
  #checkov:skip=CKV_AWS_86: as the bucket's log
  #checkov:skip=CKV_AWS_310: a page without its API is of no use, and that has one Region
  #checkov:skip=CKV_AWS_374: who may talk is var.auth's to say, not the country's
  #checkov:skip=CKV2_AWS_47: as CKV_AWS_68
  count = local.web_pages

  comment             = "${var.name}: the page"
  enabled             = true
  is_ipv6_enabled     = true
  http_version        = "http2and3"
  default_root_object = "index.html"
  aliases             = var.web_domain == null ? [] : [var.web_domain]
  # Near everybody: what it costs goes by the byte, and these are few.
  price_class = "PriceClass_All"
  # CloudFront takes some minutes to be everywhere, for which nothing else has to wait.
  wait_for_deployment = false

  origin {
    origin_id                = "bucket"
    domain_name              = aws_s3_bucket.web[0].bucket_regional_domain_name
    origin_access_control_id = aws_cloudfront_origin_access_control.web[0].id
  }

  default_cache_behavior {
    target_origin_id           = "bucket"
    allowed_methods            = ["GET", "HEAD"]
    cached_methods             = ["GET", "HEAD"]
    viewer_protocol_policy     = "redirect-to-https"
    compress                   = true
    cache_policy_id            = local.caching_optimized
    response_headers_policy_id = aws_cloudfront_response_headers_policy.web[0].id
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  # Under cloudfront.net's own certificate CloudFront alone says which TLS it takes at least; browsers
  # of today agree on 1.3 with it.
  viewer_certificate {
    cloudfront_default_certificate = var.web_domain == null
    acm_certificate_arn            = var.web_certificate_arn
    ssl_support_method             = var.web_domain == null ? null : "sni-only"
    minimum_protocol_version       = var.web_domain == null ? null : "TLSv1.2_2021"
  }
}
