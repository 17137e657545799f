# Every target makes its own virtual environment when there is none: Python 3.11 or newer and make are enough.
#
#   make demo ARGS=--small          arguments for the command behind the target
#   make test PYTHON=python3.12 VENV=.venv-3.12          another Python, with an environment of its own

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BENCHMARKS ?= fork_wait profiler prediction ensemble graph kernels stacked pinyin import_time

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # two installs into one environment would collide
.PHONY: help demo test check bench docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.has-demo ## the tutorial's ensemble of LSTMs, serial and forked, with its timeline
	$(VENV)/bin/asyncjit demo $(ARGS)

test: $(VENV)/.has-test $(VENV)/.has-silero-vad ## run the tests (ARGS="-k name" picks, ARGS=--cov measures coverage)
	$(VENV)/bin/python -m pytest $(ARGS)

check: $(VENV)/.has-check ## formatting, lint rules, types, documentation
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/sphinx-build -W --keep-going -q docs build/docs

bench: $(VENV)/.has-bench ## measure asyncjit beside its peers (torch too, where it is installed)
	set -e; for name in $(BENCHMARKS); do $(VENV)/bin/python -m benchmarks.$$name $(ARGS); done

docs: $(VENV)/.has-docs ## build the documentation into build/docs
	$(VENV)/bin/sphinx-build -W --keep-going -q docs build/docs
	@echo "open build/docs/index.html"

clean: ## remove what the targets made, virtual environments included
	rm -rf .venv .venv-* build dist .coverage htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find asyncjit benchmarks docs examples tests -name __pycache__ -prune -exec rm -rf {} +

# A stamp per extra, so that nothing is installed twice and a failed install is tried again.
$(VENV)/.has-%: pyproject.toml | $(VENV)/.ready
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# The wheel without what it requires, torch among it: examples/vad.py reads its weights, and nothing imports it.
$(VENV)/.has-silero-vad: Makefile | $(VENV)/.ready
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps silero-vad==6.2.3
	@touch $@

$(VENV)/.ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "asyncjit needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make PYTHON=python3.12 ..."; exit 1; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "'$(PYTHON)' cannot make virtual environments. On Debian: apt-get install python3-venv"; exit 1; } >&2
	$(PYTHON) -m venv $(VENV)
	@touch $@
