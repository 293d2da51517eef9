# SPDX-License-Identifier: GPL-2.0
"""The whole testbed set up for the experiments of Figures 12 and 13: seven VIPs
on switches, three on the SMuxes, clients with probes, and what they saw."""
import json
import os
import subprocess

import config
import experiment
import ops
from client import Probe, ended, outage, unanswered
from faults import Faults
from rtnl import SCOPE_HOST, Watch
from testbed import Failed, program, until

BFD_MS = 20
PLACES = {	# two VIPs each where switches will die, so that their neighbours' VIPs are watched too
	"203.0.113.1": "core1", "203.0.113.2": "core2", "203.0.113.3": "agg1", "203.0.113.4": "agg3",
	"203.0.113.5": "core1", "203.0.113.6": "tor2", "203.0.113.7": "tor4",
	"203.0.113.8": "smux", "203.0.113.9": "smux", "203.0.113.10": "smux",
}

SECOND = {"203.0.113.2": "smux", "203.0.113.8": "core1", "203.0.113.4": "agg1"}	# where some of them move


class Chain:
    def __init__(self, bed, say, octet=203):
        self.bed = bed
        self.say = say
        self.faults = Faults(bed)
        self.watch = Watch([bed.ns(n) for n in bed.topo.switches], octet=octet)
        there = {v["vip"] for v in bed.vips["vips"]} if bed.vips else set()
        self.vips = [vip for vip in PLACES if vip in there]	# a testbed of fewer servers has fewer
        self.stand_in = bed.device == "sim"
        if self.stand_in and bed.vips:
            self.answer_pings()
        self.n_traces = 0

    def close(self):
        self.watch.close()
        self.faults.close()

    def answer_pings(self):
        """Without the module nothing goes on to DIPs: SMuxes, and switches that a VIP will ever live on, have
        it as an address of their own and answer pings: of host scope, as a host has a VIP, for an agent refuses one
        that is the machine's. Routes, BIRD, agents and controller are the real ones."""
        for node in self.bed.topo.muxes:
            rt = self.faults.netlink(node)
            rt.links()
            for vip in self.vips:
                if node.role == "smux" or node.name in (PLACES[vip], SECOND.get(vip)):
                    rt.address("lo", vip + "/32", SCOPE_HOST)
            rt.flush()

    def failed(self, text, node="ctl", program="controller"):
        return Failed(text, self.bed.log_of(node, program))

    def client(self, rack):
        return next(n for n in self.bed.topo.clients if self.bed.topo.rack_of(n).name == rack)

    def place(self, where=None):
        """every VIP to its place, in one wave"""
        for move in ops.wave(self.bed, where or {vip: PLACES[vip] for vip in self.vips}):
            ops.await_move(self.bed, move)
        self.settle()

    def settle(self):
        ops.wait_ok(self.bed, 90)

        def wrong():
            return self.bed.bgp_problems() or self.bed.bfd_problems() or self.unrouted()

        if not until(lambda: not wrong(), 30, 0.2):
            raise Failed("; ".join(wrong()[:3]))

    def unrouted(self):
        """sentences: switches whose kernel has no route to another's rack, or takes a link for dead"""
        racks = {n.name: config.rack_net(n) for n in self.bed.topo.of("tor")}
        found = []
        for node in self.bed.topo.switches:
            told = self.bed.run_in(node, [program("ip"), "-j", "route", "show"], stdout=subprocess.PIPE, text=True)
            routes = json.loads(told.stdout)
            there = {r["dst"] for r in routes}
            found += [f"{node.name} takes {r.get('dev')} for down" for r in routes if {"linkdown", "dead"} & set(r.get("flags", []))]
            found += [f"{node.name} has no route to {net}" for tor, net in racks.items() if tor != node.name and net not in there]
        return found

    def others(self, *but):
        return [self.bed.ns(n).name for n in self.bed.topo.switches if n.name not in but]

    def recover(self):
        """after a failed experiment: whatever is cut, frozen or killed comes back"""
        self.faults.heal_all()
        self.restart(self.bed.dead() + [key for key, pid in self.bed.pids.items() if pid is None])
        self.place()

    def routes(self, test, but=(), seconds=20.0):
        """when test(table) held in all switches but some; None: not in time"""
        return self.watch.want(test, self.others(*but), seconds)[0]

    def probe(self, client, pings, tcp, connections, udp=(), ping_ms=3, line_ms=100, more=()):
        """a client's pings to some VIPs, long connections and UDP to others"""
        self.n_traces += 1
        path = os.path.join(self.bed.run, f"trace{self.n_traces}.csv")
        args = ["--ping-ms", str(ping_ms), "--line-ms", str(line_ms), "--trace", path]
        for vip in pings:
            args += ["--icmp", vip]
        for vip in () if self.stand_in else udp:
            args += ["--udp", f"{vip}:{config.ECHO_PORT}"]
        for vip in () if self.stand_in else tcp:
            args += ["--tcp", f"{vip}:{config.ECHO_PORT}*{connections}"]
        probe = Probe(self.bed.ns(client), args + list(more), self.bed.log_of(client.name, "probe"))
        probe.trace = path
        return probe

    def run_for(self, seconds):
        self.watch.read_for(seconds)

    def restart(self, keys):
        """programs that were killed, started again; old connections to them are of no use"""
        for connection in self.bed.connections.values():
            connection.close()
        self.bed.connections = {}
        self.bed.start_all(keys)


def kept(report, say=None):
    """(connections, kept): kept are those that stand and whose lines all came back; what became of the others is said"""
    lost = ended(report) + unanswered(report)
    if lost and say:
        ways = sorted({(c["vip"], c["server"], c["state"], c["why"], c["echoed"] == c["sent"]) for c in lost})
        say(f"  {len(lost)} connections lost: " + "; ".join(
            f"{vip} at {server} {state}{' ' + why if why else ''}{'' if all_back else ', lines not back'}" for vip, server, state, why, all_back in ways[:6]))
    return len(report["connections"]), len(report["connections"]) - len(lost)


def lost_pings(report, vips=None, since=0.0, until_=float("inf")):
    """(longest ms without answer, pings lost) of some VIPs"""
    some = {"pings": [s for s in report["pings"] if vips is None or s["vip"] in vips]}
    return outage(some, since, until_)


def figure_rows(trace, vips, zero, since, until_):
    """rows for a CSV: VIP, ms after zero, round trip in ms (none: lost)"""
    return [(vip, (sent - zero) * 1000, rtt) for kind, vip, sent, rtt in experiment.read_trace(trace, since, until_)
            if kind == "icmp" and vip in vips]
