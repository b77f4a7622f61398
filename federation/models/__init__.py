"""The tables. Rows hold state, never rules: those are in `mapping`, `signin`, `issuer` and `flows`."""

from federation.models.access import RateWindow
from federation.models.access_changes import AccessChange
from federation.models.accounts import OrganizationAccount, PastRole, PolicyDocument, Role
from federation.models.audit import AuditEvent, AuditHead
from federation.models.audit_digest import AuditDigest, DailyCount, RoleUse
from federation.models.clients import AccessToken, AuthorizationCode, DeviceGrant, RefreshToken, TokenFamily
from federation.models.directory import (
    DirectoryGroup,
    DirectoryUser,
    GroupNesting,
    Membership,
    PastMembership,
    PastName,
    PastNesting,
)
from federation.models.entitlements import Entitlement, EntitlementState, GivenByRule, GivenRole, RuleReach
from federation.models.findings import ExaminedAccount, TrustFinding
from federation.models.keys import SigningKey
from federation.models.mapping import MappingDraft, MappingRevision
from federation.models.marks import RoleMark
from federation.models.people import PastClaims, Person
from federation.models.providers import OpenIdDocument, ProviderKeyUse, ProviderMetadata, ProviderTrial
from federation.models.requests import AccessRequest, Letter, RequestedRole
from federation.models.service_tokens import ServiceToken
from federation.models.sessions import PortalSession, SignInState, UsedCredential
from federation.models.sync import HeldAnswer, Lease, Source, TaskRun

__all__ = [
    "AccessChange",
    "AccessRequest",
    "AccessToken",
    "AuditDigest",
    "AuditEvent",
    "AuditHead",
    "AuthorizationCode",
    "DailyCount",
    "DeviceGrant",
    "DirectoryGroup",
    "DirectoryUser",
    "Entitlement",
    "EntitlementState",
    "ExaminedAccount",
    "GivenByRule",
    "GivenRole",
    "GroupNesting",
    "HeldAnswer",
    "Lease",
    "Letter",
    "MappingDraft",
    "MappingRevision",
    "Membership",
    "OpenIdDocument",
    "OrganizationAccount",
    "PastClaims",
    "PastMembership",
    "PastName",
    "PastNesting",
    "PastRole",
    "Person",
    "PolicyDocument",
    "PortalSession",
    "ProviderKeyUse",
    "ProviderMetadata",
    "ProviderTrial",
    "RateWindow",
    "RefreshToken",
    "RequestedRole",
    "Role",
    "RoleMark",
    "RoleUse",
    "RuleReach",
    "ServiceToken",
    "SignInState",
    "SigningKey",
    "Source",
    "TaskRun",
    "TokenFamily",
    "TrustFinding",
    "UsedCredential",
]
