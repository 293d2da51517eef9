#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The engine against a second program, written from the paper's description
and not from the C: every choice recomputed by brute force (all paths walked,
all links summed, nothing cached), on the testbed's fabric and on random ones."""
import random
import sys
from fractions import Fraction

from fabric import BIN, SWITCHES, Place, Tap, fabric_links, free_ports, rest, until

EPS = 1e-9
PAPER = {"hosts": 16384, "rules": 1024, "members": 4096, "tunnels": 512}


class Reference:
    """Exact arithmetic throughout: fractions, so that ties are ties."""

    def __init__(self, model, share=Fraction(4, 5), delta=Fraction(1, 20)):
        self.names = [s["name"] for s in model["switches"]]
        self.switches = {s["name"]: s for s in model["switches"]}
        self.links = [(l["a"], l["b"], Fraction(str(l["mbps"]))) for l in model["links"]]
        self.rack = {s["address"]: s["switch"] for s in model["servers"]}
        self.cores = [s["name"] for s in model["switches"] if s["role"] == "core"]
        self.share, self.delta = share, delta
        self.memo = {}

    def hops(self, to):
        far = {to: 0}
        front = [to]
        while front:
            front = [n for f in front for n in self.neighbours(f) if n not in far and not far.__setitem__(n, far[f] + 1)]
        return far

    def neighbours(self, node):
        return [b if a == node else a for a, b, _ in self.links if node in (a, b)]

    def unit(self, source, to):
        """(link, direction): share of one unit; None if there is no path. By walking every path."""
        if (source, to) in self.memo:
            return self.memo[source, to]
        far = self.hops(to)
        flow = {}

        def walk(node, amount):
            if node == to:
                return
            ways = [(i, 0 if a == node else 1, b if a == node else a) for i, (a, b, _) in enumerate(self.links)
                    if node in (a, b) and far.get(b if a == node else a, 1 << 30) == far[node] - 1]
            for i, d, other in ways:
                flow[i, d] = flow.get((i, d), 0) + amount / len(ways)
                walk(other, amount / len(ways))

        if source in far:
            walk(source, Fraction(1))
        self.memo[source, to] = flow if source in far else None
        return self.memo[source, to]

    def read(self, vip):
        """Mbps, entry shares, rack shares, DIPs, members, ACL rules; None for racks if one is unknown"""
        traffic = vip.get("traffic", {})
        entries = {}
        for name, share in (traffic.get("sources") or {"internet": 1}).items():
            for node in self.cores if name == "internet" else [name]:
                part = Fraction(str(share)) / (len(self.cores) if name == "internet" else 1)
                entries[node] = entries.get(node, 0) + part
        racks, dips, members, rules = {}, set(), 0, 0
        for rule in vip["rules"]:
            weights = sum(d.get("weight", 1) for d in rule["dips"])
            for d in rule["dips"]:
                dips.add(d["address"])
                if racks is None or d["address"] not in self.rack:
                    racks = None
                    continue
                rack = self.rack[d["address"]]
                racks[rack] = racks.get(rack, 0) + Fraction(d.get("weight", 1), weights * len(vip["rules"]))
            members += len(rule["dips"])
            rules += rule.get("proto", "any") != "any" or "port" in rule
        return Fraction(str(traffic.get("mbps", 0))), entries, racks, dips, members, rules

    def added(self, vip, s):
        mbps, entries, racks, _, _, _ = self.read(vip)
        add = {}
        for pairs in ([(n, s, p) for n, p in entries.items()], [(s, r, p) for r, p in racks.items()]):
            for a, b, part in pairs:
                flow = self.unit(a, b)
                if flow is None:
                    if mbps * part > 0:
                        return None
                    continue
                for key, share in flow.items():
                    add[key] = add.get(key, 0) + mbps * part * share
        return {k: v for k, v in add.items() if v}

    def offer(self, vip, s):
        """What the VIP on s would mean: (MRU, worst it touches, traffic added, sum), or None"""
        add = self.added(vip, s)
        if add is None:
            return None
        _, _, _, dips, members, rules = self.read(vip)
        size = self.switches[s]["tables"]
        uses = [(self.load.get(k, 0) + v) / (self.links[k[0]][2] * self.share) for k, v in add.items()]
        for used, limit in ((len(self.tunnels[s] | dips), size["tunnels"]), (self.members[s] + members, size["members"]),
                            (self.rules[s] + rules, size["rules"]),
                            (self.placed + 1, min((t["tables"]["hosts"] for t in self.switches.values()
                                                   if t["tables"]["hosts"]), default=0))):
            uses.append(Fraction(used, limit) if limit else Fraction(0))
        everything = [v / (self.links[k[0]][2] * self.share) for k, v in self.load.items()]
        for t in self.names:
            lim = self.switches[t]["tables"]
            everything += [Fraction(n, l) if l else 0 for n, l in ((len(self.tunnels[t]), lim["tunnels"]),
                                                                  (self.members[t], lim["members"]),
                                                                  (self.rules[t], lim["rules"]))]
        return max(uses + everything), max(uses), sum(add.values()), sum(uses)

    def assign(self, vips, current=None, exclude=()):
        self.load, self.placed = {}, 0
        self.tunnels = {n: set() for n in self.names}
        self.members = {n: 0 for n in self.names}
        self.rules = {n: 0 for n in self.names}
        where, stopped = {}, False
        candidates = [n for n in self.names if self.switches[n]["candidate"] and n not in exclude]
        for vip in sorted(vips, key=lambda v: (-Fraction(str(v.get("traffic", {}).get("mbps", 0))), v["vip"])):
            _, _, racks, dips, members, rules = self.read(vip)
            where[vip["vip"]] = "smux"
            if stopped or racks is None:
                continue
            offers = [(self.offer(vip, s), i, s) for i, s in enumerate(candidates)]
            offers = [(o, i, s) for o, i, s in offers if o is not None]

            def fits(s):
                t = self.switches[s]["tables"]
                return all(not t[k] or n <= t[k] for k, n in (("tunnels", len(dips)), ("members", members), ("rules", rules)))
            if not offers or not any(fits(s) for s in candidates):
                continue
            (mru, _, _, _), _, best = min(offers)
            if mru > 1:
                stopped = True
                continue
            here = [o for o, _, s in offers if s == (current or {}).get(vip["vip"])]
            if here and here[0][0] <= 1 and here[0][0] - mru <= self.delta:
                best = current[vip["vip"]]
            where[vip["vip"]] = best
            for k, v in self.added(vip, best).items():
                self.load[k] = self.load.get(k, 0) + v
            self.tunnels[best] |= dips
            self.members[best] += members
            self.rules[best] += rules
            self.placed += 1
        return where


