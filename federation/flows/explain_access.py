"""Why somebody has a role, or has it not: now, or at a past moment; and who could use a role.

The helpdesk's story: claims → rule → role → its trust policy → what AWS last answered. It asks the one engine; past moments are put together
from what is kept: the revision that was in force, the claims that the last sign-in before it proved, the roles that the
account had. What is not kept is said in `notes`, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import F, Q, Window
from django.db.models.functions import RowNumber

from federation.aws.arns import parse_role_arn
from federation.aws.trust import Answer, Severity
from federation.errors import NotFound, NotSignedIn, PersonDisabled, RolegateError
from federation.flows import check_trust, latest_word
from federation.flows.access import fresh_identities, fresh_identity
from federation.flows.company import must_sign_in
from federation.flows.newcomers import newcomers
from federation.flows.past_state import PastState
from federation.identity import Identity
from federation.mapping.document import parse
from federation.mapping.engine import CompiledMapping, compile_mapping
from federation.mapping.explain import Explanation, explain
from federation.mapping.rules import Catalogue, CatalogueRole, Directory
from federation.models import current
from federation.models.accounts import PastRole, Role
from federation.models.audit import AuditEvent
from federation.models.mapping import MappingRevision
from federation.models.people import PastClaims, Person
from federation.said import say

_AT_ONCE = 500  # people
_TODAYS = say("The accounts' units, tags and the roles' own tags are those of today: their past is not kept.")


@dataclass(frozen=True, slots=True)
class LastUse:
    """The last time that the person asked AWS for this role. `aws_code`: AWS's own error, "" on success."""

    at: datetime
    kind: str
    outcome: str
    reason: str
    aws_code: str
    request_id: str

    def sentence(self) -> str:
        """For people."""
        at, number = f"{self.at:%Y-%m-%d %H:%M} UTC", self.request_id
        if self.outcome == "ok":
            if self.kind == "console":
                return say("Last opened the console on {moment}. Request id {number}.", moment=at, number=number)
            return say(
                "Last asked for credentials on {moment} and got them. Request id {number}.", moment=at, number=number
            )
        why = f"{self.reason} ({self.aws_code})" if self.aws_code else self.reason
        if self.kind == "console":
            return say("Last wanted the console on {moment} and was refused: {why}. Request id {number}.", moment=at, why=why, number=number)  # fmt: skip
        return say("Last asked for credentials on {moment} and was refused: {why}. Request id {number}.", moment=at, why=why, number=number)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Story:
    """The explanation, the moment and revision that it speaks of, what else matters (`notes`), and the last answer of AWS.

    `would_mint`: whether a mint would happen, "" or the code that stops it although the mapping says yes (a sign-in that is
    too old, a disabled person). `trust`: what in the role's trust policy keeps people out today. `trusted`: whether it lets
    them in; None where that is not known: a past moment, a role that the catalogue does not have, a condition that AWS decides.
    """

    explanation: Explanation
    at: datetime
    revision: int
    claims_at: datetime | None
    stopped_by: str
    notes: tuple[str, ...]
    trust: tuple[str, ...]
    trusted: bool | None
    last_use: LastUse | None

    def as_text(self) -> str:
        """For a terminal and for a ticket."""
        since = f", on claims of {self.claims_at:%Y-%m-%d %H:%M} UTC" if self.claims_at else ""
        lines = [self.explanation.as_text(), "", f"By revision {self.revision} at {self.at:%Y-%m-%d %H:%M} UTC{since}."]
        lines += self.notes
        lines += [f"Trust: {sentence}" for sentence in self.trust]
        if self.trusted:
            lines.append("Trust: the role's trust policy lets people in through the gateway.")
        if self.last_use is not None:
            lines.append(self.last_use.sentence())
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """For the API: plain data only."""
        used = self.last_use
        return {
            **self.explanation.as_dict(),
            "at": self.at.isoformat(),
            "revision": self.revision,
            "claims_at": self.claims_at.isoformat() if self.claims_at else None,
            "stopped_by": self.stopped_by or None,
            "notes": list(self.notes),
            "trust": list(self.trust),
            "trusted": self.trusted,
            "last_use": None
            if used is None
            else {
                "at": used.at.isoformat(), "kind": used.kind, "outcome": used.outcome, "reason": used.reason,
                "aws_code": used.aws_code, "request_id": used.request_id,
            },
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Moment:
    """What was in force at a moment. `state`: the mapping in force now, or what is kept of a past moment."""

    at: datetime
    revision: int
    compiled: CompiledMapping
    state: current.CurrentMapping | PastState


def tell(person_id: UUID | str, role_arn: str, *, now: datetime, at: datetime | None = None) -> Story:
    """The story of one person and one role. Raises NotSignedIn, ArnInvalid, NotFound (no revision at that moment)."""
    person = Person.objects.filter(pk=person_id).first()
    if person is None:
        raise NotSignedIn("person_unknown")
    arn = parse_role_arn(role_arn)
    moment = _moment(at, now)
    identity, notes = _identity_at(person, moment)
    stopped_by = "" if isinstance(moment.state, PastState) else _stopped_by(person, moment.state, now)
    explained = explain(moment.compiled, identity, role_arn, moment.at, _catalogue_at(arn.account_id, moment))
    said = list(notes)
    if stopped_by:
        said.insert(0, _STOPPED.get(stopped_by) or say("A mint would be refused now: {reason}.", reason=stopped_by))
    trust: tuple[str, ...] = ()
    trusted: bool | None = None  # of a past moment it is not known: the past of trust policies is not kept
    if isinstance(moment.state, PastState):
        (shut,) = moment.state.shut([person], [_directory_then(person, moment)])
        if shut:
            said.insert(0, _SHUT_THEN[shut])
        said.append(_TODAYS)
    else:
        trust, trusted = _trust(role_arn)
    return Story(
        explanation=explained,
        at=moment.at,
        revision=moment.revision,
        claims_at=identity.verified_at if identity.verified_at.timestamp() else None,
        stopped_by=stopped_by,
        notes=tuple(said),
        trust=trust,
        trusted=trusted,
        last_use=_last_use(person, role_arn, moment.at),
    )


_STOPPED: Mapping[str, str] = MappingProxyType(
    {
        "person_disabled": say("But this person is disabled: nothing is minted for them."),
        "claims_too_old": say("But the sign-in is too old to decide on: they must sign in again first."),
        "not_in_directory": say(
            "But the directory does not list this person, or not clearly: their groups are not known."
        ),
        "groups_incomplete": say(
            "But the identity provider left groups out: nothing is decided until they are all known."
        ),
        "unknown_provider": say("But their identity provider is no longer enabled in the mapping."),
    }
)


_SHUT_THEN: Mapping[str, str] = MappingProxyType(
    {
        "person_disabled": say("But this person was disabled then: nothing was minted for them."),
        "directory_inactive": say("But the directory had disabled this person then: nothing was minted for them."),
        "directory_deleted": say("But this person was no longer in the directory then: nothing was minted for them."),
        "not_in_directory": say(
            "But the directory did not list this person then, or not clearly: nothing was minted for them."
        ),
    }
)


class Could(NamedTuple):
    """Somebody whom the mapping gives the role. `rule`: the deciding one, and behind it what they need besides (an approval).

    `must_sign_in`: their last sign-in is too old to mint on, or there was none; they can, once they have signed in again.
    """

    person: Person
    rule: str
    must_sign_in: bool = False


def who_could(role_arn: str, *, now: datetime, at: datetime | None = None) -> Iterator[Could]:
    """Everybody whom the mapping gives the role at that moment.

    Whoever was disabled then could not. Now, whom a directory lists and who has never signed in comes last. A few statements for
    500 people. Raises ArnInvalid, NotFound.
    """
    arn = parse_role_arn(role_arn)
    moment = _moment(at, now)
    catalogue = _catalogue_at(arn.account_id, moment)
    everybody = Person.objects.order_by("provider", "subject").iterator(chunk_size=_AT_ONCE)
    while people := list(islice(everybody, _AT_ONCE)):
        for person, identity in zip(people, _identities_at(people, moment), strict=True):
            if isinstance(identity, RolegateError):
                continue
            verdict = moment.compiled.verdict(identity, role_arn, moment.at, catalogue)
            if verdict.grant is not None:
                old = not isinstance(moment.state, PastState) and must_sign_in(person, now)
                needs = (verdict.allowed or "with an approval", not old or "must sign in again first")
                yield Could(person, _with(verdict.grant.rule, needs), old)
    if not isinstance(moment.state, PastState):
        yield from _who_will(role_arn, moment.state, moment.at, catalogue)


def why_unknown(role_arn: str, *, now: datetime, at: datetime | None = None) -> str:
    """Why nobody can be told of at that moment because the role is not known, in a sentence; "" where it is, or may be.

    A slip of the pen must not read as "nobody could". Raises as `who_could`.
    """
    arn = parse_role_arn(role_arn)
    moment = _moment(at, now)
    if arn.account_id not in moment.compiled.accounts:
        return f"The mapping of that moment does not name the account {arn.account_id}."
    known = _catalogue_at(arn.account_id, moment).get(arn.account_id)
    if known and role_arn not in known:
        return f"The account {arn.account_id} had no such role at that moment."
    return ""


def _with(rule: str, needs: Iterable[str | bool]) -> str:
    said = ", ".join(need for need in needs if isinstance(need, str))
    return f"{rule} ({said})" if said else rule


def _who_will(role_arn: str, mapping: current.CurrentMapping, now: datetime, catalogue: Catalogue) -> Iterator[Could]:
    for directory in mapping.document.directories:
        for people in newcomers(directory, now=now):
            for person, identity in zip(people, fresh_identities(people, mapping, now=now), strict=True):
                if isinstance(identity, RolegateError):
                    continue
                verdict = mapping.compiled.verdict(identity, role_arn, now, catalogue)
                if verdict.grant is not None:
                    needs = (verdict.allowed or "with an approval", "has never signed in")
                    yield Could(person, _with(verdict.grant.rule, needs), must_sign_in=True)


def _identities_at(people: Sequence[Person], moment: _Moment) -> Sequence[Identity | RolegateError]:
    """Those whom a mint would look at, once they have signed in; at a past moment, everybody as they were who was let in."""
    if not isinstance(moment.state, PastState):
        return fresh_identities(people, moment.state, now=moment.at, any_age=True)
    shut = moment.state.shut(people, [_directory_then(person, moment) for person in people])
    return [
        PersonDisabled(why) if why else identity
        for why, (identity, _) in zip(shut, _identities_then(people, moment, moment.state), strict=True)
    ]


def _directory_then(person: Person, moment: _Moment) -> Directory | None:
    return next((d for d in moment.compiled.document.directories if d.provider == person.provider), None)


def _moment(at: datetime | None, now: datetime) -> _Moment:
    if at is None or at >= now:
        mapping = current.mapping()
        return _Moment(now, mapping.number, mapping.compiled, mapping)
    row = MappingRevision.objects.filter(published_at__lte=at).order_by("-number").first()
    if row is None:
        raise NotFound("no_revision_then", sentence="No mapping was in force at that moment.")
    held = current.mapping()
    document = current.completed(parse(row.text, published=True))
    compiled = held.compiled if held.number == row.number else compile_mapping(document)
    return _Moment(at, row.number, compiled, PastState(at))


def _identity_at(person: Person, moment: _Moment) -> tuple[Identity, tuple[str, ...]]:
    if isinstance(moment.state, PastState):
        (found,) = _identities_then([person], moment, moment.state)
        return found
    try:
        return latest_word.identity_of(person, moment.state, now=moment.at), ()
    except RolegateError:
        return latest_word.unknown_groups(person), ()  # `stopped_by` tells why


def _identities_then(
    people: Sequence[Person], moment: _Moment, past: PastState
) -> Iterator[tuple[Identity, tuple[str, ...]]]:
    """Each as they were at a past moment, and what is to be said of that. One statement, and two for each directory."""
    newest = Window(RowNumber(), partition_by=F("person_id"), order_by=[F("since").desc(), F("id").desc()])
    rows = PastClaims.objects.filter(person__in=people, since__lte=moment.at).annotate(rank=newest).filter(rank=1)
    claims = {row.person_id: row for row in rows}
    groups: dict[str, dict[str, frozenset[str]]] = {}
    for directory in moment.compiled.document.directories:
        theirs = [person.subject for person in people if person.provider == directory.provider and person.pk in claims]
        if theirs:
            groups[directory.provider] = latest_word.groups_then(
                directory, past.users(directory, theirs), moment.at, past.nestings(directory)
            )
    for person in people:
        told = groups.get(person.provider, {}).get(person.subject, frozenset[str]())
        yield _identity_then(person, claims.get(person.pk), _directory_then(person, moment), told)


def _identity_then(
    person: Person, then: PastClaims | None, directory: Directory | None, groups: frozenset[str]
) -> tuple[Identity, tuple[str, ...]]:
    identity = current.identity_of(person)
    if then is None:
        return replace(identity, groups=frozenset(), attributes=MappingProxyType({}), mfa=False), (
            say("No sign-in of this person is known from before that moment: they had no claims."),
        )
    attributes = MappingProxyType({key: tuple(values) for key, values in then.attributes.items()})
    identity = replace(
        identity, groups=frozenset(then.groups), groups_complete=then.groups_complete, attributes=attributes, mfa=then.mfa, verified_at=then.since
    )  # fmt: skip
    if directory is None:
        return identity, ()
    return latest_word.told_then(identity, directory, groups), (
        say("The groups are those that the directory had then."),
    )


def _catalogue_at(account_id: str, moment: _Moment) -> Catalogue:
    if not isinstance(moment.state, PastState):
        return current.catalogue(account_id)
    rows = Role.objects.filter(account_id=account_id).filter(Q(removed_at=None) | Q(removed_at__gt=moment.at))
    found = {row.arn: _known(row) for row in rows if row.created_at is None or row.created_at <= moment.at}
    # Deleted and made again, or not listed for a time: of each ARN the spell that ended first after the moment.
    later = PastRole.objects.filter(account_id=account_id, back_at__gt=moment.at).order_by("-until", "-pk")
    for arn, spell in {spell.arn: spell for spell in later}.items():
        found.pop(arn, None)
        if (spell.since is None or spell.since <= moment.at) and moment.at < spell.until:
            found[arn] = _known(spell)
    return MappingProxyType({account_id: found} if found else {})


def _known(row: Role | PastRole) -> CatalogueRole:
    return CatalogueRole(row.arn, row.name, row.path, row.max_session_duration)


def _stopped_by(person: Person, mapping: current.CurrentMapping, now: datetime) -> str:
    try:
        fresh_identity(person, mapping, now=now)
    except RolegateError as error:
        return error.code
    return ""


def _trust(role_arn: str) -> tuple[tuple[str, ...], bool | None]:
    """What in the role's trust policy keeps people out, in sentences, and whether it lets them in (None: not known)."""
    report = check_trust.trust_of(role_arn)
    if report is None:
        return (), None
    errors = tuple(f.sentence for f in report.findings if f.severity is Severity.ERROR)
    if errors:
        return errors, False
    return (), {Answer.YES: True, Answer.NO: False}.get(report.way.usable)


def _last_use(person: Person, role_arn: str, at: datetime) -> LastUse | None:
    actors = [person.actor, str(person.pk)]  # a refusal knows the person by id alone
    event = (
        AuditEvent.objects.filter(
            actor__in=actors, kind__in=["credentials", "console"], data__role_arn=role_arn, at__lte=at
        )
        .order_by("-seq")
        .first()
    )
    if event is None:
        return None
    aws_code = str(event.data.get("aws_code", ""))
    return LastUse(event.at, event.kind, event.outcome, event.reason, aws_code, event.request_id)
