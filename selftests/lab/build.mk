# SPDX-License-Identifier: GPL-2.0
# duet-probe: client and echo server of the lab. It links no library: 34 of
# them start at once on an emulated machine.
$(O)/bin/duet-probe: $(patsubst %,$(O)/obj/selftests/lab/%.o,probe report flood echo)
	$(say) LD $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^
programs: $(O)/bin/duet-probe
