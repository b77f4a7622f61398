"""Coverage costs: on Python 3.11 a tracer doubles the time of every test, whatever code it runs, because an interpreter that is
traced takes none of its quick ways. So it is off where it learns nothing: while modules of tests are read, in tests whose
gateway is another process, in walks over what others test one by one, in pages and operations of the API whose flows and
queries have tests of their own (of 1,000 branches not three are reached by these alone), where somebody else's program
reads what we wrote, in properties, which pass through the same lines thousands of times beside examples of each, and in tests
that do what others do many times over, in pages, floods and threads.

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
# Each costs nearly a second and more, 69 together; of 41,613 arcs of `federation` 16 are reached by these alone, by the contexts
# that `--cov-context=test` writes down.
_THE_SAME_AGAIN = (
    "tests/attacks/test_web_sign_in.py::test_a_flood_of_forgeries_tells_of_itself_once_a_minute",
    "tests/aws/test_catalogue.py::test_a_broken_page_breaks_the_listing",
    "tests/aws/test_catalogue.py::test_motos_iam_is_read_as_well",
    "tests/aws/test_partitions.py::test_every_region_that_botocore_knows_passes_in_its_partition_alone",
    "tests/aws/test_sts.py::test_nor_after_the_deadline",
    "tests/commands/test_apply.py::test_what_is_no_document_is_refused_with_a_sentence",
    "tests/commands/test_onboard.py::test_terraform_for_an_account_by_its_id",
    "tests/flows/test_certificate_letters.py::test_owners_are_told_once_at_each_moment_and_no_oftener",
    "tests/flows/test_directory_effect.py::test_it_is_what_then_happens",
    "tests/flows/test_onboard_account.py::test_a_person_can_use_the_example_role",
    "tests/flows/test_queries.py::test_the_number_of_statements_does_not_grow",
    "tests/flows/test_refresh_catalogue.py::test_a_rule_chooses_by_the_units_path_or_id",
    "tests/flows/test_refresh_catalogue.py::test_a_run_that_is_ended_begins_nothing_more",
    "tests/flows/test_refresh_catalogue.py::test_a_worker_that_is_killed_leaves_nothing_half_done_and_the_next_goes_on",
    "tests/flows/test_refresh_catalogue.py::test_accounts_are_read_side_by_side_and_each_serially",
    "tests/flows/test_refresh_catalogue.py::test_an_organization_whose_accounts_lose_their_marks_is_held",
    "tests/flows/test_refresh_catalogue.py::test_the_organization_comes_first_and_its_new_accounts_are_read_at_once",
    "tests/flows/test_sign_in_saml.py::test_the_same_assertion_a_hundred_times_at_once_is_one_sign_in",
    "tests/flows/test_verify_account.py::test_the_role_is_assumed_in_nobodys_name_and_may_do_nothing",
    "tests/mapping/test_document_hostile.py::test_a_document_of_too_many_values_is_refused",
    "tests/mapping/test_document_hostile.py::test_expressions_that_are_small_one_by_one_and_large_together",
    "tests/mapping/test_document_hostile.py::test_what_a_large_company_has_is_far_from_that",
    "tests/mapping/test_editing.py::test_documents_as_people_write_them",
    "tests/mapping/test_textdiff.py::test_thousands_of_rules_that_are_much_alike",
    "tests/mapping/test_threads.py::test_threads_get_the_answers_that_one_gets",
    "tests/models/test_catalogue.py::test_a_page_reads_the_rows_that_it_shows_and_not_the_organization",
    "tests/oauth/test_refused_requests.py::test_a_flood_of_malformed_requests_ends_in_one_event",
    "tests/portal/staff/test_audit_pages.py::test_the_log_is_searched_by_what_people_know",
    "tests/portal/staff/test_catalogue_pages.py::test_each_list_costs_the_same_queries_whatever_its_length",
    "tests/portal/staff/test_catalogue_pages.py::test_paging_goes_there_and_back_over_roles_of_one_name",
    "tests/portal/staff/test_mapping_pages.py::test_a_rule_is_moved_and_taken_out",
    "tests/portal/staff/test_providers_pages.py::test_a_certificate_is_added_kept_and_dropped_on_the_page_of_the_entry",
    "tests/portal/staff/test_requests_page.py::test_a_broken_glass_is_loud_on_every_page_until_it_ends",
    "tests/portal/staff/test_requests_page.py::test_it_comes_in_pages_at_a_constant_cost",
    "tests/portal/test_requests.py::test_ones_own_list_comes_in_pages",
    "tests/portal/test_safe_next.py::test_the_sign_in_page_carries_no_bad_next",
    "tests/scim/test_people.py::test_if_match_lets_nobody_overwrite_what_they_have_not_read",
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
    if item.nodeid.startswith(_TEACHES_NOTHING + _THE_SAME_AGAIN) or item.get_closest_marker("hypothesis"):
        _stop()
    else:
        _go_on()
    return (yield)
