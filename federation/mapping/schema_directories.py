"""The section `directories`: where the people and groups of a provider come from."""

from __future__ import annotations

from typing import Literal, cast

from federation.mapping import leaves
from federation.mapping.reading import Value, quoted
from federation.mapping.rules import (
    PULL_STALE_AFTER,
    Directory,
    GroupNameAttribute,
    LdapAttributes,
    LdapDirectory,
    ScimDirectory,
    SubjectAttribute,
)
from federation.mapping.schema_accounts import Known
from federation.said import say


def read_directory(value: Value, known: Known) -> Directory:
    """One entry of `directories`."""
    fields = value.fields(
        ("slug", "provider", "scim", "ldap", "subject", "groups", "stale_after"), required=("slug", "provider")
    )
    scim, ldap = fields.get("scim"), fields.get("ldap")
    if (scim is None) == (ldap is None) and fields:
        value.fault(say("exactly one of {one} and {other} is wanted here", one="scim", other="ldap"))
    if ldap is not None and (entry := fields.get("subject")):
        entry.fault(say("with ldap, ldap.attributes.subject says which attribute it is; leave this out"))
    return Directory(
        slug=fields.read("slug", leaves.slug, ""),
        provider=fields.read("provider", lambda v: _provider(v, known), ""),
        scim=_scim(scim) if scim else None,
        ldap=_ldap(ldap) if ldap else None,
        subject=cast(
            "SubjectAttribute",
            fields.read("subject", leaves.choice("userName", "externalId", "id", "emails"), "userName"),
        ),
        groups=cast('Literal["replace", "add"]', fields.read("groups", leaves.choice("replace", "add"), "replace")),
        stale_after=fields.read("stale_after", leaves.directory_stale_after, PULL_STALE_AFTER if ldap else None),
    )


def _provider(value: Value, known: Known) -> str | None:
    text = leaves.slug(value)
    if text is not None and text not in known.providers:
        value.fault(
            say("no identity provider of this document is called {name}", name=quoted(text)),
            value.near(text, known.providers),
        )
        return None
    return str(text) if text is not None else None


def _scim(value: Value) -> ScimDirectory:
    fields = value.fields(("group_name",))
    return ScimDirectory(
        group_name=cast(
            "GroupNameAttribute",
            fields.read("group_name", leaves.choice("displayName", "externalId"), "displayName"),
        )
    )


def _ldap(value: Value) -> LdapDirectory:
    usual = LdapDirectory((), "")
    fields = value.fields(
        (
            "url", "start_tls", "bind_dn", "password", "ca_certificate", "base_dn", "user_filter", "disabled_filter", "group_filter",
            "attributes", "nested", "interval",
        ),
        required=("url", "base_dn"),
    )  # fmt: skip
    if ("bind_dn" in fields) != ("password" in fields):
        value.fault(say("bind_dn and password belong together: name both, or neither for an anonymous bind"))
    start_tls = fields.boolean("start_tls", default=False)
    one = leaves.ldap_url if not start_tls else leaves.ldap_url_in_clear
    return LdapDirectory(
        urls=fields.read("url", lambda v: v.each(one, scalar_too=True), ()),
        start_tls=start_tls,
        base_dn=fields.read("base_dn", leaves.ldap_dn, ""),
        bind_dn=fields.text("bind_dn", longest=1_024),
        password=fields.read("password", leaves.secret_reference, ""),
        ca_certificate=fields.read("ca_certificate", leaves.certificate, ""),
        user_filter=fields.read("user_filter", leaves.ldap_filter, usual.user_filter),
        disabled_filter=fields.read("disabled_filter", leaves.ldap_filter, ""),
        group_filter=fields.read("group_filter", leaves.ldap_filter, usual.group_filter),
        attributes=_attributes(fields.get("attributes")),
        nested=fields.boolean("nested", default=usual.nested),
        interval=fields.read("interval", leaves.directory_interval, usual.interval),
    )


def _attributes(value: Value | None) -> LdapAttributes:
    usual = LdapAttributes()
    if value is None:
        return usual
    fields = value.fields(("subject", "email", "name", "group", "member"))
    return LdapAttributes(
        subject=fields.read("subject", leaves.ldap_attribute, usual.subject),
        email=fields.read("email", leaves.ldap_attribute, usual.email),
        name=fields.read("name", leaves.ldap_attribute, usual.name),
        group=fields.read("group", leaves.ldap_attribute, usual.group),
        member=fields.read("member", leaves.ldap_attribute, usual.member),
    )
