# What a deployment may choose, beside what the function is told: settings.tf has that.
# terraform.tfvars.example has the handful that people change. The bounds are AWS's own limits.

# -- the deployment --------------------------------------------------------------------------------

variable "name" {
  description = "What everything is called; one deployment has one name in an account and Region."
  type        = string
  default     = "bedrock-stream-chat"
  nullable    = false

  validation {
    # IAM: a role's name has at most 64 characters, and ours ends in "-authorizer" and the Region.
    condition     = can(regex("^[a-z][a-z0-9-]{0,34}[a-z0-9]$", var.name))
    error_message = "name must be 2 to 36 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "region" {
  description = "Where to deploy; the provider's own choice (AWS_REGION, the profile) when null."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of everything that can be tagged, beside project."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "stage" {
  description = "The API's stage: the path of the WebSocket's URL."
  type        = string
  default     = "live"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,128}$", var.stage))
    error_message = "stage must be 1 to 128 letters, digits, hyphens and underscores."
  }
}

variable "lambda_zip" {
  description = "The function's package, as `make package` writes it."
  type        = string
  default     = "../build/lambda.zip"
  nullable    = false
}

variable "authorizer_zip" {
  description = "The authorizer's package; used only where auth is jwt."
  type        = string
  default     = "../build/authorizer.zip"
  nullable    = false
}

variable "deletion_protection" {
  description = "Refuse to delete the table, also to `make destroy`. Without it, a deleted table's last backup stays for 35 days."
  type        = bool
  default     = false
  nullable    = false
}

# -- who may talk ----------------------------------------------------------------------------------

variable "jwt_issuer" {
  description = "The OIDC issuer whose tokens are taken, as in their iss; only where auth is jwt."
  type        = string
  default     = null

  validation {
    # As src/authorizer.py has it: without TLS on this very machine only, which is where the tests are.
    condition     = var.jwt_issuer == null ? true : can(regex("^(https://|http://(127\\.0\\.0\\.1|localhost)[:/])[^ ?#]+$", var.jwt_issuer)) && length(var.jwt_issuer) <= 512
    error_message = "jwt_issuer must be an https:// URL of at most 512 characters, without a query."
  }

  validation {
    condition     = (var.auth == "jwt") == (var.jwt_issuer != null)
    error_message = "jwt_issuer goes with auth = \"jwt\": both or neither."
  }
}

variable "jwt_audience" {
  description = "The audiences of which a token must name one; only where auth is jwt."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = (var.auth == "jwt") == (length(var.jwt_audience) > 0)
    error_message = "jwt_audience goes with auth = \"jwt\": at least one there, none elsewhere."
  }

  validation {
    condition     = alltrue([for audience in var.jwt_audience : audience != ""])
    error_message = "jwt_audience must not contain an empty text."
  }
}

# -- the page --------------------------------------------------------------------------------------

variable "web_page" {
  description = "Serve the page, from S3 by CloudFront. Browsers may then connect from it, and from allowed_origins."
  type        = bool
  default     = false
  nullable    = false
}

variable "web_folder" {
  description = "The page's files."
  type        = string
  default     = "../web"
  nullable    = false
}

variable "web_client_id" {
  description = "What the page is called at jwt_issuer: a public client, with no secret, whose redirect URI is page_url."
  type        = string
  default     = null

  validation {
    condition     = !(var.web_page && var.auth == "jwt") || var.web_client_id != null
    error_message = "web_client_id is needed where auth is jwt and there is a page: it signs people in."
  }

  validation {
    # OpenID Connect Core, 2: an ID token's audience is its client.
    condition     = !(var.web_page && var.auth == "jwt" && var.web_token == "id_token") || contains(var.jwt_audience, coalesce(var.web_client_id, " "))
    error_message = "jwt_audience must contain web_client_id: that is whom an ID token is for."
  }
}

variable "web_scope" {
  description = "The scopes that the page asks for."
  type        = string
  default     = "openid"
  nullable    = false

  validation {
    condition     = contains(split(" ", var.web_scope), "openid")
    error_message = "web_scope must contain openid."
  }
}

variable "web_token" {
  description = "Which of the issuer's tokens the page brings: id_token, which is always a JWT for web_client_id, or access_token, where the issuer makes JWTs of these for this API."
  type        = string
  default     = "id_token"
  nullable    = false

  validation {
    condition     = contains(["id_token", "access_token"], var.web_token)
    error_message = "web_token must be id_token or access_token."
  }
}

variable "web_connect_origins" {
  description = "Where else the page may connect to: the issuer's token endpoint, where that has another host than jwt_issuer, such as https://example.auth.us-east-1.amazoncognito.com."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for origin in var.web_connect_origins : can(regex("^https://[^/ ;,'*]+$", origin))])
    error_message = "web_connect_origins must be origins: https, a host, no wildcard, no path and no slash at the end."
  }
}

variable "web_domain" {
  description = "The page's own name, such as chat.example.com, that you point to the distribution; one of CloudFront's when null."
  type        = string
  default     = null

  validation {
    condition     = var.web_domain == null ? true : can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", var.web_domain))
    error_message = "web_domain must be a host's name, in lower case."
  }
}

variable "web_certificate_arn" {
  description = "web_domain's certificate in ACM, which for CloudFront has to be in us-east-1."
  type        = string
  default     = null

  validation {
    condition     = var.web_certificate_arn == null ? true : can(regex("^arn:aws[a-z-]*:acm:us-east-1:[0-9]{12}:certificate/[0-9a-f-]+$", var.web_certificate_arn))
    error_message = "web_certificate_arn must be the ARN of a certificate in us-east-1."
  }

  validation {
    condition     = (var.web_domain == null) == (var.web_certificate_arn == null)
    error_message = "web_certificate_arn goes with web_domain: both or neither."
  }
}

