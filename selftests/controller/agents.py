# SPDX-License-Identifier: GPL-2.0
"""Agents that speak the REST contract and keep no kernel: they can be slow,
full, dead or newer, and they watch what the controller does with all of them
at once (class Watch). The real agents are in test_controller.py."""
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from fabric import rest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "model"))
from duet_model import fingerprint  # noqa: E402


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass	# a controller killed in the middle of a request


class Agent:
    """A REST server on a port of the loopback that can be stopped and started."""

    def __init__(self, name, port):
        self.name, self.port, self.server = name, port, None
        self.instance_count = 0
        self.lock = threading.RLock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        agent = self
        self.instance_count += 1
        self.instance = f"{self.name}-{self.instance_count}"
        self.epoch = self.generation = 0
        self.reset()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                url = urlsplit(self.path)
                query = {k: v[0] for k, v in parse_qs(url.query).items()}
                try:
                    status, out = agent.handle(self.command, url.path, json.loads(body) if body else {}, query)
                except ConnectionAbortedError:
                    self.close_connection = True
                    return
                data = json.dumps(out).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_DELETE = answer

            def log_message(self, *args):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self):
        """As kill -9: connections are cut"""
        server, self.server = self.server, None
        if server:
            self.dead = True
            server.shutdown()
            server.server_close()

    def reset(self):
        self.dead = False

    def unfenced(self, method, path):
        """DELETE /v1/fence: whoever commands next is obeyed"""
        if (method, path) != ("DELETE", "/v1/fence"):
            return False
        self.epoch = self.generation = 0
        return True

    def stale(self, epoch, generation):
        if (epoch, generation) < (self.epoch, self.generation):
            return 409, {"title": "stale", "status": 409, "detail": "older than what is held", "epoch": self.epoch,
                         "generation": self.generation}
        self.epoch, self.generation = epoch, generation
        return None


def provisioned(vip):
    """What of a VIP makes its table, health apart"""
    return json.dumps([vip.get("key", 0), [[r.get("proto"), r.get("port"), sorted((d["address"], d["weight"]) for d in r["dips"])]
                                           for r in vip["rules"]]])


class Mux(Agent):
    """Exports `lag` seconds after it was told, lets go `lag` after too."""

    def __init__(self, name, port, watch, smux=False, tunnels=512, lag=0.005):
        super().__init__(name, port)
        self.watch, self.smux, self.tunnels, self.lag = watch, smux, tunnels, lag
        self.puts, self.refuse = [], None
        self.fingerprints = {}	# of the keys it was sent last
        self.no_status = False	# it answers no poll
        self.says = {}		# members of its status that replace its own
        self.fails = None	# (status, sentence) that every push is answered with
        self.lies = set()	# VIPs of which it tells other tables than it was sent
        self.vips = {}		# like the kernel's: survive the agent
        self.export = {}	# VIP: (exported from now on, since when)
        watch.muxes.append(self)

    def reset(self):
        super().reset()
        self.synced = False

    def exported(self, vip):
        now, was = self.export.get(vip, (False, 0))
        return now if time.monotonic() - was >= self.lag else not now

    def set(self, vip):
        old = self.vips.get(vip["vip"])
        others = {d["address"] for a, v in self.vips.items() if a != vip["vip"] for r in v["rules"] for d in r["dips"]}
        need = {d["address"] for r in vip["rules"] for d in r["dips"]}
        if self.refuse:
            return self.refuse
        slot = ("key", "key1")[vip.get("key", 0)] + "-fingerprint"
        if self.fingerprints and slot not in self.fingerprints:
            self.watch.say(f"VIP {vip['vip']}: {self.name} is told to choose by a key that it hasn't got")
        had = {d["address"] for r in old["rules"] for d in r["dips"]} if old else set()
        if self.tunnels and need - had and len(others | need) > self.tunnels:
            return f"tunnelling table full: {len(others)} of {self.tunnels} entries used"
        self.vips[vip["vip"]] = {"vip": vip["vip"], "rules": vip["rules"], "key": vip.get("key", 0)}
        want = vip["announce"] == "yes" and not self.smux
        if want != self.export.get(vip["vip"], (False, 0))[0]:
            self.export[vip["vip"]] = (want, time.monotonic())
        return None

    def drop(self, vip):
        if self.export.get(vip, (False, 0))[0]:
            self.export[vip] = (False, time.monotonic())
        self.vips.pop(vip, None)

    def status_of(self, vip):
        v = self.vips[vip]
        return {"vip": vip, "state": "announced" if self.exported(vip) else "programmed", "exported": self.exported(vip),
                "rules": [dict(r, digest=f"{hash(json.dumps(r['dips'], sort_keys=True)) + (vip in self.lies) & (1 << 64) - 1:016x}")
                          for r in v["rules"]]}

    def handle(self, method, path, body, query):
        if self.dead:
            raise ConnectionAbortedError
        with self.watch.lock:
            if self.unfenced(method, path):
                return 200, {}
            answer = self.locked(method, path, body, query)
            if method != "GET":
                self.puts.append((time.monotonic(), method, path, body))
                self.watch.look()
            return answer

    def locked(self, method, path, body, query):
        vip = path.rsplit("/", 1)[1] if path.startswith("/v1/vips/") else None
        if method == "GET" and path == "/v1/status" and self.no_status:
            return 503, {"detail": "no status now"}
        if method == "GET" and path == "/v1/status":
            return 200, {"name": self.name, "mode": "smux" if self.smux else "hmux", "instance": self.instance,
                         "epoch": self.epoch, "generation": self.generation, "synced": self.synced,
                         "device": {"limits": {"tunnels": self.tunnels}, "used": {}, **self.fingerprints}, "bird": {"state": "up"},
                         "vips": [self.status_of(v) for v in self.vips], **self.says}
        if method == "GET":
            return (200, self.status_of(vip)) if vip in self.vips else (404, {"detail": f"no VIP {vip}"})
        if self.fails:
            return self.fails[0], {"detail": self.fails[1]}
        source = query if method == "DELETE" else body
        held = self.stale(int(source["epoch"]), int(source["generation"]))
        if held:
            return held
        if method == "PUT" and path == "/v1/state":
            refused = []
            self.fingerprints = {f"{key}-fingerprint": fingerprint(body[key]) for key in ("key", "key1") if key in body}
            for old in set(self.vips) - {v["vip"] for v in body["vips"]}:
                self.drop(old)
            for v in body["vips"]:
                why = self.set(v)
                if why:
                    refused.append({"vip": v["vip"], "reason": why})
            self.synced = True
            return 200, {"changed": {}, "refused": refused}
        if method == "PUT":
            why = self.set(body)
            return (507, {"detail": why}) if why else (200, self.status_of(vip))
        if vip not in self.vips:
            return 404, {"detail": f"no VIP {vip}"}
        self.drop(vip)
        return 202, {}


