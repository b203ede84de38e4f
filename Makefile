# make up            start ZooKeeper, a coordinator and three brokers, see messages flow     make down    stop them, keep the data
# make up ONE=1      the same with one broker and no coordinator
# make up SECURED=1  the cluster with TLS, SCRAM, ACLs and a quota: see who is let through
# make test          everything that is checked, without Docker             make test-docker    the images and the compose files
# make bench         the same work on Kafka 3.9.1 and on this broker, in turn: a table with ratios (docs/benchmarks.md)
# Each says what it does, and what is missing where it fails.

.PHONY: help up down set-up check unit integration test test-docker bench clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

up:
	@docker/up $(if $(ONE),one,$(if $(SECURED),secured))

down:
	@docker/down

# All that the tests need beside a Rust toolchain.
set-up:
	@integration-tests/tools/set-up

check:
	@echo "make: checking the format"
	@cargo fmt --all --check || { echo "make: the format is not rustfmt's; run cargo fmt --all" >&2; exit 1; }
	@echo "make: linting (warnings are errors)"
	@cargo clippy --workspace --all-targets --quiet -- -D warnings

unit:
	@echo "make: unit, property and golden tests"
	@cargo test --workspace --exclude integration-tests --quiet

# One test after the other would take the JVMs' starting times one after the other; more at once than this, and they starve each other.
integration:
	@echo "make: building the programs"
	@cargo build --quiet -p broker -p coordinator-service
	@echo "make: integration tests: a real ZooKeeper, stock tools and clients"
	@cargo test -p integration-tests -- --test-threads $${OTTLA_TEST_THREADS:-3}

test: set-up check unit integration
	@echo "make: all tests passed"

test-docker:
	@docker/test

# BENCH="--list" and the like are its arguments.
bench:
	@integration-tests/tools/set-up build zookeeper kafka
	@echo "make: building the broker and the load generator (cargo build --release)"
	@cargo build --release --quiet -p broker -p coordinator-service
	@cargo build --release --quiet -p bench
	@target/release/bench $(BENCH)

# What make up has left: data, logs, pid files.
clean: down
	rm -rf .ottla
