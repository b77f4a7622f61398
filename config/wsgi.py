"""WSGI entry point: `config.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.production")
application = get_wsgi_application()

from config.start import begin  # noqa: E402  after django.setup(), which the line above does

begin()
