# Two commands: `make run` serves a code base, `make test` proves the tree. Both set everything up first.
PYTHON ?= python3
ROOT ?= .
PORT ?= 8000
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
V := .venv
S := $(V)/.stamps
BIN := $(V)/bin
PAGE := src/reconvene/static/index.html
# The list of web files is part of what the page is made from, so that deleting one rebuilds it too.
WEB := $(shell find web/src web/public -type f -not -path "web/src/client/dist/*" 2>/dev/null | LC_ALL=C sort) $(wildcard web/index.html web/package.json web/vite.config.ts web/tsconfig.json web/svelte.config.js)
WEBLIST := $(S)/web-files
export UV_SYSTEM_CERTS ?= 1
export NODE_USE_SYSTEM_CA ?= 1
export npm_config_update_notifier := false
export NO_MKDOCS_2_WARNING := 1
unexport PYTHONPATH VIRTUAL_ENV

.PHONY: help setup run test check test-py test-web test-browser test-model faults security soak eval bench bench-index bench-search bench-semble bench-peers bench-postgres bench-page screenshots docs lock clean FORCE

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

setup: $(S)/project $(PAGE)  ## the set-up alone; leaves .venv/bin/reconvene

run: setup       ## serve ROOT (default: this folder) on PORT (default: 8000) and print one URL
	@exec $(BIN)/reconvene serve "$(ROOT)" --port $(PORT)

test: setup $(S)/chromium check test-py test-web test-browser  ## every test, the real browser included

check: setup     ## style, types and import rules
	@echo "· ruff, mypy, import-linter"
	@$(BIN)/ruff check -q --no-cache . && $(BIN)/ruff format -q --no-cache --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo >/tmp/reconvene-lint-imports.$$$$ || { cat /tmp/reconvene-lint-imports.$$$$; exit 1; }; rm -f /tmp/reconvene-lint-imports.$$$$

