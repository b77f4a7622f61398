"""Whether the roles that the mapping gives can be assumed, read off the trust policies that the catalogue keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import MappingProxyType

from django.conf import settings

from federation.aws.arns import parse_role_arn
from federation.aws.catalogue import RoleRecord
from federation.aws.gateway_trust import GatewayTrust
from federation.aws.trust import Examination, Pointing, TrustReport, examine, examine_all, gateway_trust
from federation.mapping.engine import CompiledMapping
from federation.mapping.rolearn import parse_role_arn as parse_mapping_arn
from federation.mapping.rules import Account
from federation.models import current
from federation.models.accounts import Role


def gateway_in(account: Account) -> GatewayTrust:
    """The gateway as this account's trust policies see it. Raises ArnInvalid, UnknownPartition, RegionInvalid."""
    return gateway_trust(
        account.id, partition=account.partition, federation=account.federation, provider=account.provider,
        issuer_url=str(settings.ROLEGATE_ISSUER_URL), region=account.region,
    )  # fmt: skip


def examine_account(account: Account) -> Examination:
    """Every role that the catalogue has of the account, and every rule that points at one of them or at none that exists."""
    roles = list(Role.objects.filter(account_id=account.id, present=True).order_by("arn"))
    pointings = list(_pointings(current.mapping().compiled, account, roles)) if roles else []
    return examine_all(roles, MappingProxyType({account.id: gateway_in(account)}), pointings)


def _pointings(compiled: CompiledMapping, account: Account, roles: Sequence[Role]) -> Iterator[Pointing]:
    arns = [(role.arn, parsed) for role in roles if (parsed := parse_mapping_arn(role.arn)) is not None]
    names = {parsed.name for _, parsed in arns} | {parsed.qualified for _, parsed in arns}
    for rule in compiled.rules:
        if rule.denies or not rule.target.chooses(account):
            continue
        session = rule.rule.session
        found = [arn for arn, parsed in arns if rule.target.might_cover(parsed)]
        # A name that is spelt out and is not there is a mistake of the mapping; a glob that finds nothing need not be.
        found += [
            f"arn:{account.partition}:iam::{account.id}:role/{name}" for name in rule.target.exact if name not in names
        ]
        for arn in found:
            yield Pointing(rule.rule.name, arn, session.duration, tags=bool(session.tags))


def examine_record(record: RoleRecord, gateway: GatewayTrust) -> TrustReport:
    """What the trust policy of a role that was just listed lets the gateway do."""
    return examine(
        record.trust_policy, role_arn=record.arn, gateway=gateway, max_session_duration=record.max_session_duration
    )


def trust_of(role_arn: str) -> TrustReport | None:
    """What the trust policy of one role lets the gateway do; None where the catalogue does not have the role.

    Raises ArnInvalid.
    """
    arn = parse_role_arn(role_arn)
    account = current.mapping().compiled.accounts.get(arn.account_id)
    role = Role.objects.filter(arn=role_arn, present=True).exclude(trust_policy="").first()
    if account is None or role is None:
        return None
    return examine(
        role.trust_policy, role_arn=role_arn, gateway=gateway_in(account), max_session_duration=role.max_session_duration
    )  # fmt: skip
