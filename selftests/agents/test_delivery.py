#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Delivery by the controller's word alone: a file given to duetctl, duet-controller, duet-host-agent, nginx.

The bed is that of test_host_delivery.py: peer (client, mux) ---- host ---- vm1, vm2, vm3. The controller runs on the host.
"""
import json
import os
import subprocess
import sys

import test_host_agent as base
import test_host_delivery as delivery
from test_host_agent import CLIENT, DIP, HOST, MUX, PEER, VIP, W, Failed, check, equal, inside, sh, until
from test_host_delivery import KEY, VMS, get, model

sys.path.insert(0, os.path.join(base.TOP, "selftests", "controller"))
import agents  # pylint: disable=wrong-import-position
from fabric import sentences, topology  # pylint: disable=wrong-import-position

BIN = os.path.dirname(base.AGENT)
CHECK = {"type": "http", "interval_ms": 50, "timeout_ms": 2000, "rise": 1, "fall": 1}
delivery.TESTS.clear()
test = delivery.test


class Nginx:
    """nginx in a namespace, that answers with the name of its place and the client's"""

    def __init__(self, ns, address, port, name):
        self.place = ns, f"{address}:{port}", f'{{"name": "{name}", "client": "$remote_addr"}}'
        self.start()

    def start(self):
        self.child = base.nginx(*self.place)

    def stop(self):
        self.child.kill()
        self.child.wait()


