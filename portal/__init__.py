"""Every HTTP face of the gateway: employee pages, JSON API, OAuth for the command line, documents toward AWS.

Holds no rule: a view parses, calls one flow or query of `federation`, and renders. Nothing imports it but `config`.
"""
