"""npm's oidc-provider as an OpenID provider: PKCE wanted, `iss` on the callback, RP-initiated and back-channel logout."""

from __future__ import annotations

import json
from pathlib import Path

from tests.live import CLIENT_SECRET
from tests.processes import Process, free_port, need_file, need_program

_HERE = Path(__file__).parent


class OidcProvider:
    """One OP on a free loopback port that signs with `algorithm`; alice / wonderland and bob / builder can sign in."""

    client_id = "rolegate"
    client_secret = CLIENT_SECRET

    def __init__(self, folder: Path, *, algorithm: str) -> None:
        need_program("node", "nodejs npm")
        need_file(_HERE / "node_modules/oidc-provider/package.json", "it with: (cd tests/peers && npm ci)")
        folder.mkdir(parents=True)
        self.folder = folder
        self.algorithm = algorithm
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._process: Process | None = None

    def start(self, *, gateway_url: str, slug: str) -> OidcProvider:
        """Serve, with the gateway registered as the client `rolegate`, until `stop`."""
        client = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "redirect_uris": [f"{gateway_url}/oidc/{slug}/callback"],
            "post_logout_redirect_uris": [f"{gateway_url}/signout/done"],
            "backchannel_logout_uri": f"{gateway_url}/oidc/{slug}/backchannel-logout",
            "backchannel_logout_session_required": True,
            "response_types": ["code"],
            "grant_types": ["authorization_code"],
            "token_endpoint_auth_method": "client_secret_basic",
            "id_token_signed_response_alg": self.algorithm,
        }
        (self.folder / "clients.json").write_text(json.dumps([client]))
        self._process = Process(
            [
                "node",
                str(_HERE / "oidc_provider_server.mjs"),
                str(self.port),
                self.algorithm,
                str(self.folder / "clients.json"),
            ],
            log=self.folder / "log",
        ).start(ready=f"{self.issuer}/.well-known/openid-configuration")
        return self

    @property
    def log(self) -> str:
        """What it printed."""
        return self._process.tail(200) if self._process else ""

    def stop(self) -> None:
        if self._process:
            self._process.stop()
