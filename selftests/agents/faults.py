# SPDX-License-Identifier: GPL-2.0
"""A controller that changes VIPs at a steady rate while agent and BIRD are killed, and what the watcher saw of it."""
import os
import random
import select
import time

from lib import check, equal, until
from muxlab import Lab, Watcher, wish

VIPS = [f"203.0.113.{n}" for n in range(1, 51)]


class Storm:
    def __init__(self, rate=50, seed=1, **lab):
        self.rng, self.rate = random.Random(seed), rate
        self.simulated = lab.get("backend", "sim") == "sim"
        self.lab = Lab(hold_ms=2000, **lab)
        self.want = {v: wish(v, dips=self.dips()) for v in VIPS[:25]}
        self.lab.put(*self.want.values())
        # with the module, traffic is the watcher: what no table takes isn't encapsulated
        self.watcher = Watcher("duet-t-peer", lambda v: not self.simulated or os.path.exists(f"{self.lab.dir}/vips/{v}"))
        self.kills, self.changes, self.refused, self.instance = {}, 0, 0, None

    def dips(self):
        return [f"10.1.{self.rng.randrange(1, 5)}.{n}" for n in self.rng.sample(range(1, 100), 3)]

    def sync(self):
        """the whole state, as a controller sends it to an agent that was started anew"""
        until(self.lab.answers, "the agent answers", 60)
        self.lab.put(*self.want.values())

    def change(self):
        vip = self.rng.choice(VIPS)
        if vip not in self.want:
            self.want[vip] = wish(vip, dips=self.dips())
            status = self.lab.put_vip(self.want[vip])[0]
        else:
            what = self.rng.choice(("dips", "drain", "withdraw", "announce", "delete", "down"))
            if what == "delete":
                del self.want[vip]
                status = self.lab.delete(vip)[0]
            elif what in ("drain", "withdraw", "announce"):
                self.want[vip]["announce"] = {"drain": "drain", "withdraw": "no", "announce": "yes"}[what]
                self.lab.generation += 1
                status = self.lab.ask("POST", f"/v1/vips/{vip}/{what}", {"epoch": self.lab.epoch, "generation": self.lab.generation})[0]
            else:
                dips = self.want[vip]["rules"][0]["dips"]
                if what == "down":
                    dips[0]["state"] = "down" if dips[0]["state"] == "up" else "up"
                else:
                    self.want[vip] = wish(vip, dips=self.dips(), announce=self.want[vip]["announce"])
                status = self.lab.put_vip(self.want[vip])[0]
        self.changes += 1
        # a change that the agent's death swallowed is made good by the next sync
        if status not in (200, 202, 404):
            self.refused += 1

    def kill(self, which):
        for key in which:
            self.lab.daemons[key].kill()
        for key in which:
            self.lab.daemons[key].start()
        self.kills["+".join(which)] = self.kills.get("+".join(which), 0) + 1
        if "agent" in which:
            self.sync()

    def run(self, changes, kill_every, say=None):
        """changes at the rate; every kill_every changes, at no particular point of one, somebody dies"""
        due = time.monotonic()
        while self.changes < changes:
            self.change()
            if self.changes % kill_every == kill_every - 1:
                self.kill(self.rng.choice((("agent",), ("bird",), ("agent", "bird"))))
                due = max(due, time.monotonic() - 1)
            if say and self.changes % 1000 == 0:
                say(f"{self.changes} changes, {sum(self.kills.values())} kills")
            due += 1 / self.rate
            select.select([], [], [], max(0, due - time.monotonic()))

    def converge(self):
        """neighbour and tables are what is wanted; how long that took"""
        began = time.monotonic()
        announced = {v for v, w in self.want.items() if w["announce"] != "no"}
        until(lambda: self.lab.peer_routes() == announced, "the neighbour has what is wanted, and nothing else", 60)
        until(lambda: self.tables() == set(self.want), "so have the tables", 60)
        until(lambda: all(v["exported"] == (v["vip"] in announced) for v in self.lab.status()["vips"]), "and the agent knows", 60)
        return time.monotonic() - began

    def tables(self):
        """VIPs of the data plane: the simulated one's files, or as the agent reads them from the kernel"""
        return set(os.listdir(f"{self.lab.dir}/vips") if self.simulated else self.lab.vips())

    def end(self):
        seen = self.watcher.stop()
        check(seen["looks"] > 100 and seen["events"], f"the watcher watched: {seen['looks']} looks, {len(seen['events'])} events")
        equal(seen["lost"], 0, "netlink messages the watcher lost")
        return seen
