"""The demo's OpenID Connect provider: code flow with PKCE, tokens read by joserfc, logout both ways."""

from __future__ import annotations

import base64
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from bs4 import BeautifulSoup
from joserfc import jwt
from joserfc.jwk import KeySet

from demo.idp.oidc_views import OidcClient
from demo.idp.server import CorporateIdp

CALLBACK = "http://rp.example:8000/oidc/corp-oidc/callback"
AFTER = "http://rp.example:8000/signin/"
SECRET = "demo-only-secret"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


class Listener:
    """Where the back-channel logout arrives."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture(scope="module")
def listener():
    listener = Listener()
    yield listener
    listener.server.shutdown()
    listener.server.server_close()


@pytest.fixture(scope="module")
def idp(listener):
    client = OidcClient("rolegate", SECRET, (CALLBACK,), (AFTER,), f"http://127.0.0.1:{listener.server.server_port}/")
    idp = CorporateIdp(oidc_clients=[client]).start()
    yield idp
    idp.stop()


@pytest.fixture
def browser(idp):
    idp.groups_in_id_token = True
    return requests.Session()


def authorize(browser, idp, login="alice", password="wonderland", **changes):
    """The parameters that came back on the callback."""
    fields = {
        "client_id": "rolegate", "redirect_uri": CALLBACK, "response_type": "code", "scope": "openid profile email groups",
        "state": "s1", "nonce": "n1", "code_challenge": CHALLENGE, "code_challenge_method": "S256", **changes,
    }  # fmt: skip
    answer = browser.get(
        f"{idp.issuer}/authorize",
        params={k: v for k, v in fields.items() if v is not None},
        timeout=5,
        allow_redirects=False,
    )
    if answer.status_code == 302 and answer.headers["Location"].startswith("/signin"):
        page = browser.get(idp.url + answer.headers["Location"], timeout=5)
        key = BeautifulSoup(page.text, "html.parser").find(attrs={"name": "request"})["value"]
        answer = browser.post(
            f"{idp.url}/signin",
            data={"request": key, "login": login, "password": password},
            timeout=5,
            allow_redirects=False,
        )
    if answer.status_code != 302:
        return {"status": answer.status_code}
    assert answer.headers["Location"].startswith(CALLBACK)
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def redeem(idp, code, *, secret=SECRET, verifier=VERIFIER, uri=CALLBACK):
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": uri, "code_verifier": verifier}
    return requests.post(f"{idp.issuer}/token", data=fields, auth=("rolegate", secret), timeout=5)


def claims_of(idp, token):
    keys = KeySet.import_key_set(requests.get(f"{idp.issuer}/jwks.json", timeout=5).json())
    return jwt.decode(token, keys, algorithms=["RS256"]).claims


def test_alice_signs_in(browser, idp):
    back = authorize(browser, idp)
    assert (back["state"], back["iss"]) == ("s1", idp.issuer)
    answer = redeem(idp, back["code"]).json()
    claims = claims_of(idp, answer["id_token"])
    half = base64.urlsafe_b64encode(hashlib.sha256(answer["access_token"].encode()).digest()[:16]).rstrip(b"=").decode()
    expected = {
        "iss": idp.issuer, "sub": "u-1001-alice", "aud": "rolegate", "nonce": "n1", "at_hash": half, "email": "alice@example.com",
        "groups": ["engineering", "shop-team"], "amr": ["pwd", "otp", "mfa"], "department": "Engineering",
    }  # fmt: skip
    assert {name: claims[name] for name in expected} == expected
    assert claims["exp"] - claims["iat"] == 300


def test_groups_can_be_left_to_userinfo(browser, idp):
    idp.groups_in_id_token = False
    answer = redeem(idp, authorize(browser, idp)["code"]).json()
    assert "groups" not in claims_of(idp, answer["id_token"])
    userinfo = requests.get(
        f"{idp.issuer}/userinfo", headers={"Authorization": f"Bearer {answer['access_token']}"}, timeout=5
    )
    assert userinfo.json()["groups"] == ["engineering", "shop-team"]
    assert requests.get(f"{idp.issuer}/userinfo", headers={"Authorization": "Bearer x"}, timeout=5).status_code == 401


def test_overage_points_elsewhere(browser, idp):
    claims = claims_of(idp, redeem(idp, authorize(browser, idp, "olivia", "overflow")["code"]).json()["id_token"])
    assert "groups" not in claims
    assert claims["_claim_names"] == {"groups": "src1"}
    assert claims["_claim_sources"]["src1"]["endpoint"].startswith(idp.url)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"prompt": "none"}, "login_required"),
    ],
)
def test_requests_that_are_not_the_code_flow_with_pkce(browser, idp, changes, error):
    back = authorize(browser, idp, **changes)
    assert (back["error"], back["iss"]) == (error, idp.issuer)
    assert "code" not in back


def test_nothing_goes_to_a_foreign_redirect_uri(browser, idp):
    assert authorize(browser, idp, redirect_uri="https://evil.example/") == {"status": 400}
    assert authorize(browser, idp, client_id="else") == {"status": 400}


def test_a_code_works_once_for_its_owner(browser, idp):
    first = authorize(browser, idp)["code"]
    assert redeem(idp, first).status_code == 200
    assert redeem(idp, first).json()["error"] == "invalid_grant"
    assert redeem(idp, authorize(browser, idp)["code"], verifier="w" * 43).json()["error"] == "invalid_grant"
    assert redeem(idp, authorize(browser, idp)["code"], uri=AFTER).json()["error"] == "invalid_grant"
    refused = redeem(idp, authorize(browser, idp)["code"], secret="guess")
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


def test_signing_out_here_tells_the_client(browser, idp, listener):
    listener.bodies.clear()
    token = redeem(idp, authorize(browser, idp)["code"]).json()["id_token"]
    browser.post(f"{idp.url}/signout", timeout=5)
    claims = claims_of(idp, parse_qs(listener.bodies[0])["logout_token"][0])
    assert claims["sid"] == claims_of(idp, token)["sid"]
    assert claims["events"] == {"http://schemas.openid.net/event/backchannel-logout": {}}
    assert "nonce" not in claims


def test_the_client_signs_out_here(browser, idp):
    token = redeem(idp, authorize(browser, idp)["code"]).json()["id_token"]
    fields = {"id_token_hint": token, "post_logout_redirect_uri": AFTER, "state": "bye", "client_id": "rolegate"}
    answer = browser.get(f"{idp.issuer}/end_session", params=fields, timeout=5, allow_redirects=False)
    assert answer.headers["Location"] == f"{AFTER}?state=bye"
    assert "Nobody is signed in" in browser.get(idp.url, timeout=5).text


def test_signing_out_without_a_hint_asks_and_never_redirects_elsewhere(browser, idp):
    redeem(idp, authorize(browser, idp)["code"])
    assert "Sign out of Example Corp?" in browser.get(f"{idp.issuer}/end_session", timeout=5).text
    away = browser.get(
        f"{idp.issuer}/end_session", params={"post_logout_redirect_uri": "https://evil.example/"}, timeout=5
    )
    assert away.status_code == 400
    assert "Signed in as" in browser.get(idp.url, timeout=5).text


def test_discovery_names_what_there_is(idp):
    document = requests.get(f"{idp.issuer}/.well-known/openid-configuration", timeout=5).json()
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["authorization_response_iss_parameter_supported"] is True
