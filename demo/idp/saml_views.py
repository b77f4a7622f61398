"""The SAML endpoints: single sign-on, single logout both ways, metadata, and a tile that sends an unsolicited response."""

from __future__ import annotations

import base64
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, redirect, render_template, request

from demo import xml
from demo.idp import encryption, messages
from demo.idp import redirect as binding
from demo.idp.service_providers import ServiceProvider
from demo.idp.state import Logout, Session

if TYPE_CHECKING:
    from demo.idp.server import CorporateIdp

MAX_REQUEST_AGE = timedelta(minutes=5)
_NCNAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.\-]{0,255}$")


class SamlProblem(Exception):
    """A message that is not taken; the text is shown."""


class SamlProvider:
    """The SAML half of a CorporateIdp."""

    def __init__(self, idp: CorporateIdp) -> None:
        self.idp = idp

    @property
    def entity_id(self) -> str:
        return f"{self.idp.url}/saml/metadata"

    # --- reading ------------------------------------------------------------------------------------

    def read(self, parameter: str, query: str, kind: str, endpoint: str) -> tuple[Any, ServiceProvider, str]:
        """(message, its sender, RelayState) once signature, Issuer, Destination, version and age are right. Raises SamlProblem."""
        try:
            document, relay_state = binding.decode(query, parameter)
            root = xml.parse(document)
        except (binding.BadRedirect, xml.BadXml) as error:
            raise SamlProblem(f"This is not a SAML message in the redirect binding: {error}.") from error
        if root.tag != f"{{{xml.SAMLP}}}{kind}" or root.get("Version") != "2.0":
            raise SamlProblem(f"This is not a SAML 2.0 {kind}.")
        issuers = root.xpath("saml:Issuer", namespaces=xml.NS)
        sender = self.idp.service_providers.get(xml.text_of(issuers[0])) if len(issuers) == 1 else None
        if sender is None:
            raise SamlProblem(
                "The service provider that sent this is not registered here, or its metadata cannot be fetched."
            )
        try:
            binding.check_signature(query, parameter, sender.signing)
        except binding.BadRedirect as error:
            raise SamlProblem(f"The message is not signed as the service provider's metadata say: {error}.") from error
        if root.get("Destination") != f"{self.idp.url}{endpoint}":
            raise SamlProblem("The message names another Destination.")
        if not _NCNAME.match(root.get("ID", "")):
            raise SamlProblem("The message has no valid ID.")
        try:
            issued = xml.moment(root.get("IssueInstant", ""))
        except ValueError as error:
            raise SamlProblem("IssueInstant is not a time in UTC.") from error
        if abs(self.idp.now() - issued) > MAX_REQUEST_AGE:
            raise SamlProblem("The message is too old, or this machine's clock and the sender's differ.")
        return root, sender, relay_state

    @staticmethod
    def acs_of(root: Any, sender: ServiceProvider) -> str:
        """Where the answer goes: only ever to a URL in the sender's metadata (an open ACS would hand assertions to anyone)."""
        wanted = root.get("AssertionConsumerServiceURL")
        index = root.get("AssertionConsumerServiceIndex")
        if wanted is None and index is None:
            return sender.acs[0]
        if wanted not in sender.acs:
            raise SamlProblem("AssertionConsumerServiceURL is not in the service provider's metadata.")
        return str(wanted)

    # --- writing ------------------------------------------------------------------------------------

    def answer(
        self, session: Session, sender: ServiceProvider, acs: str, in_response_to: str, relay_state: str
    ) -> Response:
        """The form that posts a signed Response about the person who is signed in."""
        now = self.idp.now()
        index = session.saml.setdefault(sender.entity_id, messages.new_id())
        statement = messages.Statement(
            session.actor,
            self.entity_id,
            sender.entity_id,
            acs,
            in_response_to,
            index,
            session.authenticated_at,
            session.until,
        )
        content = messages.assertion(statement, self.idp.pair, self.idp.url, now)
        if self.idp.encrypt_assertions:
            if not sender.encryption:
                raise SamlProblem(
                    "Assertions are to be encrypted, but the service provider's metadata have no encryption key."
                )
            content = encryption.encrypt(content, sender.encryption[0])
        return self.form(content, acs, in_response_to, relay_state, now)

    def form(self, content: Any, acs: str, in_response_to: str, relay_state: str, now: datetime) -> Response:
        document = messages.response(
            content, entity_id=self.entity_id, acs=acs, in_response_to=in_response_to, pair=self.idp.pair, now=now
        )
        page = render_template(
            "post.html", action=acs, saml_response=base64.b64encode(document).decode(), relay_state=relay_state
        )
        return Response(page, headers={"Cache-Control": "no-store"})

    # --- single logout ------------------------------------------------------------------------------

    def continue_logout(self, key: str) -> Any:
        """Send the browser to the next service provider of the session, or finish."""
        now = self.idp.now()
        logout = self.idp.logouts.get(key, now)
        if logout is None:
            raise SamlProblem("This sign-out took too long.")
        while logout.remaining:
            entity_id = logout.remaining.pop(0)
            provider = self.idp.service_providers.get(entity_id)
            index = logout.session.saml.get(entity_id)
            if provider is None or provider.slo is None or index is None:
                continue
            logout.awaited, document = messages.logout_request(
                self.entity_id, provider.slo[0], logout.session.actor.subject, index, now
            )
            return redirect(binding.encode(provider.slo[0], "SAMLRequest", document, key, self.idp.pair), 302)
        self.idp.logouts.pop(key, now)
        return logout.finish()

    def start_logout(self, session: Session, finish: Any, but: str = "") -> Any:
        """End the session here, tell OpenID Connect clients by the back channel, then visit every SAML SP except `but`."""
        session.ended = True
        self.idp.oidc.tell_clients(session)
        remaining = [entity_id for entity_id in session.saml if entity_id != but]
        return self.continue_logout(self.idp.logouts.put(Logout(session, remaining, finish), self.idp.now()))

    def logout_asked(self, query: str) -> Any:
        """A service provider's LogoutRequest (SAML profiles 4.4)."""
        root, sender, relay_state = self.read("SAMLRequest", query, "LogoutRequest", "/saml/slo")
        if sender.slo is None:
            raise SamlProblem("The service provider has no SingleLogoutService in its metadata.")
        subject = "".join(xml.text_of(item) for item in root.xpath("saml:NameID", namespaces=xml.NS))
        indexes = {xml.text_of(item) for item in root.xpath("samlp:SessionIndex", namespaces=xml.NS)}
        destination = sender.slo[1]
        identifier = root.get("ID")

        def finish() -> Any:
            document = messages.logout_response(self.entity_id, destination, identifier, self.idp.now())
            return redirect(binding.encode(destination, "SAMLResponse", document, relay_state, self.idp.pair), 302)

        for session in self.idp.sessions.values():
            index = session.saml.get(sender.entity_id)
            if not session.ended and session.actor.subject == subject and index and (not indexes or index in indexes):
                return self.start_logout(session, finish, but=sender.entity_id)
        return finish()

    def logout_answered(self, query: str) -> Any:
        """A service provider's LogoutResponse to our LogoutRequest; RelayState is the logout's key."""
        root, _sender, key = self.read("SAMLResponse", query, "LogoutResponse", "/saml/slo")
        logout = self.idp.logouts.get(key, self.idp.now())
        if logout is None or root.get("InResponseTo") != logout.awaited:
            raise SamlProblem("This answers no sign-out that was started here.")
        return self.continue_logout(key)


