"""The OpenID Connect endpoints: discovery, authorize (code flow, PKCE S256 required), token, userinfo, JWKS, logout both ways."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

import jwt
import requests
from flask import Blueprint, Response, jsonify, redirect, render_template, request

from demo.idp.state import Expiring, Session

if TYPE_CHECKING:
    from demo.idp.server import CorporateIdp

ALGORITHM = "RS256"
SCOPES = ("openid", "profile", "email", "groups")
CODE_LIFETIME = timedelta(minutes=1)
TOKEN_LIFETIME = timedelta(minutes=5)
BACKCHANNEL_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_CHALLENGE = re.compile(r"^[A-Za-z0-9_-]{43}$")
_VERIFIER = re.compile(r"^[A-Za-z0-9._~-]{43,128}$")


@dataclass(frozen=True)
class OidcClient:
    """A registered relying party (confidential)."""

    client_id: str
    client_secret: str
    redirect_uris: tuple[str, ...]
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str = ""


@dataclass(frozen=True)
class Grant:
    """What a code or an access token stands for."""

    client: OidcClient
    session: Session
    redirect_uri: str
    nonce: str
    challenge: str
    scopes: frozenset[str]


class Refused(Exception):
    """An OAuth error answered as JSON (RFC 6749 5.2)."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        self.error, self.description, self.status = error, description, status
        super().__init__(f"{error}: {description}")


