# SPDX-License-Identifier: GPL-2.0
"""Figure 11: 11 VIPs of two DIPs each, UDP to ten, pings to the idle one: three
SMuxes at low load, at high load, then one HMux. What a software mux can do is
emulated, for an emulated machine has no headroom to overload: each SMux may send
CAPACITY packets of a mux a second and queue QUEUE of them. Loads stand to that
capacity as in the paper (200 and 400 of 300 kpps); the height of the
plateau follows from QUEUE, which was chosen, and is no result. The HMux
has no such limit, nothing but the path of its packets."""
import subprocess
import time

import experiment
import ops
from chain import PLACES
from experiment import read_trace
from testbed import Failed, program

CAPACITY = 900			# packets a second of one SMux: the paper's 300 kpps
LOADS = (600, 1200)		# on each SMux: the paper's 200 and 400 kpps
QUEUE = 15			# packets: 16 ms at CAPACITY, the paper's plateau
FRAME = 14 + 20 + 20 + 8 + 16	# Ethernet, outer and inner header, UDP, datagram
SECONDS = 3.0
IDLE = "203.0.113.11"
PING_MS = 3
PINGED = "smux3"		# the nearest to the client that pings: pings are a part of its load
HMUX = "tor1"


def tc(bed, node, *args):
    told = bed.run_in(node, [program("tc")] + list(args), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if told.returncode:
        raise Failed(f"tc {' '.join(args)} in {node.name}: {told.stdout.strip()}")


def limit(bed, node):
    """only what the mux sends passes the narrow place: BGP and BFD have a CPU of their own"""
    rate = CAPACITY * FRAME * 8
    tc(bed, node, "qdisc", "add", "dev", "eth0", "root", "handle", "1:", "prio", "bands", "2", "priomap", *["0"] * 16)
    tc(bed, node, "qdisc", "add", "dev", "eth0", "parent", "1:2", "netem", "rate", f"{rate}bit", "limit", str(QUEUE))
    tc(bed, node, "filter", "add", "dev", "eth0", "parent", "1:", "protocol", "ip", "u32",
       "match", "ip", "protocol", "4", "0xff", "flowid", "1:2")


def vips(bed):
    """eleven VIPs of two DIPs, no health checks: overload must not look like death"""
    dips = [n.address for n in bed.topo.dips]
    names = [f"203.0.113.{i + 1}" for i in range(11)]
    return {"vips": [{"vip": vip, "name": f"cap{i + 1}", "traffic": {"mbps": 100},
                      "rules": [{"proto": "any", "dips": [{"address": dips[2 * i]}, {"address": dips[2 * i + 1]}]}]}
                     for i, vip in enumerate(names)]}


def encapsulated(bed):
    """packets that each SMux and the one HMux have put into tunnels so far, sent or not"""
    return {name: ops.mux_status(bed, name)["device"]["counters"]["encap"]["packets"]
            for name in [n.name for n in bed.topo.of("smux")] + [HMUX]}


def phase(chain, pps):
    """one load for SECONDS, from a client under each SMux's switch, which sends to the SMux that is nearest; pings from another rack"""
    probes = []
    try:
        for smux in chain.bed.topo.of("smux"):
            rate = pps - (1000 // PING_MS if smux.name == PINGED else 0)
            more = [f for vip in list(PLACES)[:10] for f in ("--flood", f"{vip}:9*{rate // 10}")]
            probes.append(chain.probe(chain.client(chain.bed.topo.rack_of(smux).name), (), (), 0, more=more))
            probes[-1].ready()
        pinger = chain.probe(chain.client("tor4"), [IDLE], (), 0, ping_ms=PING_MS)
        probes.append(pinger)
        pinger.ready()
        before, began = encapsulated(chain.bed), time.monotonic()
        chain.run_for(SECONDS)
        took, after = time.monotonic() - began, encapsulated(chain.bed)
        report = pinger.stop()
        for p in probes[:-1]:
            p.stop()
    finally:
        for probe in probes:
            probe.__exit__()
    return began, report, pinger.trace, {name: round((after[name] - before[name]) / took) for name in after}


def measure(chain):
    bed = chain.bed
    bed.controller("PUT", "/v1/config", vips(bed))
    chain.settle()
    for node in bed.topo.of("smux"):
        limit(bed, node)
    found, rows, shift = {}, [], 0.0
    for name, load, where in (("smux_low", LOADS[0], "smux"), ("smux_high", LOADS[1], "smux"), ("hmux_high", LOADS[1], HMUX)):
        chain.place({v["vip"]: where for v in vips(bed)["vips"]})
        began, report, trace, muxes = phase(chain, load)
        pings = [p for p in read_trace(trace) if p[0] == "icmp"]
        rtts = sorted(p[3] for p in pings if p[3] is not None)
        if not rtts:
            raise chain.failed(f"no ping answered in {name}")
        found[name] = {"load_pps": load * 3, "mux_pps": muxes, "median_ms": rtts[len(rtts) // 2],
                       "p99_ms": rtts[int(len(rtts) * 0.99)], "pings": len(pings), "pings_lost": len(pings) - len(rtts)}
        rows += [(name, shift + sent_at - began, rtt) for _, _, sent_at, rtt in pings]
        shift += SECONDS
        told = found[name]
        chain.say(f"capacity {name:10} {told['load_pps']} packets a second ({', '.join(f'{m} {n}' for m, n in muxes.items())}): idle VIP {told['median_ms']:.2f} ms median, "
                  f"{told['p99_ms']:.2f} ms 99 %, {told['pings_lost']} of {told['pings']} pings lost")
    experiment.csv("figure11", ("phase", "s", "rtt_ms"), rows)
    return {"capacity": found, "smux_capacity_pps": CAPACITY, "queue": QUEUE}
