#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Figure 14 under 16,384 other VIPs, spread over the ten switches, so that every
kernel of the fabric has a route to each, and all of them on every SMux: the same
steps as exp_breakdown.py takes among ten. Mux agents are told by us, not by a
controller: what is measured is not its part.

usage: exp_many.py [--vips N] [--device sim]
  --vips N      so many others
  --device sim  tables in memory instead of the module's (routes, BIRD, agents, controller are real)"""
import argparse
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import config  # noqa: E402
import exp_breakdown  # noqa: E402
import experiment  # noqa: E402
import place  # noqa: E402
from chain import Chain  # noqa: E402
from testbed import Failed, Testbed  # noqa: E402

MANY = 16384
AGGREGATE, OWN = "198.18.0.0/15", "198.19.255.1"
SITE = {"VIP_HOSTS": "[ 198.18.0.0/15{32,32} ]", "VIP_AGGREGATES": "[ 198.18.0.0/15{15,20} ]", "BFD_ON": 0, "HOLD_TIME": 90}
SERVERS = 8


def say(text):
    print(f"many: {text}", flush=True)


def vips(topo, n):
    """n VIPs of two DIPs each"""
    dips = [d.address for d in topo.dips]
    return [{"vip": f"198.{18 + (i >> 16)}.{i >> 8 & 255}.{i & 255}",
             "rules": [{"proto": "any", "dips": [{"address": dips[i % len(dips)]}, {"address": dips[(i + 1) % len(dips)]}]}]}
            for i in range(n)]


def fill(chain, n):
    """what a controller would send: all VIPs to each SMux, a tenth of them to each switch, there announced"""
    bed, everything = chain.bed, vips(chain.bed.topo, n)
    took = {}
    for node in bed.topo.muxes:
        own = everything
        if node.is_switch:
            first = (node.number - 1) * n // len(bed.topo.switches)
            own = [dict(v, announce="yes") for v in everything[first:node.number * n // len(bed.topo.switches)]]
        elif bed.device == "sim":
            own = []		# its tables are written to a file at every step: too slow for so many
        began = time.monotonic()
        bed.rest("PUT", f"{node.agent}/v1/state", {"epoch": 1, "generation": 1, "key": f"{42:032x}", "aggregate": AGGREGATE, "vips": own},
                 timeout=300)
        took[node.name] = (len(own), time.monotonic() - began)
    began = time.monotonic()

    def everywhere(table):
        return sum(dst.endswith("/32") and dst.startswith("198.18.") for dst in table) >= n - n // len(bed.topo.switches) - 1

    if chain.routes(everywhere, (), 600) is None:
        raise chain.failed("the VIPs' routes are not everywhere")
    spread = time.monotonic() - began
    for name in ("smux1", "core1"):
        say(f"{name}: {took[name][0]} VIPs taken in {took[name][1]:.2f} s")
    say(f"routes to {n} VIPs in every switch {spread:.1f} s later")
    return {"vips": n, "smux_s": round(took["smux1"][1], 3), "switch_s": round(took["core1"][1], 3), "spread_s": round(spread, 3)}


def measure(bed, n):
    chain = Chain(bed, say, 198)
    try:
        found = fill(chain, n)
        found["breakdown"] = exp_breakdown.measure(chain, OWN, n, 5)
    finally:
        chain.close()
    return found


def main():
    p = argparse.ArgumentParser(allow_abbrev=False)
    p.add_argument("--vips", type=int, default=MANY)
    p.add_argument("--device", choices=("duet", "sim"), default="duet")
    opt = p.parse_args()
    experiment.programs_to_memory()
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
    bed = Testbed(f"many{os.getpid() % 1000}-", servers=SERVERS, device=opt.device, site=SITE, first=("bird",),
                  aggregate=AGGREGATE, patient=False)
    with place.module(opt.device == "duet"):
        bed.claim()
        try:
            bed.up(controller=False)
            found = measure(bed, opt.vips)
        except Failed as e:
            bed.keep_logs(os.path.join(config.OUT, "log", "exp-many"))
            print(f"exp_many: {e} (log: {e.log}, kept in out/log/exp-many)", flush=True)
            return 1
        finally:
            bed.down()
    experiment.keep("many" if opt.device == "duet" else "many-native", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
