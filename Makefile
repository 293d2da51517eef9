# SPDX-License-Identifier: GPL-2.0
# Duet on Linux. `make help` lists the targets; every folder adds its own
# programs and tests in a build.mk of its own.

O       ?= $(if $(SAN),out/san,out)
CC      ?= gcc
CLANG   ?= clang
AR      ?= ar
PKG_CONFIG ?= pkg-config

# Kernels the module is built for: every one whose headers are installed, the
# stock kernel first (the VM and the demo run that one). KVER= picks one.
KVERS   ?= $(shell scripts/kernel-list 2>/dev/null)
KVER    ?= $(firstword $(KVERS))

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n'
endif
MAKEFLAGS += --no-print-directory

CPPFLAGS += -Iinclude -Iinclude/uapi -Ilib -D_GNU_SOURCE
CFLAGS   ?= -O2 -g
CFLAGS   += -std=gnu11 -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Werror
ifdef SAN
CFLAGS   += -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
endif
DEPFLAGS  = -MMD -MP

.PHONY: san analyze analyze-all bench-files matrix $(O)/results/robust.json $(O)/results/trust.json $(O)/results/life.json all help programs module unit clean deps check vmtest vmtest-debug test demo lab bench experiments $(O)/results/experiments.json
all: programs module

# Programs a fragment adds: PROGRAMS += name, name-objs := x.o y.o (paths from
# the top, .o for .c), name-libs := pkg-config names.
PROGRAMS :=
include $(sort $(wildcard */build.mk agents/*/build.mk))

objs = $(patsubst %.o,$(O)/obj/%.o,$(1))
pc   = $(if $(1),$(shell $(PKG_CONFIG) --libs $(1)))

$(O)/obj/%.o: %.c
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS-$*) $(DEPFLAGS) -c -o $@ $<

$(O)/lib/libduet.a: $(call objs,$(lib-objs))
	$(say) AR $@
	$(Q)mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

define program_rule
$(O)/bin/$(1): $$(call objs,$$($(1)-objs)) $(O)/lib/libduet.a
	$$(say) LD $$@
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$(call objs,$$($(1)-objs)) \
		$(O)/lib/libduet.a $$(call pc,$$($(1)-libs) $$(lib-libs)) $$(LDLIBS) $$($(1)-ldlibs)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rule,$(p))))

# the same with ASan and UBSan, below out/san: for what makes requests at random
san:
	$(Q)$(MAKE) SAN=1 O=$(O)/san programs

programs: $(addprefix $(O)/bin/,$(PROGRAMS))

# clang's analyzer and gcc's over all of user space: what they say of each file, until it or its headers change. gcc 12
# takes for lost what is handed out through a pointer: leaks are clang's to find, and ASan's
ANALYZED := $(sort $(lib-objs) $(foreach p,$(PROGRAMS),$($(p)-objs)))
analyze: deps
	$(Q)$(MAKE) programs
	$(Q)$(MAKE) analyze-all
analyze-all: $(foreach a,clang gcc,$(ANALYZED:%.o=$(O)/analyze/%.$(a)))
	$(Q)scripts/analyze $(O)/analyze
$(O)/analyze/%.clang: %.c
	$(say) CLANG $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) --analyze --analyzer-output text $(CPPFLAGS) -std=gnu11 $(CFLAGS-$*) -MMD -MP -MT $@ -MF $@.d -o /dev/null $< 2>$@ || \
		(cat $@; rm $@; false)
$(O)/analyze/%.gcc: %.c
	$(say) GCC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -fanalyzer -Wno-analyzer-malloc-leak -Wno-analyzer-file-leak $(CPPFLAGS) $(CFLAGS) $(CFLAGS-$*) -Wno-error -MMD -MP -MT $@ -MF $@.d -c -o /dev/null $< 2>$@ || (cat $@; rm $@; false)

-include $(shell find $(O)/obj $(O)/analyze -name '*.d' 2>/dev/null)

# The module is built in a copy of its sources, so that several kernels can be
# built side by side and the source tree stays clean.
KMOD_SRC := Kbuild kmod/probe.sh $(wildcard kmod/*.[ch] include/duet/*.h include/uapi/linux/*.h)
module: $(foreach k,$(KVERS),$(O)/kmod/$(k)/duet.ko)
$(O)/kmod/%/duet.ko: $(KMOD_SRC)
	$(say) KMOD $*
	$(Q)mkdir -p $(@D)
	$(Q)tar cf - $(KMOD_SRC) | tar xf - -C $(@D)
	$(Q)$(MAKE) -s -C $(abspath $(firstword $(wildcard /lib/modules/$*/build $(O)/kernels/$*/build))) M=$(abspath $(@D)) W=1 modules

