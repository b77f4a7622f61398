"""An account is onboarded: the template is applied, and then people and the gateway's reader get in, each where they should."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime

import boto3
import pytest
import yaml
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.iam.models import iam_backends

from demo.aws import registry
from federation.aws.trust import examine, gateway_trust
from federation.errors import NotFound
from federation.flows import minting, refresh_catalogue
from federation.flows.issue_credentials import issue_credentials
from federation.flows.onboard_account import Wishes, find_account, onboard
from federation.models import AuditEvent, OrganizationAccount, Role, current
from tests import cast

SAML, OIDC, FRESH = "555566667777", "666677778888", "777788889999"
DOCUMENT = f"""\
version: 1
identity_providers:
  - slug: corp
    name: Example Corp
    saml: {{metadata_url: "http://127.0.0.1:9/metadata"}}
    claims: {{subject: NameID, email: mail, name: displayName, groups: memberOf, attributes: {{department: dept}}}}
accounts:
  - {{id: "{SAML}", name: books-prod, federation: saml, provider: company-gate, region: eu-west-1}}
  - {{id: "{OIDC}", name: books-staging, federation: oidc, region: eu-central-1}}
mapping:
  - name: engineers-read
    when: {{groups: [engineering]}}
    allow: {{roles: [ReadOnly]}}
    session: {{duration: 1h, tags: {{Team: "{{attributes.department}}"}}}}
"""


@pytest.fixture
def now():
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def books(aws, publish, monkeypatch):
    """The local AWS with the gateway's documents served, and accounts in which nothing is set up."""
    publish(DOCUMENT)
    monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", aws.url)
    # moto keeps one state for the process: roles that other files' tests have made in these accounts are put aside meanwhile.
    listed = [iam_backends[account]["aws"].roles for account in (SAML, OIDC, FRESH)]
    aside = [dict(roles) for roles in listed]
    for roles in listed:
        roles.clear()
    yield aws
    for roles, others in zip(listed, aside, strict=True):
        roles.clear()
        roles.update(others)


def resolved(value, account):
    if isinstance(value, dict):
        if "Fn::Sub" in value:
            return value["Fn::Sub"].replace("${AWS::Partition}", "aws").replace("${AWS::AccountId}", account)
        return {key: resolved(one, account) for key, one in value.items()}
    return [resolved(one, account) for one in value] if isinstance(value, list) else value


def apply(aws, account, text):
    """CloudFormation's part. moto makes the roles; the two kinds of provider, which it does not know, go to the strict STS from here."""
    cloudformation = aws.client("cloudformation", account)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        cloudformation.create_stack(StackName="rolegate", TemplateBody=text, Capabilities=["CAPABILITY_NAMED_IAM"])
    (stack,) = cloudformation.describe_stacks(StackName="rolegate")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    iam = aws.client("iam", account)
    for resource in resolved(yaml.safe_load(text)["Resources"], account).values():
        given = resource["Properties"]
        if resource["Type"] == "AWS::IAM::SAMLProvider":
            aws.register_saml_provider(account, given["Name"], given["SamlMetadataDocument"])
        elif resource["Type"] == "AWS::IAM::OIDCProvider":
            aws.register_oidc_provider(account, given["Url"], given["ClientIdList"])
        for policy in given.get("Policies", []):  # moto's stack keeps these as objects, at which its own IAM stumbles
            document = json.dumps(policy["PolicyDocument"])
            iam.put_role_policy(RoleName=given["RoleName"], PolicyName=policy["PolicyName"], PolicyDocument=document)
    roles = iam.list_roles()["Roles"]
    for role in roles:
        made = registry.role(
            account, role["RoleName"], role["AssumeRolePolicyDocument"], role["MaxSessionDuration"], "aws"
        )
        aws.registry.roles[made.arn] = made
    return iam, [role["Arn"] for role in roles]


@pytest.fixture
def onboarded(books, now):
    """Both accounts, as `manage.py onboard` wrote them; their ARNs and IAM clients by account. Taken away again afterwards."""
    found = {}
    for account in (SAML, OIDC):
        written = onboard(account, "cloudformation", Wishes(), now=now)
        assert written.account_id == account
        found[account] = apply(books, account, written.text)
    yield found
    for account in (SAML, OIDC):
        books.client("cloudformation", account).delete_stack(StackName="rolegate")


@pytest.mark.parametrize(("account", "call"), [(SAML, "AssumeRoleWithSAML"), (OIDC, "AssumeRoleWithWebIdentity")])
def test_a_person_can_use_the_example_role(onboarded, books, sign_in_as, origin, now, account, call):
    alice = sign_in_as(cast.alice())
    issued = issue_credentials(
        alice.pk, cast.role(account, "ReadOnly"), duration=None, policy=None, channel="api", origin=origin, now=now
    )
    last = books.trail[-1]
    assert (last["eventName"], last["account"], last["sourceIdentity"]) == (call, account, alice.session_name)
    assert last["principalTags"] == {"Team": "shop"}
    client = boto3.client(
        "sts",
        region_name="us-east-1",
        endpoint_url=books.url,
        aws_access_key_id=issued.credentials.access_key_id,
        aws_secret_access_key=issued.credentials.secret_access_key,
        aws_session_token=issued.credentials.session_token,
    )
    assert client.get_caller_identity()["Arn"].startswith(f"arn:aws:sts::{account}:assumed-role/ReadOnly/")


