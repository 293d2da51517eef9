# SPDX-License-Identifier: GPL-2.0
# duet: this node, speaks netlink.  duetctl: the controller, speaks REST.
PROGRAMS += duet
duet-objs := cli/duet.o cli/duet_dev.o cli/duet_vip.o cli/duet_flow.o cli/duet_monitor.o cli/out.o
PROGRAMS += duetctl
duetctl-objs := $(patsubst %.c,%.o,$(wildcard cli/duetctl*.c)) cli/out.o
