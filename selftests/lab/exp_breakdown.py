# SPDX-License-Identifier: GPL-2.0
"""Figure 14: where the time of a change goes. Commands go straight to a switch's
mux agent, as its controller sends them, on one kept connection:
  vip_add, vip_delete     command to the kernel's acknowledgement, no route concerned
  dip_add, dip_delete     the same for a VIP served, with one DIP more or less
  announce, withdraw      a trigger route set by hand, to the last other switch's kernel: BIRD, BGP, FIB
  command_to_fabric_*     all of it: command to the last other switch's kernel"""
import random
import time

import ops
from experiment import spread

SWITCHES = ("core2", "agg2", "tor3")


class Direct:
    """a controller of our own for one VIP of one mux: the real one's epoch, later generations"""

    def __init__(self, bed, node, vip):
        self.bed, self.node, self.vip = bed, node, vip
        self.url = f"{node.agent}/v1/vips/{vip}"
        status = ops.mux_status(bed, node.name)
        self.epoch, self.generation = status["epoch"], status["generation"]

    def put(self, dips, announce):
        self.generation += 1
        body = {"vip": self.vip, "epoch": self.epoch, "generation": self.generation, "announce": announce,
                "rules": [{"proto": "any", "dips": [{"address": a} for a in dips]}]}
        began = time.monotonic()
        self.bed.rest("PUT", self.url, body)
        return began, time.monotonic()

    def delete(self):
        self.generation += 1
        began = time.monotonic()
        self.bed.rest("DELETE", f"{self.url}?epoch={self.epoch}&generation={self.generation}")
        return began, time.monotonic()


def once(chain, node, vip, dips, took):
    """a VIP's whole life on a switch; adds what each step took to took"""
    direct, dst = Direct(chain.bed, node, vip), vip + "/32"

    def note(what, began, ended):
        took.setdefault(what, []).append((ended - began) * 1000)

    def fabric(there):
        when = chain.routes((lambda t: dst in t) if there else (lambda t: dst not in t), (node.name,), 20)
        if when is None:
            raise chain.failed(f"{vip} of {node.name} does not spread", node.name, "bird")
        return when

    note("vip_add", *direct.put(dips[:-1], "no"))
    note("dip_add", *direct.put(dips, "no"))
    note("dip_delete", *direct.put(dips[:-1], "no"))
    note("vip_delete", *direct.delete())	# one that was announced would be served on for a while
    direct.put(dips[:-1], "no")
    chain.watch.drain()
    began, _ = direct.put(dips[:-1], "yes")
    note("command_to_fabric_announce", began, fabric(True))
    chain.watch.drain()
    began, _ = direct.put(dips[:-1], "no")
    note("command_to_fabric_withdraw", began, fabric(False))
    direct.delete()
    for what, delete in (("announce", False), ("withdraw", True)):
        chain.watch.drain()
        began = time.monotonic()
        rt = chain.faults.netlink(node)
        rt.route(dst, node.device, table=199, proto=199, delete=delete)
        rt.flush()
        note(what, began, fabric(not delete))


def measure(chain, vip, others, rounds=10, seed=1):
    """the steps on three switches in turn; vip: one that the controller doesn't know"""
    rng, took = random.Random(seed), {}
    addresses = [n.address for n in chain.bed.topo.dips]
    for i in range(rounds * len(SWITCHES)):
        once(chain, chain.bed.topo.nodes[SWITCHES[i % len(SWITCHES)]], vip, rng.sample(addresses, 4), took)
    found = {what: spread(values) for what, values in took.items()}
    for what, told in found.items():
        chain.say(f"breakdown under {others} other VIPs: {what:27} {told['ms']:8.2f} ms (worst {told['max_ms']:.2f})")
    return found
