# SPDX-License-Identifier: GPL-2.0
"""Pictures of the web page (test_web.py --shots DIR): the testbed's fabric with
load, moves and faults, in light, dark and narrow; one of a hundred switches; and
one of 1,800 of which nobody but two containers are opened."""
import os
import random

import agents
import test_web
from browser import Browser
from fabric import BIN, Place, free_ports, rest, until
from test_moves import Lab, vip


def clos(containers, aggs, tors, cores, urls):
    """topology.dot of a Clos fabric, an SMux on the first ToR of some containers; urls(name) may be None"""
    out, links, n, ports = ["graph clos {"], [], 0, {}

    def port(node):
        ports[node] = ports.get(node, 0) + 1
        return f"swp{ports[node]}"

    def node(name, **attrs):
        nonlocal n
        n += 1
        url = urls(name)
        if url:
            attrs.update(agent=url, local=f"10.{250 + n // 65000}.{n // 250 % 250}.{n % 250 + 1}", profile="paper")
        out.append(f'"{name}" [' + ", ".join(f'{k}="{v}"' for k, v in attrs.items()) + "]")
    for c in range(1, cores + 1):
        node(f"core{c}", role="core")
    for k in range(1, containers + 1):
        for a in range(1, aggs + 1):
            node(f"agg{k}-{a}", role="agg", container=k)
            links += [(f"agg{k}-{a}", f"core{c}", "40G") for c in range(1 + (a - 1) * cores // aggs, 1 + a * cores // aggs)]
        for t in range(1, tors + 1):
            node(f"tor{k}-{t}", role="tor", container=k)
            links += [(f"tor{k}-{t}", f"agg{k}-{a}", "10G") for a in range(1, aggs + 1)]
            out.append(f'"srv{k}-{t}" [role=server, address="10.{k}.{t}.1"]')
            links.append((f"srv{k}-{t}", f"tor{k}-{t}", "10G"))
    out += [f'"{a}":"{port(a)}" -- "{b}":"{port(b)}" [speed="{s}"]' for a, b, s in links]
    return out, port


class Big:
    """A controller on a fabric of any size; muxes, as many as have agents, on one thread each at most"""

    def __init__(self, place, containers, aggs, tors, cores, with_agent):
        self.place, self.watch = place, agents.Watch()
        names = [f"core{c}" for c in range(1, cores + 1)]
        for k in range(1, containers + 1):
            names += [f"agg{k}-{a}" for a in range(1, aggs + 1)] + [f"tor{k}-{t}" for t in range(1, tors + 1)]
        chosen = [n for n in names if with_agent(n)]
        ports = free_ports(len(chosen) + 4)
        self.url = f"http://127.0.0.1:{ports[0]}"
        self.mux = {n: test_web.Mux(n, ports.pop(), self.watch).start() for n in chosen}
        smux = [test_web.Mux(f"smux{s}", ports.pop(), self.watch, smux=True, tunnels=0).start() for s in (1, 2, 3)]
        self.dips = [f"10.{k}.{t}.1" for k in range(1, containers + 1) for t in range(1, tors + 1)]
        lines, port = clos(containers, aggs, tors, cores, lambda n: self.mux[n].url if n in self.mux else None)
        for s, m in enumerate(smux, 1):
            lines.append(f'"{m.name}" [role=smux, agent="{m.url}", local="10.254.200.{s}", capacity="40G"]')
            lines.append(f'"{m.name}":"eth0" -- "tor{s}-1":"{port(f"tor{s}-1")}"')
            self.mux[m.name] = m
        dot = place.write("big.dot", "\n".join(lines + ["}"]) + "\n")
        conf = place.write("big.conf", f"[controller]\nname=big\nlisten={self.url[7:]}\ninsecure=yes\nstore={place.path('big.sqlite')}\n"
                                       f"topology={dot}\naggregate=100.64.0.0/12\n")
        self.child = place.run(f"{BIN}/duet-controller", "-c", conf)
        until(lambda: rest("GET", self.url + "/v1/status")["muxes"]["total"], 60)

    def get(self, path):
        return rest("GET", self.url + path, timeout=60)

    def vips(self, n, total):
        rng = random.Random(1)
        share = [1 / (i + 3) for i in range(n)]
        vips = [{"vip": f"100.{64 + i // 65536}.{i // 256 % 256}.{i % 256}", "name": f"svc{i}", "traffic": {"mbps": total * s / sum(share), "sources": {"internet": 1}},
                 "rules": [{"dips": [{"address": a} for a in rng.sample(self.dips, min(len(self.dips), rng.randint(2, 8)))]}]} for i, s in enumerate(share, 1)]
        rest("PUT", self.url + "/v1/config", {"vips": vips}, timeout=120)
        until(lambda: not self.get("/v1/status")["vips"]["moving"], 120)
        until(lambda: rest("POST", self.url + "/v1/assign", {}, timeout=120), 60)
        until(lambda: not self.get("/v1/status")["vips"]["moving"], 120)
        test_web.tell_ports(self) if n < 1000 else None


def testbed(place, b, out):
    lab = Lab(place)
    test_web.configured(lab)
    b.size(1280, 800)
    b.open(lab.url + "/")
    b.seen("#line", "live")
    b.seen(".labels text", "%")
    lab.mux[lab.places()["203.0.113.2"]].lag = 3
    lab.post("/v1/moves", {"vip": "203.0.113.2", "to": "tor2"})
    b.click('[data-vip="203.0.113.1"] button')
    b.seen("#running .runs .step", "withdrawing")
    b.seen(".details", "on tor")
    b.shot(f"{out}/light.png")
    until(lambda: not lab.get("/v1/status")["vips"]["moving"])
    b.scheme("dark")
    rest("PUT", lab.url + "/v1/drains/switch/tor3", {})
    b.pause(1)
    lab.settled()
    here = lab.places()["203.0.113.2"]
    lab.mux[here].lag = 60
    lab.post("/v1/moves", {"vip": "203.0.113.2", "to": "tor2"})
    test_web.cut(lab, "agg1", "core1")
    lab.mux["agg3"].stop()
    lab.host["srv1"].report(lab.url, [("203.0.113.1", 0, "down")])
    for css in ("#running .runs", ".link.down", ".s-unreachable", ".dot.down"):
        b.seen(css)
    b.click('[data-vip="203.0.113.1"] button')
    b.seen(".node.home")
    b.seen(".details", "on tor")
    b.shot(f"{out}/dark.png")
    b.scheme("light")
    b.shot(f"{out}/faults.png")
    b.size(420, 900, True)
    b.pause(0.7)
    b.shot(f"{out}/narrow.png", whole=True)
    b.size(1280, 800)
    lab.kill()


def take(out, big=True):
    os.makedirs(out, exist_ok=True)
    place = Place()
    b = Browser(place)
    try:
        testbed(place, b, out)
        if not big:
            return
        big = Big(place, 8, 4, 8, 4, lambda n: True)
        big.vips(300, 150000)
        b.open(big.url + "/")
        b.seen("#line", "live")
        b.pause(4)
        b.shot(f"{out}/hundred.png")
        place.stop(big.child)
        for m in big.mux.values():
            m.stop()
        big = Big(place, 40, 4, 40, 40, lambda n: n.startswith(("agg1-", "tor1-1")))
        big.vips(300, 400000)
        b.open(big.url + "/")
        b.seen("#line", "live", 30)
        b.pause(4)
        b.shot(f"{out}/many.png")
        b.js("document.querySelector('[data-container=\"1\"]').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
        b.seen('[data-name="tor1-1"]', "", 30)
        b.pause(1)
        b.shot(f"{out}/opened.png")
    except (OSError, LookupError, ValueError):
        place.logs()
        raise
    finally:
        b.close()
        place.close()
