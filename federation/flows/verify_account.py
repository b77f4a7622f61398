"""Verify an account end to end, after its owner has applied the onboarding template: each step, and what to do where it fails.

Nothing is changed in the account. The last step assumes roles for real, in nobody's name and under a session policy that
denies everything; the credentials are thrown away unseen. What is minted for it is in the audit log as every mint is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.aws import arns, catalogue, registration, sts
from federation.aws.partitions import Partition, partition
from federation.aws.policy import SessionPolicy
from federation.aws.trust import Severity
from federation.errors import NotFound, RolegateError
from federation.flows import background, check_trust, refresh_catalogue, runs
from federation.flows.minting import TOKEN_AUDIENCE, mint_probe_assertion, mint_probe_token
from federation.flows.rotate_keys import saml_metadata
from federation.mapping.rolearn import parse_role_arn
from federation.mapping.rules import Account
from federation.models import current
from federation.said import packed, say

TASK: Final = "verify_account"
PROBE_SESSION: Final = "rolegate-verify"
PROBE_SECONDS: Final = 900
# Whatever the role may do: these credentials may do nothing.
DENY_ALL: Final = SessionPolicy('{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}')
MOST_PROBES: Final = 3
_ORIGIN = Origin(request_id="verify_account", address="", user_agent="verify_account")


class State(StrEnum):
    """ok; warning: it works, but; problem: it does not; skipped: something before it failed, or there is nothing to try."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One step and its result. `code` is stable; `says` what is, `do` what to do, "" where there is nothing."""

    name: str
    state: State
    code: str
    says: str
    do: str = ""

    def as_dict(self) -> dict[str, str]:
        """For a program."""
        return {key: str(value) for key, value in asdict(self).items()}

    def kept(self) -> dict[str, Any]:
        """For a run's detail: with `said`, both sentences once more, so that a page can say them in its reader's language."""
        return {**self.as_dict(), "said": {"says": packed(self.says), "do": packed(self.do)}}


STEPS: Final = ("mapping", "reader", "roles", "oidc_provider", "saml_provider", "trust", "assume")


@dataclass
class _Visit:
    """What the steps hand on to each other."""

    account: Account
    where: Partition
    now: datetime
    origin: Origin
    alive: Callable[[], None]
    credentials: sts.Credentials | None = field(default=None, repr=False)
    roles: Mapping[str, catalogue.RoleRecord] = field(default_factory=dict)
    candidates: Sequence[str] = ()


def task_of(account_id: str) -> str:
    """The name under which the runs for one account are kept."""
    return f"{TASK}:{account_id}"


def ask(account_id: str, *, actor: str, origin: Origin, now: datetime) -> None:
    """Have a worker verify the account. The event is committed first. Raises NotFound, BrokerAway."""
    find(account_id)
    with transaction.atomic():
        record(Kind.ACCOUNT_VERIFICATION_ASKED, actor=actor, outcome="ok", origin=origin, now=now, account=account_id)
    background.send(TASK, account_id)


def find(account_id: str) -> Account:
    """The account of the mapping in force (or of the organization). Raises NotFound."""
    account = current.mapping().compiled.accounts.get(account_id)
    if account is None:
        raise NotFound(
            "account_unknown",
            sentence="The mapping document does not name this account: add it under accounts and apply that first.",
        )
    return account


def run(account_id: str, *, now: datetime) -> list[Step] | None:
    """Verify it as a run of background work that shows how far it is. None where another worker is at it. Raises NotFound."""
    account = find(account_id)
    with runs.run(task_of(account_id)) as current_run:
        if current_run is None:
            return None
        current_run.total(len(STEPS))
        steps: list[Step] = []
        for step in verify(account, origin=_ORIGIN, now=now, alive=current_run.alive):
            steps.append(step)
            current_run.tell(len(steps), steps=[one.kept() for one in steps])
        return steps


def verify(
    account: Account,
    *,
    origin: Origin,
    now: datetime,
    alive: Callable[[], None] = lambda: None,
    actor: str = "gateway:verify",
) -> Iterator[Step]:
    """Each step as it ends, always all of STEPS; then the event. Never raises for what AWS or the account did."""
    visit = _Visit(account, partition(account.partition), now, origin, alive)
    states: dict[str, State] = {}
    for name in STEPS:
        needs = _NEEDS.get(name, ())
        if any(states.get(one) in {State.PROBLEM, State.SKIPPED} for one in needs):
            step = Step(name, State.SKIPPED, "not_tried", say("Not tried: a step before it has to succeed first."))
        else:
            step = _tried(name, visit)
        states[name] = step.state
        yield step
    failed = sorted(name for name, state in states.items() if state is State.PROBLEM)
    with transaction.atomic():
        record(
            Kind.ACCOUNT_VERIFIED, actor=actor, outcome="failed" if failed else "ok", origin=origin, now=timezone.now(),
            reason=failed[0] if failed else "", account=account.id, failed=failed,
        )  # fmt: skip


