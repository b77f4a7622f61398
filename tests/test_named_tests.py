"""What the suite's plugins say of tests by name is about tests that are there: who renames one would change it unseen."""

from pathlib import Path

import pytest

from tests import measured, no_skips

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "name", sorted({*measured._TEACHES_NOTHING, *measured._THE_SAME_AGAIN, *no_skips._OF_ONE_DATABASE})
)
def test_a_test_that_is_named_is_there(name):
    path, _, function = name.partition("::")
    found = sorted(ROOT.glob(f"{path}*"))
    assert found
    assert not function or f"\ndef {function.partition('[')[0]}" in found[0].read_text()
