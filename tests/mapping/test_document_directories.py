"""The section `directories`: what it reads, what it refuses, and with which words."""

from __future__ import annotations

import pytest

from federation.mapping.document import parse
from federation.mapping.reading import DocumentError
from federation.mapping.rules import Directory, GraphOptions, LdapAttributes, LdapDirectory, ScimDirectory
from federation.mapping.writing import to_yaml
from tests.mapping.kit import HEAD, faults

LDAP = "url: ldaps://dc1.example.com, base_dn: 'dc=example,dc=com'"


def document(*entries: str) -> str:
    return HEAD + "directories:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries)


def one(text: str, path: str, *words: str) -> None:
    found = faults(text)
    assert [fault.path for fault in found] == [path], found
    assert found[0].line > 8
    for word in words:
        assert word in found[0].message, found[0].message


def test_a_directory_that_pushes_and_what_is_usual():
    (found,) = parse(document("slug: okta, provider: corp, scim: {}")).directories
    assert found == Directory("okta", "corp", scim=ScimDirectory("displayName"), subject="userName", groups="replace")
    assert found.stale_after is None
    (found,) = parse(
        document(
            "slug: d, provider: entra, scim: {group_name: externalId}, subject: externalId, groups: add, stale_after: 36h"
        )
    ).directories
    assert (found.scim, found.subject, found.groups, found.stale_after) == (
        ScimDirectory("externalId"),
        "externalId",
        "add",
        129_600,
    )


def test_a_directory_that_is_read():
    (found,) = parse(
        HEAD
        + """directories:
  - slug: ad
    provider: corp
    ldap:
      url: ldaps://dc1.example.com:3269
      bind_dn: CORP\\rolegate
      password: "${AD_PASSWORD}"
      base_dn: dc=example,dc=com
      user_filter: (&(objectCategory=person)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))
      attributes: {subject: userPrincipalName}
      nested: false
      interval: 5m
"""
    ).directories
    assert found == Directory(
        "ad",
        "corp",
        ldap=LdapDirectory(
            urls=("ldaps://dc1.example.com:3269",),
            base_dn="dc=example,dc=com",
            bind_dn="CORP\\rolegate",
            password="${AD_PASSWORD}",
            user_filter="(&(objectCategory=person)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))",
            attributes=LdapAttributes(subject="userPrincipalName"),
            nested=False,
            interval=300,
        ),
        stale_after=86_400,
    )
    assert "AD_PASSWORD" not in repr(found)


