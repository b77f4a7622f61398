"""The Django application of the domain."""

from django.apps import AppConfig


class FederationConfig(AppConfig):
    """Registers the models and the system checks."""

    name = "federation"
    label = "federation"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from federation import checks  # noqa: F401  registration is the import's purpose; models must be loaded first
