"""What a reader of another language sees in English: every page of a company with a past, looked at word by word.

A language's catalogue is put in place with each of its words in full-width letters. What is then left on a page in plain
Latin letters did not come from the catalogue: it is a name or another value that somebody outside has given, which `data` knows
by asking the database and the mapping, or it is a sentence that nobody can translate.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator

import yaml
from bs4 import BeautifulSoup, Comment, Doctype
from django.apps import apps
from django.db import models
from django.utils.translation import trans_real

from federation.models import MappingRevision

# What is written in the templates because it is called so in every language.
NAMES = (
    "Rolegate", "AWS", "IAM", "STS", "SAML", "SAML 2.0", "OpenID Connect", "OIDC", "SCIM", "LDAP", "CloudFormation", "Terraform",
    "JSON", "CSV", "UTC", "SHA-256", "bash, zsh", "fish", "PowerShell", "Enter", "Esc", "c", "o", "s", "U", "macOS", "Windows",
    "GET", "POST", "DEMO",
    # The names of AWS's services, of languages, and the word that finds them from any of them.
    "CloudWatch", "CloudTrail", "DynamoDB", "ECS", "EKS", "Lambda", "RDS", "Secrets Manager", "SNS", "SQS", "Systems Manager", "VPC", "EC2", "S3",
    "Language", "English", "Deutsch",
    # Partitions, durations and scopes, as the mapping and the command line write them.
    "aws", "aws-cn", "aws-us-gov", "aws-eusc", "metrics", "rolegate-reader", "ReadOnly", "saml RS256", "sp RS256", "token RS256", "token ES256",
    # What libyaml, RE2 and Python say: English, and what a search for the cause begins with.
    "did not find expected node content", "did not find expected key", "missing", "ConnectionError",
)  # fmt: skip
# Kept in English beside its pieces, for logs and programs: whoever shows it must show it translated.
_ENGLISH = {
    ("trustfinding", "sentence"),
    ("trustfinding", "pieces"),
    ("taskrun", "detail"),
    ("letter", "subject"),
    ("letter", "body"),
}
_HOLES = re.compile(r"(%\(\w+\)[sd]|%%|\{\{|\}\}|\{\w*\}|<[^>]+>|&\w+;)")
_WIDE = {ord(c): ord(c) + 0xFEE0 for c in map(chr, range(ord("A"), ord("z") + 1)) if c.isalpha()}
_ATTRIBUTES = ("aria-label", "title", "placeholder", "alt", "data-tabs", "data-tab", "data-announce")
# Programs' text: the mapping's own, policies, command lines.
_VERBATIM = ("script", "style", "pre", "code", "textarea", "template")


def wide(text: str) -> str:
    """`text` with its letters made wide; what is filled in, tags and entities stay."""
    return "".join(piece if number % 2 else piece.translate(_WIDE) for number, piece in enumerate(_HOLES.split(text)))


def widened(real: trans_real.DjangoTranslation) -> trans_real.DjangoTranslation:
    """The language with each entry wide, forms of the plural too."""
    made = copy.copy(real)
    catalogue = copy.copy(real._catalog)
    catalogue._catalogs = [{k: wide(v) if k else v for k, v in one.items()} for one in real._catalog._catalogs]
    made._catalog = catalogue
    return made


def data() -> frozenset[str]:
    """Everything that people or machines outside have written, as the database and the mapping in force hold it; small letters."""
    found: set[str] = set(NAMES)
    for model in apps.get_app_config("federation").get_models():
        for field in model._meta.concrete_fields:
            # What a column can only be one of has a word in each language.
            if (model._meta.model_name, field.name) in _ENGLISH or (field.choices and field.name != "kind"):
                continue
            if isinstance(field, models.JSONField | models.CharField | models.TextField):
                for value in map(json.dumps, model._default_manager.values_list(field.name, flat=True)):
                    found.update(_values(json.loads(value)))
    for number in MappingRevision.objects.order_by("-number").values_list("text", flat=True)[:1]:
        found.update(_values(yaml.safe_load(number)))
    return frozenset(value.casefold() for one in found for value in (one, *re.split(r"[:/]", one)))


def _values(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield str(key)
            yield from _values(one)
    elif isinstance(value, list):
        for one in value:
            yield from _values(one)
    elif value is not None:
        yield from (re.sub(r"\s+", " ", line).strip() for line in str(value)[:20_000].splitlines())


def shown(html: bytes) -> Iterator[tuple[str, str]]:
    """(where, text) of each piece of text that somebody sees or hears."""
    page = BeautifulSoup(html, "html.parser")
    for element in page.find_all(_VERBATIM):
        element.decompose()
    for text in page.find_all(string=True):
        if not isinstance(text, Comment | Doctype) and text.strip():
            yield f"<{text.parent.name}>", str(text)
    for element in page.find_all(True):
        for name, value in element.attrs.items():
            words = element.get("id") in {"words", "roles-words", "session"} and name.startswith("data-")
            if isinstance(value, str) and (name in _ATTRIBUTES or words):
                yield f"{element.name} {name}", value


def left(html: bytes, known: frozenset[str]) -> list[str]:
    """Each piece of text in plain letters that is none of `known`, with where it stands."""
    found = []
    for where, text in shown(html):
        for piece in re.split(
            r"[Ａ-Ｚａ-ｚ\u3000-\u30ff\u4e00-\u9fff]+", text
        ):  # what stands between words of the catalogue
            told = re.sub(r"\s+", " ", piece).strip()
            if re.search("[A-Za-z]", told) and not _is_known(told, known):
                found.append(f"{where}: {told}")
    return found


_EDGES = " .,:;()·–—−→+#?!/\"'“”„…[]äöüÄÖÜß"  # umlauts of the catalogue are not wide
# What has no space and is no word: addresses, moments, identifiers, codes; and entries of the mapping, as text.
_FORMS = re.compile(r"\S*[\d_.:/\[\]{}@=$]\S*|[\d\-: .,]*(?: ?UTC)?|SHA-256 \S+|\{id: .*\}")
_BETWEEN = (re.compile(r" – |[,;]? · | → | \| |; "), re.compile(r", |: | \(|\)|=| (?=\d{12})"))


def _is_known(text: str, known: frozenset[str], between: tuple[re.Pattern[str], ...] = _BETWEEN) -> bool:
    """A value, or several with nothing but punctuation between them."""
    if any(_is_value(one, known) for one in (text, text.strip(_EDGES))):
        return True
    return bool(between) and all(
        _is_known(part, known, between[1:])
        for part in between[0].split(text.strip(_EDGES) if len(between) == 1 else text)
    )


def _is_value(text: str, known: frozenset[str]) -> bool:
    return bool(_FORMS.fullmatch(text)) or text.casefold() in known or not re.search("[A-Za-z]", text)