@pytest.mark.parametrize(
    ("entry", "path", "words"),
    [
        ("provider: corp, scim: {}", "directories[0]", ["`slug` is missing"]),
        ("slug: d, scim: {}", "directories[0]", ["`provider` is missing"]),
        ("slug: d, provider: corp", "directories[0]", ["exactly one of scim and ldap"]),
        ("slug: d, provider: corp, scim: {}, ldap: {LDAP}", "directories[0]", ["exactly one of scim and ldap"]),
        ("slug: d, provider: crop, scim: {}", "directories[0].provider", ["no identity provider", 'did you mean "corp"?']),
        ("slug: d, provider: corp, scim: {}, subject: username", "directories[0].subject", ["one of userName, externalId, id, emails"]),
        ("slug: d, provider: corp, scim: {}, subject: mail", "directories[0].subject", ["one of userName"]),
        ("slug: d, provider: corp, scim: {}, groups: union", "directories[0].groups", ["one of replace, add"]),
        ("slug: d, provider: corp, scim: {}, stale_after: 30m", "directories[0].stale_after", ["between 1h and 30d"]),
        ("slug: d, provider: corp, scim: {token: x}", "directories[0].scim.token", ["unknown key"]),
        ("slug: d, provider: corp, scim: {group_name: id}", "directories[0].scim.group_name", ["one of displayName, externalId"]),
        ("slug: d, provider: corp, ldap: {LDAP}, subject: id", "directories[0].subject", ["ldap.attributes.subject"]),
        ("slug: d, provider: corp, ldap: {base_dn: 'dc=x'}", "directories[0].ldap", ["`url` is missing"]),
        ("slug: d, provider: corp, ldap: {url: ldaps://x}", "directories[0].ldap", ["`base_dn` is missing"]),
        ("slug: d, provider: corp, ldap: {LDAP, bind_dn: 'cn=x'}", "directories[0].ldap", ["belong together"]),
        ("slug: d, provider: corp, ldap: {LDAP, interval: 10s}", "directories[0].ldap.interval", ["between 1m and 24h"]),
        ("slug: d, provider: corp, ldap: {LDAP, nested: 1}", "directories[0].ldap.nested", ["true or false"]),
        ("slug: d, provider: corp, ldap: {LDAP, ca_certificate: x}", "directories[0].ldap.ca_certificate", ["PEM"]),
        ("slug: d, provider: corp, ldap: {LDAP, attributes: {email: 'a b'}}", "directories[0].ldap.attributes.email", ["LDAP attribute"]),
        ("slug: d, provider: corp, ldap: {url: ldaps://x, base_dn: example.com}", "directories[0].ldap.base_dn", ["distinguished name"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(entry, path, words):
    one(document(entry.replace("LDAP", LDAP)), path, *words)


@pytest.mark.parametrize(
    "url",
    [
        "ldap://ldap.example.com", "https://ldap.example.com", "ldaps://", "ldaps://user@x", "ldaps://u:p@x", "ldaps://x/dc=a",
        "ldaps://x?cn", "ldaps://x#f", "ldaps://x:99999", "ldap.example.com", "ldapi:///var/run/ldapi", "ldap://127.0.0.1.example.com",
    ],
)  # fmt: skip
def test_an_address_in_clear_or_with_more_in_it_is_refused(url):
    one(
        document(f"slug: d, provider: corp, ldap: {{url: '{url}', base_dn: 'dc=x'}}"),
        "directories[0].ldap.url",
        "ldaps://",
    )


@pytest.mark.parametrize(
    "url", ["ldaps://x", "ldaps://x/", "ldaps://[::1]:636", "ldap://127.0.0.1:3890", "ldap://localhost"]
)
def test_addresses_that_are_good(url):
    text = document(f"slug: d, provider: corp, ldap: {{url: '{url}', base_dn: 'dc=x'}}")
    assert parse(text).directories[0].ldap.urls == (url,)


@pytest.mark.parametrize("password", ["hunter2", "$LDAP", "${lower}", "x${LDAP}", "${LDAP}x", "sealed:v1.abc"])
def test_a_password_in_clear_is_refused_and_never_repeated(password):
    text = document(f"slug: d, provider: corp, ldap: {{{LDAP}, bind_dn: 'cn=x', password: '{password}'}}")
    one(text, "directories[0].ldap.password", "${LDAP_PASSWORD}")
    assert password not in faults(text)[0].message


@pytest.mark.parametrize(
    "text", ["objectClass=person", "(a=b", "a=b)", "(a=b)(c=d)", "(a=b))", "((a=b)", ")(", "(a=b) "]
)
def test_a_filter_whose_parentheses_do_not_match_is_refused(text):
    for key in ("user_filter", "group_filter"):
        one(
            document(f"slug: d, provider: corp, ldap: {{{LDAP}, {key}: '{text}'}}"),
            f"directories[0].ldap.{key}",
            "parentheses",
        )


def test_two_of_a_slug_or_of_a_provider_are_refused():
    one(
        document("slug: d, provider: corp, scim: {}", "slug: d, provider: entra, scim: {}"),
        "directories[1].slug",
        "twice",
    )
    one(
        document("slug: d, provider: corp, scim: {}", "slug: e, provider: corp, scim: {}"),
        "directories[1].provider",
        "twice",
    )


# --- Microsoft Graph, which completes a provider's groups --------------------------------------------------

OIDC = "issuer: 'https://login.example.com/t', client_id: x"


def provider(oidc: str) -> str:
    return f"version: 1\nidentity_providers:\n  - slug: e\n    oidc: {{{oidc}}}\n"


def test_graph_and_what_is_usual():
    text = provider(f"{OIDC}, client_secret: '${{E}}', graph: {{}}")
    assert parse(text).identity_providers[0].oidc.graph == GraphOptions("https://graph.microsoft.com", "id")
    text = provider(f"{OIDC}, client_secret: '${{E}}', graph: {{endpoint: 'https://graph.microsoft.us/'}}")
    assert parse(text).identity_providers[0].oidc.graph == GraphOptions("https://graph.microsoft.us", "id")


@pytest.mark.parametrize(
    ("graph", "path", "words"),
    [
        ("endpoint: 'http://graph.example.com'", ".endpoint", "https URL"),
        ("endpoint: 'https://graph.microsoft.com/v1.0'", ".endpoint", "without a path"),
        ("group_name: displayName", ".group_name", "one of id, onPremisesSamAccountName"),
        ("tenant: x", ".tenant", "unknown key"),
    ],
)
def test_what_is_wrong_about_graph_is_said(graph, path, words):
    (fault,) = faults(provider(f"{OIDC}, client_secret: '${{E}}', graph: {{{graph}}}"))
    assert fault.path == f"identity_providers[0].oidc.graph{path}"
    assert words in fault.message


def test_graph_needs_the_clients_secret():
    (fault,) = faults(provider(f"{OIDC}, graph: {{}}"))
    assert (fault.path, "client_secret" in fault.message) == ("identity_providers[0].oidc.graph", True)


SAML = "metadata_url: 'https://idp.example.com/metadata'"


def saml_provider(graph: str) -> str:
    return f"version: 1\nidentity_providers:\n  - slug: e\n    saml: {{{SAML}, graph: {{{graph}}}}}\n"


def test_a_saml_provider_names_the_application_that_graph_is_asked_as():
    text = saml_provider(f"{OIDC}, client_secret: '${{E}}', group_name: onPremisesSamAccountName")
    found = parse(text).identity_providers[0]
    assert (found.client.issuer, found.client.client_id, found.client.client_secret) == (
        "https://login.example.com/t",
        "x",
        "${E}",
    )
    assert found.client.graph == GraphOptions("https://graph.microsoft.com", "onPremisesSamAccountName")


@pytest.mark.parametrize(
    ("graph", "path", "words"),
    [
        (f"{OIDC}", "", "client_secret"),
        (f"{OIDC}, client_secret: '${{E}}', scopes: [openid]", ".scopes", "unknown key"),
        (
            f"{OIDC}, client_secret: '${{E}}', endpoint: 'https://graph.microsoft.com/v1.0'",
            ".endpoint",
            "without a path",
        ),
        ("issuer: 'http://login.example.com', client_id: x, client_secret: '${E}'", ".issuer", "https URL"),
    ],
)
def test_what_is_wrong_about_the_application_is_said(graph, path, words):
    (fault,) = faults(saml_provider(graph))
    assert fault.path == f"identity_providers[0].saml.graph{path}"
    assert words in fault.message


def test_a_directory_may_have_several_servers():
    text = document("slug: d, provider: corp, ldap: {url: ['ldaps://dc1', 'ldaps://dc2:3269'], base_dn: 'dc=x'}")
    (directory,) = parse(text).directories
    assert directory.ldap.urls == ("ldaps://dc1", "ldaps://dc2:3269")
    assert parse(to_yaml(parse(text))).directories == (directory,)


@pytest.mark.parametrize(
    ("urls", "said"),
    [("[]", "empty"), ("['ldaps://dc1', 'ldap://dc2']", "ldaps"), ("['ldaps://dc1', 'ldaps://dc1']", "twice")],
)
def test_each_of_several_servers_is_looked_at(urls, said):
    with pytest.raises(DocumentError) as caught:
        parse(document(f"slug: d, provider: corp, ldap: {{url: {urls}, base_dn: 'dc=x'}}"))
    assert any("ldap.url" in fault.path and said in fault.message for fault in caught.value.faults)
