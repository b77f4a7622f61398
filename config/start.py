"""What a serving process does once before it serves: `federation.flows.first_start`, and warming what a request would pay for."""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import structlog
from django.db import DatabaseError, connection
from django.utils import timezone

from federation.aws import sts
from federation.flows.first_start import first_start

log = structlog.get_logger(__name__)
RETRY_SECONDS = 5.0


def begin() -> None:
    """Make missing keys, publish ROLEGATE_CONFIG, build boto3's clients. Raises what `first_start` raises.

    A database that is away, or not migrated yet, does not stop the process: what needs it is tried again until it is done.
    """
    # In a thread of its own: an ASGI server imports us inside its event loop, and no connection may be left for a fork.
    with ThreadPoolExecutor(1) as once:
        if not once.submit(_first_start).result():
            threading.Thread(target=_until_done, name="first-start", daemon=True).start()
    # boto3's first client costs 150 ms: here, not in somebody's request. Other partitions' clients are made at first use.
    sts.warm(["aws"])
    # What is here now stays: the collector need not look at it again (a twentieth of a request's time went into that), and
    # ten thousand objects instead of 700 before it looks cost a worker nothing that can be measured.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _first_start() -> bool:
    try:
        first_start(now=timezone.now())
    except DatabaseError as error:
        log.warning("first_start_waits_for_the_database", kind=error.__class__.__name__)
        return False
    finally:
        connection.close()
    return True


def _until_done() -> None:
    done = False
    while not done:
        time.sleep(RETRY_SECONDS)
        try:
            done = _first_start()
        except Exception:
            log.critical("first_start_failed", exc_info=True)
            return
