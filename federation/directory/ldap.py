"""A directory read over LDAP (RFC 4511): its people and groups, whole or not at all. The one door to ldap3; no database.

What is returned is complete: each page was asked for until the server said that there is none left, and every answer that
ends in anything but success (a size limit, a time limit, a referral, a connection that was cut) raises LdapError instead.
ldap3 itself raises for neither limit, nor for a referral. Referrals are never followed: they would carry the bind password
to a host that somebody else has named. The certificate is verified before the password is sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import ldap3
from ldap3.core import exceptions
from ldap3.utils.dn import parse_dn

from federation.errors import RolegateError
from federation.mapping.rules import LdapDirectory

CONNECT_SECONDS = 10
ANSWER_SECONDS = 60  # for one page
READ_SECONDS = 1_500  # for all of it
PAGE, PAGE_OF_GROUPS = 500, 100  # a group may have a hundred thousand members, all in its entry
MOST_BYTES = 128 * 1024 * 1024  # of one page
MOST_ENTRIES = 500_000
MOST_MEMBERS = 5_000_000
LONGEST = 512  # characters of a name or an id, as the database keeps them

_KEYS: Final = ("objectGUID", "entryUUID", "nsUniqueId", "ipaUniqueID")  # AD, RFC 4530, 389, FreeIPA
_STATE: Final = (
    "userAccountControl", "accountExpires", "shadowExpire", "nsAccountLock", "loginDisabled", "pwdAccountLockedTime",
)  # fmt: skip
_ACCOUNT_DISABLED = 0x2  # ADS_UF_ACCOUNTDISABLE
_NEVER_EXPIRES = {0, 2**63 - 1}
_LOCKED_FOR_EVER = (
    "000001010000Z"  # draft-behera-ldap-password-policy section 5.3.3; any other moment is a lock-out that ends
)
_FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_NAMES_ITSELF = frozenset({"dn", "distinguishedname", "entrydn"})
_RANGE = re.compile(
    r"(?P<name>.+);range=(?P<first>\d+)-(?P<last>\d+|\*)", re.IGNORECASE
)  # MS-ADTS section 3.1.1.3.1.3.3


class LdapError(RolegateError):
    """The directory could not be read whole; `reason` says why. The last good state stays in force."""

    code = "directory_unreadable"
    status = 503
    sentence = "The directory could not be read whole, so nothing was taken over: what was read last stays in force."


@dataclass(frozen=True, slots=True)
class LdapPerson:
    """A person. `key`: what stays when they are renamed or moved. `subject`: what the provider calls them."""

    key: str
    subject: str
    name: str
    email: str
    active: bool

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return _digest([self.subject, self.name, self.email, self.active])


@dataclass(frozen=True, slots=True)
class LdapGroup:
    """A group: the keys of the people and of the groups that are its members themselves."""

    key: str
    name: str
    people: frozenset[str]
    groups: frozenset[str]

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return _digest([self.name, sorted(self.people), sorted(self.groups)])


@dataclass(frozen=True, slots=True)
class Listing:
    """A complete answer. `left_out`: how many entries or members were of no use, by why. `passed_over`: servers that were
    asked before the one that gave it, each with the reason why it did not.
    """

    people: Mapping[str, LdapPerson]
    groups: Mapping[str, LdapGroup]
    left_out: Mapping[str, int]
    passed_over: tuple[str, ...] = ()


@dataclass(slots=True)
class _Entry:
    """An entry as it came; names of attributes in lower case."""

    dn: str
    values: Mapping[str, list[bytes]]

    def texts(self, name: str) -> list[str]:
        found = self.values.get(name.lower(), [])
        return [text for raw in found if (text := _text(name, raw)) is not None]

    def text(self, name: str) -> str:
        """The first value, "" where there is none."""
        return next(iter(self.texts(name)), "")


def read(config: LdapDirectory, password: str, *, now: datetime, alive: Callable[[], None]) -> Listing:
    """Everybody and every group. `password`: of `config.bind_dn`, in clear. `alive` is called before each page; what it
    raises ends the reading.

    Where a server cannot be reached, does not prove who it is, or breaks off, all of it is read from the next one: halves of
    two servers are no answer. A password that is refused is not tried elsewhere, lest the account be locked.

    Raises LdapError, the last server's: unreachable, certificate_refused, tls_failed, bind_refused, base_unknown, not_allowed, filter_refused,
    limit_exceeded, referred_elsewhere, answer_cut, answer_broken, too_slow, too_large, group_name_twice.
    """
    passed_over = list[str]()
    for url in config.urls:
        try:
            with _session(config, url, password, alive) as session:
                return replace(_Reading(config, session, now).listing(), passed_over=tuple(passed_over))
        except LdapError as error:
            if error.reason not in _ASK_ANOTHER or url == config.urls[-1]:
                if not passed_over:
                    raise
                before = ", ".join(passed_over)
                raise LdapError(
                    error.reason, detail=f"{urlsplit(url).hostname}: {error.detail}; {before}"[:300]
                ) from error
            passed_over.append(f"{urlsplit(url).hostname}: {error.reason}")
    raise LdapError("unreachable", detail="no server is named")


_ASK_ANOTHER: Final = frozenset({"unreachable", "certificate_refused", "tls_failed", "answer_cut"})


# --- The conversation -------------------------------------------------------------------------------


class _VerifiedTls(ldap3.Tls):  # type: ignore[misc,unused-ignore]
    """TLS as Python's own library does it: certificate and host name are verified, 1.2 at least.

    ldap3's own Tls verifies nothing unless told to, and then compares host names by itself.
    """

    def __init__(self, host: str, ca_certificate: str) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._host = host
        self._context = ssl.create_default_context(cadata=ca_certificate or None)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.failure: Exception | None = None

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:  # noqa: FBT001, FBT002  ldap3's
        """Handshake now, whatever ldap3 asks for: nothing is sent before."""
        try:
            plain = getattr(connection.socket, "socket", connection.socket)  # what StartTLS was answered on is metered
            connection.socket = self._context.wrap_socket(plain, server_hostname=self._host)
        except Exception as error:
            self.failure = error
            raise


class _Metered:
    """A socket that hands on whole messages, and no more bytes than it may.

    Attack: a server that announces a message of a gigabyte. ldap3 would wait for it, and put its pieces together one by one,
    each time copying what it has so far.
    """

    def __init__(self, plain: Any) -> None:
        self.socket, self.left = plain, MOST_BYTES
        self._ahead = bytearray()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.socket, name)

    def recv(self, _size: int) -> bytes:
        """One message or several, whole; what is left of one where the other side has ended. OSError where it is too much."""
        while True:
            end = _end_of_messages(self._ahead)
            if end:
                break
            more = self.socket.recv(65_536)
            self.left -= len(more)
            if self.left < 0:
                raise OSError("the answer is too large")
            self._ahead += more
            if not more:
                end = len(self._ahead)
                break
        whole = bytes(self._ahead[:end])
        del self._ahead[:end]
        return whole


def _end_of_messages(data: bytearray) -> int:
    """Where the last whole message ends (X.690 section 8.1.3: definite lengths); 0 where there is none."""
    end = 0
    while end + 2 <= len(data):
        length, content = data[end + 1], end + 2
        if length & 0x80:
            content += length & 0x7F
            length = int.from_bytes(data[end + 2 : content], "big")
        if content + length > len(data):
            break
        end = content + length
    return end


class _Session:
    """A bound connection, read page by page."""

    def __init__(self, connection: Any, tls: _VerifiedTls, alive: Callable[[], None]) -> None:
        self._connection, self._tls, self._alive = connection, tls, alive
        self._meter = _Metered(None)
        self.late = False

    def hang_up(self) -> None:
        """End it from another thread: a server that sends a byte a minute is never "timed out"."""
        self.late = True
        with contextlib.suppress(OSError, AttributeError):
            self._connection.socket.shutdown(socket.SHUT_RDWR)

    def open(self, *, start_tls: bool, bind: bool) -> None:
        with self._translated():
            self._connection.open(read_server_info=False)
            self._measure()
            if start_tls:
                self._connection.start_tls(read_server_info=False)
                self._measure()
            if bind and not self._connection.bind(read_server_info=False):
                raise LdapError("bind_refused", detail=str(self._connection.result.get("description", "")))

    def _measure(self) -> None:
        self._meter = self._connection.socket = _Metered(self._connection.socket)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._connection.unbind()
        with contextlib.suppress(OSError, AttributeError):
            self._connection.socket.close()  # which ldap3 forgets where it could not be opened

    def search(
        self, base: str, filter_: str, attributes: Iterable[str], *, page: int = PAGE, only_base: bool = False
    ) -> Iterator[_Entry]:
        """Every entry, or an error: there is no partial answer."""
        wanted, cookie = list(attributes), None
        while True:
            self._alive()
            self._meter.left = MOST_BYTES
            paging = {} if only_base else {"paged_size": page, "paged_criticality": True, "paged_cookie": cookie}
            with self._translated():
                self._connection.search(
                    base, filter_, search_scope=ldap3.BASE if only_base else ldap3.SUBTREE, dereference_aliases=ldap3.DEREF_NEVER,
                    attributes=wanted, time_limit=ANSWER_SECONDS, **paging,
                )  # fmt: skip
                result, response = self._connection.result, self._connection.response
                # Two limits and a referral are no error to ldap3, and what came before them is a part.
                _refuse_result(result)
                entries = [_entry(found) for found in response if found["type"] == "searchResEntry"]
                control = (result.get("controls") or {}).get("1.2.840.113556.1.4.319", {})
                cookie = control.get("value", {}).get("cookie") or None
            yield from entries
            if cookie is None:
                return

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Whatever ldap3 raises, also over bytes that are no LDAP at all, as an LdapError."""
        try:
            yield
        except LdapError:
            raise
        except Exception as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> LdapError:
        said = f"{error.__class__.__name__}: {error}"[:300]
        if self.late:
            return LdapError("too_slow", detail=f"not done after {READ_SECONDS} s")
        if self._meter.left < 0:
            return LdapError("too_large", detail=f"more than {MOST_BYTES:,} bytes in one page")
        if (failure := self._tls.failure) is not None:
            refused = isinstance(failure, ssl.SSLCertVerificationError)
            return LdapError("certificate_refused" if refused else "tls_failed", detail=str(failure)[:300])
        for reason, kinds in _REASONS:
            if isinstance(error, kinds):
                return LdapError(reason, detail=said)
        return LdapError("answer_broken", detail=said)


