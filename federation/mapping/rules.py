"""The mapping's own types: what a parsed mapping document is made of. Plain frozen data, no behaviour.

`document.parse` is the way to get a checked `Document`; whoever builds these by hand (an importer) checks the
result with `parse(to_yaml(document))`. Durations are whole seconds, moments are aware UTC datetimes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

Federation = Literal["saml", "oidc"]
MatchKind = Literal["exact", "glob", "regex"]
StaffRole = Literal["owner", "mapper", "account-owner", "approver", "auditor"]
SubjectAttribute = Literal["userName", "externalId", "id", "emails"]
GroupNameAttribute = Literal["displayName", "externalId"]

# Values that say "a second factor was used" where the provider names none of its own. One factor among several
# possible (amr "otp", "hwk", "sms": RFC 8176 section 2) proves no second one, so none of those is here.
DEFAULT_MFA: tuple[str, ...] = (
    "mfa",  # amr, RFC 8176 section 2
    "https://refeds.org/profile/mfa",  # acr and AuthnContextClassRef, REFEDS MFA profile
    "http://schemas.openid.net/pape/policies/2007/06/multi-factor",  # acr, PAPE 1.0 section 4
    "http://schemas.microsoft.com/claims/multipleauthn",  # AuthnContextClassRef and amr, Entra and AD FS
    "urn:oasis:names:tc:SAML:2.0:ac:classes:MobileTwoFactorContract",  # SAML Authn Context 3.4.8
    "urn:oasis:names:tc:SAML:2.0:ac:classes:MobileTwoFactorUnregistered",  # SAML Authn Context 3.4.6
    "urn:oasis:names:tc:SAML:2.0:ac:classes:SmartcardPKI",  # SAML Authn Context 3.4.15: card and PIN
)


def _freeze(instance: object, *names: str) -> None:
    """Copy the named mappings into read-only ones, so that nobody can change a published rule behind the engine."""
    for name in names:
        object.__setattr__(instance, name, MappingProxyType(dict(getattr(instance, name))))


def _empty() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ClaimMap:
    """Which claim (OIDC) or attribute (SAML; `NameID` for the subject) holds what.

    `attributes`: our name -> the claim's name. `mfa`: AuthnContextClassRef, amr and acr values that mean a second factor.
    """

    subject: str = "sub"
    email: str = "email"
    name: str = "name"
    groups: str = "groups"
    attributes: Mapping[str, str] = field(default_factory=_empty)
    mfa: tuple[str, ...] = DEFAULT_MFA

    def __post_init__(self) -> None:
        _freeze(self, "attributes")


OIDC_CLAIMS = ClaimMap()
SAML_CLAIMS = ClaimMap(subject="NameID", email="mail", name="displayName", groups="memberOf")


@dataclass(frozen=True, slots=True)
class SamlProvider:
    """A SAML 2.0 identity provider; exactly one of the three `metadata_` sources is set.

    `metadata_certificate`: PEM; the metadata's own signature must then verify against it. `max_validity`: seconds that an
    assertion of this provider may be valid for; ten minutes unless the provider cannot be taught better (some default
    to an hour). A longer one is still used once. `graph`: the application as which Microsoft Graph is asked for the groups that
    an assertion leaves out; of it, issuer, client and `graph` count.
    """

    metadata_url: str = ""
    metadata_file: str = ""
    metadata_xml: str = field(default="", repr=False)
    metadata_certificate: str = field(default="", repr=False)
    sign_requests: bool = True
    allow_unsolicited: bool = False
    encrypted_assertions: bool = False
    max_validity: int = 600
    graph: OidcProvider | None = None


@dataclass(frozen=True, slots=True)
class GraphOptions:
    """Microsoft Graph, asked for a person's groups where the token leaves them out. `endpoint` without a slash at its end.

    `group_name`: what rules know a group by. Not its displayName: whoever may make a group can give it any.
    """

    endpoint: str = "https://graph.microsoft.com"
    group_name: Literal["id", "onPremisesSamAccountName"] = "id"


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """An OpenID Connect provider. `client_secret` may be `${NAME}`, read from the environment by whoever uses it."""

    issuer: str
    client_id: str
    client_secret: str = field(default="", repr=False)  # a repr ends up in logs
    scopes: tuple[str, ...] = ("openid", "profile", "email", "groups")
    token_endpoint_auth_method: str = "client_secret_basic"
    graph: GraphOptions | None = None


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """A corporate identity provider: exactly one of `saml` and `oidc` is set."""

    slug: str
    name: str
    saml: SamlProvider | None
    oidc: OidcProvider | None
    claims: ClaimMap
    email_domains: tuple[str, ...] = ()
    enabled: bool = True

    @property
    def client(self) -> OidcProvider | None:
        """Whom the gateway is to the provider's token endpoint, if it has anything to do there."""
        return self.oidc or (self.saml.graph if self.saml else None)


