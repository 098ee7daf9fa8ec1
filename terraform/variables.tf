# Written by `make docs` from modules/chat.

variable "name" {
  description = "The name of the deployment, from which the names of all resources are derived. Unique per account and Region."
  type        = string
  default     = "bedrock-stream-chat"
  nullable    = false
}

variable "tags" {
  description = "Tags for all resources that support tags, in addition to `project`, which is the deployment's name."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "stage" {
  description = "The name of the API's stage, which is the path of the WebSocket URL."
  type        = string
  default     = "live"
  nullable    = false
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
}

variable "kms_key_arn" {
  description = "The ARN of a customer managed KMS key in the deployment's Region, which encrypts the table, the logs, the dead-letter queue and the buckets. Without it AWS's own keys do. The key's policy must allow CloudWatch Logs, and CloudFront if there is a page, to use it: docs/deploy.md has the statements."
  type        = string
  default     = null
}

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
}

variable "architecture" {
  description = "The function's processor architecture, arm64 or x86_64, for which the packages were built."
  type        = string
  default     = "arm64"
  nullable    = false
}

variable "auth" {
  description = "How clients authenticate. Access needs IAM by default (clients sign with SigV4 and need execute-api:Invoke); `cognito` (users of a pool that is created here), `jwt` (a token of jwt.issuer) and `none` (no authentication) are the other choices."
  type        = string
  default     = "iam"
  nullable    = false
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
}

variable "allowed_origins" {
  description = "Web origins from which browsers may connect, such as https://chat.example.com. If empty, and without `web`, all origins may."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "requests_per_day" {
  description = "Requests to the model that a user may make per UTC day. 0 means no limit."
  type        = number
  default     = 500
  nullable    = false
}

variable "tokens_per_day" {
  description = "Input and output tokens that a user may consume per UTC day. 0 means no limit."
  type        = number
  default     = 1000000
  nullable    = false
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
}

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
}

variable "model_id" {
  description = "The Bedrock model: a model id, an inference profile id, or the ARN of either."
  type        = string
  default     = "global.anthropic.claude-sonnet-4-6"
  nullable    = false
}

variable "model_family" {
  description = "The model family whose request format to use, if it cannot be derived from model_id. See docs/families.md."
  type        = string
  default     = ""
  nullable    = false
}

variable "foundation_model_arns" {
  description = "The foundation models of the inference profile in model_id, if they cannot be derived from it: for an application inference profile, or a geography that the module `models` does not list."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "system_prompt" {
  description = "The system prompt, sent to the model before the conversation: at most 64 KB in UTF-8. One of more than 3,072 bytes is kept in an S3 bucket, which exists only then; each version of the function keeps its prompt. The text must be known at plan."
  type        = string
  default     = "You are a helpful assistant."
  nullable    = false
}

variable "max_output_tokens" {
  description = "The maximum length of an answer, in tokens."
  type        = number
  default     = 4096
  nullable    = false
}

variable "temperature" {
  description = "The sampling temperature. If null, the model's default applies."
  type        = number
  default     = null
}

variable "top_p" {
  description = "The nucleus sampling threshold. If null, the model's default applies."
  type        = number
  default     = null
}

variable "stop_sequences" {
  description = "Texts that end an answer when the model generates them. Not every model family supports them."
  type        = list(string)
  default     = []
  nullable    = false
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
}

variable "guardrail_version" {
  description = "The version of the guardrail: a number, or DRAFT."
  type        = string
  default     = "DRAFT"
  nullable    = false
}

variable "guardrail_profile_arns" {
  description = "The guardrail profile's ARN in each destination Region, for a guardrail with cross-Region inference."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "service_tier" {
  description = "Bedrock's service tier: priority, default, flex or reserved. If empty, Bedrock's default applies."
  type        = string
  default     = ""
  nullable    = false
}

variable "performance_latency" {
  description = "Bedrock's latency setting: standard or optimized. If empty, Bedrock's default applies."
  type        = string
  default     = ""
  nullable    = false
}

variable "retry_seconds" {
  description = "How long a call that Bedrock rejected is retried before the first delta, in seconds."
  type        = number
  default     = 15
  nullable    = false
}

variable "stall_seconds" {
  description = "How long to wait for the first chunk from Bedrock, and for each further one, in seconds."
  type        = number
  default     = 60
  nullable    = false
}

variable "deadline_seconds" {
  description = "How long before the function's timeout a stream is ended, so that the answer can be saved and its end sent, in seconds."
  type        = number
  default     = 10
  nullable    = false
}

variable "timeout_seconds" {
  description = "The function's timeout, in seconds: at most 1800, or 900 with a version of the AWS provider that accepts no more, such as 5.100. The longest answer takes this time less deadline_seconds."
  type        = number
  default     = 900
  nullable    = false
}

variable "max_input_bytes" {
  description = "The maximum length of a message from a client, in UTF-8 bytes."
  type        = number
  default     = 131072
  nullable    = false
}

variable "history_tokens" {
  description = "How much of the conversation is sent to the model with each message, in tokens. history_turns also applies."
  type        = number
  default     = 16000
  nullable    = false
}

variable "history_turns" {
  description = "How much of the conversation is sent to the model with each message, in turns. history_tokens also applies."
  type        = number
  default     = 50
  nullable    = false
}

variable "session_days" {
  description = "Days after which a turn is deleted."
  type        = number
  default     = 30
  nullable    = false
}

variable "on_disconnect" {
  description = "What happens to an answer when its client disconnects: `finish` completes and saves it, `cancel` ends it."
  type        = string
  default     = "finish"
  nullable    = false
}

variable "chat_integration" {
  description = "How API Gateway invokes the function for messages: `async` (answers of up to timeout_seconds) or `proxy` (API Gateway sends a timeout error to the client after 29 s, while the function continues)."
  type        = string
  default     = "async"
  nullable    = false
}

variable "memory_size" {
  description = "The function's memory in MB. Lambda allocates CPU in proportion to it."
  type        = number
  default     = 1024
  nullable    = false
}

variable "reserved_concurrency" {
  description = "The function's reserved concurrency, which limits how many messages are handled at once. If null, none is reserved. 0 stops the deployment: no connection and no message is accepted, and nothing is deleted (docs/operations.md, Stopping). AWS refuses a reservation that leaves the account fewer than 100; new accounts may have 10 in total."
  type        = number
  default     = null
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
}

variable "throttle_burst" {
  description = "The throttling burst of each route that clients use: connections at once, and messages of each action at once."
  type        = number
  default     = 100
  nullable    = false
}

variable "log_retention_days" {
  description = "Days after which logs are deleted. They contain ids, counts, times and, in API Gateway's access log, clients' IP addresses, but no messages."
  type        = number
  default     = 30
  nullable    = false
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
}
