# The users' sign-in, with auth = "cognito": a user pool, its sign-in pages, and the client as which the
# web page and the terminal client sign users in. With auth = "jwt" another issuer has them.
#
# Rules
# - An administrator invites users (`make user`), unless var.cognito.self_sign_up allows anyone to join.
# - One public client, without a secret: the authorization code flow with PKCE, and no other.
# - The addresses that the page and the distribution need are strings made here, so that the invitation
#   can name the page, whose distribution depends on them.

locals {
  cognito_count = var.auth == "cognito" ? 1 : 0

  # Unique among all accounts in a Region, and without the account's number.
  cognito_suffix        = substr(sha256("${local.account}/${var.name}"), 0, 8)
  cognito_domain_prefix = coalesce(var.cognito.domain_prefix, "${var.name}-${local.cognito_suffix}")
  cognito_domain        = "https://${local.cognito_domain_prefix}.auth.${local.region}.amazoncognito.com"

  # The discovery document and the keys, and the token endpoint.
  cognito_origins = var.auth == "cognito" ? ["https://cognito-idp.${local.region}.amazonaws.com", local.cognito_domain] : []

  # Where the terminal client receives the code: PORTS in bedrock_chat/loopback.py. Cognito compares the
  # whole URL.
  loopback_urls = [for port in [8976, 8977, 8978] : "http://localhost:${port}/"]
  page_urls     = [for origin in local.page_origins : "${origin}/"]

  # What a client needs to sign users in; null if there is none.
  sign_in = (
    var.auth == "cognito" ? {
      issuer    = "https://${aws_cognito_user_pool.users[0].endpoint}"
      client_id = aws_cognito_user_pool_client.chat[0].id
      scope     = "openid email"
      token     = "id_token"
    }
    : var.auth == "jwt" && try(var.web.client_id, null) != null ? {
      issuer    = var.jwt.issuer
      client_id = var.web.client_id
      scope     = var.web.scope
      token     = var.web.token
    }
    : null
  )
  # Cognito's sign-in pages have a session of their own, which ends here.
  logout_url = var.auth != "cognito" || var.web == null ? null : join("", [
    local.cognito_domain, "/logout?client_id=", aws_cognito_user_pool_client.chat[0].id,
    "&logout_uri=", urlencode(local.page_urls[0]),
  ])
}

resource "aws_cognito_user_pool" "users" {
  count = local.cognito_count

  name                     = var.name
  username_attributes      = ["email"]
  auto_verified_attributes = ["email"]
  mfa_configuration        = var.cognito.mfa ? "ON" : "OFF"
  deletion_protection      = var.deletion_protection ? "ACTIVE" : "INACTIVE"

  username_configuration {
    case_sensitive = false
  }

  admin_create_user_config {
    allow_admin_create_user_only = !var.cognito.self_sign_up

    invite_message_template {
      email_subject = "Your invitation to the chat ${var.name}"
      # Cognito replaces both placeholders, and requires them in both messages.
      email_message = join("<br>", concat(
        ["You are invited to the chat ${var.name}.", "User name: {username}", "Temporary password: {####}"],
        [for url in local.page_urls : "Sign in within seven days: ${url}"],
      ))
      sms_message = "${var.name}: user name {username}, temporary password {####}"
    }
  }

  # NIST SP 800-63B: length, and no rules about the kinds of characters.
  password_policy {
    minimum_length                   = 12
    require_lowercase                = false
    require_numbers                  = false
    require_symbols                  = false
    require_uppercase                = false
    temporary_password_validity_days = 7
  }

  # MFA is ON or OFF. OPTIONAL would need a place to set it up, which the sign-in pages offer only if all
  # users need it.
  dynamic "software_token_mfa_configuration" {
    for_each = var.cognito.mfa ? [true] : []

    content {
      enabled = true
    }
  }

  account_recovery_setting {
    recovery_mechanism {
      name     = "verified_email"
      priority = 1
    }
  }

  tags = local.tags
}

resource "aws_cognito_user_pool_domain" "users" {
  count = local.cognito_count

  domain       = local.cognito_domain_prefix
  user_pool_id = aws_cognito_user_pool.users[0].id

  lifecycle {
    precondition {
      # Cognito Developer Guide, "Configuring a user pool domain".
      condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", local.cognito_domain_prefix)) && !can(regex("aws|amazon|cognito", local.cognito_domain_prefix))
      error_message = "The sign-in domain's prefix must be at most 63 lower-case letters, digits and hyphens, without aws, amazon and cognito: set cognito.domain_prefix."
    }
  }
}

resource "aws_cognito_user_pool_client" "chat" {
  count = local.cognito_count

  name         = var.name
  user_pool_id = aws_cognito_user_pool.users[0].id

  generate_secret                      = false
  allowed_oauth_flows_user_pool_client = true
  allowed_oauth_flows                  = ["code"]
  allowed_oauth_scopes                 = ["openid", "email"]
  supported_identity_providers         = ["COGNITO"]
  callback_urls                        = concat(local.page_urls, local.loopback_urls)
  logout_urls                          = local.page_urls

  # Without the flows that send a password to Cognito's API.
  explicit_auth_flows           = ["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH"]
  prevent_user_existence_errors = "ENABLED"
  enable_token_revocation       = true

  access_token_validity  = 1
  id_token_validity      = 1
  refresh_token_validity = 30

  token_validity_units {
    access_token  = "hours"
    id_token      = "hours"
    refresh_token = "days"
  }
}
