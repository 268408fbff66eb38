# Burnish: two commands matter. `make demo` improves a base model through three rounds; `make test` passes the tests.
# Each sets up its own virtual environment from pinned versions, says what it does, and is quick the second time.

PYTHON ?= python3
VENV ?= .venv
# Where PyTorch comes from when there is no NVIDIA driver; override with TORCH_INDEX=...
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
TEST_STAMP := $(VENV)/.ready-dev
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check smoke help clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: $(STAMP) ## three rounds of Llama 3's recipe on the embedded microworld; ends with a report
	$(BIN)/burnish run llama3 --scale laptop --out $(or $(OUT),runs/llama3-laptop)

smoke: $(STAMP) ## the same in under a minute, on few rows
	$(BIN)/burnish run llama3 --scale smoke --out $(or $(OUT),runs/llama3-smoke)

test: $(TEST_STAMP) ## the whole test suite (CPU, no network)
	$(BIN)/python -m pytest $(ARGS)

check: $(TEST_STAMP) ## lint and format check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check src tests bench scripts examples

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Burnish needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Install it (Debian, Ubuntu: apt install python3.11) and run: make PYTHON=python3.11 ...")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing. Install it: apt install python$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"; exit 1; }
	@echo "== making a virtual environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)

$(STAMP): constraints.txt pyproject.toml | $(VENV)/bin/python
	@sh scripts/install_torch.sh $(BIN)/python "$(TORCH_INDEX)"
	@echo "== installing Burnish and what it needs"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(TEST_STAMP): $(STAMP)
	@echo "== installing the test tools"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt peft math-verify pytest pytest-timeout hypothesis ruff
	@touch $@

clean: ## remove the virtual environment
	rm -rf $(VENV)
