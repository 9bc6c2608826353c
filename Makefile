# make demo   shows the main job on a Redis Cluster of its own
# make test   runs the tests
# make lint   checks style and types
# make bench  prints the benchmarks of this machine
# make clean  removes what these made
#
# Each sets up all it needs in .venv, once. Needed beforehand: Python 3.11 or newer; no root, no server.
# Packages come from the index that pip is configured for.

# The first of these that is new enough makes .venv; PYTHON=... names another.
PYTHON ?= python3.13 python3.12 python3.11 python3 python
VENV ?= .venv
BIN := $(VENV)/bin

# Two workers: each has a cluster of its own, and more would crowd out the servers on a small machine.
PYTEST_ARGS ?= -n 2 --dist loadgroup

BENCHMARKS ?= $(filter-out benchmarks/_%,$(wildcard benchmarks/*.py))

.PHONY: help demo test lint bench clean
# Two installations into one .venv at a time would break it.
.NOTPARALLEL:

help:
	@sed -n 's/^# //p' Makefile | head -5

demo: $(VENV)/.has-local
	@$(BIN)/python examples/demo.py

test: $(VENV)/.has-test
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.has-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.has-bench
	@failed=0; for benchmark in $(BENCHMARKS); do \
	    echo "== $$benchmark"; $(BIN)/python $$benchmark || failed=1; \
	done; exit $$failed

clean:
	rm -rf $(VENV) build dist sharedstate.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each set of dependencies in pyproject.toml; a newer pyproject.toml installs again.
$(VENV)/.has-%: pyproject.toml | $(BIN)/python
	@echo "Installing sharedstate with its '$*' dependencies into $(VENV); this is done once." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]' || { \
	    echo "make: pip could not install the dependencies; its own message is above." >&2; exit 1; }
	@touch $@

# Some systems split ensurepip off Python; a pip of the system, or uv, then fills the new environment.
$(BIN)/python:
	@chosen=; found=; for candidate in $(PYTHON); do \
	    if $$candidate -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        chosen=$$candidate; break; \
	    fi; \
	    version=$$($$candidate --version 2>/dev/null) && found="$$found $$candidate is $$version,"; \
	done; \
	if [ -z "$$chosen" ]; then \
	    echo "make: sharedstate needs Python 3.11 or newer with its venv module; looked for $(PYTHON):" \
	        "$${found:-none is there,} so install one, or name it with PYTHON=/path/to/python3." >&2; exit 1; \
	fi; \
	if $$chosen -c 'import ensurepip' 2>/dev/null; then \
	    $$chosen -m venv --clear $(VENV); \
	else \
	    $$chosen -m venv --clear --without-pip $(VENV) && { \
	        $$chosen -m pip --python $(BIN)/python install --quiet pip 2>/dev/null || \
	        uv pip install --quiet --python $(BIN)/python pip 2>/dev/null; \
	    } || { \
	        rm -rf $(VENV); \
	        echo "make: $$chosen cannot put pip into a new environment: install its package for venv" \
	            "(python3-venv on Debian and Ubuntu) or pip, then run make again." >&2; exit 1; \
	    }; \
	fi
