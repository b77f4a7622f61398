"""Behind https: what production's settings do with forged Host and X-Forwarded headers, and what its cookies carry."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory

from config.env import Environment
from config.settings import base
from federation.models import AuditEvent
from portal.middleware import client_address
from tests import cast
from tests.portal.conftest import Browser

PROXY, STRANGER = "10.1.2.3", "198.51.100.7"
VALUES = {
    "ROLEGATE_URL": "https://rolegate.example.com",
    "ROLEGATE_SECRET_KEY": "test-secret-key-that-is-public-and-protects-nothing-0123456789",
    "DATABASE_URL": "sqlite:///never-opened",
    "ROLEGATE_TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8:1::/48",
}
WEB = ("ALLOWED_HOSTS", "CSRF_", "SESSION_COOKIE", "SECURE_", "ROLEGATE_TRUSTED", "ROLEGATE_URL", "ROLEGATE_BINDING")


@pytest.fixture
def production(settings):
    """What production would set for the web, by the same function."""
    for name, value in base.read_environment(Environment(VALUES), https_only=True).items():
        if name.startswith(WEB):
            setattr(settings, name, value)
    return settings


def get(path="/signin/", *, peer=PROXY, host="rolegate.example.com", **headers):
    return Browser().get(path, headers={"host": host, **headers}, REMOTE_ADDR=peer)


def test_behind_the_proxy_there_is_no_loop(production, publish, clock):
    publish()
    assert get(**{"x-forwarded-proto": "https"}).status_code == 200


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        (STRANGER, {}),
        (STRANGER, {"x-forwarded-proto": "https"}),
        (STRANGER, {"x-forwarded-proto": "https", "x-forwarded-for": PROXY}),
        (STRANGER, {"forwarded": "proto=https"}),
        (PROXY, {}),
        (PROXY, {"x-forwarded-proto": "http"}),
    ],
)
def test_without_https_there_is_only_the_way_to_it(production, publish, clock, peer, headers):
    publish()
    answer = get("/signin/?next=/cli/", peer=peer, **headers)
    assert (answer.status_code, answer["Location"]) == (301, "https://rolegate.example.com/signin/?next=/cli/")
    assert answer["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
    assert not answer.cookies


@pytest.mark.parametrize("host", ["rolegate.example.com:8443", "ROLEGATE.example.com", "rolegate.example.com."])
def test_the_way_to_https_is_not_the_hosts_word(production, publish, clock, host):
    publish()
    assert get(peer=STRANGER, host=host)["Location"] == "https://rolegate.example.com/signin/"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:443", "rolegate.example.com.evil.example", "xrolegate.example.com", "rolegate.example.com@evil.example",
     "localhost", "127.0.0.1", "[::1]", "rolegate.example.com:80:80", "", "a/b", "rolegate.example.com\\@evil.example"],
)  # fmt: skip
def test_another_host_is_refused_and_never_repeated(production, publish, clock, host):
    publish()
    answer = get(host=host, **{"x-forwarded-proto": "https"})
    assert answer.status_code == 400
    assert b"evil.example" not in answer.content
    assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
    assert answer["X-Request-Id"]


@pytest.mark.parametrize("peer", [PROXY, STRANGER])
def test_a_forwarded_host_becomes_part_of_nothing(production, publish, gateway_keys, clock, peer):
    publish()
    headers = {"x-forwarded-proto": "https", "x-forwarded-host": "evil.example", "x-forwarded-port": "8443"}
    for path in ("/signin/", "/saml/corp/metadata", "/.well-known/oauth-authorization-server", "/cli/", "/api/v1/me"):
        answer = get(path, peer=peer, **headers)
        assert b"evil.example" not in answer.content
        assert "evil.example" not in answer.get("Location", "")


def test_every_cookie_is_bound_to_this_host_and_to_https(production, saml_provider, sign_in_as, clock):
    saml_provider()
    secure = {"x-forwarded-proto": "https"}
    browser = Browser(REMOTE_ADDR=PROXY, headers={"host": "rolegate.example.com", **secure})
    browser.get("/signin/")
    assert browser.get("/signin/corp/").status_code in {302, 500}
    browser.force_login(sign_in_as(cast.alice(), at=clock.now), backend="portal.auth.FederatedBackend")
    browser.get("/")
    names = {"__Host-rolegate_session", "__Host-rolegate_csrf", "__Host-rolegate_signin"}
    assert set(browser.cookies) == names
    for name, cookie in browser.cookies.items():
        # The prefix makes browsers insist on these: no sibling host can plant one (session fixation, login CSRF).
        assert cookie["secure"], name
        assert cookie["path"] == "/"
        assert not cookie["domain"]
        if name != "__Host-rolegate_session":  # the test client makes that one itself; its flags are settings
            assert cookie["httponly"]
            assert cookie["samesite"] == "Lax"
    assert (production.SESSION_COOKIE_HTTPONLY, production.SESSION_COOKIE_SAMESITE) == (True, "Lax")


def test_hsts(production, publish, clock):
    publish()
    answer = get(**{"x-forwarded-proto": "https"})
    assert answer["Strict-Transport-Security"] == "max-age=63072000; includeSubDomains; preload"


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        (STRANGER, "203.0.113.9", STRANGER),
        (PROXY, "", PROXY),
        (PROXY, "203.0.113.9", "203.0.113.9"),
        (PROXY, "192.0.2.1, 203.0.113.9", "203.0.113.9"),  # what stands before is the client's own word
        (PROXY, "192.0.2.1, 203.0.113.9, 10.9.9.9", "203.0.113.9"),
        (PROXY, "203.0.113.9:51234", "203.0.113.9"),  # with a port, each connection would be an address of its own
        (PROXY, "[2001:db8::9]:51234", "2001:db8::9"),
        (PROXY, "2001:DB8::9", "2001:db8::9"),
        (PROXY, "fe80::1%eth0", "fe80::1"),
        (PROXY, "::ffff:203.0.113.9", "203.0.113.9"),
        ("::ffff:10.1.2.3", "203.0.113.9", "203.0.113.9"),
        ("2001:db8:1::5", "203.0.113.9", "203.0.113.9"),
        (PROXY, "unknown", PROXY),
        (PROXY, "192.0.2.1, <script>", PROXY),
        (PROXY, "192.0.2.1, 203.0.113.9\r\nX: y", PROXY),
        (PROXY, "x" * 100_000, PROXY),
        (PROXY, "10.0.0.1, 10.0.0.2", PROXY),
        ("", "203.0.113.9", ""),
    ],
)
def test_whose_address_it_is(production, peer, forwarded, address):
    request = RequestFactory().get("/", REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=forwarded)
    assert client_address(request) == address


def test_the_address_in_the_audit_log_cannot_be_chosen(production, publish, gateway_keys, clock):
    publish()
    get(
        "/oidc/entra/callback?state=x", peer=STRANGER, **{"x-forwarded-for": "192.0.2.99", "x-forwarded-proto": "https"}
    )
    assert not AuditEvent.objects.filter(kind="sign_in").exists()  # plain http: only the redirect
    get("/oidc/entra/callback?state=x", **{"x-forwarded-for": "192.0.2.99, 203.0.113.9", "x-forwarded-proto": "https"})
    assert AuditEvent.objects.get(kind="sign_in").address == "203.0.113.9"


@pytest.mark.parametrize("networks", ["10.0.0.0/33", "proxy.local", "10.0.0.0/8,,x", "10.0.0.0/8;192.168.0.0/16"])
def test_a_network_that_cannot_be_read_stops_the_start_not_each_request(networks):
    env = Environment({**VALUES, "ROLEGATE_TRUSTED_PROXIES": networks})
    base.read_environment(env, https_only=True)
    with pytest.raises(ImproperlyConfigured, match="ROLEGATE_TRUSTED_PROXIES"):
        env.finish()
