"""Read the organization's accounts and each account's roles, and take over what is whole.

Each account is read by itself, under its own lease, and swapped in one transaction: an account that cannot be read,
answers half, or answers with far fewer roles than before keeps its last good listing. A run that is killed is resumed by
the next one, which begins with the accounts that were tried longest ago.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import close_old_connections, connection, transaction
from django.db.models import Max
from django.utils import timezone

from federation.audit.events import Origin
from federation.aws import catalogue, organizations, sts
from federation.aws.arns import parse_role_arn
from federation.aws.partitions import partition
from federation.directory.snapshot import FEW, difference
from federation.errors import ConfigurationError, RolegateError
from federation.flows import catalogue_effect, leases, runs, sources
from federation.flows.minting import mint_reader_token
from federation.mapping.delegated import is_ours
from federation.mapping.document import parse
from federation.mapping.rules import Account, is_production
from federation.models import current
from federation.models.accounts import OrganizationAccount, PastRole, PolicyDocument, Role, search_text
from federation.models.bulk import upsert
from federation.models.catalogue import ACCOUNT
from federation.models.mapping import MappingRevision
from federation.models.sync import Source

log = structlog.get_logger(__name__)
READER_ROLE = "rolegate-reader"
READER_SESSION_SECONDS = 900
ACCOUNTS_AT_ONCE = 16
# Ends before the run's own: whoever takes over from a worker that died finds its accounts free.
_ACCOUNT_LEASE = timedelta(seconds=75)
_TICK_SECONDS = 5.0
_BATCH = 500
_SHOWN = 20  # roles that no gateway can use, by their ARNs
_ORIGIN = Origin(request_id="catalogue", address="", user_agent="refresh_catalogue")


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What became of one account, or of the organization: `outcome` ok, failed, held or skipped; `reason` where it is not ok.

    `count`: roles (or accounts) that it has; `written`: rows that were changed.
    """

    account_id: str
    outcome: str
    reason: str = ""
    count: int = 0
    written: int = 0


class Ended(RuntimeError):
    """The run has ended, or lost its lease: what is being read for it is not wanted any more."""


def _reader(role_arn: str, region: str, *, now: datetime) -> sts.Credentials:
    """Credentials of a reader role, by a web identity token of the gateway's own: no access key anywhere."""
    where = partition(parse_role_arn(role_arn).partition)

    def prepare(_region: str) -> sts.WebIdentityCall:
        token = mint_reader_token(role_arn, origin=_ORIGIN, now=timezone.now())
        return sts.WebIdentityCall(
            role_arn=role_arn, token=token.token, session_name=READER_ROLE, duration=READER_SESSION_SECONDS
        )

    regions = where.regions_fail_over(region)
    return sts.assume_role(prepare, regions=regions, partition=where, deadline_seconds=45, background=True)


def reader_credentials(account: Account, *, now: datetime) -> sts.Credentials:
    """Credentials of the account's reader role. Raises what STS and minting raise."""
    return _reader(f"arn:{account.partition}:iam::{account.id}:role/{READER_ROLE}", account.region, now=now)


def source_of(account_id: str) -> str:
    """The key of an account's source."""
    return f"{ACCOUNT}{account_id}"


@contextmanager
def _noted(key: str, lease: leases.Held, *, now: datetime) -> Iterator[None]:
    """Note at the source that it is being read, and what stopped the reading. Raises LeaseLost instead where it is not ours."""
    sources.attempted(key, now=now)
    try:
        yield
    except RolegateError as error:
        with transaction.atomic():
            if not lease.is_ours():
                raise leases.LeaseLost(key) from error
            sources.failed(key, error, now=now)
        raise


