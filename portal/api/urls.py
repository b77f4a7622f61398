"""The paths of the JSON API, from the root."""

from django.urls import URLPattern, URLResolver, path, re_path

from portal.api.views import api, guarded, no_such_operation, openapi

_patterns: list[URLPattern | URLResolver] = api.urls[0]

urlpatterns = [
    path("api/v1/openapi.json", openapi, name="api-openapi"),
    *(
        path(f"api/v1/{pattern.pattern}", guarded(pattern.callback), name=f"api-{pattern.name}")
        for pattern in _patterns
        if isinstance(pattern, URLPattern) and pattern.name != "api-root"
    ),
    re_path(r"^api/(?P<rest>.*)$", no_such_operation, name="api-not-found"),
]
