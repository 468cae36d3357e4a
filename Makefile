# The four doors: make run, make test, make lint, make bench. Everything else serves them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SHIP     ?= /var/log/**/*.log /var/log/syslog /var/log/messages /var/log/secure
DATA_DIR ?= ./data
LISTEN   ?= 127.0.0.1:7410

TARGET   := $(or $(CARGO_TARGET_DIR),target)
BIN      := $(TARGET)/debug
WEB      := query-ui/web
BROWSER  := tests/browser
CARGO    := cargo --locked $(CARGO_FLAGS)
# What is measured is what a package ships, but for LTO: our crates without the checks that tests want.
BENCH    := $(CARGO) --config tests/bench/profile.toml

.PHONY: help run cluster build ui test test-rust test-api test-compat test-s3 test-outside test-ui test-browser lint lint-ui fmt bench bench-build bench-split bench-query bench-cluster bench-doors bench-shipper bench-browser deb crash chaos shipper-model sim fuzz fuzz-doors screenshots clean tools-build tools-test

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## Build and start Sawlog on this machine's logs (SHIP='/path/*.log', LISTEN, DATA_DIR)
	@set -f; args=(); for pattern in $(SHIP); do args+=(--ship "$$pattern"); done; \
	exec $(BIN)/sawlog run --listen $(LISTEN) --data-dir $(DATA_DIR) "$${args[@]}"

cluster: build ## Start three nodes on this machine as one Sawlog, in this terminal (CLUSTER_DIR, CLUSTER_PORT=7410)
	@exec deploy/cluster/run $(BIN)/sawlog $(or $(CLUSTER_DIR),./data-cluster) $(or $(CLUSTER_PORT),7410)

build: tools-build ui ## Build the web UI and both binaries
	@[ -d $(BIN)/deps ] || echo 'first build: 15 to 25 minutes on 2 cores (DataFusion, tantivy, Parquet); seconds afterwards'
ifdef LINTED_AS_COMPILED
	$(CARGO) build --workspace --all-targets
else
	$(CARGO) build -p sawlog -p shipper
endif

# The UI is built again only when one of its sources is newer.
ui: $(WEB)/dist/index.html ## Build the web UI into query-ui/web/dist
$(WEB)/dist/index.html: $(WEB)/node_modules/.package-lock.json query-ui/src/api/openapi.json $(shell find $(WEB)/src $(WEB)/build $(WEB)/public $(WEB)/index.html $(WEB)/vite.config.ts -type f 2>/dev/null)
	cd $(WEB) && npm run build
$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	cd $(WEB) && npm ci --no-audit --no-fund
	@touch $@
$(BROWSER)/node_modules/.package-lock.json: $(BROWSER)/package-lock.json
	cd $(BROWSER) && npm ci --no-audit --no-fund
	@touch $@

test: tools-test lint test-ui test-rust ## Everything: lint, Rust tests, UI tests in a real browser, real clients
	$(MAKE) -j2 --output-sync=target test-browser test-outside

# Both wait more than they compute.
test-outside:
	$(MAKE) -j1 test-api test-compat test-s3

# The integration tests wait more than they compute.
test-rust: build
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(($$(nproc) + 1))} $(CARGO) test --workspace

test-ui: $(WEB)/node_modules/.package-lock.json
	cd $(WEB) && npm run check && npm test
	cd $(BROWSER) && node --test docs.test.js

# Python is used for this alone; its packages are of pinned versions and live beside what is built.
API_PYTHON := $(TARGET)/api-venv/bin/python
$(API_PYTHON): tests/api/requirements.txt
	python3 -m venv $(TARGET)/api-venv
	$(API_PYTHON) -m pip install --quiet --disable-pip-version-check -r tests/api/requirements.txt
	@touch $@

test-api: build $(API_PYTHON) ## Try the HTTP API against its OpenAPI document (EXAMPLES=50)
	$(API_PYTHON) tests/api/run.py $(BIN)/sawlog $(or $(EXAMPLES),50)

COMPAT     := $(TARGET)/compat-venv/bin/python
COMPAT_ES8 := $(TARGET)/compat-es8-venv/bin/python
$(COMPAT): tests/compat/requirements.txt
	python3 -m venv $(TARGET)/compat-venv
	$(COMPAT) -m pip install --quiet --disable-pip-version-check -r tests/compat/requirements.txt
	@touch $@
$(COMPAT_ES8): tests/compat/requirements-es8.txt
	python3 -m venv $(TARGET)/compat-es8-venv
	$(COMPAT_ES8) -m pip install --quiet --disable-pip-version-check -r tests/compat/requirements-es8.txt
	@touch $@

tests/compat/node_modules/.package-lock.json: tests/compat/package-lock.json
	cd tests/compat && npm ci --no-audit --no-fund
	@touch $@

test-compat: build $(COMPAT) $(COMPAT_ES8) tests/compat/node_modules/.package-lock.json ## Clients of other products, the real ones, against a node
	$(COMPAT) tests/compat/run.py $(BIN)/sawlog elastic_client elastic_read_client opensearch_client loki_client loki_read_client grafana_client otlp_client hec_client gelf_client fluent_client syslog_client journal_client node_client kafka_client parquet_readers
	$(COMPAT_ES8) tests/compat/run.py $(BIN)/sawlog elastic_client elastic_read_client

S3 := $(TARGET)/s3-venv/bin/python
$(S3): tests/s3/requirements.txt
	python3 -m venv $(TARGET)/s3-venv
	$(S3) -m pip install --quiet --disable-pip-version-check -r tests/s3/requirements.txt
	@touch $@

test-s3: build $(S3) ## The store of objects, and three nodes on it, against a real S3 server with faults in front of it
	$(CARGO) build --workspace --example objects_s3
	$(S3) tests/s3/run.py $(BIN)/examples/objects_s3
	$(S3) tests/s3/nodes.py $(BIN)/sawlog

