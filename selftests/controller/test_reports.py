#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Hosts that lie: in another's name, of what isn't theirs, in numbers that
can't be, too much and too often. What they say is left out and shown, nothing
else changes, and a DIP's death still reaches all muxes at once."""
import json
import signal
import sys

from fabric import rest, run_test, until
from test_moves import DIPS, Lab
from trust import Health, TrustLab, configured


def fault(tap, lab, what, *words, code="report-refused"):
    found = lambda: [f for f in lab.get("/v1/status")["faults"] if f["code"] == code and all(w in f["sentence"] for w in words)]
    return tap.ok(until(found, 10), what, lab.faults())


def sender(tap, lab):
    srv1 = lab.host["srv1"].address
    for who in ("core1", "srv2"):
        tap.ok(lab.report("srv1", who, dips=lab.dips("srv1", "down")) == 403, f"{who} reports as srv1: refused")
        fault(tap, lab, f"a fault names {who}", f"report of cert:{who}", "srv1")
    tap.ok(lab.states(srv1) == {"up"}, "srv1's DIPs stay up", lab.states(srv1))
    for who in ("eve", "nosan"):
        tap.ok(lab.report("srv1", who) in (401, 403), f"{who} is no host")
    tap.ok(lab.report("srv1", "alice") == 403, "an administrator's certificate is no host's either")
    tap.ok(lab.report("srv1", dips=lab.dips("srv1", "up")) == 200, "srv1 itself reports")


def foreign(tap, lab):
    srv2 = lab.host["srv2"].address
    tap.ok(lab.report("srv1", dips=lab.dips("srv1", "up") + lab.dips("srv2", "down")) == 200 and lab.states(srv2) == {"up"},
           "srv1 speaks of srv2's DIPs: they stay up", lab.states(srv2))
    fault(tap, lab, "a fault names srv1", "report of srv1", "aren't its own")
    got = next(h for h in lab.get("/v1/hosts")["hosts"] if h["name"] == "srv1")
    tap.ok(got["dips"] and all(d["dip"] == lab.host["srv1"].address for d in got["dips"]), "nothing of it is kept", got)
    rows = lab.counters("srv2", 10**9) + [{"vip": "203.0.113.1", "dip": "bad", "bytes": 1}, {"vip": 7, "bytes": 1}, "rubbish"]
    lab.report("srv1", traffic=lab.counters("srv1", 0))
    lab.report("srv1", traffic=lab.counters("srv1", 0) + rows)
    fault(tap, lab, "traffic of others' DIPs is left out and shown", "report of srv1", "rows of its traffic")
    lab.report("srv3", traffic=lab.counters("srv3", 0, [1]))
    lab.report("srv3", traffic=lab.counters("srv3", 10**6, [1], [{"rack": "tor1", "bytes": 10**6}, {"rack": "evil", "bytes": 10**9}]))
    fault(tap, lab, "so are racks that there are not", "report of srv3", "racks")
    long = [{**d, "reason": "x" * 10**5} for d in lab.dips("srv1", "down", [1])]
    lab.report("srv1", dips=long)
    tap.ok(until(lambda: "down" in lab.states(lab.host["srv1"].address), 5) and
           all(len(d["reason"]) <= 200 for h in lab.get("/v1/hosts")["hosts"] for d in h["dips"]), "a reason of 100,000 characters is cut")
    tap.ok(lab.as_("srv1", "POST", "/v1/reports", {"host": "srv1", "instance": "i" * 10**5})[0] == 400, "an instance of 100,000 characters is refused")
    lab.report("srv1", dips=lab.dips("srv1", "up"))


