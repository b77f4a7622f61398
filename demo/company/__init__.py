"""Example Corp at full size, for `make demo`: forty accounts, six hundred roles, three hundred people and their ninety days.

DEMO ONLY. Everything is made out of fixed seeds: the same company each time. The tests use the small cast and estate of
`demo.cast` and `demo.estate`; only `make demo` furnishes the whole company.
"""
