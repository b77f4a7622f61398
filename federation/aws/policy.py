"""Session policies: what narrows a role for one session, and whether STS will take it. Pure.

Owns the limits of AssumeRoleWithSAML and AssumeRoleWithWebIdentity (STS API reference) and the rule by which
a caller may narrow a session further.

Why a caller's wish is never simply added to what the mapping sets: a session may do what the role allows **and**
what its session policies allow, but several session policies count together: an action is allowed if *any one* of
them allows it (IAM user guide, "Policy evaluation logic": policies of one type are a union). Adding ReadOnlyAccess to a
mapping's inline policy that lets only one bucket be read would let everything be read. Explicit denials are
different: a Deny in any policy wins, so a policy of nothing but Deny statements can only ever narrow.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from federation.aws.partitions import partition as partition_named
from federation.errors import BadRequest
from federation.said import say

READ_ONLY = "read-only"
MAX_PLAIN = 2048
MAX_POLICY_ARNS = 10
MAX_TAGS = 50
MAX_TAG_KEY = 128
MAX_TAG_VALUE = 256
_POLICY_ARN = re.compile(
    r"arn:(?P<partition>[a-z][a-z-]{2,20}):iam::(?P<owner>aws|[0-9]{12}):policy/(?:[\x21-\x2b\x2d-\x7e]{1,510}/)?[A-Za-z0-9_+=,.@-]{1,128}"
)
_VERSIONS = ("2012-10-17", "2008-10-17")


class SessionPolicyInvalid(BadRequest):
    """A session policy that AWS would refuse, or that would not do what its author wants; `reason` says why."""

    code = "session_policy_invalid"
    sentence = (
        "The session policy is not a valid IAM policy: give read-only, or a JSON document with Version and Statement."
    )


class SessionTooLarge(BadRequest):
    """Policies or tags beyond what STS takes; the sentence names the largest."""

    code = "session_too_large"
    sentence = "The session policies or tags are larger than AWS takes."


class SessionTagInvalid(BadRequest):
    """A session tag that AWS would refuse; `reason` is tag_reserved, tag_characters or tag_duplicate."""

    code = "session_tag_invalid"
    sentence = "A session tag has a form that AWS does not take. Tell your administrators, with the request id."


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """`inline`: one minified JSON document or None. `managed`: ARNs of managed policies, each once, in order."""

    inline: str | None = None
    managed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.inline is not None or bool(self.managed)


NO_POLICY = SessionPolicy()


def read_only_arn(partition: str) -> str:
    """AWS's managed ReadOnlyAccess in this partition. Raises UnknownPartition."""
    return f"arn:{partition_named(partition).name}:iam::aws:policy/ReadOnlyAccess"


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two "Effect" keys: we might read the second and AWS the first.
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise SessionPolicyInvalid("policy_duplicate_key")
    return dict(pairs)


def _statements(document: Any) -> list[Any]:
    if not isinstance(document, dict):
        raise SessionPolicyInvalid("policy_not_an_object")
    if unknown := set(document) - {"Version", "Id", "Statement"}:
        raise SessionPolicyInvalid("policy_unknown_element", detail=", ".join(sorted(unknown))[:200])
    if document.get("Version", _VERSIONS[0]) not in _VERSIONS:
        raise SessionPolicyInvalid("policy_version_unknown")
    statements = document.get("Statement")
    statements = [statements] if isinstance(statements, dict) else statements
    if not isinstance(statements, list) or not statements:
        raise SessionPolicyInvalid("policy_without_statement")
    return statements


def _check_statement(statement: Any, number: int) -> None:
    where = f"statement {number}"
    if not isinstance(statement, dict):
        raise SessionPolicyInvalid("policy_statement_malformed", detail=where)
    if unknown := set(statement) - {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}:
        # Principal and NotPrincipal too: a session policy has none (IAM: "MalformedPolicyDocument").
        raise SessionPolicyInvalid("policy_unknown_element", detail=f"{where}: {', '.join(sorted(unknown))[:200]}")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise SessionPolicyInvalid("policy_effect_malformed", detail=where)
    for one, other in (("Action", "NotAction"), ("Resource", "NotResource")):
        if (one in statement) == (other in statement):
            raise SessionPolicyInvalid(
                "policy_statement_malformed", detail=f"{where}: exactly one of {one} and {other}"
            )
        value = statement.get(one, statement.get(other))
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not values or not all(isinstance(v, str) and v for v in values):
            raise SessionPolicyInvalid("policy_statement_malformed", detail=f"{where}: {one}")
    if not isinstance(statement.get("Condition", {}), dict):
        raise SessionPolicyInvalid("policy_statement_malformed", detail=f"{where}: Condition")


