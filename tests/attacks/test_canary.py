"""No secret ever: canaries in place of every secret, whole flows driven, and nobody hears one where none may be.

Looked at: every log record (before and after redaction, at DEBUG), exceptions, what is printed, the repr of every object of
ours that is made, every answer but for the one that must carry it, every column of every table, and the audit export.
"""

from __future__ import annotations

import base64
import html
import json
import secrets
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import DataError, IntegrityError, OperationalError

from config.env import Environment
from config.settings.base import read_environment
from federation.flows import provider_documents, publish_mapping, refresh_catalogue
from federation.mapping.document import DocumentError, parse
from federation.models import AuditEvent, Person, current
from federation.models.sync import Source
from tests import cast, oidc_kit, saml_kit
from tests.attacks.canary import Aviary, Watch, Watched, plant_what_is_made
from tests.aws.scripted import SECRET_KEY, SESSION_TOKEN, Reply, granted, refused, serving
from tests.conftest import _key_material
from tests.oauth import pairing
from tests.portal.test_saml_sign_in import answer_to, begin

DEVELOPER = cast.role(cast.PROD, "Developer")
BY_TOKEN = cast.role(cast.STAGING, "Developer")
PAGE = f"/roles/{cast.PROD}/Developer"


def random_secret(length=40):
    """As AWS makes them: letters of both cases, digits, plus and slash."""
    return base64.b64encode(secrets.token_bytes(length)).decode()[:length]


# --- The stage ----------------------------------------------------------------------------------------


@pytest.fixture
def aviary(monkeypatch, settings):
    made = Aviary()
    settings.SECRET_KEY = made.plant("secret key", "canary-secret-key-" + secrets.token_hex(24))
    settings.SECRET_KEY_FALLBACKS = [made.plant("secret key", "canary-retired-key-" + secrets.token_hex(24))]
    monkeypatch.setenv("ROLEGATE_SECRET_KEY", settings.SECRET_KEY)
    for material in _key_material().values():
        made.plant_key("private key", material.private_pem.decode())
    plant_what_is_made(made, monkeypatch)
    return made


@pytest.fixture
def watch(aviary, monkeypatch, settings):
    with Watch(aviary, monkeypatch) as listening:
        yield listening


class Stage:
    """A gateway among doubles of everybody else, each of which plants what passes through its hands.

    `sts`, `signin`: how AWS answers, from the call to a Reply. `idp`: the OpenID provider.
    """

    def __init__(self, watch, clock, idp) -> None:
        self.watch, self.aviary, self.clock, self.idp = watch, watch.aviary, clock, idp
        self.secret_key, self.session_token = random_secret(), random_secret(300)
        self.signin_token = random_secret(120)
        for kind, value in (
            ("AWS secret key", self.secret_key),
            ("AWS session token", self.session_token),
            ("SigninToken", self.signin_token),
        ):
            self.aviary.plant(kind, value)
        self.sts = self.grant
        self.signin = lambda _: Reply(200, json.dumps({"SigninToken": self.signin_token}), "application/json")

    def answer_sts(self, call):
        self.aviary.plant_saml("assertion toward AWS", call.fields.get("SAMLAssertion", ""))
        self.aviary.plant("token toward AWS", call.fields.get("WebIdentityToken", ""))
        return self.sts(call)

    def grant(self, call):
        body = granted(call.fields["Action"]).body
        return Reply(200, body.replace(SECRET_KEY, self.secret_key).replace(SESSION_TOKEN, self.session_token))

    def browser(self) -> Watched:
        return Watched(self.watch)

    def saml_response(self, asked, **changes) -> str:
        return self.aviary.plant_saml("SAML response", answer_to(asked, **changes))

    def post_response(self, response, **fields):
        """The cross-site POST: no cookie of ours comes with it."""
        return self.browser().post("/saml/corp/acs", {"SAMLResponse": response, **fields})

    def by_saml(self, next_path="/") -> Watched:
        browser = self.browser()
        received = self.post_response(
            self.saml_response(begin(browser, next_path), assertion_id="_" + secrets.token_hex(8))
        )
        assert received.status_code == 303, received.content
        assert browser.get(received["Location"]).status_code == 302
        return browser

    def callback(self, browser) -> dict[str, str]:
        """Begin at the OpenID provider; what the browser brings back."""
        back = requests.get(browser.get("/signin/entra/")["Location"], allow_redirects=False, timeout=5).headers[
            "Location"
        ]
        return {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}

    def by_oidc(self) -> Watched:
        browser = self.browser()
        assert browser.get("/oidc/entra/callback", self.callback(browser)).status_code == 302
        return browser

    def pair(self, browser) -> dict:
        """The whole way of the authorization code; the token endpoint's answer."""
        page = browser.get("/oauth/authorize", pairing.authorization_request())
        allowed = browser.submit(page, "/oauth/authorize", decision="allow")
        code = pairing.answer_of(allowed)["code"]
        return json.loads(pairing.redeem_over_http(self.browser(), code).content)

    def api(self, token: str) -> Watched:
        return Watched(self.watch, headers={"authorization": f"Bearer {token}"})

    def use(self, browser, page, **fields):
        """Open a role's page and send its form."""
        return browser.submit(browser.get(page), page, **fields)


