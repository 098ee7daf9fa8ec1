# Every optional resource, so that checkov scans all of them.

auth                = "jwt"
jwt_issuer          = "https://issuer.example.com"
jwt_audience        = ["web"]
account_logging     = true
alarm_email         = "me@example.com"
monthly_budget_usd  = 50
guardrail_id        = "abc123"
snap_start          = true
web_page            = true
web_client_id       = "web"
web_domain          = "chat.example.com"
web_certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
