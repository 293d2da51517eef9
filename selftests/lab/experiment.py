# SPDX-License-Identifier: GPL-2.0
"""What all experiments share: the clock's name, figures of several runs, and the
files that results are kept in: one JSON a part, one CSV a figure."""
import json
import os
import shutil
import statistics

import config
import place

RESULTS = os.environ.get("DUET_RESULTS", os.path.join(config.OUT, "results"))
FIGURES = os.path.join(RESULTS, "experiments")
PARTS = os.path.join(FIGURES, "parts")

CLOCKS = {
    None: "native: this machine's clock",
    "icount": "virtual: instructions of one emulated CPU, one a nanosecond",
    "tcg": "wall clock of a VM in software emulation",
    "kvm": "wall clock of a VM on KVM",
}


def clock():
    return CLOCKS[os.environ.get("DUET_VM")]


def programs_to_memory():
    """In a VM, read from memory from here on: waiting for a file is idle time, and a clock
    that counts instructions leaps through that. To be called before config.BIN is used."""
    if not os.environ.get("DUET_VM"):
        return
    config.BIN = "/tmp/duet-bin"
    shutil.copytree(os.path.join(config.OUT, "bin"), config.BIN, dirs_exist_ok=True)


def spread(values):
    """a figure that was measured several times"""
    values = sorted(values)
    return {"ms": round(statistics.median(values), 3), "min_ms": round(values[0], 3), "max_ms": round(values[-1], 3),
            "runs": len(values), "all_ms": [round(v, 3) for v in values]}


def keep(part, found):
    """a part's results; they are put together by scripts/experiments"""
    os.makedirs(PARTS, exist_ok=True)
    path = os.path.join(PARTS, part + ".json")
    with open(path + ".new", "w", encoding="ascii") as f:
        json.dump({"clock": clock(), "kernel": os.uname().release, "emulated": place.emulated(), **found}, f, indent=1)
        f.write("\n")
    os.replace(path + ".new", path)


def csv(name, header, rows):
    os.makedirs(FIGURES, exist_ok=True)
    with open(os.path.join(FIGURES, name + ".csv"), "w", encoding="ascii") as f:
        f.write(",".join(header) + "\n")
        for row in rows:
            f.write(",".join("" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v) for v in row) + "\n")


def read_trace(path, since=0.0, until=float("inf")):
    """pings of a probe as (kind, vip, sent at, rtt in ms or None)"""
    found = []
    with open(path, encoding="ascii") as f:
        next(f)
        for line in f:
            kind, vip, sent, rtt = line.rstrip("\n").split(",")
            if since <= float(sent) < until:
                found.append((kind, vip, float(sent), float(rtt) if rtt else None))
    return found
