# SPDX-License-Identifier: GPL-2.0
"""What it costs to program a mux, and the kernel memory it takes.

Costs are the processor time of the tool `duet` and of all the kernel does for
it; under icount that is instructions. 16,384 VIPs have four DIPs each that no
other has: the dearest case, nothing is shared.
"""
import itertools
import json
import resource
import select

from bed import MARK_END, MARK_PROFILE, Bed, dips, mark

VIPS, FEW = 16384, 4096
BUCKETS = 509 * 2			# of a set of four DIPs: u16 each
DYING = "10.7.99.99"


def spent():
    """Nanoseconds of processor time of all children that have ended: (theirs, the kernel's for them)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int(used.ru_utime * 1e9), int(used.ru_stime * 1e9)


def split_cost(function, *args):
    before = spent()
    function(*args)
    return [b - a for a, b in zip(before, spent())]


def cost(function, *args):
    return sum(split_cost(function, *args))


def vip(n, dip_list):
    return {"vip": "198.%d.%d.%d" % (18 + (n >> 16), n >> 8 & 255, n & 255), "rules": [{"dips": dip_list}]}


def own(n, shift=0):
    """Four DIPs of the nth VIP alone."""
    first = 4 * n + shift
    return [{"address": "10.%d.%d.%d" % (16 + (i >> 16), i >> 8 & 255, i & 255)} for i in range(first, first + 4)]


def kernel_memory():
    """Bytes the kernel holds that it can't drop: slabs and per-CPU memory."""
    seen = []
    while len(seen) < 5 or len(set(seen[-5:])) > 1:	# until RCU has freed what is gone
        select.select([], [], [], 0.3)
        with open("/proc/meminfo", encoding="ascii") as f:
            info = {k: int(v.split()[0]) * 1024 for k, v in (line.split(":", 1) for line in f)}
        seen.append(info["SUnreclaim"] + info["Percpu"])
        if len(seen) == 100:
            break
    return seen[-1]


def each(bed, vip_list):
    """Bytes a VIP takes, its buckets too."""
    before = kernel_memory()
    bed.vips(vip_list)
    taken = (kernel_memory() - before) / len(vip_list)
    bed.cli("vip", "del", "mux0", "all")
    return taken


def marked(function, *args):
    """Nanoseconds of the kernel for it, marked for the emulator's plugin."""
    mark(MARK_PROFILE)
    kernel = split_cost(function, *args)[1]
    mark(MARK_END)
    return kernel


def profile_program(bed):
    return marked(bed.vips, [vip(n, own(n)) for n in range(VIPS)]), VIPS, f"a VIP of {VIPS} in one batch, the kernel's part"


def profile_dip_down(bed):
    bed.vips([vip(n, own(n)) for n in range(VIPS)])
    bed.vips([vip(n, own(n)[:3] + [{"address": DYING}]) for n in range(1000)])
    return marked(bed.cli, "dip", "set", "mux0", DYING, "down"), 1000, "a DIP down in a VIP of 1,000, the kernel's part"


PROFILES = {"program": profile_program, "dip_down": profile_dip_down}


def profile(name):
    """A row like a path's, of what the kernel does for the control plane."""
    bed = Bed()
    try:
        bed.device()
        kernel, each_of, config = PROFILES[name](bed)
        return {"instructions_per_packet": round(kernel / each_of, 1), "packets": each_of, "config": config}
    finally:
        bed.close()


def program():
    bed = Bed()
    result = {}
    try:
        bed.device()
        bed.cli("dev", "show")
        before = kernel_memory()
        batch = [vip(n, own(n)) for n in range(VIPS)]
        result["vips"] = VIPS
        user, kernel = split_cost(bed.vips, batch)
        result["instructions_per_vip"] = round((user + kernel) / VIPS)
        result["kernel_instructions_per_vip"] = round(kernel / VIPS)
        per_vip = (kernel_memory() - before) / VIPS
        result["replace_instructions_per_vip"] = round(cost(bed.vips, [vip(n, own(n, 1)) for n in range(1000)]) / 1000)
        result["dump_instructions_per_vip"] = round(cost(bed.cli, "-j", "vip", "show", "mux0") / VIPS)
        result["dump_again_instructions_per_vip"] = round(cost(bed.cli, "-j", "vip", "show", "mux0") / VIPS)
        bed.vips([vip(n, own(n)[:3] + [{"address": DYING}]) for n in range(1000)])
        result["dip_down_1000_vips_instructions"] = cost(bed.cli, "dip", "set", "mux0", DYING, "down")
        result["dip_down_again_instructions"] = cost(bed.cli, "dip", "set", "mux0", DYING, "down")	# the tool alone: nothing changes
        result["dip_up_1000_vips_instructions"] = cost(bed.cli, "dip", "set", "mux0", DYING, "up")
        bed.cli("vip", "del", "mux0", "all")

        shared = each(bed, [vip(n, dips(4)) for n in range(FEW)])
        pool = itertools.combinations(dips(32), 4)
        sets = each(bed, [vip(n, list(next(pool))) for n in range(FEW)])
    finally:
        bed.close()
    memory = {
        "bytes_per_vip": round(per_vip), "bytes_per_vip_beside_buckets": round(per_vip - BUCKETS),
        "bytes_per_vip_shared_set": round(shared), "bytes_per_set": round(sets - shared),
        "bytes_per_set_beside_buckets": round(sets - shared - BUCKETS),
    }
    bed = Bed()
    try:
        bed.device("smux")
        flows = json.loads(bed.cli("-j", "dev", "show"))[0]["flows"]
        memory["bytes_per_flow"] = round(flows["bytes"] / flows["max"], 1)
    finally:
        bed.close()
    return result, memory
