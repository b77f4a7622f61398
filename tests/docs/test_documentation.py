"""The documentation says what the code does: no code, event, setting or command is missing, and none is made up."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from urllib.parse import unquote

import pytest
from authlib.oauth2 import OAuth2Error
from django.core.management import get_commands, load_command_class
from django.test import Client
from django.urls import resolve

import federation
import portal
from config.env import Environment
from config.settings.base import read_environment
from federation.audit.events import Kind
from federation.errors import RolegateError
from federation.flows.client_tokens import GrantRefused
from federation.mapping.document import DocumentError, parse
from federation.mapping.engine import VerdictCode, compile_mapping
from federation.mapping.rules import OIDC_CLAIMS, SAML_CLAIMS
from tests import cast
from tests.oauth import pairing

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *sorted(DOCS.rglob("*.md"))]
OURS = [path for name in ("config", "federation", "portal") for path in sorted((ROOT / name).rglob("*.py"))]
TREES = {path: ast.parse(path.read_text()) for path in OURS if "migrations" not in path.parts}


# --- Reading the documentation ------------------------------------------------------------------------


def read(name):
    return (DOCS / name).read_text()


def in_backticks(text):
    return re.findall(r"`([^`]+)`", text)


def tables(text):
    """Each table as (heading above it, column names, rows of cells)."""
    heading, lines = "", []
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if line.startswith("|"):
            lines.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif lines:
            yield heading, lines[0], lines[2:]
            lines = []


def first_column(text, column, *, under=None):
    """Everything in backticks in the first cells of the tables whose first column has this name, as a list."""
    return [
        name
        for heading, head, rows in tables(text)
        if head[0] == column and under in (None, heading)
        for row in rows
        for name in in_backticks(row[0])
    ]


def statuses(column):
    return {
        in_backticks(row[0])[0]: {int(number) for number in re.findall(r"\d+", row[1])}
        for _, head, rows in tables(read("errors.md"))
        if head[:2] == [column, "HTTP"]
        for row in rows
    }


def fences(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)


# --- Reading the code ---------------------------------------------------------------------------------


def everything_imported():
    for package in (federation, portal):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if ".migrations" not in module.name:
                importlib.import_module(module.name)


def kinds_of(root):
    """A class and all that derive from it, of the product alone."""
    for kind in [root, *root.__subclasses__()]:
        if kind.__module__.startswith(("federation.", "portal.")):
            yield kind
        if kind is not root:
            yield from kinds_of(kind)


def errors():
    everything_imported()
    return set(kinds_of(RolegateError))


def constants(*paths):
    """Every text constant in these files."""
    return {
        node.value
        for path in paths
        for node in ast.walk(TREES[ROOT / path])
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def calls(name):
    """Every call of a function or method of this name, as (file, node)."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called == name:
                    yield path, node


# --- docs/errors.md -----------------------------------------------------------------------------------


def test_every_error_code_is_documented_with_its_status_and_no_other():
    in_code: dict[str, set[int]] = {}
    for kind in errors():
        if not issubclass(kind, GrantRefused):
            in_code.setdefault(kind.code, set()).add(kind.status)
    assert statuses("code") == in_code


def test_no_code_is_listed_twice():
    listed = [
        in_backticks(row[0])[0] for _, head, rows in tables(read("errors.md")) if head[1] == "HTTP" for row in rows
    ]
    oauth = [name for name in listed if listed.count(name) > 1]
    assert set(oauth) == {"access_denied"}  # RFC 6749 has the word too
    assert listed.count("access_denied") == 2


# RFC 6749 sections 4.1.2.1 and 5.2, RFC 8628 section 3.5, RFC 6750 section 3.1.
REGISTERED = {
    "access_denied",
    "authorization_pending",
    "expired_token",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "server_error",
    "slow_down",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
}


def test_every_oauth_error_is_documented_and_no_other():
    from portal.oauth import server, views

    raised = {
        thing.error
        for module in (server, views)
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, OAuth2Error) and thing.error
    }
    errors()
    flows = {kind.oauth_error for kind in kinds_of(GrantRefused)}
    written = constants("portal/oauth/server.py", "portal/oauth/views.py", "portal/views/oidc.py") & REGISTERED
    assert statuses("error").keys() == raised | flows | written


