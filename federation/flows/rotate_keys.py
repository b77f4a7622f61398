"""The life of the signing keys: made at first start, published as next, active, retiring, retired.

A next key is published (JWKS, metadata) before it signs: AWS and the accounts' SAML providers must know it first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction

from federation import net
from federation.audit.events import Kind, Origin
from federation.audit.record import lock_head, record
from federation.errors import BadRequest, RolegateError
from federation.issuer import publish
from federation.issuer.signing import generate, seal
from federation.models.keys import SigningKey
from federation.said import say

log = structlog.get_logger(__name__)
KINDS: tuple[tuple[str, str], ...] = (("saml", "RS256"), ("token", "RS256"), ("token", "ES256"), ("sp", "RS256"))
# A retiring key stays published until everything that it signed has expired many times over.
RETIRING_FOR = timedelta(hours=24)
# AWS and whoever else keeps a JWKS for a while must have fetched a key before anything is signed with it.
PUBLIC_BEFORE_USE = timedelta(hours=24)
_SCHEDULE = "schedule"


def _retired(kid: str) -> str:
    return say("{kid} is retired: no longer published, its private half erased.", kid=kid)


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One key as `keys list` shows it."""

    kid: str
    purpose: str
    algorithm: str
    state: str
    created_at: datetime


def _make(purpose: str, algorithm: str, state: str, *, now: datetime) -> SigningKey:
    material = generate(algorithm, common_name=f"rolegate {purpose}", now=now)
    return SigningKey(
        kid=material.kid,
        purpose=purpose,
        algorithm=algorithm,
        state=state,
        certificate=material.certificate_pem,
        sealed_private_key=seal(material.private_pem, master_key=str(settings.SECRET_KEY).encode(), kid=material.kid),
        created_at=now,
        activated_at=now if state == SigningKey.State.ACTIVE else None,
    )


def ensure_keys(*, actor: str, origin: Origin, now: datetime) -> list[str]:
    """Make each key that is missing, active at once; returns the new kids. Safe to run from many processes at once."""
    made = []
    for purpose, algorithm in KINDS:
        if SigningKey.objects.filter(purpose=purpose, algorithm=algorithm, state="active").exists():
            continue
        key = _make(purpose, algorithm, "active", now=now)
        try:
            with transaction.atomic():
                key.save(force_insert=True)
                record(
                    Kind.KEY_MADE,
                    actor=actor,
                    outcome="ok",
                    origin=origin,
                    now=now,
                    kid=key.kid,
                    purpose=purpose,
                    algorithm=algorithm,
                )
        except IntegrityError:
            continue  # another process was faster: its key is the one
        made.append(key.kid)
    return made


def rotate(
    purpose: str, algorithm: str, *, actor: str, origin: Origin, now: datetime, at_once: bool = False, after: str = ""
) -> list[str]:
    """One step of the rotation; returns sentences that say what was done.

    Without a next key: make one (published, not signing). With one: next becomes active, active retiring; retiring keys
    older than a day are retired and their private halves erased. `at_once` is for a key that others may know: both steps,
    and the old key is retired there and then, because whatever is published AWS goes on believing. An old `sp` key stays
    for decryption: nobody believes anything because of it, and providers encrypt to it until they have read our metadata.
    `after`: the kid of the newest key as the caller saw it; where another has taken a step since, nothing is done.
    Raises BadRequest(reason="key_kind_unknown").
    """
    if (purpose, algorithm) not in KINDS:
        raise BadRequest(
            "key_kind_unknown",
            sentence="There is no such kind of key: choose " + ", ".join(f"{p}/{a}" for p, a in KINDS) + ".",
        )
    done: list[str] = []
    with transaction.atomic():
        lock_head()  # two at once take turns, and take two steps
        rows = {
            row.state: row
            for row in SigningKey.objects.select_for_update().filter(
                purpose=purpose, algorithm=algorithm, state__in=["active", "next"]
            )
        }
        upcoming = rows.get("next")
        newest = upcoming or rows.get("active")
        if after and (newest is None or newest.kid != after):
            return done
        if upcoming is None:
            upcoming = _make(purpose, algorithm, "next", now=now)
            upcoming.save(force_insert=True)
            if not at_once:
                done.append(
                    say(
                        "{kid} is published as the next {purpose} {algorithm} key. It signs by itself a day later, if the JWKS at ROLEGATE_ISSUER_URL holds it by then.",
                        kid=upcoming.kid,
                        purpose=purpose,
                        algorithm=algorithm,
                    )
                    if actor == _SCHEDULE
                    else say(
                        "{kid} is published as the next {purpose} {algorithm} key. Run rotate again to sign with it, after AWS knows it.",
                        kid=upcoming.kid,
                        purpose=purpose,
                        algorithm=algorithm,
                    )
                )
                _retire_old(purpose, algorithm, now=now, done=done)
                record(
                    Kind.KEY_ROTATED,
                    actor=actor,
                    outcome="ok",
                    origin=origin,
                    now=now,
                    step="next",
                    kid=upcoming.kid,
                    purpose=purpose,
                    algorithm=algorithm,
                )
                return done
        active = rows.get("active")
        if active is not None and at_once and purpose != "sp":
            SigningKey.objects.filter(pk=active.pk).update(state="retired", retired_at=now, sealed_private_key="")
            done.append(_retired(active.kid))
        elif active is not None:
            SigningKey.objects.filter(pk=active.pk).update(state="retiring", retired_at=now)
            done.append(say("{kid} is retiring: still published, no longer signing.", kid=active.kid))
        SigningKey.objects.filter(pk=upcoming.pk).update(state="active", activated_at=now)
        done.append(say("{kid} is active.", kid=upcoming.kid))
        _retire_old(purpose, algorithm, now=now, done=done)
        record(
            Kind.KEY_ROTATED,
            actor=actor,
            outcome="ok",
            origin=origin,
            now=now,
            step="active",
            kid=upcoming.kid,
            purpose=purpose,
            algorithm=algorithm,
        )
    return done


