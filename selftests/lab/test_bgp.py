#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Routing of the testbed on this machine, without the module: trigger routes
reach every switch, leave again, carry their community when drained, fall back
to the SMuxes' aggregate; what must not be announced is not. Prints how long each
takes: from the command to the kernel route of the last switch."""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import config  # noqa: E402
import rtnl  # noqa: E402
from rtnl import Rtnl, Watch  # noqa: E402
from testbed import Failed, Testbed, until  # noqa: E402

VIP, AGGREGATE = "203.0.113.7/32", "203.0.113.0/24"
UP, DRAIN = 199, 198
count = failed = 0


def ok(good, text):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {text}", flush=True)


class Fabric:
    def __init__(self, bed):
        self.bed = bed
        self.switches = [n.name for n in bed.topo.switches]
        self.watch = Watch([bed.ns(n) for n in bed.topo.muxes])
        self.rt = {}
        for node in bed.topo.muxes:
            with bed.ns(node):
                self.rt[node.name] = Rtnl()

    def trigger(self, node, prefix, proto=UP, delete=False):
        rt = self.rt[node]
        rt.route(prefix, self.bed.topo.nodes[node].device, table=199, proto=proto, delete=delete)
        rt.flush()

    def await_(self, test, but=(), nodes=None, seconds=10.0):
        """milliseconds until test(table) holds in all switches but some, or None"""
        started = time.monotonic()
        names = [self.bed.ns(n).name for n in nodes or self.switches if n not in but]
        when, missing = self.watch.want(test, names, seconds)
        if when is None:
            print(f"# not in {', '.join(sorted(missing))}")
            return None
        return (when - started) * 1000

    def timed(self, change, test, text, but=(), nodes=None, times=1):
        took = []
        for _ in range(times):
            change()
            took.append(self.await_(test, but, nodes))
        good = None not in took
        ok(good, text + (f" ({max(took):.1f} ms)" if good else ""))


def has(prefix):
    return lambda table: prefix in table


def lacks(prefix):
    return lambda table: prefix not in table


def tests(bed):
    fab = Fabric(bed)
    ok(until(lambda: not bed.bgp_problems(), 20, 0.1), "all BGP sessions are established")

    for node in ("smux1", "smux2", "smux3"):
        fab.trigger(node, AGGREGATE)
    fab.timed(lambda: None, has(AGGREGATE), "the aggregate of three SMuxes is in every switch")
    good = until(lambda: fab.watch.take(0.05) >= 0 and
                 len(fab.watch.tables[bed.ns("tor4").name][AGGREGATE]["hops"]) == 2 and
                 len(fab.watch.tables[bed.ns("core1").name][AGGREGATE]["hops"]) == 4, 5)
    ok(good, "it is an ECMP route: two ways from a ToR, four from a Core")

    def down(node):
        """{prefix: neighbours} that a VIP's packet from above may go to"""
        return {dst: {h[0] for h in r["hops"]} for dst, r in fab.rt[node].routes(config.DOWN_TABLE).items()}

    fab.trigger("core2", VIP)
    fab.await_(has(VIP), ("core2",))
    good = until(lambda: down("tor3") == {AGGREGATE: {"10.3.200.1"}} and down("tor4") == {} and
                 down("agg3") == {AGGREGATE: {"10.255.13.1"}, VIP: {"10.255.7.0"}} and
                 down("agg1") == {AGGREGATE: {"10.255.9.1", "10.255.10.1"}, VIP: {"10.255.5.0"}}, 5)
    ok(good, "from above a packet goes down, or to the neighbour above that serves the VIP; nowhere else")
    fab.trigger("core2", VIP, delete=True)
    fab.await_(lacks(VIP))

    for hmux in ("core1", "agg3", "tor1"):
        fab.timed(lambda: fab.trigger(hmux, VIP), has(VIP), f"trigger on {hmux}: its /32 is in the nine other switches", (hmux,))
        with_it = [n for n in ("smux1", "smux2", "smux3", hmux) if VIP in fab.watch.tables[bed.ns(n).name]]
        ok(not with_it, "and in no SMux, and not in its own main table")
        fab.timed(lambda: fab.trigger(hmux, VIP, delete=True), lacks(VIP), f"trigger removed on {hmux}: gone everywhere", (hmux,))

    fab.trigger("tor2", VIP, DRAIN)
    fab.await_(has(VIP), ("tor2",))
    ok("(65535,0)" in bed.bird("core2", f"show route {VIP} all"), "proto 198 carries the graceful-shutdown community")
    fab.trigger("tor3", VIP, UP)

    def via_agg34(table):
        return VIP in table and {h[0] for h in table[VIP]["hops"]} == {"10.255.3.1", "10.255.4.1"}

    fab.timed(lambda: None, via_agg34, "with another holder, both Cores leave the draining one", nodes=("core1",))
    fab.trigger("tor2", VIP, delete=True)
    fab.trigger("tor3", VIP, delete=True)
    fab.await_(lacks(VIP))

    # two announce the same: a node's own trigger must be told whatever it hears
    fab.trigger("tor1", VIP)
    fab.await_(has(VIP), ("tor1",))
    fab.trigger("tor4", VIP)
    fab.timed(lambda: fab.trigger("tor1", VIP, delete=True), has(VIP), "a second announcement takes over when the first goes",
              ("tor4",))
    fab.trigger("tor4", VIP, delete=True)
    fab.await_(lacks(VIP))

    fab.trigger("tor1", "198.51.100.1/32")
    fab.trigger("agg2", AGGREGATE)
    fab.trigger("smux1", VIP)
    fab.trigger("core2", VIP, rtnl.PROTO_STATIC)
    fab.trigger("tor3", "203.0.113.99/32")		# by when this is there, those would be too
    fab.await_(has("203.0.113.99/32"), ("tor3",))
    fab.watch.take(0.2)
    core = fab.watch.tables[bed.ns("core1").name]
    ok("198.51.100.1/32" not in core, "an address outside the VIP range is not announced")
    ok(VIP not in core, "a /32 of an SMux, and a trigger of another protocol number, are not announced")
    ok("10.255.2.1" not in {h[0] for h in core[AGGREGATE]["hops"]} or len(core[AGGREGATE]["hops"]) == 4,
       "an aggregate of a switch draws nothing to it")
    for node, prefix in (("tor1", "198.51.100.1/32"), ("agg2", AGGREGATE), ("smux1", VIP), ("core2", VIP), ("tor3", "203.0.113.99/32")):
        fab.trigger(node, prefix, delete=True)

    fab.trigger("agg1", VIP)
    fab.await_(has(VIP), ("agg1",))

    def links(up):
        for port in bed.topo.nodes["agg1"].ports:
            fab.rt["agg1"].set_link(port, up)
        fab.rt["agg1"].flush()

    fab.timed(lambda: links(False), lambda t: VIP not in t and AGGREGATE in t,
              "links of the HMux down: all others fell back to the aggregate", ("agg1",))
    links(True)
    fab.timed(lambda: None, has(VIP), "links up again: the /32 is back", ("agg1",))
    fab.timed(lambda: bed.kill([("agg1", "bird")]), lacks(VIP), "its BIRD killed: all others fell back", ("agg1",))
    bed.start("agg1", "bird")
    fab.timed(lambda: None, has(VIP), "started again: the /32 is back", ("agg1",))
    fab.watch.close()


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP not root")
        return 0
    bed = Testbed(prefix=f"bgp{os.getpid() % 10000}-", servers=4, device="dummy")
    bed.claim()
    try:
        bed.up()
        tests(bed)
    except Failed as e:
        ok(False, f"{e} (log: {e.log})")
    finally:
        bed.down()
    ok(not bed.leftovers() and not bed.processes() and not os.path.exists(bed.run), "down leaves nothing behind")
    print(f"1..{count}")
    return 1 if failed else 0


sys.exit(main())
