"""`manage.py doctor`: text or JSON, and an exit status that a script can go by."""

import json
import subprocess
import sys

import pytest

from federation.flows import doctor
from federation.flows.doctor.findings import ok, problem, warning
from tests.live import ROOT


@pytest.fixture
def finds(monkeypatch):
    """Have the doctor find these, each in a check of its own."""

    def do(*found):
        checks = [doctor.Named(f"c{n}", f"Check {n}", lambda now, one=one: iter([one])) for n, one in enumerate(found)]
        checks.append(doctor.Named("far", "Far", lambda now: iter([problem("far_away", "Far.", "Go.")]), network=True))
        examine = doctor.examine
        monkeypatch.setattr(doctor, "examine", lambda **options: examine(**options, checks=checks))

    return do


WARNED, BROKEN = warning("drips", "It drips.", "Mend it.", place="roof"), problem("broken", "It is broken.", "Buy one.")


@pytest.mark.parametrize(
    ("found", "status"), [((ok("fine"),), 0), ((ok("fine"), WARNED), 1), ((WARNED, BROKEN, ok("fine")), 2)]
)
def test_the_exit_status_says_how_bad_it_is(run, finds, found, status):
    finds(*found)
    if status:
        with pytest.raises(SystemExit) as ended:
            run("doctor", "--offline")
        assert ended.value.code == status
    else:
        assert run("doctor", "--offline") == "ok       Check 0: fine\n\nAll is well.\n"


def test_each_finding_says_what_to_do(finds, db, capsys):
    finds(WARNED, BROKEN)
    from django.core.management import call_command

    with pytest.raises(SystemExit):
        call_command("doctor")
    assert capsys.readouterr().out == (
        "WARNING  Check 0: It drips.\n         → Mend it.\nPROBLEM  Check 1: It is broken.\n         → Buy one.\n"
        "PROBLEM  Far: Far.\n         → Go.\n\n2 problems, 1 warning.\n"
    )


def test_json_is_one_document(finds, db, capsys):
    finds(ok("fine"), WARNED)
    from django.core.management import call_command

    with pytest.raises(SystemExit):
        call_command("doctor", "--json", "--offline")
    said = json.loads(capsys.readouterr().out)
    assert said["state"] == "warning"
    assert said["checks"][1] == {
        "check": "c1", "title": "Check 1", "state": "warning",
        "findings": [{"state": "warning", "code": "drips", "says": "It drips.", "do": "Mend it.", "place": "roof"}],
    }  # fmt: skip


def test_a_faulty_environment_is_a_problem():
    environment = {"PATH": "/usr/bin:/bin", "DJANGO_SETTINGS_MODULE": "config.settings.production"}
    ended = subprocess.run(
        [sys.executable, "manage.py", "doctor"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "ROLEGATE_URL is not set" in ended.stderr
    assert "Traceback" not in ended.stderr