@pytest.mark.parametrize("account", [SAML, OIDC])
def test_the_reader_reads_the_account(onboarded, books, now, account):
    known = find_account(account, Wishes())
    refreshed = refresh_catalogue.refresh_account(known, now=now)
    assert (refreshed.outcome, refreshed.reason) == ("ok", "")
    assert set(Role.objects.filter(account_id=account).values_list("name", flat=True)) >= {
        "ReadOnly",
        "rolegate-reader",
    }
    # And what it read there is found good.
    gateway = gateway_trust(
        account, partition="aws", federation=known.federation, provider=known.provider,
        issuer_url=onboarded_issuer(), region=known.region,
    )  # fmt: skip
    for role in Role.objects.filter(account_id=account, name__in=["ReadOnly", "rolegate-reader"]):
        report = examine(role.trust_policy, role_arn=role.arn, gateway=gateway, pointed=role.name == "ReadOnly")
        assert report.codes == (set() if role.name == "ReadOnly" else {"reader_role"})


def onboarded_issuer():
    from django.conf import settings

    return settings.ROLEGATE_ISSUER_URL


def test_the_reader_has_its_permissions_and_no_more(onboarded):
    iam, _ = onboarded[SAML]
    policy = iam.get_role_policy(RoleName="rolegate-reader", PolicyName="rolegate-reader")["PolicyDocument"]
    assert [s["Action"] for s in policy["Statement"]] == [
        [
            "iam:ListRoles",
            "iam:GetAccountAuthorizationDetails",
            "iam:ListAccountAliases",
            "iam:GetSAMLProvider",
            "iam:GetOpenIDConnectProvider",
        ]
    ]
    assert iam.list_attached_role_policies(RoleName="rolegate-reader")["AttachedPolicies"] == []


def test_the_readers_token_opens_no_role_of_people_and_theirs_not_the_reader(onboarded, books, sign_in_as, origin, now):
    def refused(role, token):
        client = boto3.client(
            "sts", region_name="us-east-1", endpoint_url=books.url, config=Config(signature_version=UNSIGNED)
        )
        with pytest.raises(ClientError):
            client.assume_role_with_web_identity(
                RoleArn=cast.role(OIDC, role), RoleSessionName="somebody", WebIdentityToken=token
            )
        return books.trail[-1]["reason"]

    reader = minting.mint_reader_token(cast.role(OIDC, "rolegate-reader"), origin=origin, now=now)
    assert refused("ReadOnly", reader.token) == "trust_mismatch"
    person = minting.mint_token(
        minting.TokenRequest(
            issuer=onboarded_issuer(), audience=minting.TOKEN_AUDIENCE, subject="person:alice", source_identity="alice"
        ),
        current.signer("token"),
        now=now,
    )
    assert refused("rolegate-reader", person.token) == "trust_mismatch"


# --- Finding the account ---------------------------------------------------------------------------------


def test_an_account_is_found_by_id_and_by_name(publish, db):
    publish(DOCUMENT)
    assert find_account(SAML, Wishes()) == find_account("books-prod", Wishes())
    assert find_account("books-prod", Wishes()).provider == "company-gate"


def test_one_of_the_organization_is_found_by_its_name_too(publish, db, now):
    OrganizationAccount.objects.create(id="777700001111", name="books-sandbox", state="ACTIVE", present=True, tags={}, first_seen_at=now)  # fmt: skip
    publish(DOCUMENT)
    assert find_account("books-sandbox", Wishes()).id == "777700001111"


@pytest.mark.parametrize("reference", ["books", "", "12345", "５５５５６６６６７７７７", "x\n"])
def test_what_is_neither_is_refused(publish, db, reference):
    publish(DOCUMENT)
    with pytest.raises(NotFound) as caught:
        find_account(reference, Wishes())
    assert caught.value.reason == "account_unknown"


def test_one_that_is_not_in_the_document_is_described_by_wishes(publish, gateway_keys, now):
    publish(DOCUMENT)
    written = onboard(FRESH, "cloudformation", Wishes(partition="aws-us-gov", federation="oidc", roles=()), now=now)
    assert any(f'add {{id: "{FRESH}"' in note and "aws-us-gov" in note for note in written.notes)
    assert set(yaml.safe_load(written.text)["Resources"]) == {"OidcProvider", "Reader"}
    assert written.file_name == f"rolegate-{FRESH}.yaml"


def test_what_the_document_still_has_to_say_is_said(publish, gateway_keys, now):
    publish(DOCUMENT)
    written = onboard("books-prod", "terraform", Wishes(federation="oidc", region="us-west-2"), now=now)
    assert any("federation: oidc, region: us-west-2" in note for note in written.notes)
    assert "aws_iam_saml_provider" not in written.text
    quiet = onboard("books-prod", "terraform", Wishes(), now=now)
    assert not any("mapping document" in note for note in quiet.notes)


def test_onboarding_changes_nothing_here(publish, gateway_keys, now):
    publish(DOCUMENT)
    before = AuditEvent.objects.count()
    onboard("books-prod", "cloudformation", Wishes(), now=now)
    assert AuditEvent.objects.count() == before


@pytest.mark.parametrize(
    ("setting", "wishes", "reads"),
    [
        ("", Wishes(), False),
        (f"arn:aws:iam::{SAML}:role/rolegate-reader", Wishes(), True),
        (f"arn:aws:iam::{OIDC}:role/rolegate-reader", Wishes(), False),
        (f"arn:aws:iam::{SAML}:role/rolegate-reader", Wishes(reads_organization=False), False),
        ("", Wishes(reads_organization=True), True),
        ("", Wishes(whole_organization=True), True),
    ],
)
def test_who_may_read_the_organization(publish, gateway_keys, now, settings, setting, wishes, reads):
    publish(DOCUMENT)
    settings.ROLEGATE_ORGANIZATION_ROLE = setting
    text = onboard("books-prod", "cloudformation", wishes, now=now).text
    reader = yaml.safe_load(text)["Resources"]["Reader"]["Properties"]
    assert (len(reader["Policies"][0]["PolicyDocument"]["Statement"]) == 2) == reads
