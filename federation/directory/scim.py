"""SCIM 2.0 (RFC 7643, RFC 7644): what a directory sends, read; what it asks for, written. No database, no HTTP.

scim2-models knows the standard; here is what directories make of it. Entra sends capitalised operations, booleans as text,
paths as keys and managers as bare ids; Okta sends ids and groups that nobody may write; both are understood. What the
gateway does not keep (passwords) is dropped before anything is stored or said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, NoReturn
from unicodedata import normalize
from uuid import UUID

import scim2_models as rfc
from pydantic import Field, ValidationError
from scim2_models import CaseExact, Context, Mutability, Required, Returned, ScimPolicy

from federation.errors import RolegateError

LONGEST = 512  # characters of a name, an id or an address
LARGEST_PERSON = 64 * 1024  # bytes of one person's attributes
_MESSAGE = "urn:ietf:params:scim:api:messages:2.0:"


class ScimRefused(RolegateError):
    """A SCIM request that cannot be done as it is written. `scim_type`: the keyword of RFC 7644 section 3.12, or ""."""

    code = "scim_refused"
    status = 400
    sentence = "The SCIM request cannot be done as it is written."

    def __init__(self, scim_type: str, sentence: str = "", *, detail: str = "") -> None:
        self.scim_type = scim_type
        super().__init__(scim_type, sentence=sentence[:500], detail=detail)


class ScimConflict(ScimRefused):
    """There is one of that name already (RFC 7644 section 3.3)."""

    code = "scim_conflict"
    status = 409
    sentence = "There is a resource of that name already."


# --- The resources, as directories have them -------------------------------------------------------------


class Email(rfc.Email):
    """An address as the directory has it: `alice@corp.local` is one, whatever the public internet says of that domain."""

    value: str | None = None


class Manager(rfc.ComplexAttribute):
    """A manager, of whom directories often know the id alone."""

    value: Annotated[str | None, CaseExact.true] = None
    ref: str | None = Field(None, serialization_alias="$ref", validation_alias="$ref")
    display_name: str | None = None


class EnterpriseUser(rfc.EnterpriseUser):
    """The enterprise extension (RFC 7643 section 4.3)."""

    manager: Manager | None = None  # type: ignore[assignment]


class User(rfc.User[Any]):
    """A person. Their groups are said on request: two hundred of them are no part of every answer."""

    emails: list[Email] | None = None  # type: ignore[assignment]
    Emails: ClassVar[type[rfc.ComplexAttribute]] = Email
    groups: Annotated[list[rfc.GroupMembership] | None, Mutability.read_only, Returned.request] = None


class GroupMember(rfc.GroupMember):
    """A member. Their name is their own to say, and said on request."""

    display: Annotated[str | None, Mutability.read_only, Returned.request] = None


class Group(rfc.Group):
    """A group, named in its exact letters, as rules name it."""

    display_name: Annotated[str | None, Required.true, CaseExact.true] = None
    members: list[GroupMember] | None = None  # type: ignore[assignment]
    Members: ClassVar[type[rfc.ComplexAttribute]] = GroupMember


Person: Final[Any] = User.__class_getitem__(EnterpriseUser)
_PATCH: Final[Mapping[str, Any]] = {"User": rfc.PatchOp[Person], "Group": rfc.PatchOp[Group]}
_MODELS: Final[Mapping[str, Any]] = {"User": Person, "Group": Group}
ENDPOINTS: Final[Mapping[str, str]] = {"User": "Users", "Group": "Groups"}

_TOLERANT = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,  # companies map attributes of their own
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,  # Entra
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,  # Entra
)
_OURS = frozenset({"id", "meta", "groups"})
_NOT_KEPT = frozenset({"password"})
_ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:user"
MANAGER: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"
_MANAGER = MANAGER.lower()
_CORE = r"^urn:ietf:params:scim:schemas:core:2\.0:(?:user|group):"
_BY_THE_WAY = frozenset(
    {
        "nickname", "profileurl", "title", "usertype", "preferredlanguage", "locale", "timezone", "phonenumbers", "ims", "photos",
        "addresses", "entitlements", "roles", "x509certificates",
    }
)  # fmt: skip
_LISTS = frozenset(
    {"emails", "phonenumbers", "ims", "photos", "addresses", "entitlements", "roles", "x509certificates", "groups", "members"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """A person as they are stored. `emails`: every address, in lower case, one a line behind its type
    in capitals and a tab. `attributes`: the resource in SCIM's own form, without id, meta, groups and password.
    """

    user_name: str
    user_name_key: str
    external_id: str
    active: bool
    name: str
    email: str
    emails: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class MemberChange:
    """What becomes of a group's members: all go first if `cleared`, then `added` come and `removed` go. Ids in canonical form.

    `unknown`: ids to be added that can be nobody's.
    """

    cleared: bool = False
    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True if nothing is said of members."""
        return not (self.cleared or self.added or self.removed or self.unknown)


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """A group as it is stored, and what becomes of its members."""

    display_name: str
    external_id: str
    members: MemberChange


