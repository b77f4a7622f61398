"""The cast of the tests: the same few people and accounts everywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType

from federation.identity import Identity, Subject

NOW = datetime(2026, 5, 3, 9, 0, tzinfo=UTC)
PROD, STAGING, DEV = "111122223333", "222233334444", "333344445555"

DOCUMENT = f"""\
version: 1
identity_providers:
  - slug: corp
    name: Example Corp
    saml: {{metadata_url: "http://127.0.0.1:9/metadata"}}
    claims: {{subject: NameID, email: mail, name: displayName, groups: memberOf, attributes: {{department: dept}}}}
    email_domains: [example.com]
  - slug: entra
    name: Entra
    oidc: {{issuer: "http://127.0.0.1:9", client_id: rolegate, client_secret: "${{TEST_OIDC_SECRET}}", scopes: [openid, profile, email, groups]}}
    claims: {{subject: sub, email: email, name: name, groups: groups}}
accounts:
  - {{id: "{PROD}", name: shop-prod, federation: saml, provider: rolegate, region: eu-west-1, tags: {{environment: production, team: shop}}}}
  - {{id: "{STAGING}", name: shop-staging, federation: oidc, region: eu-west-1, tags: {{environment: staging, team: shop}}}}
  - {{id: "{DEV}", name: shop-dev, federation: saml, provider: rolegate, tags: {{environment: development, team: shop}}}}
staff:
  - {{role: owner, groups: [cloud-platform]}}
mapping:
  - name: engineers-read-production
    when: {{groups: [engineering]}}
    allow: {{roles: [ReadOnly], accounts: {{tags: {{environment: production}}}}}}
    session: {{duration: 1h, console_duration: 8h, policy: read-only, tags: {{Team: "{{attributes.department}}"}}}}
  - name: engineers-develop
    when: {{groups: [engineering]}}
    allow: {{roles: [Developer], accounts: {{tags: {{team: shop}}}}}}
    session: {{duration: 2h}}
  - name: admins-by-request
    when: {{groups: [engineering], mfa: true}}
    allow: {{roles: [Administrator], accounts: {{tags: {{environment: production}}}}}}
    approval: {{by: [sre-leads], at_most: 4h, reason: required}}
  - name: no-contractors-in-production
    when: {{groups: [contractors]}}
    deny: {{accounts: {{tags: {{environment: production}}}}}}
"""

# The statement triggers of migration 0007 and their tables.
NO_TRUNCATE = {
    "audit_is_not_truncated": "federation_auditevent",
    "audit_head_is_not_truncated": "federation_audithead",
    "revisions_are_not_truncated": "federation_mappingrevision",
}


def role(account: str, name: str) -> str:
    return f"arn:aws:iam::{account}:role/{name}"


def identity(
    subject: str = "alice", *, groups: tuple[str, ...] = ("engineering",), now: datetime = NOW, **more
) -> Identity:
    return Identity(
        subject=Subject(more.pop("provider", "corp"), more.pop("format", ""), subject),
        name=more.pop("name", subject.title()),
        email=more.pop("email", f"{subject}@example.com"),
        groups=frozenset(groups),
        verified_at=now,
        authenticated_at=now,
        attributes=MappingProxyType(more.pop("attributes", {"department": ("shop",)})),
        **more,
    )


def alice(**more) -> Identity:
    """An engineer."""
    return identity("alice", **more)


def bob(**more) -> Identity:
    """A contractor who is in engineering too."""
    return identity("bob", groups=("engineering", "contractors"), **more)


def carol(**more) -> Identity:
    """An admin of the cloud platform."""
    return identity("carol", groups=("cloud-platform",), mfa=True, **more)
