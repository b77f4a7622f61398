"""What minting costs beside the bare RSA-2048 signature that it cannot do without.

    python -m bench.minting            # prints medians and ratios; exits 1 where a bound is broken

Bounds: an assertion with 20 tags ≤ 3.2 bare signatures, a token with 20 tags ≤ 1.3. All are measured in turns in one run, so that a noisy
machine slows them alike; the ratio of medians is what counts. The keys are made for this run and protect nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from federation.issuer.assertion import AssertionRequest, mint_assertion
from federation.issuer.signing import LocalSigner, generate
from federation.issuer.token import TokenRequest, mint_token

NOW = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
TAGS = {f"Tag{number:02}": f"value-{number:02}@example.com" for number in range(20)}
ASSERTION = AssertionRequest(
    issuer="https://access.example.com/issuer",
    recipient="https://eu-west-1.signin.aws.amazon.com/saml",
    audience="urn:amazon:webservices",
    role_arn="arn:aws:iam::111122223333:role/ReadOnly",
    provider_arn="arn:aws:iam::111122223333:saml-provider/rolegate",
    session_name="alice@example.com",
    source_identity="alice@example.com",
    name_id="corp:alice",
    session_duration=3600,
    tags=TAGS,
    transitive_tags=("Tag00", "Tag01"),
)
TOKEN = TokenRequest(
    issuer="https://access.example.com/issuer",
    audience="sts.amazonaws.com",
    subject="corp:alice",
    source_identity="alice@example.com",
    tags=TAGS,
    transitive_tags=("Tag00", "Tag01"),
)


def signer(algorithm: str) -> LocalSigner:
    made = generate(algorithm, common_name="BENCH KEY", now=NOW)
    return LocalSigner(made.kid, made.algorithm, made.private_pem, made.certificate_pem)


def medians(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median microseconds of each, one call of each in turn."""
    spent: dict[str, list[int]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, call in work.items():
            start = time.perf_counter_ns()
            call()
            spent[name].append(time.perf_counter_ns() - start)
    return {name: statistics.median(values) / 1000 for name, values in spent.items()}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=1500)
    rounds = arguments.parse_args().rounds
    rsa, ec = signer("RS256"), signer("ES256")
    data = b"x" * 600
    work: dict[str, Callable[[], object]] = {
        "bare RSA-2048 signature": lambda: rsa.sign(data),
        "assertion, 20 tags": lambda: mint_assertion(ASSERTION, rsa, now=NOW),
        "token RS256, 20 tags": lambda: mint_token(TOKEN, rsa, now=NOW),
        "token ES256, 20 tags": lambda: mint_token(TOKEN, ec, now=NOW),
    }
    bounds = {"assertion, 20 tags": 3.2, "token RS256, 20 tags": 1.3}
    medians(work, 50)
    found = medians(work, rounds)
    bare = found["bare RSA-2048 signature"]
    broken = 0
    for name, value in found.items():
        bound = bounds.get(name)
        over = bound is not None and value / bare > bound
        broken += over
        note = f"   (at most {bound}){'  BROKEN' if over else ''}" if bound else ""
        print(f"{name:<28}{value:9.0f} µs   ratio {value / bare:5.2f}{note}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
