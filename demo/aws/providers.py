"""IAM's GetSAMLProvider and GetOpenIDConnectProvider, answered out of the registry that the strict STS believes: moto does not have it."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

from demo.aws.errors import AwsError
from demo.aws.registry import Registry, without_scheme

ACTIONS = frozenset({"GetSAMLProvider", "GetOpenIDConnectProvider"})


def answer(registry: Registry, call: Mapping[str, str], account: str) -> str:
    """The XML of the answer (IAM API Reference, both actions). Raises AwsError NoSuchEntity; another account's is nobody's."""
    action = call["Action"]
    arn = call.get("SAMLProviderArn" if action == "GetSAMLProvider" else "OpenIDConnectProviderArn", "")
    inside = _saml(registry, arn) if action == "GetSAMLProvider" else _oidc(registry, arn)
    if inside is None or arn.split(":")[4:5] != [account]:
        raise AwsError("NoSuchEntity", f"There is no provider {arn}", "no_such_provider")
    return (
        f'<{action}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><{action}Result>{inside}</{action}Result>'
        f"<ResponseMetadata><RequestId>local</RequestId></ResponseMetadata></{action}Response>"
    )


def _saml(registry: Registry, arn: str) -> str | None:
    found = registry.saml.get(arn)
    return None if found is None else f"<SAMLMetadataDocument>{escape(found.document)}</SAMLMetadataDocument>"


def _oidc(registry: Registry, arn: str) -> str | None:
    found = registry.oidc.get(arn)
    if found is None:
        return None
    audiences = "".join(f"<member>{escape(one)}</member>" for one in sorted(found.audiences))
    return f"<Url>{escape(without_scheme(found.url))}</Url><ClientIDList>{audiences}</ClientIDList><ThumbprintList/>"
