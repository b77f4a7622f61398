"""The Celery application. Tasks carry ids and read their authority from the database."""

import os

from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.production")
# Celery would run Django's system checks in each worker and look at none of their answers. They load the URLs, and with them
# every page and the API: 20 MB and most of a second for nothing.
os.environ.setdefault("CELERY_SKIP_CHECKS", "true")
app = Celery("rolegate")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["federation"])


@signals.setup_logging.connect  # type: ignore[untyped-decorator,unused-ignore]
def _keep_our_logging(**_: object) -> None:
    """A worker logs as the gateway does. Left alone, Celery puts its own handler in the place of ours, and redaction is gone."""
