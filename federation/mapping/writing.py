"""`Document` -> canonical YAML: one order of keys, nothing that only repeats a default, text quoted where in doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import yaml

from federation.mapping.durations import format_duration
from federation.mapping.patterns import is_glob
from federation.mapping.rules import (
    OIDC_CLAIMS,
    PULL_STALE_AFTER,
    SAML_CLAIMS,
    Account,
    AccountSelector,
    Approval,
    BreakGlass,
    Delegation,
    Directory,
    Document,
    GraphOptions,
    GroupMatch,
    IdentityProvider,
    LdapAttributes,
    LdapDirectory,
    OidcProvider,
    Rule,
    SamlProvider,
    ScimDirectory,
    SessionOptions,
    StaffRule,
    Target,
    When,
)

# Plain only where no YAML version reads anything but text; everything else is quoted, so "no", "1e3" and "~" stay text.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./@-]*(?: [A-Za-z0-9_./@-]+)*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Never write anchors: the reader refuses them."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> Any:
    plain = _PLAIN.fullmatch(value) is not None and value.casefold() not in _WORDS
    style = None if plain else "|" if "\n" in value.rstrip("\n") else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _flow_text(dumper: yaml.SafeDumper, value: str) -> Any:
    plain = _PLAIN.fullmatch(value) is not None and value.casefold() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


class _FlowDumper(_Dumper):
    """For entries on one line."""


_Dumper.add_representer(str, _text)
_FlowDumper.add_representer(str, _flow_text)


def plain_yaml(value: Any, *, flow: bool = False) -> str:
    """Plain data as this module writes it. `flow`: on one line, `{a: b}`; text with line breaks is then quoted."""
    written = str(
        yaml.dump(
            value, Dumper=_FlowDumper if flow else _Dumper, sort_keys=False, allow_unicode=True, width=1_000_000,
            default_flow_style=flow, explicit_end=False,
        )
    )  # fmt: skip
    return written.removesuffix("\n").removesuffix("\n...") if flow else written


def provider_entry(entry: IdentityProvider) -> dict[str, Any]:
    """One identity provider as plain data, as it stands in a document."""
    return _provider(entry)


def rule_entry(entry: Rule) -> dict[str, Any]:
    """One rule as plain data, as it stands in a document."""
    return _rule(entry)


def to_yaml(document: Document) -> str:
    """The document as YAML that `document.parse` reads back as an equal document."""
    sections: dict[str, Any] = {"version": document.version}
    sections |= _filled(
        identity_providers=[_provider(entry) for entry in document.identity_providers],
        directories=[_directory(entry) for entry in document.directories],
        accounts=[_account(entry) for entry in document.accounts],
        staff=[_staff(entry) for entry in document.staff],
        mapping=[_rule(entry) for entry in document.rules],
        delegations=[_delegation(entry) for entry in document.delegations],
    )
    return str(
        yaml.dump(
            sections, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000, default_flow_style=False
        )
    )


def _filled(**values: Any) -> dict[str, Any]:
    """The entries that say something."""
    return {key: value for key, value in values.items() if value not in (None, "", [], {}, ())}


def _differing(value: Any, usual: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from another's, as plain data."""
    pairs = ((f.name, getattr(value, f.name), getattr(usual, f.name)) for f in fields(value))
    return {name: _plain(own) for name, own, other in pairs if own != other}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _provider(entry: IdentityProvider) -> dict[str, Any]:
    usual = SAML_CLAIMS if entry.saml else OIDC_CLAIMS
    written: dict[str, Any] = {"slug": entry.slug, "name": entry.name}
    if entry.saml:
        written["saml"] = _differing(entry.saml, SamlProvider(graph=entry.saml.graph))
        if entry.saml.graph:
            written["saml"]["graph"] = _client(entry.saml.graph) | _graph(entry.saml.graph)
    if entry.oidc:
        written["oidc"] = _client(entry.oidc)
        if entry.oidc.graph:
            written["oidc"]["graph"] = _graph(entry.oidc)
    claims = entry.claims
    # The four are written even where usual: they decide who somebody is and what they may do.
    four = {"subject": claims.subject, "email": claims.email, "name": claims.name, "groups": claims.groups}
    written["claims"] = four | {key: value for key, value in _differing(claims, usual).items() if key not in four}
    written |= _filled(email_domains=list(entry.email_domains))
    return written if entry.enabled else written | {"enabled": False}


def _client(client: OidcProvider) -> dict[str, Any]:
    usual = OidcProvider(client.issuer, client.client_id, graph=client.graph)
    return {"issuer": client.issuer, "client_id": client.client_id} | _differing(client, usual)


