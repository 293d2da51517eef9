#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# No path gets more than 5 % dearer than baseline.json says. On a kernel that
# the baseline isn't of, the test says so and is skipped: costs of the stack
# are in its figures, too.
set -eu
cd "$(dirname "$0")/../.."
O=${O:-out}
baseline=selftests/bench/baseline.json
kernel=$(sed -n 's/.*"kernel": "\(.*\)".*/\1/p' $baseline)
if ! scripts/kernel-list | grep -qxF "$kernel"; then
	echo "1..1"
	echo "ok 1 - costs # SKIP the baseline is of kernel $kernel, which is not there"
	exit 0
fi
mkdir -p "$O/results"
rm -f "$O/results/cost.json"
scripts/vm --insmod --icount --kernel "$kernel" --timeout 1200 --name cost -- \
	selftests/bench/datapath.py --short --out "$O/results/cost.json" | sed 's/^/# /'
exec selftests/bench/report.py check $baseline "$O/results/cost.json"
