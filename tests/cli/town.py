"""A small company: the gateway and the local AWS of `tests.live`, and the demo's identity provider, each a real server."""

from __future__ import annotations

from pathlib import Path

from demo.idp.oidc_views import OidcClient
from demo.idp.server import CorporateIdp
from tests.live import CLIENT_SECRET, Stage


class Town(Stage):
    """Two accounts, shop-prod by SAML and shop-staging by OpenID Connect, in which engineers have ReadOnly; command lines that were
    paired by a typed code do not get the second. `url`: the gateway's."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {"ROLEGATE_DEVICE_EXCLUDED_ROLES": "staging/*"})
        self.url = self.gateway.url
        client = OidcClient(
            "rolegate",
            CLIENT_SECRET,
            (f"{self.url}/oidc/corp-oidc/callback",),
            (f"{self.url}/signout/done",),
            f"{self.url}/oidc/corp-oidc/backchannel-logout",
        )
        self.idp = CorporateIdp(0, [], [client])

    def start(self) -> Town:
        self.idp.start()
        self._providers["corp-oidc"] = {
            "slug": "corp-oidc", "name": "Example Corp (OpenID Connect)",
            "oidc": {"issuer": self.idp.issuer, "client_id": "rolegate", "client_secret": "${TEST_CLIENT_SECRET}",
                     "scopes": ["openid", "profile", "email", "groups"]},
            "claims": {"subject": "sub", "email": "email", "name": "name", "groups": "groups"},
        }  # fmt: skip
        super().start()
        return self

    def stop(self) -> None:
        super().stop()
        self.idp.stop()
