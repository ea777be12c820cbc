# Every target makes and fills .venv by itself: Python >= 3.11 and make are all it takes.
#   make demo            make test PYTHON=python3.12            make test ARGS="-k zeropoint"

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test soak bench lint docs clean
.DELETE_ON_ERROR:

help:
	@echo "make demo   simulate a small field, run the tile pipeline on it, show what came out"
	@echo "make test   linters, types, import rules, tests"
	@echo "make lint   the same without the tests"
	@echo "make soak   the long tests"
	@echo "make bench  speed measurements"
	@echo "make docs   write the generated pages of docs/ again"
	@echo "make clean  remove caches, builds and the demo; .venv stays"

demo: $(VENV)/.installed
	$(BIN)/skyloom demo $(ARGS)

test: lint
	$(BIN)/python -m pytest -n 2 -p no:benchmark $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# pytest ends with 5 when nothing was collected: there may be no long test yet.
soak: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 -p no:benchmark -m soak $(ARGS) || test $$? -eq 5

bench: $(VENV)/.installed-bench
	$(BIN)/python -m pytest bench -p no:xdist -p no:cacheprovider -o python_files='bench_*.py' \
		--benchmark-only $(ARGS) || test $$? -eq 5
	OPENBLAS_NUM_THREADS=1 $(BIN)/python bench/bench_scene.py

docs: $(VENV)/.installed
	$(BIN)/python -c 'from skyloom.pipelines.tile.config import config_reference as page; \
		open("docs/configuration.md", "w", encoding="utf-8").write(page())'
	$(BIN)/python -c 'from skyloom.pipelines.tile.output_page import output_reference as page; \
		open("docs/output.md", "w", encoding="utf-8").write(page())'

clean:
	rm -rf build dist skyloom-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache .benchmarks
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# A half-made environment is removed, so that the next call starts afresh.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is \
	needed, this one is %d.%d; name another: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make environments; on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.installed: $(BIN)/python pyproject.toml
	@$(PIP) --version > /dev/null 2>&1 || $(BIN)/python -m ensurepip
	@echo "installing skyloom into $(VENV) ..."
	@$(PIP) install -e .
	@touch $@

$(VENV)/.installed-test: $(BIN)/python pyproject.toml
	@$(PIP) --version > /dev/null 2>&1 || $(BIN)/python -m ensurepip
	@echo "installing skyloom and its test tools into $(VENV) ..."
	@$(PIP) install -e '.[test]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-bench: $(VENV)/.installed-test
	@$(PIP) install -e '.[bench]'
	@touch $@