@pytest.fixture
def stage(watch, gateway_keys, publish, clock, monkeypatch, settings):
    aviary = watch.aviary
    secret = aviary.plant("client secret", random_secret())
    for module in ("portal.api.views", "portal.oauth.views"):
        monkeypatch.setattr(f"{module}._now", lambda: clock.now)
    monkeypatch.setattr(provider_documents, "oidc_documents", type(provider_documents.oidc_documents)())
    monkeypatch.setattr(oidc_kit, "REDIRECT_URI", "http://localhost:8000/oidc/entra/callback")
    monkeypatch.setattr(oidc_kit, "CLIENT_SECRET", secret)
    made = Stage(watch, clock, None)
    with (
        oidc_kit.running() as idp,
        serving(made.answer_sts) as sts,
        serving(lambda call: made.signin(call)) as signin,
    ):
        made.idp, idp.now = idp, clock.now
        redeem, authorize = idp.redeem, idp.authorize

        def redeemed(form, authorization):
            status, body = redeem(form, authorization)
            aviary.plant("ID token", body.get("id_token") or "")
            aviary.plant("provider's access token", body.get("access_token") or "")
            return status, body

        def authorized(query):
            back = authorize(query)
            aviary.plant("provider's code", parse_qs(urlsplit(back).query)["code"][0])
            return back

        idp.redeem, idp.authorize = redeemed, authorized
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        settings.ROLEGATE_SIGNIN_ENDPOINT_URL = signin.url
        metadata = saml_kit.metadata_xml().replace('"', "'")
        made.document = (
            cast.DOCUMENT.replace('{metadata_url: "http://127.0.0.1:9/metadata"}', f'{{metadata_xml: "{metadata}"}}')
            .replace(
                'issuer: "http://127.0.0.1:9", client_id: rolegate',
                f'issuer: "{idp.issuer}", client_id: {oidc_kit.CLIENT_ID}',
            )
            .replace('"${TEST_OIDC_SECRET}"', json.dumps(secret))
        )
        publish(made.document)
        yield made


# --- The canaries themselves --------------------------------------------------------------------------


def test_a_canary_is_found_in_every_form(aviary):
    value = aviary.plant("sample", random_secret() + "<&'é")
    for text in (
        f"x{value}x",
        json.dumps({"a": value}),
        html.escape(f"<p>{value}</p>"),
        repr([value]),
        requests.Request("GET", "https://x.example", params={"a": value}).prepare().url,
        base64.b64encode(f"id:{value}".encode()).decode(),
        base64.urlsafe_b64encode(f"{{'a': {value}}}".encode()).decode(),
        value.encode().hex(),
        b"\xff" + value.encode(),
    ):
        assert aviary.found(text) == {"sample"}, text
    assert aviary.found("nothing of the kind") == set()
    assert aviary.found(value, but={"sample"}) == set()


def test_a_long_one_is_found_by_a_piece_of_it(aviary):
    value = aviary.plant("sample", random_secret(2000))
    assert aviary.found(value[500:700]) == {"sample"}
    assert aviary.found(base64.b64encode(value[500:700].encode())) == {"sample"}


def test_a_private_key_is_found_by_its_number_and_its_public_half_is_not(aviary):
    (material,) = [m for (purpose, _), m in _key_material().items() if purpose == "saml"]
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(material.private_pem, password=None)
    numbers = key.private_numbers()
    for text in (
        material.private_pem.decode(),
        str(numbers.d),
        f"{numbers.d:x}",
        base64.b64encode(numbers.d.to_bytes(256, "big")),
    ):
        assert aviary.found(text) == {"private key"}
    assert aviary.found(material.certificate_pem + str(numbers.public_numbers.n)) == set()


# --- What goes well -----------------------------------------------------------------------------------


