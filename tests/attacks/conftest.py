"""The web attacks use the portal's browser and the API's caller as they are."""

from tests.api.conftest import api, federated, sts
from tests.portal.conftest import browser, clock, fake_aws, signed_in
from tests.portal.test_oidc_sign_in import provider as openid_provider
from tests.portal.test_saml_sign_in import provider as saml_provider

__all__ = ["api", "browser", "clock", "fake_aws", "federated", "openid_provider", "saml_provider", "signed_in", "sts"]
