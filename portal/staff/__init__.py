"""The admin console. Each view declares one capability (`guard.staff`), calls one flow or query, and renders.

The name `admin` is Django's. No rule lives here: who may do what is `federation.mapping.capabilities`.
"""
