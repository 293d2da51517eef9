# SPDX-License-Identifier: GPL-2.0
# libFuzzer targets: selftests/fuzz/fuzz_*.c, each with the sources it is about.
FUZZERS := $(patsubst selftests/fuzz/%.c,$(O)/fuzz/%,$(wildcard selftests/fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 600

fuzz-src-packet := selftests/packets/core.c selftests/packets/golden.c
fuzz-src-vip    := lib/vip.c lib/vip_json.c lib/addr.c lib/conf.c
fuzz-src-host   := lib/delivery.c lib/probe.c lib/fields.c lib/addr.c lib/conf.c
fuzz-src-message := agents/host/message.c agents/host/desired.c
fuzz-lib-message := $(O)/lib/libduet.a
fuzz-libs-message = $(lib-libs)
fuzz-src-conf   := lib/conf.c lib/addr.c
# the engine, and the little that the JSON's handler needs of the rest
fuzz-src-plan   := $(filter-out controller/engine/serve.c,$(wildcard controller/engine/*.c)) controller/common.c lib/addr.c lib/conf.c
fuzz-src-trace  := $(filter-out controller/engine/plan.c controller/engine/serve.c,$(wildcard controller/engine/*.c)) controller/sim/fabric.c \
		   controller/sim/trace.c controller/sim/workload.c lib/conf.c lib/addr.c
fuzz-lib-plan   := $(O)/lib/libduet.a
fuzz-libs-plan  := $(lib-libs)
fuzz-libs-trace := jansson inih
fuzz-libs-vip   := jansson inih
fuzz-libs-host  := jansson inih
fuzz-libs-conf  := inih

$(O)/fuzz/fuzz_%: selftests/fuzz/fuzz_%.c $(wildcard lib/*.h include/duet/*.h selftests/packets/*.h)
	$(say) FUZZ $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) -O1 -g -std=gnu11 -Wall -Wextra -Wno-unused-parameter -Werror \
		-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		-o $@ $< $(fuzz-src-$*) $(fuzz-lib-$*) $(call pc,$(fuzz-libs-$*)) -lm
$(O)/fuzz/fuzz_packet: $(fuzz-src-packet) | $(O)/test/packets.txt
$(O)/fuzz/fuzz_vip: $(fuzz-src-vip)
$(O)/fuzz/fuzz_host: $(fuzz-src-host)
$(O)/fuzz/fuzz_message: $(fuzz-src-message) $(fuzz-lib-message) $(wildcard agents/host/*.h agents/host/bpf/*.h)
$(O)/fuzz/fuzz_conf: $(fuzz-src-conf)
$(O)/fuzz/fuzz_plan: $(fuzz-src-plan) $(fuzz-lib-plan) $(wildcard controller/*.h controller/engine/*.h)
$(O)/fuzz/fuzz_trace: $(fuzz-src-trace) $(wildcard controller/sim/*.h controller/engine/*.h)

$(O)/fuzz/seeds/ok: selftests/fuzz/seeds.py selftests/packets/packets.py $(wildcard selftests/packets/cases/*.json selftests/fuzz/cases/*/*) \
		selftests/controller/test_engine.py
	$(say) GEN $(@D)
	$(Q)rm -rf $(@D) && mkdir -p $(@D) && $< $(@D) && touch $@

unit: $(FUZZERS) $(O)/fuzz/seeds/ok
.PHONY: fuzz
fuzz: unit
	$(Q)FUZZ_SECONDS=$(FUZZ_SECONDS) selftests/fuzz/test_fuzz.py

## fuzz             packets, VIPs, hosts, messages to the helper, configuration files, models, traces: FUZZ_SECONDS=600 of each, at once
