"""Can this gateway use this role, and can anyone else? Answered from the role's trust policy alone. Pure.

Owns the findings: what is wrong or too open, how bad it is, what to do, and the corrected policy. What is a fact about IAM's
grammar and evaluation is in `trust_policy`, what the gateway's calls look like in `gateway_trust`. The document is somebody else's: it
is only read and compared, never run as an expression, and no text of it reaches a sentence unquoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol

from federation.aws.arns import ArnInvalid, parse_role_arn
from federation.aws.gateway_trust import CALLS, SET_SOURCE_IDENTITY, TAG_SESSION, GatewayTrust, Way, gateway_trust
from federation.aws.trust_correction import ANY_AUDIENCE, corrections, is_open
from federation.aws.trust_policy import (
    NO,
    UNKNOWN,
    YES,
    Answer,
    CallContext,
    Condition,
    Fact,
    PolicyUnreadable,
    Statement,
    TrustPolicy,
    all_of,
    read,
)
from federation.mapping.rules import Federation
from federation.said import say

__all__ = [
    "CODES",
    "Answer",
    "Examination",
    "Finding",
    "GatewayTrust",
    "PointedFinding",
    "Pointing",
    "Severity",
    "TrustReport",
    "WayReport",
    "examine",
    "examine_all",
    "gateway_trust",
]

MIN_MAX_SESSION, MAX_MAX_SESSION = 3_600, 43_200


class Severity(StrEnum):
    """error: people cannot use the role. danger: it is open to more than it should be. warning: it may be. info: to know."""

    ERROR = "error"
    DANGER = "danger"
    WARNING = "warning"
    INFO = "info"


ERROR, DANGER, WARNING, INFO = Severity.ERROR, Severity.DANGER, Severity.WARNING, Severity.INFO

CODES: Mapping[str, str] = MappingProxyType(
    {
        "not_json": say("the trust policy is not JSON"),
        "not_a_policy": say("the trust policy is JSON, but no policy"),
        "statement_malformed": say("a statement that IAM would not take"),
        "role_arn_unusable": say("a role whose ARN the gateway never uses"),
        "reserved_role": say("a role that AWS keeps for itself or for IAM Identity Center"),
        "reader_role": say("the gateway's own reader: not for people"),
        "saml_unavailable": say("SAML cannot work in the account's partition"),
        "gateway_not_trusted": say("no statement names the gateway's provider"),
        "wrong_provider": say("it trusts a provider that looks like the gateway's and is not"),
        "wrong_federation": say("it trusts the gateway by the way that the account does not use"),
        "wrong_action": say("it names the gateway's provider, but not the call"),
        "denied": say("a Deny statement hits the gateway"),
        "tag_session_missing": say("sts:TagSession is not allowed"),
        "set_source_identity_missing": say("sts:SetSourceIdentity is not allowed"),
        "audience_wrong": say("the condition on the audience names another one"),
        "audience_one_region": say("the condition on the audience knows some regions' sign-in address only"),
        "audience_missing": say("no condition on the audience"),
        "whole_provider": say("no condition at all"),
        "subject_wrong": say("the condition on the subject never holds for people"),
        "subject_wildcard": say("another OIDC provider: any of its tenants' workloads can use the role"),
        "external_id_wanted": say("a condition on sts:ExternalId, which no federated call has"),
        "mfa_wanted": say("a condition on IAM's MFA, which no federated call has"),
        "session_name_wanted": say("a condition on the session name or source identity that never holds"),
        "condition_never_met": say("another condition that never holds"),
        "condition_unknown": say("a condition that only the call itself decides"),
        "limited_to_some": say("a condition on who asks, or on tags"),
        "principal_star": say("Principal * in an Allow statement"),
        "anyone_in_other_account": say("trust in a whole other account"),
        "federated_saml_other": say("another SAML provider is trusted too"),
        "not_action": say("Allow with NotAction"),
        "duration_impossible": say("a maximum session duration that IAM does not have"),
        "duration_shortened": say("a mapping asks for longer sessions than the role allows"),
        "role_missing": say("a mapping points at a role that is not there"),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about a role's trust.

    `code`: a key of CODES. `sentence`: what is wrong and what to do. `statement`: its number from 1, 0 for the whole policy. `corrected`:
    the whole trust policy as JSON with this put right, "" where only a person can know what is meant.
    """

    code: str
    severity: Severity
    sentence: str
    statement: int = 0
    corrected: str = ""


