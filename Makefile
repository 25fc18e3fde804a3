# Every command of this project. `make` alone lists them.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := help

BIN := $(CURDIR)/bin

# A checkout names its version after its tags; an unpacked tarball has none
# (and must not take the one of a repository it happens to lie in).
VERSION ?= $(shell test -e .git && git describe --tags --always --dirty 2>/dev/null || echo dev)

# Tools are pinned here and built into bin/, independently of go.mod.
GOFUMPT       := mvdan.cc/gofumpt@v0.12.0
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOTESTSUM     := gotest.tools/gotestsum@v1.13.0
BENCHSTAT     := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

# What the caller may change: make test PKG=./fsm/...
PKG          ?= ./...
TESTFLAGS    ?=
BENCH        ?= .
BENCH_COUNT  ?= 6
BENCH_TIME   ?= 100ms
BENCH_OUT    ?= $(BIN)/bench.txt
FUZZTIME     ?= 60s
RESTARTS     ?= 50
FROM         ?= HEAD~1
NODES        ?= 100
FAULTS       ?= 200
SEED         ?=
TRIALS       ?= 20
TENANTS      ?= 10000
MONITORS     ?= 100000
ALERTS       ?= 100000
KILLS        ?= 0
LASTS        ?= 60
OZMO_VECTORS ?= ../shared/vectors

# Packages whose tests run much in virtual time: see .ci/virtual.sh.
VIRTUAL := ozmo/(node|worker|testcluster)$$

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the static binaries bin/ozmo and bin/devchain
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o '$(BIN)/' ./cmd/ozmo ./cmd/devchain

.PHONY: demo
demo: build ## build, then run `ozmo demo`: a local chain, watched
	@'$(BIN)/ozmo' demo

.PHONY: demo-cluster
demo-cluster: build ## three nodes and Redis; the one that watches the chain is killed on the way
	@'$(BIN)/ozmo' demo --nodes 3 --redis --kill-watcher --for 60s

.PHONY: test
test: ## run all tests with the race detector (installs a C compiler, redis-server and PostgreSQL where it may)
	@bash .ci/prepare.sh
	@bash .ci/tool.sh '$(BIN)' $(GOTESTSUM)
	@pkgs=$$(go list $(PKG) | grep -vE '$(VIRTUAL)' || true); [ -z "$$pkgs" ] || \
	CGO_ENABLED=1 '$(BIN)/gotestsum' --format pkgname --format-hide-empty-pkg -- -race -shuffle=on -timeout 15m -p 2 $(TESTFLAGS) $$pkgs
	@for pkg in $$(go list $(PKG) | grep -E '$(VIRTUAL)'); do bash .ci/virtual.sh '$(BIN)' "$$pkg" $(TESTFLAGS) || exit 1; done
	$(if $(filter ./...,$(PKG)),@$(MAKE) netns-test)

.PHONY: netns-test
netns-test: ## partition nodes by network namespaces (as root; elsewhere it says why not)
	go test -count=1 -tags netns -run '^TestPartitionNetns$$' -v -timeout 10m ./testcluster/proc

.PHONY: check
check: ## format, vet, lint and module hygiene
	@bash .ci/tool.sh '$(BIN)' $(GOFUMPT)
	@bash .ci/tool.sh '$(BIN)' $(GOLANGCI_LINT)
	@bash .ci/check.sh '$(BIN)'

.PHONY: bench
bench: ## run the benchmarks; compare with an earlier run: make bench OLD=before.txt
	@bash .ci/tool.sh '$(BIN)' $(BENCHSTAT)
	@pkgs=$$(bash .ci/packages.sh Benchmark); \
	if [ -z "$$pkgs" ]; then echo 'There are no benchmarks.'; exit 0; fi; \
	go test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCH_TIME) -count $(BENCH_COUNT) -timeout 60m $$pkgs | tee '$(BENCH_OUT)'; \
	echo; echo 'Raw results: $(BENCH_OUT)'; echo; \
	'$(BIN)/benchstat' $(if $(OLD),'$(OLD)') '$(BENCH_OUT)'

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (60s), stop at the first finding
	@bash .ci/fuzz.sh $(FUZZTIME)

.PHONY: crash-test
crash-test: ## kill and restart real processes RESTARTS (50) times
	OZMO_CRASH_RESTARTS=$(RESTARTS) go test -count=1 -run '^TestCrash$$' -v -timeout 60m ./testcluster/proc/...

.PHONY: soak
soak: ## run three real nodes through FAULTS (200) random faults; SEED=N repeats a plan
	OZMO_SOAK_FAULTS=$(FAULTS) $(if $(SEED),OZMO_SOAK_SEED=$(SEED)) go test -count=1 -run '^TestSoak$$' -v -timeout 8h ./testcluster/proc/...

