"""One running gateway with a local AWS behind it, and the software of others that is put against it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import Stage
from tests.peers.oidc_provider import OidcProvider
from tests.peers.simplesamlphp import SimpleSamlPhp


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The gateway and the local AWS, for all tests of this worker."""
    stage = Stage(tmp_path_factory.mktemp("stage"))
    try:
        yield stage.start()
    finally:
        stage.stop()


def _simplesamlphp(
    stage: Stage, factory: pytest.TempPathFactory, slug: str, *, encrypt: bool
) -> Iterator[SimpleSamlPhp]:
    peer = SimpleSamlPhp(factory.mktemp(slug), encrypt=encrypt)
    try:
        peer.start()
        stage.connect(
            {
                "slug": slug,
                "name": f"SimpleSAMLphp {slug}",
                "saml": {"metadata_url": peer.metadata_url, "sign_requests": True, "encrypted_assertions": encrypt},
                "claims": {"subject": "NameID", "email": "mail", "name": "displayName", "groups": "groups"},
            }
        )
        peer.know(stage.gateway.sp_metadata(slug))
        yield peer
    finally:
        peer.stop()


@pytest.fixture(scope="session")
def ssp(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleSamlPhp]:
    """SimpleSAMLphp that signs, and wants signed requests; the gateway's provider `ssp`."""
    yield from _simplesamlphp(stage, tmp_path_factory, "ssp", encrypt=False)


@pytest.fixture(scope="session")
def ssp_encrypting(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleSamlPhp]:
    """SimpleSAMLphp that also encrypts the assertion; the gateway's provider `ssp-encrypting`."""
    yield from _simplesamlphp(stage, tmp_path_factory, "ssp-encrypting", encrypt=True)


def _oidc_provider(stage: Stage, factory: pytest.TempPathFactory, algorithm: str) -> Iterator[OidcProvider]:
    slug = f"op-{algorithm.lower()}"
    peer = OidcProvider(factory.mktemp(slug) / "op", algorithm=algorithm)
    try:
        peer.start(gateway_url=stage.gateway.url, slug=slug)
        stage.connect(
            {
                "slug": slug,
                "name": f"oidc-provider {algorithm}",
                "oidc": {"issuer": peer.issuer, "client_id": peer.client_id, "client_secret": "${TEST_CLIENT_SECRET}"},
                "claims": {"subject": "sub", "email": "email", "name": "name", "groups": "groups"},
            }
        )
        yield peer
    finally:
        peer.stop()


@pytest.fixture(scope="session")
def op_rs256(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcProvider]:
    """oidc-provider signing with RS256; the gateway's provider `op-rs256`."""
    yield from _oidc_provider(stage, tmp_path_factory, "RS256")


@pytest.fixture(scope="session")
def op_es256(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcProvider]:
    """oidc-provider signing with ES256; the gateway's provider `op-es256`."""
    yield from _oidc_provider(stage, tmp_path_factory, "ES256")
