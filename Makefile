# The front door. `make help` lists what can be done; scripts/ holds what is longer than a line or two.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Builds never need a database: they read the committed descriptions of our queries (see scripts/sqlx.sh).
export SQLX_OFFLINE := true

# The version of buf, from the npm registry.
BUF := 1.75.0
# Further arguments of `tael bench`, as in: make bench ARGS="--clients 32"; likewise of `make chaos`.
ARGS ?=
# For how many seconds `make chaos` breaks things, the seed of its schedule (a new one when empty), and the builds it runs.
CHAOS_SECONDS ?= 600
CHAOS_SEED ?=
CHAOS_PROFILE ?= dev

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: install ## Play the main journey for real, from a price to reconciled books, and print it
	cargo build -p tael
	scripts/local.sh with .tael/demo -- cargo run --quiet -p tael -- demo

.PHONY: up
up: install ## Run the whole platform until interrupted, and print its addresses; its data stays in .tael/up
	cargo build -p tael
	scripts/local.sh with --keep .tael/up -- cargo run --quiet -p tael -- up

.PHONY: bench
bench: install ## Load a release build with full journeys and print rates and latencies
	cargo build --release -p tael
	scripts/local.sh with .tael/bench -- cargo run --quiet --release -p tael -- bench $(ARGS)

# The servers are always its own, whatever the environment names: they are crashed.
.PHONY: chaos
chaos: install ## Kill, freeze and cut off everything while clients buy, then check that nothing was lost or done twice
	cargo build --workspace --bins --profile $(CHAOS_PROFILE)
	env -u TAEL_DATABASE_URL -u TAEL_REDIS_URL scripts/local.sh with .tael/chaos/servers -- \
	  target/$(if $(filter dev,$(CHAOS_PROFILE)),debug,$(CHAOS_PROFILE))/tael-chaos \
	  --seconds $(CHAOS_SECONDS) $(if $(CHAOS_SEED),--seed $(CHAOS_SEED)) $(ARGS)

.PHONY: chaos-minute
chaos-minute:
	$(MAKE) chaos CHAOS_SECONDS=60

.PHONY: test
test: install kubectl ## Check formatting, lints and SQL, and run all tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	scripts/local.sh with --disposable .tael/test -- scripts/test.sh

.PHONY: sqlx
sqlx: install ## Renew the committed descriptions of our SQL queries, after changing a query or a migration
	scripts/local.sh with --disposable .tael/sqlx -- scripts/sqlx.sh prepare

.PHONY: ci
ci: locked test k8s demo chaos-minute buf deny ## Everything that continuous integration runs

.PHONY: locked
locked: ## Check that Cargo.lock is up to date
	cargo metadata --locked --format-version 1 >/dev/null

.PHONY: k8s
k8s: ## Check what is deployed: manifests, images, alerts, the Tiltfile (what overlays render is also looked at by `make test`)
	scripts/k8s.sh install
	scripts/k8s.sh check

# The tests in tests/deploy render the overlays.
.PHONY: kubectl
kubectl:
	@scripts/k8s.sh install kubectl

.PHONY: buf
buf: ## Lint the gRPC contracts
	npm install --loglevel=error --no-save --no-audit --no-fund --prefix .tael/buf @bufbuild/buf@$(BUF)
	.tael/buf/node_modules/.bin/buf lint proto

.PHONY: deny
deny: ## Check licences, bans and sources of our dependencies, and advisories when they can be fetched
	cargo deny --log-level error check --hide-inclusion-graph licenses bans sources
	if cargo deny --log-level off fetch db; then \
	  cargo deny --log-level error check --disable-fetch advisories; \
	else \
	  echo 'ADVISORIES NOT CHECKED: their database (github.com/RustSec/advisory-db) cannot be reached from here.'; \
	fi

.PHONY: install
install: ## Install PostgreSQL and Redis where they are missing
	@scripts/local.sh install