def _graph(client: OidcProvider) -> dict[str, Any]:
    return _differing(client.graph, GraphOptions())


def _directory(entry: Directory) -> dict[str, Any]:
    written: dict[str, Any] = {"slug": entry.slug, "provider": entry.provider}
    if entry.scim:
        written["scim"] = _differing(entry.scim, ScimDirectory())
    if entry.ldap:
        written["ldap"] = _ldap(entry.ldap)
    else:
        written["subject"] = entry.subject
    # Written even where usual: they decide who somebody is and what they may do.
    written["groups"] = entry.groups
    usual = PULL_STALE_AFTER if entry.ldap else None
    return written | _filled(stale_after=_duration(entry.stale_after) if entry.stale_after != usual else None)


def _ldap(ldap: LdapDirectory) -> dict[str, Any]:
    usual = LdapDirectory(ldap.urls, ldap.base_dn)
    url = ldap.urls[0] if len(ldap.urls) == 1 else list(ldap.urls)
    written = {"url": url, "base_dn": ldap.base_dn} | _differing(ldap, usual)
    if ldap.attributes != usual.attributes:
        written["attributes"] = _differing(ldap.attributes, LdapAttributes())
    if ldap.interval != usual.interval:
        written["interval"] = _duration(ldap.interval)
    return written


def _account(entry: Account) -> dict[str, Any]:
    # The federation and partition are written even where usual: a reviewer should not need to know the defaults.
    return {
        "id": entry.id,
        "name": entry.name,
        "partition": entry.partition,
        "federation": entry.federation,
        "provider": entry.provider,
    } | _filled(region=entry.region, tags=dict(entry.tags), organizational_unit=entry.organizational_unit)


def _group(match: GroupMatch) -> Any:
    usual = "glob" if is_glob(match.pattern) else "exact"
    return match.pattern if match.kind == usual else {match.kind: match.pattern}


def _values(values: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    return {key: entry[0] if len(entry) == 1 else list(entry) for key, entry in values.items()}


def _selector(entry: AccountSelector | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return _filled(
        ids=list(entry.ids),
        names=list(entry.names),
        tags=_values(entry.tags),
        organizational_units=list(entry.organizational_units),
    )


def _staff(entry: StaffRule) -> dict[str, Any]:
    return {"role": entry.role, "groups": [_group(match) for match in entry.groups]} | _filled(
        accounts=_selector(entry.accounts), provider=list(entry.provider)
    )


def _delegation(entry: Delegation) -> dict[str, Any]:
    return {"accounts": _selector(entry.accounts), "groups": list(entry.groups)} | _filled(
        max_duration=_duration(entry.max_duration), provider=list(entry.provider)
    )


def _rule(entry: Rule) -> dict[str, Any]:
    written: dict[str, Any] = {"name": entry.name} | _filled(when=_when(entry.when))
    if entry.allow is not None:
        written["allow"] = _target(entry.allow)
    if entry.deny is not None:
        written["deny"] = _target(entry.deny)
    return written | _filled(session=_session(entry.session), approval=_approval(entry.approval))


def _when(when: When) -> dict[str, Any]:
    written = _filled(
        groups=[_group(match) for match in when.groups],
        all_of=[_group(match) for match in when.all_of],
        none_of=[_group(match) for match in when.none_of],
        provider=list(when.provider),
        attributes=_values(when.attributes),
        until=_moment(when.until),
    )
    if when.mfa is not None:
        written["mfa"] = when.mfa
    return written | _filled(**{"from": _moment(when.from_)})


def _target(target: Target) -> dict[str, Any]:
    return _filled(roles=list(target.roles), accounts=_selector(target.accounts), arns=list(target.arns))


def _approval(approval: Approval | None) -> dict[str, Any] | None:
    if approval is None:
        return None
    return {
        "by": [_group(match) for match in approval.by],
        **_filled(provider=list(approval.provider)),
        "at_most": _duration(approval.at_most),
        "reason": approval.reason,
        **_filled(break_glass=_break_glass(approval.break_glass)),
    }


def _break_glass(entry: BreakGlass | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {"by": [_group(match) for match in entry.by], "at_most": _duration(entry.at_most)}


def _session(options: SessionOptions) -> dict[str, Any]:
    return _filled(
        duration=_duration(options.duration),
        console_duration=_duration(options.console_duration),
        policy=options.policy,
        policy_arns=list(options.policy_arns),
        tags=dict(options.tags),
        transitive_tags=list(options.transitive_tags),
    )


def _duration(seconds: int | None) -> str | None:
    return None if seconds is None else format_duration(seconds)


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
