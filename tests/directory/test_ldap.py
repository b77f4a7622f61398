"""Reading a directory over LDAP: whole or not at all. A real slapd, and a double for what slapd will not do."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from uuid import UUID

import ldap3
import pytest

from federation.directory import ldap
from federation.mapping.rules import LdapAttributes, LdapDirectory
from tests.directory.ldap_double import Double, Entry, serving
from tests.peers.slapd import BASE, LIMITED, READER, READER_PASSWORD, Slapd, group_dn, person_dn

NOW = datetime(2026, 5, 3, 9, 0, tzinfo=UTC)


def config(slapd, **more) -> LdapDirectory:
    usual = {"urls": (slapd.tls_url,), "ca_certificate": slapd.authority.pem, "bind_dn": READER, "base_dn": BASE}
    return LdapDirectory(**{**usual, "password": "${TEST_LDAP_PASSWORD}", **more})


def read(slapd, *, password=READER_PASSWORD, alive=lambda: None, **more):
    return ldap.read(config(slapd, **more), password, now=NOW, alive=alive)


def refusal(slapd, **more) -> str:
    with pytest.raises(ldap.LdapError) as caught:
        read(slapd, **more)
    assert (caught.value.code, caught.value.status) == ("directory_unreadable", 503)
    assert READER_PASSWORD not in str(caught.value)
    return caught.value.reason


def groups(listing) -> dict[str, tuple[set[str], set[str]]]:
    """Name -> subjects of the people, names of the groups that are members."""
    return {
        group.name: (
            {listing.people[key].subject for key in group.people},
            {listing.groups[key].name for key in group.groups},
        )
        for group in listing.groups.values()
    }


# --- What is there ------------------------------------------------------------------------------------


def test_people_and_groups_and_groups_within_groups(slapd):
    alice, bob = slapd.people(["alice", "bob"])
    slapd.group("berlin", [alice])
    slapd.group("germany", [bob, group_dn("berlin")])
    found = read(slapd)
    (one,) = [person for person in found.people.values() if person.subject == "alice"]
    assert (one.name, one.email, one.active) == ("Alice", "alice@example.com", True)
    assert one.key == str(UUID(one.key))  # entryUUID: it stays when she is renamed
    assert groups(found) == {"berlin": ({"alice"}, set()), "germany": ({"bob"}, {"berlin"})}
    assert groups(read(slapd, nested=False))["germany"] == ({"bob"}, set())
    assert found.left_out == {}


def test_renamed_and_moved_somebody_keeps_their_key(slapd):
    slapd.group("engineering", [slapd.person("alice")])
    (before,) = read(slapd).people.values()
    slapd.ldif(f"dn: {person_dn('alice')}\nchangetype: modrdn\nnewrdn: uid=alice.liddell\ndeleteoldrdn: 1")
    slapd.members("engineering", [person_dn("alice.liddell")])
    (after,) = read(slapd).people.values()
    assert (before.key, before.subject, after.subject) == (after.key, "alice", "alice.liddell")
    assert before.digest != after.digest


def test_more_than_a_thousand_come_in_pages(slapd):
    slapd.group("everybody", slapd.people(f"p{number:04}" for number in range(1_203)))
    pages = []
    found = read(slapd, alive=lambda: pages.append(1))
    assert len(found.people) == 1_203
    assert len(groups(found)["everybody"][0]) == 1_203
    assert len(pages) == 3 + 1  # 500 a page, then the groups


def test_names_are_compared_as_ldap_compares_them(slapd):
    slapd.ldif(
        f"dn: cn=Liddell\\, Alice,ou=people,{BASE}\nobjectClass: inetOrgPerson\nuid: alice\ncn: Liddell, Alice\nsn: Liddell"
    )
    slapd.group("engineering", [f"CN=Liddell\\2C Alice , OU=People,{BASE.upper()}", f"uid=nobody,{BASE}"])
    found = read(slapd)
    assert groups(found)["engineering"][0] == {"alice"}
    assert found.left_out == {"members that are nobody here": 1}


def test_posix_groups_name_their_members_by_uid(slapd):
    slapd.people(["alice", "bob"])
    slapd.ldif(
        f"dn: {group_dn('unix')}\nobjectClass: posixGroup\ncn: unix\ngidNumber: 7\nmemberUid: alice\nmemberUid: no"
    )
    found = read(slapd, group_filter="(objectClass=posixGroup)", attributes=LdapAttributes(member="memberUid"))
    assert groups(found) == {"unix": ({"alice"}, set())}


def test_names_may_be_distinguished_names(slapd):
    slapd.group("engineering", [slapd.person("alice")])
    found = read(slapd, attributes=LdapAttributes(subject="dn", group="dn"))
    assert groups(found) == {group_dn("engineering"): ({person_dn("alice")}, set())}


def test_whoever_has_no_subject_or_several_is_left_out_aloud(slapd):
    slapd.people(["alice", "bob"])
    slapd.person("carol", "mail: second@example.com")
    slapd.change(person_dn("bob"), "delete: mail")
    found = read(slapd, attributes=LdapAttributes(subject="mail"))
    assert {person.subject for person in found.people.values()} == {"alice@example.com"}
    assert found.left_out == {"people without one subject": 2}


def test_two_groups_of_one_name_are_refused(slapd):
    """Whoever may make a group in some corner of the tree would else be in any."""
    alice = slapd.person("alice")
    slapd.group("admins", [alice])
    slapd.ldif(f"dn: cn=admins,ou=people,{BASE}\nobjectClass: groupOfNames\ncn: admins\nmember: {alice}")
    with pytest.raises(ldap.LdapError) as caught:
        read(slapd)
    assert (caught.value.reason, "'admins'" in caught.value.public_sentence) == ("group_name_twice", True)
    assert len(groups(read(slapd, attributes=LdapAttributes(group="dn")))) == 2


# --- Who is active ------------------------------------------------------------------------------------


def test_a_filter_of_their_own_says_who_is_inactive(slapd):
    slapd.people(["alice", "bob"])
    slapd.change(person_dn("bob"), "add: employeeType", "employeeType: left")
    found = read(slapd, disabled_filter="(employeeType=left)")
    assert {person.subject: person.active for person in found.people.values()} == {"alice": True, "bob": False}


def test_an_account_whose_shadow_has_expired_is_inactive(slapd):
    today = int(NOW.timestamp() // 86_400)
    for uid, day in (("gone", today), ("there", today + 1), ("never", -1)):
        slapd.person(uid, f"shadowExpire: {day}")
    assert {p.subject: p.active for p in read(slapd).people.values()} == {"gone": False, "there": True, "never": True}


@pytest.mark.parametrize(
    ("values", "active"),
    [
        ({}, True),
        ({"userAccountControl": "512"}, True),
        ({"userAccountControl": "514"}, False),
        ({"userAccountControl": "66050"}, False),
        ({"userAccountControl": "abc"}, False),  # what cannot be read is a no
        ({"userAccountControl": "512", "accountExpires": "0"}, True),
        ({"accountExpires": "9223372036854775807"}, True),
        ({"accountExpires": "133000000000000000"}, False),  # 2022
        ({"accountExpires": "160000000000000000"}, True),  # 2108
        ({"accountExpires": "9223372036854775806"}, True),  # as "never" by others
        ({"nsAccountLock": "TRUE"}, False),
        ({"nsAccountLock": "FALSE"}, True),
        ({"loginDisabled": "true"}, False),
        ({"pwdAccountLockedTime": "000001010000Z"}, False),
        ({"pwdAccountLockedTime": "20260503085900Z"}, True),  # somebody mistyped their password
    ],
)
def test_what_directories_say_of_an_account(values, active):
    assert ldap.is_active(lambda name: values.get(name, ""), NOW) is active


# --- Refused ------------------------------------------------------------------------------------------


def test_in_clear_only_the_loopback_with_starttls_encrypted(slapd):
    slapd.person("alice")
    assert len(read(slapd, urls=(slapd.url,), start_tls=True).people) == 1
    assert len(read(slapd, urls=(slapd.url,)).people) == 1
    assert refusal(slapd, urls=(slapd.url,), start_tls=True, ca_certificate="") == "certificate_refused"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"password": "wrong"}, "bind_refused"),
        ({"bind_dn": f"cn=nobody,{BASE}"}, "bind_refused"),
        ({"bind_dn": "CORP\\nobody"}, "bind_refused"),
        ({"bind_dn": ""}, "not_allowed"),
        ({"base_dn": "dc=elsewhere"}, "base_unknown"),
        ({"base_dn": f"ou=none,{BASE}"}, "base_unknown"),
        ({"user_filter": "(a=b=(c)"}, "filter_refused"),
        ({"urls": ("ldaps://127.0.0.1:9",)}, "unreachable"),
        ({"ca_certificate": ""}, "certificate_refused"),
    ],
)
def test_what_is_wrong_has_a_reason(slapd, more, reason):
    slapd.group("engineering", [slapd.person("alice")])
    assert refusal(slapd, **more) == reason


def test_a_limit_of_the_servers_is_no_short_answer(slapd):
    """ldap3 raises for neither limit: what came before it would pass for everybody there is."""
    slapd.people(f"p{number}" for number in range(150))
    assert refusal(slapd, bind_dn=LIMITED) == "limit_exceeded"


@pytest.mark.parametrize("start_tls", [False, True])
@pytest.mark.parametrize("fault", [{"expired": True}, {"name": "dc9.example.com"}])
def test_a_certificate_that_has_expired_or_is_anothers_stops_before_the_password(
    tmp_path, authority, monkeypatch, fault, start_tls
):
    sent = []
    monkeypatch.setattr("ldap3.Connection.bind", lambda *args, **more: sent.append(args))
    server = Slapd(tmp_path / "server", authority, **fault).start()
    try:
        reason = refusal(server, urls=(server.url if start_tls else server.tls_url,), start_tls=start_tls)
    finally:
        server.stop()
    assert (reason, sent) == ("certificate_refused", [])


def test_killed_between_two_pages(tmp_path, authority):
    server = Slapd(tmp_path / "server", authority).start().furnish()
    server.people(f"p{number:04}" for number in range(700))
    pages = []

    def alive():
        pages.append(1)
        if len(pages) == 2:
            server.kill()

    try:
        assert refusal(server, alive=alive) in {"answer_cut", "unreachable"}
    finally:
        server.stop()
    assert len(pages) == 2


def test_what_alive_raises_ends_the_reading(slapd):
    def alive():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        read(slapd, alive=alive)


# --- Active Directory, and answers that are broken ------------------------------------------------------


def sid(relative: int, domain: int = 21) -> bytes:
    return bytes([1, 2, 0, 0, 0, 0, 0, 5]) + domain.to_bytes(4, "little") + relative.to_bytes(4, "little")


def directory(**more) -> Double:
    """Five people, of whom three are in a group in which the fourth is by their primary group."""
    guid = UUID("12345678-1234-5678-1234-567812345678")
    people = [
        Entry(f"CN=p{n},DC=x", {"uid": [f"p{n}"], "objectGUID": [UUID(int=guid.int + n).bytes_le], "userAccountControl": ["512"],
                                "primaryGroupID": ["513" if n == 3 else "999"], "objectSid": [sid(1100 + n)]})
        for n in range(5)
    ]  # fmt: skip
    members = [f"CN=p{n},DC=x" for n in range(3)]
    group = Entry(
        "CN=groups,DC=x", {"cn": ["domain"], "member": members, "objectGUID": [guid.bytes_le], "objectSid": [sid(513)]}
    )
    return Double(people, [group], **more)


def read_double(double, **more):
    filters = {"user_filter": "(objectClass=user)", "group_filter": "(objectClass=group)"}
    wanted = {"urls": (double.url,), "base_dn": "DC=x", **filters, **more}
    return ldap.read(LdapDirectory(**wanted), "", now=NOW, alive=lambda: None)


def test_active_directory_ids_pages_ranges_and_primary_groups():
    double = directory(span=1)
    with serving(double):
        found = read_double(double)
    assert sorted(found.people) == [f"12345678-1234-5678-1234-56781234567{n}" for n in (8, 9, "a", "b", "c")]
    assert groups(found) == {"domain": ({"p0", "p1", "p2", "p3"}, set())}
    asked = [attributes for base, attributes in double.asked if base == "CN=groups,DC=x"]
    assert asked == [("member;range=1-*",), ("member;range=2-*",)]


def test_a_primary_group_is_one_of_the_persons_own_domain():
    """Attack: of a forest read as a whole, each domain has a group of the same number; in a child's, others rule."""
    double = directory()
    double.people[3].values["objectSid"] = [sid(1103, domain=22)]
    with serving(double):
        assert groups(read_double(double)) == {"domain": ({"p0", "p1", "p2"}, set())}


