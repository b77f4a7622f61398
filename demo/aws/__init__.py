"""A local AWS for the demo and the tests: a strict STS, the federation endpoint, a console page, and moto for the rest.

DEMO ONLY. Owns its own reading of what AWS checks before it hands out credentials. What it does not do: evaluate
permissions. Whoever holds credentials of a role may do anything that moto can do in that role's account.
"""
