# `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-14s %s\n", $$1, $$2}'

run: ## Build and start everything in one process on embedded storage, with sample journeys
	@deploy/run.sh

run-services: ## The same as separate processes on a real Kafka and PostgreSQL on this machine
	@deploy/run-services.sh

test: ## Install what the tests need, start Kafka and PostgreSQL, run every test
	@tests/run.sh

check: ## What CI checks besides tests; changes nothing
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --document-private-items --quiet
	cargo metadata --manifest-path fuzz/Cargo.toml --locked --format-version 1 >/dev/null
	cargo run --quiet --locked -p journeylog -- schemas check
	tests/api-drift.sh
	! git ls-files -s '*.sh' | grep -v '^100755'
	cargo test -p journeylog -p journeylog-store -p journeylog-domain --quiet --locked --test arrows --test migrations --test standards

bench: ## Measure, as ratios to limits measured in the same run (docs/benchmarks.md)
	@tests/bench.sh

soak: ## Hundreds of seeded rounds of kills, restarts and rebalances (ROUNDS=200 SEED=1)
	@tests/soak.sh

clean: ## Remove what was built and run here
	cargo clean
	[ ! -s .run/services/postgres-folder ] || rm -rf "$$(cat .run/services/postgres-folder)"
	rm -rf .run .cache

.PHONY: help run run-services test check bench soak clean
