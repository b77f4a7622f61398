"""Benchmarks are run by hand, and seldom: here is that each can still be started."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.live import ROOT

MODULES = sorted(path.stem for path in (ROOT / "bench").glob("[a-z]*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_it_can_be_loaded(name):
    done = subprocess.run(
        [sys.executable, "-c", f"import bench.{name}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
