# `make help` lists what can be made. Everything built goes to target/ (or CARGO_TARGET_DIR).
SHELL := /bin/bash
CARGO ?= cargo
CARGO_FLAGS ?=
CC ?= cc
CFLAGS ?= -O2 -g -gdwarf-4
WARNINGS := -Wall -Wextra -pedantic -Wstrict-prototypes -Werror

# The directory variables of the GNU coding standards. PREFIX, LIBDIR and INCLUDEDIR set prefix, libdir and includedir.
PREFIX ?= /usr/local
prefix = $(PREFIX)
exec_prefix = $(prefix)
bindir = $(exec_prefix)/bin
libdir = $(or $(LIBDIR),$(exec_prefix)/lib)
includedir = $(or $(INCLUDEDIR),$(prefix)/include)
datarootdir = $(prefix)/share
datadir = $(datarootdir)
mandir = $(datarootdir)/man
docdir = $(datarootdir)/doc/redlock
pkgconfigdir = $(libdir)/pkgconfig
cmakedir = $(libdir)/cmake/redlock
bashcompletiondir = $(datadir)/bash-completion/completions
zshcompletiondir = $(datadir)/zsh/site-functions
fishcompletiondir = $(datadir)/fish/vendor_completions.d
INSTALL_VARIABLES = prefix exec_prefix bindir libdir includedir mandir docdir pkgconfigdir cmakedir \
	bashcompletiondir zshcompletiondir fishcompletiondir DESTDIR VERSION RELEASE REDLOCK_COMMAND PC_PREFIX

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
RELEASE := $(TARGET)/release
# The command that is installed; the tests install the one that they were built with.
REDLOCK_COMMAND ?= $(RELEASE)/redlock
VERSION := $(shell sed -n 's/^version *= *"\(.*\)"/\1/p' Cargo.toml | head -1)
SOVERSION := $(firstword $(subst ., ,$(VERSION)))
# How a program in the tree links the library it was built beside.
LINK := -L$(RELEASE) -lredlock -Wl,--enable-new-dtags,-rpath,$(RELEASE) -pthread