_REASONS: Final[tuple[tuple[str, tuple[type[Exception], ...]], ...]] = (
    ("bind_refused", (
        exceptions.LDAPInvalidCredentialsResult, exceptions.LDAPInappropriateAuthenticationResult,
        exceptions.LDAPInvalidDNSyntaxResult, exceptions.LDAPStrongerAuthRequiredResult,
        exceptions.LDAPConfidentialityRequiredResult, exceptions.LDAPBindError,
    )),
    ("base_unknown", (exceptions.LDAPNoSuchObjectResult,)),
    ("not_allowed", (exceptions.LDAPInsufficientAccessRightsResult, exceptions.LDAPOperationsErrorResult)),
    ("filter_refused", (exceptions.LDAPInvalidFilterError,)),
    ("limit_exceeded", (exceptions.LDAPAdminLimitExceededResult, exceptions.LDAPUnavailableCriticalExtensionResult)),
    ("tls_failed", (exceptions.LDAPStartTLSError,)),
    ("unreachable", (exceptions.LDAPSocketOpenError, exceptions.LDAPUnavailableResult, exceptions.LDAPBusyResult)),
    ("answer_cut", (
        exceptions.LDAPCommunicationError, exceptions.LDAPResponseTimeoutError, exceptions.LDAPSessionTerminatedByServerError,
    )),
)  # fmt: skip
_RESULTS: Final[Mapping[int, str]] = {3: "limit_exceeded", 4: "limit_exceeded", 10: "referred_elsewhere"}


