// node oidc_provider_server.mjs PORT ALG CLIENTS.json
// npm's oidc-provider (OpenID certified) with in-memory storage and a sign-in form of its own. For the tests alone.
import http from 'node:http';
import { readFileSync } from 'node:fs';
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const [port, algorithm, clientsFile] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const people = {
  alice: { password: 'wonderland', name: 'Alice Liddell', email: 'alice@example.com', groups: ['engineering', 'shop-team'] },
  bob: { password: 'builder', name: 'Bob Contractor', email: 'bob@example.com', groups: ['contractors'] },
};
const key = algorithm === 'ES256'
  ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('rsa', { modulusLength: 2048 });
const provider = new Provider(issuer, {
  clients: JSON.parse(readFileSync(clientsFile)),
  jwks: { keys: [{ ...key.privateKey.export({ format: 'jwk' }), use: 'sig', alg: algorithm, kid: `test-${algorithm}` }] },
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'], groups: ['groups'] },
  conformIdTokenClaims: false, // the groups travel in the ID token, as with most corporate providers
  pkce: { required: () => true },
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256'] },
  cookies: { keys: ['a-test-cookie-key-that-is-public'] },
  features: {
    devInteractions: { enabled: false },
    rpInitiatedLogout: { enabled: true },
    backchannelLogout: { enabled: true },
  },
  // The back-channel logout goes to the gateway on loopback, which the library's own fetch would refuse.
  fetch: (url, options) => globalThis.fetch(url, { ...options, dispatcher: undefined }),
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_ctx, id) => people[id] && {
    accountId: id,
    claims: async () => ({ sub: id, name: people[id].name, email: people[id].email, email_verified: true, groups: people[id].groups }),
  },
  loadExistingGrant: async (ctx) => {
    const grant = new provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid profile email groups');
    await grant.save();
    return grant;
  },
});
const form = '<form method="post"><label>User <input name="username"></label><label>Password <input type="password" name="password"></label><button type="submit">Sign in</button></form>';
const answer = provider.callback();
http.createServer(async (req, res) => {
  try {
    if (!req.url.startsWith('/interaction/')) return answer(req, res);
    res.setHeader('content-type', 'text/html');
    if (req.method === 'GET') { await provider.interactionDetails(req, res); return res.end(form); }
    let body = '';
    for await (const chunk of req) body += chunk;
    const fields = new URLSearchParams(body);
    const person = people[fields.get('username')];
    if (!person || person.password !== fields.get('password')) { res.statusCode = 401; return res.end(`Wrong.${form}`); }
    await provider.interactionFinished(req, res, { login: { accountId: fields.get('username'), amr: ['pwd'] } }, { mergeWithLastSubmission: false });
  } catch (error) {
    res.statusCode = 400;
    res.end(String(error));
  }
}).listen(Number(port), '127.0.0.1', () => console.log('listening on', issuer));
for (const event of ['server_error', 'authorization.error', 'grant.error', 'end_session.error', 'backchannel.error', 'backchannel.success']) {
  provider.on(event, (...details) => console.log(event, ...details.filter((d) => d instanceof Error).map((d) => `${d} ${d.error_description ?? ''} ${d.cause ?? ''}`)));
}
