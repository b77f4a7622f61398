"""The mapping document: YAML or JSON -> checked `Document`. Refused whole, with every fault, its path and its line.

The types of `rules` are the schema; unknown keys are faults. `to_yaml` is the way back: `parse(to_yaml(document)) == document`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from federation.mapping import leaves
from federation.mapping.reading import DocumentError, Fault, Fields, Report, Value, quoted, unseen_in
from federation.mapping.rules import (
    OIDC_CLAIMS,
    SAML_CLAIMS,
    Account,
    ClaimMap,
    Document,
    Federation,
    GraphOptions,
    IdentityProvider,
    OidcProvider,
    SamlProvider,
)
from federation.mapping.schema_accounts import Known, read_delegation, read_staff
from federation.mapping.schema_directories import read_directory
from federation.mapping.schema_rules import read_rules
from federation.mapping.writing import to_yaml
from federation.mapping.yamltree import Unreadable, read
from federation.said import say

__all__ = ["DocumentError", "Fault", "parse", "parse_published", "refuse_unseen", "to_yaml"]

_SECTIONS = ("version", "identity_providers", "directories", "accounts", "staff", "mapping", "delegations")
_MANY = 20_000
T = TypeVar("T")


def parse(text: str, *, published: bool = False) -> Document:
    """The document in `text` (YAML 1.2 core or JSON, at most 2 MB).

    `published`: the text of a revision. How large its expressions are together is for whoever writes a new one to be asked: the
    gateway has run on it, and one that cannot read its own mapping helps nobody.

    Raises DocumentError(code="mapping_document_invalid"), whose `faults` are everything that is wrong with it.
    """
    return _parsed(text, Report(bounded=not published))


def parse_published(text: str) -> tuple[Document, int]:
    """The document of a revision, and the instructions of all its expressions and globs. Raises DocumentError."""
    report = Report(bounded=False)
    return _parsed(text, report), report.programs


def _parsed(text: str, report: Report) -> Document:
    try:
        root = Value(read(text), "", report)
    except Unreadable as error:
        raise DocumentError([Fault("", error.line, error.message)]) from error
    fields = root.fields(_SECTIONS, required=("version",))
    version = fields.get("version")
    if version is not None and (version.node.kind, version.node.text) != ("integer", "1"):
        version.fault(say("1 is the only version there is: write `version: 1`"))

    providers = _section(fields.get("identity_providers"), _identity_provider)
    _unique(fields.get("identity_providers"), "slug", [provider.slug for provider in providers])
    accounts = _section(fields.get("accounts"), _account)
    _unique(fields.get("accounts"), "id", [account.id for account in accounts])
    _unique(fields.get("accounts"), "name", [account.name for account in accounts])

    known = Known(
        providers=frozenset(provider.slug for provider in providers),
        attributes=frozenset(name for provider in providers for name in provider.claims.attributes)
        if providers
        else None,
        accounts={account.id: account for account in accounts},
        names=frozenset(account.name for account in accounts),
    )
    directories = _section(fields.get("directories"), lambda value: read_directory(value, known))
    _unique(fields.get("directories"), "slug", [directory.slug for directory in directories])
    _unique(fields.get("directories"), "provider", [directory.provider for directory in directories])
    staff = _section(fields.get("staff"), lambda value: read_staff(value, known))
    rules = read_rules(fields.get("mapping"), known)
    delegations = _section(fields.get("delegations"), lambda value: read_delegation(value, known))
    if report.faults:
        raise DocumentError(sorted(report.faults, key=lambda fault: fault.line))
    return Document(1, providers, accounts, staff, rules, delegations, directories)


def refuse_unseen(text: str) -> None:
    """Raise DocumentError where a text that somebody has just written has a character, in comments too, that a reviewer does not
    see, or that changes the order of what they do see (CVE-2021-42574). Reads no document: a matter of milliseconds. Those of an
    earlier day stay readable by `parse`.
    """
    faults = [
        Fault("", line, say("has the invisible character {character}; take it out", character=f"U+{ord(unseen):04X}"))
        for line, unseen in unseen_in(text)
    ]
    if faults:
        raise DocumentError(faults)


def _section(value: Value | None, parse_item: Callable[[Value], T]) -> tuple[T, ...]:
    if value is None or value.node.kind == "nothing":
        return ()
    items = value.items(at_least_one=False)
    if len(items) > _MANY:
        value.fault(say("at most {most} entries are accepted, and these are {number}", most=_MANY, number=len(items)))
        return ()
    return tuple(parse_item(item) for item in items)


def _unique(section: Value | None, key: str, values: Iterable[str]) -> None:
    """Two of a name: whoever reads the document cannot tell which one counts."""
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value and value in seen and section is not None:
            node = section.node.items[index]
            section.report.add(
                f"{section.path}[{index}].{key}",
                node.line,
                say("{value} is here twice; each {key} must be its own", value=quoted(value), key=key),
            )
        seen.add(value)


def _identity_provider(value: Value) -> IdentityProvider:
    fields = value.fields(("slug", "name", "saml", "oidc", "claims", "email_domains", "enabled"), required=("slug",))
    saml, oidc = fields.get("saml"), fields.get("oidc")
    if (saml is None) == (oidc is None) and fields:
        value.fault(say("exactly one of {one} and {other} is wanted here", one="saml", other="oidc"))
    slug = fields.read("slug", leaves.slug, "")
    return IdentityProvider(
        slug=slug,
        name=fields.text("name", slug, longest=128),
        saml=_saml(saml) if saml else None,
        oidc=_oidc(oidc) if oidc else None,
        claims=_claims(fields.get("claims"), SAML_CLAIMS if saml else OIDC_CLAIMS),
        email_domains=fields.read("email_domains", lambda v: v.texts(leaves.domain), ()),
        enabled=fields.boolean("enabled", default=True),
    )


def _saml(value: Value) -> SamlProvider:
    sources = ("metadata_url", "metadata_file", "metadata_xml")
    fields = value.fields(
        (
            *sources, "metadata_certificate", "sign_requests", "allow_unsolicited", "encrypted_assertions", "max_validity",
            "graph",
        )
    )  # fmt: skip
    graph = fields.get("graph")
    if value.node.kind == "mapping" and sum(source in fields for source in sources) != 1:
        value.fault(leaves.exactly_one_of(*sources))
    return SamlProvider(
        metadata_url=fields.read("metadata_url", leaves.url, ""),
        metadata_file=fields.text("metadata_file", longest=1_024),
        metadata_xml=fields.read("metadata_xml", lambda v: v.text(longest=1_000_000, multiline=True), ""),
        metadata_certificate=fields.read("metadata_certificate", leaves.certificate, ""),
        sign_requests=fields.boolean("sign_requests", default=True),
        allow_unsolicited=fields.boolean("allow_unsolicited", default=False),
        encrypted_assertions=fields.boolean("encrypted_assertions", default=False),
        max_validity=fields.read("max_validity", leaves.assertion_validity, 600),
        graph=_application(graph) if graph else None,
    )


def _application(value: Value) -> OidcProvider:
    """An application that Microsoft Graph is asked as: an assertion brings no client of its own."""
    fields = value.fields((*_CLIENT, *_GRAPH), required=("issuer", "client_id", "client_secret"))
    return OidcProvider(**_client(fields), graph=_graph_options(fields))


def _oidc(value: Value) -> OidcProvider:
    fields = value.fields((*_CLIENT, "scopes", "graph"), required=("issuer", "client_id"))
    scopes = fields.read("scopes", lambda v: v.texts(leaves.scope), OidcProvider("", "").scopes)
    if scopes and "openid" not in scopes and (entry := fields.get("scopes")):
        entry.fault(say("the scope openid must be in the list; without it the provider sends no ID token"))
    graph = fields.get("graph")
    if graph is not None and "client_secret" not in fields:
        graph.fault(say("Microsoft Graph is asked with the client's own secret: name client_secret too"))
    return OidcProvider(**_client(fields), scopes=scopes, graph=_graph_options(graph.fields(_GRAPH)) if graph else None)


_CLIENT = ("issuer", "client_id", "client_secret", "token_endpoint_auth_method")
_GRAPH = ("endpoint", "group_name")


def _client(fields: Fields) -> dict[str, Any]:
    methods = leaves.choice("client_secret_basic", "client_secret_post", "none")
    return {
        "issuer": fields.read("issuer", leaves.url, ""),
        "client_id": fields.text("client_id"),
        "client_secret": fields.read("client_secret", leaves.client_secret, ""),
        "token_endpoint_auth_method": fields.read("token_endpoint_auth_method", methods, "client_secret_basic"),
    }


def _graph_options(fields: Fields) -> GraphOptions:
    usual = GraphOptions()
    return GraphOptions(
        endpoint=fields.read("endpoint", leaves.origin, usual.endpoint),
        group_name=fields.read("group_name", leaves.choice("id", "onPremisesSamAccountName"), usual.group_name),
    )


def _claims(value: Value | None, usual: ClaimMap) -> ClaimMap:
    if value is None:
        return usual
    fields = value.fields(("subject", "email", "name", "groups", "attributes", "mfa"))
    return ClaimMap(
        subject=fields.text("subject", usual.subject),
        email=fields.text("email", usual.email),
        name=fields.text("name", usual.name),
        groups=fields.text("groups", usual.groups),
        attributes=fields.read("attributes", _attribute_names, {}),
        mfa=fields.read("mfa", lambda v: v.texts(scalar_too=True, at_least_one=False), usual.mfa),
    )


def _attribute_names(value: Value) -> dict[str, str]:
    read: dict[str, str] = {}
    for name, entry in value.entries(say("a mapping from our name to the claim's name")):
        claim = entry.text(longest=256)
        if not leaves.is_attribute_name(name):
            entry.fault(say("an attribute's name has letters, digits, '_', '-', '.', ':' and '/', at most 128"))
        elif claim is not None:
            read[name] = claim
    return read


def _account(value: Value) -> Account:
    fields = value.fields(
        ("id", "name", "partition", "federation", "provider", "region", "tags", "organizational_unit"),
        required=("id", "name"),
    )
    partition = fields.read("partition", leaves.partition, "aws")
    federation = cast("Federation", fields.read("federation", leaves.choice("saml", "oidc"), "saml"))
    region = fields.read("region", lambda v: leaves.region(v, partition), "")
    if partition == "aws-eusc" and federation == "saml":
        # AWS.md: nobody has published the Audience that this partition wants, and guessing one is no answer.
        (fields.get("federation") or value).fault(
            say("the SAML audience of aws-eusc is not known; write federation: oidc")
        )
    return Account(
        id=fields.read("id", leaves.account_id, ""),
        name=fields.text("name", longest=128),
        partition=partition,
        federation=federation,
        provider=fields.read("provider", leaves.saml_provider, "rolegate"),
        region=region,
        tags=fields.read("tags", _account_tags, {}),
        organizational_unit=fields.text("organizational_unit", longest=512),
    )


def _account_tags(value: Value) -> dict[str, str]:
    return {
        key: text
        for key, entry in value.entries(say("a mapping from key to value"))
        if (text := entry.text(longest=256, empty=True)) is not None
    }
