"""Signing in at a company's own identity provider: what comes back is a verified Identity, or an error.

Owns the SAML 2.0 service provider and the OpenID Connect relying party. May be called by `federation.flows`
alone. Must never see the ORM, never open a connection of its own (`federation.net` does) and never hand on
anything that has not passed every check: only what is inside a `protocol.Verified` may be believed.
"""
