"""What the SCIM server says about itself: its configuration, resource types and schemas (RFC 7644 section 4)."""

from __future__ import annotations

from functools import cache
from typing import Any

import scim2_models as rfc
from scim2_models import Context

from federation.directory.scim import EnterpriseUser, Group, Person

PAGE, MAX_RESULTS = 100, 500
MAX_OPERATIONS = 1_000
MAX_PAYLOAD = 8 * 1024 * 1024  # a group of 50,000 in one PUT


@cache
def configuration(base_url: str) -> dict[str, Any]:
    """The service provider configuration (RFC 7643 section 5)."""
    yes, no = {"supported": True}, {"supported": False}
    config = rfc.ServiceProviderConfig.model_validate(
        {
            "patch": yes,
            "bulk": {**yes, "maxOperations": MAX_OPERATIONS, "maxPayloadSize": MAX_PAYLOAD},
            "filter": {**yes, "maxResults": MAX_RESULTS},
            "changePassword": no,
            "sort": yes,
            "etag": yes,
            "authenticationSchemes": [
                {
                    "type": "oauthbearertoken",
                    "name": "Bearer token",
                    "description": "A token made by `manage.py tokens create`, in the Authorization header.",
                    "specUri": "https://www.rfc-editor.org/info/rfc6750",
                    "primary": True,
                }
            ],
            "pagination": {
                "cursor": False, "index": True, "defaultPaginationMethod": "index", "defaultPageSize": PAGE, "maxPageSize": MAX_RESULTS,
            },
        }
    )  # fmt: skip
    config.meta = rfc.Meta(resource_type="ServiceProviderConfig", location=f"{base_url}/ServiceProviderConfig")
    return _dumped(config)


@cache
def resource_types(base_url: str) -> dict[str, dict[str, Any]]:
    """The resource types by their ids (RFC 7643 section 6)."""
    found = {}
    for model in (Person, Group):
        described = rfc.ResourceType.from_resource(model)
        described.meta = rfc.Meta(resource_type="ResourceType", location=f"{base_url}/ResourceTypes/{described.id}")
        found[str(described.id)] = _dumped(described)
    return found


@cache
def schemas(base_url: str) -> dict[str, dict[str, Any]]:
    """The schemas by their URNs (RFC 7643 section 7)."""
    found = {}
    for model in (Person, Group, EnterpriseUser, rfc.ServiceProviderConfig, rfc.ResourceType, rfc.Schema):
        schema = model.to_schema()
        schema.meta = rfc.Meta(resource_type="Schema", location=f"{base_url}/Schemas/{schema.id}")
        found[str(schema.id)] = _dumped(schema)
    return found


def _dumped(resource: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = resource.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)
    return dumped
