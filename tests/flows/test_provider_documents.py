"""SAML metadata over real HTTP: kept an hour, the last good copy for seven days, and never an unsigned replacement."""

from datetime import timedelta

import pytest
import yaml
from lxml import etree

from federation import tasks
from federation.errors import ProviderUnavailable, UnknownProvider
from federation.flows import provider_documents, sign_in
from federation.models import AuditEvent, ProviderMetadata
from federation.signin.metadata import MetadataInvalid
from tests import saml_kit as kit
from tests.flows.hosts import metadata_host

NOW = kit.NOW
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def host():
    with metadata_host(kit.metadata_xml().encode()) as held:
        yield held


@pytest.fixture
def corp(host, publish):
    """Publish the provider with these options; returns a read of its metadata at an instant."""

    def configure(**saml):
        options = saml or {"metadata_url": host.url}
        publish(
            yaml.safe_dump(
                {
                    "version": 1,
                    "identity_providers": [
                        {
                            "slug": "corp",
                            "name": "Example Corp",
                            "saml": options,
                            "claims": {"subject": "NameID", "groups": "memberOf"},
                        }
                    ],
                }
            )
        )
        return lambda after=timedelta(0): provider_documents.saml_metadata(sign_in.provider_of("corp"), now=NOW + after)

    return configure


def signed(by=None, **options):
    how = kit.Signing(by=kit.pair(by) if by else kit.pair())
    return etree.tostring(kit.sign(kit.tree(kit.metadata_xml(**options)), how))


def reason(read, *at, error=(ProviderUnavailable, MetadataInvalid)):
    with pytest.raises(error) as caught:
        read(*at)
    return caught.value.reason


def bare(pem):
    return "".join(pem.strip().splitlines()[1:-1])


def forget_parsed():
    provider_documents._parsed.clear()


# --- How often it is fetched ------------------------------------------------------------------------


def test_it_is_fetched_once_an_hour(corp, host):
    read = corp()
    assert read().entity_id == kit.IDP
    assert read(HOUR - timedelta(seconds=1)).entity_id == kit.IDP
    assert host.asked == 1
    read(HOUR)
    assert host.asked == 2


def test_while_one_sign_in_asks_for_it_anew_the_others_go_on_with_the_copy(corp, host, monkeypatch):
    """Attack, or a bad morning: an address that hangs. All of a company would wait for it at once, every minute."""
    read = corp()
    read()
    asked, download = [], provider_documents._download

    def hangs(saml, now):
        asked.append(now)
        if len(asked) < 9:
            assert read(HOUR).entity_id == kit.IDP  # somebody else, meanwhile
            assert read(HOUR + timedelta(seconds=59)).entity_id == kit.IDP
        return download(saml, now)

    monkeypatch.setattr(provider_documents, "_download", hangs)
    host.status = 500
    assert read(HOUR).entity_id == kit.IDP
    assert len(asked) == 1
    read(HOUR + timedelta(minutes=1))
    assert len(asked) == 2


def test_where_there_is_no_copy_to_go_on_with_everybody_asks(corp, host):
    read = corp()
    read()
    host.status = 500
    assert reason(read, 7 * DAY) == reason(read, 7 * DAY) == "metadata_status"
    assert host.asked == 3


def test_another_process_uses_the_same_copy(corp, host):
    read = corp()
    read()
    forget_parsed()
    assert read().entity_id == kit.IDP
    assert host.asked == 1


def test_a_new_document_is_in_force_after_the_next_fetch(corp, host):
    read = corp()
    read()
    host.body = kit.metadata_xml(entity_id="https://idp.example.com/new").encode()
    assert read().entity_id == kit.IDP
    assert read(HOUR).entity_id == "https://idp.example.com/new"
    row = ProviderMetadata.objects.get()
    assert row.fetched_at == row.checked_at == NOW + HOUR


def test_old_and_new_certificate_stand_side_by_side_while_keys_roll(corp, host):
    read = corp()
    host.body = kit.metadata_xml(
        keys=(("signing", kit.pair().bare), ("", kit.pair("next").bare), ("encryption", kit.pair("crypt").bare))
    ).encode()
    assert [bare(pem) for pem in read().signing_certificates] == [kit.pair().bare, kit.pair("next").bare]


def test_whom_we_believe_is_in_the_audit_log_when_it_changes_and_only_then(corp, host):
    def changes():
        return list(AuditEvent.objects.filter(kind="provider.documents").order_by("seq").values_list("data", flat=True))

    read = corp()
    read()
    host.body = kit.metadata_xml(valid_until=kit.at(30 * 86_400)).encode()
    read(2 * HOUR)
    (first,) = changes()
    assert (first["certificates_before"], len(first["certificates"])) == ([], 1)
    host.body = kit.metadata_xml(keys=(("signing", kit.pair().bare), ("signing", kit.pair("next").bare))).encode()
    read(4 * HOUR)
    first, second = changes()
    assert second["certificates_before"] == first["certificates"]
    assert len(second["certificates"]) == 2
    assert (second["provider"], second["source"]) == ("corp", host.url)


