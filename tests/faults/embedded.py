"""SETTINGS FOR TESTS: the demo's, with its broker's folders in ROLEGATE_TEST_FOLDER, beside no demo that may be running."""

import os
from datetime import timedelta
from pathlib import Path

from config.settings.demo import *  # noqa: F403
from config.settings.demo import CELERY_BEAT_SCHEDULE, CELERY_BROKER_TRANSPORT_OPTIONS

_folder = Path(os.environ["ROLEGATE_TEST_FOLDER"])
CELERY_BROKER_TRANSPORT_OPTIONS = {
    name: str(_folder / Path(value).name) if isinstance(value, str) else value
    for name, value in CELERY_BROKER_TRANSPORT_OPTIONS.items()
} | {"polling_interval": 0.05}  # for tests in a hurry: a look a second is a message a second
for _name in ("in", "processed", "control"):
    (_folder / _name).mkdir(parents=True, exist_ok=True)
CELERY_BEAT_SCHEDULE = {
    name: {**CELERY_BEAT_SCHEDULE[name], "schedule": timedelta(seconds=1)}
    for name in ("refresh-provider-documents", "purge-expired")
}
