"""`/metrics`: the gateway's numbers in Prometheus' text format, for whoever has a token with the scope `metrics`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from federation.flows import measure, service_tokens
from portal.api.problems import InsufficientScope
from portal.views.guard import origin_of

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class NotForMetrics(InsufficientScope):
    """The token is not one that may read metrics."""

    sentence = "This token may not read metrics. An administrator makes one that may: manage.py tokens create NAME --scope metrics."


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Counts of events and the doctor's findings: no names, but enough to tell an attacker when nobody looks."""
    kind, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    now = timezone.now()
    service = service_tokens.authenticate(
        token.strip() if kind.lower() == "bearer" else "", origin=origin_of(request), now=now
    )
    if service.kind != "metrics":
        raise NotForMetrics("token_of_another_scope", detail=service.kind)
    # 3 MB that few workers need.
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

    return HttpResponse(generate_latest(_Numbers(now)), content_type=CONTENT_TYPE_LATEST)


class _Numbers:
    """A registry as `generate_latest` wants it: it only collects. Nothing is kept in the process between two scrapes."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        families = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
        for metric in measure.metrics(now=self._now):
            family = families[metric.kind](metric.name, metric.help, labels=metric.labels)
            for labels, value in metric.samples:
                family.add_metric(labels, value)
            yield family
