"""The demo on localhost: SQLite, a Celery broker that needs no server. Its secrets are made, and kept, by `python -m demo`."""

import json
import os
from datetime import timedelta

from config.env import Environment
from config.settings.base import *
from config.settings.base import BASE_DIR, CELERY_BEAT_SCHEDULE, INSTALLED_APPS, read_environment

DEBUG = False
ROLEGATE_DEMO = True
SILENCED_SYSTEM_CHECKS = ["rolegate.W001"]  # plain http is right for this local AWS, and the banner says so
INSTALLED_APPS = [*INSTALLED_APPS, "config.demo_history"]  # `seed_history`, which no other gateway has
_var = BASE_DIR / "var" / "demo"
_broker = _var / "broker"
# What the demo gives its own processes: so that manage.py beside it asks the same local AWS, under the same secrets, with
# nothing set but the settings module. An environment with a secret in it is complete already, and may be another's.
_kept = _var / "environment.json"
if _kept.is_file() and "ROLEGATE_SECRET_KEY" not in os.environ:
    for _name, _value in json.loads(_kept.read_text()).items():
        os.environ.setdefault(_name, _value)
_env = Environment()
globals().update(
    read_environment(
        _env,
        https_only=False,
        defaults={
            "ROLEGATE_URL": "http://localhost:8000",
            "DATABASE_URL": f"sqlite:///{_var / 'rolegate.sqlite3'}",
            "CELERY_BROKER_URL": "filesystem://localhost",
        },
    )
)
_env.finish()
STATIC_ROOT = _var / "static"
for _folder in ("in", "processed", "control"):
    (_broker / _folder).mkdir(parents=True, exist_ok=True)
CELERY_BROKER_TRANSPORT = "config.embedded_broker:Transport"
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "data_folder_in": str(_broker / "in"),
    "data_folder_out": str(_broker / "in"),
    "processed_folder": str(_broker / "processed"),
    "control_folder": str(_broker / "control"),
    "store_processed": False,
}
# A role that somebody makes in the local AWS is to be seen soon.
CELERY_BEAT_SCHEDULE = {
    **CELERY_BEAT_SCHEDULE,
    "refresh-catalogue": {**CELERY_BEAT_SCHEDULE["refresh-catalogue"], "schedule": timedelta(minutes=2)},
}
CELERY_BEAT_SCHEDULE_FILENAME = str(_var / "celerybeat-schedule")
