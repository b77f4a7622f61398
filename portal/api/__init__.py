"""The JSON API for the command line and other programs: bearer tokens, typed bodies, problem documents.

Owns the wire format of /api/v1/. No rule of its own: each operation calls one flow or query. Reads no cookie, so
there is nothing for a foreign site to ride on (CSRF).
"""

from __future__ import annotations

import sys
from types import ModuleType

from django.core.signals import setting_changed


def _load_ninja() -> None:
    """Load django-ninja without Django's test client, its test cases and unittest: 4 MB of each worker.

    ninja/conf.py takes one signal from `django.test.signals`, where it comes from `django.core.signals` and is the same.
    """
    name = "django.test.signals"
    if name in sys.modules:
        return
    signals = ModuleType(name)
    signals.__dict__["setting_changed"] = setting_changed
    sys.modules[name] = signals
    try:
        import ninja  # noqa: F401
    finally:
        del sys.modules[name]


_load_ninja()