def flood(tap, lab):
    """50,000 VIPs that there are not, again and again"""
    before, events = lab.memory(), len(lab.get("/v1/events?limit=1000")["events"])
    body = {"host": "srv1", "instance": lab.host["srv1"].instance, "dips": [], "traffic": []}
    for i in range(50000):	# 25,000 in each of two reports: more at once is refused
        name = f"203.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}"
        body["traffic"].append({"vip": name, "dip": DIPS[0], "bytes": i})
        body["dips"].append({"vip": name, "dip": DIPS[0], "rule": 0, "state": "down"})
    body["snat"] = {"vips": [{"vip": f"198.51.{i >> 8}.{i & 255}", "ports": 64, "ranges": [{"first": 1024, "last": 65535}]} for i in range(5000)]}
    raws = []
    for part in (slice(0, 25000), slice(25000, 50000), slice(0, 50000)):
        raws.append(json.dumps(dict(body, dips=body["dips"][part], traffic=body["traffic"][part])).encode())
    body, codes = None, {}
    with Health(lab) as health:
        for n in range(20):
            status = lab.as_("srv1", "POST", "/v1/reports", raw=raws[2 if n > 15 else n % 2])[0]
            codes[status] = codes.get(status, 0) + 1
    tap.ok(set(codes) <= {200, 413, 429}, f"20 reports of 50,000 VIPs that there are not: {codes}")
    health.told(tap, "reports of 50,000 VIPs", 100)
    tap.ok(until(lambda: lab.memory() < before + 200, 20), f"memory before: {before:.0f}, now {lab.memory():.0f} MiB")
    tap.ok(len(lab.get("/v1/traffic")["traffic"]) <= 8 and not any(s["vip"].startswith("198.51") for s in lab.get("/v1/snat")["snat"]),
           "no VIP was made of it", lab.get("/v1/traffic"))
    tap.ok(len(lab.get("/v1/events?limit=1000")["events"]) < events + 100 + len(health.ms) * 4, "nor events")
    tap.ok(until(lambda: lab.report("srv1", seq=0, dips=lab.dips("srv1", "up")) == 200, 20), "it is heard again soon")
    codes = [lab.report("srv2") for _ in range(4000)]
    tap.ok(429 in codes, "a host that never stops reporting is slowed down")
    fault(tap, lab, "and shown", "report of srv2", "more reports")
    tap.ok(until(lambda: lab.report("srv2") == 200, 10), "and heard again when it behaves")


def repeats(tap, lab):
    """what is stored of a host is bounded by what it has, however often a report says it"""
    once = lab.dips("srv1", "up")
    many = [dict(d, reason="r" * 200, targets=[{"target": f"10.98.{i >> 8}.{i & 255}", "state": "down", "reason": "t" * 200} for i in range(4)])
            for d in once] * 700
    ports = {"vips": [{"vip": "203.0.113.1", "ports": 64, "ranges": [{"first": 1024, "last": 2047}] * 64}] * 2000}
    for n, parts in enumerate(({"dips": many}, {"dips": once, "snat": ports}) * 3):
        code = until(lambda p=parts: (c := lab.report("srv1", **p)) != 429 and c, 30)
        tap.ok(code == 200, f"report {n + 1} of one DIP and one VIP many times: {code}")
    hosts = [h for h in lab.get("/v1/hosts")["hosts"] if h["name"] == "srv1"]
    keys = [(d["vip"], d["rule"]) for d in hosts[0]["dips"]]
    vips = [v["vip"] for v in hosts[0].get("snat", {}).get("vips", [])]
    tap.ok(keys and len(keys) == len(set(keys)) and len(vips) == len(set(vips)), "each is stored once", len(keys), vips)
    fault(tap, lab, "and shown", "report of srv1", "twice")
    tap.ok(until(lambda: lab.report("srv1", dips=once) == 200, 20), "it is heard again soon")


def replays(tap, lab):
    address = lab.host["srv3"].address
    lab.report("srv3", dips=lab.dips("srv3", "up"), seq=2**62)
    tap.ok(until(lambda: lab.report("srv3", dips=lab.dips("srv3", "down")) == 200 and lab.states(address) == {"down"}, 10),
           "a huge number silences nobody: a death after it counts", lab.states(address))
    lab.report("srv3", dips=lab.dips("srv3", "up"), instance="another")
    tap.ok(until(lambda: lab.report("srv3", dips=lab.dips("srv3", "up")) == 200 and lab.states(address) == {"up"}, 30),
           "nor does an instance that is none")


def ports(tap, lab):
    one = dict(lab.get("/v1/config")["vips"][0], snat={})
    name = one["vip"]
    has = [d["address"] for r in one["rules"] for d in r["dips"]]
    liar, other = (next(n for n, h in lab.host.items() if (h.address in has) == inside) for inside in (True, False))
    lab.put(f"/v1/vips/{name}", one)
    lab.settled()
    until(lambda: lab.host[liar].blocks(name), 10)
    for host in (liar, other):
        lab.report(host, snat={"exhausted": 0, "vips": [{"vip": name, "ports": 64, "used": 2**63 - 1, "fit": -1, "ranges": [{"first": 1024, "last": 65535}]}]})
        what = f"{host} claims a VIP's ports 1024 to 65535: shown"
        if host == liar:
            fault(tap, lab, what, f"host {host}", "can't have been given", code="snat-foreign")
        else:
            fault(tap, lab, what, f"report of {host}", "no DIP there")
    fault(tap, lab, "so are numbers of ports that can't be", f"report of {liar}", "make no sense")
    pool = next(s for s in lab.get("/v1/snat")["snat"] if s["vip"] == name)
    tap.ok(pool["free-blocks"] if "free-blocks" in pool else pool["free"], "the ports are there for the others", pool)
    for host in (liar, other):
        lab.report(host)