include scripts/install.mk

matrix: deps
	$(Q)scripts/matrix --json $(O)/results/matrix.json
# put together from the matrix and from what the tests printed when they last ran
$(O)/results/trust.json: deps
	$(Q)$(MAKE) all unit
	$(Q)selftests/run host
	$(Q)scripts/trust $@
$(O)/results/life.json: deps
	$(Q)$(MAKE) all
	$(Q)selftests/run selftests/lab/test_life.py
	$(Q)scripts/life $@
$(O)/results/robust.json: matrix
	$(Q)scripts/robust $@

# A newcomer's targets begin with the packages; the rest is a second make,
# because what pkg-config says is read when a makefile is.
deps:
	$(Q)scripts/deps
check:
	$(Q)scripts/deps --build
	$(Q)$(MAKE) all unit
	$(Q)selftests/run check
vmtest: deps
	$(Q)$(MAKE) all
	$(Q)selftests/run vm
vmtest-debug: deps
	$(Q)scripts/debug-kernel
	$(Q)$(MAKE) programs $(O)/kmod/$$(scripts/debug-kernel --kver)/duet.ko
	$(Q)selftests/run vm-debug
test: deps
	$(Q)$(MAKE) all unit bench-files san
	$(Q)selftests/run all
demo lab: deps
	$(Q)$(MAKE) all
	$(Q)scripts/$@
experiments: deps
	$(Q)$(MAKE) all
	$(Q)scripts/experiments
$(O)/results/experiments.json: experiments
bench: deps
	$(Q)$(MAKE) bench-run

clean:
	$(Q)rm -rf $(O)/bin $(O)/obj $(O)/lib $(O)/kmod $(O)/test

help:
	@grep -hE '^## ' Makefile */build.mk */*/build.mk | sed 's/^## /  make /'

## demo             the paper's testbed with everything in it, shown working (in a VM; DEMO=host: here)
## lab              the same testbed, left up, with a shell in it
## test             every test there is; ends in "N passed, N failed"
## check            the tests that need no root and no VM        vmtest   those of the module
## experiments      the paper's Figures 11 to 14 and more failures, into out/results/experiments.json (docs/testbed.md)
## vmtest-debug     the module's tests on a kernel with KASAN, lockdep, kmemleak, failing memory (built once, in 20 minutes)
## bench            instructions per packet of every path, into out/results/datapath.json
## matrix           compile duet.ko for every kernel that it is meant for, and print the table
## out/results/trust.json       who may what, health under attack, exposure of the units: the host's tests, and what they printed
## out/results/life.json        how soon what is dead is out, and that nothing else ever is: selftests/lab/test_life.py, and what it printed
## out/results/robust.json      the matrix, the kernels whose tests passed, and what the tests of robustness printed (scripts/robust)
## deps             install the packages that all of this needs (scripts/deps --list)
## [all]            programs into out/bin, duet.ko for every kernel whose headers are installed
## module           duet.ko only        programs   the daemons and tools only
## analyze          clang's and gcc's analyzers over all of user space; scripts/analyze.known has what is no bug, and why
## san              programs with ASan and UBSan, into out/san/bin
## clean            remove what was built
