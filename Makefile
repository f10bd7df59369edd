# Everything runs from .venv, which the first target that needs it makes and keeps in step with pyproject.toml and
# constraints.txt. pip is configured as usual (PIP_INDEX_URL, PIP_FIND_LINKS, pip.conf …).

PYTHON ?= python3
PORT ?= 8000
DATA ?= .earthsynth
WORKERS ?= 1
OUT ?= demo
EVAL_DATA ?= data
EVAL_OUT ?= evaluation
ABLATION_OUT ?= ablation
CONTRACT_SECONDS ?= 600
CHROMIUM ?= $(firstword $(foreach name,chromium chromium-browser google-chrome,$(shell command -v $(name))))

BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet

.DEFAULT_GOAL := help
.PHONY: help install demo up test check format docs chaos contract browser bench eval ablation clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

install: $(STAMP) ## Make .venv with everything in it (the other targets do this themselves)

$(STAMP): pyproject.toml $(wildcard clients/python/pyproject.toml) constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1); try make PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
		{ echo "error: $(PYTHON) cannot make a virtual environment; on Debian install python3-venv" >&2; exit 1; }
	@echo "installing into .venv (some minutes the first time)"
	@$(PIP) torch -c constraints.txt
	@$(PIP) -e clients/python -e '.[gpu,export,local,dev]' -c constraints.txt
	@touch $(STAMP)

demo: $(STAMP) ## Make pictures of one real mask on a stack of its own, write them to OUT=demo
	@$(BIN)/earthsynth demo --out $(OUT)

up: $(STAMP) ## Run the stack in the foreground: PORT=8000 DATA=.earthsynth WORKERS=1
	@$(BIN)/earthsynth up --port $(PORT) --data $(DATA) --workers $(WORKERS)

test: $(STAMP) ## Run the quick tests
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile

check: $(STAMP) ## Check format, lint, types and import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/python clients/python/make_sync.py --check
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP) ## Format the code and mend what the linter can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIN)/python clients/python/make_sync.py

docs: $(STAMP) ## Make docs/api.md and the README's table of settings anew
	@$(BIN)/python -m deploy.api_reference docs/api.md
	@$(BIN)/python -m deploy.settings_table README.md

chaos: $(STAMP) ## Run the tests that kill, stop and starve the parts
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m slow tests/chaos

contract: $(STAMP) ## Check the running service against its published document: CONTRACT_SECONDS=600
	@CONTRACT_SECONDS=$(CONTRACT_SECONDS) $(BIN)/python -m pytest -q -m slow tests/contract

browser: $(STAMP) ## Drive the web page with this machine's Chromium: CHROMIUM=path
	@test -x "$(CHROMIUM)" || \
		{ echo "error: no Chromium was found; on Debian install chromium, or try make browser CHROMIUM=/path/to/chrome" >&2; exit 1; }
	@CHROMIUM=$(CHROMIUM) $(BIN)/python -m pytest -q -m browser tests/browser

bench: $(STAMP) ## Run the benchmarks
	@$(BIN)/python -m pytest -q -s -m slow tests/benchmarks

eval: $(STAMP) ## Measure whether synthetic pictures help a segmenter: EVAL_DATA=folder with train/ and val/
	@$(BIN)/python -m models.evaluation --data $(EVAL_DATA) --out $(EVAL_OUT)

ablation: $(STAMP) ## Measure what CF-Comp does for nano: EVAL_DATA=folder with train/ and val/
	@$(BIN)/python -m models.cfcomp.ablation --data $(EVAL_DATA) --out $(ABLATION_OUT)

clean: ## Remove caches and the demo's output; .venv and data folders stay
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist demo
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
