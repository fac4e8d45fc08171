# Everything a developer or CI does. Needs python3 (3.11 or later), pip and make; see 'make help'.

PYTHON ?= python3
VENV ?= .venv
# Debian packages that tests need beyond Python's own; none so far.
SYSTEM_PACKAGES ?=
# Tests run in this many processes.
JOBS ?= 2
# How many tasks 'make chaos' gives, and the seeds of its storms.
TASKS ?= 200
SEEDS ?= 1
# The demo's folder and nodes stay when KEEP=1.
KEEP ?=

BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_READY := $(VENV)/.ready-demo

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint bench chaos clean system python

help: ## tell what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

venv: $(READY) ## make .venv with everything that tests need

demo: $(DEMO_READY) ## run a cluster of simulated nodes and give it a task; KEEP=1 leaves it running
	KEEP=$(KEEP) $(BIN)/clusterodm demo

test: system lint ## check everything, as CI does
	$(BIN)/pytest -n $(JOBS)

lint: $(READY) ## check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	MYPYPATH=tests:benchmarks $(BIN)/mypy --explicit-package-bases tests benchmarks
	$(BIN)/lint-imports

chaos: $(READY) ## kill, hang and cut everything for minutes; nothing may be lost or done twice
	PYTHONPATH=tests $(BIN)/python tests/chaos.py --tasks $(TASKS) --seeds $(SEEDS)

bench: SYSTEM_PACKAGES = nginx-light wrk
bench: system $(READY) ## measure beside a node asked directly and beside nginx, as docs/benchmarks.md shows
	$(BIN)/python benchmarks/run.py

clean: ## remove whatever make and the tools made; data stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(DEMO_READY)

$(DEMO_READY): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

# Debian splits ensurepip off into python3-venv.
$(BIN)/python: | python
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(MAKE) --no-print-directory system SYSTEM_PACKAGES=python3-venv
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "'$(PYTHON) -m venv' does not work here: install Debian's python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or later, or set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than 3.11: name a newer one, as in 'make PYTHON=python3.12 $(MAKECMDGOALS)'" >&2; exit 1; }

# Installs what is missing when that needs no question: as root, or through sudo without a password. Never fails: what
# truly needs a package says so itself.
system:
	@missing=; for package in $(SYSTEM_PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q ' installed$$' || missing="$$missing $$package"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then as=; elif sudo -n true 2>/dev/null; then as='sudo -n'; else as=none; fi; \
	if [ "$$as" != none ] && command -v apt-get >/dev/null; then \
	  $$as apt-get update -qq && $$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing \
	  || echo "could not install$$missing" >&2; \
	else echo "please install$$missing: not allowed to do it here" >&2; fi