@dataclass(frozen=True, slots=True)
class LdapAttributes:
    """Which LDAP attribute holds what: of a person `subject`, `email`, `name`; of a group its name, `group`, and `member`."""

    subject: str = "uid"
    email: str = "mail"
    name: str = "displayName"
    group: str = "cn"
    member: str = "member"


@dataclass(frozen=True, slots=True)
class LdapDirectory:
    """A directory that is read over LDAP, every `interval` seconds.

    `urls`: its servers, all with the same people and groups; the next is asked where one cannot be. `password` is `${NAME}`, read from the environment by whoever uses it. `ca_certificate`: PEM, the only authority that the
    server's certificate may come from; "" is the system's. `start_tls`: with an `ldap` URL, encrypted before anything is said.
    `disabled_filter`: whom it finds is inactive, besides those of whom a usual attribute says so. `nested`: a member of a
    group's member group is a member.
    """

    urls: tuple[str, ...]
    base_dn: str
    bind_dn: str = ""
    password: str = field(default="", repr=False)
    ca_certificate: str = field(default="", repr=False)
    start_tls: bool = False
    user_filter: str = "(objectClass=person)"
    disabled_filter: str = ""
    group_filter: str = "(|(objectClass=group)(objectClass=groupOfNames))"
    attributes: LdapAttributes = LdapAttributes()
    nested: bool = True
    interval: int = 900


@dataclass(frozen=True, slots=True)
class ScimDirectory:
    """A directory that pushes by SCIM. `group_name`: the attribute of a group that rules know it by."""

    group_name: GroupNameAttribute = "displayName"


PULL_STALE_AFTER = 86_400


@dataclass(frozen=True, slots=True)
class Directory:
    """Who is in which group, from the company's directory: exactly one of `scim` and `ldap` is set.

    `subject`: the attribute that equals, letter by letter, what the provider calls a person (with LDAP, `attributes.subject`
    is). `groups`: the directory's groups count instead of the claims' ("replace"), or besides ("add"). `stale_after`: seconds
    without contact after which the directory's word is old; None: never, as one that pushes is silent when nothing changes.
    """

    slug: str
    provider: str
    scim: ScimDirectory | None = None
    ldap: LdapDirectory | None = None
    subject: SubjectAttribute = "userName"
    groups: Literal["replace", "add"] = "replace"
    stale_after: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """An AWS account. `provider`: name of the IAM SAML provider in it. `organizational_unit`: id or path.

    `unit_ids`: the ids of the root and the units that it lies in, where the organization's own listing says so.
    """

    id: str
    name: str
    partition: str = "aws"
    federation: Federation = "saml"
    provider: str = "rolegate"
    region: str = ""
    tags: Mapping[str, str] = field(default_factory=_empty)
    organizational_unit: str = ""
    unit_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _freeze(self, "tags")


_PRODUCTION = frozenset({"production", "prod", "prd", "live"})


def is_production(account: Account) -> bool:
    """Whether the account is marked as production: by its tag `environment`, whatever its case."""
    return account.tags.get("environment", "").strip().lower() in _PRODUCTION


@dataclass(frozen=True, slots=True)
class GroupMatch:
    """One way to name groups. Every kind speaks about the whole name; in its exact letters, unless `fold`: in any case.

    `glob`: `*` is any run of characters, `?` is one. `regex`: RE2 syntax, must match the whole name. `fold`: set by `Rule`,
    where naming a group takes access away.
    """

    kind: MatchKind
    pattern: str
    fold: bool = False

    def __str__(self) -> str:
        return self.pattern if self.kind != "regex" else f"/{self.pattern}/"


@dataclass(frozen=True, slots=True)
class When:
    """The conditions of a rule; all of them must hold, and an empty one always holds.

    `groups`: any of. `attributes`: for each name, any of the values. `from_` is the first moment at which the
    rule counts, `until` the first at which it no longer does.
    """

    groups: tuple[GroupMatch, ...] = ()
    all_of: tuple[GroupMatch, ...] = ()
    none_of: tuple[GroupMatch, ...] = ()
    provider: tuple[str, ...] = ()
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=_empty)
    mfa: bool | None = None
    from_: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        _freeze(self, "attributes")


