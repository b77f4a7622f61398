"""Apache with mod_auth_openidc as a resource server that verifies our tokens by our JWKS: another reader of what we mint.

Debian: apache2 libapache2-mod-auth-openidc. Runs from a ServerRoot of its own on free loopback ports. The module takes
its keys over https alone, so a second virtual host puts TLS in front of the gateway's JWKS, as a proxy would in production.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.processes import Process, free_port, need_file, need_program

_MODULES = Path("/usr/lib/apache2/modules")


class VerifyingApache:
    """One Apache whose `/protected/` wants a bearer token signed by a key in `jwks_uri`, and shows whose it is."""

    def __init__(self, folder: Path, *, jwks_uri: str, audience: str) -> None:
        self._apache = need_program("apache2", "apache2")
        need_file(_MODULES / "mod_auth_openidc.so", "libapache2-mod-auth-openidc")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        tls_port = free_port()
        for name in ("www/protected", "run"):
            (folder / name).mkdir(parents=True)
        (folder / "www/index.html").write_text("up\n")
        (folder / "www/protected/index.html").write_text("protected\n")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=127.0.0.1",
             "-keyout", folder / "tls.key", "-out", folder / "tls.crt"],
            check=True, capture_output=True,
        )  # fmt: skip
        mpm = f"LoadModule mpm_event_module {_MODULES}/mod_mpm_event.so"
        user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
        (folder / "httpd.conf").write_text(f"""
ServerRoot {folder}
ServerName 127.0.0.1
Listen 127.0.0.1:{self.port}
PidFile {folder}/run/pid
DefaultRuntimeDir {folder}/run
Mutex file:{folder}/run
{mpm}
LoadModule authn_core_module {_MODULES}/mod_authn_core.so
LoadModule authz_core_module {_MODULES}/mod_authz_core.so
LoadModule authz_user_module {_MODULES}/mod_authz_user.so
LoadModule dir_module {_MODULES}/mod_dir.so
LoadModule headers_module {_MODULES}/mod_headers.so
LoadModule socache_shmcb_module {_MODULES}/mod_socache_shmcb.so
LoadModule ssl_module {_MODULES}/mod_ssl.so
LoadModule proxy_module {_MODULES}/mod_proxy.so
LoadModule proxy_http_module {_MODULES}/mod_proxy_http.so
LoadModule auth_openidc_module {_MODULES}/mod_auth_openidc.so
{user}
StartServers 1
ErrorLog {folder}/error.log
LogLevel warn auth_openidc:debug
DocumentRoot {folder}/www
DirectoryIndex index.html
<Directory {folder}/www>
  Require all granted
</Directory>
Listen 127.0.0.1:{tls_port}
<VirtualHost 127.0.0.1:{tls_port}>
  SSLEngine on
  SSLCertificateFile {folder}/tls.crt
  SSLCertificateKeyFile {folder}/tls.key
  ProxyPass /jwks.json {jwks_uri}
</VirtualHost>
OIDCOAuthVerifyJwksUri https://127.0.0.1:{tls_port}/jwks.json
OIDCOAuthSSLValidateServer Off
OIDCOAuthRemoteUserClaim sub
OIDCOAuthTokenExpiryClaim exp absolute mandatory
<Location /protected/>
  AuthType oauth20
  Require claim aud:{audience}
  Header always set X-Verified-Subject "expr=%{{REMOTE_USER}}"
</Location>
""")
        self._process: Process | None = None

    def start(self) -> VerifyingApache:
        # The worker processes run as another user than root: they must reach the files.
        for path in (self.folder, *self.folder.parents):
            if path.stat().st_uid == os.geteuid() and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o111)
            if path.name.startswith("pytest-of-"):
                break
        for path in (self.folder / "www").rglob("*"):
            path.chmod(path.stat().st_mode | 0o555 if path.is_dir() else 0o644)
        (self.folder / "www").chmod(0o755)
        self._process = Process(
            [self._apache, "-d", str(self.folder), "-f", str(self.folder / "httpd.conf"), "-D", "FOREGROUND"],
            log=self.folder / "log",
        ).start(ready=f"{self.url}/index.html")
        return self

    @property
    def log(self) -> str:
        """Its error log."""
        return (self.folder / "error.log").read_text(errors="replace")

    def stop(self) -> None:
        if self._process:
            self._process.stop()
