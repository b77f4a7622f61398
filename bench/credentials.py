"""`POST /api/v1/credentials`: the gateway's own cost, and its rate against an STS that takes 50 ms.

    python -m bench.credentials [REQUESTS [PROGRAMS]]

The real gateway as README runs it (granian, two workers of eight threads) on PostgreSQL when DATABASE_URL names one, else
SQLite. PROGRAMS: the folder with the granian of another environment, such as one made of requirements.txt alone; this one
has what the tests need as well, which some libraries load where they find it (4 MB of a worker). The STS here answers
anything after 50 ms: what is measured is the gateway, not AWS. Beside it, in the same run, the floor: the same request
to /healthz, which does nothing.
"""

from __future__ import annotations

import http.client
import json
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from bench import machine, saml_traffic
from tests.live import READ_ONLY_OIDC, READ_ONLY_SAML, Gateway, mapping_document

STS_SECONDS = 0.05
THREADS = 16
WORKER_MB = 120
_ANSWER = """<AssumeRoleWith{kind}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWith{kind}Result>
<Credentials><AccessKeyId>ASIABENCHMARKBENCHMA</AccessKeyId><SecretAccessKey>benchmark</SecretAccessKey><SessionToken>benchmark</SessionToken>
<Expiration>{expires}</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>AROA:x</AssumedRoleId><Arn>arn:aws:sts::111122223333:assumed-role/ReadOnly/x</Arn>
</AssumedRoleUser></AssumeRoleWith{kind}Result><ResponseMetadata><RequestId>bench</RequestId></ResponseMetadata></AssumeRoleWith{kind}Response>"""


class _Sts(BaseHTTPRequestHandler):
    """Answers every call after STS_SECONDS. A double: it checks nothing. Who asks for the time gets it with a refusal."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(STS_SECONDS)
        if b"GetCallerIdentity" in body:
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        kind = "SAML" if b"AssumeRoleWithSAML" in body else "WebIdentity"
        expires = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = _ANSWER.format(kind=kind, expires=expires).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


_TOKEN = """
from django.utils import timezone
from datetime import timedelta
import hashlib, secrets
from federation.models import Person, TokenFamily, AccessToken
now = timezone.now()
person = Person.objects.create(provider="corp", subject="bench", session_name="bench-person", name="Bench", email="b@example.com", groups=["engineering"], claims_at=now, authenticated_at=now)
family = TokenFamily.objects.create(person=person, client_id="rolegate-cli", label="bench", scope="roles credentials console", session_epoch=0, created=now, last_used=now, expires=now + timedelta(days=1))
from federation.flows import pair_cli
token = "rlg_at_" + secrets.token_urlsafe(32)
AccessToken.objects.create(hash=hashlib.sha256(token.encode()).hexdigest(), family=family, issued=now, expires=now + timedelta(hours=1))
print("TOKEN=" + token)
"""
_local = threading.local()


def _post(port: int, host: str, path: str, token: str, body: bytes | None) -> tuple[int, bytes]:
    if not hasattr(_local, "connection"):
        _local.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Host": host, "Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    _local.connection.request("POST" if body else "GET", path, body, headers)
    answer = _local.connection.getresponse()
    return answer.status, answer.read()


def cpu_seconds(process: psutil.Process) -> float:
    """What this process and those below it have used so far."""
    family = [process, *process.children(recursive=True)]
    return sum(sum(member.cpu_times()[:2]) for member in family)


def _memory(process: psutil.Process) -> list[tuple[int, int]]:
    """(PSS, RSS) of each process that granian started, in MB."""
    children = (member.memory_full_info() for member in process.children(recursive=True))
    return sorted((memory.pss // 1_000_000, memory.rss // 1_000_000) for memory in children)


def main(requests: int = 2000, programs: str = "") -> int:
    """Run it; exit status 1 on any failure."""
    sts = _Server(("127.0.0.1", 0), _Sts)
    threading.Thread(target=sts.serve_forever, daemon=True).start()
    _, certificate = saml_traffic.signing_key()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "ROLEGATE_RATE_FACTOR": "1000",
            "ROLEGATE_LOG_LEVEL": "WARNING",
            "MALLOC_ARENA_MAX": "2",
            "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{sts.server_address[1]}",
        }
        gateway = Gateway(Path(folder), environment)
        gateway.workers = 2
        gateway.threads = 8
        if programs:
            gateway.programs = Path(programs)
        pace = machine.slower()  # while nothing else runs
        gateway.start()
        try:
            gateway.apply(mapping_document([saml_traffic.provider(certificate)]))
            token = gateway.manage("shell", "-v", "0", "-c", _TOKEN).split("TOKEN=", 1)[1].strip()
            host = urlsplit(gateway.url).netloc
            process = psutil.Process(gateway.pid)
            failures = 0
            print(f"an STS that takes {STS_SECONDS * 1000:.0f} ms, {THREADS} callers, {requests} requests each")
            figures = {}
            for name, path, body in (
                ("floor: /healthz", "/healthz", None),
                ("by SAML", "/api/v1/credentials", json.dumps({"role_arn": READ_ONLY_SAML}).encode()),
                ("by web identity", "/api/v1/credentials", json.dumps({"role_arn": READ_ONLY_OIDC}).encode()),
            ):
                _local.__dict__.clear()  # the connection has been idle for a whole round
                for _ in range(20):
                    _post(gateway.port, host, path, token, body)
                used, started = cpu_seconds(process), time.perf_counter()

                def one(_: int, path: str = path, body: bytes | None = body) -> int:
                    status, text = _post(gateway.port, host, path, token, body)
                    if status != 200:
                        print(status, text[:200])
                    return status

                with ThreadPoolExecutor(THREADS) as pool:
                    statuses = list(pool.map(one, range(requests)))
                failures += sum(status != 200 for status in statuses)
                elapsed = time.perf_counter() - started
                figures[name] = (cpu_seconds(process) - used) * 1000 / requests
                print(
                    f"{name:18} {requests / elapsed:7.0f} requests/s   {figures[name]:6.2f} ms of the gateway's CPU each"
                )
            print(
                f"own cost against the 15 ms allowed: SAML {figures['by SAML'] / 15:.2f}, web identity {figures['by web identity'] / 15:.2f}"
            )
            print(
                f"this machine takes {pace:.2f} times as long as the one the limit was set on: SAML {figures['by SAML'] / 15 / pace:.2f} there, web identity {figures['by web identity'] / 15 / pace:.2f}"
            )
            # PSS is what one more worker adds to the machine: RSS counts the pages that workers share once for each of them.
            memory = _memory(process)
            print(
                f"memory of each process: PSS {[pss for pss, _ in memory]} MB, at most {max(memory)[0] / WORKER_MB:.2f} of the {WORKER_MB} allowed; RSS {[rss for _, rss in memory]} MB"
            )
            print(f"failures: {failures}")
            return 1 if failures else 0
        finally:
            gateway.stop()
            sts.shutdown()


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2]), *sys.argv[2:3]))
