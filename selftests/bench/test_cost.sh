#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# No path gets dearer, measured by plain forwarding in the same run, than
# baseline.json says: so it holds on whatever kernel is there.
set -eu
cd "$(dirname "$0")/../.."
O=${O:-out}
kernel=$(scripts/kernel-list | head -n 1)
mkdir -p "$O/results"
rm -f "$O/results/cost.json"
scripts/vm --insmod --icount --kernel "$kernel" --timeout 1200 --name cost -- \
	selftests/bench/datapath.py --short --out "$O/results/cost.json" | sed 's/^/# /'
exec selftests/bench/report.py check selftests/bench/baseline.json "$O/results/cost.json"
