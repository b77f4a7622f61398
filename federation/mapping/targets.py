"""What a rule gives or takes away, compiled: which accounts, which roles, which ARNs.

`gives` lists a target's roles, `covers` says whether it has one: the same three sources in the same order, so that the
page that lists roles and the call that mints credentials can never disagree (a property test holds them together).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from federation.mapping.patterns import compile_expression, glob_expression, glob_matches, in_any_form, is_glob
from federation.mapping.reach import Wanted
from federation.mapping.rolearn import ROLE_SEGMENT, RoleArn, parse_role_arn
from federation.mapping.rules import Account, AccountSelector, CatalogueRole, Target
from federation.mapping.templates import Template, parse_template
from federation.said import either, say

Captures = Mapping[str, str]
NO_CAPTURES: Captures = MappingProxyType({})
Listing = Mapping[str, CatalogueRole]


_Fold = Callable[[str], str]
"""How two texts are compared: `str` by the letter, `in_any_form` without case and in one Unicode form."""


def selects(selector: AccountSelector | None, account: Account, fold: _Fold = str) -> bool:
    """True if the selector chooses the account; None chooses every one. `fold`: `in_any_form` for what takes away."""
    return selector is None or (
        _named(selector, account, fold)
        and all(_tagged(account, key, values, fold) is not None for key, values in selector.tags.items())
        and _placed(selector, account, fold)
    )


def selection(selector: AccountSelector, account: Account, fold: _Fold = str) -> Iterator[tuple[bool, str]]:
    """Each part of a selector: whether it fits the account, and a sentence that is true of that."""
    who = account.name
    if selector.ids or selector.names:
        names = ", ".join((selector.ids + selector.names)[:10])
        if _named(selector, account, fold):
            yield True, say("account {account} is one of: {names}", account=who, names=names)
        else:
            yield False, say("account {account} is not one of: {names}", account=who, names=names)
    for key, values in selector.tags.items():
        if (value := _tagged(account, key, values, fold)) is not None:
            yield True, say("account {account} has tag {key}={value}", account=who, key=key, value=value)
        else:
            wanted = either(values[:10])
            yield False, say("account {account} does not have tag {key}={value}", account=who, key=key, value=wanted)
    if selector.organizational_units:
        units = either(selector.organizational_units[:10])
        if _placed(selector, account, fold):
            yield True, say("account {account} is in organizational unit {unit}", account=who, unit=units)
        else:
            yield False, say("account {account} is not in organizational unit {unit}", account=who, unit=units)


def _named(selector: AccountSelector, account: Account, fold: _Fold) -> bool:
    if not selector.ids and not selector.names:
        return True
    return account.id in selector.ids or any(glob_matches(fold(name), fold(account.name)) for name in selector.names)


def _tagged(account: Account, key: str, values: tuple[str, ...], fold: _Fold) -> str | None:
    """The account's value that fits, None where none does."""
    if fold is str:
        value = account.tags.get(key)
        return value if value in values else None
    wanted, folded = fold(key), {fold(value) for value in values}
    return next((own for name, own in account.tags.items() if fold(name) == wanted and fold(own) in folded), None)


def _placed(selector: AccountSelector, account: Account, fold: _Fold) -> bool:
    if not selector.organizational_units:
        return True
    places = (account.organizational_unit, *account.unit_ids)
    return any(_below(fold(place), fold(unit)) for place in places for unit in selector.organizational_units)


def _below(unit: str, wanted: str) -> bool:
    if not unit:
        return False
    return glob_matches(wanted, unit) or (not is_glob(wanted) and unit.startswith(wanted.rstrip("/") + "/"))