def numbers(tap, lab):
    """one host's numbers, and an operator's"""
    for host in ("srv1", "srv2"):
        for n in range(3):
            lab.report(host, traffic=lab.counters(host, 10**6 * n, [1]))
    wrong = (1e308, -5, "many", None, 2**63, [1])
    for value in wrong:
        status = lab.report("srv1", traffic=lab.counters("srv1", value, [1]))
        tap.ok(status in (200, 400), f"a counter that is {value}")
    raw = '{"host": "srv1", "instance": "x", "traffic": [{"vip": "203.0.113.1", "dip": "%s", "bytes": %s}]}'
    for text in ("NaN", "1e999", "-Infinity"):
        tap.ok(lab.as_("srv1", "POST", "/v1/reports", raw=(raw % (DIPS[0], text)).encode())[0] == 400, f"{text} is no number: refused")
    fault(tap, lab, "counters that are none are left out and shown", "report of srv1", "no number of bytes")
    lab.report("srv1", traffic=lab.counters("srv1", 10**6, [1]))
    until(lambda: lab.report("srv1", traffic=lab.counters("srv1", 2 * 10**6, [1])) == 200)
    lab.report("srv1", traffic=lab.counters("srv1", 10**17, [1]))
    lab.report("srv1", traffic=lab.counters("srv1", 2 * 10**17, [1]))
    fault(tap, lab, "more than its link carries is left out and shown", "report of srv1", "more than its link")
    with Health(lab) as health:
        got = [lab.as_("alice", "POST", "/v1/assign", {}) for _ in range(3)]
        until(lambda: len(health.ms) > 20, 20)
    tap.ok(all(g[0] == 202 for g in got), "an assignment is made all the same", got)
    health.told(tap, "numbers that can't be")
    tap.ok(all(0 <= t[k] < 1e6 for t in lab.get("/v1/traffic")["traffic"] for k in ("mbps", "ewma-mbps", "peak-mbps")),
           "no such number is anywhere", lab.get("/v1/traffic"))
    n = [2 * 10**17]

    def sane():
        n[0] += 10**6
        lab.report("srv1", traffic=lab.counters("srv1", n[0], [1]))
        return next((t["mbps"] for h in lab.get("/v1/hosts")["hosts"] if h["name"] == "srv1" for t in h["traffic"]), 0) > 0
    tap.ok(until(sane, 10), "a host that is sane again counts again at once", lab.get("/v1/hosts"))
    one = lab.get("/v1/config")["vips"][0]
    for mbps in (1e308, 1e10, -1):
        status, _, body = lab.as_("alice", "PUT", f"/v1/vips/{one['vip']}", dict(one, traffic={"mbps": mbps}))
        tap.ok(status in (400, 422) and "mbps" in body["detail"], f"an operator's {mbps:g} Mbps is refused", status, body)
        status = lab.as_("alice", "POST", "/v1/what-if", {"vips": {one["vip"]: {"mbps": mbps}}})[0]
        tap.ok(400 <= status < 500, "and supposed neither", status)
    tap.ok(lab.as_("alice", "PUT", f"/v1/vips/{one['vip']}", dict(one, traffic={"mbps": 1e9}))[0] // 100 == 2 and
           lab.as_("alice", "POST", "/v1/assign", {})[0] == 202, "the largest there is stops no planning")
    status = lab.as_("alice", "POST", "/v1/what-if", {"vips": {one["vip"]: {"factor": 1e6}}})
    tap.ok(status[0] == 200, "nor does a million times that", status)


def plain(tap, place):
    """without certificates a host is known by its address alone"""
    lab = Lab(place)
    text = open(lab.dot, encoding="utf-8").read().replace(lab.host["srv1"].url, "http://10.1.1.1:1")
    lab.dot = place.write("topology2.dot", text)
    lab.conf = lab.config("controller.conf", lab.port)
    tap.ok(lab.start(), "a controller without certificates")
    tap.refused(lambda: rest("POST", lab.url + "/v1/reports", {"host": "srv1"}), 403, ["srv1", "127.0.0.1"],
                "a report from an address that is neither the host's nor its agent's: refused")
    tap.ok(rest("POST", lab.url + "/v1/reports", {"host": "srv2"}), "one from the agent's is taken")
    lab.kill(signal.SIGTERM)


def steps(tap, place):
    lab = configured(tap, TrustLab(place))
    for name in lab.host:
        lab.report(name, dips=lab.dips(name, "up"))
    sender(tap, lab)
    foreign(tap, lab)
    repeats(tap, lab)
    replays(tap, lab)
    ports(tap, lab)
    numbers(tap, lab)
    flood(tap, lab)
    lab.kill(signal.SIGTERM)
    plain(tap, place)


if __name__ == "__main__":
    sys.exit(run_test(steps))
