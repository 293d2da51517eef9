# SPDX-License-Identifier: GPL-2.0
# duet-sim: the paper's evaluation. Included by controller/build.mk.
PROGRAMS += duet-sim
duet-sim-objs := $(patsubst %.c,%.o,$(wildcard controller/sim/*.c) $(engine-src))
duet-sim-libs := jansson
duet-sim-ldlibs := -lm

# Figures 15 to 20 and ours, as CSV, PNG and SVG; the names of drawings in docs/ are the same
.PHONY: figures
figures: $(O)/bin/duet-sim
	$(Q)mkdir -p $(O)/figures
	$(Q)$(O)/bin/duet-sim run all --out $(O)/figures

$(O)/results/engine.json: $(O)/bin/duet-sim
	$(Q)mkdir -p $(@D)
	$(Q)$(O)/bin/duet-sim bench --checks 16 --csv $@
.PHONY: $(O)/results/engine.json

## figures          the paper's Figures 15 to 20 into out/figures (docs/evaluation.md)