class Chosen:
    """The accounts of a document that each selector chooses; worked out when first asked, shared by equal selectors."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self.accounts = accounts
        self._all = frozenset(accounts)
        self._known: dict[object, frozenset[str]] = {}

    def ids(self, selector: AccountSelector | None, fold: _Fold = str) -> frozenset[str]:
        """Account ids. Two threads may work out the same answer at once; it is the same answer."""
        if selector is None:
            return self._all
        key = (selector.ids, selector.names, tuple(sorted(selector.tags.items())), selector.organizational_units, fold)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = frozenset(a.id for a in self.accounts.values() if selects(selector, a, fold))
        return found


class RolesOfAccount:
    """An account's listing by name and by path and name, so that a rule costs a look-up and not a walk.

    What is malformed or says that it belongs to another account is left out: a listing speaks for its own account only.
    """

    def __init__(self, account_id: str, listing: Listing) -> None:
        parsed = ((text, parse_role_arn(text)) for text in listing)
        self.all = tuple((text, arn) for text, arn in parsed if arn is not None and arn.account_id == account_id)
        self.named: dict[str, list[str]] = {}
        self.qualified: dict[str, list[str]] = {}
        for text, arn in self.all:
            self.named.setdefault(arn.name, []).append(text)
            self.qualified.setdefault(arn.qualified, []).append(text)


class CompiledTarget:
    """A target over the accounts of one document. Immutable, safe in threads."""

    def __init__(self, target: Target, chosen: Chosen, *, denies: bool) -> None:
        self.selector = target.accounts
        self._chosen_by = chosen
        self._ids: frozenset[str] | None = None
        self._denies = denies
        # IAM does not tell role names apart by case. A deny compares likewise, lest "administrator" slip past a deny of
        # "Administrator"; an allow gives exactly what it says. And whoever may tag or name accounts in AWS must not get
        # one of them out of a deny by writing Production for production.
        self.fold: _Fold = in_any_form if denies else str
        self.exact = tuple(role for role in target.roles if not is_glob(role))
        self._exact = frozenset(self.fold(role) for role in self.exact)
        self._glob_texts = frozenset(role for role in target.roles if is_glob(role))
        self._globs = tuple(_compile_glob(role, fold=denies) for role in target.roles if is_glob(role))
        templates = tuple(parse_template(arn) for arn in target.arns)
        self.literals = tuple(dict.fromkeys(t.parts[0][0] for t in templates if not t.fields))
        self._literal_set = frozenset(self.fold(arn) for arn in self.literals)
        self._templates = tuple(t for t in templates if t.fields)
        self._shapes: tuple[Any, ...] | None = None
        self._everything = denies and not target.roles and not target.arns
        self.names_roles = bool(target.roles)

    @property
    def accounts(self) -> frozenset[str]:
        """Ids of the document's accounts that the target's selector chooses."""
        if self._ids is None:
            self._ids = self._chosen_by.ids(self.selector, self.fold)
        return self._ids

    def chooses(self, account: Account) -> bool:
        """True if the account selector fits; accounts that only the catalogue knows are asked each time."""
        if account.id in self._chosen_by.accounts:
            return account.id in self.accounts
        return selects(self.selector, account, self.fold)

    def covers(
        self, arn: RoleArn, account: Account, listing: Listing | None, bound: Sequence[Captures]
    ) -> Captures | None:
        """The captures under which the target has the role, or None if it has not.

        `listing`: the account's roles if the catalogue knows the account. Without it an exact name is taken on trust
        at exactly the path it says, and a glob gives nothing; a deny is the wider one in each doubt.
        """
        if not self.chooses(account):
            return None
        if self._everything:
            return NO_CAPTURES
        if self._names(arn, known=self._denies or listing is not None) or self.fold(str(arn)) in self._literal_set:
            return bound[0] if bound else NO_CAPTURES
        return next((c for t in self._templates for c in bound if self._is(render(t, c), arn)), None)

    def might_cover(self, arn: RoleArn) -> bool:
        """True if the role could be meant, accounts and captures aside."""
        if self._everything or self._names(arn, known=True) or self.fold(str(arn)) in self._literal_set:
            return True
        if not self._templates:
            return False
        if self._shapes is None:
            flags = "(?i)" if self._denies else ""
            self._shapes = tuple(compile_expression(flags + template.shape()) for template in self._templates)
        text = str(arn)
        return any(shape.fullmatch(text) for shape in self._shapes)

    def names(self) -> Iterator[str] | None:
        """Without regard to case: every role name, path and name, or ARN, of which `might_cover` needs one; None where globs,
        templates or a deny of everything make it more than can be listed.
        """
        if self._everything or self._globs or self._templates:
            return None
        return (text.casefold() for text in (*self.exact, *self.literals))

    def gives(
        self, account: Account, roles: RolesOfAccount | None, bound: Sequence[Captures]
    ) -> Iterator[tuple[str, Captures]]:
        """The role ARNs that names and globs give in a chosen account, each with its captures; not yet checked."""
        first = bound[0] if bound else NO_CAPTURES
        if roles is None:
            for role in self.exact:
                yield f"arn:{account.partition}:iam::{account.id}:role/{role}", first
            return
        for role in self.exact:
            for arn_text in (roles.qualified if "/" in role else roles.named).get(role, ()):
                yield arn_text, first
        if self._globs:
            for arn_text, arn in roles.all:
                if self._names(arn, known=True):
                    yield arn_text, first

    def wants(self) -> Wanted:
        """What `gives` looks at, in all of the document's accounts that are chosen."""
        names = frozenset(role.rpartition("/")[2] for role in self.exact)
        return Wanted(self.accounts if self.names_roles else frozenset(), names, self._glob_texts)

    def wants_of_templates(self) -> Iterator[Wanted]:
        """What `gives_arns` could name out of templates, whatever the captures: a capture is one run of role-name characters."""
        for template in self._templates:
            text = "".join(literal + ("*" if name else "") for literal, name in template.parts)
            parts = text.split(":", 5)
            named = parts[5].rpartition("/")[2] if len(parts) == 6 else "*"
            accounts = self.accounts
            if len(parts) == 6 and not is_glob(parts[4]):
                accounts = accounts & {parts[4]}
            if is_glob(named):
                yield Wanted(accounts, frozenset(), frozenset({named}))
            else:
                yield Wanted(accounts, frozenset({named}), frozenset())

    def gives_arns(self, bound: Sequence[Captures]) -> Iterator[tuple[str, Captures]]:
        """The role ARNs that `arns` gives, each with its captures; not yet checked."""
        for arn in self.literals:
            yield arn, bound[0] if bound else NO_CAPTURES
        for template in self._templates:
            for one in bound:
                rendered = render(template, one)
                if rendered is not None:
                    yield rendered, one

    def _names(self, arn: RoleArn, *, known: bool) -> bool:
        """True if `roles` names the role; a bare name means the role at any path once the listing (or a deny) has it."""
        qualified = self.fold(arn.qualified)
        if qualified in self._exact:
            return True
        if not known:
            return False
        name = self.fold(arn.name)
        if name in self._exact:
            return True
        return any(glob.fullmatch(arn.qualified if pathed else arn.name) for glob, pathed in self._globs)

    def _is(self, rendered: str | None, arn: RoleArn) -> bool:
        return rendered is not None and self.fold(rendered) == self.fold(str(arn))


def _compile_glob(role: str, *, fold: bool) -> tuple[Any, bool]:
    return compile_expression(("(?i)" if fold else "") + glob_expression(role)), "/" in role


def render(template: Template, captures: Captures) -> str | None:
    """The ARN, or None where a capture is missing or is not one run of role-name characters.

    Attack: a group "aws-111122223333-x,arn:aws:iam::…" or one with a newline, a slash or XML in it. The whole is parsed
    again afterwards, which holds the account part to twelve digits.
    """

    def value(name: str) -> str | None:
        text = captures.get(name, "")
        return text if ROLE_SEGMENT.fullmatch(text) else None

    return template.render(value)
