# SPDX-License-Identifier: GPL-2.0
$(O)/bench/xdp_pass.o: selftests/bench/xdp_pass.bpf.c
	$(say) BPF $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -target bpf -O2 -g -Wall -Werror -I/usr/include/$(shell $(CC) -print-multiarch) -c -o $@ $<
bench-files: $(O)/bench/xdp_pass.o

## out/results/host-agent.json  the host agent's costs (VM, instructions) and speed (here)
.PHONY: $(O)/results/host-agent.json
$(O)/results/host-agent.json: deps
	$(Q)$(MAKE) all
	$(Q)selftests/bench/host_agent.py
