"""A gateway on a PostgreSQL that the tests may crash, with a Redis that is not there, a corporate IdP and a local AWS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import pytest

from demo.cast import CAST
from demo.idp.server import CorporateIdp
from tests.faults.servers import PostgresCluster
from tests.live import Page, Stage, Visitor
from tests.processes import free_port

LOCK_SECONDS = 2  # 5 where nothing else is said: tests/config/test_env.py; less than this is met on a busy machine


@dataclass
class Town:
    """All of it. `redis_port` is where the gateway believes that its Redis is."""

    cluster: PostgresCluster
    stage: Stage
    redis_port: int

    def sign_in(self, who: str = "alice") -> Visitor:
        """Somebody who has signed in by SAML."""
        visitor = Visitor()
        page = self.try_to_sign_in(visitor, who)
        assert (page.status, page.url) == (200, f"{self.stage.gateway.url}/"), page.text[:800]
        return visitor

    def count(self, kind: str) -> int:
        """How many audit events of this kind there are."""
        return int(str(self.cluster.value(f"SELECT count(*) FROM federation_auditevent WHERE kind = '{kind}'")))

    def try_to_sign_in(self, visitor: Visitor, who: str = "alice") -> Page:
        """Whatever page that ends on."""
        return visitor.sign_in(self.stage.gateway, "corp", user=who, password=CAST[who].password)


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Running, for every test of this worker; each leaves it as it was."""
    cluster = PostgresCluster()
    redis_port = free_port()
    try:
        cluster.make()
        stage = Stage(
            tmp_path_factory.mktemp("town"),
            {
                "DATABASE_URL": f"{cluster.url}?{urlencode({'options': f'-c lock_timeout={LOCK_SECONDS}s'}, quote_via=quote)}",
                "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
                "ROLEGATE_RATE_FACTOR": "1000",  # the requests of a minute come in a second here
            },
        )
        stage.gateway.workers = 2
        idp = CorporateIdp(0, [f"{stage.gateway.url}/saml/corp/metadata"])
        try:
            idp.start()
            stage.start()
            stage.connect(
                {
                    "slug": "corp",
                    "name": "Example Corp",
                    "saml": {"metadata_url": idp.metadata_url},
                    "claims": {"subject": "NameID", "email": "mail", "name": "displayName", "groups": "memberOf"},
                }
            )
            yield Town(cluster, stage, redis_port)
        finally:
            stage.stop()
            idp.stop()
    finally:
        cluster.remove()
