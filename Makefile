# SPDX-License-Identifier: Apache-2.0
#
# make                    build/loopscope
# make test               sets up what is missing, builds, runs every test
# make help               the other targets
#
# CC=gcc|clang   V=1   DEBUG=1   SANITIZER=address|undefined|thread   PREFIX=   DESTDIR=

ifeq ($(origin CC),default)
CC := gcc
endif
AR ?= ar
CLANG ?= clang
NEWER_CLANG ?= $(shell for name in clang-19 clang-18 clang; do command -v $$name && break; done)
BPFTOOL ?= tools/bpftool.sh
PREFIX ?= /usr/local
FUZZ_TIME ?= 30
SOAK_TIME ?= 1800
# What the longer targets build, as many at once as there are CPUs if nobody says otherwise.
JOBS = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

# One build directory per kind of build, so that they never mix.
SANITIZER ?=
BUILD := build$(if $(SANITIZER),-$(SANITIZER))

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
OPTIMIZE := $(if $(filter 1,$(DEBUG)),-O0 -g3,-O2 -g)
# bpf/ for the walk of the probes, which src/resolve compiles for the host
CPPFLAGS += -D_GNU_SOURCE -Isrc -Iinclude -Ibpf -I$(BUILD)
CFLAGS += -std=gnu11 $(OPTIMIZE) -fno-omit-frame-pointer $(WARNINGS)
LDLIBS += -lbpf -lelf -lz -lcjson -lpcre2-8 -lm

ifneq ($(filter-out address undefined thread fuzz,$(SANITIZER)),)
$(error SANITIZER is address, undefined or thread, not "$(SANITIZER)")
endif
ifeq ($(SANITIZER),fuzz)
CC := $(CLANG)
SANITIZE := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
else ifneq ($(SANITIZER),)
SANITIZE := -fsanitize=$(SANITIZER) -fno-sanitize-recover=all
endif
CFLAGS += $(SANITIZE)
LDFLAGS += $(SANITIZE)

BPF_ARCH := $(patsubst x86_64,x86,$(patsubst aarch64,arm64,$(shell uname -m)))
# clang -target bpf does not look where the distribution keeps <asm/*.h>.
BPF_SYSTEM = $(shell $(CLANG) -v -E - </dev/null 2>&1 | \
	sed -n '/<...> search starts here:/,/End of search list./{ s| \(/.*\)|-idirafter \1|p }')
BPF_CFLAGS = -target bpf -std=gnu11 -O2 -g -mcpu=v3 -D__TARGET_ARCH_$(BPF_ARCH) \
	-Wall -Wextra -Wno-unused-parameter -Werror \
	-Iinclude -Ibpf $(BPF_SYSTEM)

