"""A client secret is never stored in clear, however the document brings it."""

import pytest
import yaml

from federation.errors import ConfigurationError
from federation.issuer.signing import KeySealBroken
from federation.models import MappingRevision, current, secrets

SECRET = "s3cr3t-of-the-client-at-the-provider"


def document(secret, **oidc):
    return yaml.safe_dump(
        {
            "version": 1,
            "identity_providers": [
                {
                    "slug": "entra",
                    "name": "Entra",
                    "oidc": {"issuer": "http://127.0.0.1:9", "client_id": "rolegate", "client_secret": secret, **oidc},
                    "claims": {"subject": "sub", "groups": "groups"},
                }
            ],
        }
    )


def stored():
    return current.mapping().document.identity_providers[0].oidc.client_secret


def test_a_literal_secret_is_sealed_and_still_works(publish):
    publish(document(SECRET))
    row = MappingRevision.objects.get()
    assert SECRET not in row.text + row.diff
    assert stored().startswith("sealed:v1.")
    assert secrets.reveal(stored()) == SECRET


def test_that_of_the_application_of_a_saml_provider_is_sealed_too(publish):
    graph = {"issuer": "http://127.0.0.1:9", "client_id": "rolegate", "client_secret": SECRET}
    saml = {"metadata_url": "https://idp.example.com/metadata", "graph": graph}
    provider = {"slug": "entra", "saml": saml, "claims": {"subject": "NameID", "groups": "groups"}}
    publish(yaml.safe_dump({"version": 1, "identity_providers": [provider]}))
    assert SECRET not in MappingRevision.objects.get().text
    sealed = current.mapping().document.identity_providers[0].saml.graph.client_secret
    assert secrets.reveal(sealed) == SECRET


def test_applying_it_again_changes_nothing_in_either_form(publish):
    publish(document(SECRET))
    assert not publish(document(SECRET)).changed
    assert not publish(MappingRevision.objects.get().text).changed
    assert publish(document(SECRET + "-new")).changed


def test_a_reference_stays_a_reference(publish, monkeypatch):
    publish(document("${TEST_CLIENT_SECRET}"))
    assert stored() == "${TEST_CLIENT_SECRET}"
    monkeypatch.setenv("TEST_CLIENT_SECRET", SECRET)
    assert secrets.reveal(stored()) == SECRET
    monkeypatch.delenv("TEST_CLIENT_SECRET")
    with pytest.raises(ConfigurationError) as caught:
        secrets.reveal(stored())
    assert caught.value.reason == "secret_not_set"


def test_a_secret_whose_replacement_would_change_the_document_is_refused(publish):
    with pytest.raises(secrets.SecretNotSealable) as caught:
        publish(document("rolegate"))
    assert caught.value.reason == "secret_not_sealable"
    assert not MappingRevision.objects.exists()


def test_a_rotated_gateway_secret_still_opens_it_and_a_lost_one_does_not(publish, settings):
    publish(document(SECRET))
    old = settings.SECRET_KEY
    settings.SECRET_KEY = "another-test-secret-key-that-is-public-0123456789-abcdefgh"
    with pytest.raises(KeySealBroken):
        secrets.reveal(stored())
    settings.SECRET_KEY_FALLBACKS = [old]
    assert secrets.reveal(stored()) == SECRET
