# SPDX-License-Identifier: GPL-2.0
# duet-host-agent: runs on every server. Its BPF program is compiled with user
# space headers only and embedded by way of a skeleton.
PROGRAMS += duet-host-agent
duet-host-agent-objs := $(patsubst %.c,%.o,$(wildcard agents/host/*.c))
duet-host-agent-libs := libbpf libnftables

BPFTOOL ?= $(firstword $(shell command -v bpftool) /usr/sbin/bpftool)
HOST_SKEL := $(O)/obj/agents/host/decap.skel.h

$(O)/obj/agents/host/decap.bpf.o: agents/host/bpf/decap.bpf.c $(wildcard agents/host/bpf/*.h) $(wildcard include/duet/*.h)
	$(say) BPF $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -target bpf -mcpu=v3 -O2 -g -Wall -Werror -Iinclude -Iinclude/uapi \
		-I/usr/include/$(shell $(CC) -print-multiarch) -c -o $@ $<

$(HOST_SKEL): $(O)/obj/agents/host/decap.bpf.o
	$(say) SKEL $@
	$(Q)$(BPFTOOL) gen skeleton $< name decap >$@.new && mv $@.new $@

$(O)/obj/agents/host/dataplane.o: $(HOST_SKEL)
CFLAGS-agents/host/dataplane := -I$(O)/obj/agents/host
