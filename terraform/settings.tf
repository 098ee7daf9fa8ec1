# The function's settings: the fields of src/settings.py, with the same bounds, so that a value which
# the function would refuse is refused before it is deployed. The tests compare the two. Only the
# daily quotas have other defaults here, because the owner of the deployment pays.

locals {
  # Passed to the function as environment variables: names in upper case, lists as JSON.
  settings = {
    allowed_origins     = concat(local.page_origins, var.allowed_origins)
    auth                = var.auth
    deadline_seconds    = var.deadline_seconds
    guardrail_id        = var.guardrail_id
    guardrail_version   = var.guardrail_version
    history_tokens      = var.history_tokens
    history_turns       = var.history_turns
    max_input_bytes     = var.max_input_bytes
    max_output_tokens   = var.max_output_tokens
    model_family        = var.model_family
    model_id            = var.model_id
    on_disconnect       = var.on_disconnect
    performance_latency = var.performance_latency
    prompt_cache        = var.prompt_cache
    requests_per_day    = var.requests_per_day
    retry_seconds       = var.retry_seconds
    service_tier        = var.service_tier
    session_days        = var.session_days
    show_reasoning      = var.show_reasoning
    stall_seconds       = var.stall_seconds
    stop_sequences      = var.stop_sequences
    system_prompt       = var.system_prompt
    temperature         = var.temperature
    tokens_per_day      = var.tokens_per_day
    top_p               = var.top_p
  }
}

# -- access and quotas -----------------------------------------------------------------------------

variable "auth" {
  description = "How clients authenticate. Access needs IAM by default (clients sign with SigV4 and need execute-api:Invoke); `jwt` (a token of jwt_issuer) and `none` (no authentication) are the other choices."
  type        = string
  default     = "iam"
  nullable    = false

  validation {
    condition     = contains(["iam", "jwt", "none"], var.auth)
    error_message = "auth must be iam, jwt or none."
  }
}

variable "allowed_origins" {
  description = "Web origins from which browsers may connect, such as https://chat.example.com. If empty, and without web_page, all origins may."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for origin in var.allowed_origins : can(regex("^https?://[^/]+$", origin))])
    error_message = "allowed_origins must be origins: a scheme and a host, without a path or a trailing slash."
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
}

variable "model_family" {
  description = "The model family whose request format to use, if it cannot be derived from model_id. See docs/families.md."
  type        = string
  default     = ""
  nullable    = false
}

variable "system_prompt" {
  description = "The system prompt, sent to the model before the conversation."
  type        = string
  default     = "You are a helpful assistant."
  nullable    = false
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
