"""The issuer's paths, from the root; fixed, because AWS remembers them."""

from django.urls import path

from portal.issuer import views

urlpatterns = [
    path("issuer/.well-known/openid-configuration", views.discovery, name="issuer-discovery"),
    path("issuer/jwks.json", views.jwks, name="issuer-jwks"),
    path("issuer/saml/metadata.xml", views.saml_metadata, name="issuer-saml-metadata"),
]
