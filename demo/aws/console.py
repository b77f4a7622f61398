"""The federation endpoint, the direct SAML POST, and a page where the AWS console would be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask, Response, jsonify, redirect, render_template, request

from demo.aws.errors import AwsError
from demo.aws.limits import DURATION
from demo.aws.sts import RoleSession
from demo.idp.state import Expiring

if TYPE_CHECKING:
    from demo.aws.server import LocalAws

COOKIE = "demo_console_session"
TOKEN_LIFETIME = timedelta(minutes=15)
CONSOLE_LIFETIME = timedelta(hours=12)
CONSOLE_HOSTS = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
PATHS = frozenset({"/federation", "/saml", "/console", "/demo/trail"})


@dataclass(frozen=True)
class SigninToken:
    """What a sign-in token stands for. `seconds`: SessionDuration, or None."""

    session: RoleSession
    seconds: int | None


@dataclass(frozen=True)
class ConsoleSession:
    """A browser in the console."""

    session: RoleSession
    destination: str
    until: datetime
    issuer: str


class Refused(Exception):
    """A 400 of the sign-in host. `reason` is for the trail and the tests."""

    def __init__(self, reason: str, sentence: str) -> None:
        self.reason, self.sentence = reason, sentence
        super().__init__(reason)


def check_destination(destination: str, partition: str, own_url: str) -> str:
    """Only the partition's console hosts over https, or this demo's own page: no open redirect. Raises Refused."""
    host = CONSOLE_HOSTS[partition]
    try:
        parts = urlsplit(destination)
        name = parts.hostname or ""
        plain = parts.port is None and "@" not in parts.netloc and "\\" not in destination
    except ValueError:
        name, plain = "", False
    real = plain and parts.scheme == "https" and (name == host or name.endswith(f".{host}"))
    if not real and destination.partition("?")[0] != f"{own_url}/console":
        raise Refused("destination", "Destination is not a page of the AWS console of this partition.")
    return destination


class Console:
    """The sign-in host and the console of one LocalAws."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws
        self.tokens: Expiring[SigninToken] = Expiring(TOKEN_LIFETIME)
        self.browsers: Expiring[ConsoleSession] = Expiring(CONSOLE_LIFETIME)

    def get_signin_token(self, given: Any) -> Response:
        """Action=getSigninToken: {"SigninToken": ...} for a session's keys. Raises Refused."""
        try:
            keys = json.loads(given.get("Session", ""))
            identifier, secret, session_token = (
                str(keys[name]) for name in ("sessionId", "sessionKey", "sessionToken")
            )
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(
                "session_malformed", "Session is not JSON with sessionId, sessionKey and sessionToken."
            ) from error
        try:
            session = self.aws.sts.session_of(identifier, session_token)
        except AwsError as error:
            raise Refused(error.reason, error.message) from error
        if session.credentials.secret_access_key != secret:
            raise Refused("credentials_unknown", "The session's keys are not valid.")
        seconds = None
        text = given.get("SessionDuration", "")
        if text:
            if not text.isdecimal() or not DURATION[0] <= int(text) <= DURATION[1]:
                raise Refused("session_duration", f"SessionDuration must be {DURATION[0]} to {DURATION[1]}.")
            seconds = int(text)
        token = self.tokens.put(SigninToken(session, seconds), self.aws.now())
        self.aws.sts.trail.append(
            {"eventName": "GetSigninToken", "accessKeyId": identifier, "roleArn": session.role_arn}
        )
        return jsonify(SigninToken=token)

    def login(self, given: Any) -> Response:
        """Action=login: into the console with a sign-in token. Raises Refused."""
        found = self.tokens.get(given.get("SigninToken"), self.aws.now())
        if found is None:
            raise Refused("signin_token", "The sign-in token is unknown, or older than 15 minutes.")
        issuer = given.get("Issuer", "")
        if issuer and urlsplit(issuer).scheme not in {"https", "http"}:
            raise Refused("issuer", "Issuer is not a URL.")
        until = found.session.expires_at if found.seconds is None else self.aws.now() + timedelta(seconds=found.seconds)
        return self.enter(found.session, given.get("Destination", ""), until, issuer)

    def enter(self, session: RoleSession, destination: str, until: datetime, issuer: str) -> Response:
        partition = session.role_arn.split(":")[1]
        destination = check_destination(destination or f"https://{CONSOLE_HOSTS[partition]}/", partition, self.aws.url)
        key = self.browsers.put(ConsoleSession(session, destination, until, issuer), self.aws.now())
        self.aws.sts.trail.append(
            {"eventName": "ConsoleOpened", "roleArn": session.role_arn, "destination": destination}
        )
        answer = redirect("/console", 303)
        answer.set_cookie(COOKIE, key, httponly=True, samesite="Lax", path="/console")
        return answer  # type: ignore[return-value]


def make_app(aws: LocalAws) -> Flask:
    """The Flask application for PATHS."""
    here = Path(__file__).parent
    app = Flask("demo.aws", root_path=str(here), static_folder=str(here.parent / "static"))
    app.config["MAX_CONTENT_LENGTH"] = 1_000_000
    console = aws.console

    def problem(sentence: str, reason: str, status: int) -> tuple[str, int]:
        aws.sts.trail.append({"eventName": "SigninRefused", "reason": reason})
        return render_template("error.html", sentence=sentence), status

    @app.errorhandler(Refused)
    def refused(error: Refused) -> tuple[str, int]:
        return problem(error.sentence, error.reason, 400)

    @app.errorhandler(AwsError)
    def aws_error(error: AwsError) -> tuple[str, int]:
        return problem(f"{error.code}: {error.message}", error.reason, error.status)

    @app.route("/federation", methods=["GET", "POST"])
    def federation() -> Response:
        # A POST's fields count alone there: a query beside it would end up in logs.
        given = request.form if request.method == "POST" else request.args
        action = given.get("Action", "")
        if action == "getSigninToken":
            return console.get_signin_token(given)
        if action == "login" and request.method == "GET":
            return console.login(given)
        if action == "logout":
            answer = redirect("/console", 303)
            answer.delete_cookie(COOKIE, path="/console")
            return answer  # type: ignore[return-value]
        raise Refused("action", "Action must be getSigninToken, login or logout.")

    @app.post("/saml")
    def saml_post() -> Response:
        session = aws.sts.console_sign_in(request.form.get("SAMLResponse", ""))
        return console.enter(session, request.form.get("RelayState", ""), session.expires_at, "")

    @app.get("/console")
    def page() -> tuple[str, int]:
        found = console.browsers.get(request.cookies.get(COOKIE), aws.now())
        if found is None or found.until <= aws.now():
            return render_template(
                "error.html", sentence="You are not signed in to this console. Open it from Rolegate."
            ), 403
        return render_template("console.html", browser=found, session=found.session), 200

    @app.get("/demo/trail")
    def trail() -> Response:
        return jsonify(list(aws.sts.trail))

    @app.after_request
    def headers(answer: Response) -> Response:
        answer.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        answer.headers["Cache-Control"] = "no-store"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    return app
