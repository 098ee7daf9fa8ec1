# The inputs. Those that are passed to the function are listed in settings.tf; their bounds are those of
# src/settings.py, and all others are AWS's limits.

# -- the deployment --------------------------------------------------------------------------------

variable "name" {
  description = "The name of the deployment, from which the names of all resources are derived. Unique per account and Region."
  type        = string
  default     = "bedrock-stream-chat"
  nullable    = false

  validation {
    # IAM: a role's name has at most 64 characters; the longest one here ends in "-authorizer" and the
    # Region.
    condition     = can(regex("^[a-z][a-z0-9-]{0,34}[a-z0-9]$", var.name))
    error_message = "name must be 2 to 36 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "tags" {
  description = "Tags for all resources that support tags, in addition to `project`, which is the deployment's name."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    # IAM compares the keys of tags without regard to case.
    condition     = length(distinct([for key in keys(merge({ project = "" }, var.tags)) : lower(key)])) == length(merge({ project = "" }, var.tags))
    error_message = "tags must not contain keys that differ only in case: AWS refuses them as duplicates. `project` is set by the deployment; another value for it needs exactly that key."
  }

  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:")])
    error_message = "tags must not contain keys that begin with aws:, which AWS reserves."
  }

  validation {
    # Tagging AWS Resources, "Tag naming limits and requirements"; IAM's characters, the narrowest.
    condition = length(var.tags) <= 49 && alltrue([
      for key, value in var.tags :
      can(regex("^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]{1,128}$", key)) && can(regex("^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]{0,256}$", value))
    ])
    error_message = "tags must be at most 49, with keys of 1 to 128 and values of at most 256 letters, digits, spaces and _ . : / = + - @."
  }
}

variable "stage" {
  description = "The name of the API's stage, which is the path of the WebSocket URL."
  type        = string
  default     = "live"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,128}$", var.stage))
    error_message = "stage must be 1 to 128 letters, digits, hyphens and underscores."
  }
}

variable "deletion_protection" {
  description = "Whether DynamoDB refuses to delete the table. `make destroy` then destroys nothing, and says how to switch it off. Without it, a deleted table's last backup remains for 35 days."
  type        = bool
  default     = true
  nullable    = false
}

variable "iam" {
  description = <<-EOT
    What an organization requires of the roles that are created.

    - `permissions_boundary`: the ARN of the policy that limits each role. It has to allow what the roles' own policies allow.
    - `path`: the path of the roles, such as /applications/chat/. Roles with another path are replaced.
  EOT

  type = object({
    permissions_boundary = optional(string)
    path                 = optional(string, "/")
  })

  default  = {}
  nullable = false

  validation {
    condition     = var.iam.permissions_boundary == null ? true : can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$", var.iam.permissions_boundary))
    error_message = "iam.permissions_boundary must be the ARN of an IAM policy."
  }

  validation {
    # IAM API, CreateRole.
    condition     = can(regex("^/([!-.0-~]+/)*$", var.iam.path)) && length(var.iam.path) <= 512
    error_message = "iam.path must begin and end with a slash, and have at most 512 printable ASCII characters."
  }
}

variable "kms_key_arn" {
  description = "The ARN of a customer managed KMS key in the deployment's Region, which encrypts the table, the logs, the dead-letter queue and the buckets. Without it AWS's own keys do. The key's policy must allow CloudWatch Logs, and CloudFront if there is a page, to use it: docs/deploy.md has the statements."
  type        = string
  default     = null

  validation {
    # An alias would not do: policies name keys, and CloudWatch Logs accepts no alias.
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key, not of an alias."
  }
}

# -- packages --------------------------------------------------------------------------------------

