"""The section `mapping`: one rule an entry, its conditions, its effect and its session options."""

from __future__ import annotations

from typing import Literal, cast

from federation.mapping import leaves
from federation.mapping.patterns import captures_of, is_anchored
from federation.mapping.reading import Fields, Value, quoted
from federation.mapping.rolearn import is_reserved, parse_role_arn
from federation.mapping.rules import (
    NO_OPTIONS,
    Approval,
    BreakGlass,
    GroupMatch,
    Rule,
    SessionOptions,
    Target,
    When,
)
from federation.mapping.schema_accounts import Known, read_providers, read_selector
from federation.mapping.templates import TemplateError, parse_template
from federation.said import say

MAX_RULES = 20_000
NO_TEXT: tuple[str, ...] = ()
NO_TAGS: dict[str, str] = {}
IDENTITY_FIELDS = ("email", "name", "subject", "provider")
_WHEN = ("groups", "all_of", "none_of", "provider", "attributes", "mfa", "from", "until")


def read_rules(value: Value | None, known: Known) -> tuple[Rule, ...]:
    """Every rule, in order."""
    if value is None or value.node.kind == "nothing":
        return ()
    items = value.items(at_least_one=False)
    if len(items) > MAX_RULES:
        value.fault(
            say(
                "at most {most} rules are accepted, and these are {number}; let one expression stand for many rules",
                most=MAX_RULES,
                number=len(items),
            )
        )
        return ()
    seen: dict[str, int] = {}
    rules = []
    for item in items:
        rule = _rule(item, known)
        if rule.name and rule.name in seen:
            item.fault(
                say(
                    "the rule on line {line} is called {name} too; each name must be its own",
                    line=str(seen[rule.name]),
                    name=quoted(rule.name),
                )
            )
        seen.setdefault(rule.name, rule.line)
        rules.append(rule)
    return tuple(rules)


def _rule(value: Value, known: Known) -> Rule:
    fields = value.fields(("name", "when", "allow", "deny", "session", "approval"), required=("name",))
    allow, deny = fields.get("allow"), fields.get("deny")
    if (allow is None) == (deny is None) and "name" in fields:
        value.fault(say("exactly one of allow and deny is wanted here; one rule has one effect"))
    if deny is not None:
        for key in ("session", "approval"):
            if (entry := fields.get(key)) is not None:
                entry.fault(say("a rule that denies has no {key}; leave it out, or write allow", key=key))
    when_value = fields.get("when")
    if when_value is None and allow is not None:
        # A condition forgotten must never be a role for everybody.
        value.fault(
            say(
                '`when` is missing: say who gets this, such as when: {{groups: [engineering]}}; everybody in any group is when: {{groups: ["*"]}}'
            )
        )
    when = _when(when_value, known, takes_away=deny is not None) if when_value else When()
    captures = tuple(dict.fromkeys(name for match in when.groups for name in captures_of(match)))
    return Rule(
        name=fields.text("name", longest=128),
        when=when,
        allow=_target(allow, known, captures, takes_away=False) if allow else None,
        deny=_target(deny, known, captures, takes_away=True) if deny else None,
        session=fields.read("session", lambda v: _session(v, known, captures), NO_OPTIONS),
        approval=fields.read("approval", lambda v: _approval(v, known), None),
        line=value.node.line,
    )


def _when(value: Value, known: Known, *, takes_away: bool) -> When:
    fields = value.fields(_WHEN)
    if value.node.kind == "mapping" and not value.node.entries:
        value.fault(say("the condition is empty; say at least one of {keys}", keys=", ".join(_WHEN)))
    start = fields.read("from", leaves.moment, None)
    end = fields.read("until", leaves.moment, None)
    if start and end and start >= end:
        fields_until = fields.get("until") or value
        fields_until.fault(say("until must be after from; as it stands, the rule never counts"))
    return When(
        groups=_groups(fields, "groups", takes_away=takes_away),
        all_of=_groups(fields, "all_of", takes_away=takes_away),
        none_of=_groups(fields, "none_of", takes_away=not takes_away),
        provider=fields.read("provider", lambda v: read_providers(v, known), ()),
        attributes=fields.read("attributes", lambda v: _attributes(v, known), {}),
        mfa=_mfa(fields),
        from_=start,
        until=end,
    )


