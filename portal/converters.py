"""What a part of a path may be, where Django has no word for it."""

from functools import cache

from django.urls import register_converter


class AccountId:
    """An AWS account id in a path: twelve digits."""

    regex = "[0-9]{12}"

    def to_python(self, value: str) -> str:
        """Ids stay text: leading zeros count."""
        return value

    def to_url(self, value: str) -> str:
        """The same."""
        return value


@cache
def register() -> None:
    """Make `<account:…>` known. Each module of paths that says it calls this first: which is loaded first is nobody's choice."""
    register_converter(AccountId, "account")
