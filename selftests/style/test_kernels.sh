#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The module compiles on the oldest kernel and on one that lacks what later point
# releases have. `make matrix` has all of them.
cd "$(dirname "$0")/../.." || exit 1
exec scripts/matrix --quick --tap
