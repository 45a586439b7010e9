# `make up` first. Everything here is a few lines; what needs more is a script beside what it serves.
export VIPGATE_IMAGE ?= vipgate:local
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
STACK = cd compose && $(COMPOSE)

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 16

.PHONY: help up down logs status image test e2e fmt lint bench bench-failover soak simulation sabotage fuzz

up: ## build the image, start the stack, say what to try
	@compose/preflight $(firstword $(COMPOSE))
	@$(MAKE) --no-print-directory image
	@compose/key
	@$(STACK) up -d
	@compose/await

down: ## containers and network go; the image stays
	@$(STACK) down --remove-orphans
	@echo "Gone: containers and network. The image $(VIPGATE_IMAGE) stays (docker image rm $(VIPGATE_IMAGE))."

logs:
	@$(STACK) logs --follow --tail 100

status: ## of all three
	@for node in master backup frontend; do \
	  docker exec $${VIPGATE_NAME:-vipgate}-$$node /vipgate status || true; echo; done

image: ## a static binary, FROM scratch
	@docker/build
	@docker build --quiet --file docker/Dockerfile.host --tag $(VIPGATE_IMAGE) target/image >target/image.log 2>&1 || \
	  { cat target/image.log; exit 1; }
	@echo "$(VIPGATE_IMAGE): $$(docker image inspect --format '{{.Size}}' $(VIPGATE_IMAGE)) bytes"

test: fmt lint ## everything: units, simulation, namespaces, Docker Compose
	@tests/prepare
	@tests/everything

e2e: ## Docker Compose end to end only, with its figures
	@tests/prepare
	cargo test --test compose -- --nocapture

fmt:
	cargo fmt --check

lint:
	cargo clippy --all-targets -- -D warnings

# ARGS=--help says what else it can do. The program that measures is built as the tests are; what it measures is the
# release build.
bench: ## what proxying costs beside nginx and haproxy; ROWS=get1k QUICK=1: one row in 20 s
	@tests/prepare
	cargo bench --profile dev --bench proxy -- $(ROWS) $(if $(QUICK),--quick) $(ARGS)

# A row is a word of its name; BENCH_ROUNDS=3 for fewer rounds than 7 or 15.
bench-failover: ## failover beside keepalived, as tutorials have it and tuned; ROWS=pause BENCH_ROUNDS=1: one row
	@tests/prepare
	cargo test --test compose -- --ignored --nocapture $(or $(ROWS),bench)

soak: ## two pairs beside eight busy loops, one with a CPU quota: nobody may take over; SOAK_MINUTES=60
	@tests/prepare
	cargo test --test compose -- --ignored --nocapture soak

# Optimised, with every assertion: `make test` runs 256 of them as everything else is built.
simulation: ## 100,000 runs of several nodes with loss, delay, freezes and partitions; SEEDS=1000: fewer
	SEEDS=$(or $(SEEDS),100000) CARGO_PROFILE_DEV_OPT_LEVEL=3 CARGO_TARGET_DIR=target/simulation \
	  cargo test --test simulation every_seed -- --nocapture

sabotage: ## break one thing after the other; each must turn a test red
	@tests/sabotage/run

fuzz: ## random bytes against all that faces the wire, FUZZ_SECONDS=60 for each target
	@fuzz/run
