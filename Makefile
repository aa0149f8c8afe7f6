# Everything a developer or a new user runs. `make demo` and `make test` set up all they need.
PYTHON ?= python3
VENV := $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SEED ?= 1
# STORE=elasticsearch: on a real node that lives as long as the command, or on the one of TOCSIN_STORE_URL.
NODE := $(if $(filter elasticsearch,$(STORE)),$(if $(TOCSIN_STORE_URL),,$(BIN)/python -m tests.nodes.node))

.PHONY: demo test test-all test-elasticsearch check blind format docs scorecard bench elasticsearch release clean

demo: $(READY)
	$(NODE) $(BIN)/tocsin demo --dir demo-out --seed $(SEED)

# Two worker processes; a file's tests stay in one of them. ARGS="tests/pipeline -k lease" runs a part.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile

# What a newcomer runs: needs no cluster, kills no process, repeats nothing over ten seeds.
test: $(READY)
	$(PYTEST) -m "not full" $(ARGS)

# Everything, with one Elasticsearch node for the session.
test-all: $(READY)
	$(PYTEST) $(ARGS)

# The tests that know nothing of clusters, with Elasticsearch as the store.
ON_CLUSTER := tests/alerting tests/collectors tests/core tests/demo tests/detectors tests/pipeline tests/test_kill.py tests/test_plugins.py
test-elasticsearch: $(READY)
	TOCSIN_TEST_STORE=elasticsearch $(PYTEST) $(or $(ARGS),$(ON_CLUSTER))

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check
	$(BIN)/python docs/rooms.py --check
	$(BIN)/python docs/scorecard.py --check

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/rooms.py
	$(BIN)/python docs/scorecard.py

# Attempts to blind each detector: which share of the attacks is still found.
blind: $(READY)
	$(BIN)/python -m benchmarks.blinding.suite

scorecard: $(READY)
	$(BIN)/python -m benchmarks.scorecard

elasticsearch: $(READY)
	$(BIN)/python -m tests.nodes.node

bench: $(READY)
	$(BIN)/python -m benchmarks.ingest_speed
	$(BIN)/python -m benchmarks.drift_speed
	$(BIN)/python -m benchmarks.recorder_speed

# Both distributions into dist/, then their wheels in a bare environment.
release: $(READY)
	rm -rf dist
	$(BIN)/python -m hatchling build -d $(CURDIR)/dist
	cd recorder && $(CURDIR)/$(BIN)/python -m hatchling build -d $(CURDIR)/dist
	$(BIN)/python deploy/check_wheels.py dist

clean:
	rm -rf .venv .venv-* dist demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): pyproject.toml recorder/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Tocsin needs Python 3.11 or newer; say which with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ./recorder -e '.[dev,demo]'
	$(BIN)/python -m compileall -q tocsin collectors detectors alerting dashboards recorder || true
	touch $(READY)
