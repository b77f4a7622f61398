"""What an OpenID provider publishes (discovery, keys) and the proof that it signed a token.

Owns the cache of those documents, the strict reading of JSON, the header rules, the algorithm allow-list and the
signature check. Knows no claim and no flow: `oidc` does. Never follows a URL that a token carries.

Called by `federation.signin.oidc` alone; the rest of the gateway imports the public names from there.
Sources: OpenID Connect Discovery 1.0 sections 3 and 4, RFC 7515, RFC 7517, RFC 7518, RFC 8725.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Generic, Protocol, TypeVar

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.util import base64_to_int, urlsafe_b64decode

from federation import net
from federation.errors import ProviderUnavailable
from federation.signin.oidc_reasons import Reason, refused

MAX_TOKEN_BYTES: Final = 64 * 1024
MAX_DOCUMENT_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100
FRESH_FOR: Final = timedelta(hours=1)
STALE_FOR: Final = timedelta(days=7)
# THREATS: a flood of unknown kids must cost the provider at most one fetch a minute.
# A copy that another process has fetched is taken for so long, instead of asking again: background work fetches anew before.
SHARED_FOR: Final = timedelta(minutes=30)
REFETCH_AFTER: Final = timedelta(minutes=1)
# With no copy at all nobody can sign in, so the next try comes sooner, but still not once a request.
FIRST_FETCH_AFTER: Final = timedelta(seconds=5)
PATIENCE_SECONDS: Final = 1.0

# alg -> (key type, curve or ""). Everything else is refused, `none` and every HMAC above all (RFC 8725 3.1, 3.2).
ALGORITHMS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "RS256": ("RSA", ""),
        "RS384": ("RSA", ""),
        "RS512": ("RSA", ""),
        "PS256": ("RSA", ""),
        "PS384": ("RSA", ""),
        "PS512": ("RSA", ""),
        "ES256": ("EC", "P-256"),
        "ES384": ("EC", "P-384"),
        "ES512": ("EC", "P-521"),
    }
)
_RSA_BITS: Final = range(2048, 8193)

# Headers that bring their own key, or change what the signature covers or what the payload is.
_FORBIDDEN_HEADERS: Final = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc", "cty"})
_PLAIN_KID: Final = re.compile(r"[A-Za-z0-9._~:+/=@-]{1,200}")
# A kid may be a standard base64 digest, slashes included (Amazon Cognito); any other slash is a path.
_BASE64_KID: Final = re.compile(r"[A-Za-z0-9+/]{22,}={0,2}")


def _registry(algorithm: str) -> jws.JWSRegistry:
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = 4096
    registry.max_signature_length = 1400  # base64url of RSA-8192
    return registry


_REGISTRIES: Final = {algorithm: _registry(algorithm) for algorithm in ALGORITHMS}


class ProviderDocumentRefused(ProviderUnavailable):
    """The provider's discovery document, key set or answer cannot be trusted or understood.

    reason: document_malformed, document_issuer_mismatch, endpoint_forbidden.
    """

    code = "provider_document_refused"
    sentence = "Your company's identity provider sent a document that cannot be trusted. Tell your administrators."


class Request(Protocol):
    """The shape of `federation.net.request`; tests hand in one that counts or fails."""

    def __call__(
        self,
        method: str,
        url: str,
        *,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float = ...,
        max_bytes: int = ...,
    ) -> net.Answer: ...


# --- Strict JSON -------------------------------------------------------------------------------------


class DuplicateName(ValueError):
    """A JSON object names a member twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        # Parsers disagree on which of two equal names counts; a forger lives on that (RFC 8725 2.4, RFC 7519 4).
        raise DuplicateName("a member is named twice")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def strict_json(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw` (UTF-8): no member named twice at any depth, no NaN or Infinity.

    Raises DuplicateName, or ValueError for anything else that is not one JSON object.
    """
    try:
        value = _decoder.decode(raw.decode("utf-8"))
    except RecursionError as error:  # nesting bomb
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - callers catch one class
    return value


def _document(answer: net.Answer, url: str) -> dict[str, Any]:
    """The JSON object of a 200 answer; raises ProviderUnavailable for any other status."""
    if answer.status != 200:
        raise ProviderUnavailable("document_unavailable", detail=f"{url}: HTTP {answer.status}")
    try:
        return strict_json(answer.body)
    except ValueError as error:
        raise ProviderDocumentRefused("document_malformed", detail=f"{url}: {error}") from error


# --- Discovery ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Discovery:
    """The members of a provider's discovery document that the gateway uses; "" stands for an absent endpoint.

    `signing_algorithms`: id_token_signing_alg_values_supported, cut to what the gateway allows (RS256 if the
    document names none). `issuer_parameter`: authorization_response_iss_parameter_supported (RFC 9207).
    `token_endpoint_auth_methods`: for the configuration checks; a sign-in does what the provider's row says.
    `pkce_s256`: False only where the document lists PKCE methods and S256 is not among them.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    end_session_endpoint: str = ""
    issuer_parameter: bool = False
    pkce_s256: bool = True
    signing_algorithms: frozenset[str] = frozenset({"RS256"})
    token_endpoint_auth_methods: tuple[str, ...] = ("client_secret_basic",)


def parse_discovery(document: Mapping[str, Any], issuer: str) -> Discovery:
    """Read a discovery document for `issuer` (OpenID Connect Discovery 1.0 section 3).

    Raises ProviderDocumentRefused: document_issuer_mismatch (4.3: "MUST exactly match"), endpoint_forbidden (neither
    https nor loopback), document_malformed.
    """
    if document.get("issuer") != issuer:
        # Mix-up: a document of one provider served in the name of another.
        raise ProviderDocumentRefused(
            "document_issuer_mismatch", detail=f"{document.get('issuer')!r} instead of {issuer!r}"
        )
    plain_http = issuer.startswith("http://")

    def endpoint(name: str, *, required: bool = False) -> str:
        url = document.get(name, "")
        if url == "" and not required:
            return ""
        if not isinstance(url, str) or not url:
            raise ProviderDocumentRefused("document_malformed", detail=f"{name} of {issuer}")
        try:
            net.check_url(url)
        except ProviderUnavailable as error:
            raise ProviderDocumentRefused("endpoint_forbidden", detail=f"{name}: {error.detail}") from error
        if url.startswith("http://") and not plain_http:
            # SSRF: only a provider that itself runs on loopback (demo, tests) may point at loopback in plain http.
            raise ProviderDocumentRefused("endpoint_forbidden", detail=f"{name}: {url!r}")
        return url

    def names(name: str, absent: Sequence[str]) -> tuple[str, ...]:
        values = document.get(name, absent)
        if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
            raise ProviderDocumentRefused("document_malformed", detail=f"{name} of {issuer}")
        return tuple(values)

    return Discovery(
        issuer=issuer,
        authorization_endpoint=endpoint("authorization_endpoint", required=True),
        token_endpoint=endpoint("token_endpoint", required=True),
        jwks_uri=endpoint("jwks_uri", required=True),
        userinfo_endpoint=endpoint("userinfo_endpoint"),
        end_session_endpoint=endpoint("end_session_endpoint"),
        issuer_parameter=document.get("authorization_response_iss_parameter_supported") is True,
        pkce_s256="S256" in names("code_challenge_methods_supported", ("S256",)),
        signing_algorithms=frozenset(names("id_token_signing_alg_values_supported", ("RS256",))) & ALGORITHMS.keys(),
        token_endpoint_auth_methods=names("token_endpoint_auth_methods_supported", ("client_secret_basic",)),
    )


def fetch_discovery(issuer: str, *, now: datetime, request: Request = net.request) -> Discovery:
    """Fetch and read `issuer`'s discovery document (Discovery 1.0 section 4.1); one GET, no redirect.

    Raises ProviderUnavailable (unreachable, document_unavailable, ...) or ProviderDocumentRefused.
    """
    url = discovery_url(issuer)
    answer = request("GET", url, headers={"Accept": "application/json"}, max_bytes=MAX_DOCUMENT_BYTES)
    return parse_discovery(_document(answer, url), issuer)


def discovery_url(issuer: str) -> str:
    """Where an issuer's discovery document is (Discovery 1.0 section 4)."""
    return issuer.removesuffix("/") + "/.well-known/openid-configuration"


# --- Keys --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key out of a provider's JWKS. `kid`, `algorithm`: "" where the JWK names none."""

    kid: str
    type: str
    curve: str
    algorithm: str
    key: RSAKey | ECKey

    def fits(self, algorithm: str) -> bool:
        """True if a signature under `algorithm` can be this key's: type, curve and the JWK's own `alg` agree."""
        return (self.type, self.curve) == ALGORITHMS[algorithm] and self.algorithm in {"", algorithm}


def parse_keys(document: Mapping[str, Any]) -> tuple[VerificationKey, ...]:
    """The usable keys of a JWKS (RFC 7517 section 5: what is not understood is passed over).

    Passed over: symmetric keys (RS -> HS confusion), encryption keys, RSA outside 2048 to 8192 bits, other curves,
    and keys published with their private half. Raises ProviderDocumentRefused(document_malformed).
    """
    keys = document.get("keys")
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise ProviderDocumentRefused("document_malformed", detail="keys")
    return tuple(key for key in map(_parse_key, keys) if key is not None)


def _parse_key(jwk: Any) -> VerificationKey | None:
    if not isinstance(jwk, dict) or "d" in jwk or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    kid, algorithm = jwk.get("kid", ""), jwk.get("alg", "")
    if not isinstance(kid, str) or not isinstance(algorithm, str):
        return None
    # Only the public numbers go in: no other member of a provider's JWK can steer the library.
    try:
        if jwk.get("kty") == "RSA":
            if base64_to_int(jwk["n"]).bit_length() not in _RSA_BITS:
                # joserfc takes RSA-1024, which a forger can factor; a huge one would burn our time.
                return None
            rsa = RSAKey.import_key({"kty": "RSA", "n": jwk["n"], "e": jwk["e"]})
            return VerificationKey(kid, "RSA", "", algorithm, rsa)
        if jwk.get("kty") == "EC":
            curve = ECKey.import_key({"kty": "EC", "crv": jwk["crv"], "x": jwk["x"], "y": jwk["y"]})
            return VerificationKey(kid, "EC", curve.curve_name, algorithm, curve)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return None


# --- Cache -------------------------------------------------------------------------------------------

_T = TypeVar("_T")


class _Held(Generic[_T]):
    """One cached document: fresh for an hour, kept for seven days while the provider cannot be reached.

    Readers take no lock while the copy is fresh; of those who find it old one fetches, the others go on with it. Where there is
    none they wait for the one who fetches, unless that has failed before: a provider that hangs would hold every thread there is.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._copy: tuple[_T, datetime] | None = None
        self._tried_at: datetime | None = None
        self._has_failed = False
        self._failure = ProviderUnavailable("document_unavailable")

    def get(self, fetch: Callable[[], tuple[_T, datetime]], now: datetime) -> _T:
        """The document, fetched if there is no fresh copy. Raises ProviderUnavailable if there is no good one.

        `fetch` returns it with the moment at which the provider said it: another process may have asked.
        """
        copy = self._copy
        if copy is not None and abs(now - copy[1]) < FRESH_FOR:
            return copy[0]
        alone = self._lock.acquire(blocking=copy is None and not self._has_failed)
        try:
            if alone:
                self._try(fetch, now)
        finally:
            if alone:
                self._lock.release()
        copy = self._copy
        if copy is not None and abs(now - copy[1]) <= STALE_FOR:
            return copy[0]
        # A new one each time: an exception that is raised again and again holds on to every traceback.
        failure = self._failure
        raise failure.__class__(failure.reason, detail=failure.detail, retry_after=failure.retry_after)

    def again(self, fetch: Callable[[], tuple[_T, datetime]], now: datetime) -> _T:
        """The document, fetched anew unless that was tried within the last minute. Another's fetch is waited for, but not long."""
        if self._lock.acquire(timeout=PATIENCE_SECONDS):
            try:
                self._try(fetch, now)
            finally:
                self._lock.release()
        return self.get(fetch, now)

    def _try(self, fetch: Callable[[], tuple[_T, datetime]], now: datetime) -> None:
        pause = FIRST_FETCH_AFTER if self._copy is None else REFETCH_AFTER
        if self._tried_at is not None and abs(now - self._tried_at) < pause:
            return
        self._tried_at = now
        try:
            self._copy = fetch()
            self._has_failed = False
        except ProviderUnavailable as error:
            self._has_failed = True
            wait = int((FIRST_FETCH_AFTER if self._copy is None else REFETCH_AFTER).total_seconds())
            self._failure = error.__class__(error.reason, detail=error.detail, retry_after=wait)


class Shelf(Protocol):
    """Where good copies lie for every process, and outlive it: of a provider that is away, the last one goes on."""

    def copy(self, url: str) -> tuple[bytes, datetime] | None:
        """The last good copy, and when it was fetched."""
        ...

    def keep(self, url: str, body: bytes, *, now: datetime) -> None:
        """A good copy: it has been read, and was in order."""
        ...


class ProviderDocuments:
    """Discovery documents and keys of all providers, cached in this process; safe to share between threads.

    `request` is the door to the network, also for the token and userinfo calls of `oidc`. `shelf`: copies that processes
    share. The limits hold for one process: two workers may fetch twice.
    """

    def __init__(self, request: Request = net.request, shelf: Shelf | None = None) -> None:
        self.request = request
        self._shelf = shelf
        self._lock = threading.Lock()
        self._discovery: dict[str, _Held[Discovery]] = {}
        self._keys: dict[tuple[str, str], _Held[tuple[VerificationKey, ...]]] = {}

    def discovery(self, issuer: str, *, now: datetime) -> Discovery:
        """The discovery document of `issuer`. Raises ProviderUnavailable when there is no copy younger than 7 days."""
        with self._lock:
            held = self._discovery.setdefault(issuer, _Held())
        return held.get(lambda: self._fetch_discovery(issuer, now, SHARED_FOR), now)

    def keys(self, issuer: str, *, now: datetime, again: bool = False) -> tuple[VerificationKey, ...]:
        """The usable keys of `issuer`; `again` asks the provider anew, at most once a minute.

        Raises ProviderUnavailable when there is no copy younger than 7 days.
        """
        url = self.discovery(issuer, now=now).jwks_uri
        with self._lock:
            held = self._keys.setdefault((issuer, url), _Held())
        if again:
            return held.again(lambda: self._good(url, parse_keys, now, REFETCH_AFTER), now)
        return held.get(lambda: self._good(url, parse_keys, now, SHARED_FOR), now)

    def refresh(self, issuer: str, *, now: datetime, older_than: timedelta) -> None:
        """Fetch what is older onto the shelf, ahead of the moment at which a sign-in would have to.

        Raises ProviderUnavailable where the provider does not say it now, also where a last good copy goes on.
        """
        discovery, _ = self._fetch_discovery(issuer, now, older_than, last_good=False)
        self._good(discovery.jwks_uri, parse_keys, now, older_than, last_good=False)

    def _fetch_discovery(
        self, issuer: str, now: datetime, shared_for: timedelta, *, last_good: bool = True
    ) -> tuple[Discovery, datetime]:
        url = discovery_url(issuer)
        return self._good(url, lambda found: parse_discovery(found, issuer), now, shared_for, last_good=last_good)

    def _good(
        self,
        url: str,
        read: Callable[[dict[str, Any]], _T],
        now: datetime,
        shared_for: timedelta,
        *,
        last_good: bool = True,
    ) -> tuple[_T, datetime]:
        """The document and when the provider said it: from the shelf where that was lately, else from the provider, else (with
        `last_good`) the last good copy. A broken answer never takes its place.
        """
        copy = self._shelf.copy(url) if self._shelf is not None else None
        if copy is not None and timedelta(0) <= now - copy[1] < shared_for:
            with suppress(ProviderUnavailable, ValueError):
                return read(strict_json(copy[0])), copy[1]
        try:
            answer = self.request("GET", url, headers={"Accept": "application/json"}, max_bytes=MAX_DOCUMENT_BYTES)
            found = read(_document(answer, url))
        except ProviderUnavailable:
            if last_good and copy is not None and timedelta(0) <= now - copy[1] <= STALE_FOR:
                with suppress(ProviderUnavailable, ValueError):
                    return read(strict_json(copy[0])), copy[1]
            raise
        if self._shelf is not None:
            self._shelf.keep(url, answer.body, now=now)
        return found, now


# --- Signature ---------------------------------------------------------------------------------------


def check_header(header: Mapping[str, Any], *, algorithms: frozenset[str], types: frozenset[str]) -> tuple[str, str]:
    """Return (alg, kid or "") of a JOSE header that keeps the rules; `types`: allowed `typ`, lower case, "" for none.

    Raises OidcRefused: alg_forbidden, header_forbidden, kid_invalid, typ_wrong.
    """
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms or algorithm not in ALGORITHMS:
        raise refused(Reason.ALG_FORBIDDEN, repr(algorithm)[:100])
    forbidden = _FORBIDDEN_HEADERS & header.keys()
    if forbidden:
        raise refused(Reason.HEADER_FORBIDDEN, ", ".join(sorted(forbidden)))
    kind = header.get("typ", "")
    if not isinstance(kind, str) or ("typ" in header and not kind) or kind.lower() not in types:
        # Token confusion: an access token (at+jwt) or a logout token is no ID token (RFC 8725 3.11).
        raise refused(Reason.TYP_WRONG, repr(kind)[:100])
    kid = header.get("kid", "")
    if "kid" in header and not (isinstance(kid, str) and _PLAIN_KID.fullmatch(kid) and _no_path(kid)):
        raise refused(Reason.KID_INVALID, repr(kid)[:100])
    return algorithm, kid


def _no_path(kid: str) -> bool:
    return ".." not in kid and ("/" not in kid or _BASE64_KID.fullmatch(kid) is not None)


def verify_signature(
    token: str, issuer: str, documents: ProviderDocuments, *, types: frozenset[str], now: datetime
) -> tuple[dict[str, Any], str]:
    """Return (claims, alg) of a compact JWS that `issuer` signed. The claims' values are not judged here.

    The header is judged whole before any key is looked up, so that a forged one causes no outbound call; one
    unknown key id can cause one fetch of the JWKS, at most once a minute.
    Raises OidcRefused (token_too_large, token_malformed, duplicate_header, alg_forbidden, header_forbidden,
    typ_wrong, kid_invalid, kid_unknown, kid_missing, key_unfit, signature_invalid, duplicate_claim) or ProviderUnavailable.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise refused(Reason.TOKEN_TOO_LARGE, f"{len(token)} characters")
    head, _, rest = token.partition(".")
    try:
        header = strict_json(urlsafe_b64decode(head.encode("ascii")))
        token.encode("ascii")
    except DuplicateName as error:
        raise refused(Reason.DUPLICATE_HEADER) from error
    except ValueError as error:
        raise refused(Reason.TOKEN_MALFORMED, "header") from error
    if rest.count(".") != 1:
        raise refused(Reason.TOKEN_MALFORMED, "not three parts")
    algorithms = documents.discovery(issuer, now=now).signing_algorithms
    algorithm, kid = check_header(header, algorithms=algorithms, types=types)
    payload = _verify(token, algorithm, _candidates(documents, issuer, algorithm, kid, now=now))
    if payload is None and not kid:
        # The provider names no keys; its one key may have rolled.
        keys = documents.keys(issuer, now=now, again=True)
        payload = _verify(token, algorithm, _fitting(keys, algorithm, kid))
    if payload is None:
        raise refused(Reason.SIGNATURE_INVALID)
    try:
        return strict_json(payload), algorithm
    except DuplicateName as error:
        raise refused(Reason.DUPLICATE_CLAIM) from error
    except ValueError as error:
        raise refused(Reason.TOKEN_MALFORMED, "claims") from error


def _candidates(
    documents: ProviderDocuments, issuer: str, algorithm: str, kid: str, *, now: datetime
) -> list[VerificationKey]:
    keys = documents.keys(issuer, now=now)
    if kid and all(key.kid != kid for key in keys):
        keys = documents.keys(issuer, now=now, again=True)
        if all(key.kid != kid for key in keys):
            raise refused(Reason.KID_UNKNOWN, kid)
    return _fitting(keys, algorithm, kid)


def _fitting(keys: Sequence[VerificationKey], algorithm: str, kid: str) -> list[VerificationKey]:
    """The keys that may have made the signature. Without a kid there must be exactly one (OIDC Core 10.1)."""
    fitting = [key for key in keys if key.fits(algorithm) and (not kid or key.kid == kid)]
    if not kid and len(fitting) != 1:
        raise refused(Reason.KID_MISSING, f"{len(fitting)} keys for {algorithm}")
    if not fitting:
        # RS -> ES or PS on a key that says it is for another algorithm (RFC 8725 3.1).
        raise refused(Reason.KEY_UNFIT, f"{kid} for {algorithm}")
    return fitting


def _verify(token: str, algorithm: str, keys: Sequence[VerificationKey]) -> bytes | None:
    for key in keys:
        try:
            return jws.deserialize_compact(token, key.key, registry=_REGISTRIES[algorithm]).payload
        except (JoseError, ValueError, TypeError):
            continue
    return None
