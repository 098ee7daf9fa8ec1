# The function's settings: the fields of src/settings.py, each from the variable of that name. The
# validations in variables.tf have the same bounds, so that a value which the function would refuse is
# refused before it is deployed. The tests compare the two.

locals {
  # Passed to the function as environment variables: names in upper case, lists as JSON.
  settings = {
    allowed_origins     = concat(local.page_origins, var.allowed_origins)
    auth                = var.auth == "cognito" ? "jwt" : var.auth
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
    system_prompt       = local.prompt_count == 0 ? var.system_prompt : null # else an object: prompt.tf
    temperature         = var.temperature
    tokens_per_day      = var.tokens_per_day
    top_p               = var.top_p
  }
}
