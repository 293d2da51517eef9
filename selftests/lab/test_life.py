#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Who is dead? Servers, racks, host agents and networks die in the testbed: real BIRD, agents and controller, hosts that
unpack tunnels with BPF, muxes without the module. A dead server leaves all muxes in time; nobody else ever does. Prints
how long each death took to be acted on; scripts/life puts these figures together."""
import json
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ops  # noqa: E402
from faults import Faults  # noqa: E402
from config import CONTROLLER  # noqa: E402
from testbed import Failed, Testbed, until  # noqa: E402

OUT = os.environ.get("O", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../out"))
LIMIT_MS, FAST_MS, FAST_AFTER = 3000, 1000, 400
WATCH_S = 8.0		# so long nothing may happen where nothing should
count = failed = 0


def ok(good, text, *why):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {text}", flush=True)
    for line in why if not good else ():
        print(f"# {line}", flush=True)


def life(name, **figures):
    print(f"# life: {name} " + " ".join(f"{k} {v}" for k, v in figures.items()), flush=True)


class Life:
    def __init__(self, bed):
        self.bed, self.faults, self.dead, self.wrong = bed, Faults(bed), set(), []
        self.rack = {name: [n for n in bed.topo.dips if bed.topo.rack_of(n).name == name] for name in ("tor1", "tor2", "tor3", "tor4")}

    def states(self):
        """{(mux, DIP)} that are down, over all muxes that hold a VIP"""
        found = set()
        for mux in self.bed.topo.muxes:
            for vip in ops.mux_status(self.bed, mux.name)["vips"]:
                for rule in vip["rules"]:
                    found |= {(mux.name, d["address"]) for d in rule["dips"] if d["state"] == "down"}
        return found

    def down(self):
        return {dip for _, dip in self.states()}

    def everywhere(self, dips):
        """are these down on each mux that has them? Whoever is down and shouldn't be is noted"""
        wrong = False
        seen = {}
        for mux in self.bed.topo.muxes:
            for vip in ops.mux_status(self.bed, mux.name)["vips"]:
                for d in (d for rule in vip["rules"] for d in rule["dips"]):
                    seen.setdefault(d["address"], set()).add(d["state"] == "down")
                    if d["state"] == "down" and d["address"] not in self.dead:
                        wrong = True
                        self.wrong.append((mux.name, d["address"]))
        return not wrong and all(seen.get(dip) == {True} for dip in dips)

    def power_off(self, nodes, limit):
        """their links and their management network lose their light; ms until they are out of all muxes, or None"""
        dips = {n.address for n in nodes}
        self.dead |= dips
        began = time.monotonic()
        self.faults.plug(nodes, False)
        out = until(lambda: self.everywhere(dips), limit / 1000 + 5, 0.05)
        return round((time.monotonic() - began) * 1000) if out else None

    def power_on(self, nodes):
        dips = {n.address for n in nodes}
        began = time.monotonic()
        self.faults.plug(nodes, True)
        back = until(lambda: not dips & self.down(), 60, 0.05)
        self.dead -= dips
        return round((time.monotonic() - began) * 1000) if back else None

    def nothing(self, seconds=WATCH_S):
        """DIPs that went out while nothing should"""
        before = len(self.wrong)
        until(lambda: not self.everywhere(()), seconds, 0.1)
        return self.wrong[before:]

    def status(self):
        return [f["sentence"] for f in self.bed.controller("GET", "/v1/status")["faults"] if f["code"] != "vips-unassigned"]

    def fault(self, *words, seconds=10, code=None):
        found = lambda: next((f["sentence"] for f in self.bed.controller("GET", "/v1/status")["faults"]	# noqa: E731
                              if code in (None, f["code"]) and all(w in f["sentence"] for w in words)), None)
        return until(found, seconds, 0.1)

    def well(self):
        return until(lambda: not self.status(), 60, 0.1)

    def controller(self, start=True, **settings):
        """the controller anew, with these settings of [monitor]"""
        bed = self.bed
        if bed.pids.get(("ctl", "controller")):
            bed.kill([("ctl", "controller")])
        path = f"{bed.run}/ctl/controller.conf"
        with open(path, encoding="ascii") as f:
            text = f.read().split("[monitor]")[0]
        with open(path, "w", encoding="ascii") as f:
            f.write(text + "[monitor]\n" + "".join(f"{k.replace('_', '-')} = {v}\n" for k, v in settings.items()))
        if start:
            bed.start("ctl", "controller")
            until(self.answers, 20, 0.05)
            ops.wait_ok(bed)

    def answers(self):
        try:
            return self.status() is not None
        except Failed:
            return False

    def deaths(self):
        """events of DIPs that went down"""
        return [e for e in self.bed.controller("GET", "/v1/events")["events"] if e["kind"] == "dip-down"]