class Controller:
    """duet-controller with this host, an SMux that only listens, and a rack of its own for 192.0.2.0/24"""

    def __init__(self):
        with inside(HOST):
            self.smux = agents.Mux("smux1", 8475, agents.Watch(), smux=True, tunnels=0).start()
        dot = self.write("topology.dot", topology({"smux1": self.smux.url, "testhost": "http://127.0.0.1:8472"}, {"testhost": (DIP, "tor1")})
                         .replace("10.254.1.1", MUX).replace('"tor2" [', '"tor2" [prefixes="192.0.2.0/24 192.0.3.0/24", '))
        key_file = self.write("key", KEY)
        os.chmod(key_file, 0o600)
        self.conf = self.write("controller.conf", "[controller]\nname = ctl\nlisten = 127.0.0.1:8470\ninsecure = yes\n"
                                                  f"store = {base.DIR}/store.sqlite\ntopology = {dot}\naggregate = 203.0.113.0/24\nkey-file = {key_file}\n")
        self.start()

    @staticmethod
    def write(name, text):
        path = os.path.join(base.DIR, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        return path

    def start(self):
        with open(os.path.join(base.DIR, "controller.log"), "a", encoding="utf-8") as log:
            self.child = subprocess.Popen(["ip", "netns", "exec", HOST, os.path.join(BIN, "duet-controller"), "-c", self.conf], stderr=log)

    def kill(self):
        self.child.kill()
        self.child.wait()

    @staticmethod
    def ctl(*args, text=None):
        got = subprocess.run(["ip", "netns", "exec", HOST, os.path.join(BIN, "duetctl"), "-c", "http://127.0.0.1:8470", *args], input=text,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        return got.returncode, got.stdout, got.stderr

    def apply(self, *vips):
        path = self.write("vips.json", json.dumps({"vips": list(vips)}))
        code, _, said = self.ctl("apply", "-f", path)
        equal((code, said), (0, ""), "duetctl apply")

    def ask(self, *args):
        code, out, said = self.ctl("-j", *args)
        if code and not (args == ("status",) and code < 3):	# warnings, faults
            raise Failed(f"duetctl {' '.join(args)}: {said}")
        return json.loads(out)

    def down(self):
        """reasons by DIP that the controller knows to be down"""
        return {d["dip"]: d["reason"] for d in self.ask("vip", "show", VIP)["status"]["down"]}

    def told(self):
        return self.ask("status")["hosts"]["told"] == 1 and not [f for f in sentences(self.ask("status")) if "testhost" in f]


def vip(**more):
    return {"vip": VIP, "name": "web", "rules": [{"proto": "tcp", "port": 80, "dips": [{"address": DIP}], "check": CHECK}], **more}


def up():
    return W.agent.status()["vips"] and {c["state"] for c in W.agent.status()["vips"][0]["checks"]} == {"up"}


@test
def nat():
    """VIP:80 to nginx on the DIP's own address, port 8080; its death and its return are seen through the same NAT"""
    W.nginx = Nginx(HOST, DIP, 8080, "own")
    until(lambda: W.controller.ctl("status")[0] in (0, 1, 2), "a controller")
    W.controller.apply(vip(delivery={"type": "nat", "ports": [{"proto": "tcp", "port": 80, "to": 8080}]}))
    until(up, "the host agent checks by NAT, and it is up")
    equal(get(), {"name": "own", "client": CLIENT}, "answer")
    W.nginx.stop()
    until(lambda: W.controller.down().get(DIP), "nginx dies, the controller knows")
    W.nginx.start()
    until(lambda: not W.controller.down(), "and that it is back")
    equal(get()["name"], "own", "answer")


@test
def shown():
    """duetctl vip show says it, export has it, and its own export is no change"""
    code, out, _ = W.controller.ctl("vip", "show", VIP)
    check(code == 0 and "nat" in out and "tcp 80 to 8080" in out, f"vip show: {out}")
    text = W.controller.ctl("export")[1]
    equal(json.loads(text)["vips"][0]["delivery"]["ports"][0]["to"], 8080, "export")
    equal(W.controller.ctl("diff", "-f", "-", text=text), (0, "", ""), "diff of the export")


@test
def without_a_controller():
    """the controller killed and started again: nothing is touched, answers go on"""
    W.controller.kill()
    equal(get()["name"], "own", "without one")
    before = sh("nft", "list", "ruleset", ns=HOST)
    W.controller.start()
    until(lambda: W.controller.ctl("status")[0] in (0, 1, 2) and W.controller.told(), "the host is told again")
    equal(sh("nft", "list", "ruleset", ns=HOST), before, "NAT")
    equal(get()["name"], "own", "answer")


@test
def virtual():
    """three virtual machines behind the host by weight, each flow where hash and table say; the dead get none, all dead is down"""
    sh("sysctl", "-qw", "net.ipv4.ip_forward=1", ns=HOST)
    weights = (1, 2, 1)
    vms = {a: Nginx(ns, a, 8080, a) for a, ns in VMS.items()}
    W.controller.apply(vip(delivery={"type": "virtual", "ports": [{"proto": "tcp", "port": 80, "to": 8080}], "targets": {
        DIP: [{"address": a, "weight": w} for a, w in zip(VMS, weights)]}}))

    def states():
        return {c["target"]: c["state"] for c in W.agent.status()["vips"][0]["checks"] if "target" in c}

    def traced(sport):
        way = W.controller.ask("trace", f"{CLIENT}:{sport}", f"{VIP}:80")
        return way["delivery"], way["target"], way["target-port"]

    until(lambda: states() == dict.fromkeys(VMS, "up"), "all targets are up")
    check("10.98.2.2" in W.controller.ctl("vip", "show", VIP)[1], "vip show names the targets")
    for down in (None, "10.98.2.2"):
        if down:
            vms[down].stop()
            until(lambda: states()[down] == "down", "a dead target is down")
            equal(W.controller.down(), {}, "the DIP isn't")
        table = model.Table([(a, w, a == down) for a, w in zip(VMS, weights)])
        for sport in range(21000, 21020):
            sport += 100 if down else 0
            want = table.choose(CLIENT, VIP, 6, sport, 80, model.key_level2(KEY))
            equal(get(sport=sport), {"name": want, "client": CLIENT}, f"flow from port {sport}")
            until(lambda: traced(sport) == ("virtual", want, 8080), f"duetctl trace knows the target of a flow from port {sport}: {want}")
    for web in vms.values():
        web.stop()
    until(lambda: W.controller.down().get(DIP), "all dead: the DIP is down")


@test
def racks():
    """traffic is counted by the client's rack as the topology has it, and the controller shows the shares"""
    def shares():
        return next((t["sources"] for t in W.controller.ask("traffic")["traffic"] if t["vip"] == VIP and "sources" in t), {})

    number = [0]

    def some():
        """three packets from a rack for each from outside"""
        for source in ("192.0.2.9", "192.0.3.9", "192.0.2.10", "198.51.100.7"):
            number[0] += 1
            W.wire.tunnel(base.ip4(source, VIP, 17, delivery.udp(9, 7, b"r" * 100)))
        return abs(shares().get("tor2", 0) - 0.75) < 0.02 and abs(shares().get("internet", 0) - 0.25) < 0.02

    W.controller.apply({**vip(), "rules": vip()["rules"] + [{"proto": "udp", "port": 7, "dips": [{"address": DIP}]}]})
    until(some, "three quarters from tor2, the rest from outside", 40)
    print(f"# {number[0]} packets, shares {shares()}")
    until(lambda: W.agent.ask("GET", "/v1/status")[1]["racks"], "the agent says which list of racks it counts by")


@test
def checks():
    """the other kinds of checks: expected body, Host, a command, an explicit first state"""
    flag = os.path.join(base.DIR, "flag")

    def with_check(**more):
        W.controller.apply({"vip": VIP, "name": "web", "delivery": {"type": "nat"}, "rules": [
            {"proto": "tcp", "port": 8080, "dips": [{"address": DIP}], "check": {**CHECK, **more}}]})

    with_check(body="own")
    until(lambda: up() and not W.controller.down(), "the body is what it should be")
    with_check(body="other", host="www.example.com")
    until(lambda: "other" in W.controller.down().get(DIP, ""), "another body: down, with the reason")
    with open(flag, "w", encoding="ascii"):
        pass
    os.chmod(base.DIR, 0o755)
    os.mkdir(os.path.join(base.DIR, "checks"), 0o755)
    with open(os.path.join(base.DIR, "checks", "flag"), "w", encoding="ascii") as f:
        f.write(f"#!/bin/sh\ntest -e {flag}\n")
    os.chmod(os.path.join(base.DIR, "checks", "flag"), 0o755)
    with_check(type="command", command="flag")
    until(lambda: "off on this host" in str(W.controller.ask("status")), "a host that allows no commands says so")
    W.agent.stop()
    with open(W.agent.conf, "a", encoding="ascii") as f:
        f.write(f"[checks]\ncommand-dir = {base.DIR}/checks\n")
    W.agent.start()
    until(lambda: not W.controller.down(), "a command's opinion")
    os.unlink(flag)
    until(lambda: "status 1" in W.controller.down().get(DIP, ""), "its other opinion")
    W.nginx.stop()


@test
def gone():
    """delivery to lo again: nothing of NAT is left; the VIP deleted: it is gone from the host"""
    W.controller.apply(vip())
    until(lambda: "duet" not in sh("nft", "list", "tables", ns=HOST), "no table of ours")
    web = Nginx(HOST, VIP, 80, "lo")
    try:
        until(lambda: up() and get()["name"] == "lo", "a service at the VIP itself")
    finally:
        web.stop()
    W.controller.apply()
    until(lambda: not W.agent.status()["vips"] and VIP not in sh("ip", "addr", "show", "dev", "lo", ns=HOST), "no VIP")


@test
def refused():
    """what can't be is refused with a sentence that says what is wrong with what, and changes nothing"""
    before = W.controller.ctl("export")[1]

    def no(delivery_of, *words, **more):
        path = W.controller.write("bad.json", json.dumps({"vips": [vip(delivery=delivery_of, **more)]}))
        code, _, said = W.controller.ctl("apply", "-f", path)
        check(code == 1 and VIP in said and all(w in said for w in words), f"{delivery_of}: {code} {said!r} has not {words}")
        equal(W.controller.ctl("export")[1], before, "the configuration")

    target = {"address": "10.98.1.2"}
    no("nat", "object")
    no({}, "type")
    no({"type": "magic"}, "lo, nat or virtual", "magic")
    no({"type": "nat", "port": 80}, "no such member", "port")
    no({"type": "lo", "ports": [{"proto": "tcp", "port": 80}]}, "changes no ports")
    no({"type": "lo", "targets": {DIP: [target]}}, DIP, "has no targets")
    no({"type": "nat", "ports": [{"proto": "icmp", "port": 80}]}, "tcp or udp")
    no({"type": "nat", "ports": [{"proto": "tcp", "port": 80, "to": 70000}]}, "1 to 65535")
    no({"type": "nat", "ports": [{"proto": "tcp", "port": 80, "to": 1}, {"proto": "tcp", "port": 80, "to": 2}]}, "tcp port 80", "twice")
    no({"type": "nat", "ports": [{"proto": "tcp", "port": 443, "to": 8443}]}, "no rule", "tcp port 443")
    no({"type": "nat", "targets": {DIP: [target, {"address": "10.98.2.2"}]}}, "one target")
    no({"type": "virtual"}, DIP, "needs 1 to")
    no({"type": "virtual", "targets": []}, "object")
    no({"type": "virtual", "targets": {DIP: [target, target]}}, DIP, "twice")
    no({"type": "virtual", "targets": {DIP: [target], "10.9.9.9": [target]}}, "10.9.9.9", "no DIP")
    no({"type": "virtual", "targets": {DIP: [{"address": "127.0.0.1"}]}}, "127.0.0.1")
    no({"type": "virtual", "targets": {DIP: [{"address": "2001:db8::1"}]}}, "one family")
    no({"type": "virtual", "targets": {DIP: [{"address": "203.0.113.77"}]}}, "203.0.113.77", "aggregate")
    no({"type": "virtual", "targets": {DIP: [dict(target, weight=0)]}}, "weight 0")
    no({"type": "virtual", "targets": {DIP: [dict(target, wieght=1)]}}, "wieght")


def main():
    def end():
        if W.nginx:
            W.nginx.stop()
        W.controller.kill()
        W.controller.smux.stop()
        W.tunnel.stop()
        cleanup()

    def begin():
        setup()
        W.nginx, W.agent, W.wire = None, None, delivery.Wire6()
        W.tunnel = base.Tunnel()
        return None

    # the bed is made by test_host_delivery's main(): here with our controller, a mux that is there all the time, and no web server
    setup, cleanup = base.setup, base.cleanup
    base.Controller, base.Web = Controller, lambda port: None
    base.setup, base.cleanup = begin, end
    return delivery.main()


if __name__ == "__main__":
    sys.exit(main())
