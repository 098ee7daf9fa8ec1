# Variables of the deployment; those that are passed to the function are in settings.tf. The most common
# ones are in terraform.tfvars.example. The bounds are AWS's limits.

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

variable "region" {
  description = "The AWS Region. If null, the provider's own default applies (AWS_REGION, or the profile's Region)."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags for all resources that support tags, in addition to `project`."
  type        = map(string)
  default     = {}
  nullable    = false
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

variable "lambda_zip" {
  description = "The path of the function's package for `architecture`, as written by `make package`."
  type        = string
  default     = "../build/lambda.zip"
  nullable    = false
}

variable "authorizer_zip" {
  description = "The path of the authorizer's package for `architecture`. Used with auth = \"jwt\"."
  type        = string
  default     = "../build/authorizer.zip"
  nullable    = false
}

variable "deletion_protection" {
  description = "Whether DynamoDB refuses to delete the table, `make destroy` included. Without it, a deleted table's last backup remains for 35 days."
  type        = bool
  default     = false
  nullable    = false
}

# -- authentication --------------------------------------------------------------------------------

variable "jwt_issuer" {
  description = "The OIDC issuer of accepted tokens: the value of their `iss` claim. Used with auth = \"jwt\"."
  type        = string
  default     = null

  validation {
    # As in src/authorizer.py: without TLS only on this machine, for tests.
    condition     = var.jwt_issuer == null ? true : can(regex("^(https://|http://(127\\.0\\.0\\.1|localhost)[:/])[^ ?#]+$", var.jwt_issuer)) && length(var.jwt_issuer) <= 512
    error_message = "jwt_issuer must be an https:// URL of at most 512 characters, without a query."
  }

  validation {
    condition     = (var.auth == "jwt") == (var.jwt_issuer != null)
    error_message = "jwt_issuer is required with auth = \"jwt\" and must not be set otherwise."
  }
}

variable "jwt_audience" {
  description = "The accepted audiences: a token's `aud` claim must contain one of them. Used with auth = \"jwt\"."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = (var.auth == "jwt") == (length(var.jwt_audience) > 0)
    error_message = "jwt_audience needs at least one entry with auth = \"jwt\" and must be empty otherwise."
  }

  validation {
    condition     = alltrue([for audience in var.jwt_audience : audience != ""])
    error_message = "jwt_audience must not contain an empty string."
  }
}

# -- the web page ----------------------------------------------------------------------------------

variable "web_page" {
  description = "Whether to serve the web page, from S3 through CloudFront. Browsers may then connect only from the page and from allowed_origins."
  type        = bool
  default     = false
  nullable    = false
}

variable "web_folder" {
  description = "The path of the folder with the web page's files."
  type        = string
  default     = "../web"
  nullable    = false
}

variable "web_client_id" {
  description = "The web page's client id at jwt_issuer: a public client, without a secret, whose redirect URI is page_url."
  type        = string
  default     = null

  validation {
    condition     = !(var.web_page && var.auth == "jwt") || var.web_client_id != null
    error_message = "web_client_id is required with web_page and auth = \"jwt\": users sign in on the page."
  }

  validation {
    # OpenID Connect Core, section 2: the audience of an ID token is its client.
    condition     = !(var.web_page && var.auth == "jwt" && var.web_token == "id_token") || contains(var.jwt_audience, coalesce(var.web_client_id, " "))
    error_message = "jwt_audience must contain web_client_id, which is the audience of an ID token."
  }
}

variable "web_scope" {
  description = "The OAuth scopes that the web page requests, separated by spaces."
  type        = string
  default     = "openid"
  nullable    = false

  validation {
    condition     = contains(split(" ", var.web_scope), "openid")
    error_message = "web_scope must contain openid."
  }
}

variable "web_token" {
  description = "The token that the web page sends: id_token, a JWT for web_client_id, or access_token, for issuers whose access tokens are JWTs for this API."
  type        = string
  default     = "id_token"
  nullable    = false

  validation {
    condition     = contains(["id_token", "access_token"], var.web_token)
    error_message = "web_token must be id_token or access_token."
  }
}

