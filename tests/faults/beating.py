"""SETTINGS FOR TESTS: development's, with a beat that beats every second instead of every ten minutes."""

from datetime import timedelta

from config.settings.development import *  # noqa: F403
from config.settings.development import CELERY_BEAT_SCHEDULE

CELERY_BEAT_SCHEDULE = {
    name: {**CELERY_BEAT_SCHEDULE[name], "schedule": timedelta(seconds=1)}
    for name in ("refresh-provider-documents", "purge-expired")
}