variable "package" {
  description = <<-EOT
    The function's package for `architecture`, as `make package` writes it: a file, or an object in S3.

    - `path`: the path of the zip. Without `path` and `s3` it is build/lambda.zip in the repository.
    - `s3`: the object, in a bucket of the function's Region: `bucket`, `key`, `version` where the bucket has versioning, and `hash`, the base64-encoded SHA-256 of the zip. A new object is deployed when `version` or `hash` changes.
  EOT

  type = object({
    path = optional(string)
    s3 = optional(object({
      bucket  = string
      key     = string
      version = optional(string)
      hash    = optional(string)
    }))
  })

  default  = {}
  nullable = false

  validation {
    condition     = var.package.path == null || var.package.s3 == null
    error_message = "package must be a path or an object in S3, not both."
  }

  validation {
    condition     = try(var.package.s3.hash, null) == null || can(regex("^[A-Za-z0-9+/]{43}=$", try(var.package.s3.hash, "")))
    error_message = "package.s3.hash must be a SHA-256 digest in base64: 44 characters."
  }
}

variable "authorizer_package" {
  description = <<-EOT
    The package of the authorizer, which `auth = "cognito"` and `auth = "jwt"` need, for `architecture`, as `make package` writes it: a file, or an object in S3.

    - `path`: the path of the zip. Without `path` and `s3` it is build/authorizer.zip in the repository.
    - `s3`: the object, in a bucket of the function's Region: `bucket`, `key`, `version` where the bucket has versioning, and `hash`, the base64-encoded SHA-256 of the zip. A new object is deployed when `version` or `hash` changes.
  EOT

  type = object({
    path = optional(string)
    s3 = optional(object({
      bucket  = string
      key     = string
      version = optional(string)
      hash    = optional(string)
    }))
  })

  default  = {}
  nullable = false

  validation {
    condition     = var.authorizer_package.path == null || var.authorizer_package.s3 == null
    error_message = "authorizer_package must be a path or an object in S3, not both."
  }

  validation {
    condition     = try(var.authorizer_package.s3.hash, null) == null || can(regex("^[A-Za-z0-9+/]{43}=$", try(var.authorizer_package.s3.hash, "")))
    error_message = "authorizer_package.s3.hash must be a SHA-256 digest in base64: 44 characters."
  }
}

variable "architecture" {
  description = "The function's processor architecture, arm64 or x86_64, for which the packages were built."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

# -- access and quotas -----------------------------------------------------------------------------

variable "auth" {
  description = "How clients authenticate. Access needs IAM by default (clients sign with SigV4 and need execute-api:Invoke); `cognito` (users of a pool that is created here), `jwt` (a token of jwt.issuer) and `none` (no authentication) are the other choices."
  type        = string
  default     = "iam"
  nullable    = false

  validation {
    condition     = contains(["cognito", "iam", "jwt", "none"], var.auth)
    error_message = "auth must be cognito, iam, jwt or none."
  }
}

variable "jwt" {
  description = <<-EOT
    Whose tokens are accepted with `auth = "jwt"`, which requires this.

    - `issuer`: the OIDC issuer, an https:// URL: the value of the tokens' `iss` claim.
    - `audience`: the accepted audiences: a token's `aud` claim must contain one of them.
  EOT

  type = object({
    issuer   = string
    audience = list(string)
  })

  default = null

  validation {
    condition     = (var.auth == "jwt") == (var.jwt != null)
    error_message = "jwt is required with auth = \"jwt\" and must not be set otherwise."
  }

  validation {
    # As in src/authorizer.py: without TLS only on this machine, for tests.
    condition     = var.jwt == null ? true : can(regex("^(https://|http://(127\\.0\\.0\\.1|localhost)[:/])[^ ?#]+$", var.jwt.issuer)) && length(var.jwt.issuer) <= 512
    error_message = "jwt.issuer must be an https:// URL of at most 512 characters, without a query."
  }

  validation {
    condition     = var.jwt == null ? true : length(var.jwt.audience) > 0 && !contains(var.jwt.audience, "")
    error_message = "jwt.audience needs at least one entry, and no empty one."
  }
}

variable "cognito" {
  description = <<-EOT
    The user pool that `auth = "cognito"` creates. Its users sign in on the web page and in the terminal.

    - `self_sign_up`: whether anyone may join, once they have confirmed their email address; otherwise an administrator invites each user (`make user`).
    - `mfa`: whether every user needs a second factor, from an authenticator app, which is set up at the first sign-in.
    - `domain_prefix`: the first part of the sign-in pages' domain, unique among all accounts in the Region. The default is `name` and eight characters.
  EOT

  type = object({
    self_sign_up  = optional(bool, false)
    mfa           = optional(bool, false)
    domain_prefix = optional(string)
  })

  default  = {}
  nullable = false

  validation {
    condition     = var.auth == "cognito" || (!var.cognito.self_sign_up && !var.cognito.mfa && var.cognito.domain_prefix == null)
    error_message = "cognito must not be set without auth = \"cognito\"."
  }
}

variable "allowed_origins" {
  description = "Web origins from which browsers may connect, such as https://chat.example.com. If empty, and without `web`, all origins may."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for origin in var.allowed_origins : can(regex("^https?://([a-z0-9.-]+|\\[[0-9a-f:.]+\\])(:[0-9]{1,5})?$", origin))])
    error_message = "allowed_origins must be origins as browsers send them: a scheme and a host in lower case, without a wildcard, a path or a trailing slash. Each is compared as a whole."
  }
}