def _read(
    key: str,
    read: Callable[[leases.Held, Callable[[], None]], tuple[int, int]],
    *,
    now: datetime,
    alive: Callable[[], None],
) -> Refreshed:
    """Read one source under its lease. `read` gets the lease and what to call while it lasts; returns what it has and wrote."""
    name = key.removeprefix(ACCOUNT)
    with leases.leased(key, _ACCOUNT_LEASE) as lease:
        if lease is None:
            return Refreshed(name, "skipped", "running_already")
        beat = leases.Heartbeat(lease, _ACCOUNT_LEASE)

        def still() -> None:
            alive()
            beat()

        try:
            with _noted(key, lease, now=now):
                count, written = read(lease, still)
        except leases.LeaseLost:
            log.warning("source_lease_lost", source=key)
            return Refreshed(name, "skipped", "lease_lost")
        except sources.AnswerHeld as error:
            log.warning("answer_held", source=key, reason=error.reason, detail=error.detail)
            return Refreshed(name, "held", error.reason)
        except RolegateError as error:
            log.warning("source_not_read", source=key, code=error.code, reason=error.reason, detail=error.detail)
            return Refreshed(name, "failed", error.reason)
    return Refreshed(name, "ok", count=count, written=written)


def _go_on() -> None:
    """Nothing ends this reading but itself."""


# --- The organization --------------------------------------------------------------------------------

ORGANIZATION = current.ORGANIZATION


def refresh_organization(*, now: datetime, alive: Callable[[], None] = _go_on) -> Refreshed:
    """Read the organization's accounts through ROLEGATE_ORGANIZATION_ROLE. Never raises for what AWS did.

    Raises ConfigurationError without that setting. `alive`: as in catalogue.Reader.
    """
    role_arn = settings.ROLEGATE_ORGANIZATION_ROLE
    if not role_arn:
        raise ConfigurationError("organization_role_unset", sentence="Set ROLEGATE_ORGANIZATION_ROLE to read accounts.")

    def read(lease: leases.Held, still: Callable[[], None]) -> tuple[int, int]:
        where = partition(parse_role_arn(role_arn).partition)
        found = organizations.list_accounts(_reader(role_arn, "", now=now), partition=where, alive=still)
        return len(found), _take_organization(found, where.name, lease, now=now)

    return _read(ORGANIZATION, read, now=now, alive=alive)


def _take_organization(
    found: Sequence[organizations.AccountRecord], partition_name: str, lease: leases.Held, *, now: datetime
) -> int:
    records = {record.id: record for record in found}
    known = {row.id: _as_record(row) for row in OrganizationAccount.objects.filter(present=True)}
    before = {account_id: record.digest for account_id, record in known.items()}
    change = difference(before, {account_id: record.digest for account_id, record in records.items()})
    sources.brake(
        ORGANIZATION, change, now=now, effect=lambda: catalogue_effect.effect_of_accounts(_of_the_organization_alone(change.removed))
    )  # fmt: skip
    listed = [_account_row(record, partition_name, now) for record in found]
    _brake_on_marks(known, records, listed, now)
    with transaction.atomic():
        if not lease.is_ours():
            raise leases.LeaseLost(ORGANIZATION)
        touched = {*change.added, *change.changed}
        rows = [row for row in listed if row.id in touched]
        OrganizationAccount.objects.bulk_create(
            rows, batch_size=_BATCH, update_conflicts=True, unique_fields=["id"], update_fields=_ACCOUNT_COLUMNS
        )
        OrganizationAccount.objects.filter(id__in=change.removed).update(present=False, removed_at=now)
        sources.taken_over(ORGANIZATION, changed=not change.is_empty, counts={"accounts": len(found)}, now=now)
    return len(rows) + len(change.removed)


def _account_row(record: organizations.AccountRecord, partition_name: str, now: datetime) -> OrganizationAccount:
    return OrganizationAccount(
        id=record.id, name=record.name, email=record.email, partition=partition_name, state=record.state,
        organizational_unit=record.organizational_unit, organizational_unit_id=record.organizational_unit_id,
        tags=dict(record.tags), present=True, first_seen_at=now, removed_at=None,
    )  # fmt: skip