@dataclass(frozen=True, slots=True)
class WayReport:
    """What the policy lets the gateway do by one way: the call itself, tags, source identity.

    `audience`: whether everything that trusts this provider has a condition on the audience (no where it is not trusted at all).
    """

    call: Answer
    tag_session: Answer
    set_source_identity: Answer
    audience: Answer

    @property
    def usable(self) -> Answer:
        """Whether a person can assume the role so: the gateway always sets a source identity."""
        return all_of([self.call, self.set_source_identity])

    @property
    def usable_with_tags(self) -> Answer:
        """The same where the mapping sets session tags."""
        return all_of([self.usable, self.tag_session])


_CLOSED = WayReport(NO, NO, NO, NO)
_OPEN_QUESTION = WayReport(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)


@dataclass(frozen=True, slots=True)
class TrustReport:
    """What `examine` says of one role. `federation`: the way that the gateway uses in its account. Findings: the worst first."""

    role_arn: str
    federation: Federation
    saml: WayReport
    oidc: WayReport
    findings: tuple[Finding, ...]

    @property
    def way(self) -> WayReport:
        """The report on the way that the gateway uses there."""
        return self.saml if self.federation == "saml" else self.oidc

    @property
    def codes(self) -> frozenset[str]:
        return frozenset(finding.code for finding in self.findings)

    @property
    def corrected(self) -> str:
        """The policy with everything put right that can be, or ""."""
        return next((f.corrected for f in self.findings if f.corrected), "")


# --- One role ------------------------------------------------------------------------------------------


def examine(
    policy: str | Mapping[str, Any],
    *,
    role_arn: str,
    gateway: GatewayTrust,
    max_session_duration: int | None = None,
    pointed: bool = True,
    sends_tags: bool = True,
) -> TrustReport:
    """Examine a role's trust policy (JSON text, or parsed). Raises nothing for what the document holds.

    `max_session_duration` in seconds, None if not known. `pointed`: a mapping points at the role; where none does, that it does not trust
    the gateway is no finding. `sends_tags`: some of those mappings set session tags.
    """
    findings: list[Finding] = []
    if max_session_duration is not None and not MIN_MAX_SESSION <= max_session_duration <= MAX_MAX_SESSION:
        findings.append(
            Finding(
                "duration_impossible",
                WARNING,
                say(
                    "The role's maximum session duration is read as {seconds} seconds, and IAM knows {least} to {most}. Refresh the account; if it stays, set the duration anew in IAM.",
                    seconds=max_session_duration,
                    least=f"{MIN_MAX_SESSION:,}",
                    most=f"{MAX_MAX_SESSION:,}",
                ),
            )
        )
    closed = _never_usable(role_arn, pointed=pointed)
    if closed is not None:
        return _report(role_arn, gateway, (_CLOSED, _CLOSED), [*findings, closed])
    try:
        trust = read(policy)
    except PolicyUnreadable as fault:
        sentence = say(
            "The trust policy cannot be read: {fault}. Refresh the account; if it stays, write the policy anew in IAM (Roles, Trust relationships).",
            fault=fault.sentence,
        )
        findings.append(Finding(fault.code, ERROR if pointed else WARNING, sentence))
        return _report(role_arn, gateway, (_OPEN_QUESTION, _OPEN_QUESTION), findings)
    reader = _Reader(trust, gateway, pointed=pointed, sends_tags=sends_tags)
    ways, found = reader.read()
    if not reader.is_reader_role:
        found = _with_correction(reader, found)
    return _report(role_arn, gateway, ways, [*findings, *found])


def _report(
    role_arn: str, gateway: GatewayTrust, ways: tuple[WayReport, WayReport], findings: list[Finding]
) -> TrustReport:
    order = list(Severity)
    return TrustReport(
        role_arn,
        gateway.federation,
        *ways,
        tuple(sorted(findings, key=lambda f: (order.index(f.severity), f.statement))),
    )


