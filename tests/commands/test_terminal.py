"""What directories call things does not reach the operator's terminal as anything but text."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError

from federation.management.base import GatewayCommand, Shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


NAME = "team\x1b]52;c;cm0gLXJmIH4=\x07 \x9b2J\u202egnp.exe\u2028\x00"
PLAIN = "team�]52;c;cm0gLXJmIH4=� �2J�gnp.exe��"


@pytest.mark.parametrize(("stream", "shown"), [(Terminal, PLAIN), (io.StringIO, NAME)], ids=["terminal", "file"])
def test_a_name_is_text(stream, shown):
    out = stream()
    Shown(out).write(f"    - {NAME}\n\tönüs – 本番 ✓")
    assert out.getvalue() == f"    - {shown}\n\tönüs – 本番 ✓\n"


def test_every_command_writes_so_also_what_it_refuses(monkeypatch):
    out, err = Terminal(), Terminal()

    class Command(GatewayCommand):
        requires_system_checks = []

        def handle(self, *args, **options):
            self.stdout.write(NAME)
            raise CommandError(NAME)

    command = Command(stdout=out, stderr=err)
    with pytest.raises(SystemExit):
        command.run_from_argv(["manage.py", "x"])
    assert out.getvalue() == PLAIN + "\n"
    assert PLAIN in err.getvalue()
    assert "\x1b]52" not in err.getvalue()