def _brake_on_marks(
    before: Mapping[str, organizations.AccountRecord],
    after: Mapping[str, organizations.AccountRecord],
    listed: Sequence[OrganizationAccount],
    now: datetime,
) -> None:
    """Hold an answer in which many accounts that stay are suddenly no longer active, or have lost their tags. `listed`: all of it.

    Attack, or mishap: an answer without tags unmarks production everywhere, and every deny that chooses accounts by a tag is gone.
    """
    stay = before.keys() & after.keys()
    for what in (_tag_marks, _active_mark):
        had = dict.fromkeys((mark for key in stay for mark in what(before[key])), "")
        has = dict.fromkeys((mark for key in stay for mark in what(after[key])), "")
        found = difference(had, has)
        if len(found.removed) > FEW:
            sources.brake(
                ORGANIZATION, found, now=now, effect=lambda: catalogue_effect.effect_of_listing(listed, now=now)
            )


def _tag_marks(record: organizations.AccountRecord) -> Iterator[str]:
    """Its tags by their keys: another value is somebody's word, none is not. And that it is production, by whatever value."""
    for key in record.tags:
        yield f"{record.id}: tag {key}"
    if is_production(Account(record.id, record.name, tags=record.tags)):
        yield f"{record.id}: production"


def _active_mark(record: organizations.AccountRecord) -> Iterator[str]:
    if record.state == "ACTIVE":
        yield f"{record.id}: active"


def _of_the_organization_alone(account_ids: Sequence[str]) -> set[str]:
    """Those that the mapping document does not name: they go with the organization's answer, and their roles with them."""
    revision = MappingRevision.objects.order_by("-number").first()
    named = (
        {account.id for account in parse(revision.text, published=True).accounts}
        if revision is not None
        else set[str]()
    )
    return set(account_ids) - named


_ACCOUNT_COLUMNS = [
    "name", "email", "partition", "state", "organizational_unit", "organizational_unit_id", "tags", "present", "removed_at",
]  # fmt: skip


def _as_record(row: OrganizationAccount) -> organizations.AccountRecord:
    return organizations.AccountRecord(
        id=row.id, name=row.name, email=row.email, state=row.state,
        organizational_unit=row.organizational_unit, organizational_unit_id=row.organizational_unit_id, tags=dict(row.tags),
    )  # fmt: skip


# --- One account -------------------------------------------------------------------------------------


def refresh_account(account: Account, *, now: datetime, alive: Callable[[], None] = _go_on) -> Refreshed:
    """Read one account's roles and take them over, whole or not at all. Never raises for what AWS or the account did.

    `alive`: as in catalogue.Reader.
    """

    def read(lease: leases.Held, still: Callable[[], None]) -> tuple[int, int]:
        where = partition(account.partition)
        credentials = reader_credentials(account, now=now)
        listing = catalogue.list_roles(credentials, account_id=account.id, partition=where, alive=still)
        return len(listing.roles), _take_roles(account.id, listing, lease, now=now)

    return _read(source_of(account.id), read, now=now, alive=alive)


def _take_roles(account_id: str, listing: catalogue.RoleListing, lease: leases.Held, *, now: datetime) -> int:
    before = dict(Role.objects.filter(account_id=account_id, present=True).values_list("arn", "digest"))
    records = {record.arn: record for record in listing.roles}
    change = difference(before, {arn: record.digest for arn, record in records.items()})
    key = source_of(account_id)
    sources.brake(key, change, now=now, effect=lambda: catalogue_effect.effect_of_roles(change.removed))
    _brake_on_tags(account_id, records, key, now)
    rows = [_row(records[arn], now) for arn in (*change.added, *change.changed)]
    _keep_documents(rows, listing.documents, now)
    with transaction.atomic():
        if not lease.is_ours():
            raise leases.LeaseLost(key)
        touched = (*change.added, *change.changed, *change.removed)
        earlier = Role.objects.filter(arn__in=touched).exclude(tags={}).values_list("tags", flat=True)
        tags_changed = any(
            is_ours(tags) for tags in [*earlier, *(records[arn].tags for arn in touched if arn in records)]
        )
        _keep_earlier(rows, now)
        upsert(rows, unique="arn")
        Role.objects.filter(account_id=account_id, arn__in=change.removed).update(present=False, removed_at=now)
        if tags_changed:
            sources.moved_on(current.ROLE_TAGS, now=now)
        sources.taken_over(
            key,
            changed=not change.is_empty,
            counts={"roles": len(records), "unusable": len(listing.unusable), "examples": listing.unusable[:_SHOWN]},
            now=now,
        )
    return len(rows) + len(change.removed)


