"""The organization's accounts, whole or not at all: from moto, and from a double that pages, throttles and breaks."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import boto3
import pytest
from moto.server import ThreadedMotoServer

from federation.aws import catalogue
from federation.aws.catalogue import CatalogueUnreadable
from federation.aws.organizations import AccountRecord, list_accounts
from federation.aws.partitions import partition
from tests.aws import paging
from tests.aws.paging import Member, Reply

AWS = partition("aws")
MANAGEMENT = "999999999999"
UNITS = {
    "ou-root-11111111": ("Workloads", "r-root"),
    "ou-root-22222222": ("Prod", "ou-root-11111111"),
    "ou-root-33333333": ("Workloads/Prod", "r-root"),
    "ou-root-44444444": ("Sandbox", "r-root"),
}
PROD = "ou-root-22222222"


@pytest.fixture
def double(monkeypatch):
    double = paging.Double(units=dict(UNITS))
    double.members = [
        Member(MANAGEMENT, "management"),
        Member("111122223333", "shop-prod", PROD, tags={"environment": "production", "team": "shop"}),
        Member("222233334444", "closed", "ou-root-44444444", state="SUSPENDED"),
        Member("333344445555", "poser", "ou-root-33333333"),
    ]
    monkeypatch.setattr(catalogue, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda seconds: None))
    with paging.serving(double):
        monkeypatch.setenv("AWS_ENDPOINT_URL_ORGANIZATIONS", double.url)
        yield double


def read(**more):
    return list_accounts(paging.credentials(MANAGEMENT), partition=AWS, **more)


def refused(reason):
    with pytest.raises(CatalogueUnreadable) as caught:
        read()
    assert caught.value.reason == reason
    return caught.value


def test_accounts_come_with_their_unit_state_and_tags(double):
    prod, closed, poser, management = read()
    assert prod == AccountRecord(
        id="111122223333",
        name="shop-prod",
        email="111122223333@example.com",
        state="ACTIVE",
        organizational_unit="/Workloads/Prod",
        organizational_unit_id="r-root/ou-root-11111111/ou-root-22222222",
        tags={"environment": "production", "team": "shop"},
    )
    assert (closed.state, closed.organizational_unit) == ("SUSPENDED", "/Sandbox")
    assert (management.organizational_unit, management.organizational_unit_id) == ("/", "r-root")
    assert poser.organizational_unit == "/Workloads%2FProd"  # a unit's name must not pass for a place in the tree


def test_every_page_is_read_and_empty_ones_are_no_end(double):
    """Twenty a page, and the double puts an empty one in the middle, as Organizations is documented to send."""
    double.members += [Member(f"{n:012}", f"a{n}", PROD, tags={f"k{t}": "v" for t in range(45)}) for n in range(1, 66)]
    found = read()
    assert len(found) == 69
    assert double.asked("organizations.ListAccounts") == 5
    assert all(len(account.tags) == 45 for account in found if account.name.startswith("a"))
    assert {account.organizational_unit for account in found if account.name.startswith("a")} == {"/Workloads/Prod"}


def test_throttling_loses_nothing(double):
    double.alter = lambda call, reply: paging.throttled(call) if len(double.calls) % 2 else None
    assert len(read()) == 4


def spoil(double, operation, change, page=0):
    def alter(call, reply):
        if call.operation == f"organizations.{operation}" and call.page == page:
            return replace(reply, body=json.dumps(change(json.loads(reply.body))))
        return None

    double.alter = alter


def drop(*names):
    return lambda body: {key: value for key, value in body.items() if key not in names}


def first(wanted, **changes):
    def change(body):
        entry = {key: value for key, value in {**body[wanted][0], **changes}.items() if value is not None}
        return {**body, wanted: [entry, *body[wanted][1:]]}

    return change


@pytest.mark.parametrize(
    ("operation", "change", "reason"),
    [
        ("ListAccounts", drop("Accounts"), "list_accounts_page_broken"),
        ("ListAccounts", lambda body: {"Accounts": [None]}, "list_accounts_page_broken"),
        ("ListAccounts", lambda body: {"Accounts": "x"}, "list_accounts_unreadable"),
        ("ListAccounts", lambda body: [], "list_accounts_unreadable"),
        ("ListAccounts", first("Accounts", Id=None), "list_accounts_entry_broken"),
        ("ListAccounts", first("Accounts", Id="12345678901\u0662"), "list_accounts_entry_broken"),
        ("ListAccounts", first("Accounts", Id="1234"), "list_accounts_entry_broken"),
        ("ListAccounts", first("Accounts", State=None, Status=None), "list_accounts_entry_broken"),
        ("ListAccounts", lambda body: {**body, "NextToken": "page-0"}, "list_accounts_in_a_circle"),
        ("ListRoots", drop("Roots"), "list_roots_page_broken"),
        ("ListRoots", lambda body: {"Roots": []}, "account_not_placed"),
        ("ListRoots", first("Roots", Id=None), "list_roots_entry_broken"),
        ("ListAccountsForParent", lambda body: {"Accounts": []}, "account_not_placed"),
        ("ListAccountsForParent", first("Accounts", Id=None), "list_accounts_for_parent_entry_broken"),
        ("ListOrganizationalUnitsForParent", drop("OrganizationalUnits"), "list_organizational_units_for_parent_page_broken"),
        ("ListOrganizationalUnitsForParent", first("OrganizationalUnits", Name=None), "list_organizational_units_for_parent_entry_broken"),
        ("ListOrganizationalUnitsForParent", lambda body: {"OrganizationalUnits": [{"Id": "r-root", "Name": "again"}]}, "organization_too_deep"),
        ("ListTagsForResource", drop("Tags"), "list_tags_for_resource_page_broken"),
        ("ListTagsForResource", lambda body: {"Tags": [{"Value": "x"}]}, "list_tags_for_resource_entry_broken"),
    ],
)  # fmt: skip
def test_a_broken_answer_breaks_the_reading(double, operation, change, reason):
    spoil(double, operation, change)
    refused(reason)


@pytest.mark.parametrize("body", ["", "{", '{"Accounts": [{"Id": "1111222233', "<html/>", "null"])
def test_a_body_that_is_cut_off_or_no_json_is_no_empty_organization(double, body):
    double.alter = lambda call, reply: replace(reply, body=body) if call.operation.endswith(".ListAccounts") else None
    assert refused_reason() in {"list_accounts_page_broken", "list_accounts_unreadable"}


def refused_reason():
    with pytest.raises(CatalogueUnreadable) as caught:
        read()
    return caught.value.reason


def test_an_account_that_is_moved_meanwhile_is_found_the_second_time(double):
    """Seen in neither unit, it would be outside every rule about its unit, a deny included."""

    def alter(call, reply):
        hidden = call.operation.endswith("ListAccountsForParent") and call.fields["ParentId"] == PROD
        if hidden and double.asked("organizations.ListRoots") == 1:
            return replace(reply, body='{"Accounts": []}')
        return None

    double.alter = alter
    assert {account.id: account.organizational_unit for account in read()}["111122223333"] == "/Workloads/Prod"
    assert double.asked("organizations.ListRoots") == 2


def test_one_that_stays_lost_is_named(double):
    spoil(double, "ListAccountsForParent", lambda body: {"Accounts": []})
    assert "111122223333" in refused("account_not_placed").detail


def test_units_with_endless_names_are_refused_and_not_cut(double):
    double.units |= {f"ou-root-9999999{n}": ("n" * 128, f"ou-root-9999999{n - 1}" if n else "r-root") for n in range(9)}
    refused("unit_path_too_long")


def test_what_no_database_takes_is_replaced(double):
    double.members[0] = Member(MANAGEMENT, "a\0b\ud800c", tags={"k\0": "v\udfff"})
    management = next(account for account in read() if account.id == MANAGEMENT)
    assert (management.name, management.tags) == ("a\ufffdb?c", {"k\ufffd": "v?"})


def test_a_refusal_is_said_with_its_code_and_once(double):
    double.alter = lambda call, reply: Reply(
        json.dumps({"__type": "AccessDeniedException", "Message": "You don't have permissions"}), 400, "application/x-amz-json-1.1"
    )  # fmt: skip
    assert refused("list_accounts_refused").aws_code == "AccessDeniedException"
    assert len(double.calls) == 1


def test_whoever_asks_can_end_it(double):
    class Enough(Exception):
        pass

    def alive():
        if len(double.calls) == 6:
            raise Enough

    with pytest.raises(Enough):
        read(alive=alive)


def test_the_digest_is_of_everything_and_of_no_order():
    record = AccountRecord("1", "n", "e", "ACTIVE", "/U", "r/ou", {"a": "1", "b": "2"})
    assert replace(record, tags={"b": "2", "a": "1"}).digest == record.digest
    changes = {
        "id": "2",
        "name": "m",
        "email": "f",
        "state": "SUSPENDED",
        "organizational_unit": "/V",
        "organizational_unit_id": "r",
        "tags": {},
    }
    assert len({record.digest, *(replace(record, **{key: value}).digest for key, value in changes.items())}) == 8


def test_motos_organization_is_read_as_well(monkeypatch):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_ORGANIZATIONS", url)
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        client = boto3.client("organizations", endpoint_url=url, **keys)
        client.create_organization(FeatureSet="ALL")
        root = client.list_roots()["Roots"][0]["Id"]
        unit = client.create_organizational_unit(ParentId=root, Name="Workloads")["OrganizationalUnit"]["Id"]
        for number in range(25):
            made = client.create_account(
                Email=f"a{number}@example.com", AccountName=f"a{number:02}", Tags=[{"Key": "n", "Value": str(number)}]
            )
            account_id = made["CreateAccountStatus"]["AccountId"]
            if number % 2:
                client.move_account(AccountId=account_id, SourceParentId=root, DestinationParentId=unit)
        found = {account.name: account for account in list_accounts(
            replace(paging.credentials(MANAGEMENT), access_key_id="test", secret_access_key="test"), partition=AWS
        )}  # fmt: skip
        assert len(found) == 26  # and the management account
        assert (found["a07"].organizational_unit, found["a07"].organizational_unit_id) == (
            "/Workloads",
            f"{root}/{unit}",
        )
        assert (found["a08"].organizational_unit, found["a08"].tags, found["a08"].state) == ("/", {"n": "8"}, "ACTIVE")
    finally:
        server.stop()
