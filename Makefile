# make demo      label real text, in minutes; nothing but Python 3.11 or 3.12 is needed
# make test      the default tests
# make check     ruff, mypy strict, import-linter, doctests
# make test-all  the slow tests, on top of `make test`
#
# Each makes .venv first, once; it is brought up to date when pyproject.toml or constraints.txt change.

.DELETE_ON_ERROR:
.PHONY: demo test check test-all

PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; assert sys.version_info >= (3, 11)' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

demo: $(READY)
	$(BIN)/textlabel demo

# a process a core, each with one thread; tests of one file stay together
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --doctest-modules textlabel

test-all: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow and not gpu and not alone" -n logical --maxprocesses 8 \
		--dist loadfile
	$(BIN)/python -m pytest -m "slow and not gpu and alone"

# torch goes first: it is large, and a failure to get it should be told by itself
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed: make PYTHON=/path/to/it"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt torch
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $@