def _brake_on_tags(account_id: str, after: Mapping[str, catalogue.RoleRecord], key: str, now: datetime) -> None:
    """Hold an answer in which many roles that stay have lost the tags by which their owners give them.

    One tag that goes is its owner's word; all of them at once are an answer without tags, or a script gone astray.
    """
    tagged = Role.objects.filter(account_id=account_id, present=True, arn__in=after).exclude(tags={})
    had = [arn for arn, tags in tagged.values_list("arn", "tags") if is_ours(tags)]
    before = dict.fromkeys((f"{arn}: tags" for arn in had), "")
    has = dict.fromkeys((f"{arn}: tags" for arn, record in after.items() if is_ours(record.tags)), "")
    found = difference(before, has)
    if len(found.removed) > FEW:
        bare = [arn for arn in had if not is_ours(after[arn].tags)]
        sources.brake(key, found, now=now, effect=lambda: catalogue_effect.effect_of_tags(bare))


def _keep_earlier(rows: Sequence[Role], now: datetime) -> None:
    """Of roles that are back, or were made anew under their ARN: that there was another, or a time without one. Two statements."""
    coming = {row.arn: row for row in rows}
    earlier = []
    for held in Role.objects.filter(arn__in=coming).only(*_OF_A_SPELL):
        created = coming[held.arn].created_at
        if not held.present:
            until, back_at = held.removed_at or now, now
        elif created is not None and held.created_at is not None and created > held.created_at:
            until = back_at = created  # when the old one went, nobody tells: between two readings
        else:
            continue
        earlier.append((held, until, back_at))
    if not earlier:
        return
    spells = PastRole.objects.filter(arn__in=[held.arn for held, *_ in earlier]).order_by()
    back = dict(spells.values_list("arn").annotate(Max("back_at")))
    PastRole.objects.bulk_create(
        [
            PastRole(
                arn=held.arn, account_id=held.account_id, name=held.name, path=held.path,
                max_session_duration=held.max_session_duration, until=until, back_at=back_at,
                since=max((at for at in (held.created_at, back.get(held.arn)) if at is not None), default=None),
            )
            for held, until, back_at in earlier
        ],
        batch_size=_BATCH,
    )  # fmt: skip


_OF_A_SPELL = ("arn", "account_id", "name", "path", "max_session_duration", "created_at", "present", "removed_at")

_SEEN_AGAIN = timedelta(hours=1)  # far less than the day for which `purge` leaves a text that no role has


def _keep_documents(rows: Sequence[Role], documents: Mapping[str, str], now: datetime) -> None:
    """The texts of the policies of these roles: before the roles, which name them, and in transactions of their own.

    Accounts are read side by side and have the same policies: a row that one account locked to its end would keep all the
    others waiting.
    """
    wanted = sorted({str(one["document"]) for row in rows for one in row.policies or () if one["document"]})
    held = dict(PolicyDocument.objects.filter(digest__in=wanted).values_list("digest", "seen_at"))
    for digest, seen_at in sorted(held.items()):
        if seen_at < now - _SEEN_AGAIN and not PolicyDocument.objects.filter(digest=digest).update(seen_at=now):
            del held[digest]  # thrown away meanwhile
    new = [PolicyDocument(digest=one, text=documents[one], seen_at=now) for one in wanted if one not in held]
    PolicyDocument.objects.bulk_create(new, batch_size=_BATCH, ignore_conflicts=True)


def _plain(policy: catalogue.HeldPolicy) -> dict[str, str | bool]:
    """As `dataclasses.asdict` has it, which would copy each value of each of 200,000 roles."""
    return {"name": policy.name, "arn": policy.arn, "document": policy.document, "boundary": policy.boundary}