def testbed():
    servers = [{"name": f"srv{n}", "address": f"10.{(n - 1) // 15 + 1}.{(n - 1) % 15 + 1}.1", "switch": f"tor{(n - 1) // 15 + 1}"}
               for n in range(1, 61)]
    return {"switches": [{"name": n, "role": n[:-1], "candidate": True, "tables": dict(PAPER)} for n in SWITCHES],
            "links": [{"a": a, "b": b, "mbps": m} for a, b, m in fabric_links()], "servers": servers}


def random_fabric(rng):
    """Tiers with random links, sometimes parallel, sometimes missing; small tables."""
    names = [f"core{i}" for i in range(rng.randint(1, 3))] + [f"agg{i}" for i in range(rng.randint(1, 4))]
    names += [f"tor{i}" for i in range(rng.randint(1, 4))]
    links = []
    for a in names:
        for b in names:
            if (a[:3], b[:3]) in (("cor", "agg"), ("agg", "tor")) and rng.random() < 0.8:
                links += [{"a": a, "b": b, "mbps": rng.choice([1000, 10000, 40000])}] * rng.choice([1, 1, 1, 2])
    tables = [{"hosts": rng.choice([0, 3, 16384]), "rules": rng.choice([1, 4, 1024]), "members": rng.choice([6, 20, 4096]),
               "tunnels": rng.choice([3, 12, 512])} for _ in names]
    tors = [n for n in names if n.startswith("tor")]
    return {"switches": [{"name": n, "role": n[:3] if n[0] != "c" else "core", "candidate": rng.random() < 0.85, "tables": t}
                         for n, t in zip(names, tables)],
            "links": links, "servers": [{"name": f"s{i}", "address": f"10.0.0.{i}", "switch": rng.choice(tors)} for i in range(1, 16)]}


def random_vips(rng, model, n, mbps):
    addresses = [s["address"] for s in model["servers"]]
    sources = [s["name"] for s in model["switches"]] + ["internet"]
    vips = []
    for i in range(1, n + 1):
        rules = []
        for r in range(rng.choice([1, 1, 2])):
            dips = rng.sample(addresses, rng.randint(1, 5))
            rules.append({"dips": [{"address": a, "weight": rng.choice([1, 1, 2, 5])} for a in dips]})
            if r or rng.random() < 0.5:
                rules[-1].update({"proto": "tcp", "port": 80 + r})
        if rng.random() < 0.05:
            rules[0]["dips"].append({"address": "192.0.2.1"})
        vip = {"vip": f"203.0.113.{i}", "rules": rules}
        if rng.random() < 0.95:
            chosen = rng.sample(sources, rng.choice([1, 2, 4]) if len(sources) >= 4 else 1)
            shares = {1: [1], 2: [0.25, 0.75], 4: [0.25] * 4}[len(chosen)]
            vip["traffic"] = {"mbps": rng.choice([0, 10, 100, 100, 250, 1000]) * mbps, "sources": dict(zip(chosen, shares))}
        vips.append(vip)
    return vips


