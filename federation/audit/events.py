"""The kinds of audit event, and where a request came from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something was asked: the request id, the client's address and its User-Agent (cut to 200 characters)."""

    request_id: str
    address: str
    user_agent: str = ""


class Kind(StrEnum):
    """Every kind of event; docs/audit.md lists them, and a test holds it to this list."""

    SIGN_IN = "sign_in"
    SIGN_OUT = "sign_out"
    SIGN_OUT_BY_PROVIDER = "sign_out.by_provider"
    MINT_ASSERTION = "mint.assertion"
    MINT_TOKEN = "mint.token"
    CREDENTIALS = "credentials"
    CONSOLE = "console"
    MAPPING_PUBLISHED = "mapping.published"
    MAPPING_DRAFT = "mapping.draft"
    KEY_MADE = "key.made"
    KEY_ROTATED = "key.rotated"
    KEY_PUBLISHED = "key.published"
    REVOKED = "revoked"
    CLIENT_PAIRED = "client.paired"
    CLIENT_PAIRING_ALLOWED = "client.pairing_allowed"
    CLIENT_PAIRING_DENIED = "client.pairing_denied"
    CLIENT_REVOKED = "client.revoked"
    OAUTH_REFUSED = "oauth.refused"
    TOKEN_REUSED = "token.reused"
    TOKEN_REFUSED = "token.refused"
    PROVIDER_DOCUMENTS = "provider.documents"
    PROVIDER_CERTIFICATE_ENDS = "provider.certificate_ends"
    PROVIDER_TESTED = "provider.tested"
    ANSWER_DECIDED = "answer.decided"
    DIRECTORY_PERSON = "directory.person"
    DIRECTORY_GROUP = "directory.group"
    DIRECTORY_READ = "directory.read"
    ACCESS_REQUESTED = "access.requested"
    ACCESS_WITHDRAWN = "access.withdrawn"
    ACCESS_DECIDED = "access.decided"
    ACCESS_BREAK_GLASS = "access.break_glass"
    ACCESS_REVIEWED = "access.reviewed"
    ACCESS_ENDED = "access.ended"
    DIRECTORY_DISABLES_MANY = "directory.disables_many"
    DIRECTORY_EMPTIES_GROUP = "directory.empties_group"
    SESSIONS_ENDED = "sessions.ended"
    SERVICE_TOKEN_MADE = "service_token.made"
    SERVICE_TOKEN_REVOKED = "service_token.revoked"
    STAFF_REFUSED = "staff.refused"
    TASK_ASKED = "task.asked"
    ACCOUNT_VERIFICATION_ASKED = "account.verification_asked"
    ACCOUNT_VERIFIED = "account.verified"
    AUDIT_EXPORTED = "audit.exported"