def probed(lab, vip, *more):
    """(exit code, {DIP: set of answers}) of duetctl probe in the controller's namespace"""
    run = lab.bed.run_in("ctl", [f"{OUT}/bin/duetctl", "-c", f"http://{CONTROLLER}", "-j", "probe", vip, *more], stdout=subprocess.PIPE, timeout=20)
    said = {}
    for row in json.loads(run.stdout)["probes"]:
        said.setdefault(row["dip"], set()).add(row["answered"])
    return run.returncode, said


def servers(lab):
    """one server, then a rack, die whole and come back"""
    node = lab.rack["tor2"][0]
    vip = next(d["vip"] for d in lab.bed.controller("GET", "/v1/dips")["dips"] if d["dip"] == node.address)
    code, said = probed(lab, vip)
    ok(code == 0 and len(said) > 1 and all(s == {"syn-ack"} for s in said.values()), "duetctl probe: every DIP answers every mux", code, said)
    ms = lab.power_off([node], LIMIT_MS)
    ok(ms and ms <= LIMIT_MS, f"a server that dies whole is out of all muxes after {ms} ms (limit {LIMIT_MS})", *lab.status())
    life("server_power", detect_ms=ms)
    said = lab.fault(f"host {node.name} is silent", "get no answer", "out of all muxes")
    ok(said, "a fault says which host, since when, and who gets no answer", *lab.status())
    print(f"# {said}")
    code, said = probed(lab, vip, "smux1")
    gone = said.pop(node.address, set())
    ok(code == 0 and gone <= {"no-answer", "no-route", "unreachable"} and all(s == {"syn-ack"} for s in said.values()), "probed by one mux: the dead one alone is silent, as its state says", code, gone, said)
    events = [e["kind"] for e in lab.bed.controller("GET", "/v1/events")["events"] if e["subject"] == node.name]
    ok("host-dead" in events, "it is an event", events)
    back = lab.power_on([node])
    ok(back and lab.well(), f"it comes back, and its DIP with it ({back} ms, of which two checks and the report)", *lab.status())
    life("server_back", ms=back)
    nodes = lab.rack["tor3"]
    ms = lab.power_off(nodes, LIMIT_MS)
    ok(ms and ms <= LIMIT_MS, f"a rack of {len(nodes)} servers that dies whole is out of all muxes after {ms} ms", *lab.status())
    life("rack_power", detect_ms=ms)
    lab.power_on(nodes)
    lab.well()


def agents(lab):
    """host agents die, one, then 30 % at once: their DIPs stay"""
    nodes = lab.rack["tor1"][:1]
    for what, nodes in (("host_agent", nodes), ("agents_30_percent", [lab.rack[r][0] for r in lab.rack])):
        keys = [(n.name, "host-agent") for n in nodes]
        lab.bed.kill(keys)
        gone = lab.nothing()
        said = [lab.fault(f"host {n.name} is silent", "answer", "its DIPs stay", code="host-agent-dead") for n in nodes]
        ok(not gone and all(said), f"{len(nodes)} of {len(lab.bed.topo.dips)} host agents die: no DIP goes, faults say that the servers answer",
           *gone, *lab.status())
        life(what, wrongly_out=len(gone))
        if what == "host_agent":
            print(f"# {said[0]}")
        lab.bed.start_all(keys)
        lab.well()


def dead_application(lab):
    """a host agent dies, then its web server: the port is closed, the DIP goes; it listens again: the DIP is back"""
    node = lab.rack["tor1"][0]
    lab.bed.kill([(node.name, "host-agent")])
    lab.nothing(2.5)
    lab.dead = {node.address}
    began = time.monotonic()
    lab.bed.kill([(node.name, "nginx")])
    out = until(lambda: lab.everywhere({node.address}), 8)
    ms = round((time.monotonic() - began) * 1000)
    ok(out and ms <= LIMIT_MS, f"nobody listens on a server whose agent is dead: its DIP is out after {ms} ms", *lab.status())
    life("application_behind_dead_agent", detect_ms=ms)
    lab.bed.start(node.name, "nginx")
    ok(until(lambda: node.address not in lab.down(), 10), "it listens again, and is back without its agent")
    lab.dead = set()
    lab.bed.start(node.name, "host-agent")
    lab.well()


