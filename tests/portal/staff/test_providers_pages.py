"""The pages of identity providers: health, adding one, and a test sign-in that leaves the tester who they are."""

import re
import zlib
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from django.db import connection
from django.test.utils import CaptureQueriesContext

from federation.flows import provider_trials
from federation.models import AuditEvent, MappingDraft, MappingRevision, Person, ProviderMetadata, ProviderTrial
from federation.signin.oidc_reasons import Reason as OidcReason
from federation.signin.reasons import Reason as SamlReason
from portal.staff import provider_forms
from portal.staff.provider_words import REASONS, words_for
from tests import saml_kit as kit
from tests.portal.conftest import soup
from tests.portal.staff.conftest import DOCUMENT

ROOT = Path(__file__).resolve().parents[3]

ADD = "/staff/providers/add/?protocol=saml&slug=okta"
FIELDS = {
    "slug": "okta", "name": "Okta", "metadata_url": "", "metadata_xml": kit.metadata_xml(), "sign_requests": "on",
    "claims_subject": "NameID", "claims_email": "mail", "claims_name": "displayName", "claims_groups": "memberOf",
    "attributes": "department = dept", "email_domains": "okta.example.com, example.org",
}  # fmt: skip


def add(owner, **changes):
    page = owner.get(ADD)
    token = soup(page).find("input", {"name": "csrfmiddlewaretoken"})["value"]
    return owner.post(ADD, {"csrfmiddlewaretoken": token, **FIELDS, **changes})


def post(browser, page, action, **fields):
    token = soup(browser.get(page)).find("input", {"name": "csrfmiddlewaretoken"})["value"]
    return browser.post(action, {"csrfmiddlewaretoken": token, **fields})


def metadata_were_read(document, clock):
    ProviderMetadata.objects.create(
        provider="corp",
        source="http://127.0.0.1:9/metadata#",
        document=document,
        fetched_at=clock.now,
        checked_at=clock.now,
    )


def test_the_list_says_how_each_stands_in_five_statements(owner, clock):
    kept = kit.metadata_xml()
    metadata_were_read(kept, clock)
    owner.get("/staff/providers/")
    with CaptureQueriesContext(connection) as queries:
        page = owner.get("/staff/providers/")
    tables = [re.search(r'FROM "(\w+)"', query["sql"]) for query in queries]
    about = [
        found[1] for found in tables if found and found[1] in {"federation_providermetadata", "federation_auditevent"}
    ]
    assert sorted(about) == ["federation_auditevent", "federation_providermetadata"]
    rows = {row.find("th").a.text: row for row in soup(page).select("tbody tr")}
    assert "days left" in rows["Example Corp"].text
    assert "not read yet" in rows["Entra"].text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"last_error": "unreachable"}, "cannot be reached"),
        ({"age": timedelta(hours=4)}, "more than three hours"),
        ({"document": "<nothing/>"}, "no SAML metadata"),
    ],
)
def test_what_is_wrong_is_said_in_words(owner, clock, change, words):
    at = clock.now - change.pop("age", timedelta())
    row = {"document": kit.metadata_xml(), "fetched_at": at, "checked_at": at, **change}
    ProviderMetadata.objects.create(provider="corp", source="http://127.0.0.1:9/metadata#", **row)
    page = owner.page("/staff/providers/")
    assert words in page.select_one("tbody tr").text
    assert words in owner.page("/staff/providers/of/corp/").text


def test_our_values_are_there_before_anything_is_saved(owner, settings):
    page = owner.page(ADD)
    text = page.select_one(".ours").text
    for value in ("/saml/okta/metadata", "/saml/okta/acs", "/saml/okta/slo"):
        assert settings.ROLEGATE_URL + value in text
    other = owner.page("/staff/providers/add/?protocol=oidc&slug=okta").select_one(".ours").text
    assert settings.ROLEGATE_URL + "/oidc/okta/callback" in other
    assert not ProviderTrial.objects.exists()


@pytest.mark.parametrize("query", ["?protocol=saml&slug=", "?protocol=ldap&slug=okta", "?protocol=saml&slug=corp"])
def test_a_short_name_that_will_not_do(owner, query):
    answer = owner.get("/staff/providers/add/" + query)
    assert answer.status_code == 422
    assert soup(answer).title.text.startswith("Error:")


def test_faults_are_named_at_their_fields_and_nothing_is_kept(owner):
    answer = add(owner, metadata_xml="", metadata_url="http://okta.example.com/metadata", attributes="a b = x")
    page = soup(answer)
    assert answer.status_code == 422
    assert {link["href"] for link in page.select(".faults a")} == {"#metadata_url", "#attributes"}
    assert page.find(id="metadata_url")["aria-invalid"] == "true"
    assert page.find(id="metadata_url")["value"] == "http://okta.example.com/metadata"
    assert not ProviderTrial.objects.exists()


