"""SimpleSAMLphp (Debian: simplesamlphp) as a SAML identity provider, run by PHP's built-in server from files of our own.

It refuses unsigned requests, signs Response and assertion, and with `encrypt` encrypts the assertion for the service
provider's key. Alice is in engineering and may sign in as alice / wonderland; Bob the contractor as bob / builder.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.processes import Process, free_port, need_file, need_program

_ROOT = Path("/usr/share/simplesamlphp")

_AUTHSOURCES = """<?php
$config = ['userpass' => ['exampleauth:UserPass',
  'alice:wonderland' => ['uid' => ['alice'], 'mail' => ['alice@example.com'], 'displayName' => ['Alice Liddell'], 'groups' => ['engineering', 'shop-team']],
  'bob:builder' => ['uid' => ['bob'], 'mail' => ['bob@example.com'], 'displayName' => ['Bob Contractor'], 'groups' => ['contractors']],
]];
"""

# PHP's built-in server has no notion of PATH_INFO after a script's name, which SimpleSAMLphp's module.php wants.
_ROUTER = """<?php
$root = '%(root)s/www'; $path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if (preg_match('#^(/.*?\\.php)(/.*)?$#', $path, $m) && is_file($root . $m[1])) {
  $_SERVER['SCRIPT_NAME'] = $m[1]; $_SERVER['SCRIPT_FILENAME'] = $root . $m[1]; $_SERVER['PHP_SELF'] = $path;
  if (($m[2] ?? '') === '') { unset($_SERVER['PATH_INFO']); } else { $_SERVER['PATH_INFO'] = $m[2]; }
  chdir(dirname($root . $m[1])); require $root . $m[1]; return true;
}
return false;
"""


class SimpleSamlPhp:
    """One identity provider on a free loopback port. Service providers may be told to it while it runs."""

    def __init__(self, folder: Path, *, encrypt: bool = False) -> None:
        need_file(_ROOT / "www" / "module.php", "simplesamlphp")
        need_program("php", "php-cli php-xml php-mbstring php-curl")
        self.folder = folder
        self.encrypt = encrypt
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.entity_id = f"{self.url}/idp"
        self.metadata_url = f"{self.url}/saml2/idp/metadata.php"
        for name in ("config", "metadata", "cert", "tmp", "data", "log", "sessions", "sp"):
            (folder / name).mkdir(parents=True)
        self._process: Process | None = None

    def start(self) -> SimpleSamlPhp:
        """Write the configuration and serve until `stop`."""
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=test-simplesamlphp",
             "-keyout", self.folder / "cert/idp.pem", "-out", self.folder / "cert/idp.crt"],
            check=True, capture_output=True,
        )  # fmt: skip
        (self.folder / "config/authsources.php").write_text(_AUTHSOURCES)
        (self.folder / "router.php").write_text(_ROUTER % {"root": _ROOT})
        self._write_idp()
        self._write_config()
        environment = {
            **os.environ,
            "SIMPLESAMLPHP_CONFIG_DIR": str(self.folder / "config"),
            "PHP_CLI_SERVER_WORKERS": "2",
        }
        self._process = Process(
            ["php", "-d", f"error_log={self.folder / 'log/php.log'}", "-d", "display_errors=0", "-d", f"session.save_path={self.folder / 'sessions'}",
             "-S", f"127.0.0.1:{self.port}", "-t", str(_ROOT / "www"), str(self.folder / "router.php")],
            log=self.folder / "log/server.log", environment=environment,
        ).start(ready=self.metadata_url)  # fmt: skip
        return self

    def stop(self) -> None:
        if self._process:
            self._process.stop()

    def know(self, sp_metadata: bytes) -> None:
        """Take a service provider's metadata, as its administrator would: uploaded as a file."""
        number = len(list((self.folder / "sp").iterdir()))
        (self.folder / "sp" / f"{number}.xml").write_bytes(sp_metadata)
        self._write_config()

    def _write_idp(self) -> None:
        encrypt = "true" if self.encrypt else "false"
        (self.folder / "metadata/saml20-idp-hosted.php").write_text(f"""<?php
$metadata['{self.entity_id}'] = ['host' => '__DEFAULT__', 'privatekey' => 'idp.pem', 'certificate' => 'idp.crt', 'auth' => 'userpass',
  'userid.attribute' => 'uid', 'signature.algorithm' => 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
  'saml20.sign.assertion' => true, 'saml20.sign.response' => true, 'assertion.encryption' => {encrypt},
  'validate.authnrequest' => true, 'validate.logout' => true, 'sign.logout' => true, 'redirect.sign' => true,
  'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
  'authproc' => [1 => ['class' => 'saml:PersistentNameID', 'attribute' => 'uid']]];
""")

    def _write_config(self) -> None:
        base = Path("/etc/simplesamlphp/config.php")
        need_file(base, "simplesamlphp")
        text = base.read_text().replace("?>", "")
        sources = "".join(f", ['type' => 'xml', 'file' => '{path}']" for path in sorted((self.folder / "sp").iterdir()))
        folder = self.folder
        text += f"""
$config = array_merge($config, [
  'baseurlpath' => '{self.url}/', 'certdir' => '{folder}/cert/', 'datadir' => '{folder}/data/', 'tempdir' => '{folder}/tmp',
  'metadatadir' => '{folder}/metadata/', 'loggingdir' => '{folder}/log/', 'logging.handler' => 'file', 'logging.level' => 7,
  'secretsalt' => 'a-test-salt-that-is-public', 'auth.adminpassword' => 'a-test-password', 'enable.saml20-idp' => true,
  'session.cookie.secure' => false, 'session.cookie.samesite' => null, 'session.phpsession.savepath' => '{folder}/sessions',
  'session.cookie.name' => 'Ssp{self.port}', 'session.phpsession.cookiename' => 'SspPhp{self.port}', 'session.authtoken.cookiename' => 'SspToken{self.port}',
  'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true], 'showerrors' => true, 'timezone' => 'UTC',
  'metadata.sources' => [['type' => 'flatfile']{sources}],
]);
"""
        temporary = folder / "config/config.php.new"
        temporary.write_text(text)
        temporary.replace(folder / "config/config.php")  # a request may be reading it
