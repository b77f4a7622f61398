"""The JSON API for the command line and other programs: bearer tokens, typed bodies, problem documents.

Owns the wire format of /api/v1/. No rule of its own: each operation calls one flow or query. Reads no cookie, so
there is nothing for a foreign site to ride on (CSRF).
"""
