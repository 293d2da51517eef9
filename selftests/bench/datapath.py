#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What a packet, a VIP and a flow cost, all in one boot.

Runs in the VM under icount, where one instruction is one nanosecond of guest
time and pktgen's own result is instructions per packet. `make bench` starts it.
The figure of a path is the mean of a run, the median of three; `gross_instructions`
and `net_instructions` are less those of its base, without and with what tc takes
to drop the base's packets.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

from bed import FLOWS, Bed, run
from paths import PATHS
from program import PROFILES, profile, program

RUNS = 3


def measure(name, profile=False):
    path = PATHS[name]
    bed = Bed(path.program)
    try:
        target = path.prepare(bed)
        warm = target.pop("warm", target.get("flows", "ports"))
        bed.pktgen(path.warm, **{**target, "flows": warm})
        before = bed.sent()
        # the median: a timer of the kernel's own that falls into one is not the path's
        runs = RUNS if not profile else 1
        packets = path.packets // runs
        cost = statistics.median(bed.pktgen(packets, profile=profile, **target) for _ in range(runs))
        packets *= runs
        sent = bed.sent() - before
        # a few more are the stack's own (multicast listeners)
        few, most = (packets // 46, packets // 20) if path.train else (packets, packets + 10)
        if path.leaves and not few <= sent <= most:
            raise RuntimeError(f"{name}: {sent} of {packets} packets came out, at least {few} and at most {most} should have")
        row = {"instructions_per_packet": round(cost, 1), "packets": packets, "config": path.config}
        return {**row, "trains": sent} if path.train else row
    finally:
        bed.close()


def net(paths):
    """net: less the base. gross: without the part of the base that is tc's, which is once a packet or train"""
    tc = {f: paths[f]["instructions_per_packet"] for f in ("forward", "forward_tc") if f in paths}
    for name, row in paths.items():
        base = PATHS[name].base
        if base not in paths:
            continue
        row["base"] = base
        row["net_instructions"] = round(row["instructions_per_packet"] - paths[base]["instructions_per_packet"], 1)
        if len(tc) == 2:
            share = (tc["forward_tc"] - tc["forward"]) * row.get("trains", row["packets"]) / row["packets"]
            row["gross_instructions"] = round(row["net_instructions"] + (share if base.startswith("receive") else 0), 1)


def mitigations():
    """how this kernel guards against its CPU's faults, which costs instructions"""
    with open("/proc/cmdline", encoding="ascii") as f:
        words = [w for w in f.read().split() if w.startswith("mitigations=")]
    return words[-1] if words else "mitigations=auto"


def finish(args, result):
    if args.profile:		# now that the modules of all paths are loaded
        with open(os.path.join(os.path.dirname(args.out), "kallsyms"), "w", encoding="ascii") as f:
            f.write(run("cat", "/proc/kallsyms"))
    with open(args.out, "w", encoding="ascii") as f:
        json.dump(result, f, indent=1, sort_keys=True)
        f.write("\n")


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--out", default="out/results/datapath.json")
    ap.add_argument("--short", action="store_true", help="what guards against regressions, nothing else")
    ap.add_argument("--profile", action="store_true", help="mark each path for the emulator's plugin")
    ap.add_argument("paths", nargs="*", help="only these")
    args = ap.parse_args()
    subprocess.run(["modprobe", "-a", "pktgen", "dummy", "veth"], check=True)
    os.makedirs(os.path.dirname(args.out), exist_ok=True)
    if args.profile and args.paths and set(args.paths) <= PROFILES.keys():
        finish(args, {"order": args.paths, "paths": {name: profile(name) for name in args.paths}})
        return 0
    names = args.paths or [n for n, p in PATHS.items() if p.short or not args.short]
    names = ["receive", "forward", "forward_tc"] + [b for n in names for b in (PATHS[n].base, n) if b]
    result = {"kernel": os.uname().release, "mitigations": mitigations(), "clock": "icount: 1 instruction = 1 ns", "flows": FLOWS, "paths": {}, "order": list(dict.fromkeys(names))}
    for name in dict.fromkeys(names):
        result["paths"][name] = measure(name, args.profile)
        net(result["paths"])
        row = result["paths"][name]
        print(f"{name:20}{row['instructions_per_packet']:9.1f}{row.get('gross_instructions', ''):>9}{row.get('net_instructions', ''):>9}"
              f"  {row['config']}", flush=True)
    if not args.short and not args.paths:
        result["program"], result["memory"] = program()
        print(json.dumps({"program": result["program"], "memory": result["memory"]}, indent=1))
    finish(args, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
