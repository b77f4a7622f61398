"""The command line helper of Rolegate: short-lived AWS credentials with your company sign-in.

Python 3.9 or newer, its standard library, and nothing else. `fast` answers from the cache and imports nothing that this
does not need; everything else starts at `app`. Secrets are written by `files` alone, and go to nobody's arguments,
environment (but the child's of `exec`), logs or tracebacks.
"""

__version__ = "0.1.0"
