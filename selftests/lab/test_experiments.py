#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Do the experiments' programs run: once each, on this machine without the
module, and are figures and results made of what they measured. What they
measure is not judged here, but for what must be zero."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
RUNS = (
    ("exp_routing.py", "--runs", "1", "--causes", "links_down", "--victims", "core1"),
    ("exp_chain.py", "--device", "sim", "--runs", "1", "--parts", "migration,breakdown,rotation"),
    ("exp_many.py", "--device", "sim", "--vips", "300"),
)
count = failed = 0


def ok(good, text):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {text}", flush=True)


def run(argv, env):
    told = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240, check=False)
    print("".join(f"# {line}\n" for line in told.stdout.splitlines()), end="")
    return told.returncode


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP not root")
        return 0
    where = tempfile.mkdtemp(prefix="duet-experiments-")
    env = dict(os.environ, DUET_RESULTS=where)
    try:
        for argv in RUNS:
            ok(run([os.path.join(HERE, argv[0])] + list(argv[1:]), env) == 0, " ".join(argv))
        # without the module something is missing, and it says so
        ok(run([os.path.join(TOP, "scripts", "experiments"), "--only", "figures"], env) == 1, "figures are drawn, and what is missing is told")
        with open(os.path.join(where, "experiments.json"), encoding="ascii") as f:
            found = json.load(f)
        ok(found["failover"]["links_down"]["runs"] == 1, "a failover is among the results")
        lost = {move: told["packets_lost"] for move, told in found["migration"].items()}
        ok(set(lost) == {"wave", "hmux_to_smux", "smux_to_hmux", "hmux_to_hmux"} and not any(lost.values()), f"no ping lost in a move: {lost}")
        with open(os.path.join(where, "experiments", "parts", "rotation-native.json"), encoding="ascii") as f:
            rotated = json.load(f)["rotation"]
        ok(not any(told["packets_lost"] for told in rotated.values()), f"no ping lost in a rotation of the key: {rotated}")
        ok(len(found["breakdown"]["announce"]) == 2, "the breakdown has both numbers of VIPs")
        drawn = [os.path.join(where, "experiments", f"{name}.{kind}") for name in ("figure13", "figure14") for kind in ("png", "svg")]
        ok(all(os.path.exists(path) and os.path.getsize(path) > 2000 for path in drawn), "Figures 13 and 14 as PNG and SVG")
    finally:
        shutil.rmtree(where)
    print(f"1..{count}")
    return 1 if failed else 0


sys.exit(main())
