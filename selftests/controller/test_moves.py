#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The controller against agents that watch it: what it tells whom in which
order, and what it does when agents are full, dead, restarted or newer, hosts
silent, and itself killed in the middle."""
import random
import signal
import sys
import threading
import time

from agents import Host, Mux, Watch
from fabric import BIN, SWITCHES, free_ports, rest, run_test, sentences, topology, until

SERVERS = {f"srv{n}": (f"10.{(n - 1) // 2 + 1}.{n}.1", f"tor{(n - 1) // 2 + 1}") for n in range(1, 9)}
DIPS = [a for a, _ in SERVERS.values()]


def vip(n, dips, mbps=100, sources=None, **rule):
    return {"vip": f"203.0.113.{n}", "name": f"web{n}", "traffic": {"mbps": mbps, "sources": sources or {"internet": 1}},
            "rules": [dict({"proto": "any", "dips": [{"address": a, "weight": 1} for a in dips],
                            "check": {"type": "tcp", "port": 80}}, **rule)]}


class Lab:
    """Ten switches, three SMuxes, eight hosts, and the controller"""

    def __init__(self, place):
        self.place, self.watch = place, Watch()
        ports = free_ports(len(SWITCHES) + 3 + len(SERVERS) + 3)
        self.port = ports.pop()
        self.other_ports = [ports.pop(), ports.pop()]
        self.url = f"http://127.0.0.1:{self.port}"
        self.mux = {n: Mux(n, ports.pop(), self.watch).start() for n in SWITCHES}
        self.mux.update({f"smux{s}": Mux(f"smux{s}", ports.pop(), self.watch, smux=True, tunnels=0).start() for s in (1, 2, 3)})
        self.host = {n: Host(n, ports.pop(), a).start() for n, (a, _) in SERVERS.items()}
        agents = {n: a.url for n, a in list(self.mux.items()) + list(self.host.items())}
        self.dot = place.write("topology.dot", topology(agents, SERVERS))
        self.conf = self.config("controller.conf", self.port)
        self.child = None

    def config(self, name, port, extra="", store="store.sqlite"):
        return self.place.write(name, f"[controller]\nname=test\nlisten=127.0.0.1:{port}\ninsecure=yes\nstore={self.place.path(store)}\n"
                                      f"topology={self.dot}\naggregate=203.0.113.0/24\n{extra}")

    def start(self, learn=0, hold=0):
        self.child = self.place.run(f"{BIN}/duet-controller", "-c", self.conf)
        there = until(lambda: rest("GET", self.url + "/v1/status")["muxes"]["total"] == 13, 30)
        if there:	# no connections to wait for, but in change_waits()
            rest("PUT", self.url + "/v1/control", {"change-learn-s": learn, "change-hold-s": hold})
        return there

    def kill(self, how=signal.SIGKILL):
        return self.place.stop(self.child, how)

    def get(self, path):
        return rest("GET", self.url + path)

    def put(self, path, body):
        return rest("PUT", self.url + path, body)

    def post(self, path, body=None):
        return rest("POST", self.url + path, body if body is not None else {})

    def settled(self, seconds=10):
        """No move under way, all agents in sync; until then at most so long"""
        return until(lambda: not self.get("/v1/moves?running=1")["moves"]
                     and self.get("/v1/status")["muxes"]["in-sync"] == 13, seconds)

    def move(self, address, to, seconds=10):
        answer = self.post("/v1/moves", {"vip": address, "to": to})
        return until(lambda: (m := self.get(f"/v1/moves/{answer['id']}"))["over"] and m, seconds)

    def places(self):
        return {a["vip"]: a["mux"] for a in self.get("/v1/assignment")["assignment"]}

    def held(self):
        """VIP: HMuxes that hold it, as the muxes have it"""
        with self.watch.lock:
            return {v: sorted(m.name for m in self.mux.values() if not m.smux and v in m.vips) for v in self.watch.must}

    def writes(self):
        with self.watch.lock:
            return sum(len(m.puts) for m in self.mux.values())

    def clear(self):
        with self.watch.lock:
            for m in self.mux.values():
                m.puts.clear()


def dip_states(mux, address):
    return {d["address"]: d["state"] for r in mux.vips[address]["rules"] for d in r["dips"]}


def first_steps(tap, lab):
    tap.ok(lab.start(), "the controller starts and knows its agents")
    until(lambda: all(m["state"] != "unknown" for m in lab.get("/v1/muxes")["muxes"]))
    tap.ok(lab.writes() == 0 and "no configuration" in str(sentences(lab.get("/v1/status"))),
           "an empty store is not taken for \"serve nothing\": agents are told nothing")
    vips = [vip(n, DIPS[(n - 1) % 6:(n - 1) % 6 + 3], 1000 - 50 * n) for n in range(1, 9)]
    got = lab.put("/v1/config", {"vips": vips})
    tap.ok(len(got["added"]) == 8 and not got["moves"], "a configuration of eight VIPs is taken", got)
    tap.ok(lab.settled(), "all agents come in sync", lab.get("/v1/status"))
    lab.watch.must = {v["vip"] for v in vips}
    tap.ok(all(set(lab.mux[f"smux{s}"].vips) == lab.watch.must for s in (1, 2, 3)) and not any(lab.held().values()),
           "new VIPs are on every SMux and on no HMux")
    state = lab.host["srv1"].state
    tap.ok(state and len(state["muxes"]) == 13 and {v["vip"] for v in state["vips"]} ==
           {v["vip"] for v in vips if any(d["address"] == DIPS[0] for d in v["rules"][0]["dips"])},
           "a host is told its VIPs and all muxes", state)

    with_port = vip(9, DIPS[:1], proto="tcp", port=8080, check={"type": "tcp"})
    lab.put("/v1/config", {"vips": vips + [with_port]})
    tap.ok(until(lambda: [c for v in lab.host["srv1"].state["vips"] for c in v["checks"] if c["port"] == 8080 and c["rule"] == 0]),
           "a check with no port of its own takes the rule's", lab.host["srv1"].state)
    tap.ok(lab.put("/v1/config", {"vips": vips})["removed"] == ["203.0.113.9"] and lab.settled()
           and until(lambda: all(v["vip"] != "203.0.113.9" for v in lab.host["srv1"].state["vips"])),
           "a VIP that is no longer in the configuration goes, its hosts are told")

    dry = lab.post("/v1/assign?dry_run=1")
    tap.ok(set(lab.places().values()) == {"smux"} and len(dry["assignment"]) == 8, "a dry run moves nothing")
    lab.post("/v1/assign")
    tap.ok(lab.settled(), "the assignment is carried out", lab.get("/v1/moves"))
    want = {a["vip"]: a["mux"] for a in dry["assignment"]}
    tap.ok(lab.places() == want and lab.held() == {v: [m] for v, m in want.items()} and "smux" not in want.values(),
           "each VIP is on the switch of the plan, and on no other", want, lab.held())
    tap.ok(until(lambda: not lab.get("/v1/status")["faults"]), "all is well", sentences(lab.get("/v1/status")))
    lab.clear()
    tap.ok(not lab.post("/v1/assign")["moves"] and lab.put("/v1/config", {"vips": vips})["unchanged"] == 8
           and lab.writes() == 0, "the same again changes nothing, and no agent hears of it")
    return vips


def moves(tap, lab):
    v = "203.0.113.1"
    here = lab.places()[v]
    there = "tor4" if here != "tor4" else "tor3"
    lab.clear()
    done = lab.move(v, there)
    tap.ok(done and done["state"] == "done", f"a VIP moves from one HMux to another ({done['changed-ms'] - done['created-ms']} ms)", done)
    with lab.watch.lock:
        off = [t for t, m, p, b in lab.mux[here].puts if m == "PUT" and b.get("announce") == "no"]
        on = [t for t, m, p, b in lab.mux[there].puts if m == "PUT" and b.get("announce") == "yes"]
        gone = until(lambda: [t for t, m, p, b in lab.mux[here].puts if m == "DELETE"])
    tap.ok(off and on and gone and off[0] < on[0], "withdrawn first, announced then, let go in the end")
    tap.ok(on and off and on[0] - off[0] >= lab.mux[here].lag, "and not before the old HMux confirmed that the route is gone")
    done = lab.move(v, "smux")
    tap.ok(done and until(lambda: lab.held()[v] == []), "it moves to the SMuxes", done)
    tap.ok(lab.move(v, here)["state"] == "done" and lab.held()[v] == [here], "and back")
    again = lab.post("/v1/moves", {"vip": v, "to": here})
    tap.ok(again["state"] == "done" and again["id"] is None, "a move to where it is: said, and no move")
    tap.refused(lambda: lab.post("/v1/moves", {"vip": v, "to": "tor9"}), 422, ["tor9"], "to a switch that isn't one: refused")
    tap.refused(lambda: lab.post("/v1/moves", {"vip": v, "to": "smux1"}), 422, ["smux1"], "to one SMux alone: refused")
    tap.refused(lambda: lab.post("/v1/moves", {"vip": "203.0.113.99", "to": "smux"}), 404, ["203.0.113.99"], "of a VIP that isn't there: refused")
    tap.refused(lambda: lab.post("/v1/moves", {"vip": v}), 400, ["to"], "without a place: refused")
    slow = lab.mux[here]
    slow.lag = 0.5
    lab.post("/v1/moves", {"vip": v, "to": there})
    lab.post("/v1/moves", {"vip": v, "to": "agg1"})
    tap.ok(lab.settled() and lab.held()[v] == ["agg1"] and lab.get("/v1/moves?limit=2")["moves"][1]["state"] == "superseded",
           "a later move takes over from one under way", lab.get("/v1/moves?limit=2"))
    slow.lag = 0.005
    tap.ok(not lab.watch.wrong, "no VIP was without a mux, on two, or on two tables", *lab.watch.wrong)


def dips(tap, lab, vips):
    host, address = lab.host["srv3"], SERVERS["srv3"][0]
    mine = [v["vip"] for v in vips if any(d["address"] == address for d in v["rules"][0]["dips"])]
    host.report(lab.url, [(v, 0, "up") for v in mine])
    lab.clear()
    start = time.monotonic()
    host.report(lab.url, [(v, 0, "down" if v == mine[0] else "up") for v in mine])
    holders = [m for m in lab.mux.values() if mine[0] in m.vips]
    down = until(lambda: all(dip_states(m, mine[0])[address] == "down" for m in holders))
    took = max(m.puts[0][0] for m in holders if m.puts) - start if down else 0
    tap.ok(down and len(holders) == 4, f"a DIP's death reaches all muxes that hold the VIP ({took * 1000:.1f} ms after the report)")
    tap.ok(all(dip_states(m, v)[address] == "up" for v in mine[1:] for m in lab.mux.values() if v in m.vips)
           and lab.writes() == 4, "and only that VIP is touched", lab.writes())
    tap.ok(until(lambda: any(e["kind"] == "dip-down" and e["subject"] == address for e in lab.get("/v1/events")["events"])),
           "it is an event")
    lab.kill()
    lab.clear()
    lab.start()
    tap.ok(lab.settled() and all(dip_states(m, mine[0])[address] == "down" for m in holders),
           "a controller killed and restarted knows it without any report")
    silent = until(lambda: [h for h in lab.get("/v1/hosts")["hosts"] if h["name"] == "srv3" and h["state"] == "never-heard"])
    tap.ok(silent, "the host is shown as not heard of yet")
    host.report(lab.url, [(v, 0, "unknown") for v in mine])
    tap.ok(dip_states(holders[0], mine[0])[address] == "down", "\"unknown\" says nothing about a DIP")
    host.report(lab.url, [(v, 0, "up") for v in mine])
    tap.ok(until(lambda: all(dip_states(m, mine[0])[address] == "up" for m in holders)), "its recovery too reaches all")
    tap.refused(lambda: rest("POST", lab.url + "/v1/reports", {"host": "srv99", "dips": []}), 404, ["srv99"], "a report of an unknown host: refused")
    other = dict(host=host.name, instance=host.instance, seq=1000, dips=[{"vip": mine[0], "dip": DIPS[0], "rule": 0, "state": "down"}])
    rest("POST", lab.url + "/v1/reports", other)
    tap.ok(all(s == "up" for s in dip_states(holders[0], mine[0]).values()), "a host speaks for its own address only")
    before = host.puts
    host.stop()
    host.start()
    host.report(lab.url, [(v, 0, "up") for v in mine])
    tap.ok(until(lambda: host.puts > before), "a restarted host agent is told its state again")
    host.report(lab.url, [(v, 0, "down" if v == mine[0] else "up") for v in mine])
    until(lambda: dip_states(holders[0], mine[0])[address] == "down")
    shown = until(lambda: any("srv3 is silent" in f for f in sentences(lab.get("/v1/status"))), 12)
    tap.ok(shown and dip_states(holders[0], mine[0])[address] == "down", "a host silent for 6 s is shown; its DIPs stay as they were")
    host.report(lab.url, [(v, 0, "up") for v in mine])
    until(lambda: all(dip_states(m, mine[0])[address] == "up" for m in holders))


def newcomer(tap, lab):
    """no mux sends a host packets of a VIP that it has not heard of"""
    host, smuxes = lab.host["srv1"], [m for m in lab.mux.values() if m.smux]

    def add(n):
        """the VIP's address; its host has been told of it then, and has not answered if it is slow"""
        asked, one = host.asked, vip(n, DIPS[:1])
        lab.put(f"/v1/vips/{one['vip']}", one)
        until(lambda: host.asked > asked)
        return one["vip"]

    def on(v):
        return [m.name for m in smuxes if v in m.vips]
    host.slow = threading.Event()
    v = add(21)
    tap.ok(not on(v) and lab.get("/v1/status")["muxes"]["in-sync"] == 10, "a new VIP's host takes its time: no SMux has it, and none is in sync",
           on(v), lab.get("/v1/status")["muxes"])
    lab.post("/v1/moves", {"vip": v, "to": "tor1"})
    tap.ok(until(lambda: "are being told" in lab.get("/v1/moves?limit=1")["moves"][0]["note"]) and v not in lab.mux["tor1"].vips, "nor does a move bring it to a switch")
    answered = time.monotonic()
    host.slow.set()
    tap.ok(lab.settled() and len(on(v)) == 3 and lab.places()[v] == "tor1" and min(t for m in smuxes for t, _, p, b in m.puts if b.get("vip") == v) > answered,
           "when it answers they get it, and it moves")
    host.slow = threading.Event()
    began, v = time.monotonic(), add(22)
    tap.ok(until(lambda: len(on(v)) == 3) and time.monotonic() - began >= 2.9, "a host that never answers is waited for three seconds")
    v = add(23)
    rest("DELETE", f"{lab.url}/v1/vips/{v}")
    host.slow.set()
    tap.ok(until(lambda: v not in lab.places()) and lab.settled() and not on(v), "one deleted before that is never on a mux")
    host.slow = None
    host.stop()
    one = vip(24, DIPS[:1])
    lab.put(f"/v1/vips/{one['vip']}", one)
    tap.ok(until(lambda: len(on(one["vip"])) == 3), "one that is dead keeps no VIP off")
    host.start()
    for n in (21, 22, 24):
        rest("DELETE", f"{lab.url}/v1/vips/203.0.113.{n}")
    tap.ok(lab.settled(), "all are gone again", lab.get("/v1/status"))


