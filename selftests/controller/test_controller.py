#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The controller with the real thing: ten switches and three SMuxes of the
testbed as namespaces, each with its BIRD and a real duet-mux-agent whose data
plane is simulated, so that no module is needed. What counts is what stands in
the switches' kernels. Root."""
import json
import os
import signal
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import config  # noqa: E402
from fabric import Tap, sentences  # noqa: E402
from rtnl import Rtnl, Watch  # noqa: E402
from testbed import Failed, Testbed, program, until  # noqa: E402

AGGREGATE = "203.0.113.0/24"


class Lab:
    def __init__(self):
        # nothing here waits for BFD: on a machine with other work 150 ms without a turn must not end a session
        self.bed = Testbed("duet-tc-", servers=16, device="dummy", site={"BFD_MS": 1000}, patient=False)
        self.watch = None

    def up(self):
        bed = self.bed
        bed.claim()
        bed.up(wait=False, controller=False)
        for node in bed.topo.muxes:
            with bed.ns(node):
                rt = Rtnl()
            rt.link_del(node.device)	# the testbed's stand-in; the agent makes its own
            rt.flush()
            rt.close()
            bed.programs[node.name, "mux-agent"] = [program("duet-mux-agent"), "-c", f"{bed.run}/{node.name}/mux-agent.conf"]
        bed.programs["ctl", "controller"] = [program("duet-controller"), "-c", f"{bed.run}/ctl/controller.conf"]
        self.agents = [(n.name, "mux-agent") for n in bed.topo.muxes]
        bed.start_all(self.agents + [("ctl", "controller")])
        bed.wait_bgp()
        bed.wait_programs(True)
        self.watch = Watch([bed.ns(n) for n in bed.topo.switches])

    def down(self):
        if self.watch:
            self.watch.close()
        self.bed.down()

    def get(self, path):
        return self.bed.controller("GET", path)

    def settled(self, seconds=20):
        def fine():
            try:
                s = self.get("/v1/status")
            except Failed:
                return False
            return s["muxes"]["in-sync"] == 13 and not s["vips"]["moving"]
        return until(fine, seconds)

    def routed(self, vip, there, but=(), seconds=10):
        """milliseconds until the /32 is in (or gone from) every switch's kernel"""
        start = time.monotonic()
        names = [self.bed.ns(n).name for n in self.bed.topo.switches if n.name not in but]
        when, missing = self.watch.want(lambda table: (vip + "/32" in table) == there, names, seconds)
        if when is None:
            print(f"# {vip}/32 {'not in' if there else 'still in'} {', '.join(sorted(missing))}")
        return None if when is None else (when - start) * 1000

    def drain(self):
        """take every change there is, until none came for a while"""
        while self.watch.take(0.2):
            pass

    def move(self, vip, to, seconds=20):
        """the move when it is over"""
        move = self.bed.controller("POST", "/v1/moves", {"vip": vip, "to": to})["id"]
        return until(lambda: (m := self.get(f"/v1/moves/{move}"))["over"] and m, seconds)

    def mux(self, name):
        return self.bed.rest("GET", f"{self.bed.topo.nodes[name].agent}/v1/status")[1]

    def faults(self):
        """but for host agents, which this test doesn't run"""
        return [f for f in sentences(self.get("/v1/status")) if not f.startswith("host ")]

    def places(self):
        return {a["vip"]: a["mux"] for a in self.get("/v1/assignment")["assignment"]}


