# make demo             index this machine's Python documentation and hold a conversation with it
# make demo DOCS=folder the same with your own documents
# make test             the whole test suite
# make lint             style, types, and the floors of the house

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without compiling, which takes a minute, mostly for modules that are never imported.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
DOCS ?=

.PHONY: demo test lint clean

demo: $(VENV)/.installed
	@$(BIN)/python demo/run.py $(if $(DOCS),"$(DOCS)")

# Three on two cores, as tests also wait; stealing keeps what a file's tests share in one process.
test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 3 --dist worksteal

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("UniConv needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name one: make demo PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing (a minute or two, once) ..."
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[test,lint]'
	@touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) .demo