def _refuse_result(result: Mapping[str, Any]) -> None:
    code = result.get("result")
    if code != 0:
        reason = _RESULTS.get(code if isinstance(code, int) else -1, "answer_broken")
        raise LdapError(reason, detail=f"{result.get('description')}: {result.get('message')}"[:300])


@contextlib.contextmanager
def _session(config: LdapDirectory, url: str, password: str, alive: Callable[[], None]) -> Iterator[_Session]:
    parts = urlsplit(url)
    host, encrypted = parts.hostname or "", parts.scheme == "ldaps"
    tls = _VerifiedTls(host, config.ca_certificate)
    server = ldap3.Server(
        host, port=parts.port or (636 if encrypted else 389), use_ssl=encrypted, tls=tls, get_info=ldap3.NONE,
        connect_timeout=CONNECT_SECONDS,
    )  # fmt: skip
    named = {"user": config.bind_dn, "password": password, "authentication": ldap3.SIMPLE} if config.bind_dn else {}
    connection = ldap3.Connection(
        server, auto_bind=ldap3.AUTO_BIND_NONE, client_strategy=ldap3.SYNC, auto_referrals=False, auto_range=False, check_names=False, return_empty_attributes=False,
        read_only=True, raise_exceptions=True, receive_timeout=ANSWER_SECONDS + CONNECT_SECONDS, **named,
    )  # fmt: skip
    session = _Session(connection, tls, alive)
    watch = threading.Timer(READ_SECONDS, session.hang_up)
    watch.daemon = True
    watch.start()
    try:
        session.open(start_tls=config.start_tls, bind=bool(config.bind_dn))
        yield session
    finally:
        watch.cancel()
        session.close()


