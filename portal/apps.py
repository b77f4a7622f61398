"""The Django application of the faces."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """Templates and static files of the portal."""

    name = "portal"
    label = "portal"
