"""The Django application of the made-up history."""

from django.apps import AppConfig


class DemoHistoryConfig(AppConfig):
    """Brings the command `seed_history`; has no models."""

    name = "config.demo_history"
    label = "demo_history"
