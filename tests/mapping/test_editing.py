"""Editing a document's text at one place: comments and everybody else's lines stay as they are."""

import copy
import difflib

import pytest
import yaml

from demo import estate
from federation.mapping import editing
from federation.mapping.document import parse
from federation.mapping.writing import provider_entry
from tests import cast

BLOCK = """\
version: 1   # of the format
# Who vouches for people.
identity_providers:
  # The old one: ask Carol before touching it.
  - slug: corp
    name: Example Corp      # as the sign-in page says
    saml:
      metadata_url: "https://idp.example.com/metadata"
      # sign_requests: false
      max_validity: 5m
    claims: {subject: NameID, email: mail, groups: memberOf, attributes: {department: dept}}
    email_domains: [example.com]   # and no other

  - slug: entra
    name: Entra
    oidc:
      issuer: "https://login.example.com/v2.0"
      client_id: rolegate
      client_secret: "${ENTRA_SECRET}"
    enabled: false
# Accounts
accounts:
  - {id: "111122223333", name: shop-prod, tags: {environment: production}}
mapping: []
"""


def entry(text, slug):
    return next(one for one in yaml.safe_load(text)["identity_providers"] if one["slug"] == slug)


def changed_lines(before, after):
    return [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-"]


def test_one_value_is_one_line():
    wanted = copy.deepcopy(entry(BLOCK, "corp"))
    wanted["claims"]["groups"] = "groups"
    after = editing.put(BLOCK, "identity_providers", "slug", wanted)
    assert changed_lines(BLOCK, after) == [
        "-     claims: {subject: NameID, email: mail, groups: memberOf, attributes: {department: dept}}",
        "+     claims: {subject: NameID, email: mail, groups: groups, attributes: {department: dept}}",
    ]
    assert parse(after).identity_providers[0].claims.groups == "groups"


def test_keys_come_and_go_and_comments_stay():
    wanted = copy.deepcopy(entry(BLOCK, "corp"))
    wanted["saml"] = {"metadata_url": "https://idp.example.com/new", "encrypted_assertions": True}
    wanted["enabled"] = False
    del wanted["email_domains"]
    after = editing.put(BLOCK, "identity_providers", "slug", wanted)
    assert entry(after, "corp") == wanted
    assert "# and no other" not in after  # it was about what is gone
    for comment in (
        "# of the format",
        "# The old one: ask Carol",
        "# sign_requests: false",
        "# Accounts",
        "# as the sign-in",
    ):
        assert comment in after
    assert entry(after, "entra") == entry(BLOCK, "entra")
    assert parse(after)


def test_enabling_is_one_word():
    wanted = {**entry(BLOCK, "entra"), "enabled": True}
    after = editing.put(BLOCK, "identity_providers", "slug", wanted)
    assert changed_lines(BLOCK, after) == ["-     enabled: false", "+     enabled: true"]


def test_a_new_entry_is_written_behind_the_last_one():
    new = {
        "slug": "okta",
        "name": "Okta",
        "saml": {"metadata_url": "https://okta.example.com/metadata"},
        "enabled": False,
    }
    after = editing.put(BLOCK, "identity_providers", "slug", new)
    assert [one["slug"] for one in yaml.safe_load(after)["identity_providers"]] == ["corp", "entra", "okta"]
    assert entry(after, "okta") == new
    assert after.index("# Accounts") > after.index("okta")
    assert not [line for line in changed_lines(BLOCK, after) if line.startswith("-")]


def test_long_text_with_lines_survives():
    new = {"slug": "adfs", "saml": {"metadata_xml": "<a>\n  <b>one: two # three</b>\n</a>\n"}}
    after = editing.put(BLOCK, "identity_providers", "slug", new)
    assert entry(after, "adfs") == new
    new["saml"]["metadata_xml"] = "<a>\n<c/>\n</a>\n"
    again = editing.put(after, "identity_providers", "slug", new)
    assert entry(again, "adfs") == new
    assert entry(again, "corp") == entry(BLOCK, "corp")
    short = {"slug": "adfs", "saml": {"metadata_url": "https://adfs.example.com/metadata"}}
    assert entry(editing.put(again, "identity_providers", "slug", short), "adfs") == short


def test_taking_an_entry_out():
    after = editing.remove(BLOCK, "identity_providers", "slug", "corp")
    assert [one["slug"] for one in yaml.safe_load(after)["identity_providers"]] == ["entra"]
    assert "# Who vouches" in after
    with pytest.raises(editing.NotEditable, match="no entry"):
        editing.remove(BLOCK, "identity_providers", "slug", "okta")
    with pytest.raises(editing.NotEditable, match="cannot be taken out"):
        editing.remove(after, "identity_providers", "slug", "entra")


@pytest.mark.parametrize("text", [cast.DOCUMENT, estate.MAPPING.read_text()], ids=["cast", "demo"])
def test_documents_as_people_write_them(text):
    """Each provider unchanged, with each of its keys changed, and a new one beside it."""
    for held in yaml.safe_load(text)["identity_providers"]:
        assert editing.put(text, "identity_providers", "slug", held) == text
        for change in (
            {"name": 'No: "quoted" # text'},
            {"enabled": False},
            {"claims": {**held["claims"], "groups": "no", "mfa": ["otp"]}},
        ):
            after = editing.put(text, "identity_providers", "slug", {**held, **change})
            assert entry(after, held["slug"]) == {**held, **change}
            assert len(changed_lines(text, after)) <= 3
            parse(after)
    new = {"slug": "new", "oidc": {"issuer": "https://op.example.com", "client_id": "yes"}}
    assert entry(editing.put(text, "identity_providers", "slug", new), "new") == new


def test_a_rule_is_an_entry_like_any_other():
    text = estate.MAPPING.read_text()
    rule = next(one for one in yaml.safe_load(text)["mapping"] if one["name"] == "support-looks-at-production")
    rule["when"]["groups"] = ["support-tier-3"]
    after = editing.put(text, "mapping", "name", rule)
    assert len(changed_lines(text, after)) == 2


def test_json_and_documents_without_the_section():
    text = (
        '{"version": 1, "identity_providers": [{"slug": "corp", "saml": {"metadata_url": "https://a.example.com/m"}}]}'
    )
    wanted = {"slug": "corp", "name": "Corp", "saml": {"metadata_url": "https://a.example.com/n"}}
    after = editing.put(text, "identity_providers", "slug", wanted)
    assert entry(after, "corp") == wanted
    two = editing.put(
        after, "identity_providers", "slug", {"slug": "b", "saml": {"metadata_url": "https://b.example.com/n"}}
    )
    assert len(yaml.safe_load(two)["identity_providers"]) == 2
    assert parse(two)
    assert "okta" in editing.put(
        "version: 1\n", "identity_providers", "slug", {"slug": "okta", "saml": {"metadata_url": "https://a"}}
    )
    with pytest.raises(editing.NotEditable, match="JSON"):
        editing.put('{"version": 1}', "identity_providers", "slug", wanted)
    for broken in ("[", "- a", "identity_providers: 3\n", "version: 1\nidentity_providers: [a]\n"):
        with pytest.raises(editing.NotEditable):
            editing.put(broken, "identity_providers", "slug", wanted)


def test_an_entry_as_the_document_type_has_it():
    document = parse(BLOCK)
    for provider in document.identity_providers:
        after = editing.put(BLOCK, "identity_providers", "slug", provider_entry(provider))
        assert parse(after) == document
