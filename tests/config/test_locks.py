"""The lock files install with pip's hash checking, also on the day after a dependency's next release."""

import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def pins(lock: Path) -> dict[str, set[str]]:
    """Each distribution that the lock file pins, with the extras in its pins."""
    found: dict[str, set[str]] = {}
    for line in lock.read_text().splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            requirement = Requirement(line.rstrip("\\ ").strip())
            found.setdefault(canonicalize_name(requirement.name), set()).update(requirement.extras)
    return found


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "demo/requirements.txt"])
def test_an_extra_that_a_dependency_asks_for_stands_in_the_pin(name: str) -> None:
    """The pip of Python 3.11 (23.2) takes `pydantic[email]` for another project than the pinned `pydantic`: it chose
    the newest release and refused to install that, as unpinned, from the day on which there was one."""
    pinned = pins(ROOT / name)
    assert len(pinned) > 10
    for distribution, own in pinned.items():
        try:
            wanted = requires(distribution) or []
        except PackageNotFoundError:  # For another platform.
            continue
        for requirement in map(Requirement, wanted):
            asked = requirement.marker is None or any(requirement.marker.evaluate({"extra": x}) for x in own or {""})
            target = canonicalize_name(requirement.name)
            if asked and target in pinned:
                assert requirement.extras <= pinned[target], f"{distribution} asks for {requirement}"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "demo/requirements.txt"])
def test_a_pin_with_an_extra_stands_there_without_it_too(name: str) -> None:
    """Whoever asks for the plain package is looked at first on some days: that pip then took the newest release as well."""
    lines = (ROOT / name).read_text().splitlines()
    plain = {line.split(" ")[0] for line in lines if "==" in line and "[" not in line and not line.startswith(" ")}
    extra = {re.sub(r"\[[^]]+\]", "", line.split(" ")[0]) for line in lines if re.match(r"[\w.-]+\[[^]]+\]==", line)}
    assert extra
    assert extra <= plain


def test_every_pin_has_its_hashes_and_no_index() -> None:
    for name in ("requirements.txt", "requirements-dev.txt", "demo/requirements.txt"):
        text = (ROOT / name).read_text()
        assert text.count("--hash=sha256:") >= len(pins(ROOT / name))
        assert "index-url" not in text and "find-links" not in text and "://" not in text