def _never_usable(role_arn: str, *, pointed: bool) -> Finding | None:
    severity = ERROR if pointed else INFO
    try:
        role = parse_role_arn(role_arn)
    except ArnInvalid as fault:
        sentence = say(
            "The gateway does not use roles with such an ARN ({reason}). Give the role a name and a path of letters, digits and +=.@_- only.",
            reason=fault.reason,
        )
        return Finding("role_arn_unusable", severity, sentence)
    if role.name.startswith("AWSReservedSSO_") or role.path.startswith(("/aws-reserved/", "/aws-service-role/")):
        sentence = say(
            "AWS keeps this role for itself or for IAM Identity Center, and nobody can change its trust policy. Make a role of your own with the same policies, and point the mapping at that."
        )
        return Finding("reserved_role", severity, sentence)
    return None


def _with_correction(reader: _Reader, found: list[Finding]) -> list[Finding]:
    """Attach the corrected policy to each finding that it puts right, once it has been examined itself."""
    gateway = reader.gateway
    if not reader.asked or not any(f.code in _CORRECTABLE for f in found):
        return found
    bad = {f.code for f in found if f.severity in (ERROR, DANGER)}
    best: tuple[list[Finding], str] = ([], "")
    for candidate in corrections(reader.trust, gateway):
        after = _Reader(read(candidate), gateway, pointed=True, sends_tags=True)
        ways_after, found_after = after.read()
        used = ways_after[0] if gateway.federation == "saml" else ways_after[1]
        if used.usable_with_tags is NO or any(f.severity in (ERROR, DANGER) and f.code not in bad for f in found_after):
            continue
        left = {(f.code, f.statement) for f in found_after}
        put_right = [f for f in found if f.code in _CORRECTABLE and (f.code, f.statement) not in left]
        if len(put_right) > len(best[0]):
            best = (put_right, json.dumps(candidate, indent=2))
    return [replace(f, corrected=best[1]) if f in best[0] else f for f in found]


_CORRECTABLE = frozenset(
    {
        "gateway_not_trusted", "wrong_provider", "wrong_federation", "wrong_action", "tag_session_missing",
        "set_source_identity_missing", "audience_wrong", "audience_one_region", "audience_missing", "whole_provider",
        "subject_wrong", "external_id_wanted", "mfa_wanted", "session_name_wanted", "condition_never_met",
    }
)  # fmt: skip


# --- One policy ----------------------------------------------------------------------------------------

_PEOPLE_KEYS = ("sts:rolesessionname", "sts:sourceidentity", "saml:sub")
_TAG_KEYS = ("aws:requesttag/", "aws:tagkeys", "sts:transitivetagkeys")


