"""`python -m demo.aws [PORT]`: the local AWS alone, with no account in it yet."""

import sys
import threading

from demo.aws.server import LocalAws

if __name__ == "__main__":
    aws = LocalAws(int(sys.argv[1]) if len(sys.argv) > 1 else 8002).start()
    print(f"DEMO local AWS: STS and moto at {aws.url}, sign-in at {aws.federation_url}")
    threading.Event().wait()
