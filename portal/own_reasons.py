"""Why something of one's own did not work, in words for whoever it happened to: what a reason of the log means to them.

What staff read of the same reason is in `portal.staff.reason_words`: that names settings and trust policies. Here each
sentence says what the person can do about it, and no more than "Why?" would tell them anyway.
"""

from __future__ import annotations

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

# (sentence, the reasons that it is for). A reason's part after a colon does not count; "sts_*" is for every reason that begins so.
_WORDS: Final[tuple[tuple[str | Promise, str], ...]] = (
    (_("Your sign-in was too old for it. Signing in again helps."), "claims_too_old provider_session_ended session_ended provider_changed person_unknown"),
    (_("Your account was disabled. Your administrators know why."), "person_disabled directory_inactive directory_deleted"),
    (_("Your company's directory did not list you for this gateway. Ask your administrators to assign it to you there."), "not_in_directory directory_ambiguous"),
    (_("Your identity provider sent only a part of your groups. Ask your administrators to connect the directory."), "group_overage"),
    (_("The identity provider that you had signed in at was disabled. Ask your administrators."), "provider_disabled provider_unknown_or_disabled"),
    (_("No rule gives you this role."), "no_matching_rule role_not_granted not_requestable"),
    (_("A rule denies you this role."), "denied_by_rule"),
    (_("The role needs an approval, and you had none."), "approval_required"),
    (_("Your approval had less than fifteen minutes left, and AWS gives no session that short. Ask anew."), "approval_ending"),
    (_("Your company's directory had been silent for too long to be believed in production. It comes back by itself."), "directory_stale"),
    (_("The account or the role is not there any more."), "account_unknown role_unknown arn_invalid"),
    (_("The role belongs to AWS itself, and is not given here."), "role_reserved"),
    (_("The role is not given to a command line that was paired by a typed code. Pair it in the browser of its own machine."), "pairing_too_weak"),
    (_("Too many attempts within a few minutes. Waiting a little helps."), "credentials_rate requests_rate sign_in_rate device_rate token_rate"),
    (_("The duration was shorter or longer than what is allowed."), "duration_out_of_range console_duration_out_of_range sts_duration_too_long"),
    (_("The link was no page of the AWS console."), "destination_not_allowed"),
    (_("By the time the session was made, the role was given on other terms. Trying again helps."), "given_otherwise_now"),
    (_("AWS was busy, or could not be reached. Trying again helps."), "sts_throttled sts_unreachable signin_failing console_signin_unreachable"),
    (_("AWS refused it. Your administrators see why: give them the request id."), "access_denied_after_fail_over signin_rejected signin_answer_invalid sts_*"),
    (_("The session policy was not one that AWS takes, or would have given more than the rule does."), "policy_* policies_* too_many_policies tag_* too_many_tags"),
    (_("The console cannot be opened in this way for this role. Its page has the button that works."), "console_form_*"),
    (_("The code was wrong, or its ten minutes were over. Start again on the command line."), "user_code_unknown too_many_user_codes already_decided"),
    (_("You said no to it."), "denied_by_person"),
    (_("You had this role already."), "role_allowed"),
    (_("You had asked for it already."), "already_asked"),
    (_("Too many of your requests were open."), "too_many_open"),
    (_("Nobody decides on their own request."), "own_request own_request_by_email"),
    (_("The rule names others to decide."), "not_an_approver approver_stale not_a_reviewer"),
    (_("The request had changed since you opened it."), "already_refused already_withdrawn already_expired already_active already_ended already_reviewed terms_changed rule_changed gives_nothing not_active nothing_to_withdraw"),
    (_("It was not there, or not for you to see."), "item_unknown request_unknown request_of_another no_break_glass"),
    (_("Something was missing in the form, or too long."), "no_role too_many_roles reason_missing reason_too_long not_confirmed nothing_chosen comment_missing comment_too_long"),
    (_("The rule does not let you take this without an approval."), "break_glass_not_allowed break_glass_one_account"),
)  # fmt: skip
_EXACT: Final = {reason: words for words, reasons in _WORDS for reason in reasons.split() if not reason.endswith("*")}
_BEGINNINGS: Final = {
    reason.removesuffix("*"): words for words, reasons in _WORDS for reason in reasons.split() if reason.endswith("*")
}
_OTHER: Final = _("Your administrators find the cause with the request id.")


def own_reason(reason: str) -> str:
    """What the reason of an event of one's own means; for one without words of its own, how to learn the cause."""
    known = reason.partition(":")[0]
    for beginning, words in _BEGINNINGS.items():
        if known not in _EXACT and known.startswith(beginning):
            return str(words)
    return str(_EXACT.get(known, _OTHER))
