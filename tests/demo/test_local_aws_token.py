"""The local STS takes a good web-identity token once, with keys it fetched itself, and refuses the rest."""

from __future__ import annotations

import pytest
from lxml import etree

from demo import estate
from demo.aws.registry import BadRegistration
from tests.demo import kit
from tests.demo.kit import ACCOUNT, ROLE, reason

INVALID = "InvalidIdentityToken"
TAGS = "https://aws.amazon.com/tags"
SOURCE = "https://aws.amazon.com/source_identity"
NOW = int(kit.START.timestamp())


def call(token: str, name: str = "alice", **more: str) -> dict[str, str]:
    return {
        "Action": "AssumeRoleWithWebIdentity",
        "RoleArn": ROLE,
        "RoleSessionName": name,
        "WebIdentityToken": token,
        **more,
    }


@pytest.fixture
def aws(aws, issuer):
    arn = aws.register_oidc_provider(ACCOUNT, issuer.url, ["sts.amazonaws.com"])
    name = issuer.url.partition("://")[2]
    condition = {"StringEquals": {f"{name}:aud": "sts.amazonaws.com"}, "StringLike": {f"{name}:sub": "person:*"}}
    actions = ("sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity")
    aws.create_role(ACCOUNT, "ReadOnly", kit.trust(*actions, provider=arn, condition=condition))
    return aws


def test_a_good_token_gives_credentials_with_its_tags(aws, issuer):
    token = issuer.token(
        **{TAGS: {"principal_tags": {"Team": ["shop"]}, "transitive_tag_keys": ["Team"]}, SOURCE: "alice"}
    )
    root = etree.fromstring(aws.sts.call(call(token)))
    assert root.findtext(".//{*}Arn") == f"arn:aws:sts::{ACCOUNT}:assumed-role/ReadOnly/alice"
    assert root.findtext(".//{*}SubjectFromWebIdentityToken") == "person:alice"
    assert root.findtext(".//{*}SourceIdentity") == "alice"
    assert aws.trail[-1]["principalTags"] == {"Team": "shop"}
    assert issuer.asked == ["/issuer/.well-known/openid-configuration", "/issuer/jwks.json"]


def test_a_token_is_redeemed_once(aws, issuer):
    token = issuer.token()
    aws.sts.call(call(token))
    assert reason(aws, call(token)) == (INVALID, 400, "redeemed_before")


CLAIMS = {
    "audience": {"aud": "someone-else"},
    "token_expired": {"exp": NOW},
    "issued_in_future": {"iat": NOW + 61},
    "exp_not_integer": {"exp": NOW + 300.5},
    "iat_not_integer": {"iat": None},
    "subject": {"sub": None},
    "tags_malformed": {TAGS: {"principal_tags": {"Team": "shop"}}},
    "tag_not_allowed": {TAGS: {"principal_tags": {"Team": ["<shop>"]}}},
    "transitive_key_unknown": {TAGS: {"principal_tags": {"Team": ["shop"]}, "transitive_tag_keys": ["Other"]}},
    "source_identity_invalid": {SOURCE: "aws:alice"},
    "trust_mismatch": {"sub": "reader"},
}


@pytest.mark.parametrize("why", CLAIMS)
def test_a_wrong_claim_is_refused_for_its_own_reason(aws, issuer, why):
    assert reason(aws, call(issuer.token(**CLAIMS[why])))[2] == why


def test_azp_stands_for_the_audience(aws, issuer):
    assert reason(aws, call(issuer.token(azp="someone-else")))[2] == "audience"


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda i: i.discovery.update(issuer="http://127.0.0.1:1/issuer"), "discovery_incomplete"),
        (lambda i: i.discovery.pop("subject_types_supported"), "discovery_incomplete"),
        (lambda i: i.discovery.update(id_token_signing_alg_values_supported=["ES256"]), "algorithm_not_announced"),
        (lambda i: i.discovery.update(jwks_uri="http://jwks.example/"), "jwks_unreachable"),
        (lambda i: i.jwks.update(keys=[]), "kid_unknown"),
        (lambda i: i.jwks["keys"].append(i.jwks["keys"][0]), "kid_twice"),
        (lambda i: i.jwks["keys"][0].update(use="enc"), "key_not_for_this"),
        (lambda i: i.stop(), "discovery_unreachable"),
    ],
)
def test_without_a_key_the_sentence_is_the_one_that_the_gateway_retries(aws, issuer, spoil, why):
    token = issuer.token()
    spoil(issuer)
    assert reason(aws, call(token)) == (INVALID, 400, why)
    with pytest.raises(Exception, match="Couldn't retrieve verification key"):
        aws.sts.call(call(token))


def test_header_tricks_are_refused_before_any_fetch(aws, issuer):
    good = issuer.token()
    assert reason(aws, call(issuer.token({"jku": "http://127.0.0.1:1/"})))[2] == "header_not_allowed"
    assert reason(aws, call(issuer.token({"kid": ""})))[2] == "no_kid"
    none = good.replace(good.split(".")[0], "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ")
    assert reason(aws, call(none))[2] == "algorithm"
    assert reason(aws, call("nonsense"))[2] == "not_a_jwt"
    assert issuer.asked == []


def test_a_changed_token_is_refused(aws, issuer):
    head, body, signature = issuer.token().split(".")
    other = issuer.token(sub="person:mallory").split(".")[1]
    assert body != other
    assert reason(aws, call(f"{head}.{other}.{signature}"))[2] == "signature_invalid"


def test_an_issuer_that_is_not_registered_in_the_account(aws, issuer):
    assert reason(aws, call(issuer.token(iss="http://127.0.0.1:1/issuer")))[2] == "provider_unknown"


def test_session_names(aws, issuer):
    assert reason(aws, call(issuer.token(), name="a"))[2] == "validation_roleSessionName"
    assert reason(aws, call(issuer.token(), name="Alice Liddell"))[2] == "validation_roleSessionName"


@pytest.mark.parametrize("url", ["http://issuer.example", "https://issuer.example:8443", "https://issuer.example?x=1"])
def test_only_https_urls_without_port_become_providers(aws, url):
    with pytest.raises(BadRegistration):
        aws.register_oidc_provider(ACCOUNT, url, ["sts.amazonaws.com"])


def test_the_reader_is_for_the_gateway_itself_and_for_no_person(aws, issuer):
    arn = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer.url.partition('://')[2]}"
    reader = aws.create_role(ACCOUNT, estate.READER, estate.reader_trust(arn, issuer.url))
    own = {"RoleArn": reader}
    root = etree.fromstring(aws.sts.call(call(issuer.token(sub=estate.READER_SUBJECT), "rolegate-reader", **own)))
    assert root.findtext(".//{*}Arn") == f"arn:aws:sts::{ACCOUNT}:assumed-role/{estate.READER}/rolegate-reader"
    assert reason(aws, call(issuer.token(sub="person:alice"), **own)) == ("AccessDenied", 403, "trust_mismatch")
    assert reason(aws, call(issuer.token(sub="person:gateway:reader"), **own)) == (
        "AccessDenied",
        403,
        "trust_mismatch",
    )
    tagged = issuer.token(sub=estate.READER_SUBJECT, **{TAGS: {"principal_tags": {"Team": ["shop"]}}})
    assert reason(aws, call(tagged, **own)) == ("AccessDenied", 403, "trust_without_tag_session")
