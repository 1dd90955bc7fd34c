# Everything one does here, and all that CI runs. `make` alone lists it.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
LOCK := UV_PYTHON_DOWNLOADS=never $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help up learn test test-product test-learn test-faults test-fuzz test-ha test-interleavings lint docs acceptance bench bench-peers lock clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## run everything on this machine; options by ARGS="--port 3100"
	@.ci/environment runtime
	@exec $(BIN)/taskflow up $(ARGS)

learn: ## start the learning edition (standard library only, nothing is installed)
	@PYTHONPATH=learn/src exec $(PYTHON) -m taskflow_learn

test: test-product test-learn ## run all tests; some of them by make test-product ARGS="-k claim"

test-product:
	@.ci/environment dev
	@$(BIN)/pytest -n 2 $(ARGS)

test-learn:
	@.ci/environment dev
	@PYTHONPATH=learn/src $(BIN)/pytest -n 2 learn/tests

test-fuzz: ## fuzz the API with its OpenAPI document, for minutes; ARGS="--fuzz-examples=1000 --fuzz-seed=7"
	@.ci/environment dev
	@$(BIN)/pytest -n 2 tests/contracts/test_fuzz.py --fuzz-examples=200 --fuzz-seed=random -rP $(ARGS)

test-interleavings: ## play more orders of the engine's statements, cut off at each; ARGS="--orders=5000"
	@.ci/environment dev
	@$(BIN)/pytest -n 2 tests/engine/interleavings --every-crash --orders=300 $(ARGS)

test-faults: ## break everything under load, then judge (three minutes of it); ARGS="--seed 7 --seconds 60"
	@.ci/environment dev
	@$(BIN)/python -m tests.faults $(ARGS)

test-ha: ## kill the primary of a replicated pair under load, and its standby (two minutes or three)
	@.ci/environment dev
	@$(BIN)/pytest -n 0 -s tests/ha $(ARGS)

lint: ## check style, types, layers, locks and the repository itself
	@.ci/environment dev
	@status=0; for check in "ruff check" "ruff format --check" mypy "mypy learn/src" lint-imports "python .ci/check.py"; do \
		echo "$$check"; $(BIN)/$$check || status=1; \
	done; exit $$status

docs: ## build the documentation into build/docs/; ARGS=serve shows it on http://127.0.0.1:8000
	@.ci/environment dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs $(or $(ARGS),build --quiet)

acceptance: ## print which behaviours of docs/acceptance.md tests prove; ARGS=--missing names the others
	@.ci/environment dev
	@$(BIN)/python -m tests.contracts.acceptance $(ARGS)

bench: ## measure: drain, steady, enqueue, idle pick-up (three minutes); ARGS="history" with a month behind it
	@.ci/environment dev
	@$(BIN)/python -m benchmarks $(ARGS)

bench-peers: ## measure other queues beside TaskFlow, each installed for itself; some by ARGS="--only pgqueuer,saq"
	@.ci/environment dev
	@$(BIN)/python -m benchmarks.peers $(ARGS)

lock: ## resolve dependencies anew, after a change of pyproject.toml; ARGS="--upgrade" takes newer ones
	@.ci/environment dev
	$(LOCK) $(ARGS) pyproject.toml -o requirements.txt
	$(LOCK) $(ARGS) pyproject.toml --extra otel --group dev -c requirements.txt -o requirements-dev.txt
	$(LOCK) $(ARGS) --group pyproject.toml:build -c requirements-dev.txt -o requirements-build.txt

clean: ## remove .venv, caches and builds (no data)
	rm -rf .venv .peers build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