variable "requests_per_day" {
  description = "Requests to the model that a user may make per UTC day. 0 means no limit."
  type        = number
  default     = 500
  nullable    = false

  validation {
    condition     = var.requests_per_day >= 0 && floor(var.requests_per_day) == var.requests_per_day
    error_message = "requests_per_day must be a whole number of at least 0."
  }
}

variable "tokens_per_day" {
  description = "Input and output tokens that a user may consume per UTC day. 0 means no limit."
  type        = number
  default     = 1000000
  nullable    = false

  validation {
    condition     = var.tokens_per_day >= 0 && floor(var.tokens_per_day) == var.tokens_per_day
    error_message = "tokens_per_day must be a whole number of at least 0."
  }
}

variable "domain" {
  description = <<-EOT
    A domain name for the WebSocket API: clients connect to wss://<name>/. Without it the URL has API Gateway's domain name.

    - `name`: the domain name, such as ws.example.com.
    - `certificate_arn`: the ARN of its ACM certificate, in the Region of the deployment.
    - `zone_id`: the id of the Route 53 hosted zone in which its record is created. Without it, point a record of your own to the output domain_target.
    - `disable_execute_api_endpoint`: whether API Gateway's own domain name is switched off, for clients and for the function's posts.
  EOT

  type = object({
    name                         = string
    certificate_arn              = string
    zone_id                      = optional(string)
    disable_execute_api_endpoint = optional(bool, false)
  })

  default = null

  validation {
    condition     = var.domain == null ? true : can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", var.domain.name))
    error_message = "domain.name must be a domain name in lower case."
  }

  validation {
    condition     = var.domain == null ? true : can(regex("^arn:aws[a-z-]*:acm:${local.region}:[0-9]{12}:certificate/[0-9a-f-]+$", var.domain.certificate_arn))
    error_message = "domain.certificate_arn must be the ARN of a certificate in ${local.region}, the deployment's Region."
  }

  validation {
    condition     = try(var.domain.zone_id, null) == null || can(regex("^Z[0-9A-Z]{1,31}$", try(var.domain.zone_id, "")))
    error_message = "domain.zone_id must be the id of a hosted zone, such as Z0123456789ABC."
  }

  validation {
    condition     = var.domain == null || try(var.domain.name, "") != try(var.web.domain.name, " ")
    error_message = "domain.name must differ from web.domain.name: API Gateway serves one, CloudFront the other."
  }
}

# -- the web page ----------------------------------------------------------------------------------