test-browser: build $(BROWSER)/node_modules/.package-lock.json
	cd $(BROWSER) && SAWLOG_BIN=$(abspath $(BIN))/sawlog npm test

lint: lint-ui ui ## Format, clippy and documentation, all warnings denied
	cargo fmt --all -- --check
ifndef LINTED_AS_COMPILED
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' $(CARGO) doc --workspace --no-deps --document-private-items
endif

lint-ui: $(WEB)/node_modules/.package-lock.json
	cd $(WEB) && npm run lint

fmt: ## Put the code in format
	cargo fmt --all
	cd $(WEB) && npm run format

bench-build: tools-build ui
	$(BENCH) build -p sawlog -p shipper

bench: bench-build ## Measure speed, size and latency beside references (RECORDS=1000000)
	$(BENCH) run -p tests --bin bench

bench-split: bench-build ## Bytes by part, CPU by stage, queries over three corpora (CORPUS=plain,hostile,wide RECORDS=… SAMPLES=folder)
	$(BENCH) run -p tests --bin bench-split

bench-query: bench-build ## The table of queries, end to end, warm and cold, checked, beside ripgrep; dashboards (RECORDS=… SAMPLES=folder NODES=3)
	$(BENCH) run -p tests --bin bench-query

# The reference beside it runs from here: NATS as its package for Python brings it.
BENCH_PYTHON := $(TARGET)/bench-venv/bin/python
$(BENCH_PYTHON): tests/bench/requirements.txt
	python3 -m venv $(TARGET)/bench-venv
	$(BENCH_PYTHON) -m pip install --quiet --disable-pip-version-check -r tests/bench/requirements.txt
	@touch $@

bench-cluster: bench-build $(BENCH_PYTHON) ## Three nodes beside one and beside NATS JetStream; failover; what idle nodes cost (BENCH_MB=200 KILLS=20)
	JETSTREAM="$(abspath $(BENCH_PYTHON)) tests/bench/jetstream.py" $(BENCH) run -p tests --bin bench-cluster

bench-doors: bench-build ## MB/s and CPU-s/GB of every door, beside the native one (RECORDS=500000 DOORS=otlp)
	$(BENCH) run -p tests --bin bench-doors

bench-shipper: ## What shipping costs, beside zstd and rsyslog, and idling (BENCH_MB=300 BENCH_PARTS="ship start idle hot backlog")
	$(CARGO) bench --profile ship -p shipper --bench ship

bench-browser: build $(BROWSER)/node_modules/.package-lock.json ## How quick the page is, measured in the browser
	cd $(BROWSER) && SAWLOG_BIN=$(abspath $(BIN))/sawlog npm run performance
deb: ## Build the shipper's Debian package into target/deb
	$(CARGO) build --profile ship -p shipper
	deploy/deb/build $(TARGET)/ship/sawlog-shipper $$($(CARGO) pkgid -p shipper | sed 's/.*[#@]//') $(TARGET)/deb

fuzz: ## Any bytes into what reads bytes, each target for FUZZ_SECONDS=60; wants a nightly compiler and cargo-fuzz
	for target in lines file syslog spool settings batch doors listeners split; do \
	  (cd tests/fuzz && cargo +nightly fuzz run --fuzz-dir . $$target -- -max_total_time=$(or $(FUZZ_SECONDS),60) -max_len=4096 -timeout=10); done

fuzz-doors: ## Damaged requests of every door at length (FUZZ_CASES=100000, FUZZ_FIRST=1)
	FUZZ_CASES=$(or $(FUZZ_CASES),100000) $(CARGO) test -p ingest --lib -- doors::fuzz --nocapture

shipper-model: build ## Files against the shipper's model at length: SEEDS=20 STEPS=20000 FIRST=1
	SAWLOG_MODEL_SEEDS=$(or $(SEEDS),20) SAWLOG_MODEL_STEPS=$(or $(STEPS),20000) SAWLOG_MODEL_SEED=$(or $(FIRST),1) \
	$(CARGO) test -p tests --test cases -- shipper_model --nocapture

crash: build ## The crash test at length: ROUNDS=100 kills of node and shipper under load
	SAWLOG_CRASH_ROUNDS=$(or $(ROUNDS),100) $(CARGO) test -p tests --test cases -- crash --nocapture

chaos: build ## Nodes killed, paused, cut off, slowed, damaged, wiped, added and removed under load; every line counted (MINUTES=5 SEED=1 NODES=3 STORE=shared)
	MINUTES=$(or $(MINUTES),5) SEED=$(or $(SEED),1) NODES=$(or $(NODES),3) STORE=$(or $(STORE),copies) $(CARGO) run -p tests --bin chaos

sim: ## The cluster's own logic under seeded faults on virtual time: SEEDS=10000
	SAWLOG_SIM_SEEDS=$(or $(SEEDS),10000) $(CARGO) test -p sawlog -p shipper -p ingest --lib -- --nocapture sim::

screenshots: build $(BROWSER)/node_modules/.package-lock.json ## Every view at 1440 and 390 px, light and dark, into ./screenshots
	cd $(BROWSER) && SAWLOG_BIN=$(abspath $(BIN))/sawlog SCREENSHOTS=$(abspath screenshots) npm run screenshots

clean: ## Remove what was built (not ./data)
	cargo clean
	rm -rf $(WEB)/dist $(WEB)/node_modules $(BROWSER)/node_modules screenshots

tools-build:
	@deploy/tools cc cargo npm

tools-test:
	@deploy/tools cc cargo npm chromium rg python3 rsyslogd omelasticsearch.so logger systemd-journal-upload
