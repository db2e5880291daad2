# Stylize. Everything runs from a bare machine with Python 3.11 to 3.13: no Docker, GPU, Redis, network hub or account.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOCKS := deploy/locks
BINDIR ?= $(HOME)/.local/bin
TORCH := torch==2.13.0
export OMP_NUM_THREADS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help demo up install compose test browser proxies screenshots docs lint bench bench-gpu bench-prometheus bench-scaling images settings parity starter soak load faults hundred model-test fuzz-api fuzz audit client-wheel upgrade lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# Every file is checked against the lock, but torch's, whose build is the host's choice: for the CPU, or with CUDA's libraries.
$(VENV)/demo.done: pyproject.toml app/client/pyproject.toml $(LOCKS)/demo.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --no-deps --requirement $(LOCKS)/demo.lock
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable . --editable app/client
	@touch $@

$(VENV)/generator.done: $(VENV)/demo.done tests/api/generator.txt
	$(PYTHON) -m venv --without-pip $(VENV)/generator
	$(BIN)/pip --python $(VENV)/generator/bin/python install --quiet --requirement tests/api/generator.txt
	@touch $@

$(VENV)/dev.done: $(VENV)/demo.done $(VENV)/generator.done $(LOCKS)/dev.lock
	$(BIN)/pip install --quiet --require-hashes --no-deps --requirement $(LOCKS)/dev.lock
	@touch $@

demo: $(VENV)/demo.done ## start the stack, stylize a picture over HTTP, write it to out/, stop
	$(BIN)/python -m deploy.embedded.demo --out out

up: $(VENV)/demo.done ## run the stack on http://127.0.0.1:8000 until Ctrl-C
	$(BIN)/stylize up

compose: ## start the service with Docker Compose: secrets, a first key, workers on the GPUs, S3, monitoring; ARGS=--help
	deploy/compose/start.sh $(ARGS)

install: $(VENV)/demo.done ## put the command `stylize` on PATH: a link in BINDIR= (~/.local/bin)
	mkdir -p "$(BINDIR)" && ln -sf "$(abspath $(BIN)/stylize)" "$(BINDIR)/stylize"
	@case ":$$PATH:" in *":$(BINDIR):"*) ;; *) echo "add $(BINDIR) to PATH: export PATH=\"$(BINDIR):\$$PATH\"" ;; esac

test: $(VENV)/dev.done lint browser proxies ## everything that must hold
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup

browser: ## install Debian's Chromium, in which the studio is tested, unless there is one
	@command -v chromium >/dev/null \
		|| { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium fonts-inter; } \
		|| echo "no Chromium, and only root can install Debian's: the tests of the studio will be skipped" >&2

proxies: ## install Debian's nginx and Caddy, with which the files of deploy/proxies are tested, unless they are there
	@{ command -v nginx && command -v caddy; } >/dev/null \
		|| { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends nginx-light caddy; } \
		|| echo "no nginx or no Caddy, and only root can install Debian's: their tests will be skipped" >&2

screenshots: $(VENV)/dev.done browser ## take the studio's pictures for the README anew
	$(BIN)/python -m tests.studio.screenshots

lint: $(VENV)/dev.done ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev.done ## measured: latency, uploads, what waits, our loop against diffusers, checkpoint loading, memory under attack
	$(BIN)/python -m tests.bench

bench-gpu: $(VENV)/dev.done ## time per image on a CUDA device, true sizes, random weights
	$(BIN)/python -m tests.bench.engine.gpu

bench-prometheus: $(VENV)/dev.done ## a real Prometheus scrapes the service (needs Debian's prometheus)
	$(BIN)/python -m tests.bench.prometheus

bench-scaling: $(VENV)/dev.done ## two workers against one; coming and going loses nothing
	$(BIN)/python -m tests.bench.scaling

images: $(VENV)/dev.done ## build both images, check them, run the services from them (needs buildah)
	$(BIN)/python -m tests.bench.images

docs: $(VENV)/dev.done ## write the tables of README and docs, and docs/openapi.json, anew from the code
	$(BIN)/python -m tests.architecture.tables --write && $(BIN)/python -m tests.api.document_file --write

settings: $(VENV)/dev.done ## write .env.example and the dashboard anew
	$(BIN)/python -m app.cli.env_file --write && $(BIN)/python -m deploy.grafana.generate --write

parity: $(VENV)/dev.done ## every recorded case of the reference implementations
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.parity --cases tests/parity/cases

soak: $(VENV)/dev.done ## 10,000 jobs under 1,300 faults; JOBS=, FAULTS=kill=..,redis=.. and SEED= choose others
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.soak --jobs $(or $(JOBS),10000) \
		$(if $(FAULTS),--faults $(FAULTS)) $(if $(SEED),--seed $(SEED))

load: $(VENV)/dev.done ## an hour at 70 % of the capacity: no errors, memory that does not grow; MINUTES=, LOAD=, JOB_SECONDS=
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.steady --minutes $(or $(MINUTES),60) --load $(or $(LOAD),0.7) --job-seconds $(or $(JOB_SECONDS),1)

faults: $(VENV)/dev.done ## Redis, workers, the gateway die, poison: each a hundred times; TIMES= chooses another number
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.hundred --times $(or $(TIMES),100)

hundred: faults

model-test: $(VENV)/dev.done ## the job store against its reference model, 100,000 steps; EXAMPLES= of 40 steps each
	MODEL_EXAMPLES=$(or $(EXAMPLES),2500) $(BIN)/pytest -q tests/integration/jobs/test_model.py -k protocol_says

fuzz: $(VENV)/dev.done ## 1,000,000 damaged pictures through the decoder's code; COUNT= chooses another number
	$(BIN)/python -m tests.security.mutants --count $(or $(COUNT),1000000)

fuzz-api: $(VENV)/dev.done ## 20,000 requests drawn from the OpenAPI document; CASES= and SEED= choose others
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.api.soak --cases $(or $(CASES),20000) $(if $(SEED),--seed $(SEED))

$(VENV)/audit.done: $(VENV)/demo.done tests/security/audit.txt
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip install --quiet --requirement tests/security/audit.txt
	@touch $@

audit: $(VENV)/dev.done $(VENV)/audit.done ## bandit, advisories of the locked versions, a pass over the running service
	$(BIN)/pytest -q tests/security/test_pass.py tests/security/test_browser.py tests/security/test_connections.py
	$(BIN)/python -m tests.security.audit $(VENV)/audit/bin

client-wheel: $(VENV)/demo.done ## build the Python client's distribution, stylize_client, into dist/
	rm -rf build/client && mkdir -p build && cp -rL app/client build/client
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist ./build/client

upgrade: $(VENV)/dev.done ## this release beside another and a roll under load; OLD= is a checkout, JOBS= of each part
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.upgrade --old $(OLD) --jobs $(or $(JOBS),200)

starter: $(VENV)/demo.done ## train the starter model; resumes; RECIPE=cpu or gpu (hours on a CPU)
	$(BIN)/python -m workers.training.starter.train --stage all --recipe $(or $(RECIPE),cpu)

lock: ## write the locks anew, every file with its sha256; ARGS=--upgrade takes newer versions
	$(PYTHON) -m venv $(VENV)/lock && $(VENV)/lock/bin/pip install --quiet uv
	UV=$(VENV)/lock/bin/uv deploy/lock.sh $(ARGS)

clean: ## remove everything that the targets made
	rm -rf $(VENV) out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