def _row(record: catalogue.RoleRecord, now: datetime) -> Role:
    return Role(
        arn=record.arn, account_id=record.account_id, name=record.name, path=record.path, description=record.description,
        max_session_duration=record.max_session_duration, trust_policy=record.trust_policy, tags=dict(record.tags),
        last_used_at=record.last_used_at, created_at=record.created_at, digest=record.digest, present=True, seen_at=now, removed_at=None,
        search=search_text(record.path, record.name, record.tags), policies=[_plain(policy) for policy in record.policies],
    )  # fmt: skip


# --- All of them -------------------------------------------------------------------------------------


def accounts_in_order() -> list[Account]:
    """Every account of the mapping in force, the one that was tried longest ago first: so a killed run is resumed."""
    tried = dict(Source.objects.filter(key__startswith=ACCOUNT).values_list("key", "attempted_at"))
    accounts = list(current.mapping().document.accounts)
    return sorted(accounts, key=lambda account: (str(tried.get(source_of(account.id)) or ""), account.id))


def refresh_catalogue(
    *, now: datetime, at_once: int = ACCOUNTS_AT_ONCE, say: Callable[[Refreshed], None] | None = None
) -> list[Refreshed] | None:
    """Read the organization (where ROLEGATE_ORGANIZATION_ROLE is set), then every account, `at_once` side by side.

    Returns what became of each; None where another worker is at it. Raises LeaseLost where one has taken over.
    """
    results: list[Refreshed] = []

    def note(result: Refreshed) -> None:
        results.append(result)
        if say is not None:
            say(result)

    with runs.run("refresh_catalogue") as run:
        if run is None:
            return None
        if settings.ROLEGATE_ORGANIZATION_ROLE:
            note(refresh_organization(now=now, alive=run.alive))
            run.detail["organization"] = results[0].reason or results[0].outcome
        accounts = accounts_in_order()
        run.total(len(accounts))
        with closing(_side_by_side(accounts, at_once, run.alive)) as coming:
            for done, result in enumerate(coming, start=1):
                note(result)
                run.progress(done)
        for outcome in ("ok", "failed", "held", "skipped"):
            run.detail[outcome] = sum(1 for result in results if result.outcome == outcome)
        run.detail["written"] = sum(result.written for result in results)
    return results


def _side_by_side(accounts: Sequence[Account], at_once: int, alive: Callable[[], None]) -> Generator[Refreshed]:
    """Each account's result as it comes. `alive` is called every few seconds here, and what it raises ends all of them."""
    todo: queue.SimpleQueue[Account] = queue.SimpleQueue()
    for account in accounts:
        todo.put(account)
    done: queue.SimpleQueue[Refreshed] = queue.SimpleQueue()
    ended = threading.Event()

    def still() -> None:
        if ended.is_set():
            raise Ended

    workers = min(at_once, len(accounts))
    with ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="catalogue") as pool:
        working = [pool.submit(_work, todo, done, still) for _ in range(workers)]
        try:
            for _ in accounts:
                yield _next(done, working, alive)
        finally:
            ended.set()  # the caller has lost its lease, its time or its patience: what is not begun is not begun


def _next(done: queue.SimpleQueue[Refreshed], working: Sequence[Future[None]], alive: Callable[[], None]) -> Refreshed:
    while True:
        alive()
        with suppress(queue.Empty):
            return done.get(timeout=_TICK_SECONDS)
        if all(future.done() for future in working) and done.empty():
            raise RuntimeError("every catalogue thread has ended before its work was done")


def _work(todo: queue.SimpleQueue[Account], done: queue.SimpleQueue[Refreshed], still: Callable[[], None]) -> None:
    """One thread: accounts, one after the other, over one database connection."""
    try:
        while True:
            still()
            account = todo.get_nowait()
            close_old_connections()
            try:
                result = refresh_account(account, now=timezone.now(), alive=still)
            except Ended:
                raise
            except Exception as error:
                # The database is away, say. One account's trouble is not the others'.
                log.exception("account_failed", account=account.id)
                result = Refreshed(account.id, "failed", error.__class__.__name__)
            done.put(result)
    except (queue.Empty, Ended):
        pass
    finally:
        connection.close()
