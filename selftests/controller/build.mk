# SPDX-License-Identifier: GPL-2.0
# out/test/fleet: the agents of a whole fabric in one process (fleet/fleet.h). lib/route.o is not linked,
# for fleet/rt.c has all of its symbols.
fleet-objs := $(patsubst %.c,$(O)/obj/%.o,$(wildcard selftests/controller/fleet/*.c)) \
	$(patsubst %,$(O)/obj/agents/mux/%.o,announce api backend_sim bird_show guard learned links probe probe_wire reach show state)
$(O)/test/fleet: $(fleet-objs) $(O)/lib/libduet.a
	$(say) LD $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(call pc,$(lib-libs))
unit: $(O)/test/fleet
