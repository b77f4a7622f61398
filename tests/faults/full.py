"""SETTINGS FOR TESTS: development's, on an SQLite file that may have no more than ROLEGATE_TEST_PAGES pages: SQLITE_FULL beyond."""

import os

from config.settings.development import *  # noqa: F403
from config.settings.development import DATABASES

DATABASES["default"]["OPTIONS"]["init_command"] += f" PRAGMA max_page_count={int(os.environ['ROLEGATE_TEST_PAGES'])};"