PAIR = {"client_id": "rolegate-cli"}


@pytest.mark.parametrize(
    ("path", "fields", "error", "status"),
    [
        ("token", PAIR | {"grant_type": "authorization_code"}, "invalid_request", 400),
        ("token", {"client_id": "x", "grant_type": "refresh_token"}, "invalid_client", 400),
        ("token", PAIR | {"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant", 400),
        ("device_authorization", PAIR | {"scope": "everything"}, "invalid_scope", 400),
        ("token", PAIR | {"grant_type": "password"}, "unsupported_grant_type", 400),
    ],
)
def test_the_oauth_endpoints_answer_so(db, path, fields, error, status):
    answer = Client().post(f"/oauth/{path}", fields)
    assert (answer.json()["error"], answer.status_code) == (error, status)
    assert status in statuses("error")[error]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"decision": "deny"}, "access_denied"),
    ],
)
def test_the_authorization_endpoint_sends_them_back(db, changes, error):
    client = Client()
    client.force_login(pairing.person())
    answer = client.post("/oauth/authorize", pairing.authorization_request(**changes))
    assert (pairing.answer_of(answer)["error"], answer.status_code) == (error, 302)
    assert pairing.answer_of(answer)["iss"] == "http://localhost:8000"
    assert 302 in statuses("error")[error]


def test_a_device_that_waits_or_hurries_is_told_so(db):
    asked = Client().post("/oauth/device_authorization", PAIR).json()
    fields = PAIR | {"grant_type": pairing.DEVICE_CODE, "device_code": asked["device_code"]}
    answers = [Client().post("/oauth/token", fields) for _ in range(2)]
    assert [answer.json()["error"] for answer in answers] == ["authorization_pending", "slow_down"]
    assert all(answer.status_code in statuses("error")[answer.json()["error"]] for answer in answers)


def test_every_reason_for_a_denied_role_is_documented():
    written = {
        node.args[0].value
        for _, node in calls("AccessDenied")
        if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    }
    assert set(first_column(read("errors.md"), "code", under="Why access was denied")) == written | set(
        get_args(VerdictCode)
    )


def test_every_reason_for_not_being_ready_is_documented(db, monkeypatch):
    from portal import health

    monkeypatch.setattr(health, "migrations", health._Migrations())
    without_keys = set(health.reasons_not_ready())
    assert without_keys == {"no_active_saml_key", "no_active_token_key"}
    written = {
        word
        for node in ast.walk(TREES[ROOT / "portal/health.py"])
        if isinstance(node, ast.Return) and isinstance(node.value, ast.List)
        for item in node.value.elts
        if isinstance(item, ast.Constant)
        for word in [item.value]
    }
    assert set(first_column(read("errors.md"), "reason")) == without_keys | written


# --- docs/audit.md ------------------------------------------------------------------------------------


def test_every_kind_of_event_is_documented_and_no_other():
    listed = first_column(read("audit.md"), "kind")
    assert sorted(listed) == sorted(kind.value for kind in Kind)


def test_every_kind_of_event_is_recorded_somewhere():
    used = {
        node.attr
        for path, tree in TREES.items()
        if path.name != "events.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Kind"
    }
    assert used == set(Kind.__members__)


def test_what_is_documented_as_data_is_recorded():
    named = {
        keyword.arg
        for name in ("record", "record_or_log", "recorded", "record_refusal", "record_handed_out", "refused", "write")
        for _, node in calls(name)
        for keyword in node.keywords
    }
    handed_on = constants(
        "federation/flows/minting.py", "federation/flows/provider_documents.py", "federation/flows/refusals.py"
    )
    columns = {"reason"}
    for _, head, rows in tables(read("audit.md")):
        if head[0] == "kind":
            for row in rows:
                values = re.sub(r"\([^)]*\)", "", row[2])
                assert set(in_backticks(values)) <= named | handed_on | columns, row[0]


