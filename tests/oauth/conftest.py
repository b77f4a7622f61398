import pytest

from tests.oauth.pairing import person


@pytest.fixture
def alice(db):
    return person("alice")


@pytest.fixture
def bob(db):
    return person("bob", groups=["contractors"])
