# SPDX-License-Identifier: GPL-2.0
# duet-controller: monitor, engine and updater, with REST between them.
PROGRAMS += duet-controller
duet-controller-objs := $(patsubst %.c,%.o,$(filter-out controller/sim/%,$(wildcard controller/*.c controller/*/*.c)))
duet-controller-libs := libcgraph sqlite3 gnutls
duet-controller-ldlibs := -lm
$(O)/obj/controller/api/web.o: $(wildcard controller/web/*)	# it holds them, which gcc doesn't tell
CFLAGS-controller/monitor/topology := $(shell $(PKG_CONFIG) --cflags libcgraph 2>/dev/null)
engine-src := $(filter-out controller/engine/plan.c controller/engine/serve.c,$(wildcard controller/engine/*.c))
health-src := $(wildcard controller/state/*.c) controller/common.c
unit-src-damping := $(health-src)
unit-src-policy := $(health-src)
unit-src-engine := $(engine-src)
unit-src-engine_equal := $(engine-src)
unit-src-judge := controller/monitor/judge.c
include controller/sim/build.mk
