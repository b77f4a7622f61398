# Needs: make and Python 3.11 or newer with its venv module. Everything else goes into .venv, from the locked files.
# Which package index pip asks is for pip's own settings to say: no address is named here.
# --no-compile: of ten thousand modules a fifth is ever imported; Python compiles those then.
.PHONY: help demo test check check-types check-rest lock clean
.DEFAULT_GOAL := help

SHELL := /bin/sh
PY := .venv/bin/python
WORKERS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# What one process has compiled serves every later one. Without that, each test process rewrites every assertion again.
unexport PYTHONDONTWRITEBYTECODE

help:
	@echo "make demo   the gateway, a corporate identity provider and a local AWS on this machine: http://localhost:8000"
	@echo "make test   every test                make check  lint, types, import contracts, migrations, Django's checks"
	@echo "make lock   compile requirements*.in  make clean  remove what was made here (the demo's data too)"

demo: .venv/.installed-demo
	@$(PY) -m demo

# WORKERS=1 runs the tests in one process; TESTS="tests/attacks -k replay" runs some of them.
test: .venv/.installed-dev
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

# With `make -j 2 check` side by side.
check: check-types check-rest

check-types: .venv/.installed-dev
	.venv/bin/mypy

check-rest: .venv/.installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy --config-file cli/pyproject.toml cli/rolegate cli/build_backend.py
	.venv/bin/mypy --config-file cli/pyproject.toml --platform win32 cli/rolegate
	.venv/bin/lint-imports
	DJANGO_SETTINGS_MODULE=config.settings.test $(PY) manage.py makemigrations --check --dry-run
	env -u ROLEGATE_CONFIG -u REDIS_URL DJANGO_SETTINGS_MODULE=config.settings.production ROLEGATE_URL=https://gateway.example.com \
	  ROLEGATE_SECRET_KEY=$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(48))') \
	  DATABASE_URL=postgres://rolegate@db.example.com/rolegate $(PY) manage.py check --deploy --fail-level WARNING

# A pin with an extra also without it: where one package asks for pydantic and another for pydantic[email], the pip of
# Python 3.11 may look at the first first, take the newest release, and refuse it as unpinned.
define PLAIN_PINS_TOO
import re, sys
from pathlib import Path
path = Path(sys.argv[1])
text = path.read_text()
pin = re.compile(r"^([\w.-]+)\[[^]]+\](==.*\n(?:    .*\n)*)", re.M)
plain = set(re.findall(r"^([\w.-]+)==", text, re.M))
path.write_text(pin.sub(lambda m: m[0] if m[1] in plain else m[0] + m[1] + m[2], text))
endef
export PLAIN_PINS_TOO

# Existing pins stay; delete a line of a .txt, or the file, to let that package move. Extras stay in the pins: asked for
# pydantic[email] where only pydantic is pinned, the pip of Python 3.11 takes the newest release and refuses it as unpinned.
lock: .venv/.installed-dev
	for name in requirements demo/requirements requirements-dev; do \
	  .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	    --no-strip-extras $$name.in -o $$name.txt || exit 1; \
	  $(PY) -c "$$PLAIN_PINS_TOO" $$name.txt || exit 1; \
	done

clean:
	rm -rf .venv var staticfiles .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* \
	  coverage.xml test-results tests/peers/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The newest python3 on the path that is 3.11 or newer and can make an environment; PYTHON=/path/to/python chooses another.
.venv/.made:
	@chosen=; old=; \
	for name in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	  version=$$($$name -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	  if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then chosen=$$name; break; else old="$$old $$name is $$version."; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
	  echo "Rolegate needs Python 3.11 or newer.$${old:-" No python3 was found."} Install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	if ! $$chosen -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$chosen cannot make a virtual environment: its venv or ensurepip module is missing. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	fi; \
	echo "Making .venv with $$chosen ($$version)"; $$chosen -m venv .venv
	@touch $@

.venv/.installed-demo: .venv/.made requirements.txt demo/requirements.txt
	@echo "Installing what the gateway and the demo run on (once, about a minute)"
	@$(PY) -m pip install -q --no-compile --require-hashes -r requirements.txt -r demo/requirements.txt
	@touch $@

.venv/.installed-dev: .venv/.installed-demo requirements-dev.txt
	@echo "Installing what the tests and checks need (once)"
	@$(PY) -m pip install -q --no-compile --require-hashes -r requirements-dev.txt
	@touch $@
