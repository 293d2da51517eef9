#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""After everything else, on a kernel with kmemleak: two scans, five seconds and
more apart, find nothing that nobody points to."""
import os
import sys
import time

KMEMLEAK = "/sys/kernel/debug/kmemleak"


def scan():
    time.sleep(6)       # kmemleak looks at nothing younger than five seconds
    with open(KMEMLEAK, "w", encoding="ascii") as f:
        f.write("scan")


def main():
    if not os.path.exists(KMEMLEAK):
        print("1..0 # SKIP this kernel has no kmemleak")
        return 4
    print("1..1")
    scan()
    scan()
    with open(KMEMLEAK, encoding="utf-8", errors="replace") as f:
        found = f.read()
    for line in found.splitlines()[:200]:
        print(f"# {line}")
    print("not ok 1 - memory is leaked" if found else "ok 1 - kmemleak finds nothing in two scans")
    return 1 if found else 0


sys.exit(main())
