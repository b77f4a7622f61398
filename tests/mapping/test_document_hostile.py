"""Import bombs: refused in little time, nothing constructed, nothing half applied."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from federation.mapping import patterns
from federation.mapping.document import DocumentError, parse
from tests.mapping.kit import faults

LAUGHS = "a: &a [x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nversion: 1\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        # Noticed in the line below, and opened in this one.
        ("version: 1\nmapping:\n  - name: x\n    when: {groups: [a]\n    allow: {roles: [R]}\n", 4),
        ("version: 1\nstaff: [{role: owner\nmapping: []\n", 2),
        ("version: 1\nmapping:\n  - name: 'x\n    when: {groups: [a]}\n    allow: {roles: [R]}\n", 3),
        # Nothing opens here: where it is noticed is where it is.
        ("version: 1\nmapping:\n  - name: x\n   when: 1\n", 4),
        ('{"version": 1,\n "mapping": [],\n "staff" []}', 3),
    ],
)  # fmt: skip
def test_what_is_not_closed_is_named_at_the_line_that_opens_it(text, line):
    (fault,) = faults(text)
    assert fault.line == line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS, "anchors"),
        ("version: 1\nmapping: *x", "this is not valid|aliases"),
        ("version: 1\nbase: &b {}\nmapping: {<<: {a: 1}}", "anchors"),
        ("version: !!python/object/apply:os.system ['true']", "tags"),
        ("version: !!int 1", "tags"),
        ("version: 1\n---\nversion: 1", "a second document"),
        ("", "the document is empty"),
        ("# nothing\n", "the document is empty"),
        ("version: [1", "not valid YAML or JSON"),
        ("version: 1\n\tmapping: 2", "not valid YAML or JSON"),
        ("? [a]\n: 1", "a key must be text"),
        ("version: \x00", "YAML"),
        ("version: \ud800", "YAML"),
        ("[" * 100_000, "nested more than"),
        ("{a: " * 50_000, "nested more than"),
        ("x" * 2_000_001, "larger than 2,000,000 bytes"),
        ("é" * 1_000_001, "larger than 2,000,000 bytes"),
    ],
    ids=range(17),
)
def test_a_bomb_is_one_fault_and_little_time(text, words):
    started = time.process_time()
    found = faults(text)
    assert time.process_time() - started < 3
    assert len(found) == 1
    assert any(word in found[0].message for word in words.split("|")), found
    assert found[0].line >= 1


def test_a_document_of_too_many_values_is_refused():
    assert "more than 400,000 values" in faults("[" + "1," * 410_000 + "]")[0].message


def test_a_laughing_document_takes_little_memory():
    text = LAUGHS + "".join(f"k{n}: &k{n} [{', '.join(['*c'] * 9)}]\n" for n in range(200))
    tracemalloc.start()
    try:
        faults(text)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_the_line_of_a_syntax_error_is_told():
    assert faults("version: 1\nmapping:\n  - name: [a\n  - b")[0].line >= 3


def test_a_merge_key_is_just_an_unknown_key():
    assert faults("version: 1\n<<: {mapping: []}")[0].message.startswith("unknown key")


def heavy(number):
    """200 characters to write, 18,000 instructions to keep."""
    return f"^(?:{'|'.join(f'{letter}{{900}}' for letter in 'abcdefghijklmnopqrst')})x{number}$"


@pytest.mark.parametrize("where", ["groups", "roles"])
def test_expressions_that_are_small_one_by_one_and_large_together(where, monkeypatch):
    """Attack: 65 KB of rules, typed into a draft, cost 435 MB and five seconds; 2 MB of them, the worker."""
    compiled = []
    real = patterns.re2.compile
    monkeypatch.setattr(patterns.re2, "compile", lambda *args: compiled.append(args[0]) or real(*args))
    heavies = (
        f"  - {{name: r{n}, when: {{groups: [{{regex: '{heavy(n)}'}}]}}, allow: {{roles: [R]}}}}\n"
        if where == "groups"
        else f"  - {{name: r{n}, when: {{groups: ['{n}{'*a' * 400}']}}, allow: {{roles: [R]}}}}\n"
        for n in range(2_000)
    )
    with pytest.raises(DocumentError) as refused:
        parse("version: 1\nmapping:\n" + "".join(heavies))
    (fault,) = refused.value.faults
    assert "together" in fault.message
    assert len(compiled) < 1_300  # what comes behind is not even compiled


def test_what_a_large_company_has_is_far_from_that():
    rules = "".join(
        f"  - {{name: r{n}, when: {{groups: [{{regex: '^aws-(?P<account>[0-9]{{12}})-team{n}-(?P<role>[A-Za-z0-9]+)$'}}, 'team{n}-*']}}, "
        "allow: {roles: [R]}}\n"
        for n in range(2_000)
    )
    assert len(parse("version: 1\nmapping:\n" + rules).rules) == 2_000


def test_large_expressions_are_not_all_kept():
    """Attack: draft after draft, each with other ones, until the process has no memory left."""
    before = patterns._small.cache_info().currsize
    for number in range(20):
        patterns.compile_expression(heavy(number))
    assert patterns._small.cache_info().currsize == before
    assert patterns._compiled.cache_info().maxsize <= 256
    assert patterns.compile_expression(heavy(3)) is patterns.compile_expression(heavy(3))
