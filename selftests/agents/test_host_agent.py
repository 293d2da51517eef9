#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-host-agent against hand-made tunnel packets, in two network namespaces.

   peer (client, muxes)  10.99.0.0 p0 ---- e0 10.99.0.1  host (the agent, a web server)
The peer routes the VIPs to the host's address, so answers with the VIP as source come straight back.
"""
import array
import ctypes
import fcntl
import http.client
import http.server
import json
import os
import select
import signal
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.environ.get("O", os.path.join(TOP, "out"))
AGENT = os.path.join(OUT, "bin", "duet-host-agent")
PEER, HOST = f"dha-p{os.getpid()}", f"dha-h{os.getpid()}"
MUX, OTHER, CLIENT, DIP = "10.99.9.1", "10.99.9.2", "10.99.0.0", "10.99.0.1"
VIP, VIP2, NOT_SERVED = "203.0.113.1", "203.0.113.2", "203.0.113.9"
LIBC = ctypes.CDLL(None, use_errno=True)
PATIENCE = int(os.environ.get("DUET_PATIENCE", "1"))    # every deadline times this
DIR = tempfile.mkdtemp(prefix="dha-")
TESTS = []


class Failed(Exception):
    pass


def test(function):
    TESTS.append(function)
    return function


def equal(got, want, what):
    if got != want:
        raise Failed(f"{what}: got {got!r}, want {want!r}")


def check(condition, what):
    if not condition:
        raise Failed(what)


def until(probe, what, seconds=10):
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {what}")
        select.select([], [], [], 0.02)


def sh(*args, ns=None, ok=True):
    done = subprocess.run((("ip", "netns", "exec", ns) if ns else ()) + args, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if ok and done.returncode:
        raise Failed(f"{' '.join(args)}: {done.stdout.strip()}")
    return done.stdout


class inside:
    """with inside(ns): sockets made here belong to that namespace (of this thread)."""

    def __init__(self, ns):
        self.ns = ns

    def __enter__(self):
        self.own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        other = os.open(f"/run/netns/{self.ns}", os.O_RDONLY)
        if LIBC.setns(other, 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(other)

    def __exit__(self, *_):
        LIBC.setns(self.own, 0x40000000)
        os.close(self.own)


def csum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip4(src, dst, proto, payload, tos=0, frag=0):
    def head(check_sum):
        return struct.pack("!BBHHHBBH4s4s", 0x45, tos, 20 + len(payload), 7, frag, 64, proto, check_sum,
                           socket.inet_aton(src), socket.inet_aton(dst))
    return head(csum(head(0))) + payload


def echo(number):
    body = struct.pack("!BBHHH", 8, 0, 0, 4711, number) + b"duet" * 4
    return body[:2] + struct.pack("!H", csum(body)) + body[4:]


class Wire:
    """The peer's end: sends frames, sees what comes back."""

    def __init__(self):
        with inside(PEER):
            self.s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
            self.s.bind(("p0", 0x0800))
        mine = self.s.getsockname()[4]
        theirs = json.loads(sh("ip", "-j", "-n", HOST, "link", "show", "e0"))[0]["address"]
        self.header = bytes.fromhex(theirs.replace(":", "")) + mine + b"\x08\x00"
        self.number = 0

    def tunnel(self, inner, src=MUX, dst=DIP, tos=0, frag=0):
        self.s.send(self.header + ip4(src, dst, 4, inner, tos, frag))

    def ping(self, vip=VIP, **outer):
        """An echo request through the tunnel; its number."""
        self.number += 1
        self.tunnel(ip4(CLIENT, vip, 1, echo(self.number)), **outer)
        return self.number

    def answer(self, number, seconds=3):
        """IP header fields of the echo reply with that number, or None."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.s], [], [], left)[0]:
                return None
            p = self.s.recv(70000)[14:]
            if p[9] == 1 and p[20] == 0 and struct.unpack("!HH", p[24:28]) == (4711, number):
                return {"src": socket.inet_ntoa(p[12:16]), "dst": socket.inet_ntoa(p[16:20]), "tos": p[1]}


class Web:
    """A server in the host's namespace, started and stopped at will."""

    def __init__(self, port, address="0.0.0.0"):
        self.status, self.at, self.server = 200, (address, port), None
        self.start()

    def start(self):
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = self.server.server_name.encode() + b" says hello"
                self.send_response(web.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def server_bind(self):
                socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.socket.bind(self.server_address)
                self.server_name, self.server_port = "host", self.server_address[1]

            def handle_error(self, *_):
                pass

        with inside(HOST):
            self.server = Server(self.at, Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def nginx(ns, listen, reply):
    """nginx in a namespace: the one process, that answers reply. It unlinks its pid file at its end: never /dev/null."""
    path = os.path.join(DIR, f"nginx-{ns}-{listen}.conf")
    with open(path, "w", encoding="ascii") as f:
        f.write(f"daemon off; master_process off; pid {path}.pid; error_log /dev/null;\nevents {{}}\n"
                f"http {{ access_log off; server {{ listen {listen}; location / {{ return 200 '{reply}'; }} }} }}\n")
    return subprocess.Popen(["ip", "netns", "exec", ns, "nginx", "-c", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Controller:
    """Takes reports."""

    def __init__(self, port=8470, leads=None):
        self.reports = []
        self.stopped = False
        self.leads = leads	# as a standby says it, or the leader among several; None: it says nothing of it
        got, controller = self.reports, self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                if controller.stopped:	# what is open is closed, as by the end of a process
                    self.close_connection = True
                    return
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                got.append((time.monotonic(), self.path, body))
                answer = b'{"epoch":1,"generation":1}' if controller.leads is None else json.dumps({"leads": controller.leads, "interval-ms": 400}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass

        with inside(HOST):
            self.server = Server(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.stopped = True
        self.server.shutdown()
        self.server.server_close()

    def state(self, vip=VIP):
        """The state of vip in the latest report."""
        if self.reports:
            for dip in self.reports[-1][2]["dips"]:
                if dip["vip"] == vip:
                    return dip["state"]
        return None


class Agent:
    def __init__(self):
        self.conf = os.path.join(DIR, "host-agent.conf")
        with open(self.conf, "w", encoding="ascii") as f:
            f.write("[agent]\nname = testhost\nlisten = 127.0.0.1:8472\ninsecure = yes\ncontroller = http://127.0.0.1:8470\n"
                    f"[host]\ninterface = e0\naddress = {DIP}\nmanage_sysctl = yes\n")
        self.generation = 0
        self.start()

    def start(self):
        self.log = open(os.path.join(DIR, "agent.log"), "a", encoding="utf-8")
        self.child = subprocess.Popen(["ip", "netns", "exec", HOST, AGENT, "-c", self.conf], stderr=self.log)
        until(self.healthy, "the agent answers", 120)

    def healthy(self):
        if self.child.poll() is not None:
            raise Failed(f"the agent ended with {self.child.returncode}: {self.text()}")
        try:
            return self.ask("GET", "/healthz", raw=True)[0] == 200
        except OSError:
            return False

    def text(self):
        with open(os.path.join(DIR, "agent.log"), encoding="utf-8") as f:
            return f.read()

    def stop(self, how=signal.SIGTERM):
        self.child.send_signal(how)
        return self.child.wait(10 * PATIENCE)

    def ask(self, method, path, body=None, raw=False):
        with inside(HOST):
            c = http.client.HTTPConnection("127.0.0.1", 8472, timeout=5 * PATIENCE)
            c.connect()
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        c.request(method, path, body)
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        return r.status, text if raw else json.loads(text)

    def status(self):
        return self.ask("GET", "/v1/status")[1]

    def counter(self, name):
        return self.status()["counters"][name]

    def put(self, *vips, muxes=(MUX,), epoch=1, generation=None, ok=True):
        if generation is None:
            self.generation += 1
            generation = self.generation
        status, answer = self.ask("PUT", "/v1/state", {"epoch": epoch, "generation": generation,
                                                       "muxes": list(muxes), "vips": list(vips)})
        if ok:
            equal(status, 200, f"PUT /v1/state ({answer})")
        return status, answer


def vip(address=VIP, *checks):
    return {"vip": address, "dip": DIP, "checks": list(checks)}


HTTP_CHECK = {"rule": 0, "type": "http", "port": 80, "path": "/", "expect": 200, "interval_ms": 50, "timeout_ms": 200,
              "rise": 2, "fall": 2}


def kernel_state():
    """All that a restart must not change: addresses with their order, filters, program."""
    addresses = json.loads(sh("ip", "-j", "-n", HOST, "addr", "show", "dev", "lo"))[0]["addr_info"]
    return [a["local"] for a in addresses if a["family"] == "inet"], sh("tc", "-n", HOST, "filter", "show", "dev", "e0", "ingress")


def setup():
    for ns in (PEER, HOST):
        sh("ip", "netns", "add", ns)
        sh("ip", "-n", ns, "link", "set", "lo", "up")
    sh("ip", "-n", PEER, "link", "add", "p0", "type", "veth", "peer", "name", "e0", "netns", HOST)
    sh("ip", "-n", PEER, "addr", "add", f"{CLIENT}/31", "dev", "p0")
    sh("ip", "-n", HOST, "addr", "add", f"{DIP}/31", "dev", "e0")
    sh("ip", "-n", PEER, "link", "set", "p0", "up")
    sh("ip", "-n", HOST, "link", "set", "e0", "up")
    sh("ip", "-n", HOST, "route", "add", "default", "via", CLIENT)


def cleanup():
    for ns in (PEER, HOST):
        sh("ip", "netns", "del", ns, ok=False)
    shutil.rmtree(DIR)


class World:
    pass


W = World()


@test
def starts_empty():
    """a fresh agent decapsulates nothing and says it was told nothing"""
    s = W.agent.status()
    equal((s["synced"], s["generation"], s["vips"], s["muxes"]), (False, 0, [], []), "status")
    equal(s["decapsulator"]["taken-over"], False, "taken over")
    W.wire.ping()
    equal(W.agent.counter("decapsulated"), 0, "decapsulated")


@test
def decapsulates():
    """from a known mux to a VIP served here: the service answers, source VIP, straight to the client"""
    _, answer = W.agent.put(vip(), vip(VIP2))
    equal(answer["changed"], {"added": 2, "removed": 0, "muxes": 1, "addresses": 2, "checks": 0}, "changed")
    before = W.agent.status()
    for address in (VIP, VIP2):
        got = W.wire.answer(W.wire.ping(address))
        check(got, f"no echo reply from {address}")
        equal((got["src"], got["dst"]), (address, CLIENT), "reply")
    now = W.agent.status()
    equal(now["counters"]["decapsulated"] - before["counters"]["decapsulated"], 2, "decapsulated")
    equal([(v["packets"], v["bytes"]) for v in now["vips"]], [(1, 44), (1, 44)], "packets and bytes of each VIP")
    lo = json.loads(sh("ip", "-j", "-n", HOST, "addr", "show", "dev", "lo"))[0]["addr_info"]
    equal([(a["prefixlen"], a["scope"]) for a in lo if a["local"] == VIP], [(32, "host")], "the VIP on lo")


@test
def not_an_open_decapsulator():
    """unknown source, VIP not served, fragment, no IPv4 inside: not decapsulated, each counted"""
    a, w = W.agent, W.wire

    def refused(counter, send):
        before = a.status()["counters"]
        send()
        until(lambda: a.counter(counter) == before[counter] + 1, f"{counter} counted")
        after = a.status()["counters"]
        equal(after["decapsulated"], before["decapsulated"], f"decapsulated ({counter})")
        changed = [k for k in after if after[k] != before[k]]
        equal(changed, [counter], "counters that moved")

    refused("unknown-source", lambda: w.ping(src=OTHER))
    refused("foreign", lambda: w.ping(NOT_SERVED, src=OTHER))
    refused("not-served", lambda: w.ping(NOT_SERVED))
    refused("not-served", lambda: w.ping(DIP))
    refused("fragment", lambda: w.ping(frag=0x2000))
    refused("malformed", lambda: w.tunnel(b"\x60" + bytes(15) + socket.inet_aton(VIP) + bytes(28)))
    # not IP-in-IP, and IP-in-IP to no DIP of ours: not even counted
    before = a.status()["counters"]
    w.ping(dst="10.99.0.77")
    w.s.send(w.header + ip4(CLIENT, DIP, 1, echo(9999)))
    check(w.answer(9999), "a plain ping of the host is answered")
    equal(a.status()["counters"], before, "counters")


@test
def congestion_marks():
    """ECN by RFC 6040: CE outside is folded into an ECN-capable packet, and drops another"""
    with inside(HOST):
        s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    s.setblocking(False)
    for outer, inner, want in ((3, 2, 3), (3, 1, 3), (0, 2, 2), (1, 2, 1), (2, 1, 1), (3, 0xb8 | 2, 0xb8 | 3), (3, 3, 3)):
        number = send_marked(outer, inner)
        packet = until(lambda number=number: received(s, number), f"a packet marked {outer}/{inner} arrives")
        equal(packet[1], want, f"TOS inside, {outer} outside and {inner:#x} inside")
        equal(csum(packet[:20]), 0, "IP header checksum")
    before = W.agent.counter("ecn")
    send_marked(3, 0)
    until(lambda: W.agent.counter("ecn") == before + 1, "CE outside, Not-ECT inside is dropped and counted")
    s.close()


def send_marked(outer, inner):
    W.wire.number += 1
    W.wire.tunnel(ip4(CLIENT, VIP, 1, echo(W.wire.number), inner), tos=outer)
    return W.wire.number


def received(s, number):
    try:
        while True:
            p = s.recv(2000)
            if p[20] == 8 and struct.unpack("!HH", p[24:28]) == (4711, number):
                return p
    except BlockingIOError:
        return None


@test
def equal_state_changes_nothing():
    """the same state again changes nothing; an older one is refused with what is held; a VIP can go"""
    before = kernel_state()
    _, answer = W.agent.put(vip(VIP2), vip())
    equal(set(answer["changed"].values()), {0}, "changed")
    equal(kernel_state(), before, "addresses and filters")
    status, answer = W.agent.put(generation=W.agent.generation - 1, ok=False)
    equal((status, answer["epoch"], answer["generation"]), (409, 1, W.agent.generation), "older generation")
    status, _ = W.agent.put(epoch=0, generation=99, ok=False)
    equal(status, 409, "older epoch")
    equal(kernel_state(), before, "addresses and filters")
    _, answer = W.agent.put(vip())
    equal((answer["changed"]["removed"], answer["changed"]["addresses"]), (1, 1), "removed")
    check(VIP2 not in kernel_state()[0], "the VIP that went is no longer on lo")
    equal(W.agent.status()["vips"][0]["packets"] > 1, True, "the counter of the other goes on")


@test
def bad_input():
    """bad input gets a sentence and changes nothing"""
    before, held = kernel_state(), W.agent.status()
    good = {"epoch": 1, "generation": 1000, "muxes": [MUX], "vips": [vip()]}

    def no(because, status=400, raw=None, **change):
        got, answer = W.agent.ask("PUT", "/v1/state", raw or {k: v for k, v in {**good, **change}.items() if v is not None})
        equal(got, status, f"status of {change or raw} ({answer})")
        check(because in answer["detail"], f"{answer['detail']!r} has no {because!r}")

    no("JSON", raw="{")
    no("epoch", epoch=None)
    no("generation", generation=-1)
    no("muxes", muxes=None)
    no("vips", vips={})
    no("no address", muxes=["10.1.2"])
    no("no address", vips=[{"vip": "203.0.113.300", "dip": DIP}])
    no("no address of this host", 422, vips=[{"vip": "2001:db8::1", "dip": "2001:db8::2"}])
    no("can't be", vips=[{"vip": "224.0.0.1", "dip": DIP}])
    no("no address of this host", 422, vips=[{"vip": VIP, "dip": "10.77.0.1"}])
    no("own DIP", vips=[{"vip": DIP, "dip": DIP}])
    no("twice", vips=[vip(), vip()])
    no("type", vips=[vip(VIP, {"type": "smtp"})])
    no("port", vips=[vip(VIP, {"type": "tcp"})])
    no("interval_ms", vips=[vip(VIP, {**HTTP_CHECK, "interval_ms": 0})])
    no("path", vips=[vip(VIP, {**HTTP_CHECK, "path": "x"})])
    no("colour", vips=[vip(VIP, {**HTTP_CHECK, "colour": 1})])
    equal(kernel_state(), before, "addresses and filters")
    now = W.agent.status()
    for key in ("epoch", "generation", "muxes", "synced"):
        equal(now[key], held[key], key)
    with open(os.path.join(DIR, "bad.conf"), "w", encoding="ascii") as f:
        f.write("[agent]\nname = x\nlisten = 127.0.0.1\n")
    said = sh(AGENT, "-c", os.path.join(DIR, "bad.conf"), "--check-config", ok=False)
    check("bad.conf:3" in said and "ADDRESS:PORT" in said, f"--check-config says {said!r}")
    said = sh(AGENT, "-c", W.agent.conf, "--check-config").splitlines()
    equal(said[0], f"{W.agent.conf}: ok", "--check-config")
    check(len(said) == 3 and "warning: insecure = yes" in said[1] and "everybody who can connect may do everything" in said[2], f"and who may command it: {said[1:]!r}")


@test
def health():
    """an HTTP check goes up, down, up; each change is reported at once; TCP and ICMP checks too"""
    c = W.controller
    W.agent.put(vip(VIP, HTTP_CHECK))
    until(lambda: c.state() == "up", "reported up")
    W.web.status = 503
    until(lambda: c.state() == "down", "reported down after 503")
    check("503" in c.reports[-1][2]["dips"][0]["reason"], "the report says why")
    W.web.status = 200
    until(lambda: c.state() == "up", "reported up again")
    W.web.stop()
    gone = time.monotonic()
    until(lambda: c.state() == "down", "reported down without a server")
    check(c.reports[-1][0] - gone < 1, "reported within a second, not with the next heartbeat")
    W.web.start()
    until(lambda: c.state() == "up", "reported up once more")
    sequence = [r[2]["seq"] for r in c.reports]
    equal(sequence, sorted(sequence), "numbers of the reports")
    equal({r[1] for r in c.reports}, {"/v1/reports"}, "path")
    equal(c.reports[-1][2]["host"], "testhost", "host")
    W.agent.put(vip(VIP, {**HTTP_CHECK, "type": "tcp"}, {"type": "icmp", "rule": 1, "interval_ms": 50}))
    until(lambda: [d["state"] for d in c.reports[-1][2]["dips"]] == ["up", "up"], "TCP and ICMP reported up")
    W.agent.put(vip(VIP, {**HTTP_CHECK, "port": 81}))
    until(lambda: c.state() == "down", "a TCP port that is closed is down")
    W.agent.put(vip(VIP, HTTP_CHECK))
    until(lambda: c.state() == "up", "up")


@test
def end_of_service():
    """a service that closes its socket is asked after at once, not at its interval"""
    W.agent.put(vip(VIP, {**HTTP_CHECK, "type": "tcp", "rule": 3, "interval_ms": 600000, "timeout_ms": 5000, "rise": 1}))
    until(lambda: W.controller.state() == "up", "up")
    W.web.stop()
    until(lambda: W.controller.state() == "down", "down")
    W.web.start()
    W.agent.put(vip(VIP, HTTP_CHECK))
    until(lambda: W.controller.state() == "up", "up again")


@test
def answers_only_at_its_own_address():
    """a service that answers at the DIP but not as the VIP is down"""
    web = Web(8081, DIP)
    W.agent.put(vip(VIP, {**HTTP_CHECK, "port": 8081}))
    until(lambda: W.controller.state() == "down", "down")
    web.stop()
    W.agent.put(vip(VIP, HTTP_CHECK))
    until(lambda: W.controller.state() == "up", "up")


@test
def heartbeat():
    """reports come every two seconds, with traffic that only grows"""
    n = len(W.controller.reports)
    until(lambda: len(W.controller.reports) >= n + 3, "three more reports", 10)
    a, b = W.controller.reports[n + 1:n + 3]	# the first can be of what changed just before
    check(1.5 < b[0] - a[0] < 3, f"{b[0] - a[0]:.2f} s between two reports")
    W.wire.answer(W.wire.ping())
    until(lambda: W.controller.reports[-1][2]["traffic"][0]["packets"] == b[2]["traffic"][0]["packets"] + 1,
          "a packet more in the report")


@test
def several_controllers():
    """every report goes to every controller; the leader's word counts; without one it is looked for until there is one"""
    with open(W.agent.conf, encoding="ascii") as f:
        before = f.read()
    many = [Controller(8480, False), Controller(8481, True), Controller(8482, False)]

    def conf(urls):
        with open(W.agent.conf, "w", encoding="ascii") as f:
            f.write(before.replace("http://127.0.0.1:8470", urls))
    for urls, why in (("http://127.0.0.1:8480;http://127.0.0.1:8481", "blanks or commas"), ("http://127.0.0.1:8480http://127.0.0.1:8481", "blanks or commas"),
                      ("http://127.0.0.1:8480 http://127.0.0.1:8480/", "given twice"), ("http://127.0.0.1:8480, https://127.0.0.1:8481", "needs tls-cert"),
                      (" ".join(f"http://127.0.0.1:{n}" for n in range(9)), "more than 8"), (",", "empty"), ("http://a,b", "https://ADDRESS:PORT")):
        conf(urls)
        said = sh(AGENT, "-c", W.agent.conf, "--check-config", ok=False)
        check(why in said, f"--check-config of {urls} says {said!r}")
    conf("http://127.0.0.1:8480, http://127.0.0.1:8481 http://127.0.0.1:8482")
    check(": ok" in sh(AGENT, "-c", W.agent.conf, "--check-config"), "three are good")
    W.agent.stop()
    W.agent.start()
    try:
        until(lambda: all(len(c.reports) > 3 for c in many), "reports at all three", 10)
        seqs = [{r[2]["seq"] for r in c.reports} for c in many]
        check(len(seqs[0] & seqs[1] & seqs[2]) >= 2, f"the same reports: {seqs}")
        said = W.agent.status()["reports"]
        equal([c["leads"] for c in said["controllers"]], [False, True, False], "who leads, in the status")
        check(said["controller"].startswith("http://127.0.0.1:8481"), f"the leader is shown: {said}")
        a, b = many[1].reports[-2:]
        check(b[0] - a[0] < 1.5, "as often as the leader asks")
        many[1].stop()
        n = len(many[2].reports)
        until(lambda: len(many[2].reports) > n + 3, "reports go on without a leader", 10)
        times = [r[0] for r in many[2].reports[n:]]
        check(max(y - x for x, y in zip(times, times[1:])) < 1, "at least as often as before")
        many[2].leads, n = True, len(many[2].reports)
        until(lambda: len(many[2].reports) > n + 2 and W.agent.status()["reports"]["controller"].startswith("http://127.0.0.1:8482"), "the next leader is found", 10)
    finally:
        W.agent.stop()
        with open(W.agent.conf, "w", encoding="ascii") as f:
            f.write(before)
        for c in (many[0], many[2]):
            c.stop()
        W.agent.start()


@test
def killed():
    """kill -9 and SIGTERM leave all in place; restart takes over without a gap and changes nothing"""
    for how in (signal.SIGKILL, signal.SIGTERM):
        before, program = kernel_state(), W.agent.status()
        equal(W.agent.stop(how), -9 if how == signal.SIGKILL else 0, "exit status")
        equal(kernel_state(), before, "addresses and filters without the agent")
        for _ in range(20):
            check(W.wire.answer(W.wire.ping()), "an echo without the agent is answered")
        # pings all the while that the new agent starts
        lost, sent, over = [], [0], threading.Event()

        def pings():
            while not over.is_set():
                sent[0] += 1
                if not W.wire.answer(W.wire.ping()):
                    lost.append(W.wire.number)

        thread = threading.Thread(target=pings)
        thread.start()
        try:
            W.agent.start()
        finally:
            over.set()
            thread.join()
        check(sent[0] > 0, "pings were sent meanwhile")
        equal(lost, [], "echoes lost while the agent started")
        equal(kernel_state(), before, "addresses and filters after the restart")
        now = W.agent.status()
        equal(now["decapsulator"]["program"], program["decapsulator"]["program"], "program")
        equal((now["decapsulator"]["taken-over"], now["decapsulator"]["replaced"]), (True, False), "taken over")
        equal((now["synced"], now["epoch"], now["generation"], now["muxes"]),
              (False, program["epoch"], program["generation"], program["muxes"]), "what it knows")
        check(now["vips"][0]["packets"] >= program["vips"][0]["packets"] + 20 + sent[0], "counters went on")
        check(now["instance"] != program["instance"], "a new instance")
        status, _ = W.agent.put(generation=program["generation"] - 1, ok=False)
        equal(status, 409, "an old request after the restart")
        _, answer = W.agent.put(vip(VIP, HTTP_CHECK))
        equal((answer["changed"]["added"], answer["changed"]["removed"], answer["changed"]["addresses"]), (0, 0, 0), "changed")
        until(lambda: W.controller.state() == "up", "up again")


class Tunnel:
    """A mux made of a tun device: what the peer sends to the VIP goes out in an outer header, byte by byte counted."""

    def __init__(self):
        with inside(PEER):
            self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.tun, 0x400454ca, struct.pack("16sH22x", b"tun9", 0x1001))  # TUNSETIFF: IFF_TUN | IFF_NO_PI
        sh("ip", "-n", PEER, "link", "set", "tun9", "up", "mtu", "1400")
        sh("ip", "-n", PEER, "route", "add", f"{VIP}/32", "dev", "tun9", "src", CLIENT)
        self.packets = self.bytes = 0
        self.over = False
        self.thread = threading.Thread(target=self.loop)
        self.thread.start()

    def loop(self):
        while not self.over:
            if not select.select([self.tun], [], [], 0.05)[0]:
                continue
            try:
                inner = os.read(self.tun, 2000)
            except BlockingIOError:
                continue
            if inner[0] >> 4 != 4:
                continue
            self.packets += 1
            self.bytes += len(inner)
            W.wire.tunnel(inner, frag=0x4000)

    def stop(self):
        self.over = True
        self.thread.join()
        os.close(self.tun)


def ip_received():
    names, values = [line.split() for line in sh("cat", "/proc/net/snmp", ns=HOST).splitlines() if line.startswith("Ip:")]
    return int(values[names.index("InReceives")])


def feature(ns, dev, command, value):
    data = array.array("B", struct.pack("II", command, value))
    with inside(ns), socket.socket() as s:
        fcntl.ioctl(s, 0x8946, struct.pack("16sP16x", dev, data.buffer_info()[0]))


@test
def big_packets():
    """TCP whose segments GRO puts together before the decapsulator: whole, and counted to the byte"""
    if not os.path.exists("/dev/net/tun"):
        sh("modprobe", "-q", "tun", ok=False)
        if not os.path.exists("/dev/net/tun"):
            return "this kernel has no tun device"
    W.agent.put(vip())
    # veth merges if the receiver asked for it and the sender doesn't segment itself; packets are held for 5 ms
    feature(HOST, b"e0", 0x2c, 1)   # ETHTOOL_SGRO
    feature(PEER, b"p0", 0x1f, 0)   # ETHTOOL_STSO
    sh("sh", "-c", "echo 5000000 >/sys/class/net/e0/gro_flush_timeout", ns=HOST)
    with inside(HOST):
        listener = socket.create_server((VIP, 5001))
    before, received_before, tunnel = W.agent.status()["vips"][0], ip_received(), Tunnel()
    try:
        with inside(PEER):
            client = socket.create_connection((VIP, 5001), timeout=10)
        server, _ = listener.accept()
        server.settimeout(10)
        payload, got = os.urandom(8 << 20), bytearray()
        sender = threading.Thread(target=client.sendall, args=(payload,))
        sender.start()
        while len(got) < len(payload):
            more = server.recv(1 << 20)
            check(more, "the connection ended early")
            got += more
        sender.join()
        equal(bytes(got) == payload, True, "what arrived is what was sent")

        def counted():
            now = W.agent.status()["vips"][0]
            return (now["packets"] - before["packets"], now["bytes"] - before["bytes"]) == (tunnel.packets, tunnel.bytes)

        until(counted, "packets and bytes are those that the tunnel sent")
        merged = tunnel.packets / (ip_received() - received_before)
        print(f"# {tunnel.packets} packets, {merged:.1f} of them in one on average")
        check(merged > 1.5, f"GRO merged nothing: {merged:.2f} packets in one")
        client.close()
        server.close()
    finally:
        tunnel.stop()
        listener.close()
    return None


@test
def metrics():
    """/metrics names decapsulated packets, VIP and health"""
    W.agent.put(vip(VIP, HTTP_CHECK))
    until(lambda: W.controller.state() == "up", "up")
    status, text = W.agent.ask("GET", "/metrics", raw=True)
    equal(status, 200, "status")
    for line in ('duet_host_tunnel_packets_total{result="unknown-source"} 1', f'duet_host_dip_up{{vip="{VIP}",dip="{DIP}",rule="0"}} 1',
                 f'duet_host_vip_packets_total{{vip="{VIP}",dip="{DIP}"}} ', "duet_host_synced 1"):
        check(line in text, f"no {line!r} in /metrics")


def doctor():
    """What --doctor finds: {name: (result, fix)}, and its exit status."""
    done = subprocess.run(["ip", "netns", "exec", HOST, AGENT, "-c", W.agent.conf, "--doctor", "--json"], stdout=subprocess.PIPE, check=False)
    return {c["name"]: (c["result"], c.get("fix", "")) for c in json.loads(done.stdout)}, done.returncode


@test
def ill_and_well():
    """--doctor: nothing to find on a good host; each thing that is broken is found by name, with its fix"""
    sh("ip", "-n", PEER, "addr", "add", f"{MUX}/32", "dev", "lo")
    W.agent.put(vip())
    found, status = doctor()
    equal([(n, f) for n, f in found.items() if f[0] != "ok"], [], "findings")
    equal(status, 0, "exit status")

    def breaks(name, fix, how, undo, result="fail"):
        sh(*how, ns=HOST)
        got, code = doctor()
        sh(*undo, ns=HOST)
        equal((got[name][0], code), (result, int(result == "fail")), f"{name} after {' '.join(how)} ({got})")
        check(fix in got[name][1], f"{name}: no {fix!r} in {got[name][1]!r}")

    conf = "net.ipv4.conf.e0."
    breaks("rp-filter", "rp_filter=2", ("sysctl", "-qw", f"{conf}rp_filter=1"), ("sysctl", "-qw", f"{conf}rp_filter=2"))
    breaks("arp-ignore", "arp_ignore=1", ("sysctl", "-qw", f"{conf}arp_ignore=0"), ("sysctl", "-qw", f"{conf}arp_ignore=1"))
    breaks("arp-announce", "arp_announce=2", ("sysctl", "-qw", f"{conf}arp_announce=0"), ("sysctl", "-qw", f"{conf}arp_announce=2"))
    breaks("vip-address", "restart", ("ip", "addr", "del", f"{VIP}/32", "dev", "lo"), ("ip", "addr", "add", f"{VIP}/32", "dev", "lo", "scope", "host"))
    breaks("foreign-tc", "tc filter", ("tc", "filter", "add", "dev", "e0", "ingress", "prio", "1", "bpf", "bytecode", "1,6 0 0 4294967295"),
           ("tc", "filter", "del", "dev", "e0", "ingress", "prio", "1"), "warn")
    # half of the way carries less
    sh("ip", "-n", PEER, "link", "set", "p0", "mtu", "1400")
    found, status = doctor()
    sh("ip", "-n", PEER, "link", "set", "p0", "mtu", "1500")
    equal((found["mtu"][0], status), ("fail", 1), f"MTU of the way ({found})")
    W.agent.put({"vip": VIP, "dip": DIP, "delivery": "virtual", "targets": [{"address": "10.98.1.2"}]})
    found, _ = doctor()
    equal(found["forwarding"][0], "fail", "forwarding")
    W.agent.put(vip())
    sh("ip", "-n", PEER, "addr", "del", f"{MUX}/32", "dev", "lo")


@test
def removed():
    """--uninstall: addresses, filters, settings, tables: all as before there was an agent"""
    W.agent.put(vip(VIP, HTTP_CHECK), {"vip": VIP2, "dip": DIP, "delivery": "nat"})
    check("duet_host" in sh("nft", "list", "tables", ns=HOST), "a table of ours while it is needed")
    W.agent.stop()
    sh(AGENT, "-c", W.agent.conf, "--uninstall", ns=HOST)
    equal(W.picture, picture(), "the host")
    check(not W.wire.answer(W.wire.ping(), 0.5), "nothing is decapsulated")
    W.agent.start()
    W.agent.put(vip())
    check(W.wire.answer(W.wire.ping()), "and again, after an agent came back")


def picture():
    """The host as an operator sees it: addresses, queueing disciplines, filters, nftables, settings."""
    return [sh(*c, ns=HOST) for c in (("ip", "-o", "-4", "addr"), ("ip", "-o", "addr", "show", "dev", "lo"), ("tc", "qdisc", "show", "dev", "e0"), ("tc", "filter", "show", "dev", "e0", "ingress"),
                                      ("nft", "list", "ruleset"), ("sysctl", "net.ipv4.conf.e0"))]


def main(tests=None):
    """Runs those tests on the machines and the agent of this file, which are its own unless another file has some"""
    tests = TESTS if tests is None else tests
    if os.geteuid():
        print("1..0 # SKIP not root")
        return 0
    if not os.access(AGENT, os.X_OK):
        print(f"Bail out! {AGENT} isn't built")
        return 1
    chosen = [t for t in tests if t.__name__ in sys.argv[1:] or not sys.argv[1:]]
    print(f"1..{len(chosen)}", flush=True)
    bad, W.agent = 0, None
    try:
        setup()
        W.picture = picture()
        W.wire, W.web, W.controller, W.agent = Wire(), Web(80), Controller(), Agent()
        for i, function in enumerate(chosen, 1):
            try:
                skip = function()
                print(f"ok {i} - {function.__doc__.strip()}" + (f" # SKIP {skip}" if skip else ""), flush=True)
            except Exception as e:  # pylint: disable=broad-except
                bad += 1
                print(f"not ok {i} - {function.__doc__.strip()}\n# {e}", flush=True)
                if not isinstance(e, Failed):
                    print("# " + traceback.format_exc().replace("\n", "\n# "))
        if bad:
            print("# " + W.agent.text().replace("\n", "\n# "))
    finally:
        if W.agent and W.agent.child.poll() is None:
            W.agent.stop()
        cleanup()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