# --- Reading what was sent -------------------------------------------------------------------------------


def read_json(body: bytes) -> dict[str, Any]:
    """The JSON object in a body. Refused: a name twice (two readers could see two requests), NaN, text no database keeps."""
    try:
        read = json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
        if b"\\u" in body or b"\x00" in body:  # only an escape can make such a character
            for text in _texts(read):
                storable(text)
    except (ValueError, RecursionError) as error:
        raise ScimRefused("invalidSyntax", "The body is not valid JSON, or has a name twice.") from error
    if not isinstance(read, dict):
        raise ScimRefused("invalidSyntax", "The body is not a JSON object.")
    return read


def _texts(value: Any) -> Iterable[str]:
    waiting = [value]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, dict):
            waiting += [*entry.keys(), *entry.values()]
        elif isinstance(entry, list):
            waiting += entry


def storable(text: str) -> str:
    """The text, if every database keeps it unchanged. Raises ScimRefused for NUL and lone surrogates."""
    if "\x00" in text or _SURROGATE.search(text):
        raise ScimRefused("invalidValue", "There is a character in it that cannot be stored: NUL, or half of a pair.")
    return text


_SURROGATE = re.compile("[\ud800-\udfff]")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name is there twice")
    return made


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def read_person(payload: Mapping[str, Any]) -> PersonRecord:
    """A new person. Raises ScimRefused."""
    return _record(_validated("User", payload, Context.RESOURCE_CREATION_REQUEST))


def replaced_person(stored: Mapping[str, Any], payload: Mapping[str, Any], *, active: bool) -> PersonRecord:
    """A person after PUT (RFC 7644 section 3.5.1). Raises ScimRefused.

    Without the word `active`, they are as `active` as before: leaving it out must not bring back somebody who was disabled.
    """
    found = _validated("User", payload, Context.RESOURCE_REPLACEMENT_REQUEST)
    if found.active is None:
        found.active = active
    try:
        found.replace(_resource("User", stored))
    except rfc.SCIMException as error:
        _refuse(error)
    return _record(found)


def patched_person(stored: Mapping[str, Any], payload: Mapping[str, Any], *, active: bool) -> PersonRecord:
    """A person after PATCH (RFC 7644 section 3.5.2). Raises ScimRefused.

    Where the word `active` is taken away it is gone, and they are as `active` as before: see `replaced_person`.
    """
    operations = list(_operations(payload))
    person = _resource("User", stored)
    _apply("User", person, operations)
    found = _record(person)
    return replace(found, active=active) if person.active is None else found


def read_group(payload: Mapping[str, Any]) -> GroupRecord:
    """A new group. Raises ScimRefused."""
    members, rest = _members_apart(payload)
    found = _validated("Group", rest, Context.RESOURCE_CREATION_REQUEST)
    change = MemberChange() if members is None else _change([("add", members)])
    return GroupRecord(*_group_names(found), change)


