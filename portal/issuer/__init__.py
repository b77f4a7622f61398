"""What AWS reads: OIDC discovery, the JWKS and the SAML metadata of the gateway as an identity provider.

Owns the HTTP form alone (types, caching, ETag). Public by nature: no session, no cookie, nothing about a person.
"""
