"""The gateway's domain: verifying sign-ins, deciding access, minting for AWS, keeping the record.

Owns every rule of the product. Holds no HTML and no HTTP view: those live in `portal`, which may import
this package, never the other way round. Inside, imports go one way (import-linter checks it):
apps, tasks, management > flows, queries, checks > audit > models > signin, issuer, aws > mapping >
identity > net > errors.
"""
