"""A local AWS for the flows: one a run, with an issuer's documents served beside it over real HTTP."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from demo.aws import bulk, registry
from demo.aws.server import LocalAws
from tests import cast


class _Documents(BaseHTTPRequestHandler):
    """Serves what `documents` holds: what a static issuer host would."""

    documents: dict[str, bytes] = {}

    def do_GET(self):
        body = self.documents.get(self.path.removeprefix("/issuer/"))
        self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def issuer_host():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Documents)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/issuer"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def local_aws():
    aws = LocalAws()
    aws.start()
    yield aws
    aws.stop()


def trust(principal, action, condition, *more):
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": principal},
        "Action": [action, *(more or ("sts:TagSession", "sts:SetSourceIdentity"))],
        "Condition": {"StringEquals": condition},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.fixture
def aws(local_aws, issuer_host, gateway_keys, publish, settings, monkeypatch):
    """The cast's accounts, trusting this gateway; the mapping published; boto3 pointed at the local AWS."""
    from federation.flows import rotate_keys

    settings.ROLEGATE_ISSUER_URL = issuer_host
    settings.ROLEGATE_SIGNIN_ENDPOINT_URL = local_aws.federation_url
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", local_aws.url)
    publish()
    documents = rotate_keys.published_documents(now=datetime.now(UTC))
    _Documents.documents = documents
    roles = []
    for account in (cast.PROD, cast.DEV):
        provider = local_aws.register_saml_provider(account, "rolegate", documents["saml/metadata.xml"])
        recipients = ["https://signin.aws.amazon.com/saml", "https://eu-west-1.signin.aws.amazon.com/saml"]
        policy = trust(provider, "sts:AssumeRoleWithSAML", {"SAML:aud": recipients})
        roles += [registry.role(account, name, policy, 3600, "aws") for name in ("ReadOnly", "Developer")]
    provider = local_aws.register_oidc_provider(cast.STAGING, issuer_host, ["sts.amazonaws.com"])
    audience = {f"{issuer_host.split('://', 1)[1]}:aud": "sts.amazonaws.com"}
    policy = trust(provider, "sts:AssumeRoleWithWebIdentity", audience)
    roles.append(registry.role(cast.STAGING, "Developer", policy, 7200, "aws"))
    # At once, and not three calls over HTTP for each before every test.
    local_aws.put_roles((role, bulk.RoleFacts()) for role in roles)
    return local_aws
