// A real OpenID Connect provider for the tests of logins: oidc-provider, client credentials, JWT access tokens.
//
// Environment: PORT, KEYS (path of a private JWK Set), AUDIENCES (separated by blanks), SECRET of the clients.
// A client is called by the algorithm its tokens are signed with. /entitlements tells of the subject of a token what
// ENTITLEMENTS (a JSON object) holds of it.
import { readFileSync } from "node:fs";
import Provider from "oidc-provider";

const { PORT, KEYS, AUDIENCES, SECRET, ENTITLEMENTS } = process.env;
const jwks = JSON.parse(readFileSync(KEYS, "utf8"));
const algorithms = [...new Set(jwks.keys.map((key) => key.alg))];
const entitlements = JSON.parse(ENTITLEMENTS);

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  jwks,
  clients: algorithms.map((algorithm) => ({
    client_id: algorithm,
    client_secret: SECRET,
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: algorithm,
  })),
  cookies: { keys: [SECRET] },
  enabledJWA: { idTokenSigningAlgValues: algorithms },
  extraTokenClaims: () => ({ acr: "silver" }),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource, client) => {
        if (!AUDIENCES.split(" ").includes(resource)) throw new Error("no such resource");
        return {
          audience: resource,
          scope: "slides",
          accessTokenTTL: 600,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: client.clientId } },
        };
      },
    },
  },
  pkce: { required: () => true },
});

provider.use(async (context, next) => {
  if (context.path !== "/entitlements") return next();
  const token = context.get("authorization").replace("Bearer ", "");
  const { sub } = JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
  context.body = { sub, eduperson_entitlement: entitlements[sub] ?? [] };
});

provider.listen(Number(PORT), "127.0.0.1", () => console.log("ready"));