def change_waits(tap, lab, vips):
    """DIPs of a VIP on a switch change: the SMuxes meet its connections before, and have it for a while after"""
    v = vips[1]
    address, here = v["vip"], lab.places()[v["vip"]]
    more = dict(v, rules=[dict(v["rules"][0], dips=v["rules"][0]["dips"] + [{"address": DIPS[7], "weight": 1}])])
    lab.put("/v1/control", {"change-learn-s": 1, "change-hold-s": 2})

    def changed(body, kill_in=None):
        """seconds from the withdrawal to the SMuxes' change, and from that to the announcement"""
        lab.clear()
        lab.put(f"/v1/vips/{address}", body)
        if kill_in:
            until(lambda: lab.get("/v1/moves?limit=1")["moves"][0]["state"] == kill_in)
            lab.kill()
            lab.start(1, 2)
        settled, n = lab.settled(), len(body["rules"][0]["dips"])
        puts = [(t, name, b) for name, m in lab.mux.items() for t, how, p, b in m.puts if how == "PUT" and b.get("vip") == address]
        gone = min((t for t, name, b in puts if name == here and b["announce"] == "no"), default=0)
        at_smux = max((t for t, name, b in puts if name != here and len(b["rules"][0]["dips"]) == n), default=0)
        back = max((t for t, name, b in puts if name == here and b["announce"] == "yes"), default=0)
        return settled, at_smux - gone, back - at_smux
    settled, learnt, held = changed(more)
    tap.ok(settled and learnt >= 1 and held >= 1.9, "a DIP more: a second at the SMuxes before, two after", settled, learnt, held)
    lab.put("/v1/control", {"change-learn-s": 60})
    settled, learnt, held = changed(dict(more, fragments="hash"))
    tap.ok(settled, "what changes no table waits for nothing", learnt, held)
    lab.put("/v1/control", {"change-learn-s": 1, "change-hold-s": 2})
    settled, _, held = changed(v, "switching")
    tap.ok(settled and 1.9 <= held, "a controller killed meanwhile waits no shorter", settled, held)
    lab.post("/v1/moves", {"vip": address, "to": "smux"})
    lab.settled()
    lab.put(f"/v1/vips/{address}", more)
    began = time.monotonic()
    lab.post("/v1/moves", {"vip": address, "to": here})
    note = until(lambda: "at the SMuxes" in (m := lab.get("/v1/moves?limit=1")["moves"][0])["note"] and m["note"])
    tap.ok(note and "2 s" in note and lab.settled() and lab.places()[address] == here and time.monotonic() - began >= 1.5,
           "one that was on the SMuxes meanwhile doesn't leave them sooner, and the move says why", note)
    lab.put(f"/v1/vips/{address}", v)
    lab.put("/v1/control", {"change-learn-s": 0, "change-hold-s": 0})
    tap.ok(lab.settled() and lab.places()[address] == here, "set to nothing while one waits: it goes on at once")


