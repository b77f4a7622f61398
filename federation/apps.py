"""The Django application of the domain."""

from django.apps import AppConfig


class FederationConfig(AppConfig):
    """Registers the models and the system checks, and says whether providers may be on loopback in plain http."""

    name = "federation"
    label = "federation"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks; open the way to loopback where the settings do."""
        from django.conf import settings

        from federation import checks, net  # noqa: F401  checks: registration is the import's purpose; models must be loaded first

        net.allow_plain_loopback(allowed=settings.ROLEGATE_PLAIN_LOOPBACK)
