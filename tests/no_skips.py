"""With ROLEGATE_TEST_NO_SKIPS=1, a skipped test is a failure: CI installs everything, so nothing has a reason to be skipped.

A pytest plugin, listed in tests/conftest.py. `--only-database` keeps the tests that touch a database or run the
gateway as a process: the ones worth running a second time, on another database. Not those of `_OF_ONE_DATABASE`.
"""

from __future__ import annotations

import os

import pytest

_DATABASE_FIXTURES = frozenset({"db", "transactional_db", "django_db_serialized_rollback", "stage"})

# What these look at is the page, the helper or the other side of a protocol, whichever database is behind it, or the demo,
# which is on SQLite; what the flows, queries and faults under them do on PostgreSQL is asserted by the tests that remain: by
# tests/flows, tests/queries and the other files of tests/portal and tests/api, and with a running gateway, a worker and a
# browser by tests/journeys/test_held.py, test_main_job.py, test_requests.py and test_staff_looks_after.py. Of the 1,704 forms
# of statements that tests in this process sent to PostgreSQL, nine came from these alone, all of the demo's past; 191 came
# from the walk over every page in another language, which stays, in one. What secrets a running gateway leaves in its tables
# is for tests/attacks/test_canary_live.py to say.
_OF_ONE_DATABASE = (
    "tests/api/test_issuer_documents.py",
    "tests/api/test_openapi.py",
    "tests/attacks/test_canary.py",
    "tests/attacks/test_oauth_redirect_and_pkce.py",
    "tests/attacks/test_toward_aws_tokens.py",
    "tests/attacks/test_web_every_path.py",
    "tests/attacks/test_web_https.py",
    "tests/cli/",
    "tests/conformance/",
    "tests/flows/test_demo_history.py::test_people_are_those_who_will_sign_in",
    "tests/flows/test_demo_history.py::test_the_past_is_whole",
    "tests/journeys/test_accessibility.py",
    "tests/journeys/test_break_glass.py",
    "tests/journeys/test_employee.py",
    "tests/journeys/test_keyboard.py",
    "tests/journeys/test_login_csrf.py",
    "tests/journeys/test_mapping_changes.py",
    "tests/journeys/test_mapping_editor.py",
    "tests/journeys/test_pictures.py",
    "tests/journeys/test_provider_disabled.py",
    "tests/journeys/test_providers.py",
    "tests/journeys/test_roles_page.py",
    "tests/journeys/test_staff.py",
    "tests/oauth/test_refused_requests.py",
    "tests/peers/",
    "tests/portal/staff/test_costs.py",
    "tests/portal/staff/test_walk.py",
    "tests/portal/test_cli_page.py",
    "tests/portal/test_error_pages.py",
    "tests/portal/test_every_page_is_translated.py::test_on_every_page_every_word_is_of_the_catalogue_or_somebodys[ja",
    "tests/portal/test_headers.py",
    "tests/portal/test_language.py",
    "tests/portal/test_safe_next.py",
    "tests/portal/test_use_role.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--only-database", action="store_true", help="keep only tests that touch a database or the running gateway"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--only-database"):
        return
    keep, drop = [], []
    for item in items:
        touches = item.get_closest_marker("django_db") or _DATABASE_FIXTURES.intersection(
            getattr(item, "fixturenames", ())
        )
        (keep if touches and not item.nodeid.startswith(_OF_ONE_DATABASE) else drop).append(item)
    if drop:
        config.hook.pytest_deselected(items=drop)
        items[:] = keep


def _skips(config: pytest.Config) -> list[pytest.TestReport]:
    if os.environ.get("ROLEGATE_TEST_NO_SKIPS") != "1":
        return []
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return list(reporter.stats.get("skipped", [])) if reporter else []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) and _skips(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: object, exitstatus: int, config: pytest.Config) -> None:
    skipped = _skips(config)
    if not skipped:
        return
    write = terminalreporter.write_line  # type: ignore[attr-defined]
    write(f"ROLEGATE_TEST_NO_SKIPS=1: {len(skipped)} skipped, each counts as a failure:", red=True)
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        write(f"  {report.nodeid}: {reason}", red=True)