def changes(tap, lab, vips):
    v = vips[1]
    address, here = v["vip"], lab.places()[v["vip"]]
    more = dict(v, rules=[dict(v["rules"][0], dips=v["rules"][0]["dips"] + [{"address": DIPS[7], "weight": 1}])])
    tap.ok(lab.settled(), "nothing is under way")
    lab.clear()
    got = lab.put(f"/v1/vips/{address}", more)
    tap.ok(got["changed"] == [address] and len(got["moves"]) == 1 and lab.settled() and
           all(len(dip_states(m, address)) == 4 for m in lab.mux.values() if address in m.vips),
           "a DIP is added on all muxes", got)
    order = sorted((t, n, b.get("announce"), len(b["rules"][0]["dips"])) for n, m in lab.mux.items()
                   for t, how, p, b in m.puts if how == "PUT")
    steps = [(a, d) if n == here else "smux" for _, n, a, d in order]
    compact = [s for i, s in enumerate(steps) if not i or steps[i - 1] != s]
    ends = [i for i, s in enumerate(steps) if s == "smux"]
    tap.ok(steps[0] == ("no", 3) and steps[-1] == ("yes", 4) and ends and steps.index(("yes", 4)) > ends[-1],
           "through the SMuxes: withdrawn, changed there, and back", compact)
    tap.ok(any(x["vip"] == address for x in lab.host["srv8"].state["vips"]), "the new DIP's host was told")
    lab.clear()
    got = lab.put(f"/v1/vips/{address}", dict(more, traffic={"mbps": 5}))
    tap.ok(got["changed"] == [address] and not got["moves"] and lab.writes() == 0, "new traffic figures trouble no mux")
    drained = dict(more, rules=[dict(more["rules"][0], dips=[dict(d, state="down" if d["address"] == DIPS[7] else "up")
                                                           for d in more["rules"][0]["dips"]])])
    got = lab.put(f"/v1/vips/{address}", drained)
    tap.ok(not got["moves"] and until(lambda: all(dip_states(m, address)[DIPS[7]] == "down" for m in lab.mux.values()
                                                  if address in m.vips)), "a DIP taken out by the operator needs no move")
    last = vips[7]["vip"]
    lab.watch.must.discard(last)
    rest("DELETE", f"{lab.url}/v1/vips/{last}")
    tap.ok(lab.settled() and until(lambda: not any(last in m.vips for m in lab.mux.values())), "a deleted VIP is gone from all muxes")
    tap.refused(lambda: lab.get(f"/v1/vips/{last}"), 404, [last], "and from the controller")
    tap.ok(not lab.watch.wrong, "no VIP was without a mux, on two, or on two tables", *lab.watch.wrong)
    return [vips[0], drained] + vips[2:7]


