# The commands of the project; each installs what it needs (as root, on Debian 12) and shows its progress.
#
#   make demo            a customer with only IPv4 reaches IPv6 through the gateway, on this machine (HOLD=1: stays up)
#   make demo-mesh       two gateways join two IPv4 islands over an IPv6 core, encrypted (HOLD=1: stays up)
#   make test            everything: lint, unit, golden, simulation, fuzz corpora, instructions, the demos, real peers, capacity, API, live view, package, Ansible
#   make bench           figures: packets, full routing tables, other BGP speakers (BENCH="routes churn" runs some of them)
#   make bench-compare   those of packets (perf/results) as multiples of what was accepted (perf/baselines)
#   make bench-accept    accepts them
#   make bench-count     instructions per packet, by callgrind; fails when they are more than 3 % above what was accepted
#   make build           softwired, swctl, softwire-initiator and softwire-capacity, release
#   make lint            rustfmt and clippy, warnings are errors
#   make unit            what cargo test runs
#   make interop         real peers in guests and namespaces; CASES="10 31" runs some of them
#   make capacity        the capacity lab, small: subscribers and measured traffic against a gateway, on veth pairs
#   make api             the API against its description, by schemathesis
#   make view            the live view in headless Chromium, against a gateway that is made up
#   make package         the Debian package, in target/debian
#   make test-package    the package on a Debian that systemd has booted, and a new operator's first hour
#   make ansible         the Ansible collection: lint, modules, a run on the real package, drift
#   make fuzz            every fuzz target for a minute each (SECONDS=60)
#   make tcp-ao          TCP-AO on a kernel that has it: Debian sid's, in a guest; not part of make test
#   make forky           strongSwan and Linux of Debian forky in a guest: RFC 9611, ML-KEM; not part of make test
#   make reference       the interop clients against a Linux guest in the gateway's place
#   make clean           what the tests and cargo made
.NOTPARALLEL:
.PHONY: help demo demo-mesh test bench bench-accept bench-compare bench-count bench-reference build lint unit lab interop capacity api view package test-package ansible fuzz tcp-ao forky reference clean setup setup-lab

CASES ?=
BENCH ?= fastpath scale cores latency churn routes control ike tables rekey storm storm-traffic reference
PACKETS = fastpath scale cores latency
HOLD ?= 0
SECONDS ?= 60

help:
	@sed -n 's/^#   \(make.*\)/\1/p' Makefile

setup:
	@tests/setup/apt.sh build
setup-lab:
	@tests/setup/apt.sh build lab

build: setup
	cargo build --release -p softwire-gateway -p softwire-initiator -p softwire-capacity -p swctl --bins

demo: setup-lab build
	@HOLD=$(HOLD) tests/demo/demo.sh

demo-mesh: setup-lab build
	@HOLD=$(HOLD) tests/demo/mesh.sh

test: setup-lab lint unit bench-count demo demo-mesh lab

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features tcp-options/tcp-ao-kernel,controlplane/tcp-ao-kernel -- -D warnings
	cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
	cargo check --manifest-path tests/fuzz/Cargo.toml --bins

unit: setup
	cargo test --workspace

lab: setup-lab build
	@tests/lab.sh

interop: setup-lab build
	@tests/interop/run.sh $(CASES)

forky: setup-lab build
	@tests/interop/run.sh 45

capacity: setup-lab build
	@tests/capacity/run.sh

api: setup-lab build
	@tests/api/schemathesis.sh

view:
	@tests/view/run.sh

package: build
	@packaging/build.sh

test-package: build
	@tests/package/run.sh
	@tests/package/first-hour.sh

ansible: build
	@tests/ansible/run.sh

fuzz: setup
	@tests/fuzz/run.sh $(SECONDS)

tcp-ao: setup-lab
	@tests/tcp-ao.sh

reference: setup-lab
	@tests/interop/run.sh --reference $(CASES)


bench: setup
	@$(if $(filter fastpath,$(BENCH)),tests/setup/apt.sh floors)
	@tests/setup/hugepages.sh >/dev/null
	cargo build --release -p perf -p fastpath
	@for b in $(patsubst fastpath,run,$(filter $(PACKETS),$(BENCH))); do echo "== $$b"; GLIBC_TUNABLES=glibc.malloc.hugetlb=1 target/release/softwire-fastpath --out perf/results $$b || exit 1; done
	@for b in $(filter-out reference $(PACKETS),$(BENCH)); do echo "== $$b"; GLIBC_TUNABLES=glibc.malloc.hugetlb=1 target/release/perf $$b || exit 1; done
	@$(if $(filter reference,$(BENCH)),$(MAKE) --no-print-directory bench-reference)
bench-compare: setup
	cargo build --release -p fastpath
	@for new in perf/results/*.json; do old=perf/baselines/$${new##*/}; [ ! -e $$old ] || target/release/softwire-fastpath compare $$old $$new || exit 1; done
bench-accept:
	@mkdir -p perf/baselines && cp perf/results/*.json perf/results/*.md perf/results/*.svg perf/baselines/
bench-count: setup
	@tests/setup/apt.sh count
	cargo build --release -p fastpath
	target/release/softwire-fastpath --out perf/results count
	target/release/softwire-fastpath compare --most 1.03 perf/baselines/instructions.json perf/results/instructions.json
bench-reference: build
	@tests/setup/apt.sh bench
	@echo "== reference"; perf/reference-bgp.sh

clean:
	rm -rf tests/interop/out tests/interop/work
	cargo clean