variable "web_connect_origins" {
  description = "Further origins to which the web page may connect: the issuer's token endpoint if its host differs from that of jwt_issuer, such as https://example.auth.us-east-1.amazoncognito.com."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for origin in var.web_connect_origins : can(regex("^https://[^/ ;,'*]+$", origin))])
    error_message = "web_connect_origins must be origins: https and a host, without a wildcard, a path or a trailing slash."
  }
}

variable "web_domain" {
  description = "A custom domain name for the web page, such as chat.example.com, whose DNS record you point to the distribution. If null, the page has CloudFront's domain name."
  type        = string
  default     = null

  validation {
    condition     = var.web_domain == null ? true : can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", var.web_domain))
    error_message = "web_domain must be a domain name in lower case."
  }
}

variable "web_certificate_arn" {
  description = "The ARN of the ACM certificate for web_domain. CloudFront requires it to be in us-east-1."
  type        = string
  default     = null

  validation {
    condition     = var.web_certificate_arn == null ? true : can(regex("^arn:aws[a-z-]*:acm:us-east-1:[0-9]{12}:certificate/[0-9a-f-]+$", var.web_certificate_arn))
    error_message = "web_certificate_arn must be the ARN of a certificate in us-east-1."
  }

  validation {
    condition     = (var.web_domain == null) == (var.web_certificate_arn == null)
    error_message = "web_domain and web_certificate_arn must be set together."
  }
}

# -- the model -------------------------------------------------------------------------------------

variable "foundation_model_arns" {
  description = "The foundation models of the inference profile in model_id, if they cannot be derived from it: for an application inference profile, or a geography that terraform/models does not list."
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

variable "timeout_seconds" {
  description = "The function's timeout. The longest answer takes this time less deadline_seconds."
  type        = number
  default     = 900
  nullable    = false

  validation {
    condition     = var.timeout_seconds <= 900 && floor(var.timeout_seconds) == var.timeout_seconds
    error_message = "timeout_seconds must be a whole number of at most 900, Lambda's limit."
  }

  validation {
    condition     = var.timeout_seconds > var.deadline_seconds
    error_message = "timeout_seconds must be greater than deadline_seconds."
  }
}

variable "reserved_concurrency" {
  description = "The function's reserved concurrency, which limits how many messages are handled at once. If null, none is reserved. AWS refuses a reservation that leaves the account fewer than 100; new accounts may have 10 in total."
  type        = number
  default     = null

  validation {
    condition     = var.reserved_concurrency == null ? true : var.reserved_concurrency >= 1 && floor(var.reserved_concurrency) == var.reserved_concurrency
    error_message = "reserved_concurrency must be a whole number of at least 1."
  }
}

variable "snap_start" {
  description = "Whether to use Lambda SnapStart, which shortens cold starts. It is billed per restore, and for each published version for as long as it exists: see docs/operations.md, Rolling back."
  type        = bool
  default     = false
  nullable    = false
}

variable "throttle_rate" {
  description = "The stage's throttling rate: messages and connections per second."
  type        = number
  default     = 50
  nullable    = false

  validation {
    condition     = var.throttle_rate > 0 && var.throttle_rate <= 10000
    error_message = "throttle_rate must be above 0 and at most 10000, the account's default quota."
  }
}

variable "throttle_burst" {
  description = "The stage's throttling burst: messages and connections at once."
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

variable "alarm_email" {
  description = "The email address that receives alarms, once its owner has confirmed the subscription. If null, none are sent."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null ? true : can(regex("^[^@ ]+@[^@ ]+$", var.alarm_email))
    error_message = "alarm_email must be an email address."
  }
}

variable "monthly_budget_usd" {
  description = "A monthly cost budget for the whole account, in US dollars; alarm_email is notified before it is exceeded. If null, there is no budget. It does not limit costs."
  type        = number
  default     = null

  validation {
    condition     = var.monthly_budget_usd == null ? true : var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd must be above 0."
  }

  validation {
    condition     = var.monthly_budget_usd == null || var.alarm_email != null
    error_message = "monthly_budget_usd requires alarm_email, which receives the notifications."
  }
}
