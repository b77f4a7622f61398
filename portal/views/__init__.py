"""The employee's pages: each view parses the request, calls one flow or query, and renders.

No view decides who may do what, verifies a message or writes a row: that is `federation`'s. What is decided here is
navigation only: where a browser goes next, and that it never leaves for a place that nobody named.
"""