def bad_input(tap, lab, vips):
    before = lab.get("/v1/vips")
    lab.clear()
    good = vips[0]
    for what, bad, words in (
            ("no DIPs", vip(50, []), ["203.0.113.50", "no DIPs"]),
            ("a DIP twice", vip(50, [DIPS[0], DIPS[0]]), ["203.0.113.50", DIPS[0], "twice"]),
            ("no address", dict(vip(50, DIPS[:1]), vip="203.0.113.500"), ["203.0.113.500"]),
            ("a DIP that is no address", vip(50, ["10.0.0"]), ["10.0.0"]),
            ("a VIP outside the aggregate", dict(vip(50, DIPS[:1]), vip="198.51.100.1"), ["198.51.100.1", "203.0.113.0/24"]),
            ("a DIP that is a VIP", vip(50, ["203.0.113.7"]), ["203.0.113.7", "aggregate"]),
            ("a DIP that is a switch's address", vip(50, ["10.254.0.1"]), ["10.254.0.1", "core1", "tunnels"]),
            ("a DIP that is an SMux's address", vip(50, ["10.254.1.1"]), ["10.254.1.1", "smux1", "tunnels"]),
            ("a VIP that is a switch's address", dict(vip(50, DIPS[:1]), vip="10.254.0.1"), ["10.254.0.1", "core1"]),
            ("a VIP that is an SMux's address", dict(vip(50, DIPS[:1]), vip="10.254.1.2"), ["10.254.1.2", "smux2"]),
            ("a VIP that is a server's address", dict(vip(50, DIPS[1:2]), vip=DIPS[0]), [DIPS[0], "srv"]),
            ("a DIP that is link-local", vip(50, ["169.254.1.1"]), ["169.254.1.1", "link-local"]),
            ("a VIP that is reserved", dict(vip(50, DIPS[:1]), vip="240.0.0.1"), ["240.0.0.1", "reserved"]),
            ("an unknown traffic source", vip(50, DIPS[:1], sources={"tor7": 1}), ["tor7"]),
            ("shares that don't add up", vip(50, DIPS[:1], sources={"tor1": 0.5}), ["0.5"]),
            ("an unknown kind of check", vip(50, DIPS[:1], check={"type": "dns"}), ["tcp, http, https, icmp or command", "dns"]),
            ("a misspelt member", dict(vip(50, DIPS[:1]), rule=[]), ["\"rule\""]),
            ("a VIP twice", good, [good["vip"], "twice"])):
        tap.refused(lambda: lab.put("/v1/config", {"vips": [good, vip(49, DIPS[:1]), bad]}), 422, words, f"{what}: refused")
    tap.refused(lambda: lab.put("/v1/config", []), 400, ["vips"], "no configuration at all: refused")
    tap.refused(lambda: lab.put("/v1/vips/203.0.113.9", good), 422, ["203.0.113.9"], "a definition under another address: refused")
    tap.ok(lab.get("/v1/vips") == before and lab.writes() == 0, "and nothing was changed, here or on any mux")