def blueprint(idp: CorporateIdp) -> Blueprint:
    """The routes under /saml."""
    views = Blueprint("saml", __name__)
    provider = idp.saml

    @views.errorhandler(SamlProblem)
    def problem(error: SamlProblem) -> tuple[str, int]:
        idp.refusals.append(str(error))
        return render_template("error.html", sentence=str(error)), 400

    @views.get("/saml/metadata")
    def metadata() -> Response:
        document = messages.metadata(provider.entity_id, idp.url, idp.pair, idp.now(), idp.following)
        return Response(document, content_type="application/samlmetadata+xml")

    @views.get("/saml/sso")
    def sso() -> Any:
        root, sender, relay_state = provider.read(
            "SAMLRequest", request.query_string.decode("latin-1"), "AuthnRequest", "/saml/sso"
        )
        acs, identifier = provider.acs_of(root, sender), root.get("ID")

        def proceed(session: Session) -> Any:
            return provider.answer(session, sender, acs, identifier, relay_state)

        session = None if root.get("ForceAuthn") in {"true", "1"} else idp.current_session()
        if session is not None:
            return proceed(session)
        if root.get("IsPassive") in {"true", "1"}:
            return provider.form(None, acs, identifier, relay_state, idp.now())
        return idp.ask_password(sender.entity_id, proceed)

    @views.get("/saml/unsolicited")
    def unsolicited() -> Any:
        sender = idp.service_providers.get(request.args.get("sp", ""))
        if sender is None:
            raise SamlProblem("That service provider is not registered here, or its metadata cannot be fetched.")

        def proceed(session: Session) -> Any:
            return provider.answer(session, sender, sender.acs[0], "", request.args.get("relay_state", ""))

        session = idp.current_session()
        return proceed(session) if session is not None else idp.ask_password(sender.entity_id, proceed)

    @views.get("/saml/slo")
    def slo() -> Any:
        query = request.query_string.decode("latin-1")
        return provider.logout_asked(query) if "SAMLRequest" in request.args else provider.logout_answered(query)

    return views
