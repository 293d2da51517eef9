# SPDX-License-Identifier: GPL-2.0
$(O)/bench/xdp_pass.o: selftests/bench/xdp_pass.bpf.c
	$(say) BPF $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -target bpf -O2 -g -Wall -Werror -I/usr/include/$(shell $(CC) -print-multiarch) -c -o $@ $<
bench-files: $(O)/bench/xdp_pass.o

## out/results/host-agent.json  the host agent's costs (VM, instructions) and speed (here)
.PHONY: $(O)/results/host-agent.json $(O)/results/mux-agent.json
$(O)/results/host-agent.json: deps
	$(Q)$(MAKE) all
	$(Q)selftests/bench/host_agent.py

# duet-mux-agent: first what needs the module, in a VM, then the rest, natively
$(O)/results/mux-agent.json: deps
	$(Q)$(MAKE) all
	$(Q)mkdir -p $(@D) $(O)/log
	$(Q)scripts/vm --insmod --timeout 1700 --name mux-kernel -- selftests/bench/mux_kernel.py --out $(abspath $(O))/log/mux-kernel.json
	$(Q)selftests/bench/mux_agent.py --kernel $(O)/log/mux-kernel.json --out $@
## out/results/mux-agent.json   the mux agent: steps, 16,384 VIPs, 10,000 changes under kills, traffic on the module
