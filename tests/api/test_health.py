"""/healthz and /readyz: for probes, which come by address and without https."""

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from federation.models.keys import SigningKey
from portal import health


@pytest.fixture(autouse=True)
def _look_again():
    health.migrations.forget()
    yield
    health.migrations.forget()


def test_alive_without_asking_the_database(client, django_assert_num_queries, db):
    with django_assert_num_queries(0):
        response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response["Cache-Control"] == "no-store"


def test_ready(client, gateway_keys):
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_by_any_address_and_without_https(gateway_keys, settings, path):
    """A kubelet asks http://10.1.2.3:8000: no redirect to https, no refusal of the Host, no cookie."""
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["gateway.example.com"]
    response = Client().get(path, headers={"host": "10.1.2.3:8000"})
    assert response.status_code == 200
    assert not response.cookies
    assert Client().head(path, headers={"host": "10.1.2.3:8000"}).status_code == 200
    assert Client().post(path).status_code == 405
    assert Client().get("/signin/", headers={"host": "10.1.2.3:8000"}).status_code == 400


def not_ready(client) -> list[str]:
    response = client.get("/readyz")
    assert response.status_code == 503
    assert int(response["Retry-After"]) >= 1
    assert response.json()["status"] == "unavailable"
    return response.json()["reasons"]


def test_without_signing_keys(client, db):
    assert not_ready(client) == ["no_active_saml_key", "no_active_token_key"]


def test_with_one_kind_of_key_missing(client, gateway_keys):
    SigningKey.objects.filter(purpose="token").update(state="retiring")
    assert not_ready(client) == ["no_active_token_key"]


def test_with_a_migration_missing_and_after_it_is_applied(client, gateway_keys):
    newest = MigrationRecorder.Migration.objects.filter(app="federation").order_by("-name").first()
    newest.delete()
    assert not_ready(client) == ["migrations_pending"]
    MigrationRecorder(connection).record_applied("federation", newest.name)
    assert client.get("/readyz").status_code == 200


def test_migrations_are_read_once(client, gateway_keys, django_assert_num_queries):
    client.get("/readyz")
    with django_assert_num_queries(3):
        client.get("/readyz")


def test_the_database_away(client, db, monkeypatch):
    def away(*args, **kwargs):
        raise OperationalError("canary-host: connection refused")

    with monkeypatch.context() as broken:
        broken.setattr(health.connection, "cursor", away)
        broken.setattr(health.connection, "close", lambda: None)
        assert not_ready(client) == ["database_unreachable"]
        assert b"canary-host" not in client.get("/readyz").content
        assert client.get("/healthz").status_code == 200
