"""`manage.py onboard`: what an account's owner applies goes to standard output, what they should know to standard error."""

import io

import hcl2
import pytest
import yaml
from django.core.management import CommandError, call_command

from federation.models import SigningKey
from tests import cast


@pytest.fixture
def onboard(gateway_keys, publish, settings):
    publish()
    settings.ROLEGATE_ISSUER_URL = "https://gate.example.com/issuer"

    def do(*args):
        out, err = io.StringIO(), io.StringIO()
        call_command("onboard", *map(str, args), stdout=out, stderr=err)
        return out.getvalue(), err.getvalue()

    return do


def test_cloudformation_for_an_account_by_its_name(onboard):
    text, notes = onboard("shop-prod", "--format", "cloudformation")
    assert text.startswith(
        f"# Rolegate at https://gate.example.com/issuer: access for account {cast.PROD} (shop-prod).\n"
    )
    resources = yaml.safe_load(text)["Resources"]
    assert set(resources) == {"SamlProvider", "OidcProvider", "Reader", "RoleReadOnly"}
    for key in SigningKey.objects.filter(purpose="saml"):
        assert (
            "".join(key.certificate.split("\n")[1:-2])
            in resources["SamlProvider"]["Properties"]["SamlMetadataDocument"]
        )
    assert notes == ""
    assert "PRIVATE" not in text


def test_terraform_for_an_account_by_its_id(onboard):
    text, notes = onboard(cast.STAGING, "--format", "terraform")
    kinds = [kind.strip('"') for one in hcl2.loads(text)["resource"] for kind in one]
    assert kinds.count("aws_iam_openid_connect_provider") == 1
    assert "aws_iam_saml_provider" not in kinds
    assert notes == ""


def test_roles_are_chosen_by_name_and_policy(onboard):
    text, _ = onboard(
        "shop-prod", "--format", "cloudformation",
        "--roles", "Developer:arn:aws:iam::aws:policy/PowerUserAccess", f"Deployer:arn:aws:iam::{cast.PROD}:policy/Deploy",
    )  # fmt: skip
    roles = [r["Properties"] for r in yaml.safe_load(text)["Resources"].values() if r["Type"] == "AWS::IAM::Role"]
    assert {r["RoleName"]: r.get("ManagedPolicyArns") for r in roles} == {
        "rolegate-reader": None,
        "Developer": ["arn:aws:iam::aws:policy/PowerUserAccess"],
        "Deployer": [f"arn:aws:iam::{cast.PROD}:policy/Deploy"],
    }
    text, _ = onboard("shop-prod", "--format", "cloudformation", "--roles")
    assert set(yaml.safe_load(text)["Resources"]) == {"SamlProvider", "OidcProvider", "Reader"}


def test_for_a_whole_organization(onboard):
    text, notes = onboard("shop-prod", "--format", "cloudformation", "--stackset")
    assert "MemberAccounts" in yaml.safe_load(text)["Resources"]
    assert "trusted access" in notes
    text, _ = onboard("shop-prod", "--format", "terraform", "--stackset", "--existing-providers")
    assert "aws_cloudformation_stack_set" in text
    assert "aws_iam_saml_provider" not in text


def test_the_file_is_written_and_named(onboard, tmp_path):
    path = tmp_path / "shop.yaml"
    said, _ = onboard("shop-prod", "--format", "cloudformation", "--output", path)
    assert said == f"{path}: apply it in account {cast.PROD}.\n"
    assert path.read_text() == onboard("shop-prod", "--format", "cloudformation")[0]
    with pytest.raises(CommandError, match="cannot be written: Is a directory"):
        onboard("shop-prod", "--format", "cloudformation", "--output", tmp_path)


def test_an_account_that_is_not_in_the_document(onboard):
    text, notes = onboard(
        "999988887777", "--format", "cloudformation", "--partition", "aws-cn", "--federation", "saml", "--provider", "gate", "--region", "cn-north-1",
    )  # fmt: skip
    assert "https://signin.amazonaws.cn/saml" in text
    assert "arn:aws-cn:iam::aws:policy/ReadOnlyAccess" in text
    assert "Note: Account 999988887777 is not in the mapping document" in notes
    with pytest.raises(CommandError, match=r"give its id of 12 digits.*\[not_found: account_unknown\]"):
        onboard("nowhere", "--format", "cloudformation")


def test_an_issuer_that_aws_cannot_reach_is_a_note(onboard, settings):
    settings.ROLEGATE_ISSUER_URL = "http://localhost:8000/issuer"
    _, notes = onboard("shop-prod", "--format", "terraform")
    assert "Note: AWS will not accept the issuer http://localhost:8000/issuer" in notes


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (["--format", "pulumi"], "invalid choice"),
        ([], "--format"),
        (["--format", "terraform", "--roles", "x"], "onboarding_invalid: role_malformed"),
        (["--format", "terraform", "--region", "moon-1"], "region_invalid: region_malformed"),
        (["--format", "terraform", "--provider", "a b"], "arn_invalid: provider_name_malformed"),
        (["--format", "terraform", "--partition", "aws-eusc", "--region", "eusc-de-east-1", "--roles"], "saml_unavailable"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_a_sentence(onboard, args, match):
    with pytest.raises(CommandError, match=match):
        onboard("shop-prod", *args)


def test_a_new_gateway_makes_its_keys_first(db, settings, monkeypatch, publish):
    from federation.flows import rotate_keys

    publish()
    settings.ROLEGATE_ISSUER_URL = "https://gate.example.com/issuer"
    monkeypatch.setattr(rotate_keys, "KINDS", (("saml", "RS256"),))
    out = io.StringIO()
    call_command("onboard", "shop-prod", "--format", "cloudformation", stdout=out)
    assert "X509Certificate" in out.getvalue()
