"""Walks over every path that the gateway has: nobody can add one without meeting the fences."""

import re

import pytest
from django.apps import apps
from django.db import connection
from django.urls import URLPattern, URLResolver, get_resolver

from federation.flows.rotate_keys import ensure_keys
from portal import cli_package
from tests import cast
from tests.portal.conftest import Browser, soup

# Posted to by other sites or by programs; each says what guards it instead of a form's token.
EXEMPT = {
    "saml-acs": "signature, one use, and the browser's binding at the GET that follows",
    "saml-slo": "signature",
    "oidc-backchannel-logout": "signature",
    "oauth-token": "PKCE or a one-use secret; no cookie is read",
    "oauth-device-authorization": "no cookie is read, nothing is given",
    "oauth-revoke": "the token itself; no cookie is read",
    "api-me": "bearer token; no cookie is read",
    "api-roles": "bearer token; no cookie is read",
    "api-explain": "bearer token; no cookie is read",
    "api-credentials": "bearer token; no cookie is read",
    "api-console": "bearer token; no cookie is read",
    "api-list_requests": "bearer token; no cookie is read",
    "api-ask_for_access": "bearer token; no cookie is read",
    "api-get_request": "bearer token; no cookie is read",
    "api-withdraw_request": "bearer token; no cookie is read",
    "api-decide_request": "bearer token; no cookie is read",
    "api-not-found": "does nothing",
    "scim": "bearer token; no cookie is read",
    "scim-not-found": "bearer token; no cookie is read",
}
# For everybody, the same for all, and meant to be kept by caches.
PUBLIC = {
    "oauth-metadata",
    "issuer-discovery",
    "issuer-jwks",
    "issuer-saml-metadata",
    "api-openapi",
    "cli-pyz",
    "cli-wheel",
}
# Protocol: a GET with something that is good for one use, or the start that remembers it.
CHANGES_BY_GET = {"sign-in-begin", "sign-in-complete", "oidc-callback", "saml-slo"}
SAMPLES = {
    "number": "0",
    "draft_id": "00000000-0000-4000-8000-000000000001",
    "task": "purge_expired",
    "seq": "1",
    "person_id": "00000000-0000-4000-8000-000000000000",
    "provider": "corp",
    "account_id": cast.PROD,
    "role_name": "ReadOnly",
    "grant_id": "00000000-0000-4000-8000-000000000000",
    "rest": "nothing",
    "request_id": "00000000-0000-4000-8000-000000000000",
    "item_id": "1",
    "wheel": cli_package.wheel().name.removesuffix(".whl"),
    "slug": "corp",
    "trial_id": "00000000-0000-4000-8000-000000000000",
}


def patterns(resolver=None, prefix=""):
    for entry in (resolver or get_resolver()).url_patterns:
        text = str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry, prefix + text)
        elif isinstance(entry, URLPattern):
            path = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"<\1>", (prefix + text).replace("^", "").replace("$", ""))
            yield entry.name, "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda m: SAMPLES[m[1]], path), entry.callback


EVERY = list(patterns())
NAMES = [name for name, _, _ in EVERY]


def every(*, without=frozenset()):
    return [pytest.param(name, path, id=name) for name, path, _ in EVERY if name not in without]


EVENTS = frozenset({"federation.AuditEvent", "federation.AuditHead"})


def rows(*, but=frozenset()):
    """Every row of every table, but for the counters of the rate limits and the tables in `but`."""
    found = {}
    with connection.cursor() as cursor:
        for model in apps.get_models():
            if model._meta.label not in {"federation.RateWindow", *but}:
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(model._meta.db_table)}")
                found[model._meta.label] = sorted(map(repr, cursor.fetchall()))
    return found


@pytest.fixture
def alice(publish, gateway_keys, signed_in):
    publish()
    return signed_in()


def test_the_walk_sees_every_path():
    assert len(NAMES) == len(set(NAMES)) > 30
    assert EXEMPT.keys() | PUBLIC | CHANGES_BY_GET <= set(NAMES)


def test_exactly_these_paths_take_a_post_without_a_forms_token():
    assert {name for name, _, view in EVERY if getattr(view, "csrf_exempt", False)} == EXEMPT.keys()


