# SPDX-License-Identifier: GPL-2.0
# duet-host-agent: runs on every server. Its BPF program is compiled with user
# space headers only and embedded by way of a skeleton.
PROGRAMS += duet-host-agent
duet-host-agent-objs := $(patsubst %.c,%.o,$(wildcard agents/host/*.c))
duet-host-agent-libs := libbpf libnftables

BPFTOOL ?= $(firstword $(shell command -v bpftool) /usr/sbin/bpftool)
HOST_BPF := $(O)/obj/agents/host

$(HOST_BPF)/%.bpf.o: agents/host/bpf/%.bpf.c $(wildcard agents/host/bpf/*.h include/duet/*.h)
	$(say) BPF $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -target bpf -mcpu=v3 -O2 -g -Wall -Werror -Iinclude -Iinclude/uapi \
		-I/usr/include/$(shell $(CC) -print-multiarch) -c -o $@ $<

$(HOST_BPF)/decap.skel.h: $(HOST_BPF)/decap.bpf.o
	$(say) SKEL $@
	$(Q)$(BPFTOOL) gen skeleton $< name decap >$@.new && mv $@.new $@

$(HOST_BPF)/snat.skel.h: $(HOST_BPF)/snat.bpf.o
	$(say) SKEL $@
	$(Q)$(BPFTOOL) gen skeleton $< name snat_bpf >$@.new && mv $@.new $@

$(HOST_BPF)/dataplane.o: $(HOST_BPF)/decap.skel.h
$(HOST_BPF)/snat.o: $(HOST_BPF)/snat.skel.h
CFLAGS-agents/host/dataplane := -I$(HOST_BPF)
CFLAGS-agents/host/snat := -I$(HOST_BPF)
