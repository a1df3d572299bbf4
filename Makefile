# make          set up once, then run the default study (config.yaml)
# make test     set up once, then run the tests
# make smoke    the smallest study, about a minute
# make figures  only figures (or any target: make TARGET=layer_stability)
# Another study: make CONFIG=studies/smoke.yaml      Fewer cores: make CORES=1

SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p))))
CORES ?= all
CONFIG ?=
TARGET ?= all
TESTS ?= tests

BIN := .venv/bin
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake

.PHONY: run test smoke figures check clean-environment
.DEFAULT_GOAL := run

run: .venv/.installed
	@$(BIN)/python scripts/unlock.py $(if $(CONFIG),--configfile $(CONFIG))
	$(SNAKEMAKE) $(TARGET) --cores $(CORES) $(if $(CONFIG),--configfile $(CONFIG))

smoke:
	$(MAKE) run CONFIG=studies/smoke.yaml

figures:
	$(MAKE) run TARGET=figures

test: .venv/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest $(TESTS)

# Formatting and lint, as the tests run them.
check:
	$(MAKE) test TESTS=tests/unit/test_quality.py

# The stamp is written last: an interrupted installation is taken up again.
.venv/.installed: envs/lock.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is older than Python 3.11: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/lock.txt
	@touch $@

clean-environment:
	rm -rf .venv
