# Everything sets itself up: `make demo` and `make test` need Python 3.11+, git and make only.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export SNNDEPLOY_LAVA_ENV ?= $(CURDIR)/.lava
export SNNDEPLOY_BENCH_ENV ?= $(CURDIR)/.bench
COUNTERS := .counters

.PHONY: demo test conformance check bench docs smoke format clean lava help

help:  ## What can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 16

demo: $(VENV)/.ready lava  ## Train, convert, certify, run on every backend, price and report
	$(BIN)/snndeploy demo --out demo-out

test: $(VENV)/.ready $(COUNTERS)/.ready lava  ## Run the tests
	$(BIN)/python -m pytest -n 2 -q

check: $(VENV)/.ready  ## Lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready $(SNNDEPLOY_BENCH_ENV)/.ready  ## Time the simulators side by side on the same spikes
	$(BIN)/python benchmarks/simulators.py
	$(BIN)/python benchmarks/plain_norse.py
	$(BIN)/python benchmarks/exit.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/growth.py

conformance: $(VENV)/.ready lava  ## Hold every backend to the definition on the whole suite, Lava included
	$(BIN)/python -m pytest -q -rs --pyargs snndeploy.conformance

smoke: $(VENV)/.ready lava  ## Hold Lava to the definition, and run the benchmarks once, small
	$(BIN)/snndeploy backends check lava
	$(BIN)/python benchmarks/simulators.py --smoke
	$(BIN)/python benchmarks/plain_norse.py --smoke
	$(BIN)/python benchmarks/exit.py --smoke
	$(BIN)/python benchmarks/memory.py --smoke
	$(BIN)/python benchmarks/growth.py --smoke
	$(BIN)/python benchmarks/energy_validation.py --smoke
	$(BIN)/python benchmarks/escape.py --smoke
	$(BIN)/python benchmarks/large_model.py --smoke
	$(BIN)/python benchmarks/lava.py --smoke

docs: $(VENV)/.ready  ## Build the documentation into site/
	@$(BIN)/python -c "import mkdocs" 2>/dev/null || $(BIN)/python -m pip install -qq -e '.[docs]'
	$(BIN)/mkdocs build --strict

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A machine without a Python that Lava runs on goes on without Lava, and says so.
lava: $(VENV)/.ready
	-@$(BIN)/snndeploy backends install lava

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "snndeploy needs Python 3.11 or later; set PYTHON=python3.11"; exit 1; }
	@echo "making $(VENV) and installing snndeploy into it (a minute or two)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[dev]'
	@touch $@

# The simulators that snndeploy is timed against need other versions of what it needs.
$(SNNDEPLOY_BENCH_ENV)/.ready: benchmarks/requirements.txt
	@echo "making $(SNNDEPLOY_BENCH_ENV) and installing the other simulators into it"
	@$(PYTHON) -m venv $(SNNDEPLOY_BENCH_ENV)
	@$(SNNDEPLOY_BENCH_ENV)/bin/python -m pip install -qq --disable-pip-version-check -r $<
	@touch $@

# Packages that count operations, for the tests that hold ours to theirs. Without what they need
# for data sets of their own, and apart: one of them wants an old SpikingJelly.
$(COUNTERS)/.ready: tests/counters.txt $(VENV)/.ready
	@rm -rf $(COUNTERS)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --target $(COUNTERS) -r $<
	@touch $@

clean:
	rm -rf $(VENV) $(COUNTERS) .lava .bench demo-out site .mypy_cache .ruff_cache .pytest_cache .hypothesis