# The examples of event loops are built where pkg-config finds the library of the loop.
LIBRARY_OF_loop_uv := libuv
LIBRARY_OF_loop_libevent := libevent_core
LIBRARY_OF_loop_glib := glib-2.0
LIBRARY_OF_loop_sd_event := libsystemd
LOOPS := $(patsubst examples-c/%.c,%,$(wildcard examples-c/loop_*.c))
LOOPS_HERE = $(foreach loop,$(LOOPS),$(if $(shell pkg-config --exists $(LIBRARY_OF_$(loop)) 2>&1 && echo yes),$(loop)))
OTHER_EXAMPLES := $(filter-out $(LOOPS),$(patsubst examples-c/%.c,%,$(wildcard examples-c/*.c)))
EXAMPLES = $(addprefix $(TARGET)/examples-c/,$(OTHER_EXAMPLES) $(LOOPS_HERE))

.PHONY: go-library dist-go test-go all build archive header cli demo test lint test-header test-rust test-c test-cpp test-python test-ruby gem wheel test-memory test-cli test-examples test-interop test-servers sim model mutants mutants-sim mutants-model soak examples bench install help clean
all: build

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the shared and the static library, and include/redlock.h
	$(CARGO) build --release --lib $(CARGO_FLAGS)
	@ln -sf libredlock.so $(RELEASE)/libredlock.so.$(SOVERSION)

# Without the compiler's bitcode, and with redlock_* alone to be seen: what is installed, and what other packages carry.
$(RELEASE)/static/libredlock.a: $(RELEASE)/libredlock.a tools/archive include/redlock.json
	@mkdir -p $(@D)
	tools/archive $< $@

$(RELEASE)/libredlock.a: build

archive: $(RELEASE)/static/libredlock.a ## the static library for other people's programs

header: ## include/redlock.h and include/redlock.json, from src/ffi
	@REDLOCK_WRITE_HEADER=1 $(CARGO) test --quiet --test project the_header_and_its_description

cli: ## the command redlock, into target/release/redlock
	@# In a folder of its own: with other features the library would be built again and again in the same place.
	CARGO_TARGET_DIR=$(TARGET)/cli $(CARGO) build --release -p redlock-cli $(CARGO_FLAGS)
	@mkdir -p $(RELEASE) && { cmp -s $(TARGET)/cli/release/redlock $(RELEASE)/redlock || cp $(TARGET)/cli/release/redlock $(RELEASE)/redlock; }

demo: ## locks on five real servers, of which some fail
	@tools/setup demo
	@$(MAKE) --no-print-directory -s examples
	@tools/servers run 5 -- tools/demo $(TARGET)/examples-c

test: ## everything that can be tested: set-up and every suite below
	@tools/setup
	@tools/test

lint: ## formatting, clippy
	@tools/test lint

test-header: ## redlock.h in every C and C++ standard; the exported symbols
	@tools/test header

test-rust: ## unit tests, and integration tests on real servers
	@tools/test rust

test-c: ## the C tests, plainly
	@tools/test c

test-cpp: ## the C++ layer
	@tools/test cpp

test-python: ## the Python package
	@tools/test python

test-ruby: ## the Ruby gem
	@tools/test ruby

gem: build ## the gem with the library in it, into target/dist
	@bindings/ruby/build-gem $(RELEASE)/libredlock.so $(TARGET)/dist

wheel: build ## the source distribution and the wheel with the library in it, into target/dist
	@tools/python-venv $(TARGET)/python-venv
	@PYTHON=$(TARGET)/python-venv/bin/python bindings/python/build-wheel $(RELEASE)/libredlock.so $(TARGET)/dist

test-memory: ## the C tests under AddressSanitizer, C tests and examples under valgrind
	@tools/test asan valgrind

test-cli: ## the command redlock, with real jobs
	@tools/test cli

test-examples: ## the examples
	@tools/test examples

test-interop: ## mutual exclusion with redlock-ng and redlock from PyPI
	@tools/test interop

test-servers: ## the C and Rust tests on Redis 6.2, 8.0 and 8.6, Valkey 8.1 and 9
	@tools/test servers servers_rust

SIM := $(CARGO) test --quiet --profile sim --no-default-features --test sim

sim: ## simulated schedules: SEEDS=100000; SEED=n replays one
	@$(if $(SEED),SIM_SEED=$(SEED) RUST_BACKTRACE=0) SEEDS=$(or $(SEEDS),100000) $(SIM) -- --exact --nocapture no_schedule_breaks_a_promise

MODEL := $(CARGO) test --quiet --profile sim --no-default-features --test model

model: ## every interleaving of small scenarios
	@MODEL=full $(MODEL) -- --nocapture

mutants: mutants-sim mutants-model ## seeded protocol faults that the simulator and the model must find

mutants-sim:
	@$(SIM) --features mutants -- --exact --nocapture mutants::every_seeded_fault_is_found

mutants-model:
	@$(MODEL) --features mutants -- --exact --nocapture mutants::seeded_faults_are_found

soak: ## real servers and clients under faults: MINUTES=10 SEED=1
	@MINUTES=$(or $(MINUTES),10) SEED=$(SEED) $(CARGO) test --quiet --test soak -- --exact --nocapture \
		under_real_faults_one_client_holds_the_lock_and_no_fenced_update_is_lost

examples: build ## examples-c/ into target/examples-c/
	@$(MAKE) --no-print-directory -s $(EXAMPLES)
	@$(foreach loop,$(filter-out $(LOOPS_HERE),$(LOOPS)),echo "lacks: $(LIBRARY_OF_$(loop)), for $(loop)";)

# Other people's headers are not held to our warnings.
$(TARGET)/examples-c/loop_%: examples-c/loop_%.c $(wildcard examples-c/*.h include/redlock/*.h) $(RELEASE)/libredlock.so
	@mkdir -p $(@D)
	$(CC) -std=c11 $(CFLAGS) $(WARNINGS) -Iinclude $$(pkg-config --cflags $(LIBRARY_OF_loop_$*) | sed 's/-I/-isystem /g') \
		$< $(LINK) $$(pkg-config --libs $(LIBRARY_OF_loop_$*)) -o $@

$(TARGET)/examples-c/%: examples-c/%.c $(wildcard examples-c/*.h) $(RELEASE)/libredlock.so
	@mkdir -p $(@D)
	$(CC) -std=c11 $(CFLAGS) $(WARNINGS) -Iinclude $< $(LINK) -o $@

$(RELEASE)/libredlock.so: build

include tests/c/tests.mk

ifneq ($(wildcard benches/run),)
bench: build ## this library against hand-written floors
	@tools/setup demo
	@benches/run
endif

.PHONY: test-dist install-strip uninstall manual uninstalled test-install
# Without cargo, as under sudo, what was built before is installed.
INSTALL_NEEDS := $(if $(shell command -v $(CARGO)),build archive $(if $(filter $(RELEASE)/redlock,$(REDLOCK_COMMAND)),cli) manual)

install: $(INSTALL_NEEDS) ## library, headers, command, manual: prefix=/usr/local, DESTDIR and the GNU directory variables
	@$(foreach v,$(INSTALL_VARIABLES),$(v)='$($(v))') BUILT='$(TARGET)' STRIP=$(STRIP) tools/install install

install-strip: STRIP := yes
install-strip: install ## the same, stripped of symbols for debuggers

uninstall: ## removes what install put there, with the same variables
	@$(foreach v,$(INSTALL_VARIABLES),$(v)='$($(v))') BUILT='$(TARGET)' tools/install uninstall

manual: $(if $(filter $(RELEASE)/redlock,$(REDLOCK_COMMAND)),cli) ## the manual pages, into target/man
	@mkdir -p $(TARGET)/man
	@rm -f $(TARGET)/man/*
	@$(REDLOCK_COMMAND) manual >$(TARGET)/man/redlock.1
	@tools/manual roff $(TARGET)/man

.PHONY: docs
docs: $(TARGET)/docs-venv/bin/mkdocs ## guide and reference in HTML, into target/docs
	@PATH=$(<D):$$PATH tools/docs $(TARGET)/docs

# From PyPI: Debian 12's mkdocs lacks scripts of its theme, and with them the search.
$(TARGET)/docs-venv/bin/mkdocs:
	@python3 -m venv $(TARGET)/docs-venv && $(TARGET)/docs-venv/bin/pip -q install 'mkdocs>=1.6,<2'

.PHONY: dist
dist: build archive cli manual ## tarball and Debian packages into target/dist (packaging/README.md)
	@tools/dist $(TARGET)/dist

test-dist: dist ## every package that `make dist` makes, the static command included, unpacked or installed, and used
	@tools/dist $(TARGET)/test-dist
	@tools/servers run 3 -- tests/install/packages $(TARGET)/test-dist

test-install: ## install, uninstall, and programs that use what was installed
	@tools/test install

.PHONY: abi-check abi-record
abi-check: build ## the exported ABI against what abi/ records
	@tools/abi check $(RELEASE)/libredlock.so

abi-record: build ## records the ABI in abi/; docs/abi.md says which changes are allowed
	@tools/abi record $(RELEASE)/libredlock.so

# pkg-config prefers it to an installed one: PKG_CONFIG_PATH=target/pkgconfig.
uninstalled: build ## target/pkgconfig/redlock-uninstalled.pc, for use from the tree
	@mkdir -p $(TARGET)/pkgconfig
	@$(PC) >$(TARGET)/pkgconfig/redlock-uninstalled.pc

PC = sed -e 's|@prefix@|$(CURDIR)|' -e 's|@exec_prefix@|$${prefix}|' -e 's|@libdir@|$(RELEASE)|' \
	-e 's|@includedir@|$${prefix}/include|' -e 's|@version@|$(VERSION)|' -e 's|@rpath@| -Wl,-rpath,$(RELEASE)|' \
	-e "s|@private@|$$(tools/native-libs)|" tools/redlock.pc.in

# A redlock.pc for the library as it was built in the tree.
go-library: build
	@mkdir -p $(TARGET)/go-pkgconfig
	@$(PC) >$(TARGET)/go-pkgconfig/redlock.pc

dist-go: archive ## the Go module with the static archive in it, as a module proxy in target/dist/go
	@bindings/go/build-module $(RELEASE)/static/libredlock.a $(TARGET)/dist/go $(VERSION)

.PHONY: bench-go
bench-go: go-library ## the Go package against the C library, redsync and rueidislock
	@benches/go/run

test-go: ## the Go package: vet, race detector, examples, the packed module
	@tools/test go

clean: ## removes target/
	$(CARGO) clean