variable "web" {
  description = <<-EOT
    The web page, served from S3 through CloudFront: `{}` for a page with the defaults, null for none. With a page, browsers may connect only from it and from allowed_origins.

    - `folder`: the path of the folder with the page's files. The default is web/ in the repository.
    - `client_id`: the page's client id at jwt.issuer, required with `auth = "jwt"`: a public client, without a secret, whose redirect URI is the output page_url.
    - `scope`: the OAuth scopes that the page requests, separated by spaces.
    - `token`: the token that the page sends: `id_token`, a JWT for client_id, or `access_token`, for issuers whose access tokens are JWTs for this API.
    - `connect_origins`: further origins to which the page may connect: the issuer's token endpoint if its host differs from that of jwt.issuer, such as https://example.auth.us-east-1.amazoncognito.com.
    - `web_acl_arn`: the ARN of an AWS WAF web ACL for CloudFront, which is in us-east-1 whatever the Region. It filters requests for the page, not those to the WebSocket API.
    - `domain`: a domain name for the page, such as chat.example.com, whose DNS record you point to the output page_domain_name, and the ARN of its ACM certificate, which CloudFront requires to be in us-east-1. With `zone_id`, the id of a Route 53 hosted zone, its records are created there. Without `domain` the page has CloudFront's domain name.
  EOT

  type = object({
    folder          = optional(string)
    client_id       = optional(string)
    scope           = optional(string, "openid")
    token           = optional(string, "id_token")
    connect_origins = optional(list(string), [])
    web_acl_arn     = optional(string)
    domain = optional(object({
      name            = string
      certificate_arn = string
      zone_id         = optional(string)
    }))
  })

  default = null

  validation {
    condition     = var.web == null || var.auth != "jwt" || try(var.web.client_id, null) != null
    error_message = "web.client_id is required with auth = \"jwt\": users sign in on the page."
  }

  validation {
    # Nothing else reads them: their place is in a deployment with JWTs.
    condition     = var.web == null || var.auth == "jwt" || try(var.web.client_id, null) == null
    error_message = "web.client_id must not be set without auth = \"jwt\": users sign in on the page only then."
  }

  validation {
    # OpenID Connect Core, section 2: the audience of an ID token is its client.
    condition     = try(var.web.client_id, null) == null || try(var.web.token, "") != "id_token" || var.jwt == null || contains(try(var.jwt.audience, []), try(coalesce(var.web.client_id), " "))
    error_message = "jwt.audience must contain web.client_id, which is the audience of an ID token."
  }

  validation {
    condition     = var.web == null || contains(split(" ", try(var.web.scope, "")), "openid")
    error_message = "web.scope must contain openid."
  }

  validation {
    condition     = var.web == null || contains(["id_token", "access_token"], try(var.web.token, ""))
    error_message = "web.token must be id_token or access_token."
  }

  validation {
    condition     = alltrue([for origin in try(var.web.connect_origins, []) : can(regex("^https://[^/ ;,'*]+$", origin))])
    error_message = "web.connect_origins must be origins: https and a host, without a wildcard, a path or a trailing slash."
  }

  validation {
    condition     = try(var.web.web_acl_arn, null) == null || can(regex("^arn:aws[a-z-]*:wafv2:us-east-1:[0-9]{12}:global/webacl/[^/]+/[0-9a-f-]+$", try(var.web.web_acl_arn, "")))
    error_message = "web.web_acl_arn must be the ARN of a web ACL of AWS WAF with the scope CLOUDFRONT: arn:aws:wafv2:us-east-1:...:global/webacl/..."
  }

  validation {
    condition     = try(var.web.domain, null) == null || can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", try(var.web.domain.name, "")))
    error_message = "web.domain.name must be a domain name in lower case."
  }

  validation {
    condition     = try(var.web.domain, null) == null || can(regex("^arn:aws[a-z-]*:acm:us-east-1:[0-9]{12}:certificate/[0-9a-f-]+$", try(var.web.domain.certificate_arn, "")))
    error_message = "web.domain.certificate_arn must be the ARN of a certificate in us-east-1."
  }

  validation {
    condition     = try(var.web.domain.zone_id, null) == null || can(regex("^Z[0-9A-Z]{1,31}$", try(var.web.domain.zone_id, "")))
    error_message = "web.domain.zone_id must be the id of a hosted zone, such as Z0123456789ABC."
  }
}