class OidcProvider:
    """The OpenID Connect half of a CorporateIdp."""

    def __init__(self, idp: CorporateIdp) -> None:
        self.idp = idp
        self.clients: dict[str, OidcClient] = {}
        self.codes: Expiring[Grant] = Expiring(CODE_LIFETIME)
        self.access_tokens: Expiring[Grant] = Expiring(TOKEN_LIFETIME)

    @property
    def issuer(self) -> str:
        return f"{self.idp.url}/oidc"

    def register(self, client: OidcClient) -> None:
        self.clients[client.client_id] = client

    def discovery(self) -> dict[str, Any]:
        """OpenID Connect Discovery 3, with RFC 9207's `iss` and back-channel logout announced."""
        base = self.issuer
        return {
            "issuer": base,
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "userinfo_endpoint": f"{base}/userinfo",
            "jwks_uri": f"{base}/jwks.json",
            "end_session_endpoint": f"{base}/end_session",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": list(SCOPES),
            "claims_supported": [
                "sub",
                "name",
                "email",
                "email_verified",
                "groups",
                "department",
                "amr",
                "auth_time",
                "sid",
            ],
            "authorization_response_iss_parameter_supported": True,
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
        }

    def jwks(self) -> dict[str, Any]:
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.idp.pair.key.public_key()))
        public = {name: key[name] for name in ("kty", "n", "e")}
        return {"keys": [{**public, "kid": self.idp.pair.kid, "use": "sig", "alg": ALGORITHM}]}

    def sign(self, claims: dict[str, Any], typ: str = "JWT") -> str:
        return jwt.encode(
            claims, self.idp.pair.key, algorithm=ALGORITHM, headers={"kid": self.idp.pair.kid, "typ": typ}
        )

    def person_claims(self, grant: Grant, *, in_id_token: bool) -> dict[str, Any]:
        """Claims of the scopes asked for. In overage the groups are only pointed at (OpenID Connect Core 5.6.2)."""
        actor = grant.session.actor
        claims: dict[str, Any] = {"sub": actor.subject}
        if "email" in grant.scopes:
            claims |= {"email": actor.email, "email_verified": True}
        if "profile" in grant.scopes:
            claims |= {"name": actor.name, "preferred_username": actor.login, "department": actor.department}
        if "groups" in grant.scopes and (not in_id_token or self.idp.groups_in_id_token):
            if actor.overage:
                endpoint = f"{self.idp.url}/graph/{actor.subject}/groups"
                claims |= {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": endpoint}}}
            else:
                claims["groups"] = list(actor.groups)
        return claims

    def id_token(self, grant: Grant, access_token: str) -> str:
        now = int(self.idp.now().timestamp())
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        claims = {
            "iss": self.issuer,
            "aud": grant.client.client_id,
            "iat": now,
            "exp": now + int(TOKEN_LIFETIME.total_seconds()),
            "auth_time": int(grant.session.authenticated_at.timestamp()),
            "amr": ["pwd", "otp", "mfa"] if grant.session.actor.mfa else ["pwd"],
            "sid": grant.session.sid,
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
            **({"nonce": grant.nonce} if grant.nonce else {}),
            **self.person_claims(grant, in_id_token=True),
        }
        return self.sign(claims)

    def tell_clients(self, session: Session) -> None:
        """A logout token to every client of the session (Back-Channel Logout 2.5). One that does not answer is passed over."""
        now = int(self.idp.now().timestamp())
        for client_id in sorted(session.oidc):
            client = self.clients[client_id]
            if not client.backchannel_logout_uri:
                continue
            claims = {
                "iss": self.issuer,
                "sub": session.actor.subject,
                "aud": client_id,
                "iat": now,
                "exp": now + 120,
                "jti": secrets.token_urlsafe(16),
                "sid": session.sid,
                "events": {BACKCHANNEL_EVENT: {}},
            }
            try:
                answer = requests.post(
                    client.backchannel_logout_uri,
                    data={"logout_token": self.sign(claims, "logout+jwt")},
                    timeout=5,
                    allow_redirects=False,
                )
                self.idp.backchannel_answers.append(answer.status_code)
            except requests.RequestException:
                self.idp.backchannel_answers.append(0)

    def client_of_request(self) -> OidcClient:
        """The client that authenticated by client_secret_basic or client_secret_post. Raises Refused."""
        given = request.authorization
        if given is not None and given.type == "basic":
            identifier, secret = unquote(given.username or ""), unquote(given.password or "")
        else:
            identifier, secret = request.form.get("client_id", ""), request.form.get("client_secret", "")
        client = self.clients.get(identifier)
        if client is None or not hmac.compare_digest(client.client_secret, secret):
            raise Refused("invalid_client", "Unknown client, or the wrong secret.", 401)
        return client

    def redeem(self) -> dict[str, Any]:
        """The token answer for a code (RFC 6749 4.1.3, RFC 7636 4.6). Raises Refused."""
        client = self.client_of_request()
        if request.form.get("grant_type") != "authorization_code":
            raise Refused("unsupported_grant_type", "Only authorization_code.")
        grant = self.codes.pop(request.form.get("code"), self.idp.now())
        if grant is None or grant.client != client or grant.redirect_uri != request.form.get("redirect_uri"):
            raise Refused(
                "invalid_grant", "The code is unknown, used, too old, or was made for another client or redirect_uri."
            )
        verifier = request.form.get("code_verifier", "")
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if not _VERIFIER.match(verifier) or not hmac.compare_digest(digest, grant.challenge):
            raise Refused("invalid_grant", "code_verifier does not match the code_challenge.")
        grant.session.oidc.add(client.client_id)
        access_token = self.access_tokens.put(grant, self.idp.now())
        return {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": int(TOKEN_LIFETIME.total_seconds()),
            "scope": " ".join(sorted(grant.scopes)),
            "id_token": self.id_token(grant, access_token),
        }

    def hinted_session(self, hint: str) -> Session | None:
        """The live session that an id_token_hint of ours names; its age does not matter (RP-Initiated Logout 2)."""
        try:
            claims = jwt.decode(
                hint,
                self.idp.pair.key.public_key(),
                algorithms=[ALGORITHM],
                issuer=self.issuer,
                options={"verify_exp": False, "verify_aud": False},
            )
        except jwt.InvalidTokenError:
            return None
        return next(
            (item for item in self.idp.sessions.values() if item.sid == claims.get("sid") and not item.ended), None
        )


def blueprint(idp: CorporateIdp) -> Blueprint:
    """The routes under /oidc."""
    views = Blueprint("oidc", __name__)
    provider = idp.oidc

    @views.errorhandler(Refused)
    def refused(error: Refused) -> tuple[Response, int]:
        idp.refusals.append(str(error))
        return jsonify(error=error.error, error_description=error.description), error.status

    @views.get("/oidc/.well-known/openid-configuration")
    def discovery() -> Response:
        return jsonify(provider.discovery())

    @views.get("/oidc/jwks.json")
    def jwks() -> Response:
        return jsonify(provider.jwks())

    @views.get("/oidc/authorize")
    def authorize() -> Any:
        given = request.args
        client = provider.clients.get(given.get("client_id", ""))
        uri = given.get("redirect_uri", "")
        if client is None or uri not in client.redirect_uris:
            idp.refusals.append("client or redirect_uri")  # never redirect to a URI that is not registered
            return render_template(
                "error.html", sentence="This client is not registered here with that redirect_uri."
            ), 400

        def back(**fields: str) -> Any:
            state = {"state": given["state"]} if "state" in given else {}
            separator = "&" if "?" in uri else "?"
            return redirect(f"{uri}{separator}{urlencode({**fields, **state, 'iss': provider.issuer})}", 302)

        def problem(error: str, description: str) -> Any:
            idp.refusals.append(f"{error}: {description}")
            return back(error=error, error_description=description)

        scopes = frozenset(given.get("scope", "").split()) & frozenset(SCOPES)
        if given.get("response_type") != "code":
            return problem("unsupported_response_type", "Only code.")
        if "openid" not in scopes:
            return problem("invalid_scope", "scope must contain openid.")
        if given.get("code_challenge_method") != "S256" or not _CHALLENGE.match(given.get("code_challenge", "")):
            return problem("invalid_request", "PKCE with S256 is required.")
        prompt = given.get("prompt", "").split()

        def proceed(session: Session) -> Any:
            grant = Grant(client, session, uri, given.get("nonce", ""), given["code_challenge"], scopes)
            return back(code=provider.codes.put(grant, idp.now()))

        session = None if "login" in prompt else idp.current_session()
        if session is not None and given.get("max_age", "").isdecimal():
            fresh = idp.now() - session.authenticated_at <= timedelta(seconds=int(given["max_age"]))
            session = session if fresh else None
        if session is not None:
            return proceed(session)
        if "none" in prompt:
            return back(error="login_required")
        return idp.ask_password(client.client_id, proceed)

    @views.post("/oidc/token")
    def token() -> Response:
        answer = jsonify(provider.redeem())
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @views.get("/oidc/userinfo")
    def userinfo() -> Any:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        grant = provider.access_tokens.get(value, idp.now()) if scheme.lower() == "bearer" else None
        if grant is None or grant.session.ended:
            return Response(status=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        return jsonify(provider.person_claims(grant, in_id_token=False))

    @views.get("/oidc/end_session")
    def end_session() -> Any:
        """RP-Initiated Logout 1.0. Without a hint of ours, the person is asked first: a foreign page must not sign them out."""
        given = request.args
        session = provider.hinted_session(given.get("id_token_hint", ""))
        hinted = session is not None
        session = session or idp.current_session()
        client = provider.clients.get(given.get("client_id", ""))
        allowed = {
            uri
            for item in ([client] if client else provider.clients.values())
            for uri in item.post_logout_redirect_uris
        }
        target = given.get("post_logout_redirect_uri", "")
        if target and target not in allowed:
            return render_template("error.html", sentence="post_logout_redirect_uri is not registered here."), 400
        if target and "state" in given:
            target += ("&" if "?" in target else "?") + urlencode({"state": given["state"]})

        def finish() -> Any:
            return redirect(target, 302) if target else render_template("signed_out.html")

        if session is None:
            return finish()
        if not hinted:
            return render_template("sign_out.html", actor=session.actor)
        return idp.saml.start_logout(session, finish)

    return views
