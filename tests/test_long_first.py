"""The order of the suite: the files that are named are there, the longest comes first, a company is one worker's."""

from pathlib import Path
from types import SimpleNamespace

from tests.long_first import ONE_WORKERS, SECONDS, pytest_collection_modifyitems, pytest_xdist_make_scheduler

ROOT = Path(__file__).resolve().parents[1]


def test_every_file_that_is_named_is_there():
    assert [name for name in SECONDS if not (ROOT / name).is_file()] == []


def ordered(config, names):
    items = [SimpleNamespace(nodeid=f"{name}::{test}") for test in ("b", "a") for name in names]
    pytest_collection_modifyitems(config, items)
    return [item.nodeid for item in items]


def test_a_worker_begins_with_the_longest_file_and_nobody_else_changes_anything(monkeypatch):
    monkeypatch.delenv("ROLEGATE_TEST_SHUFFLE", raising=False)
    names = ["tests/short.py", "tests/docker/test_commands.py"]
    assert ordered(SimpleNamespace(workerinput={}), names) == [
        "tests/docker/test_commands.py::b", "tests/docker/test_commands.py::a", "tests/short.py::b", "tests/short.py::a",
    ]  # fmt: skip
    assert ordered(SimpleNamespace(), names) == [
        "tests/short.py::b", "tests/docker/test_commands.py::b", "tests/short.py::a", "tests/docker/test_commands.py::a",
    ]  # fmt: skip


def test_a_folder_that_shares_a_company_comes_as_a_whole_and_file_by_file(monkeypatch):
    monkeypatch.delenv("ROLEGATE_TEST_SHUFFLE", raising=False)
    alone = "tests/docker/test_commands.py"  # longer than any file of tests/cli, and shorter than all of them
    names = ["tests/cli/test_short.py", alone, "tests/cli/test_exec.py", "tests/cli/test_another.py"]
    files = [nodeid.partition("::")[0] for nodeid in ordered(SimpleNamespace(workerinput={}), names)]
    assert (
        files[::2]
        == files[1::2]
        == ["tests/cli/test_exec.py", "tests/cli/test_another.py", "tests/cli/test_short.py", alone]
    )


def test_xdist_gives_such_a_folder_to_one_worker_and_every_other_file_by_itself():
    assert [folder for folder in ONE_WORKERS if not (ROOT / folder / "conftest.py").is_file()] == []
    options = {"dist": "loadfile", "tx": ["2*popen"], "loadscopereorder": False}
    config = SimpleNamespace(getoption=options.get, getvalue=options.get, option=SimpleNamespace(**options))
    scope = pytest_xdist_make_scheduler(config, None)._split_scope
    assert scope("tests/cli/test_exec.py::test_a[x/y::z]") == scope("tests/cli/test_roles.py::test_b") == "tests/cli/"
    assert scope("tests/docs/test_documentation.py::test_c") == "tests/docs/test_documentation.py"
    assert pytest_xdist_make_scheduler(SimpleNamespace(getoption={"dist": "load"}.get), None) is None


def test_shuffled_the_tests_of_a_file_stay_together(monkeypatch):
    monkeypatch.setenv("ROLEGATE_TEST_SHUFFLE", "1")
    names = [f"tests/{letter}.py" for letter in "abcdefgh"]
    found = [nodeid.partition("::")[0] for nodeid in ordered(SimpleNamespace(), names)]
    assert found[::2] == found[1::2] != names
