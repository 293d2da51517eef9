#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Every fault that the controller can raise: it comes with its code, its object
and its time, counts in the metric, and goes again. CASES raise theirs here;
ELSEWHERE says which test raises the others, which need another world.
selftests/style/test_fault_list.py checks that no code is missing."""
import os
import re
import signal
import sys
import threading
import time
import urllib.request

from ctl import Ctl
from fabric import BIN, TOP, Refused, rest, run_test, topology, until
from test_moves import DIPS, SERVERS, Lab, vip

ELSEWHERE = {
    "store-unwritable": "controller/test_store.py", "mux-quarantined": "controller/test_answers.py",
    "certificate-not-loaded": "agents/test_tls.py", "certificate-expires": "agents/test_tls.py",
    "certificate-expired": "agents/test_tls.py", "report-refused": "controller/test_reports.py",
    "snat-foreign": "controller/test_reports.py", "snat-learning": "controller/test_snat.py",
    "snat-conflict": "controller/test_snat.py",
    "key-rotation-waits": "controller/test_key.py", "vip-panic": "controller/test_health.py",
    "vip-below-min-share": "controller/test_health.py", "vip-last-resort": "controller/test_health.py", "host-dead": "lab/test_life.py",
    "host-agent-dead": "lab/test_life.py", "silence-capped": "lab/test_life.py",
    "mux-route-missing": "lab/test_life.py", "vip-not-arrived": "lab/test_life.py",
}
VIPS = [vip(n, DIPS[n - 1:n + 2], 500) for n in range(1, 6)]
V = VIPS[0]["vip"]


def faults(lab, code=None):
    return [f for f in lab.get("/v1/status")["faults"] if code in (None, f["code"])]


def raised(lab, code, kind, name):
    return [f for f in faults(lab, code) if f["object"] == {"kind": kind, "name": name}]


def metric(lab, code):
    with urllib.request.urlopen(lab.url + "/metrics", timeout=10) as answer:
        return int(re.search(rf'^duet_fault{{code="{code}",severity="\w+"}} (\d+)$', answer.read().decode(), re.M).group(1))


def settings(lab, **values):
    return lab.put("/v1/control", {k.replace("_", "-"): v for k, v in values.items()})


def put_vip(lab, definition):
    return rest("PUT", f"{lab.url}/v1/vips/{definition['vip']}", definition)


class Talk(threading.Thread):
    """Hosts that report every second, as real ones do: those of `who`; what is down: (VIP, host)"""

    def __init__(self, lab):
        super().__init__(daemon=True)
        self.lab, self.who, self.down, self.wake = lab, set(), set(), threading.Event()
        self.uses = {}	# host: the share of its SNAT ports of VIPS[4] in use

    def once(self, name):
        host = self.lab.host[name]
        host.report(self.lab.url, [(v["vip"], 0, "down" if (v["vip"], name) in self.down else "up") for v in VIPS
                                   if any(d["address"] == host.address for d in v["rules"][0]["dips"])],
                    host.using(VIPS[4]["vip"], self.uses[name]) if host.blocks(VIPS[4]["vip"]) and name in self.uses else None)

    def run(self):
        while not self.wake.wait(1):
            for name in sorted(self.who):
                try:
                    self.once(name)
                except (OSError, Refused):	# the controller is away, or has no monitor now
                    pass

    def say(self, *down):
        """these are down from now on, and nothing else; said at once"""
        changed, self.down = {n for _, n in self.down ^ set(down)}, set(down)
        for name in sorted(changed):
            self.once(name)


def says(mux, code_object, **members):
    """a mux whose status has these members for a while"""
    mux.says = members
    yield code_object
    mux.says = {}


def home(lab):
    return lab.places()[V]


def stop(lab):
    lab.kill(signal.SIGTERM)
    for child in lab.parts:
        lab.place.stop(child)
    lab.parts = []


def restart(lab):
    stop(lab)
    if not lab.start():
        raise ValueError("the controller does not start again")
    settings(lab, fault_grace_s=3600)


# Each makes its fault, yields (kind, name) of the object, and mends it.

def not_configured(lab):
    yield "controller", "test"
    lab.put("/v1/config", {"vips": VIPS})
    lab.talk.who = set(list(lab.host)[:7])
    lab.settled()


def vips_unassigned(lab):
    settings(lab, fault_grace_s=1)
    yield "deployment", "test"
    lab.post("/v1/assign")
    lab.settled()


def host_never_heard(lab):
    yield "host", "srv8"
    lab.talk.who.add("srv8")


def moves_stopped(lab):
    settings(lab, stop=True)
    yield "deployment", "test"
    settings(lab, stop=False)


def move_waits(lab):
    settings(lab, stop=True)
    lab.post("/v1/moves", {"vip": V, "to": "smux"})
    yield "vip", V
    settings(lab, stop=False)
    lab.settled()
    lab.post("/v1/assign")
    lab.settled()


def config_not_loaded(lab):
    with open(lab.conf, encoding="utf-8") as f:
        good = f.read()
    lab.place.write("controller.conf", good + "nonsense=1\n")
    lab.child.send_signal(signal.SIGHUP)
    yield "controller", "test"
    lab.place.write("controller.conf", good)
    lab.child.send_signal(signal.SIGHUP)


def mux_unreachable(lab):
    lab.mux["agg1"].stop()
    yield "mux", "agg1"
    lab.mux["agg1"].start()
    lab.settled()


def mux_fenced(lab):
    mux = lab.mux["core1"]
    ours = mux.epoch
    mux.epoch += 5
    yield "mux", "core1"
    mux.epoch = ours
    rest("DELETE", lab.url + "/v1/muxes/core1/fence")
    lab.settled()


def mux_not_synced(lab):
    lab.mux["tor4"].fails = (500, "its disk is on fire")
    lab.mux["tor4"].stop()
    lab.mux["tor4"].start()
    yield "mux", "tor4"
    lab.mux["tor4"].fails = None
    lab.settled()


def mux_refuses_vip(lab):
    mux = lab.mux["smux3"]
    mux.refuse = "tunnelling table full: 16 of 16 entries used"
    put_vip(lab, dict(VIPS[4], rules=[dict(VIPS[4]["rules"][0], dips=[{"address": a} for a in DIPS[3:7]])]))
    yield "mux", "smux3"
    mux.refuse = None
    put_vip(lab, VIPS[4])
    lab.settled()


def mux_trouble(lab):
    yield from says(lab.mux["agg2"], ("mux", "agg2"), trouble="port swp9 takes no packets: not attached yet")


def mux_key_wrong(lab):
    mux = lab.mux["agg2"]
    yield from says(mux, ("mux", "agg2"), device={"limits": {"tunnels": 512}, "used": {}, "key-fingerprint": "0123456789abcdef"})


def mux_identity(lab):
    yield from says(lab.mux["agg2"], ("mux", "agg2"), name="agg1")


def mux_identity_by_source(lab):
    mux = lab.mux["agg2"]
    yield from says(mux, ("mux", "agg2"), device={"limits": {"tunnels": 512}, "used": {}, **mux.fingerprints, "local": "10.254.99.9"})


def mux_bird_down(lab):
    yield from says(lab.mux["agg2"], ("mux", "agg2"), bird={"state": "down", "detail": "no socket"})


def aggregate_not_exported(lab):
    yield from says(lab.mux["smux1"], ("mux", "smux1"), aggregate={"exported": False})


def aggregate_nowhere(lab):
    for n in (1, 2, 3):
        lab.mux[f"smux{n}"].says = {"aggregate": {"exported": False}}
    yield "deployment", "203.0.113.0/24"
    for n in (1, 2, 3):
        lab.mux[f"smux{n}"].says = {}


def smux_overload(lab):
    lab.move(V, "smux")
    put_vip(lab, dict(VIPS[0], traffic={"mbps": 20000, "sources": {"internet": 1}}))
    yield "deployment", "test"
    put_vip(lab, VIPS[0])
    lab.settled()
    lab.post("/v1/assign")
    lab.settled()


def vip_exported_wrongly(lab):
    mux = next(m for n, m in lab.mux.items() if not m.smux and n != home(lab))
    mux.vips[V], mux.export[V] = lab.mux["smux1"].vips[V], (True, 0)
    yield "vip", V
    mux.drop(V)


def vip_not_exported(lab):
    mux = lab.mux[home(lab)]
    mux.export[V] = (False, 0)
    yield "vip", V
    mux.export[V] = (True, 0)


def vip_tables_differ(lab):
    lab.mux["smux2"].lies.add(V)
    yield "vip", V
    lab.mux["smux2"].lies.clear()


def vip_no_dip(lab):
    lab.talk.say((V, "srv1"), (V, "srv2"), (V, "srv3"))
    yield "vip", V
    lab.talk.say()


def vip_few_dips(lab):
    other = VIPS[3]["vip"]
    lab.talk.say((other, "srv4"), (other, "srv5"))
    yield "vip", other
    lab.talk.say()


def dip_no_host(lab):
    put_vip(lab, vip(9, DIPS[:1] + ["10.9.9.9"]))
    yield "vip", "203.0.113.9"
    rest("DELETE", lab.url + "/v1/vips/203.0.113.9")
    lab.settled()


def dip_damped(lab):
    """the longest: its penalty must decay"""
    other = VIPS[4]["vip"]
    for state in 4 * ("down", "up"):
        lab.talk.say(*([(other, "srv5")] if state == "down" else []))
    yield "dip", DIPS[4]
    until(lambda: not faults(lab, "dip-damped"), 60)


def host_silent(lab):
    lab.talk.who.remove("srv6")
    yield "host", "srv6"
    lab.talk.who.add("srv6")


def host_not_synced(lab):
    lab.host["srv1"].stop()
    put_vip(lab, vip(9, DIPS[:1]))
    yield "host", "srv1"
    lab.host["srv1"].start()
    rest("DELETE", lab.url + "/v1/vips/203.0.113.9")
    lab.settled()


def snat(lab, blocks, most):
    """the hosts of a VIP with SNAT use all ports that they have"""
    lab.talk.uses = {f"srv{n}": 1 for n in (5, 6, 7)}
    put_vip(lab, dict(VIPS[4], snat={"first": 20000, "last": 20000 + 64 * blocks - 1, "block": 64, "max_blocks": most}))
    yield "vip", VIPS[4]["vip"]
    put_vip(lab, VIPS[4])
    until(lambda: not any(lab.host[f"srv{n}"].blocks(VIPS[4]["vip"]) for n in (5, 6, 7)))
    lab.talk.uses = {}


def snat_short(lab):
    yield from snat(lab, 4, 16)


def snat_limit(lab):
    yield from snat(lab, 16, 1)


def a_link(lab, mux):
    link = next(x for x in lab.get("/v1/links")["links"] if mux in (x["a"], x["b"]) and x["a"] in lab.mux and x["b"] in lab.mux)
    name = f"{link['a']} {link['port-a']} - {link['b']} {link['port-b']}"
    return name, link["port-a"] if link["a"] == mux else link["port-b"]


def link_of(lab, members, **port):
    name, mine = a_link(lab, "tor1")
    ports = [{"port": p, "there": True, "up": True, "carrier": True} for p in (f"swp{i}" for i in range(1, 9))]
    next(p for p in ports if p["port"] == mine).update(port)
    neighbours = [{"port": mine, "name": "up1", "id": "192.0.2.77", "state": "Established", **members}] if members is not None else []
    yield from says(lab.mux["tor1"], ("link", name), links=ports, bird={"state": "up", "neighbours": neighbours})


def link_down(lab):
    yield from link_of(lab, None, carrier=False)


def link_port_missing(lab):
    yield from link_of(lab, None, there=False)


def bgp_down(lab):
    yield from link_of(lab, {"state": "Active", "id": ""})


def bgp_wrong_peer(lab):
    yield from link_of(lab, {})


def vip_place_unknown(lab):
    """its switch goes from the topology"""
    gone, urls = home(lab), {n: a.url for n, a in list(lab.mux.items()) + list(lab.host.items())}
    lab.kill()
    lab.place.write("topology.dot", topology({n: u for n, u in urls.items() if n != gone}, SERVERS))
    lab.child = lab.place.run(f"{BIN}/duet-controller", "-c", lab.conf)
    yield "vip", V
    lab.place.write("topology.dot", topology(urls, SERVERS))
    restart(lab)
    lab.settled()


def parts(lab, started, *lost):
    """the updater with its other parts elsewhere, and only some of these running"""
    urls = "".join(f"{name}=http://127.0.0.1:{port}\n" for name, port in zip(("monitor", "engine"), lab.other_ports)) + f"updater={lab.url}\n"

    def run(role, port):
        return lab.place.run(f"{BIN}/duet-controller", f"--role={role}", "-c", lab.config(f"{role}.conf", port, urls))
    ports = dict(zip(("monitor", "engine"), lab.other_ports), updater=lab.port)
    stop(lab)
    lab.child, *lab.parts = [run(role, ports[role]) for role in started]
    yield "controller", lost[0] if lost else "test"
    lab.parts += [run(role, ports[role]) for role in ports if role not in started]


def topology_unknown(lab):
    yield from parts(lab, ["updater", "engine"])


def part_unreachable(lab):
    yield from parts(lab, ["updater", "monitor"], "engine")


CASES = {f.__name__.replace("_", "-"): f for f in (
    not_configured, vips_unassigned, host_never_heard, moves_stopped, move_waits, config_not_loaded, mux_unreachable, mux_fenced,
    mux_not_synced, mux_refuses_vip, mux_trouble, mux_key_wrong, mux_identity, mux_bird_down, aggregate_not_exported, aggregate_nowhere, smux_overload,
    vip_exported_wrongly, vip_not_exported, vip_tables_differ, vip_no_dip, vip_few_dips, dip_no_host, dip_damped, host_silent,
    host_not_synced, snat_short, snat_limit, link_down, link_port_missing, bgp_down, bgp_wrong_peer, vip_place_unknown, topology_unknown, part_unreachable)}


def one(tap, lab, code, case):
    steps = case(lab)
    kind, name = next(steps)
    began = time.monotonic()
    shown = until(lambda: raised(lab, code, kind, name), 20)
    took = time.monotonic() - began
    tap.ok(shown and metric(lab, code) >= 1, f"{code}: raised, and counted ({took * 1000:.0f} ms)", faults(lab))
    if shown:
        f = shown[0]
        tap.ok(f["severity"] in ("fault", "warning") and abs(f["since-ms"] / 1000 - time.time()) < 30 and f["remedy"] and
               (lab.get("/v1/status")["ok"] is False or f["severity"] == "warning"), f"{code}: with its time and what to do", f)
    next(steps, None)
    tap.ok(until(lambda: not raised(lab, code, kind, name), 30), f"{code}: cleared", faults(lab, code))
    return took


def sources(tap, lab):
    """the other way for a mux not to be the one that the topology has there"""
    one(tap, lab, "mux-identity", mux_identity_by_source)
    steps = mux_identity(lab)
    next(steps)
    tap.ok(until(lambda: any("URLs of the topology exchanged" in f["sentence"] for f in faults(lab, "mux-identity")), 20),
           "a name that another mux has: perhaps the URLs are exchanged", faults(lab))
    next(steps, None)


def within_a_second(tap, lab):
    """a VIP without any DIP is a fault at once, not when somebody asks again"""
    took = one(tap, lab, "vip-no-dip", vip_no_dip)
    tap.ok(took < 1, "a service that is down is a fault within a second", took)


def events_of(lab, subject, kind=None):
    return [e for e in lab.get("/v1/events?limit=1000")["events"] if e["subject"] == subject and e["kind"] in (kind or ("fault-raised", "fault-cleared"))]


def events(tap, lab):
    mux = lab.mux["agg3"]
    mux.says = {"trouble": "port swp1 takes no packets"}
    tap.ok(until(lambda: events_of(lab, "agg3", "fault-raised"), 10), "its coming is an event", events_of(lab, "agg3"))
    tap.ok("mux-trouble" in events_of(lab, "agg3")[-1]["text"] and "swp1" in events_of(lab, "agg3")[-1]["text"], "with code and sentence",
           events_of(lab, "agg3"))
    mux.says = {}
    tap.ok(until(lambda: events_of(lab, "agg3", "fault-cleared"), 10), "its going is one", events_of(lab, "agg3"))
    for _ in range(4):
        mux.says = {"trouble": "port swp1 takes no packets"}
        until(lambda: raised(lab, "mux-trouble", "mux", "agg3"))
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 1.5)
        mux.says = {}
        until(lambda: not raised(lab, "mux-trouble", "mux", "agg3"))
    tap.ok(len(events_of(lab, "agg3")) == 2, "an object that comes and goes has two events a minute at most", events_of(lab, "agg3"))


def many(tap, lab):
    """faults of many objects are one event, and the list of the status ends somewhere"""
    many_vips = [{"vip": f"203.0.113.{n}", "rules": [{"proto": "any", "dips": [{"address": "10.9.9.9"}]}]} for n in range(20, 180)]
    lab.put("/v1/config", {"vips": VIPS + many_vips})
    got = until(lambda: (s := lab.get("/v1/status")) and s["fault-counts"]["warning"] >= 160 and s, 20)
    tap.ok(got and len([f for f in got["faults"] if f["code"] == "dip-no-host"]) == 100, "of one code the list has 100 at most, the counts have all",
           got and got["fault-counts"])
    tap.ok(metric(lab, "dip-no-host") == 160, "and so has the metric", metric(lab, "dip-no-host"))
    tap.ok(until(lambda: any("160 objects" in e["text"] for e in events_of(lab, "dip-no-host")), 10), "one event says so of all",
           events_of(lab, "dip-no-host"))
    lab.put("/v1/config", {"vips": VIPS})
    tap.ok(until(lambda: not metric(lab, "dip-no-host"), 20), "and they go", faults(lab, "dip-no-host"))


def exits(tap, lab, ctl):
    """the exit code of duetctl status says how things are, and what keeps it from asking has others"""
    tap.ok(until(lambda: not faults(lab)), "nothing is wrong", faults(lab))
    ctl.ok("all is well: exit code 0", ctl("status"), "all is well", "muxes  13: 13 in sync")
    settings(lab, stop=True)
    ctl.ok("a warning: 1", ctl("status"), "warning", "moves-stopped: moves are stopped", "(for ", "duetctl explain CODE", code=1)
    lab.mux["agg4"].says = {"trouble": "port swp1 takes no packets"}
    until(lambda: faults(lab, "mux-trouble"))
    got = ctl("status", "--verbose")
    ctl.ok("a fault: 2, with what to do", got, "fault", "mux-trouble: mux agg4", "duet-mux-agent --doctor", "duetctl resume", code=2)
    tap.ok(got.stdout.index("mux-trouble") < got.stdout.index("moves-stopped") < got.stdout.index("muxes  13"), "faults first, then warnings, then counts",
           got.stdout)
    tap.ok(ctl("-j", "status").returncode == 2 and ctl.json("status")["fault-counts"]["fault"] == 1, "as JSON too")
    ctl.refused("nobody answers: 3", ctl("-c", "http://127.0.0.1:1", "status"), "connect", code=3)
    ctl.refused("wrong usage: 5", ctl("status", "now"), "too many words", code=5)
    ctl.refused("an option that there isn't: 5", ctl("status", "--loud"), "--loud", code=5)
    ctl.refused("--watch is refused with what to do instead", ctl("status", "--watch"), "duetctl events --watch", code=5)
    lab.mux["agg4"].says = {}
    settings(lab, stop=False)
    away = Ctl(tap, "http://127.0.0.1:1")
    away.ok("explain needs no controller", away("explain", "vip-no-dip"), "vip-no-dip (fault)", "what to do")
    away.ok("of all", away("explain"), *(list(CASES) + list(ELSEWHERE)))
    tap.ok({e["code"] for e in away.json("explain")} == set(CASES) | set(ELSEWHERE), "as JSON, the codes of this test", away.json("explain"))
    away.refused("of none that there is", away("explain", "vip-on-fire"), "vip-on-fire", "lists all")


def monitoring(tap, lab):
    """what alert rules and dashboard name is in a scrape, every code with 0"""
    with urllib.request.urlopen(lab.url + "/metrics", timeout=10) as answer:
        scrape = answer.read().decode()
    tap.ok(set(re.findall(r'^duet_fault{code="([^"]*)"', scrape, re.M)) == set(CASES) | set(ELSEWHERE), "the metric has every code", scrape)
    named = set()
    for path in ("contrib/prometheus/duet-alerts.yml", "contrib/grafana/duet.json"):
        with open(os.path.join(TOP, path), encoding="utf-8") as f:
            named |= set(re.findall(r"\bduet_[a-z_]+", f.read()))
    tap.ok(len(named) > 10 and all(re.search(rf"^{name}[{{ ]", scrape, re.M) for name in named), "a scrape has all that rules and dashboard name",
           [n for n in named if not re.search(rf"^{n}[{{ ]", scrape, re.M)])


def order(tap, lab):
    """severe ones first, and the time stays"""
    lab.mux["agg4"].says = {"trouble": "port swp1 takes no packets"}
    settings(lab, stop=True)
    both = until(lambda: (f := faults(lab)) and {"mux-trouble", "moves-stopped"} <= {x["code"] for x in f} and f)
    severities = [f["severity"] for f in both or []]
    tap.ok(both and severities == sorted(severities), "faults stand before warnings", both)
    since = raised(lab, "mux-trouble", "mux", "agg4")[0]["since-ms"]
    lab.mux["agg4"].says = {"trouble": "port swp2 takes no packets"}
    again = until(lambda: [f for f in raised(lab, "mux-trouble", "mux", "agg4") if "swp2" in f["sentence"]])
    tap.ok(again and again[0]["since-ms"] == since, "another sentence of the same fault has the same time", again)
    lab.mux["agg4"].says = {}
    settings(lab, stop=False)
    tap.ok(until(lambda: lab.get("/v1/status")["ok"]), "ok again", faults(lab))


def steps(tap, place):
    lab = Lab(place)
    tap.ok(lab.start(), "the controller starts")
    lab.talk, lab.parts = Talk(lab), []
    lab.talk.start()
    until(lambda: all(m["state"] != "unknown" for m in lab.get("/v1/muxes")["muxes"]))
    settings(lab, fault_grace_s=3600)
    only = os.environ.get("DUET_FAULT_CASES", "").split(",")
    for code, case in CASES.items():
        if only == [""] or code in only or code == "not-configured":
            one(tap, lab, code, case)
    restart(lab)
    lab.talk.who = set(lab.host)
    lab.settled()
    within_a_second(tap, lab)
    sources(tap, lab)
    exits(tap, lab, Ctl(tap, lab.url))
    monitoring(tap, lab)
    order(tap, lab)
    events(tap, lab)
    many(tap, lab)


if __name__ == "__main__":
    sys.exit(run_test(steps))
