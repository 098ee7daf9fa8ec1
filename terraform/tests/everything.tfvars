# Every optional resource, so that checkov scans all of them.

auth            = "jwt"
jwt             = { issuer = "https://issuer.example.com", audience = ["web"] }
account_logging = true
alarms          = { email = "me@example.com", monthly_budget_usd = 50 }
guardrail_id    = "abc123"
snap_start      = true
domain = {
  name            = "ws.example.com"
  certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
  zone_id         = "Z0123456789ABC"
}
web = {
  client_id = "web"
  domain = {
    name            = "chat.example.com"
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
    zone_id         = "Z0123456789ABC"
  }
}
