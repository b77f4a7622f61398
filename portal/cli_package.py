"""The command line helper as this gateway hands it out: built from `cli/` in memory, the same bytes from the same source.

Built by the helper's own build backend (standard library alone, loaded by its path: the gateway and the helper import
nothing of each other), once a process.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Package:
    """One file to download. `sha256`: hex, as people compare it; `kind`: its media type."""

    name: str
    content: bytes
    kind: str

    @property
    def sha256(self) -> str:
        """The digest that the page shows."""
        return hashlib.sha256(self.content).hexdigest()


@cache
def packages() -> tuple[str, Package, Package]:
    """The helper's version, the one-file program, and the wheel."""
    path = Path(settings.BASE_DIR) / "cli" / "build_backend.py"
    spec = importlib.util.spec_from_file_location("rolegate_cli_build", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    backend = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(backend)
    return (
        backend.version(),
        Package("rolegate.pyz", backend.pyz(), "application/octet-stream"),
        Package(backend.wheel_name(), backend.wheel(), "application/octet-stream"),
    )


def version() -> str:
    """The helper's version."""
    return packages()[0]


def pyz() -> Package:
    """The one-file program."""
    return packages()[1]


def wheel() -> Package:
    """The wheel, for pipx and pip."""
    return packages()[2]
