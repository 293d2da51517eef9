# SPDX-License-Identifier: GPL-2.0
$(O)/bench/port.o: selftests/bench/port.bpf.c
	$(say) BPF $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -target bpf -O2 -g -Wall -Werror -I/usr/include/$(shell $(CC) -print-multiarch) -c -o $@ $<
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

$(O)/bench/profile.so: selftests/bench/profile.c
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -shared -fPIC -fvisibility=hidden -o $@ $<
bench-files: $(O)/bench/port.o $(O)/bench/profile.so

# Everything measured afresh. The second machine has two CPUs, which icount can't; QEMU 7.2 now and then dies of its
# plugins when these write (98), and is started again.
.PHONY: $(O)/results/datapath.json bench-run bench-compare
$(O)/results/datapath.json bench-run:
	$(Q)$(MAKE) all bench-files
	$(Q)rm -f $(O)/results/datapath.json
	$(Q)scripts/vm --insmod --icount --timeout 3000 --name bench -- selftests/bench/datapath.py
	$(Q)for n in 1 2 3; do \
		scripts/vm --insmod --accel tcg --smp 2 --timeout 1200 --name bench-smp \
			--plugin $(abspath $(O)/bench/profile.so),dir=$(abspath $(O)/results/smp) -- selftests/bench/smp.py; \
		ret=$$?; [ $$ret -eq 98 ] || exit $$ret; \
	done; exit 98
	$(Q)selftests/bench/report.py table $(O)/results/datapath.json | tee $(O)/results/datapath.md
	$(Q)selftests/bench/report.py picture $(O)/results/datapath.json $(O)/results/datapath.png
bench-profile:
	$(Q)$(MAKE) all bench-files
	$(Q)rm -rf $(O)/results/profile && mkdir -p $(O)/results/profile
	$(Q)scripts/vm --insmod --icount --timeout 3000 --name profile \
		--plugin $(abspath $(O)/bench/profile.so),dir=$(abspath $(O)/results/profile) -- \
		selftests/bench/datapath.py --profile --out $(O)/results/profile/profile.json $(PATHS)
	$(Q)selftests/bench/functions.py --dir $(O)/results/profile
bench-compare:
	$(Q)$(MAKE) all bench-files
	$(Q)selftests/bench/compare $(BASE)

## bench-compare    BASE=REV: costs of REV and of this tree, any change over 2 % named
## bench-profile    where the instructions go, by function; PATHS="hmux_port ..." some paths only

$(O)/results/controller.json: deps
	$(Q)$(MAKE) programs $(O)/test/fleet
	$(Q)mkdir -p $(@D)
	$(Q)selftests/controller/results.py $@
.PHONY: $(O)/results/controller.json
## out/results/controller.json  the controller: at the size of a data centre, 1,000 kills at the steps of plans, a DIP's death to all muxes
