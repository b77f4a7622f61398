"""What a process does not load: memory of each worker, and time of each start."""

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
print(sorted(name for name in ("celery", "django.test", "django.test.signals", "scim2_models", "unittest") if name in sys.modules))
import federation.tasks
print("celery" in sys.modules, "scim2_models" in sys.modules)
import django.test.signals, ninja.conf
print(ninja.conf.setting_changed is django.test.signals.setting_changed, hasattr(django.test.signals, "template_rendered"))
"""


def test_a_worker_of_the_web_and_one_of_celery_load_what_they_need():
    """The web: neither Celery, nor the models of SCIM before a directory pushes, nor Django's test client, out of which
    django-ninja takes one signal (a release that takes more would fail here). Celery: no SCIM, which was half of its start.
    """
    done = subprocess.run(
        [sys.executable, "-c", _LOADED],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings.test"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, ["[]", "True False", "True True"]), done.stderr
