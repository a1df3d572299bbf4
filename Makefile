# make          set up once, then run the default study (config.yaml)
# make test     set up once, then run the tests, three at a time (WORKERS=0: in this process)
# make smoke    the smallest study, about two minutes
# make figures  only figures (or any target: make TARGET=layer_stability)
# make slurm    set up for a Slurm cluster as well (docs/slurm.md)
# make report   the study on one page, report.html, which opens offline
# make verify   check every file of the study against its recorded hash
# make estimate what a study costs, before it starts (DEVICE=h100: on a GPU, not this machine)
# make status   how far the study has come, during a run or after it (make watch: repeatedly)
# make why      why anything (or TARGET=...) would be rebuilt
# make docs     write the pages of docs/ and the snapshot of the graph that are generated from the code
# make adopt    accept results as they are after their records (.snakemake) were lost
# Another study: make CONFIG=studies/smoke.yaml      Fewer cores: make CORES=1

SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p))))
CORES ?= all
CONFIG ?=
DEVICE ?=
TARGET ?= all
REPORT ?= report.html
# The slowest tests come first, so that all workers finish together. Three workers suit two cores:
# some tests wait for a cluster, or for a signal to arrive.
TESTS ?= tests/workflow tests/unit
WORKERS ?= 3

BIN := .venv/bin
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake

.PHONY: run test slurm smoke figures verify estimate why adopt docs check clean-environment status watch report
.DEFAULT_GOAL := run

run: .venv/.installed
	@$(BIN)/python scripts/readable.py $(if $(CONFIG),--configfile $(CONFIG))
	@$(BIN)/python scripts/unlock.py $(if $(CONFIG),--configfile $(CONFIG))
	$(SNAKEMAKE) $(TARGET) --cores $(CORES) $(if $(CONFIG),--configfile $(CONFIG))

smoke:
	$(MAKE) run CONFIG=studies/smoke.yaml

figures:
	$(MAKE) run TARGET=figures

report: run
	$(SNAKEMAKE) --report $(REPORT) --cores 1 $(if $(CONFIG),--configfile $(CONFIG))

verify:
	$(MAKE) run TARGET=verify

estimate: .venv/.installed
	@$(BIN)/python scripts/estimate.py $(if $(DEVICE),--device $(DEVICE)) \
	  $(if $(filter-out all,$(CORES)),--workers $(CORES)) $(if $(CONFIG),--configfile $(CONFIG))

status watch: .venv/.installed
	@$(BIN)/python scripts/status.py $(if $(CONFIG),--configfile $(CONFIG)) $(if $(filter watch,$@),--watch)

why: .venv/.installed
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/why.py $(filter-out all,$(TARGET)) \
	  $(if $(CONFIG),--configfile $(CONFIG))

# Records existing results as made with today's code and config: only for results you trust.
adopt: .venv/.installed
	$(SNAKEMAKE) --touch --forceall --cores 1 $(if $(CONFIG),--configfile $(CONFIG))

# Pages generated from the code, and the snapshot of the graph; the tests compare them.
docs: .venv/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/write_docs.py
	PYTHONPATH=scripts $(BIN)/python tests/workflow/write_graph.py

test: .venv/.installed .venv/.slurm
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

# Formatting and lint, as the tests run them.
check:
	$(MAKE) test TESTS=tests/unit/test_quality.py

# The stamp is written last: an interrupted installation is resumed.
.venv/.installed: envs/lock.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is older than Python 3.11: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/lock.txt
	@touch $@

# For profiles/slurm; `make test` drives a real Slurm where one can be started.
.venv/.slurm: envs/slurm.txt .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/slurm.txt
	@touch $@

slurm: .venv/.installed .venv/.slurm

clean-environment:
	rm -rf .venv
