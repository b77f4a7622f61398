"""What onboarding writes: valid for the tools that read it, exactly what the gateway needs, and nothing that a name could smuggle in."""

from __future__ import annotations

import functools
import inspect
import json
import re
import shutil
import subprocess
from dataclasses import replace

import botocore
import botocore.session
import hcl2
import pytest
import yaml

from federation.aws import catalogue, hcl, onboarding, organizations
from federation.aws.arns import ArnInvalid
from federation.aws.gateway_trust import READER_ROLE, gateway_trust
from federation.aws.onboarding import DIRECT_BYTES, OnboardingInvalid, PeopleRole, Plan, people_role
from federation.aws.partitions import SamlUnavailable
from federation.aws.trust import Answer, examine
from federation.issuer import publish
from tests import cast
from tests.issuer import material

ISSUER_URL = "https://gate.example.com/issuer"
ISSUER = "gate.example.com/issuer"


def metadata(keys=1):
    return publish.saml_metadata(
        ISSUER_URL,
        [material.key("RS256", number).certificate_pem for number in range(keys)],
        sso_url="https://gate.example.com/",
        now=material.NOW,
    ).decode()


def plan(**changes):
    values = {
        "partition": "aws",
        "account_id": cast.PROD,
        "account_name": "shop-prod",
        "federation": "saml",
        "provider": "rolegate",
        "issuer_url": ISSUER_URL,
        "saml_metadata": metadata(),
        "region": "eu-west-1",
        "roles": (
            PeopleRole("ReadOnly", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
            PeopleRole("Power.User", f"arn:aws:iam::{cast.PROD}:policy/team/Power"),
        ),
    }
    return Plan(**values | changes)


WHOLE = {
    "whole_organization": True,
    "reads_organization": True,
    "roles": (PeopleRole("ReadOnly", "arn:aws:iam::aws:policy/ReadOnlyAccess"),),
}
PLANS = {
    "saml": plan(),
    "oidc": plan(federation="oidc", saml_metadata=""),
    "no roles": plan(roles=()),
    "existing providers": plan(register_providers=False),
    "existing provider by tokens": plan(register_providers=False, federation="oidc", saml_metadata=""),
    "organization reader": plan(reads_organization=True),
    "organization": plan(**WHOLE),
    "organization by tokens": plan(**WHOLE, federation="oidc", saml_metadata=""),
    "organization, existing providers": plan(**WHOLE, register_providers=False),
    "China": plan(partition="aws-cn", region="cn-north-1", roles=(PeopleRole("Read", "arn:aws-cn:iam::aws:policy/ReadOnlyAccess"),)),
    "Europe's own, by tokens": plan(partition="aws-eusc", region="", federation="oidc", saml_metadata="", roles=()),
}  # fmt: skip
each_plan = pytest.mark.parametrize("name", PLANS)


def template(made):
    return yaml.safe_load(onboarding.cloudformation(made))


def member(made):
    return yaml.safe_load(template(made)["Resources"]["MemberAccounts"]["Properties"]["TemplateBody"])


def resolved(value, made):
    """The template's Fn::Sub with the account's own pseudo parameters."""
    if isinstance(value, dict):
        if "Fn::Sub" in value:
            return (
                value["Fn::Sub"]
                .replace("${AWS::Partition}", made.partition)
                .replace("${AWS::AccountId}", made.account_id)
            )
        return {key: resolved(one, made) for key, one in value.items()}
    return [resolved(one, made) for one in value] if isinstance(value, list) else value


def gateway(made):
    return gateway_trust(
        made.account_id,
        partition=made.partition,
        federation=made.federation,
        provider=made.provider,
        issuer_url=made.issuer_url,
        region=made.region,
    )


# --- CloudFormation --------------------------------------------------------------------------------------


@functools.cache
def judge():
    """cfn-lint with every rule for every region, as its `lint_all` makes it for each template anew, for a second of CPU."""
    # Here, as each worker would load it that only collects this file.
    from cfnlint.config import ConfigMixIn
    from cfnlint.helpers import REGIONS
    from cfnlint.runner import Runner

    return Runner(ConfigMixIn(include_checks=["I"], include_experimental=True, regions=REGIONS))


def lint(text):
    """Errors, warnings and remarks. I4010 wants a house style of its own: metadata that explain each resource to a machine."""
    from cfnlint.decode import decode_str

    template, unread = decode_str(text)
    found = unread or judge().validate_template(template)
    return [(m.rule.id, m.message) for m in found if m.rule.id != "I4010"]


@each_plan
def test_cfn_lint_finds_nothing(name):
    made = PLANS[name]
    assert lint(onboarding.cloudformation(made)) == []
    if made.whole_organization:
        assert lint(template(made)["Resources"]["MemberAccounts"]["Properties"]["TemplateBody"]) == []


def test_cfn_lint_would_find_something():
    """Else the test above proves nothing."""
    broken = (
        onboarding.cloudformation(plan())
        .replace("ClientIdList", "ClientIds")
        .replace("DependsOn: Saml", "DependsOn: Sml")
    )
    assert {rule for rule, _ in lint(broken)} == {"E3002", "E3005"}


@each_plan
def test_the_roles_trust_what_examine_finds_good(name):
    made = PLANS[name]
    templates = [template(made), *([member(made)] if made.whole_organization else [])]
    for document in templates:
        roles = [r["Properties"] for r in document["Resources"].values() if r["Type"] == "AWS::IAM::Role"]
        assert [r["RoleName"] for r in roles] == [READER_ROLE, *(role.name for role in made.roles)]
        for role in roles:
            report = examine(
                resolved(role["AssumeRolePolicyDocument"], made),
                role_arn=f"arn:{made.partition}:iam::{made.account_id}:role/{role['RoleName']}",
                gateway=gateway(made),
                max_session_duration=role["MaxSessionDuration"],
                pointed=role["RoleName"] != READER_ROLE,
            )
            if role["RoleName"] == READER_ROLE:
                assert report.codes == {"reader_role"}
            else:
                assert report.findings == ()
                assert report.way.usable_with_tags is Answer.YES


def test_the_reader_may_read_roles_and_nothing_else():
    reader = template(plan())["Resources"]["Reader"]["Properties"]
    (policy,) = reader["Policies"]
    assert policy["PolicyDocument"]["Statement"] == [
        {
            "Sid": "ReadRoles",
            "Effect": "Allow",
            "Action": [
                "iam:ListRoles",
                "iam:GetAccountAuthorizationDetails",
                "iam:ListAccountAliases",
                "iam:GetSAMLProvider",
                "iam:GetOpenIDConnectProvider",
            ],
            "Resource": "*",
        }
    ]
    assert "ManagedPolicyArns" not in reader
    (trust,) = reader["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Action"] == ["sts:AssumeRoleWithWebIdentity"]
    assert trust["Condition"] == {
        "StringEquals": {f"{ISSUER}:aud": "sts.amazonaws.com", f"{ISSUER}:sub": "gateway:reader"}
    }


def test_only_the_management_accounts_reader_may_read_the_organization():
    made = plan(**WHOLE)
    statements = template(made)["Resources"]["Reader"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert [s["Action"] for s in statements] == [list(onboarding.READER_ACTIONS), list(onboarding.ORGANIZATION_ACTIONS)]
    statements = member(made)["Resources"]["Reader"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert [s["Action"] for s in statements] == [list(onboarding.READER_ACTIONS)]


def test_the_reader_may_make_the_calls_that_the_catalogue_makes():
    """Held to the code that calls: an operation added there must be added to the role."""
    source = inspect.getsource(catalogue) + inspect.getsource(organizations)
    literals = set(re.findall(r'"([a-z_]+)"', source))
    session = botocore.session.get_session()
    called = {
        f"{service}:{operation}"
        for service in ("iam", "organizations")
        for operation in session.get_service_model(service).operation_names
        if botocore.xform_name(operation) in literals
    }
    assert {"iam:ListRoles", "iam:GetAccountAuthorizationDetails", "organizations:ListAccounts"} <= called
    assert called <= {*onboarding.READER_ACTIONS, *onboarding.ORGANIZATION_ACTIONS}


def test_the_metadata_arrive_byte_for_byte():
    made = plan()
    text = onboarding.cloudformation(made)
    assert "SamlMetadataDocument: |\n" in text
    assert template(made)["Resources"]["SamlProvider"]["Properties"]["SamlMetadataDocument"] == made.saml_metadata


def test_no_thumbprint_is_written():
    assert template(plan())["Resources"]["OidcProvider"]["Properties"] == {
        "Url": ISSUER_URL,
        "ClientIdList": ["sts.amazonaws.com"],
    }
    assert "humbprint" not in onboarding.cloudformation(plan()) + onboarding.terraform(plan())


def test_the_stack_set_takes_every_account_of_the_organization_one_region_each():
    stack_set = template(plan(**WHOLE))["Resources"]["MemberAccounts"]["Properties"]
    assert stack_set["PermissionModel"] == "SERVICE_MANAGED"
    assert stack_set["AutoDeployment"]["Enabled"] is True
    (group,) = stack_set["StackInstancesGroup"]
    assert group["Regions"] == ["eu-west-1"]
    assert cast.PROD not in stack_set["TemplateBody"]


def test_the_most_keys_that_iam_takes_fit_into_one_request():
    made = plan(**WHOLE, saml_metadata=metadata(publish.MAX_KEYS))
    assert len(onboarding.cloudformation(made).encode()) < DIRECT_BYTES


def test_a_template_too_large_for_one_request_says_what_to_do():
    many = tuple(PeopleRole(f"Role{number}", "arn:aws:iam::aws:policy/ReadOnlyAccess") for number in range(80))
    assert "--s3-bucket" in onboarding.cloudformation(plan(roles=many))
    assert "--s3-bucket" not in onboarding.cloudformation(plan())
    many = tuple(PeopleRole(f"Role{number}", "arn:aws:iam::aws:policy/ReadOnlyAccess") for number in range(1200))
    assert refused(onboarding.cloudformation, plan(roles=many)) == "template_too_large"


def test_names_that_fall_together_as_logical_ids_stay_apart():
    roles = tuple(
        PeopleRole(name, "arn:aws:iam::aws:policy/ReadOnlyAccess") for name in ("a.b", "a-b", "a_b", "+", "=", "reader")
    )
    made = plan(roles=roles)
    assert [
        r["Properties"]["RoleName"] for r in template(made)["Resources"].values() if "RoleName" in r["Properties"]
    ] == [
        READER_ROLE,
        *(role.name for role in roles),
    ]
    labels = re.findall(r'^resource "aws_iam_role" "(.+)" \{', onboarding.terraform(made), re.MULTILINE)
    assert len(labels) == len(set(labels)) == 7


# --- Terraform -------------------------------------------------------------------------------------------


def formatting_faults(text):
    """What `terraform fmt` would change, read independently: two spaces a level, one column of equals signs, no blank at an end."""
    faults, depth, column, heredoc = [], 0, [], False

    def close():
        names = [one.partition(" = ")[0] for one in column]
        width = max((len(name.rstrip()) for name in names), default=0)
        faults.extend(("equals signs", name) for name in names if len(name) != width)
        column.clear()

    for line in text.split("\n"):
        if heredoc:
            heredoc = line != "EOT"
            continue
        if line.startswith("#"):
            continue
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line)
        opens, closes = sum(bare.count(c) for c in "{[("), sum(bare.count(c) for c in "}])")
        if line.rstrip() != line:
            faults.append(("blank at the end", line))
        leading = len(line) - len(line.lstrip())
        first_closes = len(re.match(r"[}\])]*", bare.strip()).group())
        if line and leading != 2 * (depth - (1 if first_closes else 0)):
            faults.append(("indentation", line))
        if " = " in bare and opens == closes and not bare.strip().startswith("}"):
            column.append(line)
        else:
            close()
        heredoc = bare.endswith("<<EOT")
        if heredoc:
            close()
        # `jsonencode({` opens two brackets and one level.
        depth += (opens > closes) - (closes > opens)
    close()
    return faults


@each_plan
def test_terraform_reads_it_and_would_not_format_it_otherwise(name, tmp_path):
    text = onboarding.terraform(PLANS[name])
    parsed = hcl2.loads(text)
    resources = {
        (kind.strip('"'), label.strip('"')) for one in parsed["resource"] for kind, of in one.items() for label in of
    }
    assert ("aws_iam_role", "rolegate_reader") in resources
    assert (("aws_cloudformation_stack_set", "rolegate") in resources) == PLANS[name].whole_organization
    assert (("aws_iam_openid_connect_provider", "rolegate") in resources) == PLANS[name].register_providers
    assert formatting_faults(text) == []
    if terraform := shutil.which("terraform"):  # the judge itself, where it is installed
        (tmp_path / "main.tf").write_text(text)
        run = subprocess.run([terraform, "fmt", "-check", "-diff", str(tmp_path)], capture_output=True, text=True, check=False, env={"TF_CLI_CONFIG_FILE": "/dev/null", "CHECKPOINT_DISABLE": "1"})  # fmt: skip
        assert (run.returncode, run.stdout) == (0, "")


@pytest.mark.parametrize(
    "wrong",
    [
        'a "b" {\n  x = 1\n  yy = 2\n}\n',
        'a "b" {\n   x = 1\n}\n',
        'a "b" {\n  x  = 1\n}\n',
        'a "b" {\n  x = {\n  y = 1\n  }\n}\n',
        'a "b" {\n  x = 1 \n}\n',
    ],
)
def test_the_reading_of_the_format_can_fail(wrong):
    assert formatting_faults(wrong)


def test_terraform_says_the_same_as_cloudformation():
    """Each role's trust, evaluated: the expressions of jsonencode against the template's policies."""
    made = plan(register_providers=False)  # with literal ARNs, so that both are the same text
    text = onboarding.terraform(made)
    for resource in template(made)["Resources"].values():
        role = resource["Properties"]
        wanted = resolved(role["AssumeRolePolicyDocument"], made)
        block = text[text.index(f'"{role["RoleName"]}"') :]
        found = re.search(r"assume_role_policy = jsonencode\((\{.*?\n  \})\)", block, re.DOTALL).group(1)
        as_json = re.sub(r'^(\s*)(?:([A-Za-z]\w*)|("[^"]+"))\s+= ', lambda m: f"{m[1]}{m[3] or json.dumps(m[2])}: ", found, flags=re.MULTILINE)  # fmt: skip
        as_json = re.sub(r'(["\]}])\n(?=\s*")', r"\1,\n", as_json)
        as_json = re.sub(r",(\s*[\]}])", r"\1", as_json)
        assert json.loads(as_json) == wanted


def test_terraform_refuses_another_account():
    text = onboarding.terraform(plan())
    assert f'data.aws_caller_identity.current.account_id == "{cast.PROD}"' in text


def test_what_stands_in_a_string_or_a_heredoc_is_never_evaluated():
    assert (
        hcl.quoted('${file("/etc/passwd")} %{ if true } "\\\n')
        == '"$${file(\\"/etc/passwd\\")} %%{ if true } \\"\\\\\\n"'
    )
    block = hcl.Block("locals", (), {"x": hcl.Heredoc("${secret} %{x}\n")})
    assert "$${secret} %%{x}" in hcl.document([block])
    with pytest.raises(ValueError, match="heredoc"):
        hcl.document([hcl.Block("locals", (), {"x": hcl.Heredoc("a\n  EOT\nb = 1\n")})])
    with pytest.raises(ValueError, match="control"):
        hcl.quoted("\x1b[31m")


# --- What is refused, and what is said -------------------------------------------------------------------


def refused(call, *args, **options):
    with pytest.raises(OnboardingInvalid) as caught:
        call(*args, **options)
    assert caught.value.code == "onboarding_invalid"
    assert caught.value.public_sentence != OnboardingInvalid.sentence
    return caught.value.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ReadOnly", "role_malformed"),
        ("ReadOnly:", "role_malformed"),
        (":arn:aws:iam::aws:policy/ReadOnlyAccess", "role_malformed"),
        ("Read Only:arn:aws:iam::aws:policy/ReadOnlyAccess", "role_malformed"),
        ("Read,Only:arn:aws:iam::aws:policy/ReadOnlyAccess", "role_malformed"),
        ("ReadOnly:arn:aws:iam::aws:role/ReadOnlyAccess", "role_malformed"),
        ("ReadOnly:arn:aws:iam::aws:policy/${x}", "role_malformed"),
        ("x" * 65 + ":arn:aws:iam::aws:policy/ReadOnlyAccess", "role_malformed"),
        ("Rolegate-Reader:arn:aws:iam::aws:policy/ReadOnlyAccess", "role_name_reserved"),
        ("AWSReservedSSO_x:arn:aws:iam::aws:policy/ReadOnlyAccess", "role_name_reserved"),
        ("ReadOnly:arn:aws-cn:iam::aws:policy/ReadOnlyAccess", "policy_other_partition"),
    ],
)
def test_a_role_that_cannot_be(text, reason):
    assert refused(people_role, text, partition="aws") == reason