@pytest.mark.parametrize("what", ["people", "groups"])
def test_two_with_one_id_are_no_answer(what):
    """The second would take the place of the first, and have its groups."""
    double = directory()
    entries = getattr(double, what)
    entries.append(Entry(f"CN=other,OU={what},DC=x", {**entries[0].values, "uid": ["other"], "cn": ["other"]}))
    with serving(double), pytest.raises(ldap.LdapError) as caught:
        read_double(double)
    assert (caught.value.reason, "have the id" in caught.value.detail) == ("answer_broken", True)


def test_a_uid_that_two_have_makes_nobody_a_member():
    """Attack: people may often add a second uid to their own entry, and posix groups know their members by nothing else."""
    double = directory()
    double.groups[0].values |= {"memberUid": ["p0", "p1"]}
    double.people[4].values["uid"] = ["p4", "p0"]
    with serving(double):
        found = read_double(double, attributes=LdapAttributes(subject="objectGUID", member="memberUid"))
    (group,) = found.groups.values()
    assert {found.people[key].subject[-1] for key in group.people} == {"9", "b"}  # p1, and p3 by the primary group
    assert found.left_out == {"members that are nobody here": 1}


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("refers", "referred_elsewhere"),
        ("size limit", "limit_exceeded"),
        ("time limit", "limit_exceeded"),
        ("admin limit", "limit_exceeded"),
        ("busy", "unreachable"),
        ("garbage", "answer_broken"),
        ("cut", "answer_cut"),
        ("stuck range", "answer_broken"),
    ],
)
def test_half_an_answer_is_none(trouble, reason):
    with serving(directory(trouble=trouble, span=1)) as double, pytest.raises(ldap.LdapError) as caught:
        read_double(double)
    assert caught.value.reason == reason, caught.value.detail