def steps(tap, lab):
    bed = lab.bed
    bed.load_vips()
    bed.controller("PUT", "/v1/control", {"change-learn-s": 0, "change-hold-s": 0})	# there are no connections
    tap.ok(lab.settled(), "all 13 agents come in sync", lab.get("/v1/status"))
    when, missing = lab.watch.want(lambda table: AGGREGATE in table, None, 10)
    tap.ok(when is not None, "the SMuxes' aggregate is in every switch", missing)
    vips = [v["vip"] for v in bed.vips["vips"]]
    tap.ok(not any(v + "/32" in t for v in vips for t in lab.watch.tables.values()), "new VIPs are on the SMuxes alone")

    started = time.monotonic()
    answer = bed.controller("POST", "/v1/assign", {})
    places = {a["vip"]: a["mux"] for a in answer["assignment"]}
    there = [lab.routed(v, True, [m]) for v, m in places.items() if m != "smux"]
    tap.ok(there and None not in there, f"the assignment is in every switch's kernel {(time.monotonic() - started) * 1000:.0f} ms after it was asked for")
    tap.ok(lab.settled() and lab.places() == places, "and done, says the controller")
    tap.ok(until(lambda: not lab.faults(), 5), "nothing to complain of: tables alike on all muxes, routes where they should be", lab.faults())
    vip = next(v for v, m in places.items() if m != "smux")
    home = places[vip]

    done = lab.move(vip, "smux")
    gone = lab.routed(vip, False)
    tap.ok(done["state"] == "done" and gone is not None, f"a VIP moves to the SMuxes ({done['changed-ms'] - done['created-ms']} ms, says the controller)", done)
    other = next(n.name for n in bed.topo.switches if n.name != home)
    done = lab.move(vip, other)
    tap.ok(done["state"] == "done" and lab.routed(vip, True, [other]) is not None, f"and to {other} ({done['changed-ms'] - done['created-ms']} ms)", done)
    done = lab.move(vip, home)
    tap.ok(done["state"] == "done" and lab.routed(vip, True, [home]) is not None, f"and from there home ({done['changed-ms'] - done['created-ms']} ms)", done)
    tap.ok(until(lambda: not any(v["vip"] == vip for v in lab.mux(other)["vips"]), 10), f"{other} lets go of it after its hold time")

    dip = next(d["address"] for v in bed.vips["vips"] if v["vip"] == vip for d in v["rules"][0]["dips"])
    host = next(n for n in bed.topo.dips if n.address == dip)

    def states():
        return {d["state"] for m in [home, "smux1", "smux2", "smux3"] for v in lab.mux(m)["vips"] if v["vip"] == vip
                for d in v["rules"][0]["dips"] if d["address"] == dip}
    for n, state in enumerate(("down", "up"), 1):
        started = time.monotonic()
        bed.controller("POST", "/v1/reports", {"host": host.name, "instance": "test", "seq": n, "traffic": [],
                                               "dips": [{"vip": vip, "dip": dip, "rule": 0, "state": state}]}, sender=host.name)
        tap.ok(until(lambda: states() == {state}, 5, 0.001), f"DIP {state}: on its HMux and every SMux {(time.monotonic() - started) * 1000:.0f} ms after the report", states())
        tap.ok(until(lambda: not lab.faults(), 5), "with tables alike everywhere", lab.faults())

    entry = next(v for v in bed.vips["vips"] if v["vip"] == vip)
    fewer = dict(entry, rules=[dict(entry["rules"][0], dips=[d for d in entry["rules"][0]["dips"] if d["address"] != dip])])
    if fewer["rules"][0]["dips"]:
        changes = len(lab.watch.changes)
        bed.controller("PUT", f"/v1/vips/{vip}", fewer)
        tap.ok(lab.settled() and until(lambda: not lab.faults(), 5), "a DIP removed from a VIP's definition", lab.faults())
        lab.drain()
        seen = [c[1] for c in lab.watch.changes[changes:] if c[2] == vip + "/32"]
        tap.ok(False in seen and True in seen, "through the SMuxes: the route went and came", seen)
        bed.controller("PUT", f"/v1/vips/{vip}", entry)
        lab.settled()

    knob = f"{bed.run}/{other}/refuse"
    config.write(knob, vip + "\n")
    done = lab.move(vip, other, 30)
    tap.ok(done and done["state"] == "failed" and lab.places()[vip] == "smux" and lab.routed(vip, False) is not None,
           "a switch refuses a VIP: it stays on the SMuxes, and the move says why", done)
    os.unlink(knob)
    lab.move(vip, home)
    lab.routed(vip, True, [home])

    bed.kill([(home, "mux-agent")])
    tap.ok(until(lambda: any(home in f for f in lab.faults()), 10), "an agent killed is shown", lab.faults())
    lab.drain()
    tap.ok(vip + "/32" in lab.watch.tables[bed.ns(other).name], "and its routes stay")
    bed.start(home, "mux-agent")
    tap.ok(lab.settled() and until(lambda: not lab.faults(), 5), "restarted, it is in sync again", lab.faults())

    lab.drain()
    changes, before = len(lab.watch.changes), lab.places()
    bed.kill([("ctl", "controller")] + lab.agents)
    bed.start_all(lab.agents + [("ctl", "controller")])
    tap.ok(lab.settled(30), "controller and all agents killed with -9 and restarted: in sync again")
    lab.drain()
    touched = [c for c in lab.watch.changes[changes:] if c[2].startswith("203.0.113.")]
    tap.ok(lab.places() == before and not touched, "and no route was touched, no VIP moved", touched)
    tap.ok(until(lambda: not lab.faults(), 5), "and nothing to complain of", lab.faults())


