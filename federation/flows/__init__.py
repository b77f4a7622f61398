"""Use cases, one a file: each takes what a face parsed, calls the parts in order, records, and returns plain data.

The only callers are the portal, the tasks and the commands. Transactions begin and end here.
"""