@pytest.mark.parametrize(("name", "path"), every(without=EXEMPT.keys() | {"healthz", "readyz"}))
def test_a_post_from_another_site_is_refused_and_changes_nothing(alice, fake_aws, name, path):
    before = rows()
    for site in ("https://evil.example", "null", "http://localhost:8000.evil.example", None):
        headers = {"origin": site} if site else {"referer": "https://evil.example/"}
        answer = alice.post(path, {"decision": "allow", "confirmed": "1"}, headers=headers)
        assert answer.status_code == 403, (name, site)
        assert b"form_refused" in answer.content, site
    assert rows() == before
    assert not fake_aws


@pytest.mark.parametrize(("name", "path"), every(without=CHANGES_BY_GET))
def test_a_safe_method_changes_nothing(alice, fake_aws, name, path):
    before = rows(but=EVENTS)
    for method in ("get", "head", "options", "trace"):
        answer = getattr(alice, method)(path, headers={"authorization": ""})
        assert answer.status_code < 500, (name, method)
    assert rows(but=EVENTS) == before  # a refused token is an event
    assert not fake_aws


@pytest.mark.parametrize(("name", "path"), every())
def test_other_methods_do_nothing(publish, gateway_keys, signed_in, fake_aws, name, path):
    publish()
    browser = signed_in()
    browser.handler.enforce_csrf_checks = False  # what a method does is asked, not who sent it
    # SCIM asks every method for its token first, and a refused token is an event.
    by_token = name in {"scim", "scim-not-found"}
    but = EVENTS if by_token else frozenset()
    before = rows(but=but)
    for method in ("put", "patch", "delete", "trace"):
        answer = getattr(browser, method)(path)
        assert answer.status_code in ({401} if by_token else {401, 404, 405}), (name, method)
        assert answer.status_code == 405 or name != "oauth-authorize", method
        assert b"TRACE" not in answer.content
    assert rows(but=but) == before


@pytest.mark.parametrize(("name", "path"), every())
def test_nothing_of_a_person_is_kept_by_any_cache_framed_sniffed_or_runs_a_script_of_others(
    alice, fake_aws, name, path
):
    for method in ("get", "post"):
        answer = getattr(alice, method)(path)
        if name in PUBLIC and method == "get":
            assert answer["Cache-Control"] == "public, max-age=300"
            assert not answer.cookies
        else:
            assert "no-store" in answer["Cache-Control"], (name, method)
        if name not in {"healthz", "readyz"}:
            fenced(answer)


def fenced(answer):
    assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
    assert "script-src 'self';" in answer["Content-Security-Policy"]
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    if answer.get("Content-Type", "").startswith("text/html") and answer.content:
        page = soup(answer)
        for script in page("script"):
            # From our own static files and empty, or data that no browser runs.
            ours = re.fullmatch(r"/static/(portal|django_htmx)/[a-z0-9./-]+\.js", script.get("src", ""))
            assert (ours and not script.get_text()) or script.get("type") == "application/json", script
        assert not page("style")
        for tag in page.find_all(True):
            assert not [name for name in tag.attrs if name == "style" or name.startswith("on")], tag
            for name in ("href", "src", "action", "formaction"):
                assert not str(tag.get(name, "")).strip().lower().startswith(("javascript:", "data:")), tag


@pytest.mark.parametrize(("name", "path"), every(without=PUBLIC | {"healthz", "readyz"}))
def test_without_a_session_nothing_is_shown(publish, gateway_keys, clock, name, path):
    publish()
    answer = Browser().get(path)
    open_to_all = {"sign-in", "signed-out", "saml-metadata", "error-codes", "sign-in-begin"}
    if name in open_to_all:
        return
    assert answer.status_code in {302, 400, 401, 403, 404, 405}, name
    if answer.status_code == 302:
        assert answer["Location"].startswith(("/signin/?next=", "/signin/", "/signout/done")), name


@pytest.mark.parametrize(
    "path", ["//evil.example/signin", "//evil.example/%2e%2e/signin", "/\\evil.example", "/signin//evil.example"]
)
def test_a_missing_slash_leads_nowhere_else(db, browser, path):
    answer = browser.get(path)
    assert answer.status_code in {301, 404}
    assert not answer.get("Location", "/x").startswith(("//", "/\\", "http"))


def test_the_keys_are_made_once_whatever_asks(db, origin, now):
    """First start of two workers: the second finds the keys of the first (the race itself is in tests/flows)."""
    assert len(ensure_keys(actor="a", origin=origin, now=now)) == 4
    assert ensure_keys(actor="b", origin=origin, now=now) == []