def _tried(name: str, visit: _Visit) -> Step:
    try:
        return _DO[name](visit)
    except RolegateError as error:
        aws_code = getattr(error, "aws_code", "")
        says = _FAILED[name]
        if aws_code:
            says = say("{sentence} AWS said {code}.", sentence=says, code=aws_code)
        do = _NOT_APPLIED if name == "reader" and aws_code in _NO_READER else error.public_sentence
        return Step(name, State.PROBLEM, error.reason[:64], says, do)


# --- The steps ---------------------------------------------------------------------------------------


def _mapping(visit: _Visit) -> Step:
    account = visit.account
    name, where = account.name, account.partition
    says = (
        say(
            "The mapping has it as {name}, in {partition}, by SAML, provider {provider}.",
            name=name,
            partition=where,
            provider=account.provider,
        )
        if account.federation == "saml"
        else say("The mapping has it as {name}, in {partition}, by OpenID Connect.", name=name, partition=where)
    )
    return Step("mapping", State.OK, "ok", says)


def _reader(visit: _Visit) -> Step:
    visit.credentials = refresh_catalogue.reader_credentials(visit.account, now=visit.now)
    return Step(
        "reader",
        State.OK,
        "ok",
        say("The reader role {role} was assumed with the gateway's own token.", role=refresh_catalogue.READER_ROLE),
    )


def _roles(visit: _Visit) -> Step:
    listing = catalogue.list_roles(
        _credentials(visit), account_id=visit.account.id, partition=visit.where, alive=visit.alive
    )
    visit.roles = {record.arn: record for record in listing.roles}
    return Step("roles", State.OK, "ok", say("{number} roles were listed whole.", number=len(visit.roles)))


def _oidc_provider(visit: _Visit) -> Step:
    arn = arns.oidc_provider_arn(visit.where.name, visit.account.id, settings.ROLEGATE_ISSUER_URL)
    try:
        found = registration.oidc_provider(_credentials(visit), arn, partition=visit.where, alive=visit.alive)
    except registration.RegistrationHidden as hidden:
        return _cannot_look("oidc_provider", hidden)
    if found.url != arns.oidc_provider_path(settings.ROLEGATE_ISSUER_URL):
        says = say("The provider stands for {url}.", url=found.url)
        return Step("oidc_provider", State.PROBLEM, "issuer_wrong", says, _APPLY)
    if TOKEN_AUDIENCE not in found.audiences:
        return Step(
            "oidc_provider", State.PROBLEM, "audience_missing",
            say("The provider does not list the audience {audience}.", audience=TOKEN_AUDIENCE),
            say("Add it: aws iam add-client-id-to-open-id-connect-provider."),
        )  # fmt: skip
    known = {"url": found.url, "audience": TOKEN_AUDIENCE}
    says = (
        say(
            "Registered for {url}, audience {audience}, {number} thumbprint(s).", **known, number=len(found.thumbprints)
        )
        if found.thumbprints
        else say("Registered for {url}, audience {audience}.", **known)
    )
    return Step("oidc_provider", State.OK, "ok", says)


def _saml_provider(visit: _Visit) -> Step:
    if visit.account.federation != "saml":
        return Step(
            "saml_provider",
            State.SKIPPED,
            "not_wanted",
            say("People come by OpenID Connect here: no SAML provider is needed."),
        )
    arn = arns.saml_provider_arn(visit.where.name, visit.account.id, visit.account.provider)
    try:
        registered = registration.saml_metadata(_credentials(visit), arn, partition=visit.where, alive=visit.alive)
    except registration.RegistrationHidden as hidden:
        return _cannot_look("saml_provider", hidden)
    issuer, ours = registration.read_metadata(saml_metadata(now=visit.now).decode())
    issuer_there, theirs = registration.read_metadata(registered)
    if issuer_there != issuer:
        return Step(
            "saml_provider",
            State.PROBLEM,
            "issuer_wrong",
            say("The account has the metadata of another issuer under this name."),
            _UPLOAD,
        )
    if not ours & theirs:
        return Step(
            "saml_provider",
            State.PROBLEM,
            "keys_old",
            say("The account has none of the keys that the gateway signs with now."),
            _UPLOAD,
        )
    if missing := len(ours - theirs):
        return Step(
            "saml_provider", State.WARNING, "keys_missing",
            say("The account lacks {missing} of the gateway's {number} keys: a rotation would lock people out.", missing=missing, number=len(ours)),
            _UPLOAD,
        )  # fmt: skip
    says = say("Registered as {provider}, with the gateway's current keys.", provider=visit.account.provider)
    return Step("saml_provider", State.OK, "ok", says)


