"""The gateway as AWS's identity provider: it mints what AWS trusts, and publishes what AWS needs to check it.

Owns the signing keys' use (`signing`), the SAML assertion (`assertion`), the web-identity token (`token`) and the
public documents (`publish`). Called by `flows`, which has decided first and writes the audit event of every
minting in the same transaction. Must never decide who may have a role, read the ORM, call AWS, ask for the time, or let
a private key into a repr, a log or an error.
"""
