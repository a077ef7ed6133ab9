# Each target makes the virtual environment itself when it is missing or older than pyproject.toml.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test check fix bench shots
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP) ## run the tour: in the app on a terminal, headless otherwise
	@sh sample_tasks/demo.sh $(BIN)/mi4-tui

test: $(STAMP) ## all tests but those marked load and real_agent; under five minutes
	$(BIN)/python -m pytest -n auto -m "not load and not real_agent"

check: $(STAMP) ## format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(STAMP) ## mend what the formatter and the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## compare with other programs (benchmarks/RESULTS.md), and with reuse on and off
	$(BIN)/python benchmarks/compare.py $(BENCH)
	$(BIN)/python -P benchmarks/reuse.py

shots: $(STAMP) ## draw the app on the tour into screenshots/
	$(BIN)/python -P screenshots/make.py