def test_signing_in_and_out(stage, capfd):
    for browser in (stage.by_saml(), stage.by_oidc()):
        assert browser.get("/").status_code == 200
        assert browser.get("/cli/").status_code == 200
        assert browser.submit(browser.get("/signout/"), "/signout/").status_code in {200, 302}
    assert stage.aviary.values.keys() >= {
        "secret key", "private key", "client secret", "SAML response", "ID token", "provider's code",
        "provider's access token", "sign-in code", "session cookie", "binding cookie",
    }  # fmt: skip
    stage.watch.check(capfd)
    assert stage.watch.carried == {"sign-in code"}


def test_a_sign_in_that_the_provider_started(stage, capfd):
    stage.document = stage.document.replace(
        '</md:EntityDescriptor>"', '</md:EntityDescriptor>", allow_unsolicited: true'
    )
    publish_again(stage)
    browser = stage.browser()
    received = stage.post_response(stage.saml_response(None))
    page = browser.get(received["Location"])
    assert page.status_code == 200
    assert browser.submit(page, "/signin/corp/complete").status_code == 302
    stage.watch.check(capfd)
    assert stage.watch.carried == {"sign-in code"}


def publish_again(stage):
    from federation.audit.events import Origin

    publish_mapping.publish(
        stage.document, author="test", comment="", origin=Origin("test", "", ""), now=stage.clock.now
    )


def test_credentials_and_console_by_the_pages(stage, capfd):
    browser = stage.by_saml()
    issued = stage.use(browser, f"{PAGE}/credentials")
    assert stage.secret_key in html.unescape(issued.content.decode())
    opened = stage.use(browser, f"{PAGE}/console")
    assert opened.status_code == 302, opened.content
    assert "SigninToken=" in opened["Location"]
    form = browser.post(f"{PAGE}/console", {"mode": "form", "csrfmiddlewaretoken": hidden(browser, f"{PAGE}/console")})
    assert b"SAMLResponse" in form.content
    plant_form(stage, form)
    assert stage.use(browser, f"/roles/{cast.STAGING}/Developer/credentials").status_code == 200
    stage.watch.check(capfd)
    assert stage.watch.carried >= {"AWS secret key", "AWS session token", "SigninToken", "assertion toward AWS"}
    assert "token toward AWS" in stage.aviary.values


def hidden(browser, page):
    from tests.portal.conftest import soup

    return soup(browser.get(page)).find("input", attrs={"name": "csrfmiddlewaretoken"})["value"]


def plant_form(stage, answer):
    from tests.portal.conftest import soup

    stage.aviary.plant_saml("assertion toward AWS", soup(answer).find("input", attrs={"name": "SAMLResponse"})["value"])


def test_the_command_line(stage, capfd):
    browser = stage.by_oidc()
    tokens = stage.pair(browser)
    api = stage.api(tokens["access_token"])
    for path in ("me", "roles", f"explain?role_arn={DEVELOPER}"):
        assert api.get(f"/api/v1/{path}").status_code == 200
    for role in (DEVELOPER, BY_TOKEN):
        given = api.post("/api/v1/credentials", {"role_arn": role}, content_type="application/json")
        assert given.json()["SecretAccessKey"] == stage.secret_key
    opened = api.post("/api/v1/console", {"role_arn": DEVELOPER}, content_type="application/json")
    assert opened.status_code == 200, opened.content
    fields = {"grant_type": "refresh_token", "client_id": pairing.CLIENT, "refresh_token": tokens["refresh_token"]}
    fresh = stage.browser().post("/oauth/token", fields).json()
    assert (
        stage.browser()
        .post("/oauth/revoke", {"client_id": pairing.CLIENT, "token": fresh["refresh_token"]})
        .status_code
        == 200
    )
    stage.watch.check(capfd)
    assert stage.watch.carried >= {"authorization code", "access or refresh token", "AWS secret key", "SigninToken"}


def test_a_device(stage, capfd):
    browser = stage.by_saml()
    asked = stage.browser().post("/oauth/device_authorization", {"client_id": pairing.CLIENT}).json()
    page = browser.submit(browser.get("/device/"), "/device/", user_code=asked["user_code"])
    assert browser.submit(page, "/device/", decision="allow").status_code == 200
    fields = {"grant_type": pairing.DEVICE_CODE, "client_id": pairing.CLIENT, "device_code": asked["device_code"]}
    assert stage.browser().post("/oauth/token", fields).status_code == 200
    assert stage.browser().post("/oauth/token", fields).json()["error"] == "invalid_grant"
    stage.watch.check(capfd)
    assert stage.watch.carried >= {"device code", "access or refresh token"}


# --- What is refused ----------------------------------------------------------------------------------


