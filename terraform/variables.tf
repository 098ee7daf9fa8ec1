# Everything that a deployment may choose. terraform.tfvars.example has the handful that people change.
#
# The bounds of what the function is told are those of src/settings.py, where its meaning stands too;
# the tests hold the two together. The rest are AWS's own limits.

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

# -- who may talk ----------------------------------------------------------------------------------

variable "auth" {
  description = "Who may connect: iam (signed by who may execute-api:Invoke), jwt (a token of jwt_issuer) or none (anybody)."
  type        = string
  default     = "iam"
  nullable    = false

  validation {
    condition     = contains(["iam", "jwt", "none"], var.auth)
    error_message = "auth must be iam, jwt or none."
  }
}

variable "jwt_issuer" {
  description = "The OIDC issuer whose tokens are taken, as in their iss; only where auth is jwt."
  type        = string
  default     = null

  validation {
    # As src/authorizer.py has it: without TLS on this very machine only, which is where the tests are.
    condition     = var.jwt_issuer == null ? true : can(regex("^(https://|http://(127\\.0\\.0\\.1|localhost)[:/])[^ ?#]+$", var.jwt_issuer))
    error_message = "jwt_issuer must be an https:// URL."
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

variable "allowed_origins" {
  description = "Web origins from which browsers may connect, such as https://chat.example.com; all when empty."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for origin in var.allowed_origins : can(regex("^https?://[^/]+$", origin))])
    error_message = "allowed_origins must be origins: a scheme and a host, with no path and no slash at the end."
  }
}

variable "requests_per_day" {
  description = "Questions a person may ask in a UTC day; 0: any number."
  type        = number
  default     = 500
  nullable    = false

  validation {
    condition     = var.requests_per_day >= 0 && floor(var.requests_per_day) == var.requests_per_day
    error_message = "requests_per_day must be a whole number of at least 0."
  }
}

variable "tokens_per_day" {
  description = "Tokens, in and out, that a person may use in a UTC day; 0: any number."
  type        = number
  default     = 1000000
  nullable    = false

  validation {
    condition     = var.tokens_per_day >= 0 && floor(var.tokens_per_day) == var.tokens_per_day
    error_message = "tokens_per_day must be a whole number of at least 0."
  }
}

# -- the model -------------------------------------------------------------------------------------

variable "model_id" {
  description = "A Bedrock model id, inference profile id, or the ARN of either."
  type        = string
  default     = "global.anthropic.claude-sonnet-4-6"
  nullable    = false

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:bedrock:[a-z0-9-]+:([0-9]{12})?:[a-z-]+/)?[A-Za-z0-9][A-Za-z0-9.:_-]*$", var.model_id))
    error_message = "model_id must be a model id, an inference profile id, or a Bedrock ARN."
  }
}

variable "model_family" {
  description = "The family whose native shape to speak, where the model id does not tell: docs/families.md."
  type        = string
  default     = ""
  nullable    = false
}

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

variable "system_prompt" {
  description = "What the model is told before the conversation."
  type        = string
  default     = "You are a helpful assistant."
  nullable    = false
}

variable "max_output_tokens" {
  description = "The longest answer, in tokens."
  type        = number
  default     = 4096
  nullable    = false

  validation {
    condition     = var.max_output_tokens >= 1 && var.max_output_tokens <= 64000 && floor(var.max_output_tokens) == var.max_output_tokens
    error_message = "max_output_tokens must be a whole number between 1 and 64000."
  }
}

variable "temperature" {
  description = "Sampling temperature; the model's own default when null."
  type        = number
  default     = null

  validation {
    condition     = var.temperature == null ? true : var.temperature >= 0 && var.temperature <= 1
    error_message = "temperature must be between 0 and 1."
  }
}

variable "top_p" {
  description = "Nucleus sampling; the model's own default when null."
  type        = number
  default     = null

  validation {
    condition     = var.top_p == null ? true : var.top_p >= 0 && var.top_p <= 1
    error_message = "top_p must be between 0 and 1."
  }
}

variable "stop_sequences" {
  description = "Texts that end an answer; not every family has them."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for text in var.stop_sequences : text != ""])
    error_message = "stop_sequences must not contain an empty text."
  }
}

