"""Background work: the broker, the worker and beat behind it, and what they keep true."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import OuterRef, Subquery

from federation.flows import latest_word
from federation.flows import sources as held_answers
from federation.flows.doctor.findings import Finding, counted, ok, problem, span, warning
from federation.mapping.rules import Account
from federation.models import current
from federation.models.catalogue import ACCOUNT
from federation.models.directory import SOURCE as DIRECTORY
from federation.models.directory import differing_in_case
from federation.models.sync import Source, TaskRun
from federation.said import listed, say

_CONNECT_SECONDS = 3
# A run may wait for a busy worker; three of them in a row that did not come are a worker that is not there.
_MISSED = 3
_SLACK = timedelta(minutes=5)
STALE = timedelta(hours=24)  # THREATS.md, "Faults"
_SHOWN = 5


def has_broker() -> bool:
    """Whether background work has a way to a worker at all."""
    return urlsplit(str(settings.CELERY_BROKER_URL)).scheme != "memory"


def broker(now: datetime) -> Iterator[Finding]:
    """Redis carries background work, and nothing else: without it everybody still signs in."""
    if not has_broker():
        yield warning(
            "no_broker",
            "REDIS_URL is not set: nothing refreshes provider metadata, roles and directories, and nothing is purged. "
            "Signing in and credentials work.",
            "Set REDIS_URL, and run a worker and beat (docs/runbook.md).",
        )
        return
    scheme = urlsplit(str(settings.CELERY_BROKER_URL)).scheme
    if scheme == "filesystem":
        yield ok("Background work goes through files, as the demo's does")
        return
    from kombu.connection import Connection  # 60 ms and 8 MB that a web worker never needs
    from kombu.exceptions import OperationalError

    options = {"socket_connect_timeout": _CONNECT_SECONDS, "socket_timeout": _CONNECT_SECONDS}
    try:
        with Connection(settings.CELERY_BROKER_URL, transport_options=options) as reached:  # type: ignore[no-untyped-call,unused-ignore]
            reached.ensure_connection(max_retries=1, timeout=_CONNECT_SECONDS, reraise_as_library_errors=True)
    except (OperationalError, OSError, TimeoutError) as error:
        yield problem(
            "broker_unreachable",
            # The exception's text may quote the URL, and that may hold a password: its kind says enough.
            f"REDIS_URL does not answer ({(error.__cause__ or error).__class__.__name__}): background work waits. Signing in and credentials work.",
            "Check REDIS_URL, the server, and the network between. What waits is done once it is back.",
        )
        return
    yield ok("Redis answers")


def runs(now: datetime) -> Iterator[Finding]:
    """Each task of the schedule was done lately, and its last run went well."""
    if not has_broker():
        return
    schedule = {
        str(entry["task"]).rpartition(".")[2]: entry["schedule"] for entry in settings.CELERY_BEAT_SCHEDULE.values()
    }
    last = TaskRun.objects.filter(task=OuterRef("task"), finished_at__isnull=False).exclude(
        outcome=TaskRun.Outcome.SKIPPED
    )
    newest = {
        row.task: row
        for row in TaskRun.objects.filter(task__in=schedule, pk=Subquery(last.order_by("-started_at").values("pk")[:1]))
    }
    late: list[str] = []
    never: list[str] = []
    for task, every in sorted(schedule.items()):
        row = newest.get(task)
        if row is None:
            never.append(task)
            continue
        if now - row.started_at > every * _MISSED + _SLACK:
            late.append(say("{task} ({span} ago)", task=task, span=span(now - row.started_at)))
        if row.outcome == TaskRun.Outcome.FAILED:
            yield warning(
                "task_failed",
                say("The last run of {task} failed: {error}.", task=task, error=row.error_code),
                say("The worker's log has the detail, under task_failed."),
                task=task,
            )
        elif row.outcome == TaskRun.Outcome.LOST:
            yield warning(
                "task_lost",
                say("The worker died in the last run of {task}.", task=task),
                say("If that happens again, look at the worker's memory limit and its log."),
                task=task,
            )
    if late or len(never) == len(schedule):
        yield problem(
            "worker_not_seen",
            say(
                "No worker has done lately: {tasks}; nothing refreshes provider metadata, roles and directories, and nothing is purged.",
                tasks=listed(late or never),
            ),
            say(
                "See that a worker and exactly one beat run, and reach the same REDIS_URL and database (docs/runbook.md)."
            ),
        )
    elif never:
        yield warning(
            "task_never_run",
            say("Never done yet: {tasks}.", tasks=listed(never)),
            say("Right within the first hour after a start. Later: see that beat runs this version."),
        )
    else:
        yield ok(
            f"{counted(len(schedule), 'scheduled task')}, the last run {span(now - max(row.started_at for row in newest.values()))} ago"
        )


def sources(now: datetime) -> Iterator[Finding]:
    """What is read again and again: read lately, and nothing waits for a person."""
    wanted = _wanted()
    for row in held_answers.waiting():
        yield warning(
            "answer_held",
            say(
                "{source} answered with {removed} of {before} gone; that has waited since {moment}.",
                source=wanted.get(row.source_id) or row.summary.get("about") or row.source_id,
                removed=row.summary.get("removed"),
                before=row.summary.get("before"),
                moment=f"{row.held_at:%Y-%m-%d %H:%M} UTC",
            ),
            say("Look at it under Held answers or with manage.py held, then accept or refuse it."),
            source=row.source_id,
        )
    yield from _other_letters()
    rows = {row.key: row for row in Source.objects.filter(key__in=wanted)}
    never = [key for key in wanted if key not in rows or rows[key].succeeded_at is None]
    failed = [row for key, row in rows.items() if row.state == Source.State.FAILED and key not in never]
    stale = [row for row in rows.values() if row.succeeded_at is not None and now - row.succeeded_at > STALE]
    if failed:
        yield warning(
            "source_failed",
            say(
                "{number} of {all} sources could not be read: {sources}. The last good answer stays in force.",
                number=len(failed),
                all=len(wanted),
                sources=_some([_with_why(wanted[row.key], row) for row in failed]),
            ),
            say(
                "manage.py refresh catalogue ACCOUNT, or refresh directory SLUG, shows the cause; docs/onboarding.md has the reader role."
            ),
        )
    for kind, says in (
        (DIRECTORY, _old_directories),
        (ACCOUNT, _old_accounts),
        (current.ORGANIZATION, _old_organization),
    ):
        old = [wanted[row.key] for row in stale if row.key.startswith(kind)]
        if old:
            yield warning(
                "source_stale", says(_some(old)), say("See that the worker runs, and what the last attempts said.")
            )
    yield from _never_read({key: _with_why(wanted[key], rows.get(key)) for key in never})
    if wanted and not (failed or stale or never):
        yield ok(f"{counted(len(wanted), 'source')}, each read within a day")
    elif not wanted:
        yield ok("No account and no directory to read")


def _other_letters() -> Iterator[Finding]:
    """People who sign in under a name that their directory has in another case: its groups are not theirs."""
    for directory in current.mapping().document.directories:
        number, some = differing_in_case(
            directory.slug, directory.provider, subject_column=latest_word.subject_column(directory), most=_SHOWN
        )
        if not number:
            continue
        told = {
            "directory": directory.slug,
            "number": number,
            "names": listed([say("{one} ({other} there)", one=one, other=other) for one, other in some]),
        }
        yield warning(
            "subject_case_differs",
            say(
                "People who sign in under a name that the directory {directory} has in other letters: {number}, such as {names}. Its groups do not count for them; that it disables them does.",
                **told,
            )
            if directory.groups == "add"
            else say(
                "People who sign in under a name that the directory {directory} has in other letters: {number}, such as {names}. They are refused.",
                **told,
            ),
            say(
                "Have the identity provider and the directory say the same: names give access letter by letter (docs/directories.md)."
            ),
            source=f"{DIRECTORY}{directory.slug}",
        )


def _old_directories(names: str) -> str:
    return say("Not read for more than a day: {names}; roles that ask for a fresh directory are closed.", names=names)


def _old_accounts(names: str) -> str:
    return say("Not read for more than a day: {names}; roles made since are not known.", names=names)


def _old_organization(names: str) -> str:
    return say(
        "Not read for more than a day: {names}; accounts that came, moved or left since are not known.", names=names
    )


def _with_why(name: str, row: Source | None) -> str:
    """The name, with what the last attempt said, where there was one."""
    return say("{name} ({reason})", name=name, reason=row.error_code) if row is not None and row.error_code else name


_LET_IT_SPEAK = say("Give the directory its token and address (manage.py tokens), or read it once (manage.py refresh).")


def _never_read(never: dict[str, str]) -> Iterator[Finding]:
    """Sources that have never answered, by what they are: key -> how people call it, and why not."""
    adding = {f"{DIRECTORY}{one.slug}" for one in current.mapping().document.directories if one.groups == "add"}
    if besides := [name for key, name in never.items() if key in adding]:
        # Everybody signs in all the same, by the claims' groups: whom it would disable is what is not known.
        yield warning(
            "directory_silent",
            say("Never heard of: {names}. Whom it would disable, and its groups, are not known.", names=_some(besides)),
            _LET_IT_SPEAK,
        )
    silent = [name for key, name in never.items() if key.startswith(DIRECTORY) and key not in adding]
    if silent:
        yield problem(
            "directory_silent",
            say("Never heard of: {names}. Everybody of its provider is refused until it answers.", names=_some(silent)),
            _LET_IT_SPEAK,
        )
    if organization := never.get(current.ORGANIZATION):
        yield warning(
            "organization_unread",
            say(
                "Never read: {names}. The accounts that the mapping document names are known, and no other.",
                names=organization,
            ),
            say(
                "manage.py refresh catalogue shows the cause. ROLEGATE_ORGANIZATION_ROLE names the reader in the management account (docs/onboarding.md)."
            ),
        )
    unread = [name for key, name in never.items() if key.startswith(ACCOUNT)]
    if unread:
        yield warning(
            "catalogue_unread",
            say(
                "Never read: {names}. Of its roles the gateway does not know which exist, and for how long sessions may last.",
                names=_some(unread),
            )
            if len(unread) == 1
            else say(
                "Never read: {names}. Of their roles the gateway does not know which exist, and for how long sessions may last.",
                names=_some(unread),
            ),
            say(
                "Let the owner apply manage.py onboard ACCOUNT, which makes the reader role too; then manage.py refresh catalogue ACCOUNT."
            ),
        )


def _wanted() -> dict[str, str]:
    """Key of every source that is read -> how people call it."""
    document = current.mapping().document
    found: dict[str, str] = (
        {current.ORGANIZATION: say("the organization")} if settings.ROLEGATE_ORGANIZATION_ROLE else {}
    )
    found |= {f"{ACCOUNT}{account.id}": _called(account) for account in document.accounts}
    return found | {f"{DIRECTORY}{one.slug}": say("directory {name}", name=one.slug) for one in document.directories}


def _called(account: Account) -> str:
    return account.id if account.name == account.id else f"{account.name} {account.id}"


def _some(names: Iterator[str] | list[str]) -> str:
    every = sorted(names)
    rest = len(every) - _SHOWN
    shown = listed(every[:_SHOWN])
    return say("{names} and {number} more", names=shown, number=rest) if rest > 0 else shown
