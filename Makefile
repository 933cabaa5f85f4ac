# Needs Python 3.11 or newer and make; everything else is installed into .venv from the lock file.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Sizes that are measured; a million needs an hour.
MEMORIES := 10000 100000
STAMP := $(VENV)/.installed

export DO_NOT_TRACK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test soak lint bench lock

help:
	@echo "make install   .venv from requirements.lock; the program is then $(BIN)/edgekeeper"
	@echo "make demo      seed, back-fill, damage, audit, repair and audit again, on a local sandbox"
	@echo "make test      the whole test suite"
	@echo "make soak      the long campaigns: many seeds, many kills"
	@echo "make lint      ruff, strict types, import layers, installed packages"
	@echo "make bench     the benchmarks"
	@echo "make lock      requirements.lock anew from pyproject.toml"

install: $(STAMP)

# The lock is complete, so nothing is resolved here; every file is checked against its hash. uv, the
# fastest installer, is itself in the lock; where it can't reach an index that pip can, pip goes on.
# All is compiled once, as pip does: where Python may write no bytecode a command would else take two
# seconds more to begin, every time.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("edgekeeper needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv --clear $(VENV)
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(VENV)/uv.lock
	@index=$$($(BIN)/pip config get global.index-url 2>/dev/null || true); \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$index}"; fi; \
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --require-hashes -r requirements.lock \
	|| $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q checks tasks flows edgekeeper sandbox
	@touch $@

demo: $(STAMP)
	$(BIN)/edgekeeper demo

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal --durations=15 -o faulthandler_timeout=300

soak: $(STAMP)
	$(BIN)/python -m pytest -m soak --durations=12

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pip check

bench: $(STAMP)
	$(BIN)/python -m benchmarks --memories $(MEMORIES) --json docs/benchmarks.json --docs docs/benchmarks.md

lock: $(STAMP)
	$(BIN)/uv pip compile --universal --python-version 3.11 --extra dev --generate-hashes \
		--no-header --no-annotate --no-emit-index-url pyproject.toml -o requirements.lock
