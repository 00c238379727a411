# `make run` and `make test` are the two commands; each sets up its own environment first.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup run test lint bench bench-gateway bench-translate bench-sim bench-engine bench-perf bench-local bench-live bench-aiconfigurator bench-vidur clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

run: setup
	$(BIN)/headrace up

test: setup
	$(BIN)/python -m pytest -n 2 tests

lint: setup
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: bench-gateway bench-translate bench-sim bench-engine bench-perf

bench-gateway: setup
	$(BIN)/python benchmarks/gateway.py

bench-translate: setup
	$(BIN)/python benchmarks/translate.py

bench-sim: setup
	$(BIN)/python benchmarks/sim.py

bench-engine: setup
	$(BIN)/python benchmarks/engine.py

bench-perf: setup
	$(BIN)/python benchmarks/perf.py

# A real model on this machine (llama.cpp): probe, calibrate, then predict a replay that the fit has not seen.
bench-local: setup
	$(BIN)/python -m pip install --quiet --editable '.[local]'
	$(BIN)/python -u benchmarks/local.py

# The simulator beside the live system on the emulator: 90 minutes with the defaults, on a machine that does nothing else.
bench-live: setup
	$(BIN)/python -u benchmarks/live.py

# Installs aiconfigurator into an environment of its own and takes minutes: not part of `bench`.
bench-aiconfigurator: setup
	$(BIN)/python benchmarks/aiconfigurator.py

# Installs Vidur into an environment of its own.
bench-vidur: setup
	$(BIN)/python benchmarks/sim_vidur.py

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .hypothesis
