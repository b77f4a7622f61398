"""The record of everything that matters: who signed in, what was minted, what was changed.

Owns the event kinds, the chain and its only writer (`record`). Must never hold a secret. An event is written in the
same transaction as what it tells of, before anything leaves the gateway.
"""