def flipped(text: str) -> str:
    """The same but for one character in the middle."""
    at = len(text) // 2
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def test_refused_saml_responses(stage, capfd, events):
    browser = stage.browser()
    asked = begin(browser)
    good = stage.saml_response(asked)
    late = stage.saml_response(
        asked, assertion_id="_late", not_on_or_after=saml_kit.at(-400), confirmation_until=saml_kit.at(-400)
    )
    wrong = stage.saml_response(asked, assertion_id="_wrong", issuer="https://elsewhere.example.com")
    xml = base64.b64decode(good).decode()
    for posted in (
        flipped(good),
        good[:-9],
        good + "%",
        late,
        wrong,
        base64.b64encode(xml.replace("alice", "mallory").encode()).decode(),
        base64.b64encode(f"<!DOCTYPE x>{xml}".encode()).decode(),
        base64.b64encode(xml[: len(xml) // 2].encode()).decode(),
    ):
        stage.aviary.plant_saml("SAML response", posted)
        assert stage.post_response(posted).status_code == 403
    received = stage.post_response(good)
    assert stage.post_response(good).status_code == 403
    assert stage.browser().get(received["Location"]).status_code == 400  # another browser
    assert browser.get(received["Location"]).status_code == 400  # the code is burnt
    huge = stage.browser().post("/saml/corp/acs", {"SAMLResponse": good * 200})
    assert huge.status_code in {400, 403}
    reasons = [reason for _, _, reason in events()]
    assert {"signature_invalid", "expired", "issuer_wrong", "dtd_forbidden", "binding_mismatch"} <= set(reasons), (
        reasons
    )
    stage.watch.check(capfd)


def echo(stage) -> bytes:
    """An error that repeats everything the provider was sent and knows."""
    said = " ".join(sorted(stage.aviary.values["client secret"] | stage.aviary.values["provider's code"]))
    return json.dumps({"error": "invalid_request", "error_description": said, "hint": said}).encode()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, echo),
        (401, echo),
        (500, echo),
        (200, lambda stage: b"<html>" + echo(stage)),
        (200, lambda stage: echo(stage)[:-5]),
        (302, echo),
        (400, lambda stage: json.dumps({"error": min(stage.aviary.values["client secret"])}).encode()),
    ],
    ids=["400", "401", "500", "html", "cut short", "redirect", "secret as the error's code"],
)
def test_a_token_endpoint_that_repeats_what_it_was_sent(stage, capfd, status, body):
    browser = stage.browser()
    params = stage.callback(browser)
    stage.idp.statuses["/token"], stage.idp.bodies["/token"] = status, body(stage)
    assert browser.get("/oidc/entra/callback", params).status_code in {403, 503}
    stage.watch.check(capfd)


@pytest.mark.parametrize(
    "changes",
    [
        {"id_token": {"aud": "another"}},
        {"id_token": {"nonce": "another"}},
        {"id_token": {"exp": 1}},
        {"id_token": {"at_hash": "wrong"}},
        {"claims": {"groups": {"not": "a list"}, "sub": "alice-7"}},
        {"tokens": {"token_type": "mac"}},
        {"tokens": {"access_token": "with a space in it"}},
        {"header": {"kid": "gone"}},
        {"userinfo": b"not json"},
        {"statuses": {"/jwks": 500}},
    ],
    ids=lambda changes: "-".join(f"{k}" for k in changes) + str(next(iter(changes.values())))[:20],
)
def test_refused_id_tokens(stage, capfd, changes):
    for name, value in changes.items():
        setattr(stage.idp, name, value)
    browser = stage.browser()
    assert browser.get("/oidc/entra/callback", stage.callback(browser)).status_code in {302, 403, 503}
    assert stage.aviary.values["ID token"]
    stage.watch.check(capfd)


def test_callbacks_and_logouts_that_do_not_fit(stage, capfd):
    browser = stage.browser()
    params = stage.callback(browser)
    assert stage.browser().get("/oidc/entra/callback", params).status_code == 400
    for changes in (
        {"state": "x"},
        {"iss": "https://evil.example"},
        {"error": "access_denied"},
        {"code": params["code"] * 500},
    ):
        fresh = stage.callback(browser)
        assert browser.get("/oidc/entra/callback", {**fresh, **changes}).status_code == 403
    token = stage.aviary.plant("ID token", stage.idp.mint(stage.idp.token_claims(nonce="x", access_token="y")))
    answer = stage.browser().post("/oidc/entra/backchannel-logout", {"logout_token": token})
    assert answer.json()["error"] == "invalid_request"
    stage.watch.check(capfd)