def _entry(found: Mapping[str, Any]) -> _Entry:
    return _Entry(
        str(found["dn"]), {name.lower(): list(values or ()) for name, values in found["raw_attributes"].items()}
    )


# --- What it says -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reading:
    """One reading: who was found under which name, for the members that are named later."""

    config: LdapDirectory
    session: _Session
    now: datetime
    left_out: dict[str, int] = field(default_factory=dict)

    def listing(self) -> Listing:
        people = self._people()
        groups = self._groups(people)
        return Listing(people.found, groups, dict(sorted(self.left_out.items())))

    def _leave_out(self, why: str, many: int = 1) -> None:
        self.left_out[why] = self.left_out.get(why, 0) + many

    def _people(self) -> _People:
        config, named = self.config, self.config.attributes
        disabled: set[str] = set()
        if config.disabled_filter:
            both = f"(&{config.user_filter}{config.disabled_filter})"
            disabled = {entry.dn for entry in self._entries(both, ["1.1"])}
        people = _People({}, _ByDn(), {}, {})
        wanted = (named.subject, named.email, named.name, *_KEYS, *_STATE, "uid", "primaryGroupID", "objectSid")
        for entry in self._entries(config.user_filter, wanted):
            subjects = [entry.dn] if named.subject.lower() in _NAMES_ITSELF else entry.texts(named.subject)
            if len(subjects) != 1 or not subjects[0] or len(subjects[0]) > LONGEST:
                self._leave_out("people without one subject")
                continue
            key = _key(entry)
            active = entry.dn not in disabled and is_active(entry.text, self.now)
            person = LdapPerson(
                key, subjects[0], entry.text(named.name)[:LONGEST], entry.text(named.email)[:LONGEST], active
            )
            if key in people.found and people.by_dn.get(entry.dn) != key:
                raise LdapError("answer_broken", detail=f"two people have the id {key}"[:300])
            people.found[key] = person
            people.by_dn.add(entry.dn, key)
            for uid in entry.texts("uid"):
                # Attack: people may often add a uid to their own entry. One that two have is nobody's.
                people.by_uid[uid] = key if people.by_uid.get(uid, key) == key else ""
            if primary := entry.text("primaryGroupID"):
                group = (_identifier(entry)[0], primary)
                people.by_primary_group.setdefault(group, []).append(key)
        return people

    def _groups(self, people: _People) -> dict[str, LdapGroup]:
        named = self.config.attributes
        members, by_dn = dict[str, list[str]](), _ByDn()
        names, primary = dict[str, str](), dict[str, list[str]]()
        total = 0
        wanted = (named.group, named.member, *_KEYS, "objectSid")
        for entry in self._entries(self.config.group_filter, wanted, page=PAGE_OF_GROUPS):
            called = [entry.dn] if named.group.lower() in _NAMES_ITSELF else entry.texts(named.group)
            if not called or not called[0] or len(called[0]) > LONGEST:
                self._leave_out("groups without a name")
                continue
            key = _key(entry)
            if key in names and by_dn.get(entry.dn) != key:
                raise LdapError("answer_broken", detail=f"two groups have the id {key}"[:300])
            names[key] = called[0]
            by_dn.add(entry.dn, key)
            members[key] = self._members(entry)
            total += len(members[key])
            if total > MOST_MEMBERS:
                raise LdapError("too_large", detail=f"more than {MOST_MEMBERS:,} members")
            # Active Directory keeps the members of somebody's primary group (Domain Users) in no list.
            primary[key] = people.by_primary_group.get(_identifier(entry), [])
        _refuse_one_name_twice(names)
        found = dict[str, LdapGroup]()
        for key, listed in members.items():
            of_people, of_groups = set(primary[key]), set[str]()
            for text in listed:
                if (person := people.member(text, by_uid=named.member.lower() == "memberuid")) is not None:
                    of_people.add(person)
                elif (group := by_dn.get(text)) is not None:
                    if self.config.nested and group != key:
                        of_groups.add(group)
                else:
                    self._leave_out("members that are nobody here")
            found[key] = LdapGroup(key, names[key], frozenset(of_people), frozenset(of_groups))
        return found

    def _entries(self, filter_: str, attributes: Iterable[str], *, page: int = PAGE) -> Iterator[_Entry]:
        for seen, entry in enumerate(self.session.search(self.config.base_dn, filter_, attributes, page=page)):
            if seen >= MOST_ENTRIES:
                raise LdapError("too_large", detail=f"more than {MOST_ENTRIES:,} entries")
            yield entry

    def _members(self, entry: _Entry) -> list[str]:
        """All values of the member attribute: Active Directory gives 1,500, and the rest on request, range by range."""
        name = self.config.attributes.member
        if name.lower() in entry.values:
            plain = entry.values[name.lower()]
            if plain or not any(key.startswith(f"{name.lower()};range=") for key in entry.values):
                return [text for raw in plain if (text := _text(name, raw)) is not None]
        found = list[str]()
        ranged = _range_of(entry, name)
        while ranged is not None:
            values, last = ranged
            found += [text for raw in values if (text := _text(name, raw)) is not None]
            if last is None:
                return found
            again = list(
                self.session.search(entry.dn, "(objectClass=*)", [f"{name};range={last + 1}-*"], only_base=True)
            )
            ranged = _range_of(again[0], name) if len(again) == 1 else None
            if ranged is None or (ranged[1] is not None and ranged[1] <= last):
                raise LdapError("answer_broken", detail=f"the members of {entry.dn} end at {last}"[:300])
        return found