# the definitions of maps come first: bpftool's linker loses their offsets otherwise
BPF_SOURCES := $(filter bpf/maps.bpf.c,$(wildcard bpf/*.bpf.c)) \
	$(sort $(filter-out bpf/maps.bpf.c,$(wildcard bpf/*.bpf.c)))
SOURCES := $(sort $(filter-out src/main.c,$(wildcard src/*.c src/*/*.c src/*/*/*.c)))
TEST_SUPPORT := $(sort $(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c)))
UNIT_TESTS := $(sort $(wildcard tests/unit/test_*.c))
BPF_TESTS := $(sort $(wildcard tests/bpf/test_*.c))
FUZZERS := $(sort $(wildcard tests/fuzz/fuzz_*.c))
BPF_TEST_SOURCES := $(sort $(wildcard tests/bpf/*.bpf.c))

BPF_OBJECTS := $(BPF_SOURCES:%.c=$(BUILD)/%.o)
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
MAIN_OBJECT := $(BUILD)/src/main.o
SUPPORT_OBJECTS := $(TEST_SUPPORT:%.c=$(BUILD)/%.o)
TEST_PROGRAMS := $(UNIT_TESTS:%.c=$(BUILD)/%) $(BPF_TESTS:%.c=$(BUILD)/%)
FUZZ_PROGRAMS := $(FUZZERS:%.c=$(BUILD)/%)

LIBRARY := $(BUILD)/libloopscope.a
PROGRAM := $(BUILD)/loopscope
SKELETON := $(if $(BPF_SOURCES),$(BUILD)/loopscope.skel.h)
TEST_SKELETONS := $(BPF_TEST_SOURCES:%.bpf.c=$(BUILD)/%.skel.h)

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-8s %s\n'
MAKEFLAGS += --no-print-directory
endif

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.DEFAULT_GOAL := all
FORCE:

.PHONY: all help library setup demo test test-programs check-bpf kernels newer-probes fuzz \
	fuzz-programs syntax lint format bench lab accuracy soak install uninstall clean FORCE

all: $(PROGRAM)

help:
	@echo "make              build $(PROGRAM)"
	@echo "make setup        install the packages that building needs (Debian, Ubuntu)"
	@echo "make demo         set up, build, and watch a service that misbehaves"
	@echo "make test         set up, build, run every test"
	@echo "make check-bpf    the probes in this kernel: loaded, counted, nothing lost uncounted"
	@echo "make kernels      the probes in other kernels of the distribution, in an emulated machine"
	@echo "make fuzz         every fuzzer for FUZZ_TIME=$(FUZZ_TIME) seconds"
	@echo "make lint         formatting, layering, static checks"
	@echo "make format       format C sources the way lint wants them"
	@echo "make bench        what loopscope costs a service"
	@echo "make accuracy     1,000 injected blocks against what is reported"
	@echo "make soak         one attach for SOAK_TIME=$(SOAK_TIME) seconds while everything comes and goes"
	@echo "make lab          every service of the lab, scored"
	@echo "make install      to DESTDIR$(PREFIX); make uninstall takes it away"
	@echo "make clean        remove build directories"

# ---- build -----------------------------------------------------------------

# Holds the flags of the last build: another compiler or option builds anew.
FLAGS := $(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(LDLIBS)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(call quote,$(FLAGS)) | cmp -s - $@ || \
		printf '%s\n' $(call quote,$(FLAGS)) > $@
quote = '$(subst ','\'',$(1))'

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c Makefile
	@mkdir -p $(@D)
	$(say) BPF $@
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@

# A source that was deleted changes the list, not a time stamp.
$(BUILD)/sources: FORCE
	@mkdir -p $(@D)
	@echo $(BPF_SOURCES) $(SOURCES) | cmp -s - $@ || echo $(BPF_SOURCES) $(SOURCES) > $@

$(BUILD)/loopscope.bpf.o: $(BPF_OBJECTS) $(BUILD)/sources
	$(say) BPFLINK $@
	$(Q)$(BPFTOOL) gen object $@ $(BPF_OBJECTS)

$(BUILD)/loopscope.skel.h: $(BUILD)/loopscope.bpf.o
	$(say) SKEL $@
	$(Q)$(BPFTOOL) gen skeleton $< name loopscope_bpf > $@

$(BUILD)/src/%.o: src/%.c $(BUILD)/flags | $(SKELETON)
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(LIBRARY): $(OBJECTS) $(BUILD)/sources
	$(say) AR $@
	$(Q)rm -f $@
	$(Q)$(AR) rcsD $@ $(OBJECTS)

library: $(LIBRARY)

$(PROGRAM): $(MAIN_OBJECT) $(LIBRARY)
	$(say) LINK $@
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(MAIN_OBJECT) $(LIBRARY) $(LDLIBS)

# ---- tests -----------------------------------------------------------------

# Programs that tests load beside the probes: with the maps of the probes, and nothing else of them.
$(BUILD)/tests/bpf/%.bpf.o: tests/bpf/%.bpf.c Makefile
	@mkdir -p $(@D)
	$(say) BPF $@
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/tests/bpf/%.linked.o: $(BUILD)/bpf/maps.bpf.o $(BUILD)/tests/bpf/%.bpf.o
	$(say) BPFLINK $@
	$(Q)$(BPFTOOL) gen object $@ $^

$(BUILD)/tests/bpf/%.skel.h: $(BUILD)/tests/bpf/%.linked.o
	$(say) SKEL $@
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf > $@

$(BPF_TESTS:%.c=$(BUILD)/%.o): | $(TEST_SKELETONS)

# Tests compile headers of the probes for the host as well.
$(BUILD)/tests/%.o: tests/%.c $(BUILD)/flags | $(SKELETON)
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(CPPFLAGS) -Ibpf -Itests $(CFLAGS) -MMD -MP -c $< -o $@

$(FUZZ_PROGRAMS): $(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(LIBRARY)
	$(say) LINK $@
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $< $(LIBRARY) $(LDLIBS)

$(TEST_PROGRAMS): %: %.o $(SUPPORT_OBJECTS) $(LIBRARY)
	$(say) LINK $@
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(SUPPORT_OBJECTS) $(LIBRARY) -lcmocka $(LDLIBS)

test-programs: $(TEST_PROGRAMS)
fuzz-programs: $(FUZZ_PROGRAMS)

# Set-up comes before anything that asks the compiler, hence the second make.
test:
	tools/setup.sh test
	$(Q)$(MAKE) $(JOBS) all test-programs
	$(Q)$(MAKE) $(JOBS) SANITIZER=address test-programs
	$(Q)$(MAKE) $(JOBS) SANITIZER=fuzz fuzz-programs
	$(Q)$(MAKE) $(JOBS) newer-probes
	tools/run-tests.sh

# Loads every probe into this kernel and prints what its verifier made of them.
check-bpf: $(BPF_TESTS:%.c=$(BUILD)/%) newer-probes
	tools/run-tests.sh bpf

# The same in the oldest kernel that is supported, the newest, and some between.
kernels:
	tools/setup.sh test
	$(Q)$(MAKE) $(JOBS) all $(BPF_TESTS:%.c=$(BUILD)/%)
	$(Q)$(MAKE) $(JOBS) newer-probes
	tools/run-tests.sh kernels

# The verifier is as particular about what a newer compiler makes of them.
newer-probes:
	$(Q)$(MAKE) $(JOBS) BUILD=build-clang CLANG=$(NEWER_CLANG) $(BPF_TESTS:%.c=build-clang/%)

fuzz:
	tools/setup.sh test
	$(Q)$(MAKE) $(JOBS) SANITIZER=fuzz fuzz-programs
	FUZZ_TIME=$(FUZZ_TIME) tools/run-tests.sh fuzz

setup:
	tools/setup.sh build

# Every source through the front end of $(CC); lint does so with gcc and clang.
SYNTAX := $(sort $(SOURCES) $(wildcard src/main.c) $(TEST_SUPPORT) $(UNIT_TESTS) $(BPF_TESTS) \
	$(FUZZERS))
syntax: $(SKELETON) $(TEST_SKELETONS)
	$(Q)$(if $(SYNTAX),$(CC) $(CPPFLAGS) -Ibpf -Itests $(CFLAGS) -fsyntax-only $(SYNTAX))

lint:
	tools/setup.sh lint
	tools/lint.sh

format:
	tools/lint.sh --format

# ---- what needs the built program ------------------------------------------

demo:
	tools/setup.sh demo
	$(Q)$(MAKE) $(JOBS) all
	tools/demo.sh

bench:
	tools/setup.sh test
	$(Q)$(MAKE) $(JOBS) all
	$$(tools/test-python.sh) tools/bench.py
	$$(tools/test-python.sh) tools/bench_tasks.py

lab:
	tools/setup.sh test
	$(Q)$(MAKE) $(JOBS) all
	tests/lab/run.sh

accuracy:
	tools/setup.sh test
	$(Q)$(MAKE) $(JOBS) all
	$$(tools/test-python.sh) tests/live/accuracy.py

soak:
	tools/setup.sh test
	$(Q)$(MAKE) $(JOBS) all
	$$(tools/test-python.sh) tests/live/soak.py --seconds $(SOAK_TIME)

# ---- install ---------------------------------------------------------------

install: $(PROGRAM)
	install -D -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/loopscope
	install -D -m 644 README.md $(DESTDIR)$(PREFIX)/share/doc/loopscope/README.md
	install -D -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/loopscope/LICENSE

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/loopscope
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/loopscope

clean:
	rm -rf build build-address build-clang build-fuzz build-thread build-undefined

-include $(BPF_OBJECTS:.o=.d) $(TEST_SKELETONS:.skel.h=.bpf.d) $(OBJECTS:.o=.d) $(MAIN_OBJECT:.o=.d) $(SUPPORT_OBJECTS:.o=.d) \
	$(TEST_PROGRAMS:=.d) $(FUZZ_PROGRAMS:=.d)
