"""The order of the suite: the files that are named are there, and the longest comes first."""

from pathlib import Path
from types import SimpleNamespace

from tests.long_first import SECONDS, pytest_collection_modifyitems

ROOT = Path(__file__).resolve().parents[1]


def test_every_file_that_is_named_is_there():
    assert [name for name in SECONDS if not (ROOT / name).is_file()] == []


def ordered(config, names):
    items = [SimpleNamespace(nodeid=f"{name}::{test}") for test in ("b", "a") for name in names]
    pytest_collection_modifyitems(config, items)
    return [item.nodeid for item in items]


def test_a_worker_begins_with_the_longest_file_and_nobody_else_changes_anything(monkeypatch):
    monkeypatch.delenv("ROLEGATE_TEST_SHUFFLE", raising=False)
    longest = max(SECONDS, key=SECONDS.__getitem__)
    names = ["tests/short.py", longest]
    assert ordered(SimpleNamespace(workerinput={}), names) == [
        f"{longest}::b", f"{longest}::a", "tests/short.py::b", "tests/short.py::a",
    ]  # fmt: skip
    assert ordered(SimpleNamespace(), names) == [
        "tests/short.py::b", f"{longest}::b", "tests/short.py::a", f"{longest}::a",
    ]  # fmt: skip


def test_shuffled_the_tests_of_a_file_stay_together(monkeypatch):
    monkeypatch.setenv("ROLEGATE_TEST_SHUFFLE", "1")
    names = [f"tests/{letter}.py" for letter in "abcdefgh"]
    found = [nodeid.partition("::")[0] for nodeid in ordered(SimpleNamespace(), names)]
    assert found[::2] == found[1::2] != names
