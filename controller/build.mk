# SPDX-License-Identifier: GPL-2.0
# duet-controller: monitor, engine and updater, with REST between them.
PROGRAMS += duet-controller
duet-controller-objs := $(patsubst %.c,%.o,$(wildcard controller/*.c controller/*/*.c))
duet-controller-libs := libcgraph sqlite3
CFLAGS-controller/monitor/topology := $(shell $(PKG_CONFIG) --cflags libcgraph 2>/dev/null)
unit-src-engine := controller/engine/greedy.c controller/engine/paths.c
