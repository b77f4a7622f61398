"""What companies already have, as rules of a mapping document. Pure.

Each importer reads one convention and returns `Rule`s that `document.parse(to_yaml(…))` accepts; what cannot be taken over
is named in `Imported.left_out`, never guessed. Sources: Okta, "Connect Okta to multiple AWS instances via user groups"
(`aws#alias#role#account`); AWS, "SAML attributes for AWS" (the Role attribute, as Keycloak's realm roles hold it);
Identity Center's ListAccountAssignments; ConsoleMe's role tags `consoleme-authorized` and `consoleme-authorized-cli-only`.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from federation.errors import BadRequest
from federation.mapping.document import parse
from federation.mapping.reading import DocumentError
from federation.mapping.rolearn import is_reserved, parse_role_arn
from federation.mapping.rules import AccountSelector, Document, GroupMatch, Rule, SessionOptions, Target, When
from federation.mapping.writing import to_yaml

_ROLE = r"(?P<role>[A-Za-z0-9_+=.@-]+)"
_ACCOUNT = r"(?P<account>[0-9]{12})"
_BY_NAME = Target(arns=("arn:aws:iam::{account}:role/{role}",))
CONSOLEME_TAGS: Final = ("consoleme-authorized", "consoleme-authorized-cli-only")
_ACCOUNT_ID = re.compile(r"[0-9]{12}")
_ROLE_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{1,64}")
_MAX_ENTRIES = 100_000


class ImportRefused(BadRequest):
    """The file is not in the convention's form; `reason` says what is wrong. Nothing was imported."""

    code = "import_refused"
    sentence = "This file is not in the form of the convention that was named. Nothing was imported."


@dataclass(frozen=True, slots=True)
class Imported:
    """`rules` for the document, and what could not be taken over, each with the reason in words."""

    rules: tuple[Rule, ...]
    left_out: tuple[str, ...] = ()


def _convention(name: str, expression: str) -> Imported:
    """One rule for the whole convention: the group's name says account and role, and new groups need no new rule."""
    return Imported((Rule(name=name, when=When(groups=(GroupMatch("regex", expression),)), allow=_BY_NAME),))


def okta(_: str = "") -> Imported:
    """Groups named `aws#<alias>#<role>#<account>`: Okta's own convention."""
    return _convention("okta-groups", rf"^aws#[^#]+#{_ROLE}#{_ACCOUNT}$")


def names(_: str = "") -> Imported:
    """Groups named `aws-<account>-<role>`."""
    return _convention("aws-account-role-groups", rf"^aws-{_ACCOUNT}-{_ROLE}$")


def keycloak(_: str = "") -> Imported:
    """Values `<role ARN>,<provider ARN>`, in either order as AWS takes them: the Role attribute that a provider sent to AWS.

    The provider's ARN is only recognised: the gateway is the provider now. Let the claim map's `groups` name that attribute.
    """
    provider = r"arn:aws:iam::[0-9]{12}:saml-provider/[A-Za-z0-9._-]+"
    role = rf"arn:aws:iam::{_ACCOUNT}:role/{_ROLE}"
    first = _convention("keycloak-role-first", rf"^{role}\s*,\s*{provider}$")
    last = _convention("keycloak-provider-first", rf"^{provider}\s*,\s*{role}$")
    return Imported(first.rules + last.rules)


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ImportRefused("not_json", detail="it is nested too deep") from None
    except ValueError as error:
        raise ImportRefused("not_json", detail=str(error)[:200]) from None


def _entries(value: Any, *keys: str) -> list[Mapping[str, Any]]:
    """The list itself, or the one under one of `keys`: what an AWS CLI call printed."""
    if isinstance(value, dict):
        value = next((value[key] for key in keys if key in value), None)
    if not isinstance(value, list) or len(value) > _MAX_ENTRIES:
        raise ImportRefused("not_a_list", detail=f"wanted a list, or an object with one of {', '.join(keys)}")
    if not all(isinstance(entry, dict) for entry in value):
        raise ImportRefused("entry_not_an_object")
    return value