def lies(tap, lab):
    """an SMux whose tables are not what it was sent"""
    address = next(a for a, m in lab.places().items() if m != "smux")
    liar = lab.mux["smux2"]
    liar.lies.add(address)
    told = until(lambda: [f for f in sentences(lab.get("/v1/status")) if address in f and "different tables" in f])
    tap.ok(told and "smux2" in told[0], "an SMux with another table than the others is told of", told, sentences(lab.get("/v1/status")))
    liar.lies.clear()
    tap.ok(until(lambda: not any("different" in f for f in sentences(lab.get("/v1/status")))), "and no longer when they are alike")


def troubles(tap, lab):
    v = "203.0.113.1"
    full = lab.mux["core1"]
    lab.move(v, "smux")
    full.refuse = "tunnelling table full: 512 of 512 entries used, the VIP needs 3 more"
    done = lab.move(v, "core1", 20)
    tap.ok(done and done["state"] == "failed" and "512 of 512" in done["note"] and lab.places()[v] == "smux",
           "a full switch: the move fails with the agent's sentence, the VIP stays on the SMuxes", done)
    full.refuse = None
    tap.ok(lab.settled() and lab.move(v, "core1")["state"] == "done", "and succeeds when there is room again")

    lost = lab.mux["core1"]
    lost.stop()
    seen = until(lambda: [m for m in lab.get("/v1/muxes")["muxes"] if m["name"] == "core1" and m["state"] == "unreachable"])
    tap.ok(seen and seen[0]["why"], "an agent that is gone is shown, with the reason", seen)
    lost.vips.clear()
    lost.export.clear()
    lost.start()
    tap.ok(lab.settled() and lab.held()[v] == ["core1"], "back with an empty table it gets its state again")
    lost.stop()
    until(lambda: any(m["state"] == "unreachable" for m in lab.get("/v1/muxes")["muxes"]))
    tap.ok(lab.move("203.0.113.3", "tor1")["state"] == "done", "others move meanwhile")
    done = lab.move(v, "tor2", 20)
    tap.ok(done and done["state"] == "done", "off a dead switch a VIP moves after 6 s without its word", done)
    with lab.watch.lock:
        lost.vips.clear()
        lost.export.clear()
    lost.start()
    tap.ok(lab.settled() and lab.held()[v] == ["tor2"], "when the switch is back it holds nothing of it", lab.held())
    stuck = lab.mux["tor3"]
    stuck.stop()
    until(lambda: any(m["state"] == "unreachable" for m in lab.get("/v1/muxes")["muxes"]))
    answer = lab.post("/v1/moves", {"vip": v, "to": "tor3"})
    waits = until(lambda: (m := lab.get(f"/v1/moves/{answer['id']}"))["state"] == "announcing" and m["note"] and m)
    tap.ok(waits and "tor3" in waits["note"], "to a dead switch it waits on the SMuxes, and says for what", waits)
    stuck.start()
    tap.ok(lab.settled() and lab.held()[v] == ["tor3"], "and ends when the switch comes")

    two, three = lab.mux["agg3"], lab.mux["agg4"]
    for address, where in lab.places().items():
        if where in ("agg3", "agg4"):
            lab.move(address, "smux")
    lab.move("203.0.113.5", "agg3")
    lab.move("203.0.113.6", "agg4")
    lab.settled()
    two.tunnels = three.tunnels = 3
    lab.put("/v1/updater/assignment", {"assignment": [{"vip": "203.0.113.5", "mux": "agg4"}, {"vip": "203.0.113.6", "mux": "agg3"}]})
    tap.ok(lab.settled(15) and lab.held()["203.0.113.5"] == ["agg4"] and lab.held()["203.0.113.6"] == ["agg3"],
           "two full switches swap their VIPs: no deadlock", lab.held(), lab.get("/v1/moves?limit=2"))
    two.tunnels = three.tunnels = 512

    newer = lab.mux["tor4"]
    newer.epoch, newer.generation = 1 << 40, 5
    lab.move("203.0.113.7", "smux")
    lab.post("/v1/moves", {"vip": "203.0.113.7", "to": "tor4"})
    tap.ok(until(lambda: any(m["name"] == "tor4" and m["state"] == "fenced" for m in lab.get("/v1/muxes")["muxes"])),
           "an agent that obeys a later controller is left alone, and shown")
    lab.post("/v1/moves", {"vip": "203.0.113.7", "to": "agg2"})
    newer.stop()
    newer.vips.clear()
    newer.export.clear()
    newer.start()
    tap.ok(not lab.watch.wrong, "no VIP was without a mux, on two, or on two tables", *lab.watch.wrong)