# -- the model -------------------------------------------------------------------------------------

variable "foundation_model_arns" {
  description = "The foundation models behind model_id, where access.tf cannot tell them: an application inference profile's, or a new geography's."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.foundation_model_arns : can(regex("^arn:aws[a-z-]*:bedrock:[a-z0-9-]*::foundation-model/[A-Za-z0-9.:_-]+$", arn))])
    error_message = "foundation_model_arns must be ARNs of foundation models, with no wildcard."
  }

  validation {
    condition     = length(var.foundation_model_arns) == 0 || !can(regex("^arn:", var.model_id)) || can(regex("inference-profile/", var.model_id))
    error_message = "foundation_model_arns are what is behind a profile, and model_id is the ARN of something else."
  }

  validation {
    condition     = !can(regex(":application-inference-profile/", var.model_id)) || length(var.foundation_model_arns) > 0
    error_message = "An application inference profile does not tell its models: give foundation_model_arns, as `aws bedrock get-inference-profile` lists them."
  }
}

variable "guardrail_profile_arns" {
  description = "Where the guardrail uses cross-Region inference: its guardrail profile's ARN in each destination Region, for the role."
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
  description = "How chat reaches the function: async (answers of up to timeout_seconds) or proxy, where API Gateway stops waiting after 29 s and says so to the client, while the function goes on."
  type        = string
  default     = "async"
  nullable    = false

  validation {
    condition     = contains(["async", "proxy"], var.chat_integration)
    error_message = "chat_integration must be async or proxy."
  }
}

variable "architecture" {
  description = "The processor that the packages were made for: arm64 or x86_64."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

variable "memory_size" {
  description = "The function's memory in MB, and with it its share of a processor."
  type        = number
  default     = 1024
  nullable    = false

  validation {
    condition     = var.memory_size >= 256 && var.memory_size <= 10240 && floor(var.memory_size) == var.memory_size
    error_message = "memory_size must be a whole number between 256 and 10240."
  }
}

variable "timeout_seconds" {
  description = "When Lambda stops an invocation: the longest answer, and deadline_seconds more."
  type        = number
  default     = 900
  nullable    = false

  validation {
    condition     = var.timeout_seconds <= 900 && floor(var.timeout_seconds) == var.timeout_seconds
    error_message = "timeout_seconds must be a whole number of at most 900, which is Lambda's limit."
  }

  validation {
    condition     = var.timeout_seconds > var.deadline_seconds
    error_message = "timeout_seconds must be more than deadline_seconds, or no answer has any time."
  }
}

variable "reserved_concurrency" {
  description = "How many answers may run at once; any number when null. AWS refuses a reservation that leaves the account fewer than 100, and new accounts may have 10 in all."
  type        = number
  default     = null

  validation {
    condition     = var.reserved_concurrency == null ? true : var.reserved_concurrency >= 1 && floor(var.reserved_concurrency) == var.reserved_concurrency
    error_message = "reserved_concurrency must be a whole number of at least 1."
  }
}

variable "snap_start" {
  description = "Start the function from a snapshot: quicker where it is cold, and billed by each start and by the snapshot's size for as long as its version exists: docs/operations.md, Rolling back."
  type        = bool
  default     = false
  nullable    = false
}

variable "throttle_rate" {
  description = "Frames and connections a second that the stage takes, as a target."
  type        = number
  default     = 50
  nullable    = false

  validation {
    condition     = var.throttle_rate > 0 && var.throttle_rate <= 10000
    error_message = "throttle_rate must be above 0 and at most 10000, an account's quota."
  }
}

variable "throttle_burst" {
  description = "How many of them at once."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.throttle_burst >= 1 && var.throttle_burst <= 5000 && floor(var.throttle_burst) == var.throttle_burst
    error_message = "throttle_burst must be a whole number between 1 and 5000, an account's quota."
  }
}

# -- the watch -------------------------------------------------------------------------------------

variable "log_retention_days" {
  description = "Days that logs are kept. They hold ids, counts and times, never what was said."
  type        = number
  default     = 30
  nullable    = false

  validation {
    # CloudWatch Logs, PutRetentionPolicy; its "never" is left out on purpose.
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one of the numbers that CloudWatch Logs takes: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, ..."
  }
}

variable "account_logging" {
  description = "Give API Gateway the role by which it writes access logs: one setting for the whole account and Region, needed once. Without such a role AWS refuses the stage (\"CloudWatch Logs role ARN must be set in account settings\"): then set this. Where another stack or person has set one, leave this false, or this deployment takes it over and `make destroy` removes it."
  type        = bool
  default     = false
  nullable    = false
}

variable "alarm_email" {
  description = "Who is told of alarms, by e-mail, once they have confirmed; nobody when null."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null ? true : can(regex("^[^@ ]+@[^@ ]+$", var.alarm_email))
    error_message = "alarm_email must be an e-mail address."
  }
}

variable "monthly_budget_usd" {
  description = "What the whole account may cost in a month before alarm_email is told; no budget when null. It warns, it does not stop."
  type        = number
  default     = null

  validation {
    condition     = var.monthly_budget_usd == null ? true : var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd must be above 0."
  }

  validation {
    condition     = var.monthly_budget_usd == null || var.alarm_email != null
    error_message = "monthly_budget_usd needs alarm_email: somebody has to be told."
  }
}
