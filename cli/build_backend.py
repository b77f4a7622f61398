"""Builds the helper: a wheel (PEP 517's hooks, so that pip needs nothing else), and one .pyz.

Both are made in memory, with fixed times and an order of their own, so that the same source gives the same bytes: the
portal shows the SHA-256 of what it serves, and anybody can build it again. The standard library alone.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import re
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# What the project's first day would be to a zip file, whose times begin in 1980.
FIXED_TIME = (2025, 1, 1, 0, 0, 0)
SUMMARY = "Short-lived AWS credentials with your company sign-in: the command line of Rolegate"


def sources() -> dict[str, bytes]:
    """Each file of the package by its path in it, in one order."""
    return {f"rolegate/{path.name}": path.read_bytes() for path in sorted((HERE / "rolegate").glob("*.py"))}


def version() -> str:
    """The version in the package. Raises ValueError."""
    found = re.search(rb'^__version__ = "([0-9][0-9A-Za-z.]*)"$', sources()["rolegate/__init__.py"], re.MULTILINE)
    if found is None:
        raise ValueError("rolegate/__init__.py has no __version__")
    return found[1].decode()


def _zipped(files: dict[str, bytes], compression: int) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, FIXED_TIME)
            entry.compress_type = compression
            entry.create_system = 3  # the same on every system
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return made.getvalue()


# A zip file may have anything before it. Run by its name, the helper looks for no packages, as a profile's script does: what
# others have put into the start of this machine's Python takes longer than we do, and may write where an SDK reads. By sh,
# because a shebang line can hand over one argument, and not every env knows -S.
START = b"""#!/bin/sh
command -v python3 >/dev/null || { echo "rolegate: Python 3.9 or newer is needed, and no python3 is on your PATH" >&2; exit 127; }
exec python3 -I -S "$0" "$@"
"""


def pyz() -> bytes:
    """The whole helper in one file that any Python 3.9 or newer runs.

    Stored, not compressed: to load zlib costs more than to read the bytes.
    """
    files = sources()
    return START + _zipped({"__main__.py": _first(files["rolegate/fast.py"]), **files}, zipfile.ZIP_STORED)


def _first(fast: bytes) -> bytes:
    """What runs first: of `fast.py` the head and the functions that a cached answer needs, word for word, and then the answer.

    A zip file has no bytecode that fits every Python, so each start compiles this; on a miss `fast.py` itself goes on.
    """
    tree = ast.parse(fast)
    lines = fast.splitlines(keepends=True)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    head = lines[tree.body[0].end_lineno : min(node.lineno for node in functions.values()) - 1]
    parts = [lines[functions[name].lineno - 1 : functions[name].end_lineno] for name in ("read", "fresh", "note_of")]
    return b"".join([*head, *(line for part in parts for line in part), _ANSWER])


_ANSWER = b"""
if sys.argv[1:2] == ["credentials"]:
    from os import environ

    path, said = note_of(sys.argv[1:], environ)
    line, _, target = read(path).partition(b"\\n")
    body = fresh(target.decode()) if line == said and target else b""
    try:
        while body:
            body = body[system.write(1, body) :]
            if not body:
                _exit(0)
    except OSError:
        _exit(1)
from rolegate.fast import main

sys.exit(main())
"""


def wheel_name() -> str:
    """The wheel's file name (PEP 427)."""
    return f"rolegate-{version()}-py3-none-any.whl"


def wheel() -> bytes:
    """The wheel's bytes (PEP 427)."""
    info = f"rolegate-{version()}.dist-info"
    files = sources()
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: rolegate\nVersion: {version()}\nSummary: {SUMMARY}\nRequires-Python: >=3.9\n".encode()
    )
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: rolegate\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = b"[console_scripts]\nrolegate = rolegate.fast:main\n"
    lines = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    return _zipped(files, zipfile.ZIP_DEFLATED)


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


# --- PEP 517 and 660 --------------------------------------------------------------------------------


def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None) -> str:
    """PEP 517's hook."""
    Path(wheel_directory, wheel_name()).write_bytes(wheel())
    return wheel_name()


def build_sdist(sdist_directory: str, config_settings: object = None) -> str:
    """PEP 517's hook: the same bytes for the same source, as the wheel."""
    import gzip
    import tarfile

    name = f"rolegate-{version()}"
    made = io.BytesIO()
    info = f"Metadata-Version: 2.1\nName: rolegate\nVersion: {version()}\nSummary: {SUMMARY}\nRequires-Python: >=3.9\n"
    files = {
        "PKG-INFO": info.encode(),
        **{path: (HERE / path).read_bytes() for path in ("pyproject.toml", "build_backend.py")},
    }
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in {**files, **sources()}.items():
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    Path(sdist_directory, f"{name}.tar.gz").write_bytes(gzip.compress(made.getvalue(), mtime=0))
    return f"{name}.tar.gz"


if __name__ == "__main__":
    import sys

    target = Path(sys.argv[1] if len(sys.argv) > 1 else "rolegate.pyz")
    target.write_bytes(pyz())
    target.chmod(0o755)
    print(f"{hashlib.sha256(target.read_bytes()).hexdigest()}  {target}")  # noqa: T201
