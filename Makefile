# make demo             index this machine's Python documentation and hold a conversation with it
# make demo DOCS=folder the same with your own documents
# make test             the whole test suite
# make test-integrations   LangChain, LlamaIndex and Haystack, which make test leaves out
# make lint             style, types, and the floors of the house

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DOCS ?=

.PHONY: demo test test-integrations lint clean

demo: $(VENV)/.installed
	@$(BIN)/python demo/run.py $(if $(DOCS),"$(DOCS)")

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2

test-integrations: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[haystack,langchain,llamaindex]'
	$(BIN)/python -m pytest tests/integrations

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("UniConv needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name one: make demo PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing (a minute or two, once) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	@touch $@

clean:
	rm -rf $(VENV) .demo
