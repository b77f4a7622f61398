"""The paths of the OAuth endpoints, from the root."""

from django.urls import path

from portal.oauth import views

urlpatterns = [
    path(".well-known/oauth-authorization-server", views.authorization_server_metadata, name="oauth-metadata"),
    path("oauth/authorize", views.authorize, name="oauth-authorize"),
    path("oauth/token", views.token, name="oauth-token"),
    path("oauth/device_authorization", views.device_authorization, name="oauth-device-authorization"),
    path("oauth/revoke", views.revoke, name="oauth-revoke"),
    path("device/", views.device, name="device"),
]
