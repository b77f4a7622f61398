"""Every URL of the product comes from the portal."""

from django.urls import include, path

urlpatterns = [path("", include("portal.urls"))]

handler400 = "portal.views.errors.bad_request"
handler403 = "portal.views.errors.forbidden"
handler404 = "portal.views.errors.not_found"
handler500 = "portal.views.errors.server_error"
