"""What the API loads into each web worker."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.live import ROOT

_LOADED = """
import sys, django
django.setup()
import config.urls
assert "ninja" in sys.modules
print(sorted(name for name in ("django.test", "django.test.signals", "unittest") if name in sys.modules))
import django.test.signals, ninja.conf
print(ninja.conf.setting_changed is django.test.signals.setting_changed, hasattr(django.test.signals, "template_rendered"))
"""


def test_no_worker_carries_djangos_test_client_and_tests_have_the_real_one():
    """django-ninja takes a signal out of `django.test`, which is 4 MB; a release that takes more from there would fail at start."""
    done = subprocess.run(
        [sys.executable, "-c", _LOADED],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings.test"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, ["[]", "True True"]), done.stderr
