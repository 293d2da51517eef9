#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-sim against a second program: the loads of all links recomputed by
walking every path, from the places alone. And what it says to bad input."""
import csv
import io
import json
import os
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SIM = os.path.join(os.environ.get("O", os.path.join(TOP, "out")), "bin", "duet-sim")
SMALL = {"containers": 3, "tors": 4, "aggs": 4, "cores": 4, "planes": 2, "servers": 400, "border-mbps": 100000,
         "tables": {"tunnels": 150}}
results = []


def ok(good, name, *why):
    results.append(bool(good))
    print(f"{'ok' if good else 'not ok'} {len(results)} - {name}", flush=True)
    for line in [] if good else why:
        print(f"# {line}")


def sim(*args, fail=False):
    p = subprocess.run([SIM, *args, "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600)
    if fail:
        return p.returncode, p.stderr
    if p.returncode:
        raise RuntimeError(f"duet-sim {' '.join(args)}: {p.stderr}")
    return p.stdout


def rows(*args):
    return list(csv.DictReader(io.StringIO(sim("run", *args))))


class Walk:
    """Shares of one unit over links, by walking every shortest path."""

    def __init__(self, links):
        self.links = links
        self.near = {}
        for i, l in enumerate(links):
            self.near.setdefault(l["a"], []).append((l["b"], i, 0))
            self.near.setdefault(l["b"], []).append((l["a"], i, 1))
        self.memo = {}

    def hops(self, to):
        far, front = {to: 0}, [to]
        while front:
            front = [n for f in front for n, _, _ in self.near[f] if n not in far and not far.__setitem__(n, far[f] + 1)]
        return far

    def unit(self, a, b):
        if (a, b) not in self.memo:
            far, flow = self.hops(b), {}

            def walk(node, amount):
                ways = [w for w in self.near[node] if far[w[0]] == far[node] - 1] if node != b else []
                for other, link, d in ways:
                    flow[link, d] = flow.get((link, d), 0) + amount / len(ways)
                    walk(other, amount / len(ways))
            walk(a, 1.0)
            self.memo[a, b] = flow
        return self.memo[a, b]


def recompute(plan, trace):
    walk, load = Walk(plan["links"]), {}

    def add(a, b, mbps):
        for key, share in walk.unit(a, b).items():
            load[key] = load.get(key, 0) + mbps * share

    for v in plan["vips"]:
        _, _, mbps, _, sources, dips = trace[v["vip"]]
        mbps = float(mbps)
        if v["mux"] == "smux":
            continue
        pairs = [p.split(":") for p in sources.split(",")]
        whole = sum(float(s) for _, s in pairs)
        for name, share in pairs:
            add(name, v["mux"], mbps * float(share) / whole)
        racks = {r: int(n) for r, n in (p.split(":") for p in dips.split(","))}
        count = sum(racks.values())
        if not v["tips"]:
            for r, n in racks.items():
                add(v["mux"], r, mbps * n / count)
        for t in v["tips"]:
            add(v["mux"], t["mux"], mbps * sum(t["dips"].values()) / count)
            for r, n in t["dips"].items():
                add(t["mux"], r, mbps * n / count)
                racks[r] -= n
        if v["tips"] and any(racks.values()):
            raise RuntimeError(f"{v['vip']}: DIPs of its TIPs are not its DIPs: {racks}")
    return load


def loads(folder):
    fabric = os.path.join(folder, "fabric.json")
    trace_file = os.path.join(folder, "trace")
    with open(fabric, "w", encoding="utf-8") as f:
        json.dump(SMALL, f)
    args = ["--fabric", fabric, "--vips", "400", "--tbps", "0.005"]
    bad, tips, placed = [], 0, 0
    for seed in range(1, 6):
        sim("trace", "--csv", trace_file, "--seed", str(seed), *args)
        with open(trace_file, encoding="utf-8") as f:
            trace = {l.split()[1]: l.split() for l in f if not l.startswith("#")}
        plan = json.loads(sim("assign", "--fabric", fabric, "--trace", trace_file))
        want = recompute(plan, trace)
        tips += sum(len(v["tips"]) for v in plan["vips"])
        placed += sum(v["mux"] != "smux" for v in plan["vips"])
        for i, l in enumerate(plan["links"]):
            for d, key in enumerate(("ab", "ba")):
                if abs(l[key] - want.get((i, d), 0)) > 1e-3 + 1e-6 * l["mbps"]:
                    bad.append(f"seed {seed}, link {l['a']} - {l['b']} {key}: {l[key]}, by paths {want.get((i, d), 0)}")
                if l[key] > 0.8 * l["mbps"] * (1 + 1e-9):
                    bad.append(f"seed {seed}, link {l['a']} - {l['b']} {key} over 80 %: {l[key]}")
        if seed == 1:
            again = json.loads(sim("assign", "--seed", "1", *args))
            ok({v["vip"]: v["mux"] for v in again["vips"]} == {v["vip"]: v["mux"] for v in plan["vips"]},
               "a written trace, read again, gives the same places")
    ok(not bad, "loads of all links are those of the places, by every path", *bad[:10])
    ok(placed > 50 and tips > 10, "and VIPs with TIPs were among them", f"{placed} placed, {tips} TIPs")
    return fabric


def steps(fabric):
    args = ("equal", "--fabric", fabric, "--vips", "400", "--tbps", "0.005")
    one, two = (json.loads(sim(*args, "--jobs", n)) for n in ("1", "2"))
    ok(one["compared"] == two["compared"] > 30 and not one["different"] + two["different"] and one["as_in_one_go"] and two["as_in_one_go"],
       "VIP by VIP the plain search chooses as the fast one, in one process and in two", str(one), str(two))


def figures(fabric):
    args = ("--fabric", fabric, "--vips", "200")
    ok(sim("run", "fig15", *args) == sim("run", "fig15", *args) != sim("run", "fig15", *args, "--seed", "3"),
       "a figure depends on its seed and on nothing else")
    r = rows("fig20", *args, "--intervals", "3")
    ok(len(r) == 9 and all(0 <= float(x["share_on_switches"]) <= 1 for x in r), "Figure 20: three strategies, three intervals")
    names = [line.split()[0] for line in sim("list").splitlines()]
    folder = os.path.join(os.path.dirname(fabric), "figures")
    os.mkdir(folder)
    sim("run", "all", "--out", folder, *args, "--intervals", "3")
    empty = [f"{n}.{kind}" for n in names for kind in ("csv", "png", "svg") if not os.path.getsize(os.path.join(folder, f"{n}.{kind}"))]
    ok(len(names) >= 9 and not empty, "every figure is drawn", *empty)
    r = rows("fig15", "--vips", "3000")
    off = max(abs(float(x["bytes"]) - float(x["bytes_paper"])) for x in r)
    ok(off < 0.005, "the generated traffic follows the published curve", f"off by {off}")
    r = rows("bound")
    ok(len(r) >= 4 and all(float(x["greedy"]) <= float(x["bound"]) + 1e-6 and float(x["local_search"]) <= float(x["bound"]) + 1e-6
                           for x in r), "no assignment beats glpsol's bound", *[str(x) for x in r])
    ok(any(float(x["bound"]) < 0.99 for x in r), "and the bound was below all traffic where links were full")


def refused(folder):
    cases = [
        ("trace", "0 10.0.0.1 5 0 border:1\n", ["1", "six fields"]),
        ("trace", "0 10.0.0.1 5 0 border:1 tor9999:1\n", ["tor9999", "no such switch"]),
        ("trace", "0 10.0.0.1 -5 0 border:1 tor1:1\n", ["-5", "Mbps"]),
        ("trace", "0 10.0.0.1 5 0 - -\n", ["10.0.0.1", "first line"]),
        ("trace", "0 10.0.0.1 5 0 border:1 core1:1\n", ["core1", "racks"]),
        ("trace", "# nothing\n", ["no VIP"]),
        ("fabric", '{"containers": "many"}', ["containers"]),
        ("fabric", '{"planes": 3}', ["planes"]),
        ("fabric", '{"tor-agg-mbps": 0}', ["tor-agg-mbps"]),
        ("fabric", '[', ["line 1"]),
        ("fabric", '{"containers": 10000, "tors": 10000}', ["too many"]),
    ]
    bad = []
    for kind, text, words in cases:
        name = os.path.join(folder, "bad")
        with open(name, "w", encoding="utf-8") as f:
            f.write(text)
        code, said = sim("assign", f"--{kind}", name, fail=True)
        if code != 1 or not all(w in said for w in words):
            bad.append(f"{text!r}: {code}, {said!r}")
    code, said = sim("run", "fig99", fail=True)
    if code != 1 or "fig99" not in said:
        bad.append(f"fig99: {code}, {said!r}")
    ok(not bad, "bad fabrics and traces are refused with what is wrong", *bad)


def main():
    with tempfile.TemporaryDirectory() as folder:
        fabric = loads(folder)
        steps(fabric)
        figures(fabric)
        refused(folder)
    print(f"1..{len(results)}")
    return 0 if all(results) else 1


sys.exit(main())
