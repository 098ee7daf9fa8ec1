// Who a person is: signs them in at an OpenID Connect issuer, by the code flow with PKCE.
//
// Rules
// - What the issuer sends back leaves the address bar before anything else happens.
// - State, nonce and verifier are for one attempt: they are forgotten before its code is redeemed.
// - What one attempt needs, and then the token, is kept in sessionStorage: in this tab, until it is
//   closed or the person signs out. A token is in no URL of ours and in no message.
// - There is no refresh token. When a token has run out the person is sent to the issuer again, which
//   as a rule still knows them.
//
// What it does not know: what the token opens, and the page, which tells what went wrong.

import * as oauth from "./vendor/oauth4webapi.js";

const TOKEN = "signin.token";
const ATTEMPT = "signin.attempt";
const MARGIN_MS = 10_000; // on its way to the server a token may not run out

let latest; // for signing out

/**
 * The person's token: `{token, name, expiresAt}`. Leaves the page for the issuer where there is none.
 *
 * `config` is config.json. The message of an error is for the person; one that is `passing` may be
 * gone at the next attempt.
 */
export async function signIn(config) {
  latest = config;
  const returned = takeReturned();
  if (returned) return keep(config, await redeem(config, returned));
  return kept(config) ?? ask(config);
}

/** Forgets the token here, and has the issuer ask anew who it is. */
export async function signOut() {
  sessionStorage.removeItem(TOKEN);
  await ask(latest, { prompt: "login" }).catch(() => location.reload()); // which tells what is wrong
}

// -- what is kept -------------------------------------------------------------------------------------

/** For whom a token was made: another deployment at the same address has no use for it. */
const purpose = ({ issuer, client_id, scope, token }) => JSON.stringify([issuer, client_id, scope, token]);

function keep(config, signedIn) {
  sessionStorage.setItem(TOKEN, JSON.stringify({ purpose: purpose(config), ...signedIn }));
  return signedIn;
}

function kept(config) {
  const found = JSON.parse(sessionStorage.getItem(TOKEN));
  if (found?.purpose !== purpose(config) || found.expiresAt - MARGIN_MS < Date.now()) return null;
  const { token, name, expiresAt } = found;
  return { token, name, expiresAt };
}

// -- there and back -----------------------------------------------------------------------------------

/** Where the issuer sends people: this page, without a query. */
const here = () => new URL(".", location.href).href;

/** Goes to the issuer. It is heard of again only where the person comes back by themselves. */
async function ask(config, more = {}) {
  const issuer = await discover(config);
  const attempt = {
    state: oauth.generateRandomState(),
    nonce: oauth.generateRandomNonce(),
    verifier: oauth.generateRandomCodeVerifier(),
  };
  sessionStorage.setItem(ATTEMPT, JSON.stringify(attempt));
  const url = new URL(issuer.authorization_endpoint);
  const asked = {
    response_type: "code",
    client_id: config.client_id,
    redirect_uri: here(),
    scope: config.scope,
    state: attempt.state,
    nonce: attempt.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(attempt.verifier),
    code_challenge_method: "S256",
    ...more,
  };
  for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
  location.assign(url);
  return new Promise((_, reject) => {
    addEventListener("pageshow", ({ persisted }) => persisted && reject(new Error("you have not signed in.")));
  });
}

/** What the issuer has sent back, taken out of the address bar; null where this is no such return. */
function takeReturned() {
  const url = new URL(location.href);
  if (!["code", "error", "state"].some((name) => url.searchParams.has(name))) return null;
  history.replaceState(history.state, "", url.pathname);
  return url.searchParams;
}

/** The tokens for the code that was sent back. */
async function redeem(config, returned) {
  const attempt = JSON.parse(sessionStorage.getItem(ATTEMPT));
  sessionStorage.removeItem(ATTEMPT);
  if (returned.get("state") !== attempt?.state) {
    throw new Error("this sign-in was not begun here, or was used already.");
  }
  const issuer = await discover(config);
  const client = { client_id: config.client_id };
  return told(config, async () => {
    const answered = await oauth.authorizationCodeGrantRequest(
      issuer,
      client,
      oauth.None(),
      oauth.validateAuthResponse(issuer, client, returned, attempt.state),
      here(),
      attempt.verifier,
      options(),
    );
    const tokens = await oauth.processAuthorizationCodeResponse(issuer, client, answered, {
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
  return told(config, async () =>
    oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, options())),
  );
}

/** Only a page that came without TLS itself, as the local stack's, speaks so with its issuer. */
const options = () => ({ [oauth.allowInsecureRequests]: location.protocol === "http:" });

// -- what goes wrong ----------------------------------------------------------------------------------

const SENTENCES = [
  [oauth.AuthorizationResponseError, (error) => `the issuer did not sign you in: ${reason(error)}.`],
  [oauth.ResponseBodyError, (error) => `the issuer did not take this sign-in: ${reason(error)}.`],
  [oauth.WWWAuthenticateChallengeError, () => "the issuer does not take this page for a public client."],
  [oauth.OperationProcessingError, () => "the issuer's answer is not as it should be."],
  [TypeError, (_, issuer) => `${issuer} cannot be reached from this page.`, { passing: true }],
];

const reason = ({ error, error_description }) => error_description ?? error.replaceAll("_", " ");

/** Does the work; where that fails, says so in a sentence, without what was sent or received. */
async function told(config, work) {
  try {
    return await work();
  } catch (error) {
    const [, sentence, more] = SENTENCES.find(([kind]) => error instanceof kind) ?? [];
    throw sentence ? Object.assign(new Error(sentence(error, new URL(config.issuer).origin)), more) : error;
  }
}