def networks(lab):
    """the management network of a host, then the controller's uplink: nothing goes"""
    node = lab.rack["tor4"][0]
    rt = lab.faults.netlink(node)
    rt.set_link("mgmt0", False)
    rt.flush()
    gone = lab.nothing()
    ok(not gone and lab.fault(f"host {node.name} is silent", "its DIPs stay"), "a host without its management network: its DIPs stay", *gone, *lab.status())
    life("management_network", wrongly_out=len(gone))
    rt.set_link("mgmt0", True)
    rt.flush()
    lab.well()
    before = len(lab.deaths())
    lab.bed.run_in("ctl", ["ip", "link", "set", "br-mgmt", "down"])
    dead = until(lambda: sum("silent" in f for f in lab.status()) == len(lab.bed.topo.dips), 20, 0.1)
    until(lambda: False, 3, 0.1)
    lab.bed.run_in("ctl", ["ip", "link", "set", "br-mgmt", "up"])
    gone = len(lab.deaths()) - before
    ok(dead and not gone and lab.well() and not lab.down(), "the controller's own uplink is down: every host is silent, no DIP goes", gone, *lab.status())
    life("controller_uplink", wrongly_out=gone)


def routes(lab):
    """a rack is cut off, its agents are not; then one switch alone has no route to a healthy server"""
    tor, nodes = lab.bed.topo.nodes["tor3"], lab.rack["tor3"]
    uplinks = [port for port, other, _, _ in tor.links if other.is_switch]
    lab.dead = {n.address for n in nodes}
    began = time.monotonic()
    lab.faults.links(tor, False, uplinks)
    out = until(lambda: lab.everywhere(lab.dead), 15, 0.05)
    ms = round((time.monotonic() - began) * 1000)
    ok(out and lab.fault(f"host {nodes[0].name} reports, and muxes have no route to it", "out of all muxes"),
       f"a rack without a route, whose agents still report, is out of all muxes after {ms} ms, of its own too", *lab.status())
    life("rack_unrouted", detect_ms=ms)
    lab.faults.links(tor, True, uplinks)
    ok(until(lambda: not lab.dead & lab.down(), 30, 0.05) and lab.well(), "it has routes again, and is back", *lab.status())
    lab.dead = set()
    node, vip, switch = lab.rack["tor2"][0], "203.0.113.1", "core1"
    ops.move(lab.bed, vip, switch)
    lab.bed.run_in(switch, ["ip", "route", "add", "unreachable", f"{node.address}/32"])

    def announced():
        return next(v["announced"] for v in ops.mux_status(lab.bed, switch)["vips"] if v["vip"] == vip)
    began = time.monotonic()
    gone = until(lambda: not announced(), 15, 0.02)
    ms = round((time.monotonic() - began) * 1000)
    said = lab.fault(f"mux {switch} has no route to host {node.name}", "it announces no VIP of that host", code="mux-route-missing")
    ok(gone and said and not lab.nothing(2), f"one switch without a route to a server that answers others: no DIP goes, the switch withdraws after {ms} ms", *lab.status())
    life("switch_without_route", detect_ms=ms)
    print(f"# {said}")
    lab.bed.run_in(switch, ["ip", "route", "del", "unreachable", f"{node.address}/32"])
    ok(until(announced, 15, 0.05) and lab.well(), "it has the route again, and announces", *lab.status())


