"""The corporate identity provider as one object: `CorporateIdp(...).start()`, `.url`, `.stop()`. DEMO ONLY."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask, Response, make_response, redirect, render_template, request

from demo import keypair
from demo.cast import CAST, Actor, check_password
from demo.idp import oidc_views, saml_views
from demo.idp.oidc_views import OidcClient, OidcProvider
from demo.idp.saml_views import SamlProvider
from demo.idp.service_providers import ServiceProviders
from demo.idp.state import PENDING_LIFETIME, SESSION_LIFETIME, Expiring, Logout, Pending, Session
from demo.serving import ThreadedServer

COOKIE = "demo_idp_session"
# The sign-in form may be submitted anywhere on purpose: it ends in a redirect or a POST to the service provider.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def system_clock() -> datetime:
    """The time now, aware, UTC."""
    return datetime.now(UTC)


def searchable(person: Actor) -> str:
    """What the search on the sign-in page looks through."""
    return " ".join((person.name, person.login, person.department, *person.groups)).casefold()


class CorporateIdp:
    """A SAML 2.0 identity provider and OpenID Connect provider with one cast of people and one sign-in page.

    `port` 0 takes any free one. `sp_metadata_urls`: where the SAML service providers publish their metadata, fetched when
    first wanted. `oidc_clients`: relying parties. `key_folder`: keeps the key over restarts. `encrypt_assertions`: encrypt
    with the key in the SP's metadata. `groups_in_id_token`: False leaves the groups to userinfo. `people`: who can sign in. `clock`: for tests.
    `refusals` and `backchannel_answers` say what happened, for tests; with `following` its metadata announce the key that it rolls to. Raises PortInUse.
    """

    def __init__(
        self,
        port: int = 0,
        sp_metadata_urls: Iterable[str] = (),
        oidc_clients: Iterable[OidcClient] = (),
        key_folder: Path | None = None,
        *,
        encrypt_assertions: bool = False,
        groups_in_id_token: bool = True,
        people: Mapping[str, Actor] = CAST,
        clock: Callable[[], datetime] = system_clock,
    ) -> None:
        self._server = ThreadedServer(port)
        self.url = self._server.url
        self.now = clock
        self.encrypt_assertions = encrypt_assertions
        self.groups_in_id_token = groups_in_id_token
        self.people = people
        self.pair = keypair.load_or_generate(key_folder, "idp", "Example Corp DEMO identity provider")
        self.following: keypair.KeyPair | None = None
        self.service_providers = ServiceProviders(tuple(sp_metadata_urls))
        self.sessions: Expiring[Session] = Expiring(SESSION_LIFETIME)
        self.pending: Expiring[Pending] = Expiring(PENDING_LIFETIME)
        self.logouts: Expiring[Logout] = Expiring(PENDING_LIFETIME)
        self.refusals: deque[str] = deque(maxlen=1000)
        self.backchannel_answers: deque[int] = deque(maxlen=1000)
        self.saml = SamlProvider(self)
        self.oidc = OidcProvider(self)
        for client in oidc_clients:
            self.oidc.register(client)
        self.app = self._make_app()

    @property
    def metadata_url(self) -> str:
        """The signed SAML metadata; also this provider's entity id."""
        return self.saml.entity_id

    @property
    def issuer(self) -> str:
        """The OpenID Connect issuer."""
        return self.oidc.issuer

    def start(self) -> CorporateIdp:
        self._server.start(self.app)
        return self

    def stop(self) -> None:
        self._server.stop()

    # --- signing in here ------------------------------------------------------------------------------

    def current_session(self) -> Session | None:
        """The session of the browser that asks, if it is still good."""
        session = self.sessions.get(request.cookies.get(COOKIE), self.now())
        return None if session is None or session.ended else session

    def ask_password(self, asker: str, proceed: Callable[[Session], object]) -> Any:
        """Send the browser to the sign-in page; `proceed` makes the answer afterwards."""
        return redirect(f"/signin?request={self.pending.put(Pending(asker, proceed), self.now())}", 302)

    def _home(self, session: Session) -> Any:
        return redirect("/", 303)

    def _sign_in(self) -> Any:
        key = request.values.get("request", "")
        pending = self.pending.get(key, self.now())
        if key and pending is None:
            return render_template(
                "error.html", sentence="This sign-in took too long, or was finished already. Start again."
            ), 400
        asker = pending.asker if pending else ""
        if request.method == "GET":
            return self._form(key, asker, request.args.get("as", ""))
        actor = check_password(request.form.get("login", ""), request.form.get("password", ""), self.people)
        if actor is None:
            return self._form(key, asker, request.form.get("login", ""), wrong=True), 401
        now = self.now()
        session = Session(actor, now, now + SESSION_LIFETIME)
        taken = self.pending.pop(key, now)
        answer = make_response((taken.proceed if taken else self._home)(session))
        # Lax: the gateway's redirect is a top-level GET from another site and must find the session.
        answer.set_cookie(COOKIE, self.sessions.put(session, now), httponly=True, samesite="Lax", path="/")
        return answer

    def _form(self, key: str, asker: str, login: str, *, wrong: bool = False) -> str:
        """The sign-in page: the cast, then everybody else, or whom `find` finds among them."""
        wanted = request.args.get("find", "").strip().casefold()
        others = [
            person
            for person in self.people.values()
            if person.login not in CAST and all(word in searchable(person) for word in wanted.split())
        ]
        return render_template(
            "signin.html", cast=CAST.values(), others=others, many=len(self.people) > len(CAST), find=wanted,
            searchable=searchable, key=key, asker=asker, login=login, wrong=wrong,
        )  # fmt: skip

    def _sign_out(self) -> Any:
        session = self.current_session()
        if session is None:
            return render_template("signed_out.html")
        return self.saml.start_logout(session, lambda: render_template("signed_out.html"))

    def _make_app(self) -> Flask:
        here = Path(__file__).parent
        app = Flask("demo.idp", root_path=str(here), static_folder=str(here.parent / "static"))
        app.config["MAX_CONTENT_LENGTH"] = 1_000_000
        app.register_blueprint(saml_views.blueprint(self))
        app.register_blueprint(oidc_views.blueprint(self))
        app.add_url_rule("/signin", "signin", self._sign_in, methods=["GET", "POST"])
        app.add_url_rule("/signout", "signout", self._sign_out, methods=["POST"])

        @app.get("/")
        def home() -> str:
            return render_template(
                "home.html", session=self.current_session(), providers=self.service_providers.all(), cast=CAST.values()
            )

        @app.get("/graph/<path:_anything>")
        def graph(_anything: str) -> tuple[str, int]:
            """Where the overage points. Nobody may follow a URL out of a token: it is counted, so that a test sees it."""
            self.refusals.append("graph was called")
            return render_template("error.html", sentence="There is no directory behind this demo."), 403

        @app.after_request
        def headers(answer: Response) -> Response:
            answer.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
            answer.headers.setdefault("Cache-Control", "no-store")
            answer.headers["X-Content-Type-Options"] = "nosniff"
            answer.headers["Referrer-Policy"] = "no-referrer"
            return answer

        return app