def alerts(caplog):
    return [
        line.msg
        for line in caplog.records
        if line.levelname == "ERROR" and "provider_documents_changed" in line.getMessage()
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"keys": (("signing", kit.pair().bare), ("signing", kit.pair("next").bare))},
        {"keys": (("signing", kit.pair("next").bare),)},
        {"entity_id": "https://idp.example.com/new"},
    ],
    ids=["one more key", "another key", "another name"],
)
def test_somebody_new_whom_we_believe_is_told_aloud_at_once(corp, host, caplog, changed):
    """Attack: whoever may write at the address adds a key of their own, and signs in as anybody. Only TLS stands before that."""
    read = corp()
    read()
    host.body = kit.metadata_xml(valid_until=kit.at(30 * 86_400)).encode()
    read(HOUR)
    assert alerts(caplog) == []  # the first copy, and one that says the same
    host.body = kit.metadata_xml(**changed).encode()
    read(2 * HOUR)
    assert len(alerts(caplog)) == 1
    read(3 * HOUR)
    assert len(alerts(caplog)) == 1


def test_a_key_that_goes_is_no_alert_and_neither_is_what_is_signed_with_the_pinned_one(corp, host, caplog):
    read = corp()
    host.body = kit.metadata_xml(keys=(("signing", kit.pair().bare), ("signing", kit.pair("next").bare))).encode()
    read()
    host.body = kit.metadata_xml().encode()
    read(HOUR)
    host.body = signed()
    read = corp(metadata_url=host.url, metadata_certificate=kit.pair().certificate)
    read(2 * HOUR)
    host.body = signed(keys=(("signing", kit.pair().bare), ("signing", kit.pair("next").bare)))
    read(4 * HOUR)
    assert alerts(caplog) == []


# --- The last good copy -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "named"),
    [
        (500, None, "metadata_status"),
        (404, None, "metadata_status"),
        (302, None, "redirect_refused"),
        (200, b"<html>sign in to the proxy", "xml_invalid"),
        (200, b"", "xml_invalid"),
        (200, kit.metadata_xml(valid_until=kit.at(60)).encode(), "expired"),
        (200, kit.metadata_xml(keys=()).encode(), "certificate_missing"),
        (200, kit.metadata_xml().encode("utf-16"), "encoding_forbidden"),
    ],
)
def test_a_broken_replacement_never_takes_the_place_of_the_good_copy(corp, host, status, body, named):
    read = corp()
    good = read()
    host.status, host.body = status, host.body if body is None else body
    assert read(HOUR) == good
    row = ProviderMetadata.objects.get()
    assert row.last_error == named
    assert (row.fetched_at, row.checked_at) == (NOW, NOW + HOUR)
    assert read(7 * DAY - timedelta(seconds=1)) == good
    assert reason(read, 7 * DAY) == named


def test_a_provider_that_is_away_is_asked_once_a_minute(corp, host, caplog):
    read = corp()
    read()
    host.status = 500
    for seconds in (0, 1, 59):
        read(HOUR + timedelta(seconds=seconds))
    assert host.asked == 2
    told = [line for line in caplog.records if "provider_metadata_not_refreshed" in line.getMessage()]
    assert [line.levelname for line in told] == ["WARNING"]  # no alarm for a restart of theirs
    read(HOUR + timedelta(seconds=60))
    assert host.asked == 3


def test_it_comes_back_by_itself_and_the_error_goes(corp, host):
    read = corp()
    read()
    host.status = 500
    read(HOUR)
    host.status = 200
    read(2 * HOUR)
    row = ProviderMetadata.objects.get()
    assert (row.last_error, row.fetched_at) == ("", NOW + 2 * HOUR)


def test_without_a_good_copy_the_provider_is_closed(corp, host):
    read = corp()
    host.status = 503
    assert reason(read) == "metadata_status"
    host.status, host.body = 200, b"\xff\xfe\x00"
    assert reason(read)
    assert not ProviderMetadata.objects.exists()


def test_a_good_copy_under_another_address_is_none(corp, host):
    corp()()
    read = corp(metadata_url=host.url + "?other")
    host.status = 500
    assert reason(read) == "metadata_status"


# --- Validity ---------------------------------------------------------------------------------------


def test_the_good_copy_is_closed_when_its_own_end_has_come(corp, host):
    host.body = kit.metadata_xml(valid_until=kit.at(2 * 3600)).encode()
    read = corp()
    read()
    host.status = 500
    assert read(HOUR).entity_id == kit.IDP
    assert reason(read, 2 * HOUR) == "expired"
    forget_parsed()
    assert reason(read, 2 * HOUR) == "expired"


def test_metadata_that_ends_within_the_hour_is_fetched_again_at_its_end(corp, host):
    host.body = kit.metadata_xml(valid_until=kit.at(600)).encode()
    read = corp()
    read()
    host.body = kit.metadata_xml(valid_until=kit.at(1200)).encode()
    assert read(timedelta(seconds=600)).entity_id == kit.IDP
    assert host.asked == 2


# --- A pinned certificate ---------------------------------------------------------------------------