@pytest.mark.parametrize("trouble", ["drips", "silent", "endless"])
def test_a_server_that_never_ends_is_hung_up_on(monkeypatch, trouble):
    monkeypatch.setattr(ldap, "READ_SECONDS", 0.5)
    begun = time.monotonic()
    with serving(directory(trouble=trouble)) as double, pytest.raises(ldap.LdapError) as caught:
        read_double(double)
    assert caught.value.reason == "too_slow"
    assert time.monotonic() - begun < 3


def seconds_to_read_a_group_of(members):
    double = directory()
    double.groups[0].values["member"] += [f"CN=somebody with a long name {n},OU=people,DC=x" for n in range(members)]
    with serving(double):
        begun = time.process_time()
        found = read_double(double)
        took = time.process_time() - begun
    assert found.left_out == {"members that are nobody here": members}
    return took


def test_a_large_entry_is_read_as_fast_as_it_comes():
    """A group of 200,000: ldap3 alone would put 10 MB together from pieces of 4 KB, each time copying all of it. Four times the
    members are four times the work, where copying would make it sixteen.
    """
    assert seconds_to_read_a_group_of(200_000) < 9 * seconds_to_read_a_group_of(50_000)


@pytest.mark.parametrize("trouble", ["bomb", "boast"])
def test_an_answer_of_200_mb_is_refused_before_it_is_there(monkeypatch, trouble):
    monkeypatch.setattr(ldap, "MOST_BYTES", 8 * 1024 * 1024)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    with serving(directory(trouble=trouble)) as double, pytest.raises(ldap.LdapError) as caught:
        read_double(double)
    assert (caught.value.reason, caught.value.detail) == ("too_large", "more than 8,388,608 bytes in one page")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    assert time.process_time() - begun < 3


