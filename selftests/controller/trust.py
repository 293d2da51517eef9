# SPDX-License-Identifier: GPL-2.0
"""A controller with certificates, and whoever may attack it: requests in any
name, and how long a DIP's death takes to reach all muxes meanwhile."""
import http.client
import json
import os
import ssl
import statistics
import threading
import time

from ctl import Certificates
from fabric import BIN, rest, sentences, until
from test_moves import DIPS, Lab, dip_states, vip


class Caller:
    """One who speaks https with a certificate (or none), on one connection"""

    def __init__(self, lab, name):
        self.lab, self.name, self.connection = lab, name, None
        self.tls = ssl.create_default_context(cafile=lab.certificates.files("ctl")[2])
        if name:
            self.tls.load_cert_chain(*lab.certificates.files(name)[:2])

    def __call__(self, method, path, body=None, headers=None, raw=None):
        """(status, headers, JSON or text)"""
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        heads = {"Content-Type": "application/json"} if data is not None else {}
        for last in (False, True):
            try:
                if not self.connection:
                    self.connection = http.client.HTTPSConnection("127.0.0.1", self.lab.port, context=self.tls, timeout=30)
                self.connection.request(method, path, data, {**heads, **(headers or {})})
                answer = self.connection.getresponse()
                text = answer.read().decode()
                break
            except (http.client.HTTPException, OSError):	# an idle one that the controller has cut
                self.connection = None
                if last:
                    raise
        try:
            return answer.status, answer.headers, json.loads(text)
        except ValueError:
            return answer.status, answer.headers, text


class TrustLab(Lab):
    """Lab with TLS: alice is admin, eve a reader, the hosts' certificates have their names"""

    def __init__(self, place, extra=""):
        super().__init__(place)
        self.certificates = Certificates(place)
        self.people = ["ctl", "alice", "eve", "nosan"] + list(self.host) + ["core1"]
        for name in self.people:
            self.certificates.make(name)
        self.sock = place.path("ctl.sock")
        self.conf = place.write("controller.conf",
                                f"[controller]\nname=test\nlisten=127.0.0.1:{self.port} unix:{self.sock}\nstore={place.path('store.sqlite')}\n"
                                f"topology={self.dot}\naggregate=203.0.113.0/24\nauth=required\nadmins=alice,uid:{os.geteuid()}\nreaders=eve\n"
                                f"agents={','.join(list(self.host) + ['core1'])}\n{self.certificates.keys('ctl')}{extra}")
        self.callers, self.seq = {}, {}

    def as_(self, name, method, path, body=None, **more):
        if name not in self.callers:
            self.callers[name] = Caller(self, name)
        return self.callers[name](method, path, body, **more)

    def start(self, learn=0, hold=0):
        self.child = self.place.run(f"{BIN}/duet-controller", "-c", self.conf)
        there = until(lambda: self.get("/v1/status")["muxes"]["total"] == 13, 30)
        if there:
            self.put("/v1/control", {"change-learn-s": learn, "change-hold-s": hold})
        return there

    def get(self, path):
        return self.as_("alice", "GET", path)[2]

    def put(self, path, body):
        return self.as_("alice", "PUT", path, body)[2]

    def post(self, path, body=None):
        return self.as_("alice", "POST", path, body if body is not None else {})[2]

    def report(self, host, sender=None, **parts):
        """status of a report of this host, sent with that certificate (its own)"""
        self.seq[host] = self.seq.get(host, 0) + 1
        body = {"host": host, "instance": self.host[host].instance, "seq": self.seq[host], "dips": [], "traffic": [], **parts}
        return self.as_(sender or host, "POST", "/v1/reports", body)[0]

    def dips(self, host, state, vips=range(1, 9)):
        address = self.host[host].address
        return [{"vip": f"203.0.113.{n}", "dip": address, "rule": 0, "state": state, "reason": "test", "since-ms": 1} for n in vips]

    def counters(self, host, bytes_, vips=range(1, 9), racks=None):
        return [{"vip": f"203.0.113.{n}", "dip": self.host[host].address, "bytes": bytes_, **({"racks": racks} if racks else {})} for n in vips]

    def faults(self):
        return sentences(self.get("/v1/status"))

    def memory(self):
        """resident MiB of the controller"""
        with open(f"/proc/{self.child.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024

    def states(self, address):
        """states of a DIP, as all muxes that hold a VIP of it have it"""
        with self.watch.lock:
            return {s for m in self.mux.values() if m.server for v in m.vips for a, s in dip_states(m, v).items() if a == address}


class Health:
    """Deaths and recoveries of a DIP of srv8, one after the other, and how long each takes to be on every mux"""

    def __init__(self, lab):
        self.lab, self.ms, self.stop = lab, [], threading.Event()

    def run(self):
        """a thread: it has a connection of its own"""
        call, seq = Caller(self.lab, "srv8"), 1000
        down = False
        while not self.stop.is_set():
            down, seq = not down, seq + 1
            want = "down" if down else "up"
            start = time.monotonic()
            call("POST", "/v1/reports", {"host": "srv8", "instance": self.lab.host["srv8"].instance, "seq": seq,
                                         "dips": self.lab.dips("srv8", want, [6, 8]), "traffic": []})
            if down:
                if not until(lambda: self.lab.states(self.lab.host["srv8"].address) == {"down"}, 20):
                    return
                self.ms.append((time.monotonic() - start) * 1000)
            self.stop.wait(0.02)

    def __enter__(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *what):
        self.stop.set()
        self.thread.join(30)

    def told(self, tap, attack, worst=50):
        median, top = (statistics.median(self.ms), max(self.ms)) if self.ms else (-1, -1)
        print(f"# trust: health_ms_under_attack {attack} median {median:.1f} worst {top:.1f} n {len(self.ms)}", flush=True)
        worst *= float(os.environ.get("DUET_PATIENCE", 1))
        tap.ok(self.ms and median < worst, f"under {attack} a DIP's death is on all muxes within {worst:.0f} ms", self.ms)


def configured(tap, lab):
    """eight VIPs on the SMuxes, each with three DIPs; VIPs 6 and 8 have srv8"""
    tap.ok(lab.start(), "the controller starts, with certificates")
    lab.put("/v1/config", {"vips": [vip(n, DIPS[(n - 1) % 6:(n - 1) % 6 + 3], 1000 - 50 * n) for n in range(1, 8)] + [vip(8, DIPS[5:8])]})
    tap.ok(lab.settled(), "eight VIPs are on all muxes", lab.get("/v1/status"))
    return lab
