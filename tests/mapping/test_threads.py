"""One compiled mapping serves many threads at once, from the first call on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from federation.mapping.document import parse
from federation.mapping.engine import compile_mapping
from tests.cast import DOCUMENT, NOW, PROD, identity, role


def test_threads_get_the_answers_that_one_gets():
    people = [
        identity(f"p{n}", groups=("engineering", f"g{n % 7}", *(("contractors",) if n % 3 else ()))) for n in range(200)
    ]
    expected = [compile_mapping(parse(DOCUMENT)).decide(person, NOW) for person in people]
    fresh = compile_mapping(parse(DOCUMENT))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda person: fresh.decide(person, NOW), people)) == expected
        verdicts = list(pool.map(lambda person: fresh.verdict(person, role(PROD, "ReadOnly"), NOW).code, people))
    assert verdicts == ["denied_by_rule" if n % 3 else "allowed" for n in range(200)]
