"""The demo's company on ports of its own, machines with the helper on them, and a double for gateways that misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.double import GatewayDouble
from tests.cli.laptop import Laptop
from tests.cli.town import Town


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Gateway, corporate identity provider and local AWS, for all tests of this worker."""
    town = Town(tmp_path_factory.mktemp("town"))
    try:
        yield town.start()
    finally:
        town.stop()


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    """Alice's."""
    return Laptop(tmp_path / "alice")


@pytest.fixture
def new_laptop(tmp_path: Path) -> Callable[..., Laptop]:
    """Somebody else's."""
    return lambda who, **options: Laptop(tmp_path / who, who=who, **options)


@pytest.fixture(scope="session")
def _signed_in(stage: Town, tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    laptop = Laptop(tmp_path_factory.mktemp("signed-in"))
    laptop.run("login", stage.url)
    return laptop


@pytest.fixture
def alice(_signed_in: Laptop) -> Laptop:
    """A machine on which Alice has signed in, the same for all tests of a worker; credentials are not cached."""
    for path in _signed_in.cached("[0-9]*"):
        path.unlink()
    return _signed_in


@pytest.fixture
def double() -> Iterator[GatewayDouble]:
    """A DOUBLE of the gateway."""
    double = GatewayDouble().start()
    yield double
    double.stop()
