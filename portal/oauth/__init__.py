"""OAuth for the command line: the protocol of RFC 6749, 7009, 7636, 8414, 8628 and 9207, spoken by Authlib's server.

Owns parameters, protocol errors and the two pages on which a person decides. No rule of its own: who may have what,
what is spent and what is revoked is in `federation.flows.pair_cli`. The only place that imports Authlib's server.
"""
