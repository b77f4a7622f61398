"""The embedded default: a corporate identity provider and a local AWS, for `make demo` and for the tests.

DEMO ONLY. Nothing here protects anything: the people, their passwords and their companies are made up.

This package owns its own reading of SAML 2.0, OpenID Connect and of what AWS checks. It imports nothing from
`federation`, `portal` or `config`, and they nothing from it: one misreading of a standard cannot agree with itself.
"""
