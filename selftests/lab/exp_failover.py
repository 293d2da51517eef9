# SPDX-License-Identifier: GPL-2.0
"""Figure 12: a switch that serves VIPs dies, in every way it can; pings every
3 ms to ten VIPs, long connections and UDP to its own run through it all."""
import time

import experiment
from chain import PLACES, figure_rows, kept, lost_pings
from experiment import spread

CAUSES = ("links_down", "power", "bird_killed", "agent_killed", "device_down")
VICTIMS = ("core1", "agg3", "agg1")	# no ToR: with it its rack is gone, and with that the client or DIPs
BEFORE, AFTER = 0.1, 0.4		# seconds of traffic shown around the failure
FALLBACK = {"links_down", "power", "bird_killed", "device_down"}


def fail(chain, name, cause, connections):
    """one failure; what was seen, and when it was"""
    node = chain.bed.topo.nodes[name]
    own = [vip for vip, mux in PLACES.items() if mux == name]
    with chain.probe(chain.client("tor4"), chain.vips, own, connections, udp=own[:1]) as probe:
        probe.ready()
        chain.run_for(BEFORE)
        chain.watch.drain()
        began = chain.faults.strike(node, cause)
        fallen = chain.routes(lambda t: not any(v + "/32" in t for v in own), (name,), 2) if cause in FALLBACK else None
        chain.run_for(max(0.0, began + AFTER - time.monotonic()))
        back = time.monotonic()
        chain.faults.heal(node, cause)
        if chain.routes(lambda t: all(v + "/32" in t for v in own), (name,), 60) is None:
            raise chain.failed(f"{name} does not take its VIPs back after {cause}")
        chain.settle()
        report = probe.stop()
    ms, lost = lost_pings(report, own, began - BEFORE, back)
    others = lost_pings(report, set(chain.vips) - set(own), began - BEFORE, back)
    total, whole = kept(report, chain.say)
    return {"ms": ms, "packets_lost": lost, "others_lost": others[1], "return_lost": lost_pings(report, None, back)[1],
            "routes_ms": (fallen - began) * 1000 if fallen else None, "connections": total, "connections_kept": whole,
            "began": began, "trace": probe.trace, "own": own}


def figure(chain, cause, seen):
    """VIP1 on an SMux, VIP2 on a switch that lives, VIP3 on the one that dies"""
    names = {"203.0.113.8": "VIP1 on SMux", "203.0.113.2": "VIP2 on HMux", seen["own"][0]: "VIP3 on failed HMux"}
    rows = figure_rows(seen["trace"], names, seen["began"] - BEFORE, seen["began"] - BEFORE, seen["began"] + AFTER)
    experiment.csv(f"figure12-{cause}", ("vip", "ms", "rtt_ms"), [(names[vip], at, rtt) for vip, at, rtt in rows])


def measure(chain, runs=3, connections=10):
    found = {}
    for cause in CAUSES:
        rows = [fail(chain, VICTIMS[i % len(VICTIMS)], cause, connections) for i in range(runs)]
        figure(chain, cause, rows[0])
        routes = [r["routes_ms"] for r in rows if r["routes_ms"] is not None]
        told = found[cause] = dict(
            spread([r["ms"] for r in rows]), **{key: sum(r[key] for r in rows) for key in (
                "packets_lost", "others_lost", "return_lost", "connections", "connections_kept")})
        if routes:
            told["routes"] = spread(routes)
        chain.say(f"failover {cause:12} {told['ms']:6.1f} ms without answer (worst {told['max_ms']:.1f}), {told['packets_lost']} pings lost, "
                  f"{told['others_lost']} of other VIPs, {told['return_lost']} on return; "
                  f"{told['connections_kept']} of {told['connections']} connections kept"
                  + (f"; routes after {told['routes']['ms']:.1f} ms" if routes else ""))
    return {"failover": found, "victims": VICTIMS[:runs]}