class _ByDn:
    """Keys by distinguished name. Names are compared as they came, without case, then part by part (RFC 4514)."""

    def __init__(self) -> None:
        self._exact: dict[str, str] = {}
        self._parsed: dict[str, str] | None = None

    def add(self, dn: str, key: str) -> None:
        self._exact[dn.lower()] = key
        self._parsed = None

    def get(self, dn: str) -> str | None:
        found = self._exact.get(dn.lower())
        if found is None:
            if self._parsed is None:
                self._parsed = {normalised_dn(name): key for name, key in self._exact.items()}
            found = self._parsed.get(normalised_dn(dn))
        return found


@dataclass(slots=True)
class _People:
    found: dict[str, LdapPerson]
    by_dn: _ByDn
    by_uid: dict[str, str]
    by_primary_group: dict[tuple[bytes, str], list[str]]

    def member(self, text: str, *, by_uid: bool) -> str | None:
        return (self.by_uid.get(text) or None) if by_uid else self.by_dn.get(text)


def normalised_dn(dn: str) -> str:
    """The name without what does not count: case, blanks around its signs, ways of escaping."""
    try:
        parts = parse_dn(dn, escape=False, strip=True)
    except exceptions.LDAPInvalidDnError:
        return dn.strip().lower()
    return "\x00".join(f"{name.lower()}={_unescaped(value).lower()}{sign}" for name, value, sign in parts)