# -- the model -------------------------------------------------------------------------------------

variable "model_id" {
  description = "The Bedrock model: a model id, an inference profile id, or the ARN of either."
  type        = string
  default     = "global.anthropic.claude-sonnet-4-6"
  nullable    = false

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:bedrock:[a-z0-9-]+:([0-9]{12})?:[a-z-]+/)?[A-Za-z0-9][A-Za-z0-9.:_-]*$", var.model_id))
    error_message = "model_id must be a model id, an inference profile id, or a Bedrock ARN."
  }

  validation {
    condition     = var.model_family != "" || anytrue([for prefix in flatten(values(local.families)) : startswith(replace(basename(var.model_id), "/${local.region_prefix}/", ""), prefix)])
    error_message = "model_id belongs to no supported model family (docs/families.md). For an imported model or an application inference profile set model_family to one of ${join(", ", keys(local.families))}."
  }
}

variable "model_family" {
  description = "The model family whose request format to use, if it cannot be derived from model_id. See docs/families.md."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.model_family == "" || contains(keys(local.families), var.model_family)
    error_message = "model_family must be one of ${join(", ", keys(local.families))}, or empty."
  }
}

variable "foundation_model_arns" {
  description = "The foundation models of the inference profile in model_id, if they cannot be derived from it: for an application inference profile, or a geography that the module `models` does not list."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.foundation_model_arns : can(regex("^arn:aws[a-z-]*:bedrock:[a-z0-9-]*::foundation-model/[A-Za-z0-9.:_-]+$", arn))])
    error_message = "foundation_model_arns must be ARNs of foundation models, without a wildcard."
  }

  validation {
    condition     = length(var.foundation_model_arns) == 0 || !can(regex("^arn:", var.model_id)) || can(regex("inference-profile/", var.model_id))
    error_message = "foundation_model_arns must be empty: model_id is not the ARN of an inference profile."
  }

  validation {
    condition     = !can(regex(":application-inference-profile/", var.model_id)) || length(var.foundation_model_arns) > 0
    error_message = "foundation_model_arns is required for an application inference profile: `aws bedrock get-inference-profile` lists the models."
  }
}

variable "system_prompt" {
  description = "The system prompt, sent to the model before the conversation: at most 64 KB in UTF-8. One of more than 3,072 bytes is kept in an S3 bucket, which exists only then; each version of the function keeps its prompt. The text must be known at plan."
  type        = string
  default     = "You are a helpful assistant."
  nullable    = false

  validation {
    condition     = floor(3 / 4 * length(trim(base64encode(var.system_prompt), "="))) <= 65536
    error_message = "system_prompt must be at most 65536 bytes long (64 KB, in UTF-8)."
  }
}

variable "max_output_tokens" {
  description = "The maximum length of an answer, in tokens."
  type        = number
  default     = 4096
  nullable    = false

  validation {
    condition     = var.max_output_tokens >= 1 && var.max_output_tokens <= 64000 && floor(var.max_output_tokens) == var.max_output_tokens
    error_message = "max_output_tokens must be a whole number between 1 and 64000."
  }
}

variable "temperature" {
  description = "The sampling temperature. If null, the model's default applies."
  type        = number
  default     = null

  validation {
    condition     = var.temperature == null ? true : var.temperature >= 0 && var.temperature <= 1
    error_message = "temperature must be between 0 and 1."
  }
}

variable "top_p" {
  description = "The nucleus sampling threshold. If null, the model's default applies."
  type        = number
  default     = null

  validation {
    condition     = var.top_p == null ? true : var.top_p >= 0 && var.top_p <= 1
    error_message = "top_p must be between 0 and 1."
  }
}