# Half of what a test does is waiting for servers, disks and timers, so there are half as many workers again as processors.
WORKERS ?= $(shell echo $$(( ($$(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2 )))
test-py: setup $(S)/peers
	@echo "· Python tests"
	@$(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m "not browser and not long" $(PYTEST)

test-web: setup
	@echo "· page and client tests"
	@cd web && PATH="$(CURDIR)/$(BIN):$$PATH" npm run -s test

# Where they are is looked up, as gathering all other tests takes half a minute; the longest of them, of security, go first.
BROWSER = $(shell grep -rlE 'pytest\.mark\.browser' tests --include='test_*.py' | LC_ALL=C sort -r)
test-browser: setup $(S)/chromium
	@echo "· browser tests"
	@$(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m "browser and not long" $(BROWSER) $(PYTEST)

# Each also runs a few suites alone: SUITES="power io". Their figures go to docs/explanation/proof.md.
faults: setup $(S)/chromium  ## nothing is lost: deaths, power cuts, failing disks, schedules (1 to 3 hours; a suite alone takes minutes)
	@$(BIN)/python tests/proof_sheet.py faults $(SUITES)

security: setup $(S)/chromium $(S)/proof  ## nobody gets in: hostile models, code bases, clients and bytes (an hour; a suite alone takes minutes)
	@$(BIN)/python tests/proof_sheet.py security $(SUITES)

soak: setup  ## nothing piles up: sessions come and go for MINUTES (default: 10), their idle hours compressed
	@MINUTES=$(or $(MINUTES),10) $(BIN)/python tests/proof_sheet.py soak $(SUITES)

# Its weights are 1.2 GB, fetched once and kept in the user's cache folder (RECONVENE_MODELS names another).
test-model: setup $(S)/model  ## real small language models through a real server, kill -9 included (minutes)
	@MODEL_TESTS=1 $(BIN)/pytest -q -s --timeout 3600 tests/model $(PYTEST)

# MODEL=provider:name for another than the small one of this machine; EVAL="--questions 24 --minutes 90".
eval: setup $(S)/model  ## does what a model is given help it? evidence, then answers of a real model (long; goes on where it was ended)
	@$(BIN)/python -m bench.eval $(if $(MODEL),--model "$(MODEL)") $(EVAL)

bench: setup     ## one table of measured costs, beside a floor measured in the same run
	@$(BIN)/python -m bench $(BENCH)

# TREES: folders, one is made without; AIDER: the Python of an environment with aider-chat==0.86.2, kept outside of this tree.
bench-index: setup  ## what the index costs on TREES="folder …", beside AIDER=venv/bin/python and ripgrep
	@$(BIN)/python -m bench.index $(TREES) $(if $(AIDER),--aider "$(AIDER)") $(if $(QUERIES),--queries "$(QUERIES)" --mirrors "$(MIRRORS)") $(BENCH)

# The scorer makes an exact checkout of each query's tree and speaks JSON lines with what it scores; it lies beside the queries.
SCORER ?= $(dir $(QUERIES))bench.py
bench-search: setup  ## search scored on QUERIES=file.jsonl with MIRRORS=folder of repositories, beside BASELINE=results of another
	@test -n "$(QUERIES)" -a -n "$(MIRRORS)" || { echo "bench-search needs QUERIES=… and MIRRORS=…" >&2; exit 2; }
	@mkdir -p build && rm -f build/search-results.jsonl build/search-lines
	@$(PYTHON) "$(SCORER)" --queries "$(QUERIES)" --mirrors "$(MIRRORS)" --out build/search-results.jsonl $(BENCH) -- \
	  $(BIN)/python -m bench.search_jsonl --lines build/search-lines
	@$(BIN)/python -m bench.search_table build/search-results.jsonl --lines build/search-lines $(if $(BASELINE),--baseline "$(BASELINE)")

bench-semble: setup  ## search scored on semble's questions, QUERIES=file.tsv, with MIRRORS=folder of repositories
	@test -n "$(QUERIES)" -a -n "$(MIRRORS)" || { echo "bench-semble needs QUERIES=… and MIRRORS=…" >&2; exit 2; }
	@$(BIN)/python -m bench.search_semble --queries "$(QUERIES)" --mirrors "$(MIRRORS)"

bench-page: setup $(S)/chromium  ## what the page costs in a real Chromium: first load, a long session, a large change, a long answer, names
	@$(BIN)/python -m bench.page $(BENCH)

bench-postgres: setup  ## what several nodes cost: PostgreSQL beside SQLite and a floor of asyncpg alone
	@$(BIN)/python -m bench.postgres $(BENCH)

# Their released packages go to build/peers; PEERS="codex chainlit" measures some of them, ours always.
bench-peers: setup  ## the same tests on comparable servers, side by side; writes docs/explanation/peers.md (half an hour)
	@$(BIN)/python -m bench.peers $(PEERS)

screenshots: setup $(S)/chromium  ## pictures of the page in build/screenshots, those of the README in docs/images
	@$(BIN)/pytest -q -n 2 --dist worksteal -m browser tests/e2e/test_screenshots.py $(PYTEST)
	@mkdir -p docs/images && cp build/screenshots/page-light.png build/screenshots/page-dark.png docs/images/

docs: $(S)/docs  ## the documentation as a site in build/site; a link that leads nowhere fails it
	@build/docs/bin/mkdocs build --strict 2>&1 | { grep -vE '^INFO|^$$' || true; }
	@echo "· build/site/index.html"

lock:            ## renew the lock files from pyproject.toml
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --all-extras --group dev pyproject.toml -o requirements/dev.txt
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --all-extras -c requirements/dev.txt pyproject.toml -o requirements/serve.txt
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group proof -c requirements/dev.txt pyproject.toml -o requirements/proof.txt
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group docs -c requirements/dev.txt pyproject.toml -o requirements/docs.txt
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group model -c requirements/dev.txt pyproject.toml -o requirements/model.txt
	@echo 'uv==$(shell $(BIN)/uv --version | cut -d" " -f2)' | $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate - -o requirements/boot.txt

clean:           ## remove what the set-up made
	@rm -rf $(V) web/node_modules src/reconvene/static build

$(S)/venv: requirements/boot.txt
	@echo "· creating $(V)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Reconvene needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make $(MAKECMDGOALS) PYTHON=python3.12")'
	@rm -rf $(V) && $(PYTHON) -m venv $(V)
	@$(BIN)/python -m pip install -qq --no-input --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	@mkdir -p $(S) && touch $@

$(S)/deps: requirements/dev.txt $(S)/venv
	@echo "· installing pinned packages"
	@$(BIN)/uv pip sync -q --compile-bytecode --python $(BIN)/python --require-hashes --only-binary :all: $<
	@touch $@

$(S)/project: pyproject.toml hatch_build.py $(S)/deps
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(S)/model: requirements/model.txt $(S)/deps
	@echo "· installing what runs a language model"
	@$(BIN)/uv venv -q --clear --python $(BIN)/python build/model
	@sed -n '/^xllamacpp==/,/[^\\]$$/p' requirements/model.txt | \
	  $(BIN)/uv pip install -q --python build/model/bin/python --require-hashes --only-binary :all: --no-deps -r -
	@touch $@

# The product's own packages are in it too: what is fuzzed runs in it.
$(S)/proof: requirements/proof.txt $(S)/deps
	@echo "· installing what attacks the server"
	@$(BIN)/uv venv -q --clear --python $(BIN)/python build/proof
	@$(BIN)/uv pip sync -q --python build/proof/bin/python --require-hashes --only-binary :all: $<
	@touch $@

$(S)/docs: requirements/docs.txt $(S)/venv
	@echo "· installing what builds the documentation's site"
	@$(BIN)/uv venv -q --clear --python $(BIN)/python build/docs
	@$(BIN)/uv pip install -q --python build/docs/bin/python --only-binary :all: -c $< mkdocs-material
	@touch $@

$(S)/npm: web/package-lock.json web/package.json web/.npmrc | $(S)/deps
	@echo "· installing the page's packages"
	@cd web && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

$(S)/peers: tests/peers/package-lock.json tests/peers/package.json tests/peers/.npmrc | $(S)/deps
	@echo "· installing other people's clients, for the tests"
	@cd tests/peers && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

$(WEBLIST): FORCE | $(S)/venv
	@printf '%s\n' $(WEB) | cmp -s - $@ || printf '%s\n' $(WEB) > $@

$(PAGE): $(WEB) $(WEBLIST) $(S)/npm
	@echo "· building the page"
	@cd web && PATH="$(CURDIR)/$(BIN):$$PATH" npm run -s build -- --logLevel warn
	@touch $@

$(S)/chromium: $(S)/deps
	@$(BIN)/python tests/e2e/chromium.py
	@touch $@
