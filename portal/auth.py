"""Django's authentication backend: loads the person of a session. There is nothing to log in with but a sign-in flow."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import BaseBackend

from federation.models import compiled
from federation.models.people import Person

_by_id = compiled.ByKey(Person, "id")


class FederatedBackend(BaseBackend):
    """Knows people by id; authenticates nobody by password."""

    def authenticate(self, request: Any, **credentials: Any) -> None:
        """Always None: people sign in at their identity provider."""
        return

    def get_user(self, user_id: Any) -> Person | None:
        """The person, unless disabled: a disabled person's sessions are dead at their next request."""
        person = _by_id(user_id)
        return person if person is not None and person.active else None