def replaced_group(payload: Mapping[str, Any]) -> GroupRecord:
    """A group after PUT. Without `members`, it keeps those that it has: what is left out is not said to be empty."""
    members, rest = _members_apart(payload)
    found = _validated("Group", rest, Context.RESOURCE_REPLACEMENT_REQUEST)
    change = MemberChange() if members is None else _change([("replace", members)])
    return GroupRecord(*_group_names(found), change)


def patched_group(display_name: str, external_id: str, payload: Mapping[str, Any]) -> GroupRecord:
    """A group after PATCH. Its members are worked out by the caller, who has them: there may be a hundred thousand."""
    of_members: list[tuple[str, Any]] = []
    rest: list[dict[str, Any]] = []
    for operation in _operations(payload):
        path, value = operation.get("path"), operation.get("value")
        if path is None and isinstance(value, Mapping):
            # Without a path there is nothing to remove (RFC 7644 section 3.5.2.2), yet some name members so, and mean it.
            members, others = _members_apart(value)
            if members is not None:
                of_members.append((operation["op"], members))
            if others or members is None:
                rest.append({**operation, "value": others})
        elif path is not None and (found := _MEMBERS.fullmatch(path)):
            of_members += _member_operation(operation["op"], found, value, has_value="value" in operation)
        else:
            rest.append(operation)
    group = Group(display_name=display_name, external_id=external_id or None)
    _apply("Group", group, rest)
    return GroupRecord(*_group_names(group), _change(of_members))


_MEMBERS = re.compile(
    r"(?:urn:ietf:params:scim:schemas:core:2\.0:group:)?members(?:\[(?P<filter>.*)\])?(?P<sub>\.[a-z$]+)?",
    re.IGNORECASE | re.DOTALL,
)
_MEMBER_IDS = re.compile(
    r'\s*value\s+eq\s+"([^"\\]{1,128})"(?:\s+and\s+type\s+eq\s+"(?:User|Group)")?\s*', re.IGNORECASE
)
_OR = re.compile(r"\s+or\s+", re.IGNORECASE)


def _member_operation(op: str, path: re.Match[str], value: Any, *, has_value: bool) -> list[tuple[str, Any]]:
    """One operation on `members`, `members[…]` or a part of members, as (add, remove, replace or clear; ids)."""
    if path["filter"] is not None:
        ids = [found[1] for part in _OR.split(path["filter"]) if (found := _MEMBER_IDS.fullmatch(part))]
        if len(ids) != len(_OR.split(path["filter"])):
            raise ScimRefused("invalidFilter", 'Members are chosen by their ids: members[value eq "…"].')
        # Whatever else is said of a member (its display) is the member's own to say.
        return [("remove", ids)] if op == "remove" and not path["sub"] else []
    if path["sub"]:
        return []
    if op == "remove" and (not has_value or value is None):
        return [("clear", ())]
    if value is None:
        raise ScimRefused("invalidValue", f"An {op} of members needs a value.")
    return [(op, value)]


def _change(operations: Iterable[tuple[str, Any]]) -> MemberChange:
    """The operations one after the other, as one change."""
    cleared, unknown = False, dict[str, None]()
    added: set[str] = set()
    removed: set[str] = set()
    for op, value in operations:
        ids = set(_ids(value))
        good = {text for text in map(canonical_id, ids) if text is not None}
        if op in ("clear", "replace"):
            cleared, added, removed = True, set(), set()
        if op == "remove":
            added -= good
            removed |= good
        elif op != "clear":
            unknown |= dict.fromkeys(text for text in ids if canonical_id(text) is None)
            added |= good
            removed -= good
    return MemberChange(cleared, frozenset(added), frozenset(() if cleared else removed), tuple(sorted(unknown)))


