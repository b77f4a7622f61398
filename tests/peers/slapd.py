"""OpenLDAP's slapd, run by the tests on ports of its own: in clear, with StartTLS, and over TLS under an authority of the tests'."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.processes import free_port, need_program

BASE = "dc=example,dc=test"
ADMIN, ADMIN_PASSWORD = f"cn=admin,{BASE}", "adminpw"
READER, READER_PASSWORD = f"cn=rolegate,{BASE}", "a-test-reader-password"
LIMITED = f"cn=limited,{BASE}"  # may read at most a hundred entries
LIMIT = 100

_CONFIGURATION = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/pid
argsfile {folder}/args
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.key
TLSVerifyClient never
sizelimit unlimited
database mdb
maxsize 268435456
suffix "{base}"
rootdn "{admin}"
rootpw {password}
directory {folder}/db
dbnosync
limits dn.exact="{limited}" size={limit}
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{reader}" read by dn.exact="{limited}" read by anonymous auth by * none
"""


class Authority:
    """A certificate authority of the tests'."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TEST directory authority")])
        now = datetime.now(UTC)
        self.certificate = (
            self._builder(self._name, self._key.public_key(), now - timedelta(days=2), now + timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def _builder(self, subject, public_key, begins, ends):
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
        )

    def issue(self, folder: Path, *, expired: bool = False, name: str = "") -> None:
        """A server's key and certificate: for 127.0.0.1, or for another name."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        called = x509.DNSName(name) if name else x509.IPAddress(ip_address("127.0.0.1"))
        ends = now - timedelta(hours=1) if expired else now + timedelta(days=1)
        certificate = (
            self._builder(x509.Name([]), key.public_key(), now - timedelta(days=1), ends)
            .add_extension(x509.SubjectAlternativeName([called]), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        (folder / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / "server.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


class Slapd:
    """A directory with `ou=people` and `ou=groups`, and an account that may read them."""

    def __init__(self, folder: Path, authority: Authority, *, expired: bool = False, name: str = "") -> None:
        self._program = need_program("slapd", "slapd")
        self._add = need_program("ldapadd", "ldap-utils")
        self._delete = need_program("ldapdelete", "ldap-utils")
        (folder / "db").mkdir(parents=True)
        self._folder = folder
        self.port, self.tls_port = free_port(), free_port()
        self.url, self.tls_url = f"ldap://127.0.0.1:{self.port}", f"ldaps://127.0.0.1:{self.tls_port}"
        self.authority = authority
        authority.issue(folder, expired=expired, name=name)
        (folder / "slapd.conf").write_text(
            _CONFIGURATION.format(
                folder=folder, base=BASE, admin=ADMIN, password=ADMIN_PASSWORD, reader=READER, limited=LIMITED, limit=LIMIT
            )
        )  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Slapd:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-d", "0", "-f", str(self._folder / "slapd.conf"), "-h", f"{self.url}/ {self.tls_url}/"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 20
        for port in (self.port, self.tls_port):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline, (self._folder / "log").read_text()
                    time.sleep(0.02)
        return self

    def furnish(self) -> Slapd:
        """The tree and the two accounts."""
        self.ldif(
            f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: example\ndc: example",
            *(f"dn: ou={unit},{BASE}\nobjectClass: organizationalUnit\nou: {unit}" for unit in ("people", "groups")),
            *(
                f"dn: {dn}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
                f"cn: {dn[3:].partition(',')[0]}\nuserPassword: {READER_PASSWORD}"
                for dn in (READER, LIMITED)
            ),
        )
        return self

    def empty(self) -> None:
        """Away with all people and groups."""
        self._run(self._delete, "", "-r", *(f"ou={unit},{BASE}" for unit in ("people", "groups")))
        self.ldif(
            *(f"dn: ou={unit},{BASE}\nobjectClass: organizationalUnit\nou: {unit}" for unit in ("people", "groups"))
        )

    def ldif(self, *entries: str) -> None:
        """Entries, or changes with a `changetype`, by OpenLDAP's own client."""
        self._run(self._add, "\n\n".join(entries) + "\n")

    def _run(self, program: str, text: str, *more: str) -> None:
        command = [program, "-x", "-H", self.url, "-D", ADMIN, "-w", ADMIN_PASSWORD, *more]
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    # --- People and groups ---

    def person(self, uid: str, *more: str) -> str:
        return self.people([uid], *more)[0]

    def people(self, uids: Iterable[str], *more: str) -> list[str]:
        uids = list(uids)
        self.ldif(
            *(
                f"dn: {person_dn(uid)}\nobjectClass: inetOrgPerson\nobjectClass: shadowAccount\nuid: {uid}\ncn: {uid}\nsn: {uid}\n"
                f"displayName: {uid.title()}\nmail: {uid}@example.com" + "".join(f"\n{line}" for line in more)
                for uid in uids
            )
        )
        return [person_dn(uid) for uid in uids]

    def group(self, name: str, members: Iterable[str]) -> str:
        lines = "".join(f"\nmember: {dn}" for dn in members)
        self.ldif(f"dn: {group_dn(name)}\nobjectClass: groupOfNames\ncn: {name}{lines}")
        return group_dn(name)

    def change(self, dn: str, *lines: str) -> None:
        """`replace: mail`, `mail: x` and so on."""
        self.ldif(f"dn: {dn}\nchangetype: modify\n" + "\n".join(lines))

    def members(self, name: str, members: Iterable[str]) -> None:
        self.change(group_dn(name), "replace: member", *(f"member: {dn}" for dn in members))

    def delete(self, dn: str) -> None:
        self.ldif(f"dn: {dn}\nchangetype: delete")

    def kill(self) -> None:
        """As the plug is pulled."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGTERM)
            self._process.wait(timeout=10)
            self._process = None


def person_dn(uid: str) -> str:
    return f"uid={uid},ou=people,{BASE}"


def group_dn(name: str) -> str:
    return f"cn={name},ou=groups,{BASE}"
