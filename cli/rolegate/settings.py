"""Which gateways there are, which one is meant, and what is remembered about each: `gateways.json`, without any secret."""

from __future__ import annotations

import json
import os
import re

from rolegate import files
from rolegate.errors import LocalFiles, NotSignedIn, Usage, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_URL = re.compile(r"(?:(https?)://)?((?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)((?:/[A-Za-z0-9._~-]+)*)/*")
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def normal_url(text: str) -> str:
    """The gateway's address as its metadata spells it: https://host[:port][/path]. Raises Usage.

    Plain http only on this machine: else tokens and credentials would travel in clear.
    """
    match = _URL.fullmatch(text.strip())
    if match is None:
        raise Usage(f"{plain(text)} is not the address of a gateway. Write it as https://gate.example.com.")
    scheme, host, path = match[1] or "https", match[2].lower(), match[3]
    if scheme == "http" and host_of(f"http://{host}") not in LOOPBACK:
        raise Usage(
            f"{plain(text)} is plain http: anybody on the way could read your credentials. Use https://{host}{path}."
        )
    if scheme == "https" and host.endswith(":443"):
        host = host[: -len(":443")]
    return f"{scheme}://{host}{path}"


def host_of(url: str) -> str:
    """The host of an address without its port; IPv6 in brackets."""
    place = url.split("://", 1)[1].split("/", 1)[0]
    return place[: place.index("]") + 1] if place.startswith("[") else place.split(":", 1)[0]


def forget_questions() -> None:
    """Removes the notes of which cache file answered which command line (`fast`): the same words may mean another role now."""
    files.clear(os.path.join(files.cache_folder(), "asked"))


class Gateway:
    """One gateway: its address, the folders of its files, and what is remembered about it (`known`)."""

    def __init__(self, url: str, known: dict[str, Any]) -> None:
        self.url = url
        self.known = known
        self.id = files.escaped(url.split("://", 1)[1])
        self.state = os.path.join(files.state_folder(), self.id)
        self.cache = os.path.join(files.cache_folder(), self.id)

    @property
    def loopback(self) -> bool:
        """Whether it runs on this machine."""
        return host_of(self.url) in LOOPBACK

    def lock(self) -> files.Lock:
        """The lock of the session, of the caches' clearing, and of signing in."""
        return files.Lock(
            os.path.join(self.state, "session.lock"),
            waiting=f"Another rolegate is signing in to {self.url}, here on this machine. Waiting for it …",
        )


class Settings:
    """The file `gateways.json`, read when first asked for."""

    def __init__(self) -> None:
        self.path = os.path.join(files.config_folder(), "gateways.json")
        self._read: dict[str, Any] | None = None

    @property
    def content(self) -> dict[str, Any]:
        """{"default": url, "gateways": {url: {…}}}. Raises LocalFiles when it is broken."""
        if self._read is None:
            raw = files.read_private(self.path)
            try:
                found = json.loads(raw) if raw else {}
                gateways = found.setdefault("gateways", {})
                if not all(isinstance(known, dict) for known in gateways.values()):
                    raise ValueError
            except (ValueError, AttributeError) as error:
                raise LocalFiles(
                    f"{self.path} is broken. Correct it, or remove it and sign in again: rolegate login URL"
                ) from error
            self._read = found
        return self._read

    def all(self) -> list[Gateway]:
        """Every gateway that was ever signed in to, by address."""
        return [Gateway(url, known) for url, known in sorted(self.content["gateways"].items())]

    def gateway(self, wanted: str | None) -> Gateway:
        """The one meant: by address or a part of its host, else ROLEGATE_GATEWAY, else the default. Raises NotSignedIn, Usage."""
        wanted = wanted or os.environ.get("ROLEGATE_GATEWAY") or None
        known = self.content["gateways"]
        if wanted is None:
            url = self.content.get("default")
            if not isinstance(url, str) or url not in known:
                raise NotSignedIn("No gateway is known here yet. Sign in first: rolegate login https://YOUR-GATEWAY")
            return Gateway(url, known[url])
        matches = [url for url in known if wanted.lower() in url.split("://", 1)[1]]
        if "://" not in wanted and len(matches) == 1:
            return Gateway(matches[0], known[matches[0]])
        if "://" not in wanted and len(matches) > 1 and wanted not in {url.split("://", 1)[1] for url in matches}:
            raise Usage(f"Several gateways match {plain(wanted)}: {', '.join(matches)}. Name one of them whole.")
        url = normal_url(wanted)
        return Gateway(url, known.get(url, {}))

    def remember(self, gateway: Gateway, *, default: bool = False, **values: object) -> None:
        """Notes these values about the gateway; as the default where there is none yet, or where asked."""
        with files.Lock(self.path + ".lock"):
            self._read = None
            content = self.content
            known = content["gateways"].setdefault(gateway.url, {})
            before = json.dumps(content, sort_keys=True)
            for name, value in values.items():
                if value is None:
                    known.pop(name, None)
                else:
                    known[name] = value
            if default or content.get("default") not in content["gateways"]:
                content["default"] = gateway.url
                forget_questions()
            gateway.known = known
            if json.dumps(content, sort_keys=True) != before or not os.path.exists(self.path):
                files.write_private(self.path, json.dumps(content, indent=2, sort_keys=True).encode() + b"\n")

    def forget(self, gateway: Gateway) -> None:
        """Removes the gateway from the list; another becomes the default."""
        with files.Lock(self.path + ".lock"):
            self._read = None
            content = self.content
            content["gateways"].pop(gateway.url, None)
            if content.get("default") == gateway.url:
                content["default"] = next(iter(sorted(content["gateways"])), None)
            forget_questions()
            files.write_private(self.path, json.dumps(content, indent=2, sort_keys=True).encode() + b"\n")
