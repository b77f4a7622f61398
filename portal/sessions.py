"""Portal sessions in the database, keyed by a hash of the cookie, each with its person and provider session.

A stolen table is not a stolen session; a person's sessions end by one statement.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db import DatabaseError, IntegrityError, OperationalError
from django.utils.crypto import get_random_string

from federation.flows.origin import Origin
from federation.flows.sign_in import SignedIn
from federation.models import compiled
from federation.models.sessions import PortalSession, session_row_key

_SIGNED_IN = "rolegate_signed_in"
_CREATED = "rolegate_created"
_BEGUN_FROM = "rolegate_from"  # federation.queries.activity reads it
_by_cookie = compiled.ByKey(PortalSession, "session_key", join="person")
_insert = compiled.Insert(PortalSession)


class SessionStore(DatabaseStore):
    """Django's database store over PortalSession, with hashed keys. `row`: as it was read, with its person; None before."""

    row: PortalSession | None = None

    @classmethod
    def get_model_class(cls) -> type[PortalSession]:
        """Our model."""
        return PortalSession

    def _row(self) -> Any:
        return session_row_key(self.session_key or "")

    def _get_session_from_db(self) -> Any:
        row = _by_cookie(self._row())
        if row is None or row.expire_date <= _now():
            self._session_key = None
            return None
        self.row = row
        return row

    def _get_new_session_key(self) -> str:
        """A random key, without asking first whether it is taken: the INSERT says so (165 bits)."""
        return get_random_string(32)

    def create(self) -> None:
        """Store the session under a new key. Raises CreateError.

        Django's own tries again and again, as if a key had been taken. Keys of 165 bits do not collide: what the database
        refuses, it would refuse for ever, and the worker with it.
        """
        self._session_key = self._get_new_session_key()
        self.save(must_create=True)
        self.modified = True

    def cycle_key(self) -> None:
        """A new key for the same data (session fixation). A session that was never stored gets its key when it is saved."""
        if self.session_key:
            super().cycle_key()

    def save(self, must_create: bool = False) -> None:  # noqa: FBT001, FBT002  Django's signature
        """Store the session: one statement, so no transaction around it. Raises CreateError, UpdateError."""
        if self.session_key is None:
            self.create()
            return
        data = self._get_session(no_load=must_create)  # type: ignore[attr-defined]  # the stubs leave it out
        row = self.create_model_instance(data)
        try:
            if must_create:
                _insert(row)
            else:
                row.save(force_update=True)
        except IntegrityError as error:
            raise CreateError from error
        except DatabaseError as error:
            # A database that is away says nothing about the session: it stays what it is, a 503.
            if not must_create and not isinstance(error, OperationalError):
                raise UpdateError from error
            raise

    def exists(self, session_key: str) -> bool:
        """Whether a session with this cookie value is stored."""
        return bool(self.model.objects.filter(session_key=session_row_key(session_key)).exists())

    def create_model_instance(self, data: dict[str, Any]) -> PortalSession:
        """The row: whose session it is, at which provider."""
        meta = data.get(_SIGNED_IN, {})
        person = data.get(SESSION_KEY)
        return PortalSession(
            session_key=self._row(),
            session_data=self.encode(data),
            expire_date=self.get_expiry_date(),
            person_id=UUID(person) if person else None,
            provider=meta.get("provider", ""),
            session_index=meta.get("session_index", ""),
            name_id=meta.get("name_id", {}),
            # Kept in the session itself: each save builds the row anew, and an update would set the column to NULL.
            created_at=datetime.fromisoformat(data.setdefault(_CREATED, _now().isoformat())),
        )

    def delete(self, session_key: str | None = None) -> None:
        """Delete this session, or the one with that cookie value."""
        key = session_key or self.session_key
        if key:
            self.model.objects.filter(session_key=session_row_key(key)).delete()

    @classmethod
    def clear_expired(cls) -> None:
        """Delete every expired session."""
        PortalSession.objects.filter(expire_date__lt=_now()).delete()


def _now() -> Any:
    from django.utils import timezone

    return timezone.now()


def remember(session: Any, signed_in: SignedIn, origin: Origin) -> None:
    """Keep what single logout needs, in the session's row: provider, provider session, NameID; and from where it was begun,
    so that its person recognises it in a list.
    """
    session[_BEGUN_FROM] = {"address": origin.address, "agent": origin.user_agent}
    session[_SIGNED_IN] = {
        "provider": signed_in.provider_slug,
        "session_index": signed_in.session_index,
        "name_id": signed_in.name_id,
    }