def _ids(value: Any) -> Iterable[str]:
    """The ids in a list of members, or in one member; a member without an id but with a $ref is known by that."""
    if value is None:
        return
    for member in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
        found = member
        if isinstance(member, Mapping):
            named = {key.lower(): entry for key, entry in member.items()}
            found = named.get("value") or str(named.get("$ref") or "").rstrip("/").rpartition("/")[2]
        if not isinstance(found, str) or not found or len(found) > LONGEST:
            raise ScimRefused("invalidValue", 'A member is {"value": "its id"}.')
        yield found


def canonical_id(text: str) -> str | None:
    """An id of ours in its one form; None for what can be none."""
    try:
        return str(UUID(text)) if len(text) == 36 else None
    except ValueError:
        return None


def _members_apart(payload: Mapping[str, Any]) -> tuple[Any | None, dict[str, Any]]:
    """The members of a group (None where nothing is said of them), and the rest."""
    named = [key for key in payload if key.lower() == "members"]
    rest = {key: value for key, value in payload.items() if key not in named}
    return (None if not named else payload[named[0]] or []), rest


def _validated(kind: str, payload: Mapping[str, Any], context: Context) -> Any:
    dropped = _OURS | _NOT_KEPT  # read-only ones are to be ignored, RFC 7644 sections 3.3 and 3.5.1
    kept = {key: value for key, value in payload.items() if key.lower() not in dropped}
    for key, value in kept.items():
        if key.lower() == _MANAGER.rpartition(":")[0] and isinstance(value, Mapping):
            kept[key] = {k: _manager(v) if k.lower() == "manager" else v for k, v in value.items()}
    try:
        return _MODELS[kind].model_validate(kept, scim_ctx=context, scim_policy=_TOLERANT)
    except ValidationError as error:
        odd = {str(fault["loc"][0]).lower() if fault["loc"] else "" for fault in error.errors()}
        if not all(map(_is_by_the_way, odd)):
            _refuse(error)
        plain = {key: value for key, value in kept.items() if key.lower() not in odd}
    return _validated(kind, plain, context)


def _is_by_the_way(path: str) -> bool:
    """Whether nothing is decided, found or shown by the attribute that a path begins with.

    Attack, or mishap: an empty `profileUrl`, which OneLogin and JumpCloud send, would refuse the word that somebody has left.
    """
    extended = path.lower().startswith(_ENTERPRISE)
    return extended or re.split(r"[.\[]", path.lower(), maxsplit=1)[0] in _BY_THE_WAY


def _resource(kind: str, stored: Mapping[str, Any]) -> Any:
    return _MODELS[kind].model_validate(dict(stored), scim_policy=_TOLERANT)


