# SPDX-License-Identifier: GPL-2.0
.PHONY: style
style: deps
	$(Q)$(MAKE) all
	$(Q)STYLE=full selftests/run selftests/style/test_style.sh selftests/style/test_netlink_spec.py

## style            checkpatch, sparse, coccinelle, shellcheck, clang-format; scripts/style --format FOLDER applies the last