def compare(url, model, vips, current=None):
    """Differences between the engine's plan and the reference's, and the plan."""
    plan = rest("POST", url + "/v1/engine/plan", {"model": model, "vips": vips, "current": current or {}})
    got = {a["vip"]: a["mux"] for a in plan["assignment"]}
    want = Reference(model).assign(vips, current)
    return [f"{v}: engine {got[v]}, reference {want[v]}" for v in want if got[v] != want[v]], plan


def main():
    tap, place = Tap(), Place()
    try:
        port, = free_ports(1)
        url = f"http://127.0.0.1:{port}"
        conf = place.write("engine.conf", f"[controller]\nname=engine\nlisten=127.0.0.1:{port}\ninsecure=yes\nrole=engine\n")
        place.run(f"{BIN}/duet-controller", "-c", conf)
        if not tap.ok(until(lambda: rest("GET", url + "/healthz")), "the engine runs as a process of its own"):
            place.logs()
            tap.end()

        rng = random.Random(14)
        model = testbed()
        bad = []
        for n in range(30):
            vips = random_vips(rng, model, 12, rng.choice([1, 4, 12]))
            bad += compare(url, model, vips)[0]
        tap.ok(not bad, "testbed, 30 sets of 12 VIPs: same places as the reference", *bad[:10])

        bad, placed, full = [], 0, 0
        for n in range(150):
            model = random_fabric(rng)
            wrong, plan = compare(url, model, random_vips(rng, model, rng.randint(1, 10), rng.choice([1, 3, 10])))
            bad += wrong
            placed += sum(a["mux"] != "smux" for a in plan["assignment"])
            full += sum(a["mux"] == "smux" for a in plan["assignment"])
            for link in plan["links"]:
                if link["utilisation"] > 1 + EPS:
                    bad.append(f"link {link['a']} - {link['b']} is planned to {link['utilisation']}")
            sizes = {s["name"]: s["tables"] for s in model["switches"]}
            for s in plan["switches"]:
                if any(sizes[s["name"]][k] and s[k] > sizes[s["name"]][k] for k in ("tunnels", "members", "rules")):
                    bad.append(f"a table of {s['name']} is planned over its size")
        tap.ok(not bad, "150 random fabrics: same places, no link or table over its limit", *bad[:10])
        tap.ok(placed > 100 and full > 100, "and both outcomes were met often", f"{placed} placed, {full} not")

        bad, kept = [], 0
        model = testbed()
        for n in range(20):
            vips = random_vips(rng, model, 10, 4)
            current = {v["vip"]: rng.choice(SWITCHES + ["smux"]) for v in vips}
            wrong, plan = compare(url, model, vips, current)
            bad += wrong
            kept += sum(a["reason"].startswith("kept") for a in plan["assignment"])
        tap.ok(not bad and kept > 10, "sticky: same places", f"{kept} kept", *bad[:10])

        vips = random_vips(rng, model, 12, 4)
        first = compare(url, model, vips)[1]
        shuffled = vips[:]
        rng.shuffle(shuffled)
        again = compare(url, model, shuffled)[1]
        tap.ok({a["vip"]: a for a in first["assignment"]} == {a["vip"]: a for a in again["assignment"]},
               "the order of VIPs in the request changes nothing")
        current = {a["vip"]: a["mux"] for a in first["assignment"]}
        tap.ok({a["vip"]: a["mux"] for a in compare(url, model, vips, current)[1]["assignment"]} == current,
               "a second run on its own result moves nothing")
        tap.ok(all(a["reason"] for a in first["assignment"]), "every choice has its reason in words")

        tap.refused(lambda: rest("POST", url + "/v1/engine/plan", {"vips": []}), 400, ["model"], "no model: refused")
        model["links"][0]["b"] = "agg9"
        tap.refused(lambda: rest("POST", url + "/v1/engine/plan", {"model": model, "vips": []}), 400, ["agg9"],
                    "a link to nowhere: refused")
        model = testbed()
        tap.refused(lambda: rest("POST", url + "/v1/engine/plan", {"model": model, "vips": [
            {"vip": "203.0.113.1", "traffic": {"mbps": 1, "sources": {"tor9": 1}}, "rules": []}]}), 400, ["tor9"],
                    "an unknown traffic source: refused")
        vip = {"vip": "203.0.113.1", "rules": [{"dips": [{"address": "10.1.1.1", "weight": -1}]}]}
        tap.refused(lambda: rest("POST", url + "/v1/engine/plan", {"model": model, "vips": [vip]}), 400, ["weight", "203.0.113.1"],
                    "a weight below 0: refused")
        vip = {"vip": "203.0.113.1", "rules": []}
        tap.refused(lambda: rest("POST", url + "/v1/engine/plan", {"model": model, "vips": [vip, vip]}), 400, ["203.0.113.1", "twice"],
                    "the same VIP twice: refused")
        if tap.failed:
            place.logs()
    finally:
        place.close()
    tap.end()


if __name__ == "__main__":
    sys.exit(main())