.PHONY: bench-failover
bench-failover: ## measure what failures cost, TRIALS (20) times each (ROWS=watcher: those rows only), and calls per block with up to TENANTS (10000)
	OZMO_FAILOVER_TRIALS=$(TRIALS) OZMO_FAILOVER_ROWS='$(ROWS)' OZMO_FETCH_TENANTS=$(TENANTS) go test -count=1 -run '^(TestFailover|TestJoinMoves|TestFetchCalls)$$' -v -timeout 8h ./testcluster/proc/...
	go test -run '^$$' -bench '^BenchmarkFollowerApply$$' -benchtime 2000x ./node/consensus

.PHONY: soak-nodes
soak-nodes: ## NODES (100) nodes with 5 voters in virtual time, 20 of them killed
	OZMO_SOAK_NODES=$(NODES) go test -count=1 -run '^TestSoak$$' -v -timeout 60m ./testcluster

.PHONY: soak-delivery
soak-delivery: ## deliver ALERTS (100000) with all receivers healthy, then with 3 in 10 at fault; KILLS (0) kills the node meanwhile
	OZMO_DELIVERY_STRIDE=1 go test -count=1 -run '^TestDeliveryKilledBetweenSteps$$' -v -timeout 20m ./testcluster
	OZMO_DELIVERY_ALERTS=$(ALERTS) OZMO_DELIVERY_KILLS=$(KILLS) go test -count=1 -run '^TestSoakDelivery$$' -v -timeout 4h ./testcluster/proc

.PHONY: bench-delivery
bench-delivery: ## measure delivery for LASTS (60) seconds each: latency by stage on three nodes, and the rate of one
	OZMO_DELIVERY_BENCH=$(LASTS) go test -count=1 -run '^TestBenchDelivery$$' -v -timeout 1h ./testcluster/proc

.PHONY: soak-config
soak-config: ## change tenants 200 times a second over three nodes for LASTS (60) seconds of virtual time, while blocks come
	OZMO_CONFIG_SECONDS=$(LASTS) go test -count=1 -run '^TestLiveConfiguration$$' -v -timeout 20m ./node

.PHONY: load-tenants
load-tenants: ## TENANTS (10000) with MONITORS (100000) over the API of one node: bulk apply, changes, memory, restart
	OZMO_LOAD_TENANTS=$(TENANTS) OZMO_LOAD_MONITORS=$(MONITORS) go test -count=1 -run '^TestLoadTenants$$' -v -timeout 30m ./testcluster/proc

.PHONY: load-postgres
load-postgres: ## the same with the documents in PostgreSQL, and with tenants of another program's tables
	OZMO_LOAD_TENANTS=$(TENANTS) OZMO_LOAD_MONITORS=$(MONITORS) go test -count=1 -run '^TestPostgresLoad' -v -timeout 60m ./testcluster/proc

.PHONY: bench-api
bench-api: ## measure the API of three nodes at 200 requests/s for LASTS (60) seconds each: reads, writes, and how soon a change is in force
	OZMO_API_BENCH=$(LASTS) go test -count=1 -run '^TestBenchAPI$$' -v -timeout 1h ./testcluster/proc

.PHONY: fuzz-api
fuzz-api: ## send odd requests to every route of docs/openapi.json for FUZZTIME (60s); SEED=N repeats a run
	OZMO_FUZZ_API=$(FUZZTIME) $(if $(SEED),OZMO_FUZZ_API_SEED=$(SEED)) go test -count=1 -run '^TestFuzzAPI$$' -v -timeout 8h ./testcluster/proc

.PHONY: bench-noisy
bench-noisy: ## measure for LASTS (60) seconds each what one noisy tenant does to the latency of twenty others
	OZMO_NOISY_BENCH=$(LASTS) go test -count=1 -run '^TestNoisyNeighbours$$' -v -timeout 1h ./testcluster/proc

.PHONY: upgrade-test
upgrade-test: ## roll a cluster from the build of commit FROM (HEAD~1) to this one and back
	OZMO_UPGRADE_FROM='$(FROM)' go test -count=1 -run '^TestUpgrade$$' -v -timeout 20m ./testcluster/proc/...

.PHONY: vectors
vectors: ## run the conformance vectors of OZMO_VECTORS=DIR
	@test -d '$(OZMO_VECTORS)' || { echo 'No conformance vectors in $(OZMO_VECTORS): run make vectors OZMO_VECTORS=DIR' >&2; exit 1; }
	@bash .ci/tool.sh '$(BIN)' $(GOTESTSUM)
	@pkgs=$$(bash .ci/packages.sh TestConformance); \
	if [ -z "$$pkgs" ]; then echo 'No package has a TestConformance.' >&2; exit 1; fi; \
	OZMO_VECTORS='$(abspath $(OZMO_VECTORS))' '$(BIN)/gotestsum' --format pkgname -- -count=1 -run '^TestConformance' $$pkgs

.PHONY: clean
clean: ## remove what the targets above built, tools included
	rm -rf '$(BIN)'
