"""What an account's owner may say by a role's tags: all of it inside a delegation, or nothing and a finding."""

import pytest

from federation.mapping.company import standings
from federation.mapping.delegated import TaggedRole, rules_from_tags, with_delegated
from federation.mapping.document import parse
from federation.mapping.engine import compile_mapping
from federation.mapping.rules import CatalogueRole
from tests.cast import DEV, NOW, PROD, STAGING, identity
from tests.mapping.kit import HEAD

TEXT = (
    HEAD
    + f"""\
mapping:
  - {{name: no-contractors, when: {{groups: [contractors]}}, deny: {{accounts: {{ids: ["{DEV}"]}}}}}}
delegations:
  - {{accounts: {{ids: ["{DEV}"]}}, groups: ["dev-*", contractors], max_duration: 2h}}
  - {{accounts: {{ids: ["{DEV}"]}}, groups: [engineering], max_duration: 8h}}
  - {{accounts: {{ids: ["{STAGING}"]}}, groups: ["*"]}}
"""
)
DOCUMENT = parse(TEXT)


def arn(account, role="Own"):
    return f"arn:aws:iam::{account}:role/{role}"


def made(account=DEV, role="Own", **tags):
    return rules_from_tags(
        DOCUMENT, [TaggedRole(arn(account, role), {f"rolegate:{k.replace('_', '-')}": v for k, v in tags.items()})]
    )


def given(who, *roles):
    return [g.role_arn for g in compile_mapping(with_delegated(DOCUMENT, roles)).decide(who, NOW).grants]


def test_an_owner_gives_a_role_to_a_group():
    role = TaggedRole(arn(DEV), {"rolegate:groups": "dev-shop:dev-pay", "owner": "someone"})
    assert given(identity(groups=("dev-pay",)), role) == [arn(DEV)]
    assert given(identity(groups=("dev-other",)), role) == []


def test_a_deny_of_the_document_wins_over_a_tag():
    role = TaggedRole(arn(DEV), {"rolegate:groups": "contractors"})
    assert given(identity(groups=("contractors",)), role) == []


@pytest.mark.parametrize("order", [1, -1])
def test_a_tag_lifts_no_approval_and_no_policy_of_the_document(order):
    """Attack: the owner of an account tags a role that the document gives by request alone, or read-only."""
    rules = [
        "  - {name: ask, when: {groups: [engineering]}, allow: {roles: [Own]}, approval: {by: [leads], at_most: 1h}}",
        "  - {name: read, when: {groups: [contractors-too]}, allow: {roles: [Own]}, session: {policy: read-only}}",
    ]
    document = parse(
        TEXT.replace("mapping:\n", "mapping:\n" + "\n".join(rules[::order]) + "\n").replace(
            "[engineering], max", "[engineering, contractors-too], max"
        )
    )
    tagged = TaggedRole(arn(DEV), {"rolegate:groups": "engineering:contractors-too", "rolegate:duration": "8h"})
    compiled = compile_mapping(with_delegated(document, [tagged]))

    verdict = compiled.verdict(identity(groups=("engineering",)), arn(DEV), NOW)
    assert (verdict.code, verdict.grant.rule) == ("approval_required", "ask")
    assert verdict.grant.rules == ("ask", f"tags of {DEV}/Own")
    (grant,) = [g for g in compiled.decide(identity(groups=("engineering",)), NOW).grants if g.role_arn == arn(DEV)]
    assert (grant.rule, grant.approval is not None) == ("ask", True)
    (standing,) = standings(compiled, [identity(groups=("engineering",))], NOW)
    (given_,) = [one for one in standing.grants if one.role_arn == arn(DEV)]
    assert (given_.rule, given_.needs_approval) == ("ask", True)

    read = compiled.verdict(identity(groups=("contractors-too",)), arn(DEV), NOW)
    assert (read.code, read.grant.rule, read.grant.session.policy) == ("allowed", "read", "read-only")


def test_more_groups_than_one_value_holds():
    rule = made(groups="dev-a: dev-b ", groups_2="dev-c").rules[0]
    assert [match.pattern for match in rule.when.groups] == ["dev-a", "dev-b", "dev-c"]


def test_a_star_in_a_tag_is_a_letter_and_no_pattern():
    rule = made(groups="dev-*").rules[0]
    assert [(match.kind, match.pattern) for match in rule.when.groups] == [("exact", "dev-*")]


def test_the_session_is_what_the_tags_say():
    session = made(groups="dev-a", duration="90m", console_duration="2h", policy="read-only").rules[0].session
    assert (session.duration, session.console_duration, session.policy) == (5400, 7200, "read-only")


def test_without_a_duration_the_delegations_limit_holds():
    limited = parse(TEXT.replace("max_duration: 2h", "max_duration: 30m"))
    rule = rules_from_tags(limited, [TaggedRole(arn(DEV), {"rolegate:groups": "dev-a"})]).rules[0]
    assert rule.session.duration == 1800
    assert made(account=STAGING, groups="anybody").rules[0].session.duration is None


def providers_and_duration(*delegations):
    delegated = parse(HEAD + "delegations:\n" + "".join(f"  - {{accounts: [{entry}}}\n" for entry in delegations))
    (rule,) = rules_from_tags(delegated, [TaggedRole(arn(DEV), {"rolegate:groups": "dev-a"})]).rules
    return rule.when.provider, rule.session.duration


