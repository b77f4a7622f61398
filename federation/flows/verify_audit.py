"""Check the whole audit log in the background, with progress: five million rows take minutes, and nobody waits at a page for that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import transaction

from federation.audit.chain import Link, verify
from federation.audit.events import Kind, Origin
from federation.audit.record import keys, links, record, untold
from federation.flows import background, runs
from federation.models.audit import AuditHead
from federation.said import packed, say

TASK: Final = "verify_audit"
_MOST_FINDINGS: Final = 50
_STEP: Final = 2_000  # rows between two looks at the lease


@dataclass(frozen=True, slots=True)
class Verified:
    """What the check found. `rows`: how many it read; `findings`: (sequence number, problem), the first fifty of `found`."""

    rows: int
    found: int
    findings: tuple[tuple[int, str], ...]


def ask(*, actor: str, origin: Origin, now: datetime) -> None:
    """Have a worker check it. The event is committed first. Raises BrokerAway."""
    with transaction.atomic():
        record(Kind.TASK_ASKED, actor=actor, outcome="ok", origin=origin, now=now, task=TASK)
    background.send(TASK)


def run() -> Verified | None:
    """Check it, as a run that shows how far it is; None where another worker is at it. Raises LeaseLost."""
    with runs.run(TASK) as current:
        if current is None:
            return None
        head = AuditHead.objects.filter(pk=1).first()
        current.total(head.seq if head else 0)
        seal = (head.seq, head.last_mac, head.mac) if head else None
        read = 0

        def counted() -> Iterator[Link]:
            nonlocal read
            for link in links():
                if seal is not None and link.seq > seal[0]:
                    return  # written since the check began, behind the head that it checks
                read += 1
                if read % _STEP == 0:
                    current.progress(read)
                yield link

        findings = list(verify(counted(), head=seal, keys=keys()))
        findings = findings or list(untold(seal[0] if seal else 0))
        shown = tuple((finding.seq, finding.problem) for finding in findings[:_MOST_FINDINGS])
        current.row.done = read
        current.detail = {
            "rows": read,
            "findings": len(findings),
            "first": [packed(say("{number}: {problem}", number=str(seq), problem=problem)) for seq, problem in shown],
        }
        return Verified(read, len(findings), shown)