class _Reader:
    """One examination of one policy; `read` gives (SAML, OIDC) and the findings."""

    def __init__(self, trust: TrustPolicy, gateway: GatewayTrust, *, pointed: bool, sends_tags: bool) -> None:
        self.trust, self.gateway = trust, gateway
        self.pointed, self.sends_tags = pointed, sends_tags
        self.findings: list[Finding] = []
        self.is_reader_role = self._trusts_reader_alone()
        named = any(way.provider in s.federated for s in trust.statements for way in (gateway.saml, gateway.oidc))
        # A role that nobody points at, and that does not speak of us, need not trust us.
        self.asked = pointed or named

    def read(self) -> tuple[tuple[WayReport, WayReport], list[Finding]]:
        ways = (self._way_report(self.gateway.saml), self._way_report(self.gateway.oidc))
        self._malformed()
        used = ways[0] if self.gateway.federation == "saml" else ways[1]
        if self.is_reader_role:
            self._add(
                "reader_role",
                ERROR if self.pointed else INFO,
                say(
                    "This is the role with which the gateway reads the account: it trusts the gateway's own subject and no person. Point the mapping at another role."
                ),
            )
        elif self.asked:
            self._usability(used)
        for way in (self.gateway.saml, self.gateway.oidc):
            self._openness(way)
        self._others()
        return ways, self.findings

    def _add(self, code: str, severity: Severity, sentence: str, statement: int = 0) -> None:
        self.findings.append(Finding(code, severity, sentence, statement))

    def _trusts_reader_alone(self) -> bool:
        way = self.gateway.oidc
        reader = self.trust.decide(way.call, way.provider, way.context(subject=self.gateway.reader_subject))
        people = self.trust.decide(way.call, way.provider, way.context())
        return reader is YES and people is NO

    # --- answers

    def _way_report(self, way: Way) -> WayReport:
        if not way.audiences:
            return _CLOSED
        context = way.context()
        call, tags, identity = (
            self.trust.decide(action, way.provider, context) for action in (way.call, TAG_SESSION, SET_SOURCE_IDENTITY)
        )
        allowing = [s for s in self._allowing(way) if s.covers(way.call)]
        audience = NO if not allowing or any(self._is_open(s, way) for s in allowing) else YES
        return WayReport(call, tags, identity, audience)

    def _allowing(self, way: Way) -> list[Statement]:
        """Allow statements that name the provider, or may."""
        return [s for s in self.trust.statements if s.allows and not s.fault and s.names(way.provider) is not NO]

    def _is_open(self, statement: Statement, way: Way) -> bool:
        """Whether the statement takes a document addressed to anybody, and no denial stops that one."""
        anybody = way.context(ANY_AUDIENCE)
        if not is_open(self.trust, statement, way):
            return False
        if self.trust.applies(statement, way.call, way.provider, anybody) is NO:
            return False
        return not any(
            s.effect == "Deny" and self.trust.applies(s, way.call, way.provider, anybody) is YES
            for s in self.trust.statements
        )

    # --- can people use it

    def _malformed(self) -> None:
        for statement in self.trust.statements:
            if statement.inverted:
                sentence = say(
                    "Statement {number} has NotPrincipal, which IAM takes in no trust policy. Name the principals that are meant under Principal.",
                    number=statement.number,
                )
                self._add("statement_malformed", ERROR if self.pointed else WARNING, sentence, statement.number)
            elif statement.fault:
                sentence = say(
                    "IAM would not take statement {number}: {fault}. Correct it, or take it out.",
                    number=statement.number,
                    fault=statement.fault,
                )
                self._add("statement_malformed", ERROR if self.pointed else WARNING, sentence, statement.number)

    def _usability(self, used: WayReport) -> None:
        way = self.gateway.way
        if not way.audiences:
            self._add(
                "saml_unavailable",
                ERROR,
                say(
                    "SAML cannot be used in this account's partition: which audience AWS wants there is not known. Set federation: oidc for the account in the mapping document."
                ),
            )
            return
        if used.call is NO:
            self._explain_no(way)
        elif used.call is UNKNOWN:
            self._explain_unknown(way)
        else:
            self._regions(way)
        self._second_actions(way, used)

    def _explain_no(self, way: Way) -> None:
        context = way.context()
        if self._denials(way, way.call, context):
            return
        named = self._allowing(way)
        if not named:
            self._not_trusted(way)
            return
        calling = [s for s in named if s.covers(way.call)]
        if not calling:
            sentence = say(
                "Statement {number} names the gateway's provider, but does not allow {action}, which is the call. Add the action.",
                number=named[0].number,
                action=way.call,
            )
            self._add("wrong_action", ERROR, sentence, named[0].number)
        for statement in calling:
            for condition in statement.conditions:
                if self.trust.met(condition, context) is NO:
                    self._never_met(way, statement, condition)

    def _denials(self, way: Way, action: str, context: CallContext) -> bool:
        hit = [
            s
            for s in self.trust.statements
            if s.effect == "Deny" and self.trust.applies(s, action, way.provider, context) is YES
        ]
        told = {finding.statement for finding in self.findings if finding.code == "denied"}
        for statement in hit:
            if statement.number in told:
                continue
            sentence = say(
                "Statement {number} denies the gateway {action}, and a denial wins over every permission. Except {provider} from it, or take it out.",
                number=statement.number,
                action=action,
                provider=way.provider,
            )
            self._add("denied", ERROR, sentence, statement.number)
        return bool(hit)

    def _not_trusted(self, way: Way) -> None:
        other = self.gateway.other_way
        if other.audiences and self.trust.decide(other.call, other.provider, other.context()) is not NO:
            sentence = say(
                "The role trusts the gateway by {other}, and the gateway comes to this account by {ours}. Add the statement for {provider}, or set federation: {kind} for the account in the mapping document.",
                other=_NAMES[other.kind],
                ours=_NAMES[way.kind],
                provider=way.provider,
                kind=other.kind,
            )
            self._add("wrong_federation", ERROR if self.pointed else WARNING, sentence)
            return
        for statement in self.trust.statements:
            for arn in statement.federated:
                if statement.allows and _looks_like(arn, way):
                    sentence = say(
                        "Statement {number} trusts {found}, and the gateway's provider is {provider}. Trust that one.",
                        number=statement.number,
                        found=_quoted(arn),
                        provider=way.provider,
                    )
                    self._add("wrong_provider", ERROR, sentence, statement.number)
                    return
        if self.pointed:
            sentence = say(
                "The role does not trust the gateway, so nobody can use it. Add a statement for the provider {provider} to its trust policy.",
                provider=way.provider,
            )
            self._add("gateway_not_trusted", ERROR, sentence)

    def _never_met(self, way: Way, statement: Statement, condition: Condition) -> None:
        key = condition.key.lower()
        if key == way.audience_key.lower():
            wanted = " or ".join(way.audiences)
            sentence = say(
                "Statement {number} does not take the audience that the gateway's calls have: under {key} must stand {values}.",
                number=statement.number,
                key=way.audience_key,
                values=wanted,
            )
            self._add("audience_wrong", ERROR, sentence, statement.number)
        elif key == "sts:externalid":
            sentence = say(
                "Statement {number} wants an ExternalId, which only AssumeRole can bring, never a federated call. Take the condition out of the gateway's statement.",
                number=statement.number,
            )
            self._add("external_id_wanted", ERROR, sentence, statement.number)
        elif key in ("aws:multifactorauthpresent", "aws:multifactorauthage"):
            sentence = say(
                "Statement {number} wants an MFA device of IAM, and people who sign in at the company's identity provider have none there. Take the condition out, and ask for a second factor in the mapping: when: {{mfa: true}}.",
                number=statement.number,
            )
            self._add("mfa_wanted", ERROR, sentence, statement.number)
        elif key == way.subject_key.lower() and way.kind == "oidc":
            hint = (
                say(" StringEquals knows no wildcards: that is StringLike.")
                if condition.plain.startswith("StringEquals") and any("*" in v for v in condition.values)
                else ""
            )
            sentence = say(
                "Statement {number} lets in no person: the subject of people's tokens begins with {prefix}.{hint} Correct the condition on {key}, or leave it out: the gateway decides who may use the role.",
                number=statement.number,
                prefix=self.gateway.subject_prefix,
                hint=hint,
                key=way.subject_key,
            )
            self._add("subject_wrong", ERROR, sentence, statement.number)
        elif key in _PEOPLE_KEYS:
            sentence = say(
                "Statement {number} wants a {key} that no person here has. People's session names are made of their e-mail address; aws:username exists for IAM users alone. Correct the condition or take it out.",
                number=statement.number,
                key=_quoted(condition.key),
            )
            self._add("session_name_wanted", ERROR, sentence, statement.number)
        else:
            sentence = say(
                "Statement {number} has a condition that no call of the gateway meets: {operator} on {key}. Correct it or take it out.",
                number=statement.number,
                operator=_quoted(condition.operator),
                key=_quoted(condition.key),
            )
            self._add("condition_never_met", ERROR, sentence, statement.number)

    def _explain_unknown(self, way: Way) -> None:
        context = way.context()
        for statement in self.trust.statements:
            if self.trust.applies(statement, way.call, way.provider, context) is not UNKNOWN:
                continue
            for condition in statement.conditions:
                if self.trust.met(condition, context) is UNKNOWN:
                    self._not_known(way, statement, condition)

    def _not_known(self, way: Way, statement: Statement, condition: Condition) -> None:
        key = condition.key.lower()
        what = say("{operator} on {key}", operator=_quoted(condition.operator), key=_quoted(condition.key))
        if key in (*_PEOPLE_KEYS, way.subject_key.lower()) or key.startswith(_TAG_KEYS):
            sentence = say(
                "Statement {number} depends on who asks, or on the session's tags: {condition}. Some of the people to whom the mapping gives the role may be refused by AWS.",
                number=statement.number,
                condition=what,
            )
            self._add("limited_to_some", INFO, sentence, statement.number)
        else:
            sentence = say(
                "Statement {number} has a condition that only AWS can decide at the call: {condition}. Try the role once; a condition on addresses must name those of the gateway, which makes the call.",
                number=statement.number,
                condition=what,
            )
            self._add("condition_unknown", WARNING, sentence, statement.number)

    def _regions(self, way: Way) -> None:
        missing = [
            audience
            for audience in way.audiences[1:]
            if self.trust.decide(way.call, way.provider, way.context(audience)) is NO
        ]
        if missing:
            sentence = say(
                "When the account's region fails, the gateway goes on in another one, and this role refuses it there: add {values} under {key}.",
                values=", ".join(missing),
                key=way.audience_key,
            )
            self._add("audience_one_region", WARNING, sentence)

    def _second_actions(self, way: Way, used: WayReport) -> None:
        if not self._allowing(way):
            return  # that it does not trust the gateway at all has been said
        for action, answer, code in (
            (SET_SOURCE_IDENTITY, used.set_source_identity, "set_source_identity_missing"),
            (TAG_SESSION, used.tag_session, "tag_session_missing"),
        ):
            if answer is not NO:
                continue
            if self._denials(way, action, way.context()):
                continue
            if used.call is NO and any(s.covers(action) for s in self._allowing(way)):
                continue  # what stands in the way of the call, and has been named, stands in the way of this
            if action == SET_SOURCE_IDENTITY:
                sentence = say(
                    "The gateway sets a source identity in every session, so that CloudTrail names the person, and this role does not allow it: every call fails. Add sts:SetSourceIdentity to the actions."
                )
                self._add(code, ERROR, sentence)
            else:
                sentence = say(
                    "The role does not allow session tags: every call under a mapping that sets tags fails. Add sts:TagSession to the actions."
                )
                self._add(code, ERROR if self.sends_tags else WARNING, sentence)

    # --- can others use it

    def _openness(self, way: Way) -> None:
        if not way.audiences:
            return
        for statement in self._allowing(way):
            if way.provider not in statement.federated or not statement.covers(way.call):
                continue
            if not self._is_open(statement, way):
                continue
            if not statement.conditions:
                sentence = say(
                    "Statement {number} trusts the whole provider without any condition: whatever the gateway's keys sign, for whomever it was made, opens the role. Add the condition on {key}.",
                    number=statement.number,
                    key=way.audience_key,
                )
                self._add("whole_provider", DANGER, sentence, statement.number)
            else:
                sentence = say(
                    "Statement {number} has no condition on the audience, so a document that was made for somebody else opens the role too. Add StringEquals on {key}.",
                    number=statement.number,
                    key=way.audience_key,
                )
                self._add("audience_missing", DANGER, sentence, statement.number)

    def _others(self) -> None:
        for statement in self.trust.statements:
            if not statement.allows or statement.fault or statement.inverted:
                continue
            if statement.not_actions:
                sentence = say(
                    "Statement {number} allows everything but some actions (NotAction), also what AWS adds one day. Name the actions that are meant.",
                    number=statement.number,
                )
                self._add("not_action", WARNING, sentence, statement.number)
            self._everybody(statement)
            self._other_accounts(statement)
            for principal in statement.federated:
                self._other_provider(statement, principal)

    def _everybody(self, statement: Statement) -> None:
        if not (statement.anybody or "*" in statement.federated):
            return
        if statement.conditions:
            sentence = say(
                "Statement {number} trusts everybody (Principal *) and only its conditions keep strangers out. Name the principals that are meant.",
                number=statement.number,
            )
            self._add("principal_star", WARNING, sentence, statement.number)
        else:
            sentence = say(
                "Statement {number} trusts everybody (Principal *): anyone with an AWS account can use the role. Name the principals that are meant, now.",
                number=statement.number,
            )
            self._add("principal_star", DANGER, sentence, statement.number)

    def _other_accounts(self, statement: Statement) -> None:
        if not statement.covers("sts:AssumeRole"):
            return
        for principal in statement.aws:
            found = _WHOLE_ACCOUNT.fullmatch(principal)
            account = (found["id"] or found["root"]) if found else ""
            if not account or account == self.gateway.account_id:
                continue
            if statement.conditions:
                sentence = say(
                    "Statement {number} trusts the whole account {account}, within its conditions.",
                    number=statement.number,
                    account=account,
                )
                self._add("anyone_in_other_account", INFO, sentence, statement.number)
            else:
                sentence = say(
                    "Statement {number} trusts the whole account {account}: its administrators decide who there can use this role, past the gateway. Name the one role that is meant; where it is a vendor's account, add a condition on sts:ExternalId.",
                    number=statement.number,
                    account=account,
                )
                self._add("anyone_in_other_account", WARNING, sentence, statement.number)

    def _other_provider(self, statement: Statement, principal: str) -> None:
        if principal in (self.gateway.saml_provider_arn, self.gateway.oidc_provider_arn, "*"):
            return
        if ":saml-provider/" in principal:
            if statement.covers(CALLS["saml"]):
                sentence = say(
                    "Statement {number} trusts another SAML provider as well, {found}: its people use the role past the gateway, its mapping and its audit log. Take it out once everybody comes through the gateway.",
                    number=statement.number,
                    found=_quoted(principal),
                )
                self._add("federated_saml_other", WARNING, sentence, statement.number)
            return
        provider = principal.partition(":oidc-provider/")[2] or principal
        context, met = _stranger(provider.lower())
        if not statement.covers(CALLS["oidc"]):
            return
        # Its audience says whom the token is for: what is asked here is whose workload got it.
        rest = [c for c in statement.conditions if c.key.lower() not in met]
        if all_of(self.trust.met(c, context) for c in rest) is not YES:
            return
        if any(
            s.effect == "Deny" and self.trust.applies(s, CALLS["oidc"], principal, context) is YES
            for s in self.trust.statements
        ):
            return
        if not statement.conditions:
            sentence = say(
                "Statement {number} trusts the whole provider {found} without any condition: each of its customers and workloads can use the role. Add conditions on its audience and subject.",
                number=statement.number,
                found=_quoted(provider),
            )
            self._add("whole_provider", DANGER, sentence, statement.number)
        else:
            key = "aud" if provider.lower() in _BY_AUDIENCE else "sub"
            sentence = say(
                "Statement {number} lets in strangers from {found}: nothing in it pins down {key}. Name the repository, service account or client that is meant, without a wildcard for its owner.",
                number=statement.number,
                found=_quoted(provider),
                key=_quoted(provider + ":" + key),
            )
            self._add("subject_wildcard", DANGER, sentence, statement.number)