def identity_center(text: str) -> Imported:
    """Assignments of IAM Identity Center as JSON: `PrincipalName`, `PermissionSetName`, `AccountId`, `PrincipalType`.

    One rule per group and permission set, over its accounts. The role is expected under the permission set's name: the
    `AWSReservedSSO_` roles themselves can be assumed by Identity Center alone. Raises ImportRefused.
    """
    accounts: dict[tuple[str, str], list[str]] = {}
    left_out: list[str] = []
    for number, entry in enumerate(_entries(_loaded(text), "AccountAssignments", "assignments"), start=1):
        group = _field(entry, "PrincipalName", "GroupName", "PrincipalDisplayName")
        role, account = _field(entry, "PermissionSetName"), _field(entry, "AccountId", "TargetId")
        kind = _field(entry, "PrincipalType") or "GROUP"
        if kind.upper() != "GROUP":
            left_out.append(
                f"entry {number}: {group or 'a person'} is assigned directly; roles are given to groups here"
            )
        elif not group:
            left_out.append(f"entry {number}: has only the group's id; export PrincipalName too")
        elif not _ROLE_NAME.fullmatch(role) or not _ACCOUNT_ID.fullmatch(account):
            left_out.append(
                f"entry {number}: {role or 'no PermissionSetName'} in {account or 'no AccountId'} is no role"
            )
        else:
            accounts.setdefault((group, role), []).append(account)
    rules = [
        Rule(
            name=_rule_name(f"{group}-{role}", number),
            when=When(groups=(GroupMatch("exact", group),)),
            allow=Target(roles=(role,), accounts=AccountSelector(ids=tuple(sorted(set(ids))))),
        )
        for number, ((group, role), ids) in enumerate(sorted(accounts.items()), start=1)
    ]
    return Imported(tuple(rules), tuple(left_out))


def _field(entry: Mapping[str, Any], *keys: str) -> str:
    return next((value.strip() for key in keys if isinstance(value := entry.get(key), str)), "")


def _rule_name(text: str, number: int) -> str:
    """A rule's name out of a foreign one: plain characters, and the number, so that two never collide."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80]
    return f"{plain or 'imported'}-{number}"


def consoleme(text: str) -> Imported:
    """Roles with ConsoleMe's tags as JSON: IAM's RoleDetailList, or a list of `{Arn, Tags: [{Key, Value}]}`.

    A tag's value holds group names with ":" between. `consoleme-authorized-cli-only` becomes a rule like any other: Rolegate
    has no role without a console. Raises ImportRefused.
    """
    rules: list[Rule] = []
    left_out: list[str] = []
    for number, entry in enumerate(_entries(_loaded(text), "RoleDetailList", "Roles", "roles"), start=1):
        text_arn = _field(entry, "Arn", "arn")
        arn = parse_role_arn(text_arn)
        groups = _consoleme_groups(entry.get("Tags") or entry.get("tags") or [])
        if not groups:
            continue
        if arn is None or is_reserved(arn):
            left_out.append(f"entry {number}: {text_arn[:200] or 'without an ARN'} cannot be assumed through a gateway")
            continue
        rules.append(
            Rule(
                name=_rule_name(f"{arn.account_id}-{arn.name}", number),
                when=When(groups=tuple(GroupMatch("exact", group) for group in groups)),
                allow=Target(arns=(text_arn,)),
                session=SessionOptions(),
            )
        )
    return Imported(tuple(rules), tuple(left_out))


def _consoleme_groups(tags: Any) -> tuple[str, ...]:
    found: list[str] = []
    for tag in tags if isinstance(tags, list) else []:
        if isinstance(tag, dict) and tag.get("Key") in CONSOLEME_TAGS and isinstance(tag.get("Value"), str):
            found += [group.strip() for group in tag["Value"].split(":") if group.strip()]
    return tuple(dict.fromkeys(found))


CONVENTIONS: Final[Mapping[str, Callable[[str], Imported]]] = {
    "okta": okta,
    "names": names,
    "keycloak": keycloak,
    "identity-center": identity_center,
    "consoleme": consoleme,
}
"""By name on the command line; the last two read a file."""

READ_A_FILE: Final = frozenset({"identity-center", "consoleme"})


def decoded(content: bytes) -> str:
    """The text of a file: UTF-8, or what PowerShell's `>` makes of it (UTF-16 or UTF-8 behind a byte order mark).

    Raises UnicodeDecodeError.
    """
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if marked else "utf-8-sig")


def usable(imported: Imported) -> Imported:
    """Without the rules that no document may have: one odd entry of a thousand is named, and does not keep out the others."""
    faults = dict(_faults(imported.rules))
    rules = tuple(rule for rule in imported.rules if rule.name not in faults)
    said = (f"{name}: {fault}" for name, fault in faults.items())
    return Imported(rules, (*imported.left_out, *said))


def _faults(rules: Sequence[Rule]) -> Iterator[tuple[str, str]]:
    """Name and fault of each rule that the reader of documents refuses, found by halves."""
    try:
        parse(to_yaml(Document(rules=tuple(rules))))
    except DocumentError as error:
        if len(rules) == 1:
            yield rules[0].name, error.faults[0].message
            return
        half = len(rules) // 2
        yield from _faults(rules[:half])
        yield from _faults(rules[half:])


def merged(existing: Iterable[Rule], imported: Imported) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    """The document's rules and the imported ones behind them; one whose name is there already is left as it is, and said."""
    rules = list(existing)
    taken = {rule.name for rule in rules}
    said = [f"{rule.name}: there is a rule of this name already" for rule in imported.rules if rule.name in taken]
    return (*rules, *(rule for rule in imported.rules if rule.name not in taken)), (*imported.left_out, *said)
