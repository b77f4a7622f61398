"""The SCIM 2.0 server (RFC 7644) at /scim/v2/: a directory tells the gateway of people and groups.

Owns the wire format: paths, headers, status codes. No rule of its own: each request is one call of a flow. Reads no cookie,
so there is nothing for a foreign site to ride on (CSRF).
"""
