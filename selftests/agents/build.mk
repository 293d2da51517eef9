# SPDX-License-Identifier: GPL-2.0
# The helper of the host agent without its agent, for a test that plays a hostile one.
helper-objs := $(patsubst %.c,$(O)/obj/%.o,$(filter-out agents/host/main.c,$(wildcard agents/host/*.c)))
$(O)/test/helper: selftests/agents/helper.c $(helper-objs) $(O)/lib/libduet.a
	$(say) TEST $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -o $@ $< $(helper-objs) $(O)/lib/libduet.a \
		$(call pc,$(duet-host-agent-libs) $(lib-libs))
unit: $(O)/test/helper