class Host(Agent):
    """ports: a Ports that looks at all SNAT ports it is told, or None"""

    def __init__(self, name, port, address, ports=None):
        super().__init__(name, port)
        self.address, self.seq, self.state, self.puts, self.ports = address, 0, None, 0, ports
        self.racks = None	# what it says of the list of racks it counts by; None: nothing
        self.slow = None	# a threading.Event: states are taken when it is set
        self.asked = 0		# how often it was told a state, taken or not yet

    def handle(self, method, path, body, query):
        if self.dead:
            raise ConnectionAbortedError
        if self.unfenced(method, path):
            return 200, {}
        if method == "PUT" and path == "/v1/state":
            self.asked += 1
            if self.slow:
                self.slow.wait(60)
        with self.lock:
            if method == "PUT" and path == "/v1/state":
                held = self.stale(body["epoch"], body["generation"])
                if held:
                    return held
                if self.ports:
                    self.ports.told(self.name, body["snat"])
                self.state = body
                self.puts += 1
                return 200, {}
            return 200, {"instance": self.instance}

    def blocks(self, vip):
        """first ports of its blocks, the first told first"""
        return [b["first"] for b in self.state["snat"] if b["vip"] == vip] if self.state else []

    def report(self, controller, states, snat=None):
        """states: [(VIP, rule, "up" | "down")]; snat: see using()"""
        self.seq += 1
        return rest("POST", controller + "/v1/reports", {
            "host": self.name, "instance": self.instance, "seq": self.seq,
            "dips": [{"vip": v, "dip": self.address, "rule": r, "state": s, "reason": "test", "since-ms": 1}
                     for v, r, s in states], "traffic": [],
            **({"snat": snat} if snat else {}), **({} if self.racks is None else {"racks": self.racks})})

    def using(self, vip, share, exhausted=0):
        """"snat" of a report: of each block this share of the ports is in use, towards one destination"""
        ranges = [dict(first=b["first"], last=b["last"], used=int((b["last"] - b["first"] + 1) * share))
                  for b in self.state["snat"] if b["vip"] == vip]
        ports, used = sum(r["last"] - r["first"] + 1 for r in ranges), sum(r["used"] for r in ranges)
        return {"exhausted": exhausted, "vips": [{"vip": vip, "ports": ports, "used": used, "fit": ports, "busiest": used,
                                                  "ranges": ranges}]}


class Ports:
    """What must hold of SNAT ports at every moment: nobody is told one that another has, or had `quarantine` s ago."""

    def __init__(self, quarantine):
        self.lock = threading.Lock()
        self.quarantine, self.has, self.had, self.wrong, self.gone, self.seen = quarantine, {}, {}, [], set(), 0

    def told(self, host, blocks):
        now = time.monotonic()
        mine = {(b["vip"], port) for b in blocks for port in range(b["first"], b["last"] + 1)}
        with self.lock:
            for key in [k for k, h in self.has.items() if h == host and k not in mine]:
                del self.has[key]
                if host not in self.gone:
                    self.had[key] = (host, now)
            for key in mine:
                other, (last, when) = self.has.get(key), self.had.get(key, (host, 0))
                if other not in (None, host) and other not in self.gone:
                    self.wrong.append(f"{host} is told port {key}, which {other} has")
                if last != host and now - when < self.quarantine:
                    self.wrong.append(f"{host} is told port {key}, which {last} had {now - when:.2f} s ago")
                self.has[key] = host
            self.seen += 1


class Watch:
    """What must hold of all muxes at every moment, looked at after every change."""

    def __init__(self):
        self.lock = threading.RLock()
        self.muxes, self.must, self.wrong = [], set(), []

    def look(self):
        smuxes = [m for m in self.muxes if m.smux]
        for vip in self.must:
            exporting = [m for m in self.muxes if not m.smux and (m.export.get(vip, (0, 0))[0] or m.exported(vip))
                         and not m.dead]
            holders = [m for m in smuxes if vip in m.vips]
            if not holders:
                self.say(f"VIP {vip}: no SMux holds it")
            if len(exporting) > 1:
                self.say(f"VIP {vip} is exported by {' and '.join(m.name for m in exporting)}")
            for m in exporting:
                if vip not in m.vips:
                    if m.exported(vip):
                        self.say(f"VIP {vip}: {m.name} exports it and has dropped it")
                elif any(provisioned(s.vips[vip]) != provisioned(m.vips[vip]) for s in holders):
                    self.say(f"VIP {vip}: {m.name} exports it with another table than an SMux")

    def say(self, text):
        if text not in self.wrong:
            self.wrong.append(text)
