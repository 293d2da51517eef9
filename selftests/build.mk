# SPDX-License-Identifier: GPL-2.0
# Unit tests: every selftests/unit/test_*.c is a program of its own, on the
# kernel's kselftest harness.
UNIT_TESTS := $(patsubst selftests/unit/%.c,$(O)/test/%,$(wildcard selftests/unit/test_*.c))
HARNESS := $(O)/linux-source/tools/testing/selftests

$(O)/test/test_%: selftests/unit/test_%.c $(O)/lib/libduet.a | $(HARNESS)/kselftest_harness.h
	$(say) TEST $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -I$(HARNESS) $(CFLAGS) -Wno-sign-compare -Wno-unused-result \
		-fsanitize=address,undefined -fno-sanitize-recover=undefined -MMD -MP -MF $@.d \
		-o $@ $< $(unit-src-$*) $(O)/lib/libduet.a $(call pc,$(unit-libs-$*) $(lib-libs)) -lm
-include $(wildcard $(O)/test/*.d)

$(HARNESS)/kselftest_harness.h:
	$(Q)scripts/deps --build

unit: $(UNIT_TESTS)
include selftests/agents/build.mk
include selftests/controller/build.mk
include selftests/lab/build.mk
include selftests/model/build.mk
include selftests/bench/build.mk

# the golden packets, for the tests that put them through the core in user space
unit-src-packets := selftests/packets/core.c selftests/packets/golden.c
$(O)/test/test_packets: $(unit-src-packets) | $(O)/test/packets.txt
$(O)/test/packets.txt: selftests/packets/packets.py selftests/model/duet_model.py $(wildcard selftests/packets/cases/*.json)
	$(say) GEN $@
	$(Q)mkdir -p $(@D)
	$(Q)$< --emit $@
unit: $(O)/test/packets.txt

.PHONY: mutate
mutate: unit
	$(Q)selftests/unit/mutate.py

include selftests/fuzz/build.mk
include selftests/style/build.mk

## mutate           change one condition of the packet core at a time: does a test notice? (minutes)
