"""ARNs: exactly those of roles and providers, nothing that merely contains one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.aws.arns import ArnInvalid, RoleArn, oidc_provider_arn, parse_role_arn, role_arn, saml_provider_arn
from federation.errors import BadRequest

GOOD = "arn:aws:iam::111122223333:role/ReadOnly"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (GOOD, RoleArn("aws", "111122223333", "/", "ReadOnly")),
        (
            "arn:aws-cn:iam::111122223333:role/team/a/Deploy+x=1@y.z-_",
            RoleArn("aws-cn", "111122223333", "/team/a/", "Deploy+x=1@y.z-_"),
        ),
        ("arn:aws-us-gov:iam::000000000000:role/a,b", RoleArn("aws-us-gov", "000000000000", "/", "a,b")),
        ("arn:aws-eusc:iam::111122223333:role/" + "a" * 64, RoleArn("aws-eusc", "111122223333", "/", "a" * 64)),
    ],
)
def test_roles_are_read_and_written_back(text, parts):
    assert parse_role_arn(text) == parts
    assert str(parts) == text
    assert role_arn(parts.partition, parts.account_id, parts.name, parts.path) == parts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *[
            (t, "arn_not_a_role")
            for t in (
                "", "ReadOnly", f"{GOOD}\n", f" {GOOD}", f"{GOOD} ", f"{GOOD},{GOOD}", f"{GOOD}<x/>", "arn:aws:iam::111122223333:user/x",
                "arn:aws:iam::11112222333:role/x", "arn:aws:iam:us-east-1:111122223333:role/x", "arn:aws:sts::111122223333:assumed-role/x/y",
                "arn:aws:iam::111122223333:role/" + "a" * 65, "arn:aws:iam::111122223333:role/", "arn:aws:iam::111122223333:role/a/", "ARN:aws:iam::111122223333:role/x",
                "arn:aws:iam::111122223333:role/a,b/c", "arn:aws:iam::111122223333:role/a b/c", "arn:aws:iam::111122223333:role/a\tb", f"x{GOOD}",
            )
        ],
        ("arn:aws:iam::１１１１２２２２３３３３:role/x", "arn_not_ascii"),
        ("arn:aws:iam::111122223333:role/Ädmin", "arn_not_ascii"),
        ("arn:aws-iso:iam::111122223333:role/x", "arn_partition_unknown"),
        ("a" * 2049, "arn_too_long"),
    ],
)  # fmt: skip
def test_anything_else_is_refused(text, reason):
    with pytest.raises(ArnInvalid) as refused:
        parse_role_arn(text)
    assert refused.value.reason == reason
    assert isinstance(refused.value, BadRequest)


@given(st.text(max_size=30))
def test_what_is_read_has_no_comma_outside_the_name_and_no_blank(tail):
    try:
        read = parse_role_arn(GOOD + tail)
    except ArnInvalid:
        return
    assert str(read) == GOOD + tail
    assert "," not in read.path
    assert not any(c.isspace() for c in str(read))


def test_provider_arns():
    assert saml_provider_arn("aws", "111122223333", "rolegate") == "arn:aws:iam::111122223333:saml-provider/rolegate"
    assert (
        oidc_provider_arn("aws-cn", "111122223333", "https://access.example.com/issuer")
        == "arn:aws-cn:iam::111122223333:oidc-provider/access.example.com/issuer"
    )
    assert (
        oidc_provider_arn("aws", "111122223333", "http://localhost:8000/issuer")
        == "arn:aws:iam::111122223333:oidc-provider/localhost:8000/issuer"
    )
    assert oidc_provider_arn("aws", "111122223333", "http://[::1]:8000/issuer").endswith(
        "oidc-provider/[::1]:8000/issuer"
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        *[(lambda n=n: saml_provider_arn("aws", "111122223333", n), "provider_name_malformed") for n in ("", "a/b", "a,b", "a" * 129, "é", "a\n")],
        *[(lambda a=a: saml_provider_arn("aws", a, "x"), "account_id_malformed") for a in ("", "1", "1111222233334", "１１１１２２２２３３３３")],
        (lambda: saml_provider_arn("gcp", "111122223333", "x"), "arn_partition_unknown"),
        (lambda: oidc_provider_arn("gcp", "111122223333", "https://a.example"), "arn_partition_unknown"),
        (lambda: role_arn("aws", "111122223333", "a/../b\n"), "arn_not_a_role"),
        *[
            (lambda u=u: oidc_provider_arn("aws", "111122223333", u), "issuer_url_malformed")
            for u in (
                "", "access.example.com", "http://access.example.com", "https://access.example.com:8443", "https://a@access.example.com", "https://access.example.com?x", "https://access.example.com/?",
                "https://access.example.com#f", "https://", "https://a..b", "https://a,b/x", "https://a/x,y", "https://a/x\ny", "https://[::1", "https://a/" + "x" * 250, "HTTPS://access.example.com", "https://a:99999/",
            )
        ],
    ],
)  # fmt: skip
def test_provider_arns_are_made_of_nothing_else(make, reason):
    with pytest.raises(ArnInvalid) as refused:
        make()
    assert refused.value.reason == reason
