"""Why a sign-in or the use of a role did not work, in words for those who look after the gateway: what a reason of the log means.

Whoever was refused is told one and the same sentence whatever the reason, so that a forger learns nothing. Nobody but staff
sees these. What only a provider's administrators can mend is said as `provider_words` says it.
"""

from __future__ import annotations

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from portal.staff.provider_words import REASONS as OF_PROVIDERS

_SIGNING_IN: Final[dict[str, str | Promise]] = {
    # Steps of a sign-in, in the person's own browser.
    "code_expired": _("The browser took longer than a minute for the last step of the sign-in: it was slow, or asleep. Signing in again helps."),
    "code_unknown": _("The last step of a sign-in came with a code that is not known here: a bookmark, mostly, or the Back button."),
    "code_used": _("The last step of a sign-in came twice: the Back button, or a page that was loaded again."),
    "binding_mismatch": _("Another browser came back than the one that had begun: a link opened elsewhere, cookies that are refused, or somebody who wants others signed in as themself (login CSRF)."),
    "state_expired": _("The sign-in took longer than ten minutes: a page that was left open. Signing in again helps."),
    "state_missing": _("The callback names no sign-in: its address was opened by hand, or by somebody who wants others signed in as themself (login CSRF)."),
    "state_unknown": _("The callback names a sign-in that was not begun here: a bookmark, mostly, or the Back button."),
    "state_used": _("The callback of a sign-in came twice: the Back button, or a page that was loaded again."),
    "in_response_to_unknown": _("The answer belongs to no sign-in that is open here: a page that was left open for too long, mostly, or the Back button."),
    "unsolicited": _("The provider began the sign-in by itself, from its own list of applications: allow_unsolicited is not set for it."),
    # Who it is.
    "provider_disabled": _("The identity provider is disabled in the mapping, or not in it any more."),
    "provider_unknown_or_disabled": _("The identity provider is disabled in the mapping, or not in it any more."),
    "provider_changed": _("While the sign-in was under way, a revision of the mapping put another provider in this one's place. Signing in again helps."),
    "person_disabled": _("The person is disabled here."),
    "person_unknown": _("The person is not known here any more."),
    "directory_inactive": _("The person is disabled in the company's directory."),
    "directory_deleted": _("The person was deleted in the company's directory."),
    "not_in_directory": _("The company's directory does not list the person for this gateway: assign it to them there."),
    "directory_ambiguous": _("The company's directory knows several people by this name."),
    "group_overage": _("The provider left groups out, because the person is in too many: connect the directory, or have it send fewer."),
    # The provider.
    "metadata_unread": _("The provider's metadata have never been read."),
    "metadata_not_utf8": _("The provider's metadata are not in UTF-8."),
    "not_a_saml_provider": _("The provider does not speak SAML."),
    "not_an_oidc_provider": _("The provider does not speak OpenID Connect."),
    "token_endpoint_failed": _("The provider's token endpoint fails, or cannot be reached."),
    "userinfo_failed": _("The provider's userinfo endpoint fails, or cannot be reached."),
    "verifiers_disagree": _("Of the two programs that check each signature one says yes, the other no: look at this at once."),
    "library_refused": _("The SAML library refused what every check of ours had let pass: the log has the detail."),
    "sign_in_rate": _("Too many sign-ins by one person, or from one address, within a few minutes."),
}  # fmt: skip
_USING: Final[dict[str, str | Promise]] = {
    "claims_too_old": _("Signed in longer ago than ROLEGATE_CLAIMS_MAX_AGE allows. Signing in again helps."),
    "mapping_unreadable": _("This version cannot read the mapping document in force, so it decides nothing: go on with the version that published it, or publish one that this version reads."),
    "session_ended": _("The person's sign-ins were ended, here or by the directory, while they were used. Signing in again helps."),
    "given_otherwise_now": _("A revision of the mapping that came into force while AWS made the session gives the role on other terms. Trying again helps."),
    "provider_session_ended": _("The session at the identity provider has ended. Signing in again helps."),
    "approval_required": _("The rule gives the role only with an approval, and there was none."),
    "approval_ending": _("The approval had less than fifteen minutes left, and AWS gives no session that short."),
    "no_matching_rule": _("No rule gives the role to this person."),
    "denied_by_rule": _("A rule denies the role, and a deny wins."),
    "directory_stale": _("The account is production, and the person's directory has been silent for too long to be believed."),
    "role_not_granted": _("The page's address names a role that the person does not have: a link from a colleague, mostly."),
    "account_unknown": _("The account is neither in the mapping nor in the organization."),
    "role_unknown": _("The account has no such role any more."),
    "role_reserved": _("The role belongs to IAM Identity Center or to a service of AWS, and is not given by the gateway."),
    "pairing_too_weak": _("The role is kept from command lines that were paired by a typed code (ROLEGATE_DEVICE_EXCLUDED_ROLES)."),
    "credentials_rate": _("Too many uses of roles by one person, or from one address, within a few minutes."),
    "duration_out_of_range": _("A session was asked for that is shorter than fifteen minutes or longer than twelve hours."),
    "destination_not_allowed": _("The console was to be opened at an address that is no page of it."),
    "clock_differs_from_aws": _("The clock of this machine is more than a minute off."),
    "clock_differs_from_database": _("The clock of this machine is more than a minute off."),
    # What AWS answered.
    "sts_access_denied": _("AWS refused the role: look at its trust findings."),
    "access_denied_after_fail_over": _("AWS refused the role in another region than its own: every region's sign-in URL must stand under SAML:aud in the trust policy."),
    "sts_identity_rejected": _("The provider that the account registered for the gateway holds other keys or another audience: verify the account."),
    "sts_token_invalid": _("The account's provider for the gateway does not take its token: verify the account."),
    "sts_token_expired": _("AWS found a document expired that was made seconds before: is this machine's clock right?"),
    "sts_duration_too_long": _("The role does not allow sessions of this length."),
    "sts_policy_malformed": _("AWS does not take the session policy."),
    "sts_session_too_large": _("The session policies and tags are together larger than AWS takes."),
    "sts_validation": _("AWS found the gateway's request malformed: the log has the detail."),
    "sts_region_disabled": _("STS is switched off for the account in every region that was tried."),
    "sts_throttled": _("AWS limited its answers for a while. It passes by itself."),
    "sts_unreachable": _("AWS STS could not be reached from this gateway."),
    "sts_idp_communication": _("AWS could not fetch the gateway's public keys: does ROLEGATE_ISSUER_URL answer from the internet?"),
    "sts_answer_invalid": _("AWS STS answered in a form that is not understood: the log has the detail."),
    "sts_error": _("AWS STS answered with an error that is not known here: the log has AWS's own code."),
    "signin_failing": _("AWS's sign-in for the console fails, or cannot be reached."),
    "console_signin_unreachable": _("AWS's sign-in for the console fails, or cannot be reached."),
    "signin_rejected": _("AWS's sign-in for the console refused the session."),
    "signin_answer_invalid": _("AWS's sign-in for the console answered in a form that is not understood."),
    "internal_error": _("Something broke that nobody foresaw: the log has the detail."),
    "no_active_key": _("The gateway has no signing key in use: manage.py keys list makes the missing ones."),
}  # fmt: skip
# One sentence for many reasons: what is done about them is the same.
_ALIKE: Final[tuple[tuple[str | Promise, str], ...]] = (
    (
        _("The message is put together like one that passes off somebody else's statement (signature wrapping): look at where it came from."),
        """
        assertion_count assertion_misplaced duplicate_id object_forbidden reference_count reference_uri
        response_misplaced signature_doubled signature_misplaced transform_forbidden in_response_to_mismatch
        """,
    ),
    (
        _("The token or the code belongs to another sign-in, or to another provider: swapped on the way, mostly. Look at where it came from."),
        """
        at_hash_wrong c_hash_wrong callback_iss_missing callback_iss_wrong nonce_unknown nonce_wrong
        state_wrong typ_wrong userinfo_subject_mismatch
        """,
    ),
    (
        _("The message is not in a form that any known provider writes: look at where it came from."),
        """
        access_token_missing attribute_forbidden azp_missing canonicalization_forbidden cdata_forbidden
        code_missing comment_forbidden confirmation_method dtd_forbidden duplicate_claim duplicate_header
        element_forbidden element_missing element_repeated encoding_forbidden encrypted_id_forbidden
        encryption_reference extensions_forbidden form_unreadable header_forbidden id_invalid id_missing
        inflate_invalid inflate_too_large issuer_missing jti_malformed jti_missing key_unfit kid_invalid
        kid_missing logout_event_missing logout_nonce_present logout_target_missing name_id_qualifier
        not_base64 not_on_or_after_missing parameter_missing parameter_repeated parameter_unknown pi_forbidden
        pkce_missing recipient_missing schema_invalid slo_not_offered status_detail_forbidden text_misplaced
        time_malformed time_missing token_malformed token_response_malformed token_too_large too_deep
        too_large too_many_attributes too_many_elements too_many_namespaces userinfo_malformed version_wrong
        """,
    ),
    (
        _("A session was asked for with a policy that AWS does not take, or that would widen the mapping's own."),
        """
        policy_arn_malformed policy_arn_not_for_callers policy_arn_other_partition policy_duplicate_key
        policy_effect_malformed policy_not_an_object policy_not_json policy_option_unknown
        policy_statement_malformed policy_unknown_element policy_version_differs policy_version_unknown
        policy_without_statement policy_would_widen
        """,
    ),
    (
        _("The session's policies and tags are larger, or written otherwise, than AWS takes: look at the rule's session options."),
        """
        policies_too_large policy_too_large tag_characters tag_duplicate tag_key_too_long tag_reserved
        tag_value_too_long too_many_policies too_many_tags
        """,
    ),
    (
        _("What was asked for is not the ARN of a role."),
        """
        arn_invalid arn_not_a_role arn_not_ascii arn_partition_unknown arn_too_long
        """,
    ),
)  # fmt: skip
# For whoever tries a provider there are other words: they have just begun the sign-in themself.
WORDS: Final[dict[str, str | Promise]] = {
    **{reason: words for words, reasons in _ALIKE for reason in reasons.split()},
    **OF_PROVIDERS,
    **_SIGNING_IN,
    **_USING,
}
