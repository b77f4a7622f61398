"""Several workers share the suite file by file: the long files go first, or the last one leaves the others idle for minutes.

Files of one folder that share a running company (gateway, identity provider, AWS, workers, a browser) are one worker's: each
worker that meets one of them would start a company of its own, which is ten seconds and more of CPU.

A pytest plugin, listed in tests/conftest.py. xdist itself would begin with the files that have the most tests, which are the
quickest. Without xdist nothing is reordered. ROLEGATE_TEST_SHUFFLE=SEED puts the files in another order instead: no file may
depend on what ran before it.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import pytest

ONE_WORKERS = ("tests/cli/", "tests/faults/", "tests/journeys/", "tests/peers/")
# Seconds alone on two cores, rounded; a file that is not named takes less than five. Only the order counts.
SECONDS = {
    "tests/journeys/test_staff.py": 75,
    "tests/faults/test_workers.py": 60,
    "tests/docker/test_commands.py": 50,
    "tests/journeys/test_mapping_editor.py": 45,
    "tests/faults/test_database_restarts.py": 45,
    "tests/faults/test_pulled_plug.py": 45,
    "tests/peers/test_aws_clients.py": 40,
    "tests/faults/test_directory_workers.py": 35,
    "tests/attacks/test_canary.py": 35,
    "tests/attacks/test_web_every_path.py": 35,
    "tests/journeys/test_accessibility.py": 30,
    "tests/faults/test_entitlement_worker.py": 30,
    "tests/faults/test_rolling_upgrade.py": 30,
    "tests/journeys/test_providers.py": 25,
    "tests/peers/test_simplesamlphp.py": 25,
    "tests/scim/test_disabled_live.py": 25,
    "tests/cli/test_credentials.py": 22,
    "tests/cli/test_fresh_laptop.py": 22,
    "tests/journeys/test_pictures.py": 20,
    "tests/cli/test_exec.py": 20,
    "tests/cli/test_signing_in.py": 20,
    "tests/peers/test_oidc_provider.py": 20,
    "tests/flows/test_refresh_catalogue.py": 20,
    "tests/journeys/test_requests.py": 18,
    "tests/cli/test_reaching.py": 18,
    "tests/journeys/test_main_job.py": 17,
    "tests/cli/test_hostile.py": 17,
    "tests/config/test_start.py": 16,
    "tests/journeys/test_keyboard.py": 15,
    "tests/faults/test_redis_gone.py": 15,
    "tests/peers/test_mod_auth_openidc.py": 15,
    "tests/attacks/test_canary_live.py": 15,
    "tests/cli/test_sdks.py": 14,
    "tests/aws/test_onboarding.py": 14,
    "tests/journeys/test_login_csrf.py": 12,
    "tests/cli/test_roles.py": 12,
    "tests/flows/test_demo_history.py": 12,
    "tests/aws/test_trust_agrees.py": 12,
    "tests/faults/test_audit_storage.py": 10,
    "tests/faults/test_sts_fails.py": 10,
    "tests/portal/staff/test_walk.py": 10,
    "tests/journeys/test_roles_page.py": 9,
    "tests/cli/test_systems.py": 8,
    "tests/cli/test_terminal.py": 8,
    "tests/cli/test_several_gateways.py": 7,
    "tests/cli/test_package.py": 6,
    "tests/config/test_env.py": 6,
    "tests/docs/test_documentation.py": 6,
    "tests/flows/test_doctor.py": 6,
    "tests/cli/test_console.py": 5,
    "tests/mapping/test_reach.py": 5,
    "tests/demo/test_estate.py": 5,
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object | None:
    """xdist's own for `--dist loadfile`, with whole folders in the place of some files; None for any other."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByCompany(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return company_of(nodeid)

    return ByCompany(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed = os.environ.get("ROLEGATE_TEST_SHUFFLE", "")
    if seed:
        files = sorted({_file_of(item) for item in items})
        random.Random(seed).shuffle(files)
        places = {file: place for place, file in enumerate(files)}
        items.sort(key=lambda item: places[_file_of(item)])
    elif hasattr(config, "workerinput"):  # one of xdist's workers: all of them must collect in one order
        items.sort(key=lambda item: _place(_file_of(item)))


def company_of(nodeid: str) -> str:
    """What one worker runs as a whole: the test's folder or its file."""
    return next((folder for folder in ONE_WORKERS if nodeid.startswith(folder)), nodeid.partition("::")[0])


_LENGTHS: Counter[str] = sum((Counter({company_of(file): seconds}) for file, seconds in SECONDS.items()), Counter())


def _place(file: str) -> tuple[int, str, int, str]:
    """The longest company first, and of its files the longest first; all tests of a file together."""
    company = company_of(file)
    return -_LENGTHS[company], company, -SECONDS.get(file, 0), file


def _file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]