def test_a_test_sign_in_leaves_the_tester_who_they_are(owner, clock, settings, events):
    where = add(owner)["Location"]
    revisions, people = MappingRevision.objects.count(), Person.objects.count()
    before = owner.cookies[settings.SESSION_COOKIE_NAME].value
    leaving = post(owner, where, where + "test")
    assert leaving.status_code == 200
    url = soup(leaving).find("a", href=re.compile("SAMLRequest"))["href"]
    query = parse_qs(urlsplit(url).query)
    request_id = kit.tree(zlib.decompress(b64decode(query["SAMLRequest"][0]), -15)).get("ID")
    base = f"{settings.ROLEGATE_URL}/saml/okta"
    response = kit.signed(
        replace(
            kit.Draft(), in_response_to=request_id, response_in_response_to=request_id, destination=f"{base}/acs",
            recipient=f"{base}/acs", audiences=((f"{base}/metadata",),),
        )
    )  # fmt: skip
    # The provider's page posts: from another site, without our cookies.
    stranger = owner.__class__()
    answer = stranger.post("/saml/okta/acs", {"SAMLResponse": kit.post(response), "RelayState": query["RelayState"][0]})
    assert (answer.status_code, answer["Location"]) == (303, where + "#test")
    assert settings.SESSION_COOKIE_NAME not in answer.cookies
    page = owner.page(where)
    assert "The test succeeded" in page.text
    assert "engineers-read-production" in page.find(id="result").text
    assert "The test has proven exactly this entry" in page.text
    assert owner.cookies[settings.SESSION_COOKIE_NAME].value == before
    assert Person.objects.count() == people
    assert MappingRevision.objects.count() == revisions
    assert ("provider.tested", "ok", "") in events()
    live = post(owner, where, where + "sample", **{**FIELDS, "claims_groups": "mail"})
    text = soup(live).find(id="result").text
    assert "No rule fits" in text
    assert ProviderTrial.objects.get().text.count("memberOf") == 1  # nothing was kept
    faulty = post(owner, where, where + "sample", **{**FIELDS, "claims_subject": ""})
    assert faulty.status_code == 422


def test_a_test_that_cannot_begin_says_precisely_why(owner):
    where = add(owner, metadata_xml="", metadata_url="http://127.0.0.1:9/metadata")["Location"]
    answer = post(owner, where, where + "test")
    assert "cannot be reached" in soup(answer).text
    assert "unreachable" in soup(answer).text


def test_a_provider_in_force_is_tried_and_changed_from_its_page(owner):
    page = "/staff/providers/of/entra/"
    where = post(owner, page, page + "try")["Location"]
    tried = ProviderTrial.objects.get()
    assert tried.slug == "entra"
    form = owner.page(where)
    assert form.find(id="client_secret")["value"] == "${TEST_OIDC_SECRET}"
    answer = post(
        owner, where, where, slug="entra", name="Entra ID", issuer="http://127.0.0.1:9", client_id="rolegate",
        client_secret="${TEST_OIDC_SECRET}", scopes="openid groups", claims_subject="oid", claims_groups="groups",
        claims_email="email", claims_name="name",
    )  # fmt: skip
    assert answer["Location"] == where + "?saved=1"
    kept = provider_trials.entry_of(ProviderTrial.objects.get())
    assert (kept["name"], kept["claims"]["subject"]) == ("Entra ID", "oid")


def test_a_sealed_secret_is_not_shown_and_not_lost(owner):
    where = post(
        owner, "/staff/providers/add/?protocol=oidc&slug=okta", "/staff/providers/add/?protocol=oidc&slug=okta", name="Okta",
        issuer="http://127.0.0.1:9", client_id="rolegate", client_secret="in-clear-secret-0123", scopes="openid",
        claims_subject="sub", claims_groups="groups", claims_email="email", claims_name="name",
    )["Location"]  # fmt: skip
    page = owner.get(where)
    assert b"in-clear-secret-0123" not in page.content
    assert b"sealed:" in page.content  # in the entry to copy, which only this gateway can open
    assert soup(page).find(id="client_secret")["value"] == ""
    post(
        owner, where, where, slug="okta", name="Okta", issuer="http://127.0.0.1:9", client_id="rolegate", client_secret="",
        scopes="openid", claims_subject="sub", claims_groups="groups", claims_email="email", claims_name="name",
    )  # fmt: skip
    assert "sealed:" in ProviderTrial.objects.get().text


def test_reading_the_documents_by_hand(owner):
    page = "/staff/providers/of/corp/"
    answer = post(owner, page, page + "refresh")
    assert answer["Location"] == page + "?said=unreachable"
    assert "cannot be reached" in owner.page(answer["Location"]).find(role="alert").text


