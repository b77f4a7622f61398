"""The local AWS as one object: `LocalAws(...).start()`, `.url`, `.stop()`, and what an administrator would set up in IAM. DEMO ONLY."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.wrappers import Request, Response

from demo.aws import bulk, providers, registry
from demo.aws.console import PATHS, Console, make_app
from demo.aws.errors import AwsError, json_body, query_xml, s3_xml
from demo.aws.moto_backend import MotoBackend
from demo.aws.registry import Registry
from demo.aws.sts import OIDC_CALL, SAML_CALL, RoleSession, StrictSts
from demo.serving import ThreadedServer

MAX_BODY_BYTES = 50_000_000
MAX_CALL_BYTES = 200_000
ROLE_CHANGES = frozenset({"CreateRole", "DeleteRole", "UpdateRole", "UpdateAssumeRolePolicy"})
XML_TYPE = "text/xml"


def system_clock() -> datetime:
    """The time now, aware, UTC."""
    return datetime.now(UTC)


class LocalAws:
    """A strict STS, the federation endpoint and moto behind one endpoint URL.

    `port`, `moto_port`: 0 takes any free one. `recipient_hosts`: hosts whose `/saml` is taken as Recipient beside AWS's own
    sign-in hosts. `clock`: for tests. `trail` has one entry a call with the precise reason of each refusal; `inject` makes
    the next calls fail as AWS sometimes does. Raises PortInUse.
    """

    def __init__(
        self,
        port: int = 0,
        moto_port: int = 0,
        recipient_hosts: Iterable[str] = (),
        *,
        clock: Callable[[], datetime] = system_clock,
    ) -> None:
        self._server = ThreadedServer(port)
        self.url = self._server.url
        self.now = clock
        self.registry = Registry()
        try:
            self.moto = MotoBackend(moto_port)
        except OSError:
            self._server.stop()
            raise
        self.sts = StrictSts(self.registry, self.moto, clock, tuple(recipient_hosts))
        self.console = Console(self)
        self._pages = make_app(self)

    def start(self) -> LocalAws:
        self.moto.start()
        self._server.start(self.application)
        return self

    def stop(self) -> None:
        self._server.stop()
        self.moto.stop()

    @property
    def federation_url(self) -> str:
        """What ROLEGATE_SIGNIN_ENDPOINT_URL is set to."""
        return f"{self.url}/federation"

    @property
    def trail(self) -> deque[dict[str, Any]]:
        """What happened, oldest first."""
        return self.sts.trail

    # --- what an administrator sets up -------------------------------------------------------------------

    def register_saml_provider(self, account: str, name: str, metadata_xml: str | bytes, partition: str = "aws") -> str:
        """CreateSAMLProvider or UpdateSAMLProvider; its ARN. Raises BadRegistration."""
        provider = registry.saml_provider(account, name, metadata_xml, partition)
        self.registry.saml[provider.arn] = provider
        return provider.arn

    def register_oidc_provider(self, account: str, url: str, audiences: Iterable[str], partition: str = "aws") -> str:
        """CreateOpenIDConnectProvider; its ARN. http is taken on loopback, in this demo alone. Raises BadRegistration."""
        provider = registry.oidc_provider(account, url, tuple(audiences), partition)
        self.registry.oidc[provider.arn] = provider
        return provider.arn

    def create_role(
        self,
        account: str,
        name: str,
        trust_policy: dict[str, Any] | str,
        max_session_duration: int = 3600,
        partition: str = "aws",
    ) -> str:
        """CreateRole, or new trust for one that is there; its ARN. `name` may have a path. Needs `start`. Raises BadRegistration."""
        role = registry.role(account, name, trust_policy, max_session_duration, partition)
        self.registry.roles[role.arn] = role
        self.moto.mirror_role(role)
        return role.arn

    def put_roles(self, roles: Iterable[tuple[registry.Role, bulk.RoleFacts]]) -> None:
        """Hundreds of roles at once, as `create_role` makes one. Needs `start`."""
        made = list(roles)
        self.registry.roles.update({role.arn: role for role, _ in made})
        bulk.put_roles(made)

    def delete_role(self, arn: str) -> None:
        """The role is gone; sessions of it go on, as in AWS."""
        self.moto.forget_role(self.registry.roles.pop(arn))

    def create_bucket(
        self, account: str, name: str, region: str = "us-east-1", files: dict[str, bytes] | None = None
    ) -> None:
        """A bucket to list with the credentials. Needs `start`."""
        self.moto.make_bucket(account, name, region, files or {})

    def client(self, service: str, account: str, partition: str = "aws", region: str = "") -> Any:
        """A boto3 client inside an account that passes by STS, for setting things up. Needs `start`."""
        return self.moto.client(service, account, partition, region)

    def inject(self, code: str, message: str = "injected by a test", times: int = 1) -> None:
        """The next `times` STS calls fail with this AWS error code."""
        self.sts.faults.extend(AwsError(code, message, "injected") for _ in range(times))

    # --- HTTP ------------------------------------------------------------------------------------------

    def application(self, environ: dict[str, Any], start_response: Any) -> Any:
        """WSGI: the sign-in pages, the two STS calls, and everything else through the gate to moto."""
        request = Request(environ)
        if request.path in PATHS or request.path.startswith("/static/"):
            return self._pages(environ, start_response)
        body = b"" if (request.content_length or 0) > MAX_BODY_BYTES else request.get_data()
        params = self._call_of(request, body)
        if params is not None:
            return self._sts_answer(params)(environ, start_response)
        return self._forward(request, body)(environ, start_response)

    @staticmethod
    def _call_of(request: Request, body: bytes) -> dict[str, str] | None:
        """The parameters if this is one of the two unsigned calls."""
        if request.path != "/" or len(body) > MAX_CALL_BYTES:
            return None
        fields = dict(request.args)
        if request.mimetype == "application/x-www-form-urlencoded":
            fields |= dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        return fields if fields.get("Action") in {SAML_CALL, OIDC_CALL} else None

    def _sts_answer(self, params: dict[str, str]) -> Response:
        try:
            return Response(self.sts.call(params), content_type=XML_TYPE)
        except AwsError as error:
            return Response(query_xml(error), status=error.status, content_type=XML_TYPE)

    def _forward(self, request: Request, body: bytes) -> Response:
        """Past the gate only with keys that this STS handed out and that still live: moto itself would take any."""
        try:
            session = self._session_of(request)
        except AwsError as error:
            return _service_error(request, error)
        form = request.mimetype == "application/x-www-form-urlencoded"
        call = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)) if form else {}
        if call.get("Action") in providers.ACTIONS:
            try:
                return Response(providers.answer(self.registry, call, session.account), content_type=XML_TYPE)
            except AwsError as error:
                return _service_error(request, error)
        target = request.environ.get("REQUEST_URI") or request.full_path
        status, headers, content = self.moto.forward(request.method, target, list(request.headers), body)
        if status == 200 and form:
            self._follow(session, call)
        answer = Response(content, status=status, headers=headers)
        if request.method == "HEAD":  # no body, but the length of the object that a GET would bring
            answer.headers["Content-Length"] = next((value for name, value in headers if name == "Content-Length"), "0")
        return answer

    def _follow(self, session: RoleSession, call: dict[str, str]) -> None:
        """Somebody has changed a role by IAM's own API: the STS must know it as it is now."""
        if call.get("Action") not in ROLE_CHANGES or not call.get("RoleName"):
            return
        partition, name = session.role_arn.split(":")[1], call["RoleName"]
        found = self.moto.find_role(session.account, name, partition)
        for arn in [
            arn for arn, role in self.registry.roles.items() if role.account == session.account and role.name == name
        ]:
            del self.registry.roles[arn]
        if found is not None:
            with contextlib.suppress(
                registry.BadRegistration
            ):  # a trust policy that this STS cannot read opens nothing
                qualified = found["Path"].removeprefix("/") + name
                policy, seconds = found["AssumeRolePolicyDocument"], found.get("MaxSessionDuration", 3600)
                role = registry.role(session.account, qualified, policy, seconds, partition)
                self.registry.roles[role.arn] = role

    def _session_of(self, request: Request) -> RoleSession:
        authorization = request.headers.get("Authorization", "")
        credential = request.args.get("X-Amz-Credential") or authorization.partition("Credential=")[2]
        access_key_id = credential.partition("/")[0].strip()
        session_token = request.headers.get("X-Amz-Security-Token") or request.args.get("X-Amz-Security-Token", "")
        if not access_key_id:
            raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", "not_signed")
        return self.sts.session_of(access_key_id, session_token)


def _service_error(request: Request, error: AwsError) -> Response:
    """The error in the shape of the service that was asked."""
    if "/s3/aws4_request" in request.headers.get("Authorization", ""):
        return Response(s3_xml(error), status=error.status, content_type="application/xml")
    if "X-Amz-Target" in request.headers:
        return Response(json_body(error), status=400, content_type="application/x-amz-json-1.1")
    return Response(query_xml(error), status=error.status, content_type=XML_TYPE)