def arrival(lab):
    """all neighbours of a switch refuse its routes: what it exports has not arrived, and is not called so"""
    bed, switch, vip = lab.bed, "agg1", "203.0.113.2"
    neighbours = [other.name for _, other, _, _ in bed.topo.nodes[switch].links]
    ops.move(bed, vip, switch)

    def shown():
        status = bed.controller("GET", f"/v1/vips/{vip}")["status"]
        return status["arrived"], status["exported-by"]
    ok(until(lambda: shown() == ("yes", [switch]), 10, 0.1), "a VIP on a switch has arrived at its neighbours", shown())

    def refuse(on):
        for name in neighbours:
            path = f"{bed.run}/{name}/neighbours.conf"
            with open(path, encoding="ascii") as f:
                text = f.read()
            head = f"protocol bgp {switch} from "
            at = text.index("}", text.index(head))
            text = text.replace(f"\tipv4 {{ import none; }};\n", "") if not on else text[:at] + "\tipv4 { import none; };\n" + text[at:]
            with open(path, "w", encoding="ascii") as f:
                f.write(text)
            bed.bird(name, "configure")
    refuse(True)
    said = lab.fault(f"VIP {vip}", f"{switch} exports it, and its neighbours do not have it", "core1", seconds=20, code="vip-not-arrived")
    ok(said and shown() == ("no", []), "its neighbours refuse it: a fault names them, and it is not shown as exported", shown(), *lab.status())
    print(f"# {said}")
    move = bed.controller("POST", "/v1/moves", {"vip": "203.0.113.3", "to": switch})["id"]
    until(lambda: bed.controller("GET", f"/v1/moves/{move}")["over"], 20, 0.1)
    over = bed.controller("GET", f"/v1/moves/{move}")
    ok(over["state"] == "failed" and f"does not have 203.0.113.3 from {switch}" in over["note"], "a move to it fails, and says why", over)
    refuse(False)
    ok(until(lambda: shown() == ("yes", [switch]), 30, 0.1) and lab.well(), "they accept it again", shown(), *lab.status())


def caps(lab):
    """two thirds of all servers die at once: that is more than silence may take out, and is said"""
    nodes = [n for name in ("tor1", "tor2", "tor4") for n in lab.rack[name]]
    lab.faults.plug(nodes, False)
    gone = lab.nothing(6)
    said = lab.fault("is this controller cut off?", code="silence-capped")
    ok(not gone and said, f"{len(nodes)} of {len(lab.bed.topo.dips)} servers die at once: none is taken out", *gone, *lab.status())
    print(f"# {said}")
    lab.power_on(nodes)
    lab.well()


def settings(lab):
    """keep; never heard of; faster"""
    node = lab.rack["tor2"][1]
    lab.controller(silent="keep")
    lab.faults.plug([node], False)
    gone = lab.nothing(5)
    ok(not gone and lab.fault(f"host {node.name} ", "silent = keep"), "silent = keep: its DIPs stay, a fault says why", *gone, *lab.status())
    lab.bed.kill([("ctl", "controller")])
    lab.controller(start=False)
    lab.dead = {node.address}
    lab.bed.start("ctl", "controller")
    began = time.monotonic()
    until(lab.answers, 20, 0.05)
    out = until(lambda: lab.everywhere({node.address}), 30)
    ok(out and lab.fault(f"host {node.name}", "no report to this controller", "out of all muxes"),
       f"a host that a restarted controller never hears is judged after a grace: out after {time.monotonic() - began:.1f} s", *lab.status())
    lab.power_on([node])
    lab.well()
    lab.controller(silent_after_ms=FAST_AFTER)
    until(lambda: False, 3, 0.1)	# hosts hear how often to report
    ms = lab.power_off([node], FAST_MS)
    ok(ms and ms <= FAST_MS, f"silent-after-ms = {FAST_AFTER}: out after {ms} ms (limit {FAST_MS})", *lab.status())
    life("server_power_fast", detect_ms=ms)
    lab.power_on([node])
    lab.well()


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP not root")
        return 0
    bed = Testbed(prefix=f"life{os.getpid() % 10000}-", servers=16, device="sim", site={"BFD_MS": 500}, patient=False)
    bed.claim()
    try:
        bed.up()
        bed.load_vips()
        ops.wait_ok(bed)
        lab = Life(bed)
        only = sys.argv[1:]
        for part in (servers, agents, dead_application, networks, routes, arrival, caps, settings):
            if not only or part.__name__ in only:
                part(lab)
        ok(not lab.wrong, "in all this no DIP was ever out wrongly", *lab.wrong[:5])
        life("all", wrongly_out=len(lab.wrong))
    except Failed as e:
        ok(False, f"{e} (log: {e.log})")
        if e.log:
            with open(e.log, encoding="utf-8", errors="replace") as f:
                print("".join(f"# {line}" for line in f.readlines()[-20:]))
    finally:
        bed.down()
    ok(not bed.leftovers() and not bed.processes() and not os.path.exists(bed.run), "down leaves nothing behind")
    print(f"1..{count}")
    return 1 if failed else 0


sys.exit(main())