variable "stop_sequences" {
  description = "Texts that end an answer when the model generates them. Not every model family supports them."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for text in var.stop_sequences : text != ""])
    error_message = "stop_sequences must not contain an empty string."
  }
}

variable "show_reasoning" {
  description = "Whether to send the model's reasoning to the client."
  type        = bool
  default     = false
  nullable    = false
}

variable "prompt_cache" {
  description = "Whether to set cache points after the system prompt and the history. Applies to Claude."
  type        = bool
  default     = false
  nullable    = false
}

variable "guardrail_id" {
  description = "The id or ARN of a Bedrock guardrail. If empty, none is applied."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9]+|arn:aws[a-z-]*:bedrock:[a-z0-9-]+:[0-9]{12}:guardrail/[a-z0-9]+)?$", var.guardrail_id))
    error_message = "guardrail_id must be a guardrail's id or ARN."
  }
}

variable "guardrail_version" {
  description = "The version of the guardrail: a number, or DRAFT."
  type        = string
  default     = "DRAFT"
  nullable    = false

  validation {
    condition     = can(regex("^([1-9][0-9]{0,7}|DRAFT)$", var.guardrail_version))
    error_message = "guardrail_version must be a number, or DRAFT."
  }
}

variable "guardrail_profile_arns" {
  description = "The guardrail profile's ARN in each destination Region, for a guardrail with cross-Region inference."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.guardrail_profile_arns : can(regex("^arn:aws[a-z-]*:bedrock:[a-z0-9-]+:([0-9]{12})?:guardrail-profile/[a-z0-9.:-]+$", arn))])
    error_message = "guardrail_profile_arns must be ARNs of guardrail profiles."
  }
}

variable "service_tier" {
  description = "Bedrock's service tier: priority, default, flex or reserved. If empty, Bedrock's default applies."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = contains(["", "priority", "default", "flex", "reserved"], var.service_tier)
    error_message = "service_tier must be priority, default, flex, reserved, or empty."
  }
}

variable "performance_latency" {
  description = "Bedrock's latency setting: standard or optimized. If empty, Bedrock's default applies."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = contains(["", "standard", "optimized"], var.performance_latency)
    error_message = "performance_latency must be standard, optimized, or empty."
  }
}

# -- timing ----------------------------------------------------------------------------------------

variable "retry_seconds" {
  description = "How long a call that Bedrock rejected is retried before the first delta, in seconds."
  type        = number
  default     = 15
  nullable    = false

  validation {
    condition     = var.retry_seconds >= 0 && var.retry_seconds <= 300
    error_message = "retry_seconds must be between 0 and 300."
  }
}

variable "stall_seconds" {
  description = "How long to wait for the first chunk from Bedrock, and for each further one, in seconds."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.stall_seconds >= 0.1 && var.stall_seconds <= 900
    error_message = "stall_seconds must be between 0.1 and 900."
  }
}

variable "deadline_seconds" {
  description = "How long before the function's timeout a stream is ended, so that the answer can be saved and its end sent, in seconds."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.deadline_seconds >= 0.1 && var.deadline_seconds <= 300
    error_message = "deadline_seconds must be between 0.1 and 300."
  }
}

variable "timeout_seconds" {
  description = "The function's timeout, in seconds: at most 1800, or 900 with a version of the AWS provider that accepts no more, such as 5.100. The longest answer takes this time less deadline_seconds."
  type        = number
  default     = 900
  nullable    = false

  validation {
    # Lambda API, CreateFunction, Timeout: 1 to 1800 since botocore 1.44.8, 900 before. The provider has a
    # limit of its own, which may still be 900.
    condition     = var.timeout_seconds <= 1800 && floor(var.timeout_seconds) == var.timeout_seconds
    error_message = "timeout_seconds must be a whole number of at most 1800, Lambda's limit."
  }

  validation {
    condition     = var.timeout_seconds > var.deadline_seconds
    error_message = "timeout_seconds must be greater than deadline_seconds."
  }
}

