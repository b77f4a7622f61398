"""Where a request came from, under the name by which the faces know it."""

from federation.audit.events import Origin

__all__ = ["Origin"]