def _trust(visit: _Visit) -> Step:
    """Of the roles that rules of the mapping name: which the trust policy lets the gateway use."""
    gateway = check_trust.gateway_in(visit.account)
    pointed = list(_pointed(visit.account, visit.roles))
    if not pointed:
        return Step(
            "trust",
            State.WARNING,
            "nothing_mapped",
            say("No rule of the mapping gives a role that this account has."),
            say("Map a group to one of its roles."),
        )
    reports = [check_trust.examine_record(visit.roles[arn], gateway) for arn in pointed]
    good = [report.role_arn for report in reports if all(f.severity is not Severity.ERROR for f in report.findings)]
    visit.candidates = good
    if not good:
        return Step(
            "trust", State.PROBLEM, "no_role_trusts",
            say("None of the {number} mapped roles trusts the gateway.", number=len(pointed)),
            say("The pages of these roles have the corrected trust policy to copy."),
        )  # fmt: skip
    if len(good) < len(pointed):
        return Step(
            "trust", State.WARNING, "some_do_not_trust",
            say("{number} of {all} mapped roles trust the gateway.", number=len(good), all=len(pointed)),
            say("The pages of the others have the corrected trust policy to copy."),
        )  # fmt: skip
    return Step("trust", State.OK, "ok", say("All {number} mapped roles trust the gateway.", number=len(good)))


def _assume(visit: _Visit) -> Step:
    """One mapped role, assumed for real; of those that trust the gateway, up to three are tried."""
    if not visit.candidates:
        return Step("assume", State.SKIPPED, "nothing_mapped", say("No mapped role to assume."))
    last: RolegateError | None = None
    for arn in visit.candidates[:MOST_PROBES]:
        try:
            _probe(visit, arn)
        except RolegateError as error:
            last = error
            continue
        return Step(
            "assume",
            State.OK,
            "ok",
            say(
                "{role} was assumed, in nobody's name and allowed nothing; the credentials were thrown away.", role=arn
            ),
        )
    assert last is not None  # noqa: S101  the loop ran
    raise last


def _probe(visit: _Visit, role_arn: str) -> None:
    account = visit.account

    def prepare(region: str) -> sts.SamlCall | sts.WebIdentityCall:
        if account.federation == "saml":
            minted = mint_probe_assertion(
                account, role_arn, region=region, session_name=PROBE_SESSION, origin=visit.origin, now=timezone.now()
            )
            provider = arns.saml_provider_arn(account.partition, account.id, account.provider)
            return sts.SamlCall(role_arn, provider, minted.saml_response, duration=PROBE_SECONDS, policy=DENY_ALL)
        token = mint_probe_token(account, role_arn, session_name=PROBE_SESSION, origin=visit.origin, now=timezone.now())
        return sts.WebIdentityCall(role_arn, token.token, PROBE_SESSION, duration=PROBE_SECONDS, policy=DENY_ALL)

    sts.assume_role(prepare, regions=visit.where.regions_fail_over(account.region), partition=visit.where)


def _pointed(account: Account, roles: Mapping[str, Any]) -> Iterator[str]:
    """The account's roles that an allow rule's target has, by name."""
    rules = [rule for rule in current.mapping().compiled.rules if not rule.denies and rule.target.chooses(account)]
    for arn in sorted(roles):
        parsed = parse_role_arn(arn)
        if parsed is not None and any(rule.target.might_cover(parsed) for rule in rules):
            yield arn


def _credentials(visit: _Visit) -> sts.Credentials:
    assert visit.credentials is not None  # noqa: S101  the step before has succeeded
    return visit.credentials


def _cannot_look(name: str, hidden: RolegateError) -> Step:
    return Step(
        name, State.WARNING, "cannot_look",
        say("The reader role may not look at identity providers: it was made by an older template."), hidden.public_sentence,
    )  # fmt: skip


# What AWS says where the template was never applied, or not to its end: no provider for the gateway, no reader role that trusts it.
_NO_READER: Final = frozenset({"InvalidIdentityToken", "AccessDenied"})
_NOT_APPLIED: Final = say(
    "Apply the onboarding template in this account, to its end: it registers the gateway as an OIDC provider and makes the reader role. Where that is done, look whether the provider stands for this gateway's issuer URL, and whether a policy of the organization denies sts:AssumeRoleWithWebIdentity."
)
_APPLY: Final = say("Apply the onboarding template again.")
_UPLOAD: Final = say(
    "Apply the onboarding template again, or upload the current metadata: aws iam update-saml-provider."
)
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "roles": ("reader",), "oidc_provider": ("reader",), "saml_provider": ("reader",), "trust": ("roles",), "assume": ("trust",),
}  # fmt: skip
_DO: Final[Mapping[str, Callable[[_Visit], Step]]] = {
    "mapping": _mapping, "reader": _reader, "roles": _roles, "oidc_provider": _oidc_provider,
    "saml_provider": _saml_provider, "trust": _trust, "assume": _assume,
}  # fmt: skip
_FAILED: Final[Mapping[str, str]] = {
    "mapping": say("The account is not described rightly in the mapping."),
    "reader": say("The reader role {role} could not be assumed.", role=refresh_catalogue.READER_ROLE),
    "roles": say("The roles could not be listed."),
    "oidc_provider": say("The gateway is not registered as an OIDC provider."),
    "saml_provider": say("The gateway is not registered as a SAML provider."),
    "trust": say("The trust policies could not be read."),
    "assume": say("No mapped role could be assumed, although its trust policy looks right."),
}
