"""Commands as an operator runs them: their standard output as text, their refusal as one sentence."""

import io

import pytest
from django.core.management import call_command

from tests import cast


@pytest.fixture
def run(db):
    """Run a command; returns what it wrote."""

    def do(*args, **options):
        out = io.StringIO()
        call_command(*[str(arg) for arg in args], stdout=out, **options)
        return out.getvalue()

    return do


@pytest.fixture
def file(tmp_path):
    """A file with this text; the cast's document unless another is given."""

    def do(text=cast.DOCUMENT, name="mapping.yaml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return do