@pytest.mark.parametrize("limit", ["MOST_ENTRIES", "MOST_MEMBERS"])
def test_more_than_memory_holds_is_refused(monkeypatch, limit):
    monkeypatch.setattr(ldap, limit, 2)
    with serving(directory()) as double, pytest.raises(ldap.LdapError) as caught:
        read_double(double)
    assert caught.value.reason == "too_large"


# --- A second server ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("trouble", "reason"), [("busy", "unreachable"), ("cut", "answer_cut")])
def test_where_one_server_fails_all_is_read_from_the_next(trouble, reason):
    with serving(directory(trouble=trouble)) as bad, serving(directory()) as good:
        found = read_double(bad, urls=("ldap://127.0.0.1:9", bad.url, good.url))
    assert len(found.people) == 5
    assert found.passed_over == ("127.0.0.1: unreachable", f"127.0.0.1: {reason}")


def test_where_every_server_fails_the_last_ones_reason_counts():
    with serving(directory(trouble="cut")) as bad, pytest.raises(ldap.LdapError) as caught:
        read_double(bad, urls=("ldap://127.0.0.1:9", bad.url))
    assert caught.value.reason == "answer_cut"
    assert "127.0.0.1: unreachable" in caught.value.detail


def test_a_refused_password_is_not_tried_at_the_next_server(slapd, tmp_path, authority):
    """Three wrong passwords at three domain controllers lock the account."""
    binds = []
    other = Slapd(tmp_path / "other", authority).start().furnish()
    try:
        with pytest.MonkeyPatch.context() as patched:
            real = ldap3.Connection.bind
            patched.setattr(ldap3.Connection, "bind", lambda *a, **m: binds.append(1) or real(*a, **m))
            assert refusal(slapd, password="wrong", urls=(slapd.tls_url, other.tls_url)) == "bind_refused"
    finally:
        other.stop()
    assert len(binds) == 1


def test_what_is_broken_is_not_shopped_for_elsewhere():
    with serving(directory(trouble="size limit")) as bad, serving(directory()) as good:
        with pytest.raises(ldap.LdapError) as caught:
            read_double(bad, urls=(bad.url, good.url))
        assert caught.value.reason == "limit_exceeded"
        assert good.asked == []


def test_a_referral_is_not_followed(slapd):
    """It would carry the bind password to a host that somebody else has named."""
    with serving(directory(trouble="refers")) as double, serving(directory()) as elsewhere:
        with pytest.raises(ldap.LdapError):
            read_double(double)
        assert elsewhere.asked == []


def test_nothing_of_it_needs_a_database():
    code = "import sys, federation.directory.ldap; assert 'django' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_moment_of_active_directory():
    assert ldap.filetime(datetime(1970, 1, 1, tzinfo=UTC)) == 116_444_736_000_000_000
    assert ldap.filetime(datetime(1970, 1, 2, tzinfo=UTC)) == 116_445_600_000_000_000
