# SPDX-License-Identifier: GPL-2.0
# duet-host-agent: runs on every server. Its BPF programs are compiled with user
# space headers only and embedded by way of skeletons.
PROGRAMS += duet-host-agent
duet-host-agent-objs := $(patsubst %.c,%.o,$(wildcard agents/host/*.c))
duet-host-agent-libs := libbpf libnftables libseccomp

BPFTOOL ?= $(firstword $(shell command -v bpftool) /usr/sbin/bpftool)
HOST_BPF := $(O)/obj/agents/host

$(HOST_BPF)/%.bpf.o: agents/host/bpf/%.bpf.c $(wildcard agents/host/bpf/*.h include/duet/*.h)
	$(say) BPF $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -target bpf -mcpu=v3 -O2 -g -Wall -Werror -Iinclude -Iinclude/uapi \
		-I/usr/include/$(shell $(CC) -print-multiarch) -c -o $@ $<

# decap's skeleton is struct decap, the others' struct NAME_bpf
$(HOST_BPF)/%.skel.h: $(HOST_BPF)/%.bpf.o
	$(say) SKEL $@
	$(Q)$(BPFTOOL) gen skeleton $< name $(if $(filter decap,$*),$*,$*_bpf) >$@.new && mv $@.new $@

.SECONDARY: $(patsubst agents/host/bpf/%.bpf.c,$(HOST_BPF)/%.bpf.o,$(wildcard agents/host/bpf/*.bpf.c))

$(HOST_BPF)/dataplane.o: $(HOST_BPF)/decap.skel.h
$(foreach x,snat forward release,$(eval $(HOST_BPF)/$(x).o: $(HOST_BPF)/$(x).skel.h))
$(foreach x,dataplane snat forward release,$(eval CFLAGS-agents/host/$(x) := -I$(HOST_BPF)))
