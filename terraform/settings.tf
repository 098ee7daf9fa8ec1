# What the function is told: the fields of src/settings.py, where their meaning stands too, and their
# bounds, so that what the function would refuse is refused before it is deployed. The tests hold the
# two together. Only what a person may use in a day has another default here: who deploys, pays.

# -- who may talk, and how much --------------------------------------------------------------------

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

variable "allowed_origins" {
  description = "Web origins from which browsers may connect, such as https://chat.example.com; all when empty and there is no page (web_page)."
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

# -- time ------------------------------------------------------------------------------------------

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