_NAMES: Mapping[str, str] = MappingProxyType({"saml": "SAML", "oidc": "OpenID Connect"})
_WHOLE_ACCOUNT = re.compile(r"(?P<id>[0-9]{12})|arn:[a-z-]{3,21}:iam::(?P<root>[0-9]{12}):root")

# Shared providers whose audience, not whose subject, says whose the token is ("Available keys for AWS OIDC federation").
_BY_AUDIENCE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cognito-identity.amazonaws.com": ("aud",),
        "accounts.google.com": ("aud", "oaud", "sub"),
        "www.amazon.com": ("app_id", "user_id"),
        "graph.facebook.com": ("app_id", "id"),
    }
)
# What a stranger's token says at providers that serve many owners: a pattern that takes it takes everybody's.
_STRANGERS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"token\.actions\.githubusercontent\.com(/.*)?"), "repo:stranger/stranger:ref:refs/heads/main"),
    (re.compile(r"gitlab\.com"), "project_path:stranger/stranger:ref_type:branch:ref:main"),
    (re.compile(r"app\.terraform\.io"), "organization:stranger:project:stranger:workspace:stranger:run_phase:plan"),
    (re.compile(r"agent\.buildkite\.com"), "organization:stranger:pipeline:stranger:ref:main:commit:stranger:step:stranger"),
    (re.compile(r"oidc\.eks\..*"), "system:serviceaccount:stranger:stranger"),
    (re.compile(r"oidc\.circleci\.com/org/.*"), "org/stranger/project/stranger/user/stranger"),
    (re.compile(r"vstoken\.dev\.azure\.com/.*"), "sc://stranger/stranger/stranger"),
)  # fmt: skip