def cables(tap, lab):
    """the fabric against the topology: as the agents see ports and BGP neighbours"""
    bed, path = lab.bed, f"{lab.bed.run}/topology.dot"
    started = time.monotonic()
    subprocess.run(["ip", "-n", bed.ns("core1").name, "link", "set", "swp1", "down"], check=True)
    tap.ok(until(lambda: any("core1 swp1 - agg1 swp1: down" in f for f in lab.faults()), 5, 0.02),
           f"a link that goes down is told ({(time.monotonic() - started) * 1000:.0f} ms)", lab.faults())
    subprocess.run(["ip", "-n", bed.ns("core1").name, "link", "set", "swp1", "up"], check=True)
    tap.ok(until(lambda: any("BGP session" in f for f in lab.faults()) or not lab.faults(), 5, 0.02)
           and until(lambda: not lab.faults(), 30), "and its return, when BGP is up again", lab.faults())
    with open(path, encoding="utf-8") as f:
        right = f.read()
    wrong = right.replace('"core1":"swp1" -- "agg1":"swp1"', '"core1":"swp1" -- "agg1":"swp2"').replace(
        '"core2":"swp1" -- "agg1":"swp2"', '"core2":"swp1" -- "agg1":"swp1"')
    for text in (wrong, right):
        bed.kill([("ctl", "controller")])
        config.write(path, text)
        bed.start("ctl", "controller")
        if text == wrong:
            tap.ok(wrong != right and lab.settled() and until(lambda: set(lab.faults()) == {
                "link agg1 swp2 - core1: BGP meets core2 there, with router ID 10.254.0.2",
                "link agg1 swp1 - core2: BGP meets core1 there, with router ID 10.254.0.1"}, 15),
                   "two cables that the topology has the other way round: whom BGP meets is told", lab.faults())
    tap.ok(lab.settled() and until(lambda: not lab.faults(), 10), "with the right topology all is well", lab.faults())


def hosts(tap, lab):
    """real host agents and web servers under it: BPF, of which any recent kernel has enough"""
    bed = lab.bed
    for node in bed.topo.dips:
        bed.programs[node.name, "host-agent"] = [program("duet-host-agent"), "-c", f"{bed.run}/{node.name}/host-agent.conf"]
    bed.start_all([(n.name, "host-agent") for n in bed.topo.dips])
    tap.ok(until(lambda: not lab.get("/v1/status")["faults"], 20), "host agents join: nothing at all to complain of", sentences(lab.get("/v1/status")), bed.dead())
    entry = bed.vips["vips"][0]
    dip = entry["rules"][0]["dips"][0]["address"]
    host = next(n for n in bed.topo.dips if n.address == dip)

    def states():
        return {d["state"] for m in bed.topo.of("smux") for v in lab.mux(m.name)["vips"] if v["vip"] == entry["vip"]
                for d in v["rules"][0]["dips"] if d["address"] == dip}
    bed.kill([(host.name, "nginx")])
    tap.ok(until(lambda: states() == {"down"}, 15), f"the web server of {host.name} is killed: every SMux takes it out", states())
    event = until(lambda: [e for e in lab.get("/v1/events?limit=20")["events"] if e["kind"] == "dip-down" and e["subject"] == dip], 5)
    tap.ok(event, "with the host agent's reason as an event", event)
    bed.start(host.name, "nginx")
    tap.ok(until(lambda: states() == {"up"}, 15), "it is started: every SMux takes it back", states())
    bed.kill([("ctl", "controller")] + [(n.name, "host-agent") for n in bed.topo.dips])
    bed.start_all([("ctl", "controller")] + [(n.name, "host-agent") for n in bed.topo.dips])
    tap.ok(until(lambda: lab.settled() and not lab.get("/v1/status")["faults"], 20), "controller and host agents killed and restarted: all is well",
           sentences(lab.get("/v1/status")))


def command_line(tap, lab):
    """duetctl on the controller's node, on real agents and hosts"""
    bed = lab.bed
    env = dict(os.environ, DUETCTL_URL=f"http://{config.CONTROLLER}")

    def ctl(*args):
        got = bed.run_in("ctl", [program("duetctl"), "-j", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, timeout=60)
        return json.loads(got.stdout) if not got.returncode else got.stderr
    places, servers, bad = lab.places(), {n.address: n.name for n in bed.topo.dips}, []
    for vip, mux in places.items():
        for sport in range(1000, 1010):
            got = ctl("trace", f"192.0.2.9:{sport}", f"{vip}:80")
            muxes = [m["name"] for m in got["muxes"]]
            if (got["host"] != servers[got["dip"]] or got["host-state"] != "told" or not got["way-in"] or not got["way-out"]
                    or muxes != ([mux] if mux != "smux" else [n.name for n in bed.topo.of("smux")])):
                bad.append(got)
    tap.ok(not bad, "duetctl trace: every VIP's flows go by its mux to a server of its own", *bad[:2])
    home = next(m for m in places.values() if m != "smux")
    got = ctl("whatif", "switch", home)
    tap.ok({m["vip"] for m in got["moves"]} >= {v for v, m in places.items() if m == home} and got["before"]["mru"] > 0 and lab.places() == places,
           f"duetctl whatif switch {home}: its VIPs would move, and none does", got)


def main():
    if os.geteuid():
        print("1..0 # SKIP the testbed needs root")
        return
    tap, lab = Tap(), Lab()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        lab.up()
        steps(tap, lab)
        cables(tap, lab)
        hosts(tap, lab)
        command_line(tap, lab)
    except (AssertionError, LookupError, OSError, Failed, StopIteration, TypeError, ValueError):
        tap.ok(False, "the test runs to its end", traceback.format_exc())
    finally:
        if tap.failed:
            lab.bed.keep_logs(os.path.join(config.OUT, "log", "test_controller"))
            print("# logs are in out/log/test_controller")
        lab.down()
    tap.end()


if __name__ == "__main__":
    main()