def test_a_trial_of_somebody_else_is_not_found(owner):
    where = add(owner)["Location"]
    somebody = Person.objects.create(provider="corp", subject="z", session_name="z-1")
    ProviderTrial.objects.update(person=somebody)
    assert owner.get(where).status_code == 404
    assert AuditEvent.objects.filter(kind="provider.tested").count() == 0


@pytest.mark.parametrize("protocol", ["saml", "oidc"])
def test_a_form_that_is_not_touched_changes_nothing(protocol):
    """What the form does not know stays, and what it shows comes back."""
    entries = {
        "saml": {
            "slug": "a", "name": "A", "saml": {"metadata_url": "https://a.example.com/m", "max_validity": "5m", "sign_requests": False},
            "claims": {"subject": "NameID", "email": "mail", "name": "displayName", "groups": "memberOf", "attributes": {"x": "y"}, "mfa": ["m"]},
            "email_domains": ["a.example.com"], "enabled": False,
        },
        "oidc": {
            "slug": "a", "name": "A",
            "oidc": {"issuer": "https://a.example.com", "client_id": "c", "client_secret": "sealed:v1.x", "scopes": ["openid"], "token_endpoint_auth_method": "client_secret_post"},
            "claims": {"subject": "sub", "email": "email", "name": "name", "groups": "groups"},
        },
    }  # fmt: skip
    entry = entries[protocol]
    values = provider_forms.values_of(entry)
    fields = {name: value for name, value in values.items() if isinstance(value, str)}
    fields |= {name: "on" for name in provider_forms.CHECKS if values[name]}
    assert provider_forms.entry_from(fields, entry) == entry


# Reasons of a forger's documents, and of what is broken in the gateway or in a provider's software: the log has the detail.
WITHOUT_WORDS = {
    "access_token_missing", "assertion_count", "assertion_misplaced", "at_hash_wrong", "attribute_forbidden", "azp_missing",
    "c_hash_wrong", "callback_iss_missing", "callback_iss_wrong", "canonicalization_forbidden", "cdata_forbidden", "code_missing",
    "comment_forbidden", "confirmation_method", "dtd_forbidden", "duplicate_claim", "duplicate_header", "duplicate_id",
    "element_forbidden", "element_missing", "element_repeated", "encoding_forbidden", "encrypted_id_forbidden",
    "encryption_reference", "extensions_forbidden", "header_forbidden", "id_invalid", "id_missing", "in_response_to_mismatch",
    "inflate_invalid", "inflate_too_large", "issuer_missing", "jti_malformed", "jti_missing", "key_unfit",
    "kid_invalid", "kid_missing", "library_refused", "logout_event_missing", "logout_nonce_present", "logout_target_missing",
    "name_id_qualifier", "nonce_unknown", "nonce_wrong", "not_base64", "not_on_or_after_missing", "object_forbidden",
    "parameter_missing", "parameter_repeated", "parameter_unknown", "pi_forbidden", "pkce_missing", "provider_disabled",
    "recipient_missing", "reference_count", "reference_uri", "response_misplaced", "schema_invalid", "signature_doubled",
    "signature_misplaced", "slo_not_offered", "state_missing", "state_wrong", "status_detail_forbidden", "text_misplaced",
    "time_malformed", "time_missing", "token_malformed", "token_response_malformed", "token_too_large", "too_deep", "too_large",
    "too_many_attributes", "too_many_elements", "too_many_namespaces", "transform_forbidden", "typ_wrong", "unsolicited",
    "userinfo_malformed", "userinfo_subject_mismatch", "verifiers_disagree", "version_wrong",
}  # fmt: skip


def test_every_reason_has_words_or_is_known_to_have_none():
    known = {reason.value for reason in (*SamlReason, *OidcReason)}
    assert known - REASONS.keys() == WITHOUT_WORDS


def test_no_words_are_for_a_reason_that_nobody_gives():
    """A reason that was renamed would leave its words behind, and be without any."""
    sources = [path for name in ("federation", "portal") for path in (ROOT / name).rglob("*.py")]
    code = "".join(path.read_text() for path in sources if path.name not in {"provider_words.py", "reason_words.py"})
    assert [reason for reason in REASONS if f'"{reason}"' not in code] == []
    assert str(words_for("never heard of"))
    assert "entity ID" in str(words_for("audience_wrong"))


def test_a_tested_provider_is_put_into_a_draft_and_an_untested_one_disabled(owner):
    where = add(owner)["Location"]
    page = owner.page(where)
    assert page.find(id="enabled").has_attr("disabled")  # no test yet
    assert "days left" in page.find(id="rolled").parent.text  # of the pasted metadata
    assert post(owner, where, where + "propose", enabled="on").status_code == 409
    answer = post(owner, where, where + "propose")
    draft = MappingDraft.objects.get()
    assert answer["Location"] == f"/staff/mapping/drafts/{draft.pk}/"
    assert "slug: okta" in draft.text
    assert "enabled: false" in draft.text