def test_tags_count_for_the_people_of_the_delegations_providers():
    corp, entra = (f'"{DEV}"], groups: [dev-a], provider: [{slug}]' for slug in ("corp", "entra"))
    anybody = f'"{DEV}"], groups: [dev-a]'
    assert providers_and_duration(corp) == (("corp",), None)
    assert providers_and_duration(corp, entra) == (("corp", "entra"), None)
    assert providers_and_duration(corp, anybody) == ((), None)


def test_what_one_delegation_limits_another_for_other_people_does_not_lift():
    corp, entra = (f'"{DEV}"], groups: [dev-a], provider: [{slug}]' for slug in ("corp", "entra"))
    anybody = f'"{DEV}"], groups: [dev-a]'
    assert providers_and_duration(corp, f"{entra}, max_duration: 30m") == (("corp", "entra"), 1800)
    assert providers_and_duration(corp, f"{anybody}, max_duration: 30m") == ((), 1800)
    assert providers_and_duration(anybody, f"{anybody}, max_duration: 30m") == ((), None)


@pytest.mark.parametrize(
    ("code", "tags"),
    [
        ("group_not_delegated", {"groups": "sre"}),
        ("group_not_delegated", {"groups": "dev-a:sre"}),
        ("group_not_delegated", {"groups": " : "}),
        ("group_not_delegated", {"duration": "1h"}),
        ("group_not_delegated", {"groups": "dev-a:engineering"}),  # each by another delegation: two halves are no whole
        ("duration_not_delegated", {"groups": "dev-a", "duration": "3h"}),
        ("duration_not_delegated", {"groups": "dev-a", "console_duration": "12h"}),
        ("duration_invalid", {"groups": "dev-a", "duration": "1w"}),
        ("duration_invalid", {"groups": "dev-a", "duration": "10m"}),
        ("duration_invalid", {"groups": "dev-a", "console_duration": "13h"}),
        ("policy_invalid", {"groups": "dev-a", "policy": '{"Version":"2012-10-17"}'}),
        ("tag_unknown", {"groups": "dev-a", "group": "dev-b"}),
        ("tag_unknown", {"groups": "dev-a", "Groups": "sre"}),
    ],
)
def test_what_goes_beyond_gives_nothing(code, tags):
    result = made(**tags)
    assert result.rules == ()
    assert [finding.code for finding in result.findings] == [code]
    assert result.findings[0].arn == arn(DEV)
    assert result.findings[0].sentence.endswith(".")


@pytest.mark.parametrize(
    ("code", "role_arn"),
    [
        ("account_not_delegated", arn(PROD)),
        ("account_not_delegated", arn("999988887777")),
        ("role_unusable", f"arn:aws:iam::{DEV}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_A_0123456789abcdef"),
        ("role_unusable", "not an arn"),
    ],
)
def test_a_role_that_is_not_delegated_gives_nothing(code, role_arn):
    result = rules_from_tags(DOCUMENT, [TaggedRole(role_arn, {"rolegate:groups": "dev-a"})])
    assert [finding.code for finding in result.findings] == [code]
    assert result.rules == ()


def test_without_delegations_the_document_is_the_same():
    bare = parse(HEAD)
    assert with_delegated(bare, [TaggedRole(arn(DEV), {"rolegate:groups": "dev-a"})]) is bare


@pytest.mark.parametrize(
    "when",
    [
        "groups: [engineering]",
        'groups: ["eng*"]',
        "groups: [{regex: ^engin.+$}]",
        "all_of: [engineering]",
        "provider: corp",
    ],
)
@pytest.mark.parametrize("gives", ["roles: [Own]", 'roles: ["O*"]', f'arns: ["arn:aws:iam::{DEV}:role/Own"]'])
def test_whoever_leaves_the_second_factor_out_gets_no_more_by_a_tag(when, gives):
    """Attack: by request alone with a second factor, says the document; without one it says nothing, and the tag would give it."""
    rule = f"  - {{name: ask, when: {{{when}, mfa: true}}, allow: {{{gives}}}, approval: {{by: [leads], at_most: 1h}}}}"
    document = parse(TEXT.replace("mapping:\n", f"mapping:\n{rule}\n"))
    compiled = compile_mapping(with_delegated(document, [TaggedRole(arn(DEV), {"rolegate:groups": "engineering"})]))
    without, with_one = (identity(groups=("engineering",), mfa=mfa) for mfa in (False, True))
    known = {DEV: {arn(DEV): CatalogueRole(arn(DEV), "Own")}}
    assert compiled.verdict(without, arn(DEV), NOW, known).code == "no_matching_rule"
    assert compiled.decide(without, NOW, known).grants == ()
    assert compiled.verdict(with_one, arn(DEV), NOW, known).code == "approval_required"


def test_a_second_factor_that_is_asked_of_others_or_for_another_role_is_not_asked_by_a_tag():
    rules = [
        "  - {name: others, when: {groups: [sales], mfa: true}, allow: {roles: [Own]}}",
        "  - {name: role, when: {groups: [engineering], mfa: true}, allow: {roles: [Other]}}",
        f'  - {{name: account, when: {{groups: [engineering], mfa: true}}, allow: {{roles: [Own], accounts: ["{PROD}"]}}}}',
        "  - {name: deny, when: {groups: [engineering], mfa: false}, deny: {roles: [Elsewhere]}}",
    ]
    document = parse(TEXT.replace("mapping:\n", "mapping:\n" + "\n".join(rules) + "\n"))
    compiled = compile_mapping(with_delegated(document, [TaggedRole(arn(DEV), {"rolegate:groups": "engineering"})]))
    assert compiled.verdict(identity(groups=("engineering",)), arn(DEV), NOW).allowed