def test_refused_codes_and_tokens(stage, capfd):
    browser = stage.by_saml()
    page = browser.get("/oauth/authorize", pairing.authorization_request())
    code = pairing.answer_of(browser.submit(page, "/oauth/authorize", decision="allow"))["code"]
    for changes in (
        {"code_verifier": "x" * 43},
        {},
        {"code": flipped(code)},
        {"client_id": code},
        {"grant_type": code},
    ):
        assert pairing.redeem_over_http(stage.browser(), changes.pop("code", code), **changes).status_code == 400
    tokens = stage.pair(browser)
    refresh = {"grant_type": "refresh_token", "client_id": pairing.CLIENT, "refresh_token": tokens["refresh_token"]}
    assert stage.browser().post("/oauth/token", refresh).status_code == 200
    for fields in (
        refresh,
        refresh | {"refresh_token": tokens["access_token"]},
        refresh | {"scope": tokens["access_token"]},
    ):
        assert stage.browser().post("/oauth/token", fields).json()["error"] == "invalid_grant"
    # The right secret in the wrong place: the answer must not repeat it, nor the log or the audit log keep it.
    stage.watch.quoting("access or refresh token")
    for token in tokens["access_token"], tokens["refresh_token"]:
        nobody = stage.browser()
        assert stage.api(token).get("/api/v1/me").status_code == 401
        assert nobody.get("/api/v1/me", {"access_token": token}).status_code == 401
        assert nobody.get(f"/api/v1/{token}").status_code == 404
        assert nobody.post("/oauth/token", {"client_id": token, "grant_type": token}).status_code == 400
        assert (
            nobody.post("/oauth/device_authorization", {"client_id": pairing.CLIENT, "scope": token}).status_code == 400
        )
        assert (
            browser.get(
                "/oauth/authorize", pairing.authorization_request(redirect_uri=f"http://x.example/{token}")
            ).status_code
            == 400
        )
        assert browser.submit(browser.get("/device/"), "/device/", user_code=token).status_code in {400, 429}
        assert browser.get(f"/roles/{cast.PROD}/{token}/console").status_code == 403
        assert nobody.get(f"/{token}").status_code == 404
        assert nobody.get("/", headers={"host": token}).status_code == 400
    stage.watch.check(capfd)


def test_refused_bodies_of_the_api(stage, capfd):
    tokens = stage.pair(stage.by_saml())
    stage.watch.quoting("access or refresh token")
    api = stage.api(tokens["access_token"])
    for body in (
        {"role_arn": tokens["access_token"]},
        {"role_arn": DEVELOPER, tokens["access_token"]: 1},
        {"role_arn": DEVELOPER, "duration": tokens["access_token"]},
        {"role_arn": DEVELOPER, "policy": tokens["access_token"]},
        {"role_arn": DEVELOPER, "policy": json.dumps({"Statement": tokens["access_token"]})},
        {"role_arn": DEVELOPER, "policy": json.dumps({tokens["access_token"]: 1, "Statement": {}})},
        json.dumps(tokens)[:-1],
    ):
        answer = api.post("/api/v1/credentials", body, content_type="application/json")
        assert answer.status_code == 400, answer.content
    answer = api.post(
        "/api/v1/console",
        {"role_arn": DEVELOPER, "destination": "https://x.example/" + tokens["access_token"]},
        content_type="application/json",
    )
    assert answer.status_code == 400
    stage.watch.check(capfd)


# --- AWS, when it talks too much ----------------------------------------------------------------------


def document_of(call) -> str:
    return call.fields.get("SAMLAssertion") or call.fields["WebIdentityToken"]


STS_SAYS = {
    "the document in the message": lambda stage, call: refused("InvalidIdentityToken", html.escape(document_of(call))),
    "a part of it": lambda stage, call: refused("InvalidIdentityToken", f"near {document_of(call)[400:470]} and"),
    "a short part of it": lambda stage, call: refused("AccessDenied", f"near '{document_of(call)[400:455]}'", 403),
    "the document as the code": lambda stage, call: refused(html.escape(document_of(call))),
    "a part as the code": lambda stage, call: refused(document_of(call)[400:460]),
    "credentials in the message": lambda stage, call: refused("AccessDenied", f"{stage.secret_key} {stage.session_token}", 403),
    "the key as the code": lambda stage, call: refused(stage.secret_key),
    "5xx with the document": lambda stage, call: Reply(503, html.escape(document_of(call))),
    "html": lambda stage, call: Reply(400, f"<html>{document_of(call)}</html>", "text/html"),
    "credentials without an end": lambda stage, call: Reply(200, stage.grant(call).body.replace("2026-03-04T13:30:15Z", "soon")),
    "credentials with the key as the end": lambda stage, call: Reply(200, stage.grant(call).body.replace("2026-03-04T13:30:15Z", stage.secret_key)),
    "credentials cut short": lambda stage, call: Reply(200, stage.grant(call).body[:-80]),
    "a key with a newline": lambda stage, call: Reply(200, stage.grant(call).body.replace(stage.secret_key, stage.secret_key + "&#10;x")),
}  # fmt: skip