def _groups(fields: Fields, key: str, *, takes_away: bool) -> tuple[GroupMatch, ...]:
    def read(value: Value) -> GroupMatch | None:
        match = leaves.group_match(value, fold=takes_away)
        if match is not None and takes_away and match.kind == "regex" and not is_anchored(match.pattern):
            # Expressions match whole names. Read as a search, "contractor" would seem to stop "ext-contractor" too;
            # where misreading means access, the expression must say which of the two it is.
            value.fault(
                say(
                    "an expression that takes access away must say what it means: ^…$ for the whole name, ^.*…$ for any name that contains it"
                )
            )
            return None
        return match

    return fields.read(key, lambda v: v.each(read, scalar_too=True), ())


def _mfa(fields: Fields) -> bool | None:
    entry = fields.get("mfa")
    return None if entry is None else entry.boolean()


def _attributes(value: Value, known: Known) -> dict[str, tuple[str, ...]]:
    wanted = {}
    entries = value.entries(say("a mapping from attribute to its value or values"))
    if value.node.kind == "mapping" and not entries:
        value.fault(say("name at least one attribute, or leave attributes out"))
    for name, entry in entries:
        if known.attributes is not None and name not in known.attributes:
            entry.fault(
                say("no identity provider's claims name the attribute {name}", name=quoted(name)),
                entry.near(name, known.attributes),
            )
        wanted[name] = entry.texts(lambda v: v.text(longest=1_024, empty=True), scalar_too=True)
    return wanted


def _target(value: Value, known: Known, captures: tuple[str, ...], *, takes_away: bool) -> Target:
    fields = value.fields(("roles", "accounts", "arns"))
    target = Target(
        roles=fields.read("roles", lambda v: v.texts(leaves.role, scalar_too=True), ()),
        accounts=fields.read("accounts", lambda v: read_selector(v, known), None),
        arns=fields.read("arns", lambda v: v.texts(lambda item: _arn(item, known, captures), scalar_too=True), ()),
    )
    if value.node.kind == "mapping":
        if takes_away and not fields and not value.node.entries:
            value.fault(say('say what is denied: roles, accounts or arns; everything is accounts: {{names: ["*"]}}'))
        if not takes_away and "roles" not in fields and "arns" not in fields:
            value.fault(say("say which roles are given: roles or arns"))
    return target


def _arn(value: Value, known: Known, captures: tuple[str, ...]) -> str | None:
    text = value.text(longest=700)
    if text is None:
        return None
    try:
        template = parse_template(text)
    except TemplateError as error:
        value.fault(error.sentence)
        return None
    for name in template.fields:
        if name not in captures:
            field, have = f"{{{name}}}", ", ".join(captures)
            value.fault(
                say(
                    "{field} is no capture: the captures of this rule's groups are {captures}",
                    field=field,
                    captures=have,
                )
                if captures
                else say("{field} is no capture: no expression under when.groups has a capture", field=field),
                value.near(name, captures),
            )
            return None
    # A capture stands for an account id where the account belongs, and for a run of name characters elsewhere.
    head, colons, tail = text.partition(":role/")
    account = "000000000000" if parse_template(head).fields else ""
    example = parse_template(head).render(lambda _: account)
    arn = parse_role_arn(f"{example}{colons}{parse_template(tail).render(lambda _: 'x') if tail else ''}")
    if arn is None or "{" in head.partition("::")[0]:
        value.fault(
            say(
                'a role ARN such as "arn:aws:iam::111122223333:role/ReadOnly" or "arn:aws:iam::{{account}}:role/{{role}}" is wanted here'
            )
        )
        return None
    if is_reserved(arn):
        value.fault(say("AWSReservedSSO_ and service-linked roles cannot be assumed this way; name another role"))
        return None
    own = known.accounts.get(arn.account_id)
    if own is not None and own.partition != arn.partition:
        value.fault(
            say(
                "account {account} is in the partition {partition}, not {other}",
                account=arn.account_id,
                partition=own.partition,
                other=arn.partition,
            )
        )
        return None
    return text


def _approval(value: Value, known: Known) -> Approval:
    fields = value.fields(("by", "provider", "at_most", "reason", "break_glass"), required=("by", "at_most"))
    reason = fields.read("reason", leaves.choice("required", "optional"), "required")
    at_most = fields.read("at_most", leaves.approval_duration, 3_600)
    return Approval(
        by=fields.read("by", lambda v: v.each(leaves.group_match, scalar_too=True), ()),
        at_most=at_most,
        reason=cast('Literal["required", "optional"]', reason),
        break_glass=fields.read("break_glass", lambda v: _break_glass(v, at_most), None),
        provider=fields.read("provider", lambda v: read_providers(v, known), ()),
    )


