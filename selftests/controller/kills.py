#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""kills.py COUNT [FILE] - kills the controller COUNT times as by kill -9, each
time at another step of a plan (DUET_FAULT), restarts it, and checks that it
ends where it was told to and that no VIP was ever without a mux. The figures
go into FILE as JSON."""
import collections
import json
import os
import random
import subprocess
import sys
import time

from fabric import BIN, Place, Refused, rest, until
from test_moves import DIPS, Lab, vip

FAR = 2.6	# steps a controller takes before it dies: up to 10 to the power of this, as many below 20 as above
KILLS_A_PLAN = 12
PLACES = ["tor1", "tor2", "agg1", "core1", "smux"]


def run_with_fault(lab, n):
    log = open(lab.place.path("duet-controller.log"), "a", encoding="utf-8")
    child = subprocess.Popen([f"{BIN}/duet-controller", "-c", lab.conf], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                             env=dict(os.environ, DUET_FAULT=str(n), DUET_LOG="warn"))
    log.close()
    lab.place.running.append(child)
    lab.child = child
    return child


def ask(lab, want):
    """The whole plan asked for; True if it was taken"""
    try:
        rest("PUT", lab.url + "/v1/updater/assignment", {"assignment": [{"vip": v, "mux": m} for v, m in want.items()]}, 5)
        return True
    except (OSError, Refused):
        return False


def one_plan(lab, rng, most, tally):
    """One plan carried out, its controller killed at most so many times, early or late in its life; kills done"""
    want = {v: rng.choice(PLACES) for v in lab.watch.must}
    taken, kills = False, 0
    while True:
        child = run_with_fault(lab, round(10 ** rng.uniform(0, FAR)) if kills < most else 0)
        until(lambda: child.poll() is not None or rest("GET", lab.url + "/healthz"), 30)
        over = False
        deadline = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline:
            if not taken:
                taken = ask(lab, want)
                continue
            try:
                s = rest("GET", lab.url + "/v1/status", timeout=5)
                if s["muxes"]["in-sync"] == 13 and not s["vips"]["moving"] and lab.places() == want:
                    over = True
                    break
            except (OSError, Refused):
                pass
        if over:
            break
        if child.poll() is None:
            tally["stuck"] += 1
            break
        child.wait()
        lab.place.running.remove(child)
        kills += 1
    held = {v: [m] if m != "smux" else [] for v, m in want.items()}
    if lab.places() != want or not until(lambda: lab.held() == held):
        tally["lost"] += 1
        print(f"# lost: wanted {want}, is {lab.places()}, held {lab.held()}", flush=True)
    lab.kill()
    return kills


def kills(count, progress=False, seed=7):
    place = Place()
    rng = random.Random(seed)
    tally = {"count": 0, "plans": 0, "lost": 0, "stuck": 0}
    started = time.monotonic()
    try:
        lab = Lab(place)
        for m in lab.mux.values():
            m.lag = 0.01
        lab.start()
        vips = [vip(n, DIPS[(n - 1) % 6:(n - 1) % 6 + 3], 100) for n in range(1, 9)]
        lab.put("/v1/config", {"vips": vips})
        lab.settled()
        lab.watch.must = {v["vip"] for v in vips}
        lab.kill()
        while tally["count"] < count:
            tally["count"] += one_plan(lab, rng, min(rng.randint(1, KILLS_A_PLAN), count - tally["count"]), tally)
            tally["plans"] += 1
            if progress:
                print(f"\r{tally['count']} of {count} kills, {tally['plans']} plans, {tally['lost']} lost ", end="", file=sys.stderr, flush=True)
        tally["without"] = len(lab.watch.wrong)
        for text in lab.watch.wrong:
            print("#", text, flush=True)
        with open(place.path("duet-controller.log"), encoding="utf-8") as f:
            at = collections.Counter(line.split()[1] for line in f if line.startswith("fault: "))
    finally:
        place.close()
    if progress:
        print(file=sys.stderr)
    return {"count": tally["count"], "at": dict(at), "plans": tally["plans"], "lost_moves": tally["lost"] + tally["stuck"],
            "vip_without_mux": tally["without"], "seconds": round(time.monotonic() - started, 1)}


if __name__ == "__main__":
    result = kills(int(sys.argv[1]), progress=True)
    print(json.dumps(result))
    if len(sys.argv) > 2:
        with open(sys.argv[2], "w", encoding="utf-8") as f:
            json.dump(result, f)
    sys.exit(1 if result["lost_moves"] or result["vip_without_mux"] else 0)