def _load(text: str) -> dict[str, Any]:
    if len(text) > 20 * MAX_PLAIN:  # minifying saves a little, not twenty times; parse no more than that
        raise SessionTooLarge(
            "policy_too_large",
            sentence=say(
                "The inline session policy has {number} characters; AWS takes {most}.", number=len(text), most=MAX_PLAIN
            ),
        )
    try:
        document = json.loads(text, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise SessionPolicyInvalid("policy_not_json", detail=error.__class__.__name__) from None
    for number, statement in enumerate(_statements(document), 1):
        _check_statement(statement, number)
    return dict(document)


def _minify(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    # STS takes U+0009, U+000A, U+000D and U+0020 to U+00FF; the rest can be said in JSON escapes.
    return text if max(text) <= "\xff" else json.dumps(document, separators=(",", ":"))


def inline_policy(text: str) -> str:
    """An inline policy, checked and minified. Raises SessionPolicyInvalid, SessionTooLarge."""
    return _minify(_load(text))


def session_policy(option: str, policy_arns: Sequence[str] = (), *, partition: str) -> SessionPolicy:
    """The session policy that a mapping's (or a caller's) option means.

    `option`: "" (none), "read-only" (AWS's managed ReadOnlyAccess), one managed policy's ARN, or a JSON document.
    `policy_arns`: managed policies besides. Raises SessionPolicyInvalid (policy_option_unknown, policy_arn_malformed,
    policy_arn_other_partition, and what the document's checks say), SessionTooLarge, UnknownPartition.
    """
    option = option.strip()
    managed = list(policy_arns)
    inline: str | None = None
    if option == READ_ONLY:
        managed.insert(0, read_only_arn(partition))
    elif option.startswith("arn:"):
        managed.insert(0, option)
    elif option.startswith(("{", "[")):
        inline = inline_policy(option)
    elif option:
        raise SessionPolicyInvalid("policy_option_unknown", detail=repr(option)[:100])
    for arn in managed:
        found = _POLICY_ARN.fullmatch(arn)
        if found is None:
            raise SessionPolicyInvalid("policy_arn_malformed", detail=repr(arn)[:200])
        if found["partition"] != partition:
            raise SessionPolicyInvalid("policy_arn_other_partition", detail=f"{arn} is not in {partition}"[:300])
    return SessionPolicy(inline=inline, managed=tuple(dict.fromkeys(managed)))


def narrow(mapping_policy: SessionPolicy, asked: str | None, *, partition: str) -> SessionPolicy:
    """What the session gets when a caller asks for less than the mapping gives.

    A caller may ask for "read-only" or for an inline policy of their own, and gets it
    - where the mapping sets no policy: the role is the only other bound, so any policy narrows;
    - where it is what the mapping sets already: nothing changes;
    - where their inline policy holds nothing but Deny statements: these join the mapping's inline policy.
    Everything else would widen the session (see the module's text) and is refused.
    Raises SessionPolicyInvalid: policy_would_widen, policy_arn_not_for_callers and what `session_policy` raises.
    """
    if asked is None or not asked.strip():
        return mapping_policy
    if asked.strip().startswith("arn:"):
        raise SessionPolicyInvalid(
            "policy_arn_not_for_callers",
            sentence="Ask for read-only or give an inline policy: managed policies are chosen by the mapping.",
        )
    wish = session_policy(asked, partition=partition)
    if not mapping_policy or wish == mapping_policy:
        return wish
    if wish.inline is not None:
        theirs = _load(wish.inline)
        denials = _statements(theirs)
        if all(s["Effect"] == "Deny" for s in denials):
            return _with_denials(mapping_policy, theirs, denials)
    raise SessionPolicyInvalid(
        "policy_would_widen",
        sentence=(
            "This role already comes with a session policy, and AWS allows what any session policy allows: a second one "
            "could only widen it. Ask without a policy, or with one that has Deny statements alone."
        ),
    )


def _with_denials(policy: SessionPolicy, theirs: Mapping[str, Any], denials: list[Any]) -> SessionPolicy:
    if policy.inline is None:
        return SessionPolicy(inline=_minify(theirs), managed=policy.managed)
    ours = _load(policy.inline)
    if ours.get("Version") != theirs.get("Version"):
        # "${aws:username}" is a variable in 2012-10-17 and plain text before: merged, one of the two would change its meaning.
        raise SessionPolicyInvalid(
            "policy_version_differs", sentence='Give your policy the "Version" that the mapping\'s has.'
        )
    # A Sid must be unique in a document, and the caller cannot know the mapping's.
    nameless = [{k: v for k, v in s.items() if k != "Sid"} for s in denials]
    return SessionPolicy(inline=_minify({**ours, "Statement": [*_statements(ours), *nameless]}), managed=policy.managed)


def _tag_text(text: str) -> bool:
    """STS API reference, Tag: letters, separators and digits of any script, and `_.:/=+-@`."""
    return all(c in "_.:/=+-@" or unicodedata.category(c)[0] in "LZN" for c in text)


def largest_part(policy: SessionPolicy, tags: Mapping[str, str]) -> str:
    """The largest policy or tag and its length, in words; "" where there is none."""
    parts = {
        **({} if policy.inline is None else {say("the inline policy"): len(policy.inline)}),
        **{say("the managed policy {arn}", arn=arn): len(arn) for arn in policy.managed},
        **{say("the tag {key}", key=repr(key)): len(key) + len(value) for key, value in tags.items()},
    }
    if not parts:
        return ""
    name = max(parts, key=lambda part: parts[part])
    return say("{part} with {number} characters", part=name, number=parts[name])


def preflight(policy: SessionPolicy, tags: Mapping[str, str]) -> None:
    """Check policies and tags against STS's plain limits, before a document is minted and a call is spent.

    The packed size (a binary form whose measure AWS does not publish) can still be over: PackedPolicyTooLarge.
    Raises SessionTooLarge (too_many_policies, policies_too_large, too_many_tags, tag_key_too_long,
    tag_value_too_long), SessionTagInvalid (tag_reserved, tag_characters, tag_duplicate).
    """
    if len(policy.managed) > MAX_POLICY_ARNS:
        raise SessionTooLarge(
            "too_many_policies",
            sentence=say(
                "The session has {number} managed policies; AWS takes at most {most}.",
                number=len(policy.managed),
                most=MAX_POLICY_ARNS,
            ),
        )
    total = len(policy.inline or "") + sum(len(arn) for arn in policy.managed)
    if total > MAX_PLAIN:
        raise SessionTooLarge(
            "policies_too_large",
            sentence=say(
                "The session policies have {number} characters together and AWS takes {most}. The largest is {part}: shorten it or leave it out.",
                number=total,
                most=MAX_PLAIN,
                part=largest_part(policy, {}),
            ),
        )
    _preflight_tags(tags)


def _preflight_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > MAX_TAGS:
        longest = max(tags, key=lambda key: len(key) + len(tags[key]))
        raise SessionTooLarge(
            "too_many_tags",
            sentence=say(
                "The session has {number} tags and AWS takes at most {most}. The largest is {tag}.",
                number=len(tags),
                most=MAX_TAGS,
                tag=repr(longest[:MAX_TAG_KEY]),
            ),
        )
    for key, value in tags.items():
        if not 1 <= len(key) <= MAX_TAG_KEY:
            raise SessionTooLarge(
                "tag_key_too_long",
                sentence=say(
                    "The session tag {tag}… has a key of {number} characters; AWS takes 1 to {most}.",
                    tag=repr(key[:40]),
                    number=len(key),
                    most=MAX_TAG_KEY,
                ),
            )
        if len(value) > MAX_TAG_VALUE:
            raise SessionTooLarge(
                "tag_value_too_long",
                sentence=say(
                    "The session tag {tag} has a value of {number} characters; AWS takes {most}.",
                    tag=repr(key),
                    number=len(value),
                    most=MAX_TAG_VALUE,
                ),
            )
        if key.lower().startswith("aws:"):
            raise SessionTagInvalid(
                "tag_reserved",
                sentence=say("The session tag {tag} begins with aws:, which AWS keeps for itself.", tag=repr(key)),
            )
        if not _tag_text(key) or not _tag_text(value):
            raise SessionTagInvalid(
                "tag_characters",
                detail=f"tag {key!r}",
                sentence=say("The session tag {tag} has characters that AWS does not take.", tag=repr(key)),
            )
    folded = [key.lower() for key in tags]
    if len(set(folded)) != len(folded):
        raise SessionTagInvalid(
            "tag_duplicate", sentence="Two session tags differ only in upper and lower case; AWS takes them for one."
        )