def kills(tap, lab):
    lab.kill(signal.SIGTERM)
    places = None
    lab.start()
    lab.settled()
    places, held = lab.places(), lab.held()
    epoch = lab.get("/v1/status")["epoch"]
    with lab.watch.lock:
        export = {m.name: dict(m.export) for m in lab.mux.values()}
        tables = {m.name: {v: str(d) for v, d in m.vips.items()} for m in lab.mux.values()}
    lab.kill()
    lab.start()
    lab.settled()
    with lab.watch.lock:
        same = export == {m.name: dict(m.export) for m in lab.mux.values()} and \
            tables == {m.name: {v: str(d) for v, d in m.vips.items()} for m in lab.mux.values()}
    tap.ok(same and lab.places() == places and lab.held() == held, "kill -9 and restart: everything is as it was, on every mux")
    tap.ok(lab.get("/v1/status")["epoch"] == epoch + 1, "and its epoch is one more")

    moved = []
    for _ in range(5):
        lab.post("/v1/assign")
        lab.settled()
        lab.kill()
        lab.child = lab.place.run(f"{BIN}/duet-controller", "-c", lab.conf)
        moved += until(lambda: lab.post("/v1/assign"))["moves"]
    tap.ok(not moved, "asked for an assignment at once after a restart it moves nothing", moved)

    rng = random.Random(7)
    for m in lab.mux.values():
        m.lag = 0.02
    wrong, unfinished = [], 0
    for _ in range(25):
        want = {v: rng.choice(["tor1", "tor2", "agg1", "core1", "smux"]) for v in lab.watch.must}
        lab.put("/v1/updater/assignment", {"assignment": [{"vip": v, "mux": m} for v, m in want.items()]})
        until(lambda end=time.monotonic() + rng.random() * 0.12: time.monotonic() > end)
        unfinished += len(lab.get("/v1/moves?running=1")["moves"])
        lab.kill()
        lab.start()
        if not lab.settled() or lab.places() != want or lab.held() != {v: [m] if m != "smux" else [] for v, m in want.items()}:
            wrong.append((want, lab.places(), lab.held()))
    tap.ok(not wrong and unfinished > 20, f"killed 25 times amid moves ({unfinished} unfinished): each ended where it should", *wrong[:2])
    tap.ok(not lab.watch.wrong, "and no VIP was without a mux, on two, or on two tables", *lab.watch.wrong)
    tap.ok(lab.kill(signal.SIGTERM) == 0, "SIGTERM ends it with exit code 0")


