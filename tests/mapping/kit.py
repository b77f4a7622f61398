"""What the mapping's tests share: small documents, and the faults of a bad one."""

from __future__ import annotations

import textwrap

from federation.mapping.document import DocumentError, Fault, parse
from federation.mapping.engine import CompiledMapping, compile_mapping
from federation.mapping.rules import CatalogueRole
from tests.cast import DEV, PROD, STAGING

HEAD = f"""\
version: 1
identity_providers:
  - {{slug: corp, saml: {{metadata_url: "https://idp.example.com/m"}}, claims: {{attributes: {{department: dept, city: l}}}}}}
  - {{slug: entra, oidc: {{issuer: "https://login.example.com", client_id: rolegate}}}}
accounts:
  - {{id: "{PROD}", name: shop-prod, tags: {{environment: production, team: shop}}, organizational_unit: Root/Prod/Shop}}
  - {{id: "{STAGING}", name: shop-staging, federation: oidc, tags: {{environment: staging, team: shop}}, organizational_unit: Root/Test}}
  - {{id: "{DEV}", name: sand-dev, tags: {{environment: development}}}}
"""


def rules(text: str) -> str:
    """A document of three accounts with these entries under `mapping`."""
    return HEAD + "mapping:\n" + textwrap.indent(textwrap.dedent(text).strip("\n"), "  ") + "\n"


def mapping(text: str) -> CompiledMapping:
    return compile_mapping(parse(rules(text)))


def faults(text: str) -> tuple[Fault, ...]:
    """The faults of a document that must be refused."""
    try:
        parse(text)
    except DocumentError as error:
        assert error.code == error.reason == "mapping_document_invalid"
        assert error.status == 400
        assert error.faults
        return error.faults
    raise AssertionError("the document was accepted")


def listing(*arns: str, longest: int | None = None) -> dict[str, dict[str, CatalogueRole]]:
    """A catalogue that knows exactly these roles, and the accounts that they are in."""
    found: dict[str, dict[str, CatalogueRole]] = {}
    for arn in arns:
        path, _, name = arn.split(":role/", 1)[-1].rpartition("/")
        found.setdefault(arn.split(":")[4], {})[arn] = CatalogueRole(arn, name, path, longest)
    return found
