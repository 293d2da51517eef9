#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Two CPUs: is anything shared, and are two twice as fast as one?

Runs in a VM of two CPUs, each a thread of the emulator's, with two queues on
the port. Packets a second there mean little; their ratio does. Then, for 4,000
packets on both CPUs, the emulator's plugin (profile.c) notes every store of
everything below the mux's hook, down to the device that transmits: a cache line
that both CPUs write for every packet would be a shared one. Adds to RESULT.json.
"""
import argparse
import bisect
import json
import os
import re
import subprocess
import time

from bed import FLOWS, MARK_END, MARK_STORES, O, VIP, Bed, mark, ns
from program import VIPS, own, vip
from functions import symbols

OFTEN = 0.5		# stores to a line, a packet, that count as one for each


def send(bed, cpus, packets):
    """All CPUs at once; their packets a second."""
    script = "set -e\np=/proc/net/pktgen\nfor k in $p/kpktgend_*; do echo rem_device_all >$k; done\n"
    for cpu in range(cpus):
        dev = f"veth0@{cpu}"
        script += f"echo add_device {dev} >$p/kpktgend_{cpu}\n"
        for line in (f"count {packets}", "clone_skb 0", "pkt_size 64", "delay 0", f"dst {VIP}", f"dst_mac {bed.mac}",
                     "src_min 10.9.0.1", "src_max 10.9.0.1", "udp_dst_min 80", "udp_dst_max 80", "udp_src_min 1024",
                     f"udp_src_max {1024 + FLOWS}", "flag UDPSRC_RND", f"queue_map_min {cpu}", f"queue_map_max {cpu}"):
            script += f"echo '{line}' >$p/{dev}\n"
    text = ns("gen", "sh", "-c", script + "echo start >$p/pgctrl\ncat $p/veth0@*")
    times = re.findall(r"Result: OK: (\d+)\(", text)
    if len(times) != cpus:
        raise RuntimeError("pktgen: " + text)
    return sum(packets * 1e6 / int(t) for t in times)


def shared_lines(bed, folder, packets):
    """Lines that each CPU writes for every packet, with the functions that do."""
    addrs, names = symbols("/proc/kallsyms")
    at = dict(zip(names, addrs))
    slow = at["nf_hook_slow"]
    with open(os.path.join(folder, "watch.txt"), "w", encoding="ascii") as f:
        f.write("%x %x %x\n" % (at["duet_port_hook [duet]"], slow, addrs[bisect.bisect_right(addrs, slow)]))
    before = set(os.listdir(folder))
    mark(MARK_STORES)
    send(bed, 2, packets)
    mark(MARK_END)
    new = set(os.listdir(folder)) - before
    if len(new) != 1:
        raise RuntimeError(f"no stores were noted: is the plugin loaded? ({new})")
    written, shared = 0, []
    with open(os.path.join(folder, new.pop()), encoding="ascii") as f:
        for line in f:
            cells = [cell.split(":") for cell in line.split()[1:]]
            often = [c for c in cells if int(c[2]) >= OFTEN * packets]
            written += bool(often)
            if len(often) > 1:
                shared.append("+".join(names[bisect.bisect_right(addrs, int(c[1], 16)) - 1] for c in often))
    return written, shared


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--out", default="out/results/datapath.json")
    ap.add_argument("--packets", type=int, default=60000)
    args = ap.parse_args()
    subprocess.run(["modprobe", "-a", "pktgen", "dummy", "veth"], check=True)
    folder = os.path.join(O, "results", "smp")
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):	# of a run before, numbered alike
        os.unlink(os.path.join(folder, name))
    result = {"clock": "wall, two emulated CPUs"}
    for mode in ("hmux", "smux"):
        bed = Bed(queues=2)
        try:
            bed.mux(mode)
            send(bed, 2, 4000)
            one = [send(bed, 1, args.packets) for _ in range(3)]
            two = [send(bed, 2, args.packets) for _ in range(3)]
            result[mode + "_packets_per_second_1_cpu"] = round(max(one))
            result[mode + "_packets_per_second_2_cpus"] = round(max(two))
            result[mode + "_ratio"] = round(max(two) / max(one), 2)
        finally:
            bed.close()
    bed = Bed()
    try:
        bed.device()
        started = time.monotonic()
        bed.vips([vip(n, own(n)) for n in range(VIPS)])
        wall = round(time.monotonic() - started, 2)
    finally:
        bed.close()
    for mode in ("hmux", "smux"):	# from here on all code is slow
        bed = Bed(queues=2)
        try:
            bed.mux(mode)
            send(bed, 2, 4000)
            written, shared = shared_lines(bed, folder, 2000)
            result[mode + "_lines_written_per_packet"] = written
            result[mode + "_lines_written_by_both_cpus"] = len(shared)
            result[mode + "_shared"] = ", ".join(shared) or "none"
        finally:
            bed.close()
    whole = {}
    if os.path.exists(args.out):
        with open(args.out, encoding="ascii") as f:
            whole = json.load(f)
    whole["multi_core"] = result
    whole.setdefault("program", {})["wall_seconds_emulated"] = wall
    print(json.dumps(result, indent=1), f"\n{VIPS} VIPs programmed in {wall} s")
    with open(args.out, "w", encoding="ascii") as f:
        json.dump(whole, f, indent=1, sort_keys=True)
        f.write("\n")


if __name__ == "__main__":
    main()