def test_a_role_is_a_name_and_a_policy():
    assert people_role("Power+User:arn:aws:iam::111122223333:policy/a/b", partition="aws") == PeopleRole(
        "Power+User", "arn:aws:iam::111122223333:policy/a/b", 3600
    )


def test_plans_that_cannot_work_are_refused():
    twice = (
        PeopleRole("Read", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
        PeopleRole("READ", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
    )
    assert refused(onboarding.check, plan(roles=twice)) == "role_twice"
    theirs = (PeopleRole("Read", f"arn:aws:iam::{cast.DEV}:policy/Read"),)
    assert refused(onboarding.check, plan(roles=theirs)) == "policy_of_other_account"
    mine = (PeopleRole("Read", f"arn:aws:iam::{cast.PROD}:policy/Read"),)
    assert refused(onboarding.check, replace(plan(**WHOLE), roles=mine)) == "policy_of_one_account"
    assert refused(onboarding.check, plan(saml_metadata="<x/>")) == "metadata_unusable"
    with pytest.raises(SamlUnavailable):
        onboarding.check(plan(partition="aws-eusc", region="", roles=()))
    with pytest.raises(ArnInvalid, match="provider_name_malformed"):
        onboarding.terraform(plan(provider="a b"))
    with pytest.raises(ArnInvalid, match="account_id_malformed"):
        onboarding.cloudformation(plan(account_id="1"))
    with pytest.raises(ArnInvalid, match="issuer_url_malformed"):
        onboarding.cloudformation(plan(issuer_url="https://gate.example.com:8443/issuer"))


def test_an_issuer_that_aws_cannot_reach_is_said_aloud():
    made = plan(issuer_url="http://localhost:8000/issuer")
    (note,) = onboarding.check(made)
    assert "https" in note
    assert f"# {note}" in onboarding.cloudformation(made)
    assert f"# {note}" in onboarding.terraform(made)
    assert onboarding.check(plan()) == ()


def test_a_name_cannot_end_the_comment_that_it_stands_in():
    made = plan(account_name="shop\nResources: {}\n\u2028x\u202eresource")
    for text in (onboarding.cloudformation(made), onboarding.terraform(made)):
        head = text.split("\n\n")[0]
        assert all(line.startswith("# ") for line in head.split("\n"))
        assert "\u202e" not in text
        assert "\u2028" not in text
    assert set(template(made)) == {"AWSTemplateFormatVersion", "Description", "Resources", "Outputs"}


def test_the_same_plan_is_the_same_text():
    assert onboarding.cloudformation(plan(**WHOLE)) == onboarding.cloudformation(plan(**WHOLE))
    assert onboarding.terraform(plan(**WHOLE)) == onboarding.terraform(plan(**WHOLE))