def test_a_pinned_certificate_wants_its_own_signature(corp, host):
    read = corp(metadata_url=host.url, metadata_certificate=kit.pair().certificate)
    assert reason(read) == "signature_missing"
    host.body = signed("mallory")
    assert reason(read) == "certificate_foreign"
    host.body = signed()
    assert read().entity_id == kit.IDP


@pytest.mark.parametrize("forged", ["unsigned", "mallory"])
def test_an_unsigned_or_foreign_replacement_of_pinned_metadata_is_never_taken(corp, host, forged, caplog):
    """Whoever can write the metadata can sign in as anybody."""
    host.body = signed()
    read = corp(metadata_url=host.url, metadata_certificate=kit.pair().certificate)
    good = read()
    evil = {"entity_id": "https://mallory.example", "keys": (("signing", kit.pair("mallory").bare),)}
    host.body = kit.metadata_xml(**evil).encode() if forged == "unsigned" else signed("mallory", **evil)
    assert read(HOUR) == good
    forget_parsed()
    assert read(HOUR) == good
    told = [line for line in caplog.records if "provider_metadata_not_refreshed" in line.getMessage()]
    assert {line.levelname for line in told} == {"ERROR"}
    assert ProviderMetadata.objects.get().last_error == (
        "signature_missing" if forged == "unsigned" else "certificate_foreign"
    )


def test_a_changed_pin_never_uses_the_old_copy(corp, host):
    corp()()  # fetched without a pin: anybody could have written it
    host.status = 500
    read = corp(metadata_url=host.url, metadata_certificate=kit.pair().certificate)
    assert reason(read) == "metadata_status"
    host.status, host.body = 200, signed()
    read()
    host.status = 500
    assert reason(corp(metadata_url=host.url, metadata_certificate=kit.pair("other").certificate)) == "metadata_status"


# --- In the document, in a file ---------------------------------------------------------------------


def test_metadata_in_the_document_needs_no_network(corp, host):
    read = corp(metadata_xml=kit.metadata_xml(entity_id="https://idp.example.com/inline"))
    assert read().entity_id == "https://idp.example.com/inline"
    assert host.asked == 0


def test_a_file_is_read_at_each_use(corp, tmp_path):
    file = tmp_path / "idp.xml"
    read = corp(metadata_file=str(file))
    assert reason(read) == "metadata_file_unreadable"
    file.write_text(kit.metadata_xml())
    assert read().entity_id == kit.IDP
    file.write_text(kit.metadata_xml(entity_id="https://idp.example.com/new"))
    assert read().entity_id == "https://idp.example.com/new"
    file.write_bytes(b"\xff\xfe\x00")
    assert reason(read) == "metadata_file_unreadable"
    file.write_text(kit.metadata_xml(valid_until=kit.at(60)))
    read()
    assert reason(read, timedelta(seconds=60)) == "expired"


def test_an_oidc_provider_has_no_saml_metadata(publish):
    publish()
    with pytest.raises(ProviderUnavailable) as caught:
        provider_documents.saml_metadata(sign_in.provider_of("entra"), now=NOW)
    assert caught.value.reason == "not_a_saml_provider"


def test_the_helpers_know_only_enabled_providers_of_their_kind(publish):
    publish()
    assert sign_in.saml_provider("corp").slug == "corp"
    with pytest.raises(UnknownProvider):
        sign_in.saml_provider("entra")
    with pytest.raises(UnknownProvider):
        sign_in.provider_of("nobody")


# --- Ahead of time ----------------------------------------------------------------------------------


def refresh(after=timedelta(0)):
    return provider_documents.refresh_all(now=NOW + after)


def test_refreshing_fetches_what_is_older_than_half_its_life(corp, host):
    corp()
    assert refresh() == {"corp": "fetched"}
    assert refresh(timedelta(minutes=29)) == {"corp": "fresh"}
    assert refresh(timedelta(minutes=30)) == {"corp": "fetched"}
    assert host.asked == 2


def test_refreshing_names_what_fails_and_goes_on(corp, host, publish):
    def row(slug, **saml):
        return {"slug": slug, "name": slug, "saml": saml, "claims": {"subject": "NameID"}}

    kinds = [
        row("closed", metadata_url="http://127.0.0.1:9/"),
        row("corp", metadata_url=host.url),
        {**row("disabled", metadata_url=host.url), "enabled": False},
        row("inline", metadata_xml=kit.metadata_xml()),
        {
            "slug": "entra",
            "name": "Entra",
            "oidc": {"issuer": "http://127.0.0.1:9", "client_id": "x", "client_secret": "${TEST_OIDC_SECRET}"},
            "claims": {"subject": "sub"},
        },
    ]
    publish(yaml.safe_dump({"version": 1, "identity_providers": kinds}))
    assert refresh() == {"closed": "unreachable", "corp": "fetched", "entra": "unreachable"}


def test_refreshing_says_when_only_the_old_copy_is_left(corp, host):
    corp()
    refresh()
    host.status = 500
    assert refresh(HOUR) == {"corp": "metadata_status"}
    assert ProviderMetadata.objects.get().last_error == "metadata_status"


def test_the_task_does_it(corp, host):
    corp()
    tasks.refresh_provider_documents()
    assert host.asked == 1
