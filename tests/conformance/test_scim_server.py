"""scim2-tester, which nobody here wrote, against the gateway's SCIM server: every check it has, over WSGI."""

from __future__ import annotations

import collections

import pytest
from django.core.wsgi import get_wsgi_application

from tests.scim.conftest import clock, token  # noqa: F401  fixtures


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_check_of_scim2_tester_succeeds(transactional_db, token):  # noqa: F811
    # Two seconds of CPU, which each worker would pay that only collects this file.
    from scim2_client.engines.wsgi import WSGISCIMClient
    from scim2_tester import Status, check_server

    secret = token()
    client = WSGISCIMClient(
        get_wsgi_application(),
        base_url="http://localhost:8000/scim/v2",
        headers={"Authorization": f"Bearer {secret}"},
    )
    results = check_server(client, raise_exceptions=False)
    bad = [(r.title, r.resource_type, r.reason) for r in results if r.status is not Status.SUCCESS]
    assert not bad, "\n".join(map(str, bad))
    done = collections.Counter(result.resource_type for result in results)
    assert done["User"] > 60
    assert done["Group"] > 15
