#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Where the instructions of a packet go, function by function.

Reads what the emulator's plugin (profile.c) and datapath.py --profile left in a
folder: profile.json, kallsyms, and profile-N.txt of the Nth path. For each path
a table: instructions a packet in each function, less those of the path's base.
"""
import argparse
import bisect
import collections
import json
import os
import re


def symbols(path):
    """Sorted addresses and names of the kernel's functions."""
    found = {}
    with open(path, encoding="ascii") as f:
        for line in f:
            addr, kind, name, *module = line.split()
            if kind in "tTwW" and int(addr, 16) >= 0xffffffff80000000:
                found.setdefault(int(addr, 16), re.sub(r"\.(constprop|isra|part)\.\d+", "", name)
                                 + (" " + module[0] if module else ""))
    addrs = sorted(found)
    return addrs, [found[a] for a in addrs]


def counts(path, table):
    """Instructions by function."""
    addrs, names = table
    total = collections.Counter()
    with open(path, encoding="ascii") as f:
        for line in f:
            addr, insns, runs = line.split()
            at = bisect.bisect_right(addrs, int(addr, 16)) - 1
            total[names[at] if at >= 0 else "?"] += int(insns) * int(runs)
    return total


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--dir", default="out/results/profile")
    ap.add_argument("--least", type=float, default=3, help="leave out what is less")
    args = ap.parse_args()
    with open(os.path.join(args.dir, "profile.json"), encoding="ascii") as f:
        result = json.load(f)
    table = symbols(os.path.join(args.dir, "kallsyms"))
    per_packet = {}
    for n, name in enumerate(result["order"], 1):
        row = result["paths"][name]
        total = counts(os.path.join(args.dir, f"profile-{n}.txt"), table)
        per_packet[name] = collections.Counter({k: v / row["packets"] for k, v in total.items()})
    bases = {row.get("base") for row in result["paths"].values()}
    for name, row in result["paths"].items():
        if name in bases:
            continue
        net = per_packet[name].copy()
        if "base" in row:
            net.subtract(per_packet[row["base"]])
        print(f"\n### {name}: {row['config']}\n\n| instructions | function |\n|---:|---|")
        for function, cost in sorted(net.items(), key=lambda kv: -kv[1]):
            if abs(cost) >= args.least:
                print(f"| {cost:.1f} | `{function}` |")
        print(f"| **{sum(net.values()):.1f}** | in all; measured {row.get('net_instructions', row['instructions_per_packet']):.1f} |")


if __name__ == "__main__":
    main()