def _manager(value: Any) -> Any:
    """Entra sends the manager's id alone, or in a list."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return {"value": value} if isinstance(value, str) and value else value or None


def _operations(payload: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """The operations of a PATCH, each with lower-case names, its `op` too, and what directories wrap unwrapped."""
    listed = next((value for key, value in payload.items() if key.lower() == "operations"), None)
    if not isinstance(listed, list) or not listed:
        raise ScimRefused("invalidSyntax", "A PATCH has a list of Operations, with at least one in it.")
    for entry in listed:
        if not isinstance(entry, Mapping):
            raise ScimRefused("invalidSyntax", "An operation is an object with op, path and value.")
        operation = {key.lower(): value for key, value in entry.items()}
        op, path = operation.get("op"), operation.get("path")
        if not isinstance(op, str) or op.lower() not in {"add", "remove", "replace"}:
            raise ScimRefused("invalidSyntax", "An operation's op is add, remove or replace.")
        operation["op"] = op.lower()
        if path is None or path == "":
            operation.pop("path", None)
            yield from _pathless(operation)
        elif not isinstance(path, str) or len(path) > 2 * LONGEST:
            raise ScimRefused("invalidPath", "A path is text.")
        elif path.lower() not in _NOT_KEPT:
            yield _unwrapped(operation)


def _pathless(operation: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """An operation whose value holds the attributes; those that Entra names by a path with a filter become their own."""
    value = operation.get("value")
    if not isinstance(value, Mapping):
        yield operation  # refused with the standard's own words
        return
    plain: dict[str, Any] = {}
    filtered: list[tuple[str, Any]] = []
    for key, entry in value.items():
        if key.lower() in _OURS | _NOT_KEPT:
            continue  # Okta sends the id along
        if "[" in key:
            filtered.append((key, entry))
        elif key.lower() == _MANAGER:
            plain[key] = _manager(entry)
        elif key.lower() == _MANAGER.rpartition(":")[0] and isinstance(entry, Mapping):
            plain[key] = {k: _manager(v) if k.lower() == "manager" else v for k, v in entry.items()}
        else:
            plain[key] = entry
    if plain:
        yield {**operation, "value": plain}
    for key, entry in filtered:
        yield {**operation, "path": key, "value": entry}


def _unwrapped(operation: dict[str, Any]) -> dict[str, Any]:
    """Entra writes a single value as `[{"$ref": null, "value": x}]`, and a manager as an id."""
    path, value = operation["path"], operation.get("value")
    if path.lower() == _MANAGER and operation["op"] != "remove":
        return {**operation, "value": _manager(value)}
    if path.rpartition(":")[2].partition("[")[0].lower() in _LISTS or not isinstance(value, list) or len(value) != 1:
        return operation
    (only,) = value
    if isinstance(only, Mapping) and "value" in only and {key.lower() for key in only} <= {"$ref", "value"}:
        return {**operation, "value": only["value"]}
    return operation


def _apply(kind: str, resource: Any, operations: Sequence[Mapping[str, Any]]) -> None:
    if not operations:
        return
    try:
        _patched(kind, resource, operations)
    except (ValidationError, rfc.SCIMException) as error:
        parts = [part for operation in operations for part in _parts(operation)]
        if not any(map(_may_be_left_out, parts)):
            _refuse(error)
    else:
        return
    for part in parts:
        try:
            _patched(kind, resource, [part])
        except (ValidationError, rfc.SCIMException) as error:
            if not _may_be_left_out(part):
                _refuse(error)


def _parts(operation: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The operation, attribute by attribute."""
    value = operation.get("value")
    if "path" in operation or not isinstance(value, Mapping):
        return [operation]
    return [{**operation, "value": {key: entry}} for key, entry in value.items()]


def _may_be_left_out(part: Mapping[str, Any]) -> bool:
    value = part.get("value")
    path = part["path"] if "path" in part else next(iter(value), "") if isinstance(value, Mapping) else ""
    return value is not None and _is_by_the_way(re.sub(_CORE, "", path, flags=re.IGNORECASE))


def _patched(kind: str, resource: Any, operations: Sequence[Mapping[str, Any]]) -> None:
    with _TOLERANT:
        _PATCH[kind].model_validate(
            {"schemas": [_MESSAGE + "PatchOp"], "Operations": list(operations)},
            scim_ctx=Context.RESOURCE_PATCH_REQUEST,
        ).patch(resource)


def _refuse(error: ValidationError | rfc.SCIMException) -> NoReturn:
    """The first fault in the standard's terms. Its words name attributes and never repeat values."""
    said = error.to_error() if isinstance(error, rfc.SCIMException) else rfc.Error.from_validation_errors(error)[0]
    sentence = (said.detail or "").partition("\n    For further information")[0]
    raise ScimRefused(said.scim_type or "invalidValue", re.sub(r"\s*\[type=[^\]]*\]\s*", "", sentence)) from error


