# `make` without a target lists the targets. They install requirements-dev.lock into .venv.

VENV = .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
ARGS =
# Number of tests that run at once. Most tests wait, so it is higher than the number of processors.
JOBS = 3

LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header

# If they are empty, the demo's defaults apply.
KAFKA =
DB =
WORKERS =
DEMO = $(strip $(KAFKA:%=--kafka=%) $(DB:%=--db=%) $(WORKERS:%=--workers=%) $(ARGS))

# For soak and fuzz: the duration, and the seed. Without a seed, they choose one and print it.
MINUTES = 15
SEED =

# For acceptance and soak: the number of lanes of a worker. If it is empty, the default applies.
LANES =

.PHONY: help demo test unit acceptance hostile soak fuzz bench bench-quick lint site changelog lock schema dashboard chart screenshots clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED) ## write a simulated night into a Butler; KAFKA=apache, DB=postgresql, WORKERS=2, ARGS="--visits 5"
	@$(if $(filter apache,$(KAFKA)),.ci/servers kafka)
	@$(if $(filter postgresql,$(DB)),.ci/servers postgresql)
	$(BIN)/python -m simulator demo $(DEMO)

test: $(INSTALLED) ## install what the tests need (Apache Kafka, PostgreSQL, Prometheus, nginx, Chromium, Helm) and run all tests; ARGS="-k ..." selects
	@.ci/servers
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

unit: $(INSTALLED) ## run the tests that need no server
	$(BIN)/pytest tests/unit $(ARGS)

acceptance: $(INSTALLED) ## run every fault scenario and slow test, and write figures to docs/reliability.md
	@.ci/servers
	$(BIN)/pytest tests/acceptance tests/integration -m "scenario or slow" -n 2 --dist worksteal --figures build/acceptance.json $(LANES:%=--lanes %) $(ARGS)
	$(BIN)/python -m tests.acceptance.table build/acceptance.json docs/reliability.md

hostile: $(INSTALLED) ## send hostile messages to a worker in 1 GiB, and write what became of them to docs/hostile.md
	@.ci/servers
	$(BIN)/pytest tests/acceptance/hostile -m slow --hostile docs/hostile.md $(ARGS)

soak: $(INSTALLED) ## apply random faults for MINUTES=15, from SEED=...
	@.ci/servers
	$(BIN)/pytest tests/acceptance/test_soak.py -m soak -s --minutes $(MINUTES) $(SEED:%=--seed %) $(LANES:%=--lanes %) $(ARGS)

fuzz: $(INSTALLED) ## let a process prepare hostile messages for MINUTES=15, from SEED=...
	$(BIN)/pytest tests/acceptance/test_fuzzing.py -m soak -s --minutes $(MINUTES) $(SEED:%=--seed %) $(ARGS)

bench: $(INSTALLED) ## run every benchmark (about an hour), and write the figures to docs/
	@.ci/servers
	$(BIN)/python -m bench $(ARGS)

bench-quick: $(INSTALLED) ## run the quick benchmarks (seven minutes), and end with one line for each figure
	@.ci/servers
	$(BIN)/python -m bench --quick $(ARGS)

lint: $(INSTALLED) site ## check format, style, types, the direction of imports, and the documents' links
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

site: $(INSTALLED) ## build the site of the documents in build/site; a link that leads nowhere is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

changelog: $(INSTALLED) ## move the fragments of changelog.d/ into CHANGELOG.md, for a release
	$(BIN)/scriv collect

lock: | $(BIN)/uv ## update the lock files from pyproject.toml, keeping the pins that still fit
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) pyproject.toml --group dev --output-file requirements-dev.lock
	$(LOCK) --group build --constraint requirements-dev.lock --no-annotate --output-file requirements-build.lock

schema: $(INSTALLED) ## generate docs/*.schema.json from the client's event and the products message
	@$(BIN)/python -c 'import json, pathlib, butler_writer_client.event as event, models.product as log; \
		[pathlib.Path(f"docs/{name}.schema.json").write_text( \
		json.dumps(source.json_schema(), indent=2) + "\n") \
		for name, source in {"pp-output": event, "products": log}.items()]'

dashboard: $(INSTALLED) ## generate deploy/monitoring/dashboard.json from dashboard.py
	@$(BIN)/python deploy/monitoring/dashboard.py > deploy/monitoring/dashboard.json.new
	@mv deploy/monitoring/dashboard.json.new deploy/monitoring/dashboard.json

chart: $(INSTALLED) ## generate the README of the Helm chart from its values.yaml (needs Go the first time)
	@$$($(BIN)/python -m testbed.go_programs helm-docs) --chart-search-root deploy/helm --log-level warning

screenshots: $(INSTALLED) ## take the pictures of the pages in docs/images/ (six minutes; needs Apache Kafka and PostgreSQL)
	@.ci/servers
	$(BIN)/python -m simulator.screenshots docs/images

clean: ## remove everything that was generated in this folder, including .venv
	rm -rf $(VENV) build dist *.egg-info client/build client/*.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements-dev.lock pyproject.toml client/pyproject.toml
	@.ci/venv
	@touch $@

$(BIN)/uv:
	@.ci/venv
