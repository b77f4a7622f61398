"""The corporate identity provider of the demo: a SAML 2.0 IdP and an OpenID Connect provider behind one sign-in page.

DEMO ONLY. Owns: who is signed in here (its own single sign-on cookie), what it says about them, and its own signing key.
It lives on 127.0.0.1, another *site* than the gateway's localhost, so that SameSite cookies behave as in real life.
"""
