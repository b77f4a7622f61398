"""How the gateway is registered in an account's IAM: its SAML provider, its OIDC provider. Reads, and changes nothing.

IAM API Reference, GetSAMLProvider (the metadata as it was uploaded) and GetOpenIDConnectProvider (URL without scheme, client
ids, thumbprints).
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from federation.aws.catalogue import CatalogueUnreadable, Reader
from federation.aws.partitions import Partition
from federation.aws.sts import Credentials

_ENTITY = re.compile(r"""entityID\s*=\s*["']([^"']*)["']""")
_CERTIFICATE = re.compile(r"<(?:[\w.-]+:)?X509Certificate[^>]*>([^<]*)<")
_NOT_THERE = frozenset({"NoSuchEntity", "NoSuchEntityException"})
_NOT_ALLOWED = frozenset({"AccessDenied", "AccessDeniedException"})


class RegistrationMissing(CatalogueUnreadable):
    """The account has no such provider."""

    sentence = "The gateway is not registered in the account's IAM: apply what `manage.py onboard ACCOUNT` writes."


class RegistrationHidden(CatalogueUnreadable):
    """The reader role may not look at it: it was made by an older template."""

    sentence = "The reader role may not look at identity providers: apply what `manage.py onboard ACCOUNT` writes now."


@dataclass(frozen=True, slots=True)
class RegisteredOidc:
    """An IAM OIDC provider. `url` without its scheme; `audiences`: its client ids."""

    url: str
    audiences: tuple[str, ...]
    thumbprints: tuple[str, ...]


def read_metadata(document: str) -> tuple[str, frozenset[str]]:
    """Entity id and certificates (base64, no white space) of metadata that the gateway itself once wrote.

    Looked for in the text, not parsed as XML: it is only compared, never believed, and no parser need meet what an account holds.
    """
    entity = _ENTITY.search(document)
    certificates = frozenset("".join(found.split()) for found in _CERTIFICATE.findall(document))
    return html.unescape(entity[1]) if entity else "", certificates


def saml_metadata(
    credentials: Credentials, provider_arn: str, *, partition: Partition, alive: Callable[[], None]
) -> str:
    """The metadata that the account has of the gateway. Raises RegistrationMissing, RegistrationHidden, CatalogueUnreadable."""
    with Reader("iam", credentials, partition, alive) as reader:
        answer = _asked(reader, "get_saml_provider", SAMLProviderArn=provider_arn)
    document = answer.get("SAMLMetadataDocument")
    if not isinstance(document, str):
        raise CatalogueUnreadable("get_saml_provider_broken")
    return document


def oidc_provider(
    credentials: Credentials, provider_arn: str, *, partition: Partition, alive: Callable[[], None]
) -> RegisteredOidc:
    """The OIDC provider as the account has it. Raises RegistrationMissing, RegistrationHidden, CatalogueUnreadable."""
    with Reader("iam", credentials, partition, alive) as reader:
        answer = _asked(reader, "get_open_id_connect_provider", OpenIDConnectProviderArn=provider_arn)
    url = answer.get("Url")
    if not isinstance(url, str):
        raise CatalogueUnreadable("get_open_id_connect_provider_broken")
    return RegisteredOidc(
        url.removeprefix("https://").removeprefix("http://"),
        tuple(str(one) for one in answer.get("ClientIDList") or ()),
        tuple(str(one) for one in answer.get("ThumbprintList") or ()),
    )


def _asked(reader: Reader, operation: str, **parameters: str) -> dict[str, Any]:
    try:
        return dict(reader.ask(operation, parameters))
    except CatalogueUnreadable as error:
        if error.aws_code in _NOT_THERE:
            raise RegistrationMissing(error.reason, aws_code=error.aws_code) from error
        if error.aws_code in _NOT_ALLOWED:
            raise RegistrationHidden(error.reason, aws_code=error.aws_code) from error
        raise