@pytest.mark.parametrize("says", STS_SAYS)
def test_sts_repeats_what_it_was_sent(stage, capfd, monkeypatch, says):
    monkeypatch.setattr("federation.aws.sts.time.sleep", lambda seconds: None)
    browser = stage.by_saml()
    api = stage.api(stage.pair(browser)["access_token"])
    stage.sts = lambda call: STS_SAYS[says](stage, call)
    for account in (cast.PROD, cast.STAGING):
        answer = stage.use(browser, f"/roles/{account}/Developer/credentials")
        assert answer.status_code in {502, 503}, answer.content
        answer = api.post(
            "/api/v1/credentials", {"role_arn": cast.role(account, "Developer")}, content_type="application/json"
        )
        assert answer.status_code in {502, 503}, answer.content
    assert AuditEvent.objects.filter(kind="credentials", outcome="failed").count() == 4
    stage.watch.check(capfd)


@pytest.mark.parametrize(
    "reply",
    [
        lambda stage, call: Reply(400, call.fields["Session"]),
        lambda stage, call: Reply(500, call.fields["Session"]),
        lambda stage, call: Reply(200, call.fields["Session"], "application/json"),
        lambda stage, call: Reply(200, json.dumps({"SigninToken": [stage.signin_token]}), "application/json"),
        lambda stage, call: Reply(200, json.dumps({"SigninToken": stage.signin_token + "\n"}), "application/json"),
        lambda stage, call: Reply(200, json.dumps({"SigninToken": stage.signin_token})[:-1], "application/json"),
        lambda stage, call: Reply(302, call.fields["Session"]),
        lambda stage, call: Reply(200, json.dumps({"SigninToken": stage.signin_token}) + " " * 70_000),
    ],
    ids=["400", "500", "session for an answer", "a list", "with a newline", "cut short", "redirect", "endless"],
)
def test_the_console_sign_in_repeats_what_it_was_sent(stage, capfd, reply):
    browser = stage.by_saml()
    api = stage.api(stage.pair(browser)["access_token"])
    stage.signin = lambda call: reply(stage, call)
    assert stage.use(browser, f"{PAGE}/console").status_code in {502, 503}
    assert api.post("/api/v1/console", {"role_arn": DEVELOPER}, content_type="application/json").status_code in {
        502,
        503,
    }
    stage.watch.check(capfd)


IAM_SAYS = {
    # What IAM really says to a request whose signature does not match: the request as it has seen it, header by header.
    "the request's headers": lambda call, stage: refused(
        "SignatureDoesNotMatch",
        f"The canonical string should have been 'POST x-amz-security-token:{call.headers['x-amz-security-token']} {stage.secret_key}'",
        403,
    ),
    "the token as the code": lambda call, stage: refused(call.headers["x-amz-security-token"]),
    "no XML": lambda call, stage: Reply(200, f"<html>{call.headers['x-amz-security-token']}"),
}


@pytest.mark.parametrize("says", IAM_SAYS)
def test_iam_repeats_what_it_was_sent_to_the_background_worker(stage, capfd, monkeypatch, says):
    monkeypatch.setattr("federation.aws.catalogue.time.sleep", lambda seconds: None)
    with serving(lambda call: IAM_SAYS[says](call, stage)) as iam:
        monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", iam.url)
        account = next(account for account in current.mapping().document.accounts if account.id == cast.STAGING)
        result = refresh_catalogue.refresh_account(account, now=stage.clock.now)
        assert iam.calls
    assert (result.outcome, stage.aviary.values["token toward AWS"] == set()) == ("failed", False)
    assert Source.objects.get(key=f"account:{cast.STAGING}").error_code.startswith("list_roles_")
    stage.watch.check(capfd)


# --- What breaks in the middle ------------------------------------------------------------------------


def breaking(make):
    """A function that raises what `make` makes of its arguments."""

    def broken(*args, **kwargs):
        raise make(*args, **kwargs)

    return broken


ROW = "DETAIL:  Failing row contains ({}, 2026-03-02)."
PLAIN = {
    "a fault": lambda *_, **__: RuntimeError("in the middle"),
    "the database goes": lambda *_, **__: OperationalError("server closed the connection unexpectedly"),
}
QUOTING = {
    "a fault that quotes": lambda text: ValueError(f"cannot use {text!r} here"),
    "a fault that is what it quotes": lambda text: KeyError(text),
    "a row that the database quotes": lambda text: IntegrityError("null value violates\n" + ROW.format(text)),
    "a value that the database quotes": lambda text: DataError(f'invalid input syntax for type uuid: "{text}"'),
    "the database goes and quotes": lambda text: OperationalError("canceling statement\n" + ROW.format(text)),
}


