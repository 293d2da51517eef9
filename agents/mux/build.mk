# SPDX-License-Identifier: GPL-2.0
PROGRAMS += duet-mux-agent
duet-mux-agent-objs := $(patsubst %.c,%.o,$(wildcard agents/mux/*.c))