@dataclass(frozen=True, slots=True)
class AccountSelector:
    """Chooses accounts: (id in `ids` or name matches one of `names`) and every tag and an organizational unit fit.

    `names` are globs. `tags`: key -> any of the values. An organizational unit chooses what lies below it too.
    """

    ids: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=_empty)
    organizational_units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _freeze(self, "tags")


@dataclass(frozen=True, slots=True)
class Target:
    """What a rule gives or takes away. `accounts` None is every account; it narrows `arns` as well as `roles`.

    `roles`: role names, `path/name`, or globs of either. `arns`: role ARNs, `{capture}` allowed for account and role.
    A deny without roles and arns covers every role of the accounts.
    """

    roles: tuple[str, ...] = ()
    accounts: AccountSelector | None = None
    arns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """Who among those whom the rule gives the role may take it at once, without a yes, for at most `at_most` seconds.

    It is told to everybody who could have said yes, and looked at afterwards.
    """

    by: tuple[GroupMatch, ...]
    at_most: int


@dataclass(frozen=True, slots=True)
class Approval:
    """The role needs a yes from somebody in `by`, for at most `at_most` seconds. `provider`: slugs, of one of which whoever says
    yes, or takes it at once, must be; none: of any, for a group's name is not a provider's own.
    """

    by: tuple[GroupMatch, ...]
    at_most: int
    reason: Literal["required", "optional"] = "required"
    break_glass: BreakGlass | None = None
    provider: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How the AWS session is made. Durations in seconds, 900 to 43,200; None is the gateway's default.

    `policy`: "", "read-only", or an inline session policy as JSON. `tags`: key -> template over the identity.
    """

    duration: int | None = None
    console_duration: int | None = None
    policy: str = ""
    policy_arns: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=_empty)
    transitive_tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _freeze(self, "tags")


NO_OPTIONS = SessionOptions()


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of `mapping`: exactly one of `allow` and `deny` is set. `line` is where the file says so.

    `by_tag`: not of the document, but out of a role's own tags (`mapping.delegated`).
    """

    name: str
    when: When
    allow: Target | None = None
    deny: Target | None = None
    session: SessionOptions = NO_OPTIONS
    approval: Approval | None = None
    by_tag: bool = False
    line: int = field(default=0, compare=False)  # the same rule, moved in the file, is still the same rule

    def __post_init__(self) -> None:
        # Attack, or mishap: whoever may name groups in the directory writes Contractors for contractors, and a deny is gone.
        when = self.when
        if self.deny is not None and (when.groups or when.all_of):
            when = replace(when, groups=_in_any_case(when.groups), all_of=_in_any_case(when.all_of))
        elif self.deny is None and when.none_of:
            when = replace(when, none_of=_in_any_case(when.none_of))
        object.__setattr__(self, "when", when)


def _in_any_case(matches: tuple[GroupMatch, ...]) -> tuple[GroupMatch, ...]:
    return tuple(replace(match, fold=True) for match in matches)


@dataclass(frozen=True, slots=True)
class StaffRule:
    """Who may do what in the gateway itself. `accounts` belongs to `account-owner`, and only to it. `provider`: slugs, of one of
    which the person must be; none: of any, for a group's name is not a provider's own.
    """

    role: StaffRole
    groups: tuple[GroupMatch, ...]
    accounts: AccountSelector | None = None
    provider: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delegation:
    """What owners of these accounts may map by tagging their own roles: groups (globs), of which providers' people (slugs; none:
    of any), and for how many seconds.
    """

    accounts: AccountSelector
    groups: tuple[str, ...]
    max_duration: int | None = None
    provider: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A whole mapping document, checked."""

    version: int = 1
    identity_providers: tuple[IdentityProvider, ...] = ()
    accounts: tuple[Account, ...] = ()
    staff: tuple[StaffRule, ...] = ()
    rules: tuple[Rule, ...] = ()
    delegations: tuple[Delegation, ...] = ()
    directories: tuple[Directory, ...] = ()


@dataclass(frozen=True, slots=True)
class CatalogueRole:
    """A role as the account's own listing has it. `path` without its outer slashes; `max_session_duration` in seconds."""

    arn: str
    name: str
    path: str = ""
    max_session_duration: int | None = None


Catalogue = Mapping[str, Mapping[str, CatalogueRole]]
"""Account id -> role ARN -> role. An account that is absent is not known; one that is present is known whole."""
