"""parse(to_yaml(document)) == document, for any document: what is exported can be applied again."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.mapping.document import parse, to_yaml
from federation.mapping.patterns import is_glob
from federation.mapping.rules import (
    NO_OPTIONS,
    Account,
    AccountSelector,
    Approval,
    BreakGlass,
    ClaimMap,
    Delegation,
    Directory,
    Document,
    GraphOptions,
    GroupMatch,
    IdentityProvider,
    LdapAttributes,
    LdapDirectory,
    OidcProvider,
    Rule,
    SamlProvider,
    ScimDirectory,
    SessionOptions,
    StaffRule,
    Target,
    When,
)

texts = st.one_of(
    st.sampled_from(
        [
            "no",
            "null",
            "~",
            "1e3",
            "0x1F",
            "2026-01-01",
            "true",
            "a: b",
            "- a",
            "# x",
            "&a",
            "*a",
            "!x",
            "'",
            '"',
            " a ",
            "a\u00a0b",
            "é",
            "😀",
            "=",
            "<<",
            "{x}",
            "%",
            "@",
            "`",
            "|",
            "a #b",
            "\u0301",
            "\ufeff",
            "\ufffd",
        ]
    ),
    st.text(
        st.characters(
            exclude_categories=("Cc", "Cs", "Zl", "Zp"),
            exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
        ),
        min_size=1,
        max_size=12,
    ),
)
lines = st.text(st.sampled_from("ab <>&\n\t:#-é"), min_size=1, max_size=30)
groups = st.one_of(
    texts.map(lambda t: GroupMatch("exact", t)),
    texts.filter(is_glob).map(lambda t: GroupMatch("glob", t)),
    st.just(GroupMatch("glob", "plain")),
    st.sampled_from([r"^a(?P<x>\d+)$", "^[a-z]+$", r"^\pL*: #$"]).map(lambda t: GroupMatch("regex", t)),
)


def several(strategy, least=1):
    return st.lists(strategy, min_size=least, max_size=3, unique=True).map(tuple)


tags = st.dictionaries(texts, texts, max_size=3)
wanted_tags = st.dictionaries(texts, several(texts), min_size=1, max_size=2)
selectors = st.builds(
    AccountSelector,
    ids=several(st.from_regex(r"[0-9]{12}", fullmatch=True).filter(str.isascii)),
    names=several(texts.map(lambda t: t + "*"), 0),
    tags=wanted_tags,
    organizational_units=several(texts, 0),
)
roles = several(st.sampled_from(["R", "team/R", "a*", "?", "x.y@z", "7", "no"]))
arns = several(st.sampled_from(["arn:aws:iam::111122223333:role/R", "arn:aws-cn:iam::444455556666:role/a/b/c"]), 0)
targets = st.builds(Target, roles=roles, accounts=st.none() | selectors, arns=arns)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(lambda m: m.replace(tzinfo=UTC))
whens = st.builds(
    When,
    groups=several(groups),
    all_of=several(groups, 0),
    none_of=several(groups, 0),
    provider=several(st.sampled_from(["corp", "entra"]), 0),
    attributes=st.dictionaries(st.sampled_from(["department", "city"]), several(texts), max_size=2),
    mfa=st.none() | st.booleans(),
    from_=st.none() | moments,
    until=st.none() | moments.map(lambda m: m.replace(year=2031)),
)
durations = st.none() | st.integers(900, 43_200)
sessions = st.builds(
    SessionOptions,
    duration=durations,
    console_duration=durations,
    policy=st.sampled_from(["", "read-only", '{"Statement":[{"Effect":"Deny","Sid":"\\u00e9 # x"}]}']),
    policy_arns=several(st.sampled_from(["arn:aws:iam::aws:policy/A", "arn:aws:iam::111122223333:policy/x/B"]), 0),
    tags=st.just({"Team": "{attributes.department}", "no": "{email}"}),
    transitive_tags=st.sampled_from([(), ("Team",), ("no", "Team")]),
)
approvals = st.builds(
    Approval,
    by=several(groups),
    at_most=st.integers(3_600, 86_400),
    reason=st.sampled_from(["required", "optional"]),
    break_glass=st.none() | st.builds(BreakGlass, by=several(groups), at_most=st.integers(1_800, 3_600)),
    provider=several(st.sampled_from(["corp", "entra"]), 0),
)
effects = st.one_of(
    st.tuples(targets, st.none(), sessions, st.none() | approvals),
    st.tuples(st.none(), targets, st.just(NO_OPTIONS), st.none()),
)
rules = st.builds(
    lambda name, when, effect: Rule(name, when, *effect),
    texts,
    whens,
    effects,
)
claims = st.builds(
    ClaimMap,
    subject=texts,
    email=texts,
    name=texts,
    groups=texts,
    attributes=st.just({"department": "d", "city": "l"}),
    mfa=several(texts, 0),
)
graphs = st.builds(
    GraphOptions,
    st.sampled_from(["https://graph.microsoft.com", "https://graph.microsoft.us", "http://127.0.0.1:9"]),
    st.sampled_from(["id", "onPremisesSamAccountName"]),
)
applications = st.builds(
    OidcProvider,
    issuer=st.just("https://login.microsoftonline.us/t/v2.0"),
    client_id=texts,
    client_secret=texts,
    token_endpoint_auth_method=st.sampled_from(["client_secret_basic", "client_secret_post"]),
    graph=graphs,
)
samls = st.one_of(
    st.builds(
        SamlProvider,
        metadata_url=st.just("https://idp.example.com/m?x=1"),
        sign_requests=st.booleans(),
        allow_unsolicited=st.booleans(),
    ),
    st.builds(SamlProvider, metadata_file=texts, encrypted_assertions=st.booleans(), graph=st.none() | applications),
    st.builds(
        SamlProvider,
        metadata_xml=lines,
        metadata_certificate=st.sampled_from(["", "-----BEGIN CERTIFICATE-----\nMIIB+/=\n-----END CERTIFICATE-----\n"]),
    ),
)
oidcs = (
    st.builds(
        OidcProvider,
        issuer=st.sampled_from(["https://login.example.com/t", "http://127.0.0.1:8080"]),
        client_id=texts,
        client_secret=st.just("") | texts,
        scopes=st.just(("openid", "x")),
        token_endpoint_auth_method=st.sampled_from(["client_secret_basic", "client_secret_post", "none"]),
    )
    | applications
)
corp = st.builds(
    lambda saml, c, enabled: IdentityProvider("corp", "Corp", saml, None, c, ("example.com",), enabled),
    samls,
    claims,
    st.booleans(),
)
entra = st.builds(lambda name, oidc, c: IdentityProvider("entra", name, None, oidc, c), texts, oidcs, claims)
pem = st.sampled_from(["", "-----BEGIN CERTIFICATE-----\nMIIB+/=\n-----END CERTIFICATE-----\n"])
clear_ldaps = st.builds(
    LdapDirectory, urls=st.just(("ldap://ldap.example.com",)), base_dn=st.just("dc=x"), start_tls=st.just(True)
)
ldap_names = st.sampled_from(["uid", "sAMAccountName", "userCertificate;binary"])
ldaps = st.builds(
    LdapDirectory,
    urls=st.sampled_from([("ldaps://ldap.example.com",), ("ldap://127.0.0.1:3890", "ldaps://ldap.example.com")]),
    base_dn=st.sampled_from(["dc=example,dc=com", "O=Über GmbH", "2.5.4.10=x"]),
    bind_dn=texts,
    password=st.sampled_from(["${A}", "${LDAP_PASSWORD}"]),
    ca_certificate=pem,
    user_filter=st.sampled_from(["(objectClass=person)", "(&(a=1)(|(b=\\28)(!(c=*))))"]),
    disabled_filter=st.sampled_from(["", "(employeeStatus=left)"]),
    attributes=st.builds(LdapAttributes, ldap_names, ldap_names, ldap_names, ldap_names, ldap_names),
    nested=st.booleans(),
    interval=st.integers(60, 86_400),
)
pushed = st.builds(
    Directory,
    slug=st.just("pushed"),
    provider=st.just("corp"),
    scim=st.builds(ScimDirectory, st.sampled_from(["displayName", "externalId"])),
    subject=st.sampled_from(["userName", "externalId", "id", "emails"]),
    groups=st.sampled_from(["replace", "add"]),
    stale_after=st.none() | st.integers(3_600, 2_592_000),
)
pulled = st.builds(
    Directory,
    slug=st.just("pulled"),
    provider=st.just("entra"),
    ldap=ldaps | clear_ldaps,
    groups=st.sampled_from(["replace", "add"]),
    stale_after=st.integers(3_600, 2_592_000) | st.just(86_400),
)
accounts = st.builds(
    Account,
    id=st.from_regex(r"[0-9]{12}", fullmatch=True).filter(str.isascii),
    name=texts,
    partition=st.just("aws"),
    federation=st.sampled_from(["saml", "oidc"]),
    provider=st.sampled_from(["rolegate", "x.y"]),
    region=st.sampled_from(["", "eu-west-1"]),
    tags=tags,
    organizational_unit=st.just("") | texts,
)
staff = st.one_of(
    st.builds(StaffRule, st.sampled_from(["owner", "mapper", "approver", "auditor"]), several(groups)),
    st.builds(StaffRule, st.just("account-owner"), several(groups), selectors),
)
documents = st.builds(
    Document,
    version=st.just(1),
    identity_providers=st.tuples(corp, entra),
    accounts=st.lists(accounts, max_size=3, unique_by=(lambda a: a.id, lambda a: a.name)).map(tuple),
    staff=st.lists(staff, max_size=2).map(tuple),
    rules=st.lists(rules, max_size=3, unique_by=lambda r: r.name).map(tuple),
    delegations=st.lists(st.builds(Delegation, selectors, several(texts), durations), max_size=2).map(tuple),
    directories=st.one_of(st.just(()), st.tuples(pushed), st.tuples(pulled), st.tuples(pulled, pushed)),
)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents)
def test_any_document_survives_the_way_there_and_back(document):
    written = to_yaml(document)
    assert parse(written) == document
    assert to_yaml(parse(written)) == written