# -- the conversation ------------------------------------------------------------------------------

variable "max_input_bytes" {
  description = "The maximum length of a message from a client, in UTF-8 bytes."
  type        = number
  default     = 131072
  nullable    = false

  validation {
    condition     = var.max_input_bytes >= 1 && var.max_input_bytes <= 131072 && floor(var.max_input_bytes) == var.max_input_bytes
    error_message = "max_input_bytes must be a whole number between 1 and 131072."
  }
}

variable "history_tokens" {
  description = "How much of the conversation is sent to the model with each message, in tokens. history_turns also applies."
  type        = number
  default     = 16000
  nullable    = false

  validation {
    condition     = var.history_tokens >= 0 && var.history_tokens <= 1000000 && floor(var.history_tokens) == var.history_tokens
    error_message = "history_tokens must be a whole number between 0 and 1000000."
  }
}

variable "history_turns" {
  description = "How much of the conversation is sent to the model with each message, in turns. history_tokens also applies."
  type        = number
  default     = 50
  nullable    = false

  validation {
    condition     = var.history_turns >= 1 && var.history_turns <= 200 && floor(var.history_turns) == var.history_turns
    error_message = "history_turns must be a whole number between 1 and 200."
  }
}

variable "session_days" {
  description = "Days after which a turn is deleted."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.session_days >= 1 && var.session_days <= 3650 && floor(var.session_days) == var.session_days
    error_message = "session_days must be a whole number between 1 and 3650."
  }
}

variable "on_disconnect" {
  description = "What happens to an answer when its client disconnects: `finish` completes and saves it, `cancel` ends it."
  type        = string
  default     = "finish"
  nullable    = false

  validation {
    condition     = contains(["finish", "cancel"], var.on_disconnect)
    error_message = "on_disconnect must be finish or cancel."
  }
}

# -- the function and the API ----------------------------------------------------------------------

variable "chat_integration" {
  description = "How API Gateway invokes the function for messages: `async` (answers of up to timeout_seconds) or `proxy` (API Gateway sends a timeout error to the client after 29 s, while the function continues)."
  type        = string
  default     = "async"
  nullable    = false

  validation {
    condition     = contains(["async", "proxy"], var.chat_integration)
    error_message = "chat_integration must be async or proxy."
  }
}

variable "memory_size" {
  description = "The function's memory in MB. Lambda allocates CPU in proportion to it."
  type        = number
  default     = 1024
  nullable    = false

  validation {
    condition     = var.memory_size >= 256 && var.memory_size <= 10240 && floor(var.memory_size) == var.memory_size
    error_message = "memory_size must be a whole number between 256 and 10240."
  }
}

variable "reserved_concurrency" {
  description = "The function's reserved concurrency, which limits how many messages are handled at once. If null, none is reserved. 0 stops the deployment: no connection and no message is accepted, and nothing is deleted (docs/operations.md, Stopping). AWS refuses a reservation that leaves the account fewer than 100; new accounts may have 10 in total."
  type        = number
  default     = null

  validation {
    condition     = var.reserved_concurrency == null ? true : var.reserved_concurrency >= 0 && floor(var.reserved_concurrency) == var.reserved_concurrency
    error_message = "reserved_concurrency must be a whole number of at least 0; 0 stops the deployment."
  }
}

