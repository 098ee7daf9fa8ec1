# Every optional part, so that checkov sees all that there can be.

auth               = "jwt"
jwt_issuer         = "https://issuer.example.com"
jwt_audience       = ["web"]
account_logging    = true
alarm_email        = "me@example.com"
monthly_budget_usd = 50
guardrail_id       = "abc123"
snap_start         = true