def _record(person: Any) -> PersonRecord:
    dumped = person.model_dump(exclude={"id", "meta", "groups", "password", "schemas"})
    user_name = _named(person.user_name, "userName")
    if not user_name:
        raise ScimRefused("invalidValue", "A person needs a userName.")
    if len(json.dumps(dumped)) > LARGEST_PERSON:
        raise ScimRefused("tooMany", f"One person's attributes are more than {LARGEST_PERSON // 1024} KB.")
    addresses = [address for address in person.emails or () if address.value]
    primary = next((address for address in addresses if address.primary), addresses[0] if addresses else None)
    return PersonRecord(
        user_name=user_name,
        user_name_key=name_key(user_name),
        external_id=_named(person.external_id, "externalId"),
        active=person.active is not False,
        name=_display(person)[:LONGEST],
        email=_named(primary.value, "emails.value") if primary else "",
        emails="".join(f"\n{_folded(address.type).upper()}\t{_folded(address.value)}" for address in addresses) + "\n"
        if addresses
        else "",
        attributes=dumped,
    )


def _display(person: Any) -> str:
    if person.display_name:
        return str(person.display_name)
    name = person.name
    if name is None:
        return ""
    return str(name.formatted or " ".join(filter(None, (name.given_name, name.family_name))))


def _group_names(group: Any) -> tuple[str, str]:
    display_name = _named(group.display_name, "displayName")
    if not display_name:
        raise ScimRefused("invalidValue", "A group needs a displayName.")
    return display_name, _named(group.external_id, "externalId")


def _named(value: Any, attribute: str) -> str:
    text = "" if value is None else str(value)
    if len(text) > LONGEST:
        raise ScimRefused("invalidValue", f"{attribute} has more than {LONGEST} characters.")
    return text


def _folded(value: Any) -> str:
    """An address or its type as the column of addresses has it: no line or tab of its own."""
    return re.sub(r"[\n\t]", " ", str(getattr(value, "value", value) or "")).lower()


def name_key(user_name: str) -> str:
    """A user name as it is compared: without case, in Unicode's composed form (RFC 7643 section 4.1.1)."""
    return normalize("NFC", normalize("NFC", user_name).lower())


# --- Writing what was asked for ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selection:
    """Which attributes an answer has (RFC 7644 section 3.9): `attributes` alone, or the usual ones without `excluded`."""

    attributes: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def wants(self, attribute: str, *, unasked: bool) -> bool:
        """Whether the answer has this attribute, or a part of it; `unasked`: whether it is one of the usual ones."""
        names = (attribute, f"{attribute}.")
        if self.attributes:
            return any(name == names[0] or name.startswith(names[1]) for name in self.attributes)
        return unasked and attribute not in self.excluded

    def parts(self, attribute: str) -> frozenset[str]:
        """The parts of an attribute that were asked for; empty for all."""
        if attribute in self.attributes:
            return frozenset()
        return frozenset(name.partition(".")[2] for name in self.attributes if name.startswith(f"{attribute}."))


def read_selection(attributes: str, excluded: str) -> Selection:
    """The selection of a request; names are compared without case and without their core schema's URN. Raises ScimRefused."""
    chosen, left_out = _names(attributes), _names(excluded)
    if chosen and left_out:
        raise ScimRefused("invalidSyntax", "attributes and excludedAttributes exclude each other.")
    return Selection(chosen, left_out)


def _names(text: str) -> tuple[str, ...]:
    if len(text) > 4 * LONGEST:
        raise ScimRefused("invalidSyntax", "Too many attributes are named.")
    found = (name.strip().lower() for name in text.split(","))
    return tuple(re.sub(_CORE, "", name) for name in found if name)


@dataclass(frozen=True, slots=True)
class Shown:
    """What every resource says of itself. `base_url`: of the SCIM endpoints, without a slash at its end."""

    id: str
    version: int
    created: datetime
    modified: datetime
    base_url: str


def etag(version: int) -> str:
    """The entity tag of a version (RFC 7644 section 3.14)."""
    return f'W/"{version}"'


def location(kind: str, shown: Shown) -> str:
    """Where the resource is."""
    return f"{shown.base_url}/{ENDPOINTS[kind]}/{shown.id}"


