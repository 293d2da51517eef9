#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The run at scale (scale.py), small: 40 switches, 3 SMuxes, 500 VIPs, 500 hosts.
Everybody holds exactly what the plan says, with the tables of the Python model."""
import os
import sys

from fabric import TOP, run_test
from scale import Scale, SMALL, Fabric, own_network, workload

sys.path.insert(0, os.path.join(TOP, "selftests", "model"))
from duet_model import Table

HOSTS, VIPS, MOVES = 500, 1200, 100	# more VIPs than an SMux is asked of with the question whether it lives


def model_digest(vip):
    return f"{Table([(d['address'], 1, False) for d in vip['rules'][0]['dips']]).digest():016x}"


def steps(tap, place):
    own_network()
    fabric = Fabric(SMALL, HOSTS, 3, 400)
    vips = workload(place, fabric, VIPS, 0.3, 16)
    s = Scale(place, fabric, vips, lambda text: print(f"# {text}", flush=True))
    tap.ok(s.start(), "the controller hears 43 muxes")
    tap.ok(len(s.put_config()["added"]) == VIPS, f"it takes {VIPS} VIPs")
    moves = s.assign()
    tap.ok(moves and len(moves) > VIPS // 2, "and plans a place for most of them", moves)
    tap.ok(s.settled(60), "all moves end, muxes are in sync, hosts told", s.get("/v1/status"))
    places = s.places()
    wrong = s.wrong_at_rest(places)
    tap.ok(not wrong, "every mux holds and exports what the plan says, with one table for a VIP everywhere", *wrong[:5])
    digests = s.status_of("smux1")["digests"]
    other = [v["vip"] for v in vips[::25] if digests.get(v["vip"]) != model_digest(v)]
    tap.ok(not other, "their tables are the model's", other)
    wanted, n = s.wave(MOVES, places)
    tap.ok(n == MOVES and s.settled(60), f"a wave of {MOVES} moves ends", n, s.get("/v1/status"))
    now = s.places()
    tap.ok(all(now[v] == m for v, m in wanted.items()), "every VIP is where it was to go")
    wrong = s.wrong_at_rest(now)
    tap.ok(not wrong, "and nowhere else", *wrong[:5])
    status = s.get("/v1/status")
    tap.ok(not status["faults"] and status["hosts"] == {"total": HOSTS, "told": HOSTS, "silent": 0}, "no fault, no host silent", status)
    rest = s.steady(3)
    tap.ok(rest["reports_per_s"] > HOSTS / 8 and not rest["reports_failed"], "all hosts report, and all are answered", rest)


run_test(steps)