_ESCAPED = re.compile(rb"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)


def _unescaped(value: str) -> str:
    def plain(found: re.Match[bytes]) -> bytes:
        return bytes.fromhex(found[1].decode()) if len(found[1]) == 2 else found[1]

    return _ESCAPED.sub(plain, value.encode()).decode(errors="replace")


def is_active(text: Callable[[str], str], now: datetime) -> bool:
    """Whether somebody may be let in, by what Active Directory, 389, eDirectory and RFC 2307 say; `text` reads an attribute.

    What cannot be read is a no.
    """
    try:
        if (control := text("userAccountControl")) and int(control) & _ACCOUNT_DISABLED:
            return False
        if (expires := text("accountExpires")) and int(expires) not in _NEVER_EXPIRES and int(expires) <= filetime(now):
            return False
        if (shadow := text("shadowExpire")) and int(shadow) >= 0 and now.timestamp() // 86_400 >= int(shadow):
            return False
    except ValueError:
        return False
    if "true" in (text("nsAccountLock").lower(), text("loginDisabled").lower()):
        return False
    return text("pwdAccountLockedTime") != _LOCKED_FOR_EVER


def filetime(moment: datetime) -> int:
    """A moment as tenths of a microsecond since 1601 (MS-DTYP section 2.3.3)."""
    return (moment - _FILETIME_EPOCH) // timedelta(microseconds=1) * 10


def _key(entry: _Entry) -> str:
    for name in _KEYS:
        if found := entry.text(name):
            return found[:LONGEST]
    return "dn:" + hashlib.sha256(normalised_dn(entry.dn).encode()).hexdigest()


def _text(name: str, raw: bytes) -> str | None:
    """A value as text; None for what is no text."""
    if (
        name.lower() == "objectguid"
    ):  # 16 bytes, of which the first three fields are little-endian (MS-DTYP section 2.3.4.2)
        return str(UUID(bytes_le=raw)) if len(raw) == 16 else None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    return None if "\x00" in text else text  # no database keeps it


def _identifier(entry: _Entry) -> tuple[bytes, str]:
    """The security identifier (MS-DTYP section 2.4.2.2): its domain, and the last part, which people name as their primary group.

    Attack: of a forest, each domain has a group 1105. Whose primary group has this number is in the one of their own domain.
    """
    (sid, *_) = entry.values.get("objectsid") or [b""]
    return (sid[:-4], str(int.from_bytes(sid[-4:], "little"))) if len(sid) >= 12 else (b"", "")


def _range_of(entry: _Entry, name: str) -> tuple[list[bytes], int | None] | None:
    """The values of `name;range=0-1499` and the number of the last one, None where it is the last of all."""
    for key, values in entry.values.items():
        found = _RANGE.fullmatch(key)
        if found is not None and found["name"].lower() == name.lower():
            return values, None if found["last"] == "*" else int(found["last"])
    return None


def _refuse_one_name_twice(names: Mapping[str, str]) -> None:
    """Two groups of one name would be one group to every rule: whoever may make a group anywhere would be in any."""
    seen = set[str]()
    for name in names.values():
        if name in seen:
            raise LdapError(
                "group_name_twice", detail=name[:200],
                sentence=f"Two groups of the directory are called {name[:200]!r}, and rules could not tell them apart. "
                "Narrow group_filter, or name an attribute of which no two groups have the same: sAMAccountName, or dn.",
            )  # fmt: skip
        seen.add(name)


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