def _stranger(provider: str) -> tuple[CallContext, frozenset[str]]:
    """A call by somebody whom the role's owner never heard of, with a token of `provider`; and the keys to take as met."""
    identifying = _BY_AUDIENCE.get(provider)
    if identifying is not None:
        return CallContext(
            {f"{provider}:{name}": Fact(exact="stranger") for name in identifying}, provider
        ), frozenset()
    subject = next((text for pattern, text in _STRANGERS if pattern.fullmatch(provider)), "stranger")
    return CallContext({f"{provider}:sub": Fact(exact=subject)}, provider), frozenset({f"{provider}:aud"})


def _looks_like(arn: str, way: Way) -> bool:
    """Whether somebody who wrote `arn` meant `way.provider`: its name in another account, its issuer written differently."""
    kind = "saml-provider/" if way.kind == "saml" else "oidc-provider/"
    theirs, ours = (one.lower().partition(kind)[2] for one in (arn, way.provider))
    if not theirs or arn == way.provider:
        return False
    return theirs == ours if way.kind == "saml" else theirs.partition("/")[0] == ours.partition("/")[0]


def _quoted(text: str) -> str:
    """Somebody else's text in one of our sentences: short, in ASCII, without line breaks or tricks of direction."""
    shown = ascii(text)[1:-1]
    return shown if len(shown) <= 160 else f"{shown[:157]}..."


