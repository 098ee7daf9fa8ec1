// Signs the user in at an OpenID Connect issuer, by the authorization code flow with PKCE.
//
// Rules
// - The issuer's response is removed from the address bar before anything else happens.
// - State, nonce and verifier serve one attempt: they are deleted before its code is redeemed.
// - An attempt's values, and then the token, are stored in sessionStorage: for this tab, until it is
//   closed or the user signs out. The token is never part of a URL or of a message.
// - There is no refresh token. After a token has expired the user is redirected to the issuer, which
//   usually still has a session for them.
//
// It does not know what the token is used for, or the page, which shows the errors.

import * as oauth from "./vendor/oauth4webapi.js";

const TOKEN = "signin.token";
const ATTEMPT = "signin.attempt";
const MARGIN_MS = 10_000; // a token must not expire on its way to the server

let configuration; // for signing out

/**
 * The user's token: `{token, name, expiresAt}`. Without a valid one, redirects to the issuer.
 *
 * `config` is config.json. An error's message is for the user; a `transient` one may be retried.
 */
export async function signIn(config) {
  configuration = config;
  const response = takeResponse();
  if (response) return store(config, await redeem(config, response));
  return stored(config) ?? redirect(config);
}

/**
 * Deletes the token, and redirects to the issuer's sign-in, even if it has a session.
 *
 * An issuer with a `logout_url` ends its session there, and redirects back to this page.
 */
export async function signOut() {
  sessionStorage.removeItem(TOKEN);
  if (configuration.logout_url) return location.assign(configuration.logout_url);
  // Reloading repeats the redirect and shows why it fails.
  await redirect(configuration, { prompt: "login" }).catch(() => location.reload());
}

// -- the stored token ---------------------------------------------------------------------------------

/** What a token was issued for: another deployment at the same address must not use it. */
const purpose = ({ issuer, client_id, scope, token }) => JSON.stringify([issuer, client_id, scope, token]);

function store(config, signedIn) {
  sessionStorage.setItem(TOKEN, JSON.stringify({ purpose: purpose(config), ...signedIn }));
  return signedIn;
}

function stored(config) {
  const found = JSON.parse(sessionStorage.getItem(TOKEN));
  if (found?.purpose !== purpose(config) || found.expiresAt - MARGIN_MS < Date.now()) return null;
  const { token, name, expiresAt } = found;
  return { token, name, expiresAt };
}

// -- the redirect and its response --------------------------------------------------------------------

/** Where the issuer redirects to: this page, without a query. */
const redirectUri = () => new URL(".", location.href).href;

/** Redirects to the issuer. It rejects if the user comes back with the browser's back button. */
async function redirect(config, more = {}) {
  const issuer = await discover(config);
  const attempt = {
    state: oauth.generateRandomState(),
    nonce: oauth.generateRandomNonce(),
    verifier: oauth.generateRandomCodeVerifier(),
  };
  sessionStorage.setItem(ATTEMPT, JSON.stringify(attempt));
  const url = new URL(issuer.authorization_endpoint);
  const query = {
    response_type: "code",
    client_id: config.client_id,
    redirect_uri: redirectUri(),
    scope: config.scope,
    state: attempt.state,
    nonce: attempt.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(attempt.verifier),
    code_challenge_method: "S256",
    ...more,
  };
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  location.assign(url);
  return new Promise((_, reject) => {
    addEventListener("pageshow", ({ persisted }) => persisted && reject(new Error("you are not signed in.")));
  });
}

/** The issuer's response, removed from the address bar; null if this URL contains none. */
function takeResponse() {
  const url = new URL(location.href);
  if (!["code", "error", "state"].some((name) => url.searchParams.has(name))) return null;
  history.replaceState(history.state, "", url.pathname);
  return url.searchParams;
}

/** Exchanges the response's code for the token. */
async function redeem(config, response) {
  const attempt = JSON.parse(sessionStorage.getItem(ATTEMPT));
  sessionStorage.removeItem(ATTEMPT);
  if (response.get("state") !== attempt?.state) {
    throw new Error("this sign-in was not started in this tab, or was already completed.");
  }
  const issuer = await discover(config);
  const client = { client_id: config.client_id };
  return explainErrors(config, async () => {
    const tokenResponse = await oauth.authorizationCodeGrantRequest(
      issuer,
      client,
      oauth.None(),
      oauth.validateAuthResponse(issuer, client, response, attempt.state),
      redirectUri(),
      attempt.verifier,
      options(),
    );
    const tokens = await oauth.processAuthorizationCodeResponse(issuer, client, tokenResponse, {
      expectedNonce: attempt.nonce,
      requireIdToken: true,
    });
    const claims = oauth.getValidatedIdTokenClaims(tokens);
    const byKind = {
      id_token: claims.exp * 1000,
      access_token: tokens.expires_in ? Date.now() + tokens.expires_in * 1000 : claims.exp * 1000,
    };
    return {
      token: tokens[config.token],
      name: claims.name ?? claims.preferred_username ?? claims.email ?? claims.sub,
      expiresAt: byKind[config.token],
    };
  });
}

function discover(config) {
  const url = new URL(config.issuer);
  return explainErrors(config, async () =>
    oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, options())),
  );
}

/** HTTP is allowed only for a page that was itself served over HTTP, as by the local stack. */
const options = () => ({ [oauth.allowInsecureRequests]: location.protocol === "http:" });

// -- errors -------------------------------------------------------------------------------------------

const SENTENCES = [
  [oauth.AuthorizationResponseError, (error) => `the issuer refused the sign-in: ${reason(error)}.`],
  [oauth.ResponseBodyError, (error) => `the issuer rejected the sign-in code: ${reason(error)}.`],
  [oauth.WWWAuthenticateChallengeError, () => "the issuer does not accept this page as a public client."],
  [oauth.OperationProcessingError, () => "the issuer returned an invalid response."],
  [TypeError, (_, issuer) => `${issuer} cannot be reached from this page.`, { transient: true }],
];

const reason = ({ error, error_description }) => error_description ?? error.replaceAll("_", " ");

/** Runs `work`; replaces its errors by sentences that contain nothing that was sent or received. */
async function explainErrors(config, work) {
  try {
    return await work();
  } catch (error) {
    const [, sentence, more] = SENTENCES.find(([kind]) => error instanceof kind) ?? [];
    throw sentence ? Object.assign(new Error(sentence(error, new URL(config.issuer).origin)), more) : error;
  }
}
