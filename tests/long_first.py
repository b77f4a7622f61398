"""Several workers share the suite file by file: the long files go first, or the last one leaves the others idle for minutes.

A pytest plugin, listed in tests/conftest.py. xdist itself would begin with the files that have the most tests, which are the
quickest. Without xdist nothing is reordered. ROLEGATE_TEST_SHUFFLE=SEED puts the files in another order instead: no file may
depend on what ran before it.
"""

from __future__ import annotations

import os
import random

import pytest

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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed = os.environ.get("ROLEGATE_TEST_SHUFFLE", "")
    if seed:
        files = sorted({_file_of(item) for item in items})
        random.Random(seed).shuffle(files)
        places = {file: place for place, file in enumerate(files)}
        items.sort(key=lambda item: places[_file_of(item)])
    elif hasattr(config, "workerinput"):  # one of xdist's workers: all of them must collect in one order
        items.sort(key=lambda item: -SECONDS.get(_file_of(item), 0))


def _file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]
