#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Failover and announcement by routing alone, on this machine's own clock. No
module is needed for that: a switch and the SMuxes hold the VIP as an address
of their own and answer pings themselves; /32, aggregate, BIRD, BFD and kernel
routes are those of the whole testbed. A client under every ToR pings; what
counts is the longest time that any of them got no answer.

usage: exp_routing.py [--runs N] [--causes NAME,...] [--victims NAME,...]"""
import argparse
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import config  # noqa: E402
import experiment  # noqa: E402
from client import Probe, outage  # noqa: E402
from faults import Faults  # noqa: E402
from rtnl import Watch  # noqa: E402
from testbed import Failed, Testbed, until  # noqa: E402

VIP = "203.0.113.7"
BFD_MS = 10
PING_MS = 0.5
CAUSES = ("links_down", "power", "bird_killed", "bird_frozen", "device_down")
VICTIMS = ("core1", "agg3", "tor4")
SERVERS = 4			# a client under every ToR


class Routing:
    def __init__(self, bed):
        self.bed = bed
        self.faults = Faults(bed)
        self.watch = Watch([bed.ns(n) for n in bed.topo.switches], octet=203)
        self.clients = {bed.topo.rack_of(n).name: n for n in reversed(bed.topo.clients)}

    def close(self):
        self.watch.close()
        self.faults.close()

    def trigger(self, node, prefix, delete=False):
        rt = self.faults.netlink(node)
        rt.route(prefix, node.device, table=199, proto=199, delete=delete)
        rt.flush()

    def others(self, *but):
        return [self.bed.ns(n).name for n in self.bed.topo.switches if n.name not in but]

    def wait(self, test, but, what):
        when, missing = self.watch.want(test, self.others(*but), 20)
        if when is None:
            raise Failed(f"{what}: not in {' '.join(sorted(missing))}", self.bed.log_of(but[0] if but else "core1", "bird"))
        return when

    def settle(self):
        """every session up, every way there again"""
        def wrong():
            return self.bed.bgp_problems() or self.bed.bfd_problems()

        if not until(lambda: not wrong(), 30, 0.05):
            raise Failed("; ".join(wrong()[:3]))
        self.bed.wait_bgp()

    def serve(self):
        """the SMuxes hold the VIP and announce the aggregate"""
        for node in self.bed.topo.of("smux"):
            self.faults.netlink(node).address("lo", f"{VIP}/32")
            self.trigger(node, config.AGGREGATE)
        self.wait(lambda t: config.AGGREGATE in t, (), "the aggregate")

    def fail(self, node, cause):
        """one failure of a switch that serves the VIP: (ms without answer, pings lost, ms until all have fallen back, sessions of others lost)"""
        bed, vip = self.bed, VIP + "/32"
        self.trigger(node, vip)
        self.wait(lambda t: vip in t, (node.name,), "the VIP")
        probes = [Probe(bed.ns(client), ["--icmp", VIP, "--ping-ms", str(PING_MS)], bed.log_of(client.name, "probe"))
                  for tor, client in self.clients.items() if tor != node.name]
        try:
            for probe in probes:
                probe.ready()
            self.watch.read_for(0.1)		# pings before the failure
            self.watch.drain()
            began = self.faults.strike(node, cause)
            fallen = self.wait(lambda t: vip not in t and config.AGGREGATE in t, (node.name,), f"fallback after {cause}")
            self.watch.read_for(0.2)		# and after it
            reports = [probe.stop() for probe in probes]
            # a busy machine may keep BFD packets waiting so long that a living neighbour seems dead
            flaps = sum(node.name not in problem for problem in bed.bgp_problems())
        finally:
            for probe in probes:
                probe.__exit__()
        self.trigger(node, vip, delete=True)
        self.faults.heal(node, cause)
        self.settle()
        seen = [outage(r, began - 0.05) for r in reports]
        return max(s[0] for s in seen), sum(s[1] for s in seen), (fallen - began) * 1000, flaps

    def announce(self, node):
        """ms from the trigger to the last switch's kernel, there and away again"""
        vip, took = VIP + "/32", []
        for delete in (False, True):
            self.watch.drain()
            began = time.monotonic()
            self.trigger(node, vip, delete)
            when = self.wait((lambda t: vip not in t) if delete else (lambda t: vip in t), (node.name,), "the VIP")
            took.append((when - began) * 1000)
        return took


def prepare(bed):
    """a switch that serves the VIP has its address too"""
    faults = Faults(bed)
    for name in VICTIMS:
        rt = faults.netlink(bed.topo.nodes[name])
        rt.links()
        rt.address("lo", f"{VIP}/32")
        rt.flush()
    for node in bed.topo.of("smux"):
        faults.netlink(node).links()
    faults.close()


def measure(bed, runs, causes, victims, say):
    routing = Routing(bed)
    found = {"bfd_ms": BFD_MS, "ping_ms": PING_MS, "failover": {}, "breakdown": {}}
    try:
        routing.serve()
        for cause in causes:
            rows = [routing.fail(bed.topo.nodes[name], cause) for name in victims for _ in range(runs)]
            found["failover"][cause] = dict(experiment.spread([r[0] for r in rows]), pings_lost=sum(r[1] for r in rows),
                                            runs_with_other_sessions_lost=sum(r[3] > 0 for r in rows),
                                            routes=experiment.spread([r[2] for r in rows]))
            told = found["failover"][cause]
            say(f"{cause:12} {told['ms']:7.1f} ms without answer (worst {told['max_ms']:.1f}), "
                f"all switches fallen back after {told['routes']['ms']:.1f} ms (worst {told['routes']['max_ms']:.1f})"
                + (f"; {told['runs_with_other_sessions_lost']} of {told['runs']} runs lost sessions of others too"
                   if told["runs_with_other_sessions_lost"] else ""))
        rows = [routing.announce(bed.topo.nodes[name]) for name in victims for _ in range(10 * runs)]
        for what, column in (("announce", 0), ("withdraw", 1)):
            told = found["breakdown"][what] = experiment.spread([r[column] for r in rows])
            say(f"{what:12} {told['ms']:7.1f} ms to the last switch (worst {told['max_ms']:.1f})")
    finally:
        routing.close()
    return found


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--runs", type=int, default=3, help="failures of each cause on each victim")
    p.add_argument("--causes", default=",".join(CAUSES))
    p.add_argument("--victims", default=",".join(VICTIMS))
    opt = p.parse_args()
    if os.geteuid() != 0:
        print("exp_routing: not root: the testbed is made of network namespaces", file=sys.stderr)
        return 1
    # on a busy machine those who measure come before those who don't; BIRD comes before them
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
    bed = Testbed(prefix=f"rt{os.getpid() % 10000}-", servers=SERVERS, device="dummy", site={"BFD_MS": BFD_MS}, first=("bird",))
    bed.claim()
    try:
        bed.up()
        prepare(bed)
        found = measure(bed, opt.runs, opt.causes.split(","), opt.victims.split(","), lambda text: print(f"routing: {text}", flush=True))
    except Failed as e:
        bed.keep_logs(os.path.join(config.OUT, "log", "exp-routing"))
        print(f"exp_routing: {e} (log: {e.log})", file=sys.stderr)
        return 1
    finally:
        bed.down()
    experiment.keep("routing", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