variable "on_demand_throughput" {
  description = <<-EOT
    The most that the table may consume, in units a second, which limits what DynamoDB can cost. Requests above it are throttled.

    - `max_read_request_units`: for reads; a turn takes about 9 units.
    - `max_write_request_units`: for writes; a turn takes about 16 units, and up to 400 at once to save a very long answer.

    At least one is required. -1 removes a maximum that was set; leaving it out keeps it.
  EOT

  type = object({
    max_read_request_units  = optional(number)
    max_write_request_units = optional(number)
  })

  default = null

  validation {
    condition = var.on_demand_throughput == null ? true : (
      length([for units in values(var.on_demand_throughput) : units if units != null]) > 0 &&
      alltrue([for units in values(var.on_demand_throughput) : units == null ? true : (units == -1 || units >= 1 && floor(units) == units)])
    )
    error_message = "on_demand_throughput needs max_read_request_units, max_write_request_units or both: whole numbers of at least 1, or -1 for no maximum."
  }
}

variable "snap_start" {
  description = "Whether to use Lambda SnapStart, which shortens cold starts. It is billed per restore, and for each published version for as long as it exists: see docs/operations.md, Rolling back."
  type        = bool
  default     = false
  nullable    = false
}

variable "throttle_rate" {
  description = "The throttling rate of each route that clients use: connections per second, and messages of each action per second."
  type        = number
  default     = 50
  nullable    = false

  validation {
    condition     = var.throttle_rate > 0 && var.throttle_rate <= 10000
    error_message = "throttle_rate must be above 0 and at most 10000, the account's default quota."
  }
}

variable "throttle_burst" {
  description = "The throttling burst of each route that clients use: connections at once, and messages of each action at once."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.throttle_burst >= 1 && var.throttle_burst <= 5000 && floor(var.throttle_burst) == var.throttle_burst
    error_message = "throttle_burst must be a whole number between 1 and 5000, the account's default quota."
  }
}

# -- monitoring ------------------------------------------------------------------------------------

variable "log_retention_days" {
  description = "Days after which logs are deleted. They contain ids, counts, times and, in API Gateway's access log, clients' IP addresses, but no messages."
  type        = number
  default     = 30
  nullable    = false

  validation {
    # CloudWatch Logs API, PutRetentionPolicy, without "never expire".
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one of the values that CloudWatch Logs accepts: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, ..."
  }
}

variable "account_logging" {
  description = "Whether to create the role with which API Gateway writes access logs, and set it for the whole account and Region. Required once per account and Region: without a role AWS refuses the stage (\"CloudWatch Logs role ARN must be set in account settings\"). If another stack manages that role, leave this false; otherwise this deployment replaces it, and `make destroy` removes it."
  type        = bool
  default     = false
  nullable    = false
}

variable "alarms" {
  description = <<-EOT
    Who is notified of alarms and of the cost.

    - `topic_arns`: existing SNS topics that receive alarms, in the deployment's Region. Their policies have to allow CloudWatch to publish.
    - `email`: the email address that receives alarms, once its owner has confirmed the subscription. Without it none are sent.
    - `monthly_budget_usd`: a monthly cost budget for the whole account, in US dollars; email is notified before it is exceeded. It does not limit costs.
  EOT

  type = object({
    topic_arns         = optional(list(string), [])
    email              = optional(string)
    monthly_budget_usd = optional(number)
  })

  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for arn in var.alarms.topic_arns : can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+(\\.fifo)?$", arn))])
    error_message = "alarms.topic_arns must be ARNs of SNS topics."
  }

  validation {
    # CloudWatch API, PutMetricAlarm: at most five actions; alarms.email needs one.
    condition     = length(var.alarms.topic_arns) <= 4
    error_message = "alarms.topic_arns must be at most 4: an alarm has at most 5 actions."
  }

  validation {
    condition     = var.alarms.email == null ? true : can(regex("^[^@ ]+@[^@ ]+$", var.alarms.email))
    error_message = "alarms.email must be an email address."
  }

  validation {
    condition     = var.alarms.monthly_budget_usd == null ? true : var.alarms.monthly_budget_usd > 0
    error_message = "alarms.monthly_budget_usd must be above 0."
  }

  validation {
    condition     = var.alarms.monthly_budget_usd == null || var.alarms.email != null
    error_message = "alarms.monthly_budget_usd requires alarms.email, which receives the notifications."
  }
}
