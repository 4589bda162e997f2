# Every target makes what it needs: a virtual environment in .venv, with the project installed in it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP = $(VENV)/.installed-$(1)

.PHONY: demo test test-314 check fleet bench simulate mutants docs clean
.DELETE_ON_ERROR:

# Arguments of the demo: make demo ARGS="--duration 40"
demo: $(call STAMP,gateway) ## Upstreams that break, the gateway in front of them, and the dashboard
	$(BIN)/resilience demo $(ARGS)

test: $(call STAMP,dev) ## All tests; those of the dashboard need a Chromium
	$(BIN)/python -m tests $(ARGS)

test-314: $(call STAMP,dev) ## Those that need no thread, under Python 3.14 compiled to WebAssembly; needs npm
	$(BIN)/python -m tests.pyodide $(ARGS)

check: $(call STAMP,dev) ## Lint and types
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/ty check --error-on-warning --python $(VENV) tests/typing/methods.py

# Longer, or another history: make fleet ARGS="--steps 200 --seed 7"
fleet: $(call STAMP,dev) ## Faults that coincide in a fleet of gateways on hosts of their own; needs Linux and root
	$(BIN)/python -m tests.fleet $(ARGS)

bench: $(call STAMP,bench) ## Beside the peers, in one run; writes build/bench.json
	$(BIN)/python -m tests.benchmarks $(ARGS)

# The whole size, half an hour: make simulate ARGS="--instances 100 --out build/fleet-whole.json"
simulate: $(call STAMP,dev) ## A fleet of gateways in virtual time; writes build/fleet.json
	$(BIN)/python -m tests.simulations $(ARGS)

# One file: make mutants ARGS="core/circuit.py"
mutants: $(call STAMP,dev) ## Small changes to the core, of which some test must notice each; writes build/mutants.json
	$(BIN)/python -m tests.mutants $(ARGS)

docs: $(call STAMP,docs) ## HTML in build/docs
	$(BIN)/sphinx-build -W --keep-going -b html docs build/docs

clean: ## Remove what the other targets made
	rm -rf $(VENV) build *.egg-info

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-bench: EXTRAS = dev,bench
$(VENV)/.installed-dev: EXTRAS = dev
$(VENV)/.installed-docs: EXTRAS = docs
$(VENV)/.installed-gateway: EXTRAS = gateway
# Type checkers and editors follow a .pth file, and not the finder of an editable install. The path is relative: Python
# reads the file in the locale's encoding, and does not start if that lacks a letter of it.
$(VENV)/.installed-%: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	$(BIN)/python -c 'import os, sysconfig as at; site = at.get_path("purelib"); open(f"{site}/checkout.pth", "w").write(os.path.relpath(".", site) + "\n")'
	touch $@
