"""How fast this machine is, beside the two cores on which the limits in seconds were set: without it they say nothing here.

Two things of each run are timed, none of them ours: a bare RSA-2048 signature (arithmetic) and the start of an empty Python
(system calls, memory, the interpreter). There, they took 313 µs and 7.6 ms.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_SIGNATURE_SECONDS = 313e-6
_START_SECONDS = 7.6e-3


def slower() -> float:
    """How many times longer such work takes here: the geometric mean of both."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signing = _median(lambda: key.sign(b"x" * 256, padding.PKCS1v15(), hashes.SHA256()), 200)
    starting = _median(lambda: subprocess.run([sys._base_executable, "-I", "-S", "-c", "pass"], check=True), 30)
    return statistics.geometric_mean((signing / _SIGNATURE_SECONDS, starting / _START_SECONDS))


def _median(work: Callable[[], object], times: int) -> float:
    taken = list[float]()
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)
