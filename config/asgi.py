"""ASGI entry point, for hosts that only speak ASGI; WSGI is faster here (docs/decisions)."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.production")
application = get_asgi_application()

from config.start import begin  # noqa: E402  after django.setup(), which the line above does

begin()
