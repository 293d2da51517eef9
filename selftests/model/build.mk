# SPDX-License-Identifier: GPL-2.0
# out/test/vectors: the muxes' own hash and table, asked by test_model.py.
$(O)/test/vectors: selftests/model/vectors.c $(wildcard include/duet/*.h)
	$(say) TEST $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fsanitize=address,undefined -fno-sanitize-recover=undefined -o $@ $<
unit: $(O)/test/vectors