def test_disabling_ones_own_provider_is_warned_of_and_confirmed(owner):
    page = "/staff/providers/of/corp/"
    shown = owner.page(page)
    assert "you cannot use the gateway by it" in shown.text
    assert shown.find(id="confirmed").has_attr("required")
    assert post(owner, page, page + "switch", to="disabled").status_code == 409
    assert not MappingDraft.objects.exists()
    assert post(owner, page, page + "switch", to="disabled", confirmed="on").status_code == 302
    assert MappingDraft.objects.get().comment == "Identity provider corp disabled"
    assert "Read this" not in owner.page("/staff/providers/of/entra/").text


def test_a_fault_in_an_entry_that_is_being_tried_is_named_too(owner):
    where = add(owner)["Location"]
    answer = post(
        owner, where, where, **{**FIELDS, "metadata_xml": "", "metadata_url": "http://okta.example.com/metadata"}
    )
    assert answer.status_code == 422
    assert soup(answer).title.text.startswith("Error:")
    assert soup(answer).select_one(".faults a")["href"] == "#metadata_url"


def test_a_certificate_is_added_kept_and_dropped_on_the_page_of_the_entry(owner, clock):
    """Pasted metadata: the table says what is accepted now and what would be, and a fault is named at its field."""
    following = kit.pair("next")
    where = add(owner)["Location"]
    act = where + "certificates"
    rows = lambda: owner.page(where).select("section[aria-labelledby=rolled] tbody tr")
    assert [row.find("button")["name"] for row in rows()] == ["drop"]
    faulty = post(owner, where, act, certificate="no certificate")
    assert faulty.status_code == 422
    assert soup(faulty).title.text.startswith("Error:")
    assert "paste it as PEM" in soup(faulty).find(id="certificate-fault").text
    assert soup(faulty).find(id="certificate").text.strip() == "no certificate"
    answer = post(owner, where, act, certificate=following.certificate)
    assert answer["Location"] == where + "?rolled=1#rolled"
    assert "It counts once" in owner.page(where + "?rolled=1").select_one(".note.good").text
    assert len(rows()) == 2
    first = rows()[0].find("button")["value"]
    assert post(owner, where, act, drop=first).status_code == 302
    assert len(rows()) == 1
    last = post(owner, where, act, drop=rows()[0].find("button")["value"])
    assert "the last certificate" in soup(last).find(id="certificate-fault").text


def test_rolling_begins_at_the_provider_and_only_where_its_metadata_are_pasted(owner, publish, clock):
    assert (
        "Add or drop a certificate" not in owner.page("/staff/providers/of/corp/").text
    )  # by address: it rolls by itself
    metadata_were_read(kit.metadata_xml(), clock)  # so that pasting them signs nobody out
    text = yaml.safe_load(DOCUMENT)
    text["identity_providers"][0]["saml"] = {"metadata_xml": kit.metadata_xml()}
    publish(yaml.safe_dump(text), at=clock.now)
    page = "/staff/providers/of/corp/"
    assert "Add or drop a certificate" in owner.page(page).text
    where = post(owner, page, page + "try", part="certificates")["Location"]
    assert where.endswith("/#rolled")
    (row,) = owner.page(where.removesuffix("#rolled")).select("section[aria-labelledby=rolled] tbody tr")
    assert [cell.text.strip() for cell in row.find_all("td")[1:3]] == ["accepted", "accepted"]


def test_metadata_pasted_over_those_in_force_keep_the_old_certificate_and_say_so(owner, publish, clock):
    metadata_were_read(kit.metadata_xml(), clock)
    text = yaml.safe_load(DOCUMENT)
    text["identity_providers"][0]["saml"] = {"metadata_xml": kit.metadata_xml()}
    publish(yaml.safe_dump(text), at=clock.now)
    where = post(owner, "/staff/providers/of/corp/", "/staff/providers/of/corp/try")["Location"]
    xml = kit.metadata_xml(keys=(("signing", kit.pair("next").bare),))
    answer = post(owner, where, where, **{**FIELDS, "slug": "corp", "metadata_url": "", "metadata_xml": xml})
    assert answer["Location"] == where + "?saved=1&beside=1#rolled"
    page = owner.page(where + "?saved=1&beside=1")
    rows = page.select("section[aria-labelledby=rolled] tbody tr")
    said = [[cell.text.strip() for cell in row.find_all("td")[1:3]] for row in rows]
    assert sorted(said) == [["accepted", "accepted"], ["no", "accepted"]]
    assert "do not name 1 certificate that is in force" in " ".join(page.text.split())
    assert "is not in this entry" not in page.text  # nothing to be warned of
