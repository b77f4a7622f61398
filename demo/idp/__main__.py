"""`python -m demo.idp [PORT]`: the identity provider alone."""

import sys
import threading

from demo.idp.oidc_views import OidcClient
from demo.idp.server import CorporateIdp

GATEWAY = "http://localhost:8000"

if __name__ == "__main__":
    client = OidcClient(
        "rolegate", "demo-only-secret", (f"{GATEWAY}/oidc/corp-oidc/callback",), (f"{GATEWAY}/signout/done",)
    )
    idp = CorporateIdp(
        int(sys.argv[1]) if len(sys.argv) > 1 else 8001, [f"{GATEWAY}/saml/corp/metadata"], [client]
    ).start()
    print(f"DEMO identity provider: {idp.url} (SAML metadata {idp.metadata_url}, OpenID Connect issuer {idp.issuer})")
    threading.Event().wait()