@pytest.mark.parametrize("fault", PLAIN)
@pytest.mark.parametrize(
    "where",
    [
        "federation.aws.sts._credentials",
        "federation.flows.issue_credentials.clamp_duration",
        "federation.flows.minting.record",
        "federation.flows.access.fresh_identity",
    ],
)
def test_using_a_role_breaks(stage, capfd, monkeypatch, where, fault):
    browser = stage.by_saml()
    api = stage.api(stage.pair(browser)["access_token"])
    page = {what: browser.get(f"{PAGE}/{what}") for what in ("credentials", "console")}
    monkeypatch.setattr(where, breaking(PLAIN[fault]))
    answers = [browser.submit(page[what], f"{PAGE}/{what}") for what in page]
    answers += [
        api.post(f"/api/v1/{what}", {"role_arn": DEVELOPER}, content_type="application/json")
        for what in ("credentials", "console")
    ]
    expected = 500 if fault == "a fault" else 503
    assert {answer.status_code for answer in answers} == {expected}
    stage.watch.check(capfd)
    assert ("in the middle" in stage.watch.log) == (fault == "a fault")


@pytest.mark.parametrize("fault", QUOTING)
@pytest.mark.parametrize(
    ("where", "kinds"),
    [
        ("federation.aws.sts._parameters", {"assertion toward AWS"}),
        ("federation.aws.sts._credentials", {"AWS secret key", "AWS session token"}),
        ("federation.aws.console._token", {"SigninToken"}),
    ],
)
def test_a_fault_quotes_what_broke_it(stage, capfd, monkeypatch, where, kinds, fault):
    def quoted(thing, *_, **__):
        if where.endswith("_parameters"):
            texts = [stage.aviary.plant_saml("assertion toward AWS", thing.assertion)]
        elif where.endswith("_credentials"):
            texts = [stage.secret_key, stage.session_token]
        else:
            texts = [stage.signin_token]
        return QUOTING[fault](" and ".join(texts))

    browser = stage.by_saml()
    api = stage.api(stage.pair(browser)["access_token"])
    page = browser.get(f"{PAGE}/console")
    monkeypatch.setattr(where, breaking(quoted))
    stage.watch.quoting(*kinds)
    answers = [
        browser.submit(page, f"{PAGE}/console"),
        api.post("/api/v1/console", {"role_arn": DEVELOPER}, content_type="application/json"),
    ]
    assert {answer.status_code for answer in answers} <= {500, 503}
    stage.watch.check(capfd)


@pytest.mark.parametrize("fault", QUOTING)
def test_pairing_breaks_and_quotes_the_token(stage, capfd, monkeypatch, fault):
    browser = stage.by_saml()
    page = browser.get("/oauth/authorize", pairing.authorization_request())
    code = pairing.answer_of(browser.submit(page, "/oauth/authorize", decision="allow"))["code"]

    def quoted(*_, **__):
        return QUOTING[fault](" ".join(["rlg_at_" + max(stage.aviary.values["access or refresh token"]), code]))

    monkeypatch.setattr("federation.flows.client_tokens.record", breaking(quoted))
    stage.watch.quoting("access or refresh token", "authorization code")
    assert pairing.redeem_over_http(stage.browser(), code).status_code in {500, 503}
    stage.watch.check(capfd)


@pytest.mark.parametrize("fault", QUOTING)
def test_signing_in_breaks_and_quotes(stage, capfd, monkeypatch, fault):
    """At the provider's answer with the ID token in hand, and where the session's row is stored."""
    browser = stage.browser()
    params = stage.callback(browser)

    def token(*_, **__):
        return QUOTING[fault](max(stage.aviary.values["ID token"]))

    with monkeypatch.context() as patch:
        patch.setattr("federation.signin.oidc.check_parties", breaking(token))
        stage.watch.quoting("ID token", "session cookie")
        assert browser.get("/oidc/entra/callback", params).status_code in {500, 503}

    def cookie(*_, **__):
        return QUOTING[fault](max(stage.aviary.values["session cookie"]))

    params = stage.callback(browser)
    monkeypatch.setattr("portal.sessions._insert", breaking(cookie))
    assert browser.get("/oidc/entra/callback", params).status_code in {500, 503}
    stage.watch.check(capfd)


