"""Coverage costs: on Python 3.11 a tracer doubles the time of every test, whatever code it runs, because an interpreter that is
traced takes none of its quick ways. So it is off where it learns nothing: while modules of tests are read, in tests whose
gateway is another process, in walks over what others test one by one, in pages and operations of the API whose flows and
queries have tests of their own (of 1,000 branches not three are reached by these alone), where somebody else's program
reads what we wrote, and in properties, which pass through the same lines thousands of times beside examples of each.

A pytest plugin, listed in tests/conftest.py. Does nothing without --cov.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import coverage
import pytest

_TEACHES_NOTHING = (
    "tests/api/",
    "tests/attacks/test_canary",
    "tests/attacks/test_oauth_redirect_and_pkce.py",
    "tests/attacks/test_toward_aws_tokens.py",
    "tests/attacks/test_web_every_path.py",
    "tests/attacks/test_web_https.py",
    "tests/attacks/test_web_lock_out.py",
    "tests/attacks/test_web_sessions.py",
    "tests/aws/test_onboarding.py::test_a_template_too_large",
    "tests/aws/test_onboarding.py::test_cfn_lint",
    "tests/aws/test_onboarding.py::test_terraform_reads_it",
    "tests/aws/test_trust_agrees.py",
    "tests/cli/",
    "tests/config/",
    "tests/conformance/",
    "tests/demo/",
    "tests/directory/test_ldap.py::test_a_large_entry",
    "tests/docker/",
    "tests/docs/",
    "tests/faults/",
    "tests/flows/test_demo_history.py",
    "tests/journeys/",
    "tests/peers/",
    "tests/portal/staff/test_costs.py",
    "tests/portal/staff/test_walk.py",
    "tests/portal/test_error_pages.py",
    "tests/portal/test_every_page_is_translated.py",
    "tests/portal/test_headers.py",
    "tests/portal/test_language.py",
    "tests/portal/test_my_roles.py",
    "tests/portal/test_oidc_sign_in.py",
    "tests/portal/test_saml_sign_in.py",
    "tests/portal/test_use_role.py",
    "tests/scim/test_disabled_live.py",
)
_stopped: coverage.Coverage | None = None


def _stop() -> None:
    """Stop every tracer there is: a worker of xdist has a second one below its own, whose data nobody asks for."""
    global _stopped
    while (running := coverage.Coverage.current()) is not None:
        running.stop()
        _stopped = _stopped or running


def _go_on() -> None:
    global _stopped
    if _stopped is not None:
        _stopped.start()
        _stopped = None


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """The lines of a module run once, when it is imported: that is now, and not somewhere among the files of tests."""
    if coverage.Coverage.current() is None:
        return
    if not session.config.getoption("numprocesses", None):  # else this process only hands out what others run
        import federation

        for module in pkgutil.walk_packages(federation.__path__, "federation."):
            importlib.import_module(module.name)
    _stop()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if item.nodeid.startswith(_TEACHES_NOTHING) or item.get_closest_marker("hypothesis"):
        _stop()
    else:
        _go_on()
    return (yield)
