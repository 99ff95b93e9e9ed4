# `make` alone lists the targets. What they need is installed into .venv, from requirements-dev.lock.

VENV = .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
ARGS =
# Tests at once: most of them wait for something, so more than there are processors.
JOBS = 3

LOCK = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header

# Left empty, each is as the demo has it by default.
KAFKA =
DB =
WORKERS =
DEMO = $(strip $(KAFKA:%=--kafka=%) $(DB:%=--db=%) $(WORKERS:%=--workers=%) $(ARGS))

# Of the soak: how long, and which faults; without a seed it takes one, and prints it.
MINUTES = 15
SEED =

.PHONY: help demo test unit acceptance soak bench bench-quick lint lock schema clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED) ## a simulated night into a Butler; KAFKA=apache, DB=postgresql, WORKERS=2, ARGS="--visits 5"
	@$(if $(KAFKA)$(DB),.ci/parts)
	$(BIN)/python -m simulator demo $(DEMO)

test: $(INSTALLED) ## install what the tests need (Apache Kafka, PostgreSQL), run them all; ARGS="-k ..." selects
	@.ci/parts
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

unit: $(INSTALLED) ## run the tests that need no server
	$(BIN)/pytest tests/unit $(ARGS)

acceptance: $(INSTALLED) ## run every fault scenario, and write their figures to docs/reliability.md
	@.ci/parts
	$(BIN)/pytest tests/acceptance -m "not soak" -n 2 --dist worksteal --books build/acceptance.json $(ARGS)
	$(BIN)/python -m tests.acceptance.table build/acceptance.json docs/reliability.md

soak: $(INSTALLED) ## random faults for MINUTES=15 from SEED=...
	@.ci/parts
	$(BIN)/pytest tests/acceptance -m soak -s --minutes $(MINUTES) $(SEED:%=--seed %) $(ARGS)

bench: $(INSTALLED) ## run every benchmark (the better part of an hour), and write its figures to docs/
	@.ci/parts
	$(BIN)/python -m bench $(ARGS)

bench-quick: $(INSTALLED) ## run what takes four minutes of it, and close with a line a figure
	@.ci/parts
	$(BIN)/python -m bench --quick $(ARGS)

lint: $(INSTALLED) ## check format, style and types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

lock: | $(BIN)/uv ## bring both lock files in line with pyproject.toml, keeping the pins that still fit
	$(LOCK) --output-file requirements.lock
	$(LOCK) --group dev --output-file requirements-dev.lock

schema: $(INSTALLED) ## write docs/pp-output.schema.json from the client's event
	@$(BIN)/python -c 'import json, pathlib, butler_writer_client.event as event; \
		pathlib.Path("docs/pp-output.schema.json").write_text( \
		json.dumps(event.json_schema(), indent=2) + "\n")'

clean: ## remove everything that was made in this folder, .venv too
	rm -rf $(VENV) build dist *.egg-info client/build client/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements-dev.lock pyproject.toml client/pyproject.toml
	@.ci/venv
	@touch $@

$(BIN)/uv:
	@.ci/venv