def test_a_response_that_its_schema_does_not_fit(stage, capfd, monkeypatch):
    """Pydantic quotes the value that does not fit."""
    from federation.flows.open_console import ConsoleOpening

    api = stage.api(stage.pair(stage.by_saml())["access_token"])
    url = stage.aviary.plant("SigninToken", "https://signin.example.com/?SigninToken=" + stage.signin_token)
    monkeypatch.setattr("portal.api.views.open_console", lambda *_, **__: ConsoleOpening(url, "never"))
    answer = api.post("/api/v1/console", {"role_arn": DEVELOPER}, content_type="application/json")
    assert answer.status_code == 500
    stage.watch.check(capfd)


def test_keys_that_cannot_be_opened(stage, capfd, settings):
    browser = stage.by_saml()
    page = browser.get(f"{PAGE}/credentials")
    settings.SECRET_KEY = stage.aviary.plant("secret key", "canary-another-key-" + secrets.token_hex(24))
    current.forget()
    settings.SECRET_KEY_FALLBACKS = []
    browser.submit(page, f"{PAGE}/credentials")
    answer = stage.browser().get("/signin/corp/")
    assert answer.status_code == 500
    assert b"key_seal_broken" in answer.content
    stage.watch.check(capfd)


# --- Commands and configuration -----------------------------------------------------------------------


def test_commands_say_nothing_secret(stage, capfd, tmp_path):
    path = tmp_path / "mapping.yaml"
    path.write_text(stage.document.replace("Example Corp", "Example Corporation"))
    call_command("apply", str(path), "--dry-run")
    call_command("apply", str(path), "--comment", "a comment")
    call_command("apply", str(path))
    call_command("export")
    for purpose in ("saml", "token", "sp"):
        call_command("keys", "rotate", purpose)
    call_command("keys", "list")
    call_command("keys", "publish", "--directory", str(tmp_path / "issuer"))
    stage.by_saml()
    person = Person.objects.get()
    call_command("explain", str(person.pk), DEVELOPER)
    call_command("revoke", str(person.pk))
    call_command("audit", "export")
    call_command("audit", "verify")
    for made in (tmp_path / "issuer").rglob("*"):
        if made.is_file():
            assert stage.aviary.found(made.read_bytes()) == set()
    said = capfd.readouterr().out
    assert "sealed:v1." in said
    assert stage.aviary.found(said) == set()
    stage.watch.check(capfd)


def test_a_faulty_document_is_not_repeated(stage):
    (secret,) = stage.aviary.values["client secret"]
    for text in (
        stage.document.replace("client_id:", "client_ident:"),
        stage.document.replace(json.dumps(secret), f"[{json.dumps(secret)}]"),
        stage.document.replace(json.dumps(secret), json.dumps(secret * 100)),
        stage.document.replace(json.dumps(secret), json.dumps(secret + "\u202e")),
        stage.document.replace(json.dumps(secret), f'"{secret}'),
        stage.document.replace(json.dumps(secret), f"&{secret} x"),
        stage.document.replace(json.dumps(secret), json.dumps(secret) + f", client_secret: {json.dumps(secret)}"),
    ):
        with pytest.raises(DocumentError) as caught:
            parse(text)
        assert stage.aviary.found(" ".join(map(str, caught.value.faults)) + repr(caught.value)) == set(), text
    stage.watch.check()


def test_a_faulty_environment_is_not_repeated(aviary):
    password = aviary.plant("database password", random_secret())
    short = aviary.plant("short secret key", "canary-too-short-" + secrets.token_hex(8))
    environment = Environment(
        {
            "ROLEGATE_SECRET_KEY": short,
            "DATABASE_URL": f"postgres://rolegate:{password}@db/rolegate?sslmoed=x",
            "ROLEGATE_URL": f"https://user:{password}@gate.example.com",
            "ROLEGATE_SECRET_KEI": short,
            "REDIS_URL": f"redis://:{password}@redis/0",
        }
    )
    read_environment(environment, https_only=True)
    with pytest.raises(ImproperlyConfigured) as caught:
        environment.finish()
    assert "ROLEGATE_SECRET_KEI" in str(caught.value)
    assert aviary.found(str(caught.value)) == set()


def test_a_database_that_cannot_be_reached_is_not_repeated(stage, capfd, monkeypatch):
    password = stage.aviary.plant("database password", random_secret())
    gone = OperationalError(f'connection to server at "db", port 5432 failed: FATAL: no\nDETAIL: password={password}')
    stage.watch.quoting("database password")
    monkeypatch.setattr("portal.health.migrations.applied", breaking(lambda: gone))
    monkeypatch.setattr("portal.health.connection.close", lambda: None)
    answer = stage.browser().get("/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["database_unreachable"])
    stage.watch.check(capfd)