# --- docs/settings.md ---------------------------------------------------------------------------------


def variables():
    environment = Environment({})
    read_environment(environment, https_only=True)
    read_directly = {
        node.args[0].value
        for _, node in calls("get")
        if isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "os.environ"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    services = {
        node.args[0].value
        for path, node in [*calls("client"), *calls("Reader")]
        if "aws" in path.parts and node.args and isinstance(node.args[0], ast.Constant)
    }
    return environment.known | read_directly | {f"AWS_ENDPOINT_URL_{service.upper()}" for service in services}


def test_every_variable_is_documented_and_no_other():
    assert set(first_column(read("settings.md"), "variable")) == variables()


def test_the_documented_bounds_and_defaults_are_the_codes():
    rows = {
        in_backticks(row[0])[0]: row
        for _, head, all_rows in tables(read("settings.md"))
        if head[0] == "variable"
        for row in all_rows
    }
    seen = 0
    for kind in ("duration", "number", "choice"):
        for path, node in calls(kind):
            if path.parent.name == "settings" and isinstance(node.args[0], ast.Constant):
                name, default = node.args[0].value, str(node.args[1].value)
                seen += 1
                assert in_backticks(rows[name][2]) == [default], name
                for keyword in node.keywords:
                    assert re.search(rf"\b{keyword.value.value}\b", rows[name][1]), (name, keyword.arg)
                written_out = kind == "choice" and isinstance(node.args[2], ast.Tuple)
                for choice in node.args[2].elts if written_out else ():
                    assert choice.value in in_backticks(rows[name][1]), (name, choice.value)
    assert seen >= 8


def test_every_system_check_is_documented_and_no_other():
    written = {text for text in constants("federation/checks.py") if re.fullmatch(r"rolegate\.[EWI]\d{3}", text)}
    assert set(first_column(read("settings.md"), "id")) == written


# --- docs/doctor.md -----------------------------------------------------------------------------------


def findings():
    """What the doctor's checks may find, as (state, code)."""
    for path, tree in TREES.items():
        if path.is_relative_to(ROOT / "federation/flows/doctor"):
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                    said = {name.id for name in ast.walk(node.func) if isinstance(name, ast.Name)}
                    yield from ((state, node.args[0].value) for state in said & {"problem", "warning"})


def test_everything_that_the_doctor_may_find_is_documented_and_nothing_else():
    written = set(findings())
    assert len(written) > 40
    listed = {(state, code) for state in ("problem", "warning") for code in first_column(read("doctor.md"), state)}
    assert listed == written


def test_every_finding_is_listed_under_its_check():
    from federation.flows.doctor import CHECKS

    named = {cell[1] for _, head, rows in tables(read("doctor.md")) if head[1] == "of" for cell in rows}
    assert named == {check.name for check in CHECKS} - {"tokens"} | {"any", "tokens"}


# --- Metrics -------------------------------------------------------------------------------------------


def test_every_metric_is_documented_with_its_labels_and_no_other(db):
    from federation.flows.measure import metrics

    measured = {
        metric.name + ("_total" if metric.kind == "counter" else ""): set(metric.labels)
        for metric in metrics(now=datetime.now(UTC))
    }
    listed = {
        in_backticks(row[0])[0]: set(in_backticks(row[1]))
        for _, head, rows in tables(read("runbook.md"))
        if head[0] == "metric"
        for row in rows
    }
    assert listed == measured


# --- Commands, paths, links ---------------------------------------------------------------------------


def command_lines():
    """Every `manage.py …` in the documentation, as (page, arguments), without what follows the command."""
    for page in PAGES:
        text = page.read_text()
        lines = [
            line
            for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
            for line in block.splitlines()
        ]
        lines += in_backticks(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
        for line in lines:
            for found in re.findall(r"manage\.py ([^#&<>]+)", line):
                yield page.name, found.strip().rstrip(" -")


LINES = sorted(set(command_lines()))
OURS_BY_NAME = {name: app for name, app in get_commands().items() if app in {"federation", "portal"}}


def test_every_command_is_in_the_readme():
    assert {line.split()[0] for page, line in LINES if page == "README.md"} >= OURS_BY_NAME.keys()


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{page}: {line}" for page, line in LINES])
def test_every_command_that_is_documented_can_be_typed(page, line):
    name = line.split()[0]
    app = get_commands().get(name)
    assert app, f"{page}: there is no command {name}"
    command = load_command_class(app, name) if isinstance(app, str) else app
    # Once without what is optional, once with it.
    for typed in (re.sub(r"\[[^]]*\]", "", line), re.sub(r"[\[\]]", "", line)):
        words = [word.split("|")[0] for word in shlex.split(typed)[1:]]
        if words and (name in OURS_BY_NAME):
            words = [{"PURPOSE": "saml", "N": "1", "DIR": "/tmp"}.get(word, word) for word in words]
            command.create_parser("manage.py", name).parse_args(words)


def slug(heading):
    """The anchor that is made of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def links():
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not re.match(r"[a-z]+:", target):
                yield pytest.param(page, unquote(target), id=f"{page.relative_to(ROOT)}: {target}")


@pytest.mark.parametrize(("page", "target"), list(links()))
def test_every_link_leads_somewhere(page, target):
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    assert path.exists()
    if anchor:
        assert anchor in {slug(line.lstrip("# ")) for line in path.read_text().splitlines() if line.startswith("#")}


def test_every_page_can_be_reached_from_the_readme():
    text = (ROOT / "README.md").read_text()
    linked = {(ROOT / target).resolve() for target in re.findall(r"\]\((docs/[^)#]+)", text)}
    reached = {page for page in PAGES if page.resolve() in linked or page.parent.resolve() in linked}
    assert set(DOCS.rglob("*.md")) == {page for page in reached if DOCS in page.parents}


def files_and_modules():
    for page in PAGES:
        text = page.read_text()
        for span in in_backticks(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)):
            if re.fullmatch(r"(?:config|federation|portal|tests|demo|bench|docs|docker|\.ci)/[\w./-]*", span):
                yield page.name, span
        for module in re.findall(r"python -m ((?:bench|demo)[\w.]*)", text):
            yield page.name, module.replace(".", "/")


@pytest.mark.parametrize(("page", "name"), sorted(set(files_and_modules())))
def test_every_file_that_is_named_is_there(page, name):
    path = ROOT / name
    assert path.exists() or path.with_suffix(".py").exists() or name == "docker/.env"


def test_every_make_target_that_is_named_is_there():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE)}
    assert named <= targets
    assert {"demo", "test", "check"} <= named


def test_every_address_in_the_readme_is_served():
    text = (ROOT / "README.md").read_text() + read("runbook.md") + read("errors.md")
    found = set(
        re.findall(r"(?:`|gate\.example\.com)(/(?:\.well-known|api|issuer|oauth|healthz|readyz)[\w./-]*)", text)
    )
    assert len(found) >= 6
    for path in found:
        assert resolve(path).url_name != "api-not-found", path


# --- The mapping document -----------------------------------------------------------------------------

EXAMPLES = [
    pytest.param(block, id=f"{page.name} {number}")
    for page in (ROOT / "README.md", DOCS / "mapping.md")
    for number, block in enumerate(fences(page, "yaml"), 1)
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_mapping_example_is_accepted(example):
    document = parse(example)
    compile_mapping(document)
    assert document.rules


def decisions():
    for _, head, rows in tables(read("mapping.md")):
        if head == ["groups", "second factor", "role", "answer"]:
            for row in rows:
                groups, role, answer = in_backticks(row[0]), *in_backticks(row[2]), *in_backticks(row[3])
                yield pytest.param(groups, row[1] == "yes", role, answer, id=f"{'+'.join(groups)} {role} {answer}")


@pytest.mark.parametrize(("groups", "mfa", "role", "answer"), list(decisions()))
def test_the_example_decides_as_the_table_says(groups, mfa, role, answer):
    mapping = compile_mapping(parse(fences(DOCS / "mapping.md", "yaml")[0]))
    person = cast.identity(groups=tuple(groups), mfa=mfa)
    assert mapping.verdict(person, role, datetime(2026, 12, 31, 23, 59, tzinfo=UTC)).code == answer


def test_until_is_the_first_moment_at_which_the_example_no_longer_counts():
    mapping = compile_mapping(parse(fences(DOCS / "mapping.md", "yaml")[0]))
    person = cast.identity(groups=("platform-eu",), mfa=True)
    role = cast.role(cast.STAGING, "Operator")
    before, after = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    assert [mapping.verdict(person, role, now).code for now in (before, after)] == ["allowed", "no_matching_rule"]


# Under each heading, a document in which the parser meets an unknown key there: its fault lists the known ones.
PROVIDER = "identity_providers: [{slug: corp, %s}]"
RULE = "mapping: [{name: r, when: {groups: [g]}, %s}]"
PROBES = {
    "The document": "qqqqqqqqqq: 1",
    "`identity_providers[]`": PROVIDER % "qqqqqqqqqq: 1",
    "`identity_providers[].saml`": PROVIDER % "saml: {qqqqqqqqqq: 1}",
    "`identity_providers[].oidc`": PROVIDER % "oidc: {qqqqqqqqqq: 1}",
    "`identity_providers[].oidc.graph`": PROVIDER % "oidc: {graph: {qqqqqqqqqq: 1}}",
    "`identity_providers[].claims`": PROVIDER % "claims: {qqqqqqqqqq: 1}",
    "`directories[]`": "directories: [{slug: d, provider: p, qqqqqqqqqq: 1}]",
    "`directories[].scim`": "directories: [{slug: d, provider: p, scim: {qqqqqqqqqq: 1}}]",
    "`directories[].ldap`": "directories: [{slug: d, provider: p, ldap: {qqqqqqqqqq: 1}}]",
    "`directories[].ldap.attributes`": "directories: [{slug: d, provider: p, ldap: {attributes: {qqqqqqqqqq: 1}}}]",
    "`accounts[]`": "accounts: [{qqqqqqqqqq: 1}]",
    "`mapping[]`": RULE % "qqqqqqqqqq: 1",
    "`mapping[].when`": "mapping: [{name: r, when: {qqqqqqqqqq: 1}}]",
    "`mapping[].allow`": RULE % "allow: {qqqqqqqqqq: 1}",
    "`mapping[].allow.accounts`": RULE % "allow: {accounts: {qqqqqqqqqq: 1}}",
    "`mapping[].session`": RULE % "session: {qqqqqqqqqq: 1}",
    "`mapping[].approval`": RULE % "approval: {qqqqqqqqqq: 1}",
    "`mapping[].approval.break_glass`": RULE % "approval: {by: [y], at_most: 1h, break_glass: {qqqqqqqqqq: 1}}",
    "`staff[]`": "staff: [{qqqqqqqqqq: 1}]",
    "`delegations[]`": "delegations: [{qqqqqqqqqq: 1}]",
}


def test_every_section_of_the_document_has_its_table():
    assert {heading for heading, head, _ in tables(read("mapping.md")) if head[0] == "key"} == PROBES.keys()


@pytest.mark.parametrize("heading", PROBES)
def test_every_key_of_the_document_is_documented_and_no_other(heading):
    with pytest.raises(DocumentError) as caught:
        parse("version: 1\n" + PROBES[heading])
    (known,) = [
        fault.message.removeprefix("unknown key; known here: ")
        for fault in caught.value.faults
        if fault.message.startswith("unknown key; known here: ")
    ]
    assert sorted(first_column(read("mapping.md"), "key", under=heading)) == sorted(known.split(", "))


def test_the_usual_claims_are_as_documented():
    rows = {
        in_backticks(row[0])[0]: row
        for heading, _, all_rows in tables(read("mapping.md"))
        if heading == "`identity_providers[].claims`"
        for row in all_rows
    }
    for name in ("subject", "email", "name", "groups"):
        assert in_backticks(rows[name][2]) == [getattr(SAML_CLAIMS, name)]
        assert in_backticks(rows[name][3]) == [getattr(OIDC_CLAIMS, name)]
