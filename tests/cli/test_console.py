"""console: the page in the browser, and the secret address in nobody's arguments."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.cli.double import ROLE, GatewayDouble
from tests.cli.laptop import Laptop
from tests.cli.town import Town


def test_print(stage: Town, alice: Laptop) -> None:
    url = alice.run("console", "shop-prod/ReadOnly", "--destination", "s3", "--print").stdout.strip()
    query = parse_qs(urlsplit(url).query)
    assert query["Destination"] == ["https://us-east-1.console.aws.amazon.com/s3/home"]
    assert requests.get(url, timeout=20).status_code == 200
    event = stage.gateway.audit("console")[-1]
    assert event["data"]["channel"] == "api"


def test_read_only_and_shorter(stage: Town, alice: Laptop) -> None:
    alice.run("console", "shop-prod/ReadOnly", "--read-only", "--duration", "15m", "--print")
    assert stage.gateway.audit("console")[-1]["data"]["console_duration"] == 900
    # It can only be shortened: the mapping says nothing, so an hour is the most.
    alice.run("console", "shop-prod/ReadOnly", "--duration", "12h", "--print")
    assert stage.gateway.audit("console")[-1]["data"]["console_duration"] == 3600


def test_a_destination_that_is_none(alice: Laptop) -> None:
    assert (
        "destination_not_allowed"
        in alice.run("console", "shop-prod/ReadOnly", "--destination", "https://evil.example/", status=4).stderr
    )


def test_the_browser_is_handed_no_secret(double: GatewayDouble, laptop: Laptop) -> None:
    secret = f"{double.url}/federation?SigninToken=theSecret"
    double.sign_in(laptop)
    double.answers["/api/v1/console"] = (200, {"url": secret, "expires_at": "2030-01-01T00:00:00Z"})
    opener = laptop.folder / "opener"
    opener.write_text(
        f'#!/bin/sh\necho "$1" > {laptop.folder}/opened\nfor i in 1 2; do curl -s -o /dev/null -w "%{{http_code}} %{{redirect_url}}\\n" "$1"; done > {laptop.folder}/answers\n'
    )
    opener.chmod(0o755)
    laptop.run("console", ROLE, BROWSER=str(opener))
    opened = (laptop.folder / "opened").read_text()
    assert opened.startswith("http://127.0.0.1:")
    assert "theSecret" not in opened
    first, second = (laptop.folder / "answers").read_text().splitlines()
    assert first == f"302 {secret}"
    assert "theSecret" not in second


@pytest.mark.parametrize(
    "url", ["http://evil.example/", "file:///etc/passwd", "javascript:alert(1)", "https://x.example/\r\nX: y", ""]
)
def test_an_address_that_no_browser_should_be_sent_to(double: GatewayDouble, laptop: Laptop, url: str) -> None:
    double.sign_in(laptop)
    double.answers["/api/v1/console"] = (200, {"url": url, "expires_at": "2030-01-01T00:00:00Z"})
    assert laptop.run("console", ROLE, "--print", status=5).stdout == ""
