"""The test suite: SQLite unless DATABASE_URL says otherwise; a secret that says that it is a test secret."""

import os

from config.env import Environment
from config.settings.base import *
from config.settings.base import BASE_DIR, read_environment

DEBUG = False
_env = Environment()
globals().update(
    read_environment(
        _env,
        https_only=False,
        defaults={
            "ROLEGATE_URL": "http://localhost:8000",
            "ROLEGATE_SECRET_KEY": "test-secret-key-that-is-public-and-protects-nothing-0123456789",
            "DATABASE_URL": f"sqlite:///{BASE_DIR / 'var' / 'test.sqlite3'}",
            "CELERY_BROKER_URL": "memory://",
        },
    )
)
_env.finish()
(BASE_DIR / "var").mkdir(exist_ok=True)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
if "sqlite" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["TEST"] = {
        "NAME": str(BASE_DIR / "var" / f"test-{os.getpid()}.sqlite3")
    }  # a file, so that threads share it; a name of its own for each run
else:
    DATABASES["default"]["TEST"] = {"NAME": f"rolegate_test_{os.getpid()}"}
# Laid out from right to left. Only the frame of the pages is translated, and nobody is offered half a language.
LANGUAGES = [*LANGUAGES, ("ar", "العربية")]
WHITENOISE_AUTOREFRESH = True
