# The web page: the files of a folder in a private bucket, served by CloudFront. Created if var.web is set.
#
# Rules
# - Only this distribution reads the bucket; only Terraform writes it.
# - The folder's headers.json defines the response headers; the local stack reads it, too.
# - Browsers revalidate each file (no-cache) and receive 304 if it has not changed. So a deployment takes
#   effect without an invalidation, and no page mixes modules of two versions.

locals {
  web_count = var.web == null ? 0 : 1

  # The default is the repository's folder web/, from wherever the repository was checked out to.
  web_folder = try(coalesce(var.web.folder), "${path.module}/../../../web")
  web_domain = try(var.web.domain, null)

  # Not the stage's URL: the stage depends on the function, which depends on the page's origin.
  issuer_origin = var.jwt == null ? [] : [regex("^https?://[^/]+", var.jwt.issuer)]
  page_connects = distinct(concat([local.websocket_origin], local.issuer_origin, local.cognito_origins, try(var.web.connect_origins, [])))

  page_domain  = local.web_domain == null ? one(aws_cloudfront_distribution.web[*].domain_name) : local.web_domain.name
  page_origins = var.web == null ? [] : ["https://${local.page_domain}"]

  # The files that are served, by suffix; the same as in the local stack.
  content_types = {
    css  = "text/css; charset=utf-8"
    html = "text/html; charset=utf-8"
    js   = "text/javascript; charset=utf-8"
    json = "application/json; charset=utf-8"
    svg  = "image/svg+xml; charset=utf-8"
    txt  = "text/plain; charset=utf-8"
  }
  page_suffixes = join(",", keys(local.content_types))
  page_files    = var.web == null ? [] : setsubtract(fileset(local.web_folder, "**/*.{${local.page_suffixes}}"), ["headers.json"])

  page_headers = var.web == null ? {} : {
    for name, value in try(jsondecode(file("${local.web_folder}/headers.json")), {}) :
    name => replace(value, "$${connect}", join(" ", local.page_connects))
  }
  # CloudFront configures each of these separately, not as custom headers.
  security_headers = ["Content-Security-Policy", "Referrer-Policy", "Strict-Transport-Security", "X-Content-Type-Options", "X-Frame-Options"]
  other_headers    = { for name, value in local.page_headers : name => value if !contains(local.security_headers, name) }

  # CloudFront Developer Guide, "Use managed cache policies": CachingOptimized. It caches compressed
  # files, ignores query strings, and caches no-cache responses for 1 s.
  caching_optimized = "658327ea-f89d-4fab-a63d-7e88639e58f6"
}

# -- the files -------------------------------------------------------------------------------------

resource "aws_s3_bucket" "web" {
  #checkov:skip=CKV_AWS_18: only CloudFront reads it, and the page is the same for all users
  #checkov:skip=CKV_AWS_21: the files and their versions are in the repository
  #checkov:skip=CKV_AWS_144: the files are in the repository, and CloudFront caches them worldwide
  #checkov:skip=CKV_AWS_145: the page is public; S3's own key suffices, and kms_key_arn sets another
  #checkov:skip=CKV2_AWS_61: no object expires
  #checkov:skip=CKV2_AWS_62: nothing consumes its notifications
  count = local.web_count

  # Bucket names are unique across all accounts: Terraform appends 26 characters.
  bucket_prefix = "${var.name}-"
  # All objects are managed by Terraform.
  force_destroy = true

  tags = local.tags

  lifecycle {
    precondition {
      condition     = fileexists("${local.web_folder}/index.html") && can(jsondecode(file("${local.web_folder}/headers.json")))
      error_message = "${local.web_folder} is not the web page's folder: it needs index.html, and headers.json with the response headers."
    }
  }
}

resource "aws_s3_object" "web" {
  for_each = local.page_files

  bucket        = aws_s3_bucket.web[0].id
  key           = each.key
  source        = "${local.web_folder}/${each.key}"
  etag          = filemd5("${local.web_folder}/${each.key}")
  content_type  = local.content_types[regex("[^.]+$", each.key)]
  cache_control = "no-cache"

  # An object has at most ten tags; other resources have more.
  override_provider {
    default_tags {
      tags = {}
    }
  }
}

# The page's configuration; all of it is public.
resource "aws_s3_object" "web_config" {
  count = local.web_count

  bucket = aws_s3_bucket.web[0].id
  key    = "config.json"
  content = jsonencode({
    websocket_url = local.websocket_url
    auth          = local.settings.auth
    issuer        = try(local.sign_in.issuer, null)
    client_id     = try(local.sign_in.client_id, null)
    scope         = try(local.sign_in.scope, null)
    token         = try(local.sign_in.token, null)
    logout_url    = local.logout_url
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
  count = local.web_count

  name                              = local.global_name
  description                       = "The chatbot's web page"
  origin_access_control_origin_type = "s3"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

resource "aws_cloudfront_response_headers_policy" "web" {
  #checkov:skip=CKV_AWS_259: web/headers.json sets it, which checkov does not read
  count = local.web_count

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
        override = true # the only value is nosniff
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
  #checkov:skip=CKV_AWS_68: web.web_acl_arn sets one; the content is public and static, and a web ACL costs per month
  #checkov:skip=CKV_AWS_86: as CKV_AWS_18 of the bucket
  #checkov:skip=CKV_AWS_310: the API has one Region; a page without it is of no use
  #checkov:skip=CKV_AWS_374: var.auth controls access, not the country
  #checkov:skip=CKV2_AWS_47: as CKV_AWS_68
  count = local.web_count

  comment             = "${var.name}: web page"
  tags                = local.tags
  enabled             = true
  is_ipv6_enabled     = true
  http_version        = "http2and3"
  default_root_object = "index.html"
  aliases             = local.web_domain[*].name
  web_acl_id          = var.web.web_acl_arn
  # All locations: CloudFront is billed by the byte, and the page is small.
  price_class = "PriceClass_All"
  # No other resource depends on the distribution's rollout, which takes some minutes.
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

  # With cloudfront.net's certificate, CloudFront sets the minimum TLS version itself; current browsers
  # negotiate 1.3.
  viewer_certificate {
    cloudfront_default_certificate = local.web_domain == null
    acm_certificate_arn            = try(local.web_domain.certificate_arn, null)
    ssl_support_method             = local.web_domain == null ? null : "sni-only"
    minimum_protocol_version       = local.web_domain == null ? null : "TLSv1.2_2021"
  }
}