# --- Every role, and the mappings that point at them ---------------------------------------------------


class RoleFacts(Protocol):
    """What `examine_all` needs of a role: `aws.catalogue.RoleRecord` has it, and the catalogue's row."""

    @property
    def arn(self) -> str: ...
    @property
    def account_id(self) -> str: ...
    @property
    def trust_policy(self) -> str: ...
    @property
    def max_session_duration(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Pointing:
    """A mapping rule that gives a role, by its ARN. `duration`: the seconds it asks for, None for the default. `tags`: it sets some."""

    rule: str
    role_arn: str
    duration: int | None = None
    tags: bool = False


@dataclass(frozen=True, slots=True)
class PointedFinding:
    """A finding on a role as the rule's author meets it."""

    rule: str
    role_arn: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class Examination:
    """`reports` by role ARN; `pointed`: what stands between each rule and the roles that it gives, errors first."""

    reports: Mapping[str, TrustReport]
    pointed: tuple[PointedFinding, ...]


def examine_all(
    roles: Iterable[RoleFacts], gateways: Mapping[str, GatewayTrust], pointings: Sequence[Pointing] = ()
) -> Examination:
    """Examine the roles of some accounts, and the rules that point into these accounts.

    `roles`: every role of each account in `gateways` (account id -> the gateway as that account sees it); a role of another
    account is left out, and so is a rule that points into one.
    """
    wanted: dict[str, list[Pointing]] = {}
    for pointing in pointings:
        wanted.setdefault(pointing.role_arn, []).append(pointing)
    reports: dict[str, TrustReport] = {}
    pointed: list[PointedFinding] = []
    for role in roles:
        gateway = gateways.get(role.account_id)
        if gateway is None:
            continue
        ours = wanted.get(role.arn, [])
        report = examine(
            role.trust_policy,
            role_arn=role.arn,
            gateway=gateway,
            max_session_duration=role.max_session_duration,
            pointed=bool(ours),
            sends_tags=any(pointing.tags for pointing in ours) or not ours,
        )
        reports[role.arn] = report
        for pointing in ours:
            pointed += [PointedFinding(pointing.rule, role.arn, f) for f in _of_pointing(pointing, report, role)]
    for arn, ours in wanted.items():
        if arn in reports or arn.split(":")[4:5] == [] or arn.split(":")[4] not in gateways:
            continue
        sentence = say(
            "There is no such role in the account. Correct the mapping, or make the role: `manage.py onboard ACCOUNT --roles NAME:POLICY_ARN` writes one that trusts the gateway."
        )
        pointed += [PointedFinding(p.rule, arn, Finding("role_missing", ERROR, sentence)) for p in ours]
    order = list(Severity)
    pointed.sort(key=lambda one: (order.index(one.finding.severity), one.rule, one.role_arn))
    return Examination(MappingProxyType(reports), tuple(pointed))


def _of_pointing(pointing: Pointing, report: TrustReport, role: RoleFacts) -> list[Finding]:
    found = [f for f in report.findings if pointing.tags or f.code != "tag_session_missing"]
    longest = role.max_session_duration
    if pointing.duration and longest and pointing.duration > longest >= MIN_MAX_SESSION:
        sentence = say(
            "The mapping asks for {wanted} seconds and the role allows {longest}: sessions are shortened to that. Raise the role's maximum session duration, or ask for less.",
            wanted=pointing.duration,
            longest=longest,
        )
        found.append(Finding("duration_shortened", INFO, sentence))
    return found