def show_person(
    stored: Mapping[str, Any], shown: Shown, groups: Collection[tuple[str, str]], selection: Selection
) -> dict[str, Any]:
    """A person as an answer has them; `groups`: id and name of each, looked at only if they were asked for."""
    found = _answer("User", stored, shown, selection)
    if groups and selection.wants("groups", unasked=False):
        listed = [
            {"value": group, "$ref": f"{shown.base_url}/Groups/{group}", "display": name, "type": "direct"}
            for group, name in groups
        ]
        found["groups"] = _only(listed, selection.parts("groups"))
    return found


def show_group(
    display_name: str, external_id: str, shown: Shown, members: Iterable[tuple[str, str, str]], selection: Selection
) -> dict[str, Any]:
    """A group as an answer has it; `members`: (id, User or Group, name) of each, looked at only if they are part of it."""
    stored = {"displayName": display_name, **({"externalId": external_id} if external_id else {})}
    found = _answer("Group", stored, shown, selection)
    if selection.wants("members", unasked=True):
        parts = selection.parts("members")
        listed = [
            {"value": member, "$ref": f"{shown.base_url}/{ENDPOINTS[kind]}/{member}", "type": kind}
            | ({"display": name} if "display" in parts else {})
            for member, kind, name in members
        ]
        if listed:
            found["members"] = _only(listed, parts)
    return found


def _only(listed: list[dict[str, Any]], parts: frozenset[str]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key in parts} for entry in listed] if parts else listed


def _answer(kind: str, stored: Mapping[str, Any], shown: Shown, selection: Selection) -> dict[str, Any]:
    meta = {
        "resourceType": kind,
        "created": shown.created.astimezone(UTC),
        "lastModified": shown.modified.astimezone(UTC),
        "location": location(kind, shown),
        "version": etag(shown.version),
    }
    resource = _resource(kind, {**stored, "schemas": _schemas(kind, stored), "id": shown.id, "meta": meta})
    asked = rfc.ResponseParameters(
        attributes=_paths(selection.attributes), excluded_attributes=_paths(selection.excluded)
    )
    found: dict[str, Any] = resource.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=asked)
    return found


def _paths(names: Sequence[str]) -> list[Any] | None:
    """The attribute paths among `names`: what is none is nobody's attribute, and left out of nothing."""
    found = []
    for name in names:
        try:
            found.append(rfc.Path(name))
        except (ValueError, rfc.SCIMException):
            continue
    # `attributes=…` of which none can be one still asks for nothing but what every answer has.
    return found or ([rfc.Path("id")] if names else None)


def _schemas(kind: str, stored: Mapping[str, Any]) -> list[str]:
    urns = [str(_MODELS[kind].__schema__)]
    return urns + [key for key in stored if key.lower().startswith("urn:")]


def list_response(resources: Sequence[Mapping[str, Any]], *, total: int, start_index: int) -> dict[str, Any]:
    """One page of results (RFC 7644 section 3.4.2)."""
    return {
        "schemas": [_MESSAGE + "ListResponse"],
        "totalResults": total,
        "startIndex": start_index,
        "itemsPerPage": len(resources),
        "Resources": list(resources),
    }


def error_body(error: RolegateError, request_id: str) -> dict[str, Any]:
    """An error as SCIM has it (RFC 7644 section 3.12). It has no place for our code and the request id but its detail."""
    body = {
        "schemas": [_MESSAGE + "Error"],
        "status": str(error.status),
        "detail": f"{error.public_sentence} [{error.code}, request {request_id}]",
    }
    scim_type = getattr(error, "scim_type", "")
    return {**body, "scimType": scim_type} if scim_type else body


def bulk_response(operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The outcome of a bulk request (RFC 7644 section 3.7)."""
    return {"schemas": [_MESSAGE + "BulkResponse"], "Operations": list(operations)}
