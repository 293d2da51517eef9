#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The wall clock jumps by years, both ways, under a controller that moves VIPs: it counts by the clock that doesn't.

Agents are those of test_moves.py; here because only a machine of its own can have its clock set."""
# no module
import os
import sys
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "selftests", "controller"))
from fabric import run_test, sentences, until  # noqa: E402  pylint: disable=wrong-import-position
from test_moves import DIPS, Lab, dip_states, vip  # noqa: E402  pylint: disable=wrong-import-position

SLOW = 120	# seconds; the machine is emulated
JUMPS = (("2036-05-05", 2093558400), ("2001-01-01", 978307200), ("today", None))
ALARMS = {"mux-lost", "host-silent", "mux-restarted", "move-failed", "unconfirmed", "aborted"}


class Heartbeats:
    """Every host says every second that all its DIPs are up"""

    def __init__(self, lab, vips):
        self.lab, self.over, self.down = lab, threading.Event(), set()
        self.rows = {}
        self.serve(vips)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.over.wait(1):
            for name in self.rows:
                self.tell(name)

    def serve(self, vips):
        """They have what the controller was told last: a DIP of a VIP that has it no more is a fault of its host"""
        self.rows = {n: [(v["vip"], 0) for v in vips if any(d["address"] == h.address for d in v["rules"][0]["dips"])]
                     for n, h in self.lab.host.items()}

    def tell(self, name):
        try:
            self.lab.host[name].report(self.lab.url, [(v, r, "down" if name in self.down else "up") for v, r in self.rows[name]])
        except OSError:
            pass	# the controller is being started again

    def stop(self):
        self.over.set()
        self.thread.join()


def jumps(tap, lab, vips, beats, real):
    address, places = vips[0]["vip"], ("tor1", "core1", "agg2")
    for number, (name, seconds) in enumerate(JUMPS):
        before = lab.get("/v1/events?limit=1000")["events"]
        lab.put("/v1/control", {"change-learn-s": 1, "change-hold-s": 1})
        more = dict(vips[1], rules=[dict(vips[1]["rules"][0], dips=[{"address": a, "weight": 1} for a in DIPS[number:number + 3]])])
        lab.put(f"/v1/vips/{more['vip']}", more)	# takes two seconds, and the jump comes into them
        beats.serve([vips[0], more])
        asked = lab.post("/v1/moves", {"vip": address, "to": places[number]})
        time.clock_settime(time.CLOCK_REALTIME, seconds if seconds else real + time.monotonic())
        tap.ok(lab.settled(SLOW) and lab.get(f"/v1/moves/{asked['id']}")["state"] == "done" and lab.places()[address] == places[number],
               f"it is {name}: a VIP moves, and the DIPs of another change", lab.get("/v1/moves?limit=3"))
        tap.ok(set(dip_states(lab.mux["smux1"], more["vip"])) == set(DIPS[number:number + 3]), "the muxes have them", lab.mux["smux1"].vips)
        # a slow answer is a fault for a moment; one that is taken for lost is an event, which is looked for below
        tap.ok(until(lambda: not any("srv" in f or "mux" in f for f in sentences(lab.get("/v1/status"))), SLOW), "and nobody is a fault",
               sentences(lab.get("/v1/status")))
        beats.down.add("srv1")
        beats.tell("srv1")
        tap.ok(until(lambda: dip_states(lab.mux["smux1"], address)[DIPS[0]] == "down", SLOW), "a DIP's death is with the muxes")
        lab.kill()
        lab.start()
        tap.ok(lab.settled(SLOW) and dip_states(lab.mux["smux2"], address)[DIPS[0]] == "down" and lab.places()[address] == places[number],
               "killed and started at that date: what it knew it knows")
        beats.down.clear()
        beats.tell("srv1")
        tap.ok(until(lambda: dip_states(lab.mux["smux1"], address)[DIPS[0]] == "up", SLOW), "and it is let back in")
        news = [e for e in lab.get("/v1/events?limit=1000")["events"] if e["id"] > max(b["id"] for b in before)]
        tap.ok(news and not [e for e in news if e["kind"] in ALARMS], "no event tells of a loss", *[e for e in news if e["kind"] in ALARMS])


def steps(tap, place):
    real = time.time() - time.monotonic()
    lab = Lab(place)
    tap.ok(lab.start(), "a controller")
    vips = [vip(n, DIPS[:3], 100) for n in (1, 2)]
    lab.put("/v1/config", {"vips": vips})
    for v, mux in zip(vips, ("tor2", "tor3")):
        lab.move(v["vip"], mux, SLOW)
    lab.watch.must = {v["vip"] for v in vips}
    beats = Heartbeats(lab, vips)
    try:
        tap.ok(until(lambda: lab.settled(SLOW) and not sentences(lab.get("/v1/status")), SLOW), "at rest", sentences(lab.get("/v1/status")))
        jumps(tap, lab, vips, beats, real)
    finally:
        beats.stop()
        time.clock_settime(time.CLOCK_REALTIME, real + time.monotonic())
    tap.ok(not lab.watch.wrong, "no VIP was without a mux, on two, or on two tables", *lab.watch.wrong)


if __name__ == "__main__":
    sys.exit(run_test(steps))