def _break_glass(value: Value, at_most: int) -> BreakGlass:
    fields = value.fields(("by", "at_most"), required=("by",))
    longest = fields.read("at_most", leaves.approval_duration, min(at_most, 3_600))
    if longest > at_most and (entry := fields.get("at_most")):
        entry.fault(
            say("without an approval nobody has the role for longer than with one: at most the approval's own at_most")
        )
    return BreakGlass(by=fields.read("by", lambda v: v.each(leaves.group_match, scalar_too=True), ()), at_most=longest)


def _session(value: Value, known: Known, captures: tuple[str, ...]) -> SessionOptions:
    fields = value.fields(("duration", "console_duration", "policy", "policy_arns", "tags", "transitive_tags"))
    policy, from_policy = _policy(fields.get("policy"))
    arns = from_policy + fields.read("policy_arns", lambda v: v.texts(leaves.policy_arn, scalar_too=True), NO_TEXT)
    if len(arns) > 10:
        value.fault(
            say("AWS accepts at most {most} managed policy ARNs, and these are {number}", most=10, number=len(arns))
        )
    tags = fields.read("tags", lambda v: _tags(v, known, captures), NO_TAGS)
    transitive = fields.read("transitive_tags", lambda v: v.texts(scalar_too=True), NO_TEXT)
    for key in transitive:
        if key not in tags and (entry := fields.get("transitive_tags")):
            entry.fault(say("{key} is none of this session's tags", key=quoted(key)), entry.near(key, tags))
    return SessionOptions(
        duration=fields.read("duration", leaves.session_duration, None),
        console_duration=fields.read("console_duration", leaves.session_duration, None),
        policy=policy,
        policy_arns=arns,
        tags=tags,
        transitive_tags=transitive,
    )


def _policy(value: Value | None) -> tuple[str, tuple[str, ...]]:
    """`read-only`, inline JSON (text or mapping), or managed policies by ARN, which belong with `policy_arns`."""
    if value is None:
        return "", ()
    if value.node.kind == "list":
        return "", value.texts(leaves.policy_arn)
    if value.node.text.startswith("arn:"):
        arn = leaves.policy_arn(value)
        return "", (arn,) if arn else ()
    if value.node.text == "read-only":
        return "read-only", ()
    return leaves.inline_policy(value) or "", ()


def _tags(value: Value, known: Known, captures: tuple[str, ...]) -> dict[str, str]:
    entries = value.entries(say("a mapping from tag key to template"))
    if len(entries) > leaves.MAX_TAGS:
        value.fault(
            say(
                "AWS accepts at most {most} session tags, and these are {number}",
                most=leaves.MAX_TAGS,
                number=len(entries),
            )
        )
    folded: set[str] = set()
    tags = {}
    for key, entry in entries:
        if not 1 <= len(key) <= leaves.MAX_TAG_KEY or not leaves.is_tag_text(key):
            entry.fault(
                say("a tag's key has 1 to {most} letters, digits, spaces and _ . : / = + - @", most=leaves.MAX_TAG_KEY)
            )
        elif key.casefold().startswith("aws:"):
            entry.fault(say("keys that begin with aws: belong to AWS; choose another"))
        elif key.casefold() in folded:
            entry.fault(say("AWS compares tag keys without case, and this one is here twice; keep one of them"))
        folded.add(key.casefold())
        text = entry.text(longest=1_024)
        if text is not None and _template_ok(entry, text, known, captures):
            tags[key] = text
    return tags


def _template_ok(value: Value, text: str, known: Known, captures: tuple[str, ...]) -> bool:
    try:
        template = parse_template(text)
    except TemplateError as error:
        value.fault(error.sentence)
        return False
    for name in template.fields:
        attribute = name.removeprefix("attributes.")
        if attribute != name:
            if known.attributes is not None and attribute not in known.attributes:
                value.fault(
                    say("no identity provider's claims name the attribute {name}", name=quoted(attribute)),
                    value.near(attribute, known.attributes),
                )
                return False
        elif name not in IDENTITY_FIELDS and name not in captures:
            usable = (*IDENTITY_FIELDS, "attributes.…", *captures)
            value.fault(
                say("{field} is not known here; usable are {fields}", field=f"{{{name}}}", fields=", ".join(usable)),
                value.near(name, usable),
            )
            return False
    if not all(leaves.is_tag_text(literal) for literal, _ in template.parts):
        value.fault(say("a tag's value has letters, digits, spaces and _ . : / = + - @ only"))
        return False
    return True
