# vetch: everything a developer types. `make` alone lists the targets.
# Variables: ARGS (for run), PKG and RUN (for test), FUZZTIME (for fuzz), KERNELS (for test-kernel), IMAGE (for image), CLUSTER (for test-cluster).

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GOLANGCI := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  := -s -w -X github.com/vetch-dev/vetch/command.version=$(VERSION)
PKG      ?= ./...
FUZZTIME ?= 10s
KERNELS  ?= 5.10 6.1 6.12

export CGO_ENABLED ?= 0
export PATH := $(CURDIR)/.cache/node/bin:$(PATH)

IMAGE    ?= localhost/vetch:$(VERSION)

.PHONY: help run build image test lint generate check-generated bench test-kernel test-cluster test-kubestate bench-cluster chart-test manifests fuzz web-test deps

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build, and run vetch on this machine as root (ARGS="--listen 127.0.0.1:5000")
	@if [ "$$(id -u)" = 0 ]; then exec bin/vetch run $(ARGS); else exec sudo bin/vetch run $(ARGS); fi

build: ## write bin/vetch (static; needs nothing but Go)
	@scripts/deps.sh build
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/vetch .

image: ## write bin/vetch-image.tar, an OCI image for amd64 and arm64 (IMAGE=name:tag); without Docker
	@scripts/deps.sh build
	go run ./scripts/image -version '$(VERSION)' -name '$(IMAGE)'

# Packages one after the other: many load kernel programs and measure the machine, and would count each other's traffic.
test: ## install what tests need, then lint, check-generated, the page's tests and all Go tests
	@scripts/deps.sh test
	@$(MAKE) --no-print-directory lint check-generated web-test
	go test -p 1 -timeout 30m $(if $(RUN),-run '$(RUN)') $(PKG)
	@$(if $(RUN),,sed -n '/^<!-- results of/,/^<!-- end of/p' docs/guide/protocols.md) # TestProtocols holds that they are what it saw

lint: ## gofmt, go vet and golangci-lint (pinned, built from source on first use)
	@unformatted=$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 -r gofmt -l); \
	 if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	$(GOLANGCI) run

generate: ## rebuild the kernel objects, their Go, the names feed, what goes into JVMs, and web/dist
	@scripts/deps.sh generate
	go generate ./bpf ./transport/names ./agent/java
	scripts/web.sh build

check-generated: ## rebuild the same in a copy and compare with what is committed
	@scripts/deps.sh generate
	scripts/check-generated.sh

web-test: ## the page's unit tests (Vitest) and type check
	scripts/web.sh test

bench: ## measure the budgets and write docs/benchmarks.md (as root, on a quiet machine)
	@scripts/deps.sh test
	@scripts/web.sh modules
	go run ./test/load

test-kernel: ## load and count on Debian kernels in QEMU (KERNELS="5.10 6.1 6.12")
	@scripts/deps.sh kernel
	go run ./test/kernel $(KERNELS)

test-cluster: ## a real two-node Kubernetes on this machine, with vetch on it (as root; CLUSTER="-proxy-mode iptables -run NAME -keep -v")
	@scripts/deps.sh cluster
	go run ./test/cluster $(CLUSTER) test

test-kubestate: ## compare the golden kube_* series with kube-state-metrics itself; when they change (builds client-go once more)
	cd test/kubestate && go test -count=1 ./...

chart-test: ## lint and render the Helm chart, its schema, and hold deploy/vetch.yaml; no cluster (builds helm once)
	go run ./test/cluster chart

manifests: ## write deploy/vetch.yaml from the chart
	go run ./test/cluster manifests

bench-cluster: ## measure the watcher and its feed with 20 and 200 simulated nodes, and write it to docs/benchmarks.md (as root)
	@scripts/deps.sh cluster
	go run ./test/cluster -nodes 20 -o docs/benchmarks.md scale
	go run ./test/cluster -nodes 200 -o docs/benchmarks.md scale

fuzz: ## run every fuzz target for FUZZTIME (10s)
	scripts/fuzz.sh $(FUZZTIME)

deps: ## install everything that build, test, generate, test-kernel and test-cluster need
	@scripts/deps.sh build generate test kernel cluster