def roles(tap, lab):
    place, (engine, monitor) = lab.place, lab.other_ports
    urls = f"monitor=http://127.0.0.1:{monitor}\nengine=http://127.0.0.1:{engine}\nupdater={lab.url}\n"
    before = lab.held()
    parts = [place.run(f"{BIN}/duet-controller", f"--role={role}", "-c", lab.config(f"{role}.conf", port, urls))
             for role, port in (("updater", lab.port), ("engine", engine), ("monitor", monitor))]
    tap.ok(until(lambda: rest("GET", lab.url + "/v1/status")["muxes"]["total"] == 13) and lab.settled()
           and lab.held() == before, "monitor, engine and updater as three processes: nothing changes")
    v = "203.0.113.4"
    lab.move(v, "smux")
    lab.post("/v1/assign")
    tap.ok(lab.settled() and lab.places()[v] != "smux", "they assign together", lab.places())
    host, address = lab.host["srv5"], SERVERS["srv5"][0]
    host.report(f"http://127.0.0.1:{monitor}", [(v, 0, "down")])
    holders = [m for m in lab.mux.values() if v in m.vips and address in dip_states(m, v)]
    tap.ok(holders and until(lambda: all(dip_states(m, v)[address] == "down" for m in holders)), "health goes from monitor to muxes")
    tap.ok(len(lab.get("/v1/topology")["switches"]) == 10, "the updater shows the monitor's topology")
    second = place.run(f"{BIN}/duet-controller", "-c", lab.config("second.conf", free_ports(1)[0]))
    tap.ok(second.wait(10) == 1 and "another controller" in open(place.path("duet-controller.log"), encoding="utf-8").read(),
           "a second controller on the same store is refused, with the reason")
    place.running.remove(second)
    for p in parts:
        place.stop(p)


def steps(tap, place):
    lab = Lab(place)
    vips = first_steps(tap, lab)
    moves(tap, lab)
    dips(tap, lab, vips)
    lab.settled()
    newcomer(tap, lab)
    change_waits(tap, lab, vips)
    vips = changes(tap, lab, vips)
    bad_input(tap, lab, vips)
    lies(tap, lab)
    troubles(tap, lab)
    kills(tap, lab)
    roles(tap, lab)


if __name__ == "__main__":
    sys.exit(run_test(steps))