variable "show_reasoning" {
  description = "Send the model's reasoning to the client."
  type        = bool
  default     = false
  nullable    = false
}

variable "prompt_cache" {
  description = "Put cache points behind the system prompt and the history, for Claude."
  type        = bool
  default     = false
  nullable    = false
}

variable "guardrail_id" {
  description = "A Bedrock guardrail's id or ARN; none when empty."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9]+|arn:aws[a-z-]*:bedrock:[a-z0-9-]+:[0-9]{12}:guardrail/[a-z0-9]+)?$", var.guardrail_id))
    error_message = "guardrail_id must be a guardrail's id or ARN."
  }
}

variable "guardrail_version" {
  description = "Which version of the guardrail: a number, or DRAFT."
  type        = string
  default     = "DRAFT"
  nullable    = false

  validation {
    condition     = can(regex("^([1-9][0-9]{0,7}|DRAFT)$", var.guardrail_version))
    error_message = "guardrail_version must be a number, or DRAFT."
  }
}

variable "service_tier" {
  description = "Bedrock's service tier; its own default when empty."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = contains(["", "priority", "default", "flex", "reserved"], var.service_tier)
    error_message = "service_tier must be priority, default, flex, reserved, or empty."
  }
}

variable "performance_latency" {
  description = "Bedrock's latency setting; its own default when empty."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = contains(["", "standard", "optimized"], var.performance_latency)
    error_message = "performance_latency must be standard, optimized, or empty."
  }
}

variable "retry_seconds" {
  description = "How long a call that Bedrock turned away may be tried again, before the first delta."
  type        = number
  default     = 15
  nullable    = false

  validation {
    condition     = var.retry_seconds >= 0 && var.retry_seconds <= 300
    error_message = "retry_seconds must be between 0 and 300."
  }
}

variable "stall_seconds" {
  description = "How long Bedrock may be silent, before its first chunk and between two."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.stall_seconds >= 0.1 && var.stall_seconds <= 900
    error_message = "stall_seconds must be between 0.1 and 900."
  }
}

# -- the conversation ------------------------------------------------------------------------------

variable "max_input_bytes" {
  description = "The longest question, in UTF-8 bytes."
  type        = number
  default     = 131072
  nullable    = false

  validation {
    condition     = var.max_input_bytes >= 1 && var.max_input_bytes <= 131072 && floor(var.max_input_bytes) == var.max_input_bytes
    error_message = "max_input_bytes must be a whole number between 1 and 131072."
  }
}

variable "history_tokens" {
  description = "How much of the conversation the model sees again, in tokens."
  type        = number
  default     = 16000
  nullable    = false

  validation {
    condition     = var.history_tokens >= 0 && var.history_tokens <= 1000000 && floor(var.history_tokens) == var.history_tokens
    error_message = "history_tokens must be a whole number between 0 and 1000000."
  }
}

variable "history_turns" {
  description = "The same, in turns: whichever is reached first."
  type        = number
  default     = 50
  nullable    = false

  validation {
    condition     = var.history_turns >= 1 && var.history_turns <= 200 && floor(var.history_turns) == var.history_turns
    error_message = "history_turns must be a whole number between 1 and 200."
  }
}

variable "session_days" {
  description = "Days after which a turn is forgotten."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.session_days >= 1 && var.session_days <= 3650 && floor(var.session_days) == var.session_days
    error_message = "session_days must be a whole number between 1 and 3650."
  }
}

variable "on_disconnect" {
  description = "When the client is gone: finish the answer and save it, or cancel it."
  type        = string
  default     = "finish"
  nullable    = false

  validation {
    condition     = contains(["finish", "cancel"], var.on_disconnect)
    error_message = "on_disconnect must be finish or cancel."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete the table, also to `make destroy`. Without it, a deleted table's last backup stays for 35 days."
  type        = bool
  default     = false
  nullable    = false
}

# -- the function ----------------------------------------------------------------------------------

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

variable "deadline_seconds" {
  description = "How long before Lambda's timeout a stream is ended, to be saved and told."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.deadline_seconds >= 0.1 && var.deadline_seconds <= 300
    error_message = "deadline_seconds must be between 0.1 and 300."
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
  description = "Start the function from a snapshot: quicker where it is cold, and billed by the snapshot's size and by each start."
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