def _retire_old(purpose: str, algorithm: str, *, now: datetime, done: list[str]) -> None:
    old = SigningKey.objects.filter(
        purpose=purpose, algorithm=algorithm, state="retiring", retired_at__lt=now - RETIRING_FOR
    )
    done.extend(_retired(row.kid) for row in old)
    old.update(state="retired", sealed_private_key="")


def rotate_due(*, now: datetime) -> list[str]:
    """What is due of the token keys, by itself: the next key once the active one is ROLEGATE_TOKEN_KEY_AGE old, its use once
    it has been public for a day, the erasing of what has retired. Returns sentences; safe from many workers at once.

    A key signs only after AWS can fetch it: the JWKS at ROLEGATE_ISSUER_URL, which may be a static host, is read over
    HTTP and must hold it. The SAML key is a person's to rotate: each account must be given the new metadata first.
    """
    origin = Origin(request_id="rotate_keys", address="", user_agent="rotate_keys")
    done: list[str] = []
    for purpose, algorithm in KINDS:
        _retire_old(purpose, algorithm, now=now, done=done)
        rows = SigningKey.objects.filter(purpose=purpose, algorithm=algorithm, state__in=["active", "next"])
        keys = {row.state: row for row in rows}
        active, upcoming = keys.get("active"), keys.get("next")
        if purpose != "token" or active is None:
            continue
        if upcoming is None:
            if now - (active.activated_at or active.created_at) < settings.ROLEGATE_TOKEN_KEY_AGE:
                continue
            done += rotate(purpose, algorithm, actor=_SCHEDULE, origin=origin, now=now, after=active.kid)
        elif now - upcoming.created_at >= PUBLIC_BEFORE_USE:
            if upcoming.kid in public_kids():
                done += rotate(purpose, algorithm, actor=_SCHEDULE, origin=origin, now=now, after=upcoming.kid)
            else:
                log.critical("next_key_not_public", kid=upcoming.kid, issuer=settings.ROLEGATE_ISSUER_URL)
                done.append(
                    say(
                        "{kid} is not in the published JWKS yet: run `manage.py keys publish` for the static host.",
                        kid=upcoming.kid,
                    )
                )
    return done


def public_kids() -> frozenset[str]:
    """The key ids in the JWKS as the world sees it, at ROLEGATE_ISSUER_URL; none where it cannot be read."""
    try:
        answer = net.request("GET", f"{settings.ROLEGATE_ISSUER_URL}/jwks.json", headers={"Accept": "application/json"})
        keys = json.loads(answer.body)["keys"] if answer.status == 200 else []
        return frozenset(str(key["kid"]) for key in keys)
    except (RolegateError, ValueError, KeyError, TypeError) as error:
        log.warning("own_jwks_unreadable", issuer=settings.ROLEGATE_ISSUER_URL, detail=str(error)[:200])
        return frozenset()


def list_keys() -> list[KeyLine]:
    """Every key, newest first."""
    return [
        KeyLine(k.kid, k.purpose, k.algorithm, k.state, k.created_at)
        for k in SigningKey.objects.order_by("purpose", "algorithm", "-created_at")
    ]


_ORDER = {"active": 0, "next": 1, "retiring": 2}


def _published(purpose: str) -> list[SigningKey]:
    """The published keys of a purpose: RSA first, then by state with the active one first."""
    rows = list(SigningKey.objects.filter(state__in=list(_ORDER), purpose=purpose))
    return sorted(rows, key=lambda row: (row.algorithm != "RS256", _ORDER[row.state], row.created_at))


def discovery_document() -> dict[str, object]:
    """OpenID discovery of the issuer toward AWS (OpenID Connect Discovery 1.0, 3)."""
    return publish.discovery(settings.ROLEGATE_ISSUER_URL)


def jwks() -> Mapping[str, object]:
    """The token keys, active RSA key first (RFC 7517, 5)."""
    return publish.jwks([publish.PublicKey(row.kid, row.algorithm, row.certificate) for row in _published("token")])


def saml_metadata(*, now: datetime) -> bytes:
    """The SAML metadata that accounts upload to IAM."""
    certificates = [row.certificate for row in _published("saml")]
    return publish.saml_metadata(
        settings.ROLEGATE_ISSUER_URL, certificates, sso_url=f"{settings.ROLEGATE_URL}/", now=now
    )


def published_documents(*, now: datetime) -> dict[str, bytes]:
    """The three documents toward AWS by their path under the issuer URL."""
    return {
        ".well-known/openid-configuration": json.dumps(discovery_document(), indent=1).encode(),
        "jwks.json": json.dumps(jwks(), indent=1).encode(),
        "saml/metadata.xml": saml_metadata(now=now),
    }


def publish_static(directory: Path, *, actor: str, origin: Origin, now: datetime) -> list[Path]:
    """Write the documents below `directory`, each replaced whole; returns their paths."""
    documents = published_documents(now=now)
    with transaction.atomic():
        record(Kind.KEY_PUBLISHED, actor=actor, outcome="ok", origin=origin, now=now, documents=sorted(documents))
    return publish.write_static(directory, documents)
