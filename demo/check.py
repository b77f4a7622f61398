"""`python -m demo --check`: signs in as people do, with plain HTTP and forms, and opens consoles."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import boto3
import requests
from lxml import html

from demo.cast import CAST
from demo.processes import DemoFailed

TIMEOUT = 20


class Visitor:
    """A browser without scripts."""

    def __init__(self) -> None:
        self._session = requests.Session()

    def get(self, url: str) -> requests.Response:
        return self._session.get(url, timeout=TIMEOUT)

    def submit(self, page: requests.Response, action_ends: str = "", **fields: str) -> requests.Response:
        """Fill in and send the first form whose action ends so. Raises DemoFailed when there is none."""
        for form in html.fromstring(page.content).xpath("//form"):
            action = urljoin(page.url, form.get("action") or "")
            if action.endswith(action_ends):
                given: dict[str, Any] = {
                    item.get("name"): item.get("value") or ""
                    for item in form.xpath(".//input[@name][not(@type='checkbox') or @checked]")
                }
                send = self._session.post if (form.get("method") or "get").lower() == "post" else self._session.get
                data = {**given, **fields}
                return send(
                    action, timeout=TIMEOUT, **({"data": data} if send == self._session.post else {"params": data})
                )
        raise DemoFailed(f"No form for {action_ends!r} on {page.url} ({page.status_code}).")


def _expect(page: requests.Response, *wanted: str) -> requests.Response:
    missing = [text for text in wanted if text not in page.text]
    if page.status_code != 200 or missing:
        said = " ".join(html.fromstring(page.content or b"<p/>").text_content().split())[:600]
        raise DemoFailed(f"{page.url} ({page.status_code}) lacks {missing}. It says: {said}")
    return page


def sign_in(gateway: str, provider: str, login: str) -> tuple[Visitor, requests.Response]:
    """A visitor who has signed in, and the page they came to."""
    visitor, actor = Visitor(), CAST[login]
    page = visitor.get(f"{gateway}/signin/{provider}/")
    page = visitor.submit(page, "/signin", login=actor.login, password=actor.password)
    if 'name="SAMLResponse"' in page.text:
        page = visitor.submit(page)
    return visitor, _expect(page, actor.name)


def open_console(visitor: Visitor, page: requests.Response, account: str, role: str) -> None:
    """Press the console button of a role and see the console of the local AWS say the same account and role."""
    console = visitor.submit(page, f"/roles/{account}/{role}/console")
    _expect(console, "The AWS console would open here", account, role.rpartition("/")[2])


def post_into_console(visitor: Visitor, page: requests.Response, account: str, role: str) -> None:
    """The second way into the console: the browser itself posts the assertion to AWS."""
    _expect(
        visitor.submit(visitor.submit(page, f"/roles/{account}/{role}/console", mode="form")), account, role, "console"
    )


def use_credentials(visitor: Visitor, gateway: str, aws_url: str, account: str, role: str) -> str:
    """Take credentials from the role's panel and ask the local AWS who they are and which buckets they see; the ARN."""
    session = boto3.session.Session(region_name="eu-west-1", **_keys(visitor, gateway, account, role))
    arn = str(session.client("sts", endpoint_url=aws_url).get_caller_identity()["Arn"])
    buckets = session.client("s3", endpoint_url=aws_url).list_buckets()["Buckets"]
    if not arn.startswith(f"arn:aws:sts::{account}:assumed-role/{role}/") or len(buckets) != 1:
        raise DemoFailed(
            f"The credentials of {role} in {account} are {arn} and see {len(buckets)} buckets instead of one."
        )
    return arn


def _keys(visitor: Visitor, gateway: str, account: str, role: str) -> dict[str, str]:
    """Credentials out of the role's panel, as boto3 takes them. Raises DemoFailed."""
    asked = visitor.get(f"{gateway}/roles/{account}/{role}/credentials")
    page = _expect(visitor.submit(asked, f"/roles/{account}/{role}/credentials"), account)
    texts = [block.text_content().strip() for block in html.fromstring(page.content).xpath("//pre")]
    document = next((json.loads(text) for text in texts if text.startswith("{")), None)
    if document is None or document.get("Version") != 1:
        raise DemoFailed(f"{page.url} shows no credential_process document.")
    return {
        "aws_access_key_id": document["AccessKeyId"],
        "aws_secret_access_key": document["SecretAccessKey"],
        "aws_session_token": document["SessionToken"],
    }


def check(gateway: str, aws_url: str) -> None:
    """One sign-in by SAML, one by OpenID Connect; console and credentials in an account of each kind. Raises DemoFailed."""
    for provider, login in (("corp", "alice"), ("corp-oidc", "dave")):
        visitor, page = sign_in(gateway, provider, login)
        for account in ("111122223333", "444455556666"):
            open_console(visitor, page, account, "ReadOnly")
            arn = use_credentials(visitor, gateway, aws_url, account, "ReadOnly")
            print(f"  {login}, signed in by {provider}, opened the console of {account} and is {arn}")
    visitor, page = sign_in(gateway, "corp", "alice")
    post_into_console(visitor, page, "333344445555", "Developer")
    print("  alice posted an assertion into the console of 333344445555")
    for login in ("bob", "erin"):
        _visitor, page = sign_in(gateway, "corp", login)
        if "/roles/111122223333/" in page.text:
            raise DemoFailed(f"{login} is offered a role in production.")
        print(f"  {login} is offered nothing in production")


def check_catalogue(gateway: str, aws_url: str, refresh: Callable[[], None]) -> None:
    """The catalogue is filled, and follows the accounts: a role made by IAM's own API is Alice's, and deleted it is not.

    `refresh` puts the catalogue's task into the worker's queue. Raises DemoFailed.
    """
    account, role = "333344445555", "shop-reports"
    visitor, page = sign_in(gateway, "corp", "alice")
    _expect(page, "Up to 12 h")  # PowerUser's own maximum: only the catalogue knows it
    if role in page.text:
        raise DemoFailed(f"alice is offered {role} before it is there.")
    owner, _page = sign_in(gateway, "corp", "carol")
    keys = _keys(owner, gateway, account, "Administrator")
    iam = boto3.session.Session(region_name="us-east-1", **keys).client("iam", endpoint_url=aws_url)
    trust = iam.get_role(RoleName="Developer")["Role"]["AssumeRolePolicyDocument"]
    iam.create_role(
        RoleName=role, Path="/reports/", AssumeRolePolicyDocument=json.dumps(trust), MaxSessionDuration=2 * 3600
    )
    refresh()
    page = _until(visitor, gateway, lambda text: role in text, f"alice is not offered {role}")
    _expect(page, "Up to 2 h")
    open_console(visitor, page, account, f"reports/{role}")
    print(f"  carol made the role {role}; the worker read it, and alice opened its console")
    iam.delete_role(RoleName=role)
    refresh()
    _until(visitor, gateway, lambda text: role not in text, f"alice is still offered {role}")
    print(f"  carol deleted {role}; the worker read that, and alice is offered it no more")


def _until(
    visitor: Visitor, gateway: str, wanted: Callable[[str], bool], otherwise: str, seconds: float = 60
) -> requests.Response:
    """The roles page once it says what is wanted. Raises DemoFailed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        page = _expect(visitor.get(f"{gateway}/"), "My roles")
        if wanted(page.text):
            return page
        time.sleep(0.5)
    raise DemoFailed(f"{otherwise} after {seconds:.0f} s.")
