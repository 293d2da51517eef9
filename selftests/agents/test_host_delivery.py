#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-host-agent: the ways in (families, hooks), the ways on (lo, NAT, targets behind the host), and what is counted.

The bed is that of test_host_agent.py, with three "virtual machines" (namespaces) behind the host:
   peer (client, mux) p0 ---- e0 host  h1 ---- eth0 vm1 10.98.1.2
                                       h2 ---- eth0 vm2 10.98.2.2   ...
"""
import http.server
import json
import os
import select
import socket
import ssl
import struct
import sys
import threading

import test_host_agent as base
from test_host_agent import CLIENT, DIP, HOST, MUX, PEER, VIP, W, Failed, check, csum, echo, equal, inside, ip4, sh, until

sys.path.insert(0, os.path.join(base.TOP, "selftests", "model"))
import duet_model as model  # pylint: disable=wrong-import-position

TESTS = []
KEY = model.key(42)
CLIENT6, DIP6, MUX6, VIP6 = "2001:db8:99::", "2001:db8:99::1", "2001:db8:9::1", "2001:db8:203::1"
VMS = {f"10.98.{i}.2": f"{HOST}-{i}" for i in (1, 2, 3)}


def test(function):
    TESTS.append(function)
    return function


def put(*vips, ok=200, **more):
    W.agent.generation += 1
    status, answer = W.agent.ask("PUT", "/v1/state", {"epoch": 1, "generation": W.agent.generation, "key": KEY,
                                                      "muxes": [MUX, MUX6], "vips": list(vips), **more})
    equal(status, ok, f"PUT /v1/state ({answer})")
    return answer


def ip6(src, dst, proto, payload, tclass=0):
    return struct.pack("!IHBB", 6 << 28 | tclass << 20, len(payload), proto, 64) + socket.inet_pton(socket.AF_INET6, src) \
        + socket.inet_pton(socket.AF_INET6, dst) + payload


def echo6(src, dst, number):
    body = struct.pack("!BBHHH", 128, 0, 0, 4711, number) + b"duet" * 4
    pseudo = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) + struct.pack("!II", len(body), 58)
    return body[:2] + struct.pack("!H", csum(pseudo + body)) + body[4:]


def udp(sport, dport, data):
    return struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data


class Wire6(base.Wire):
    """Both families."""

    def __init__(self):
        super().__init__()
        with inside(PEER):
            self.s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.s.bind(("p0", 3))

    def frame(self, packet):
        self.s.send(self.header[:12] + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet)

    def wrap(self, inner, six, tos=0):
        proto = 4 if inner[0] >> 4 == 4 else 41
        return ip6(MUX6, DIP6, proto, inner, tos) if six else ip4(MUX, DIP, proto, inner, tos)

    def reply6(self, number, seconds=3):
        while select.select([self.s], [], [], seconds)[0]:
            p = self.s.recv(70000)[14:]
            if p[0] >> 4 == 6 and p[6] == 58 and p[40] == 129 and struct.unpack("!HH", p[44:48]) == (4711, number):
                return {"src": socket.inet_ntop(socket.AF_INET6, p[8:24]), "dst": socket.inet_ntop(socket.AF_INET6, p[24:40])}
        return None


def pairs():
    """an echo through each of the four pairs of families, with what is counted"""
    before = W.agent.counter("decapsulated")
    for six in (False, True):
        W.wire.number += 1
        W.wire.frame(W.wire.wrap(ip4(CLIENT, VIP, 1, echo(W.wire.number)), six))
        equal(W.wire.answer(W.wire.number), {"src": VIP, "dst": CLIENT, "tos": 0}, f"IPv4 in IPv{6 if six else 4}")
        W.wire.number += 1
        W.wire.frame(W.wire.wrap(ip6(CLIENT6, VIP6, 58, echo6(CLIENT6, VIP6, W.wire.number)), six))
        equal(W.wire.reply6(W.wire.number), {"src": VIP6, "dst": CLIENT6}, f"IPv6 in IPv{6 if six else 4}")
    equal(W.agent.counter("decapsulated") - before, 4, "decapsulated")


FOUR = [{"vip": v, "dip": d} for v in (VIP, VIP6) for d in (DIP, DIP6)]


@test
def families():
    """IP-in-IP of all four pairs of families is decapsulated, at tc"""
    put(*FOUR)
    equal(W.agent.status()["decapsulator"]["hook"], "clsact", "hook")
    pairs()


def restart(**conf):
    W.agent.stop()
    with open(W.agent.conf, encoding="ascii") as f:
        lines = [l for l in f.read().splitlines() if l.split(" =")[0] not in conf]
    with open(W.agent.conf, "w", encoding="ascii") as f:
        f.write("\n".join(lines + [f"{k} = {v}" for k, v in conf.items() if v]) + "\n")
    W.agent.start()


@test
def xdp():
    """the same by XDP in the driver; changing hooks keeps maps and counters, and lets go of XDP again"""
    before = W.agent.counter("decapsulated")
    restart(attach="xdp")
    put(*FOUR)
    equal(W.agent.status()["decapsulator"]["hook"], "XDP, clsact", "hook")
    equal(W.agent.counter("decapsulated"), before, "the counter goes on")
    pairs()
    check("duet_decap_xdp" in sh("bpftool", "net", "show", ns=HOST) or "xdp" in sh("ip", "link", "show", "e0", ns=HOST), "XDP is attached")
    restart(attach="tc")
    put(*FOUR)
    check("xdp" not in sh("ip", "link", "show", "e0", ns=HOST), "XDP is gone")
    pairs()


NUMBERS = {}    # of programs, by name and by what the agent says is attached


def prog_run(program, frame):
    """A frame through an attached program by BPF_PROG_TEST_RUN: its verdict and the frame it leaves."""
    held = W.agent.status()["decapsulator"]["program"]
    if (program, held) not in NUMBERS:
        ids = [p["id"] for p in json.loads(sh("bpftool", "-j", "prog", "show", ns=HOST)) if p.get("name") == program]
        NUMBERS[program, held] = held if held in ids else max(ids)
    with open("/tmp/dha-frame", "wb") as f:
        f.write(frame)
    said = json.loads(sh("bpftool", "-j", "prog", "run", "id", str(NUMBERS[program, held]), "data_in", "/tmp/dha-frame", "data_out", "/tmp/dha-out", ns=HOST))
    with open("/tmp/dha-out", "rb") as f:
        out = f.read()
    for name in ("frame", "out"):
        os.unlink(f"/tmp/dha-{name}")
    return said["retval"], out


@test
def golden():
    """golden packets through BPF_PROG_TEST_RUN: byte for byte, each with its verdict and its counter"""
    put(*FOUR)
    mac = bytes(range(12))
    pass_on, drop = (0xffffffff, 2)
    v4, v6 = ip4(CLIENT, VIP, 17, udp(7, 9, b"x" * 30)), ip6(CLIENT6, VIP6, 17, udp(7, 9, b"x" * 30))

    def marked4(tos, inner=17):
        return ip4(CLIENT, VIP, inner, udp(7, 9, b"x" * 30), tos)

    def eth(packet):
        return mac + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet

    frag6 = ip6(MUX6, DIP6, 44, struct.pack("!BBHI", 4, 0, 1, 7) + v4)
    options = bytearray(ip4(MUX, DIP, 4, v4))
    options[0] = 0x46
    cases = [
        ("4 in 4", W.wire.wrap(v4, False), v4, "decapsulated"),
        ("6 in 4", W.wire.wrap(v6, False), v6, "decapsulated"),
        ("4 in 6", W.wire.wrap(v4, True), v4, "decapsulated"),
        ("6 in 6", W.wire.wrap(v6, True), v6, "decapsulated"),
        ("a fragment inside", W.wire.wrap(ip4(CLIENT, VIP, 17, b"y" * 32, 0, 0x2001), False), ip4(CLIENT, VIP, 17, b"y" * 32, 0, 0x2001), "decapsulated"),
        ("CE outside, ECT(0) inside, 4 in 4", W.wire.wrap(marked4(2), False, 3), marked4(3), "decapsulated"),
        ("CE outside, ECT(1) inside, 4 in 6", W.wire.wrap(marked4(0x29), True, 3), marked4(0x2b), "decapsulated"),
        ("CE outside, ECT(0) inside, 6 in 4", W.wire.wrap(ip6(CLIENT6, VIP6, 17, udp(7, 9, b""), 0x2a), False, 3),
         ip6(CLIENT6, VIP6, 17, udp(7, 9, b""), 0x2b), "decapsulated"),
        ("ECT(1) outside, ECT(0) inside", W.wire.wrap(marked4(2), False, 1), marked4(1), "decapsulated"),
        ("CE outside, Not-ECT inside, 6 in 6", W.wire.wrap(v6, True, 3), None, "ecn"),
        ("unknown source", ip4("10.99.9.9", DIP, 4, v4), None, "unknown-source"),
        ("unknown source, no VIP", ip4("10.99.9.9", DIP, 4, ip4(CLIENT, "203.0.113.77", 17, b"")), ..., "foreign"),
        ("a VIP not served", W.wire.wrap(ip4(CLIENT, "203.0.113.77", 17, udp(7, 9, b"")), False), None, "not-served"),
        ("another host's", ip4(MUX, "10.99.0.77", 4, v4), ..., None),
        ("a fragment outside", ip4(MUX, DIP, 4, v4, 0, 0x2000), ..., "fragment"),
        ("a fragment outside, IPv6", frag6, ..., "fragment"),
        ("options outside", bytes(options), None, "malformed"),
        ("no IP inside", ip4(MUX, DIP, 4, b"\x55" * 40), None, "malformed"),
        ("IPv6 that says IPv4", ip4(MUX, DIP, 41, v4 + b"\0" * 20), None, "malformed"),
        ("cut short", ip4(MUX, DIP, 4, v4)[:34], None, "malformed"),
        ("plain UDP", ip4(CLIENT, DIP, 17, udp(7, 9, b"abc")), ..., None),
        ("plain IPv6", ip6(CLIENT6, DIP6, 17, udp(7, 9, b"abc")), ..., None),
    ]
    for name, packet, want, counter in cases:
        before = W.agent.status()["counters"]
        verdict, out = prog_run("duet_decap", eth(packet))
        now = W.agent.status()["counters"]
        equal(verdict, drop if want is None else pass_on, f"verdict of {name}")
        if want is not None:
            equal(out.hex(), eth(packet if want is ... else want).hex(), f"frame of {name}")
        equal({k: now[k] - before[k] for k in now if now[k] != before[k]}, {counter: 1} if counter else {}, f"counters of {name}")
    print(f"# {len(cases)} cases")


class Server:
    """HTTP (or HTTPS) in a namespace; says where it is and whom it sees."""

    def __init__(self, ns, port, name, address="0.0.0.0", tls=None):
        me = self
        self.hits = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                me.hits += 1
                body = json.dumps({"name": name, "client": self.client_address[0]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Http(http.server.ThreadingHTTPServer):
            def server_bind(self):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.socket.bind(self.server_address)
                self.server_name, self.server_port = name, port

            def handle_error(self, *_):
                pass

        with inside(ns):
            self.server = Http((address, port), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def get(port=80, sport=0, vip=VIP):
    """GET / from the client by way of the tunnel; what the server said."""
    with inside(PEER):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((CLIENT, sport))
        s.settimeout(10)
        try:
            s.connect((vip, port))
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            text = b""
            while True:
                more = s.recv(4096)
                if not more:
                    break
                text += more
            equal(s.getpeername(), (vip, port), "who answers")
            return json.loads(text.split(b"\r\n\r\n", 1)[1])
        finally:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()


@test
def nat():
    """NAT: VIP:80 to an unmodified service at the DIP's own address, port 8080, TCP and UDP, and back"""
    put({"vip": VIP, "dip": DIP, "delivery": "nat", "ports": [{"proto": "tcp", "port": 80, "to": 8080}, {"proto": "udp", "port": 53, "to": 5353}],
         "checks": [{"type": "http", "port": 80, "interval_ms": 50, "timeout_ms": 2000}]})
    web, tunnel = Server(HOST, 8080, "own", DIP), base.Tunnel()
    try:
        equal(get(), {"name": "own", "client": CLIENT}, "answer")
        until(lambda: W.agent.status()["vips"][0]["checks"][0]["state"] == "up", "the probe goes by NAT, too")
        with inside(HOST):
            server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            server.bind((DIP, 5353))
        with inside(PEER):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(5)
        client.connect((VIP, 53))
        client.send(b"who?")
        server.settimeout(5)
        data, peer = server.recvfrom(100)
        server.sendto(data + b" me", peer)
        equal(client.recv(100), b"who? me", "UDP through NAT")
        web.stop()
        until(lambda: W.agent.status()["vips"][0]["checks"][0]["state"] == "down", "down with the service")
        client.close()
        server.close()
    finally:
        tunnel.stop()


def virtual(weights=(1, 2, 1), **check_def):
    return {"vip": VIP, "dip": DIP, "delivery": "virtual",
            "targets": [{"address": a, "weight": w} for a, w in zip(VMS, weights)],
            "ports": [{"proto": "tcp", "port": 80, "to": 8080}],
            "checks": [{"type": "http", "port": 80, "interval_ms": 100, "timeout_ms": 2000, "fall": 1, "rise": 1, **check_def}]}


@test
def second_level():
    """several targets behind one host: each flow to the one that the model says, by weight, among the healthy"""
    sh("sysctl", "-qw", "net.ipv4.ip_forward=1", ns=HOST)
    webs = {a: Server(ns, 8080, a) for a, ns in VMS.items()}
    tunnel, weights = base.Tunnel(), (1, 2, 1)
    try:
        put(virtual(weights))

        def states():
            return {c["target"]: c["state"] for c in W.agent.status()["vips"][0]["checks"]}

        until(lambda: set(states().values()) == {"up"}, "all targets are up")
        other = model.key(43)
        for which, key in ((1, other), (0, KEY)):
            put(dict(virtual(weights), key=which), key1=other)
            until(lambda: set(states().values()) == {"up"}, "all targets are up")
            table = model.Table([(a, w, False) for a, w in zip(VMS, weights)])
            for sport in range(19000 + 100 * which, 19012 + 100 * which):
                equal(get(sport=sport)["name"], table.choose(CLIENT, VIP, 6, sport, 80, model.key_level2(key)), f"key {which}, flow from port {sport}")
        put(dict(virtual(weights), key=1), ok=400)
        put(virtual(weights))
        for down in (None, "10.98.2.2"):
            if down:
                webs[down].stop()
                until(lambda: states()[down] == "down", "the target without a service is down")
                until(lambda: base.W.controller.reports[-1][2]["dips"][0]["targets"][1]["state"] == "down", "the report says which")
                equal(base.W.controller.state(), "up", "the DIP as a whole")
            table = model.Table([(a, w, a == down) for a, w in zip(VMS, weights)])
            got = []
            for sport in range(20000, 20040):
                sport += 100 if down else 0
                want = table.choose(CLIENT, VIP, 6, sport, 80, model.key_level2(KEY))
                answer = get(sport=sport)
                equal(answer, {"name": want, "client": CLIENT}, f"flow from port {sport}")
                got.append(answer["name"])
            print("# " + ", ".join(f"{a}: {got.count(a)}" for a in VMS))
        for web in webs.values():
            web.stop()
        until(lambda: set(states().values()) == {"down"}, "all down")
        until(lambda: base.W.controller.state() == "down", "the DIP is reported down")
        before = W.agent.counter("no-target")
        W.wire.ping()
        until(lambda: W.agent.counter("no-target") == before + 1, "a packet without a target is dropped and counted")
    finally:
        tunnel.stop()


@test
def removal_of_nat():
    """the last target gone, no table of ours is left in nftables"""
    put({"vip": VIP, "dip": DIP})
    equal(sh("nft", "list", "tables", ns=HOST).strip(), "", "tables")


RACKS = [{"prefix": "192.0.2.0/25", "rack": "tor1"}, {"prefix": "192.0.2.0/24", "rack": "tor2"}, {"prefix": "2001:db8:7::/48", "rack": "tor3"}]


@test
def metering():
    """bytes and packets by VIP and the client's rack, both ways, exact; counters and racks outlive the agent"""
    put({"vip": VIP, "dip": DIP}, {"vip": VIP6, "dip": DIP}, racks=RACKS)
    sh("ip", "-n", PEER, "addr", "replace", "2001:db8:7::5/128", "dev", "lo")
    sent = {}

    def rows():
        report = W.controller.reports[-1][2]["traffic"]
        return {(v["vip"], r["rack"]): (r["packets"], r["bytes"], r["out-packets"], r["out-bytes"]) for v in report for r in v["racks"]}

    # what earlier tests left there
    until(lambda: W.controller.reports and W.controller.reports[-1][2]["traffic"][0].get("racks") is not None, "a report")
    n = len(W.controller.reports)
    until(lambda: len(W.controller.reports) > n + 1, "a report of now")
    start = rows()
    with inside(HOST):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((VIP, 7))
    for n, (source, rack) in enumerate([("192.0.2.1", "tor1"), ("192.0.2.127", "tor1"), ("192.0.2.128", "tor2"), ("198.51.100.1", "")]):
        for size in range(0, 200 * (n + 1), 3):
            W.wire.tunnel(ip4(source, VIP, 17, udp(9, 7, b"m" * size)))
            a, b, c, d = sent.get((VIP, rack), start.get((VIP, rack), (0, 0, 0, 0)))
            sent[VIP, rack] = a + 1, b + 28 + size, c + (size % 2 == 0), d + (28 + 5 if size % 2 == 0 else 0)
            if size % 2 == 0:
                s.sendto(b"reply", (source, 9))
    s.close()
    for _ in range(5):
        W.wire.number += 1
        W.wire.frame(W.wire.wrap(ip6("2001:db8:7::5", VIP6, 58, echo6("2001:db8:7::5", VIP6, W.wire.number)), False))
    before = start.get((VIP6, "tor3"), (0, 0, 0, 0))
    sent[VIP6, "tor3"] = tuple(x + y for x, y in zip(before, (5, 320, 5, 320)))

    def settled():
        now = rows()
        return all(now.get(k) == v for k, v in sent.items())

    try:
        until(settled, "the report has what was sent, to the byte", 8)
    except Failed as e:
        raise Failed(f"{e}: {[(k, rows().get(k), v) for k, v in sent.items() if rows().get(k) != v]}") from None
    restart()
    equal(W.agent.status()["synced"], False, "synced")
    n = len(W.controller.reports)
    until(lambda: len(W.controller.reports) > n, "a report of the new process")
    check(settled(), f"a new process reports the same: {rows()}")


@test
def exact_under_load():
    """200,000 packets at full speed, from four senders: not one more, not one less"""
    put({"vip": VIP, "dip": DIP}, racks=RACKS)
    before = W.agent.status()["vips"][0]
    sent, lock = [0], threading.Lock()

    def blast(n):
        with inside(PEER):
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            s.bind(("p0", 0))
        frame, ok = W.wire.header + ip4(MUX, DIP, 4, ip4(f"192.0.2.{n}", VIP, 17, udp(n, 7, b"load"))), 0
        for _ in range(50000):
            try:
                s.send(frame)
                ok += 1
            except OSError:
                pass    # the queue is full: not sent
        with lock:
            sent[0] += ok

    def dropped():
        stat = json.loads(sh("ip", "-j", "-s", "-n", HOST, "link", "show", "e0"))[0]["stats64"]["rx"]
        return stat["dropped"]

    lost = dropped()
    threads = [threading.Thread(target=blast, args=(n,)) for n in (1, 2, 200, 201)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    want = sent[0] - (dropped() - lost)
    try:
        until(lambda: W.agent.status()["vips"][0]["packets"] - before["packets"] == want, "packets")
    except Failed:
        equal(W.agent.status()["vips"][0]["packets"] - before["packets"], want, "packets")
    equal(W.agent.status()["vips"][0]["bytes"] - before["bytes"], want * 32, "bytes")
    print(f"# {want} packets, {sent[0] - want} lost before the hook")


@test
def clamped():
    """a SYN+ACK that leaves with a VIP as source offers what the tunnel leaves"""
    put({"vip": VIP, "dip": DIP}, {"vip": VIP6, "dip": DIP6})
    with inside(HOST):
        listeners = [socket.create_server((VIP, 5002)), socket.create_server((VIP6, 5002), family=socket.AF_INET6)]

    def mss(syn, six):
        W.wire.frame(W.wire.wrap(syn, six))
        while select.select([W.wire.s], [], [], 3)[0]:
            p = W.wire.s.recv(2000)[14:]
            at = 40 if p[0] >> 4 == 6 else 20
            if p[6 if six else 9] == 6 and p[at + 13] == 0x12 and struct.unpack("!H", p[at:at + 2])[0] == 5002:
                head = p[8:40] + struct.pack("!II", len(p) - 40, 6) if six else p[12:20] + struct.pack("!HH", 6, len(p) - 20)
                equal(csum(head + p[at:]), 0, "TCP checksum")
                equal(p[at + 20:at + 22], b"\x02\x04", "first option")
                return struct.unpack("!H", p[at + 22:at + 24])[0]
        raise Failed("no SYN+ACK")

    def syn(src, dst, family):
        tcp = struct.pack("!HHIIBBHHH", 4000, 5002, 1, 0, 0x60, 2, 65535, 0, 0) + b"\x02\x04\x05\xb4"
        pseudo = socket.inet_pton(family, src) + socket.inet_pton(family, dst) + struct.pack("!II", len(tcp), 6)
        return tcp[:16] + struct.pack("!H", csum(pseudo + tcp)) + tcp[18:]

    base.feature(HOST, b"e0", 0x17, 0)     # ETHTOOL_STXCSUM: the sum is in the packet, not left to a device
    equal(mss(ip4(CLIENT, VIP, 6, syn(CLIENT, VIP, socket.AF_INET)), False), 1500 - 20 - 40, "MSS of an IPv4 VIP, IPv4 tunnel")
    equal(mss(ip6(CLIENT6, VIP6, 6, syn(CLIENT6, VIP6, socket.AF_INET6)), True), 1500 - 40 - 60, "MSS of an IPv6 VIP, IPv6 tunnel")
    check(W.agent.counter("mss-clamped") >= 2, "counted")

    def leaves(options):
        """the options of a SYN after the program at egress; its sum is right"""
        tcp = struct.pack("!HHIIBBHHH", 80, 4000, 1, 0, 0x50 + len(options) * 4, 2, 65535, 0, 0) + options
        pseudo = socket.inet_aton(VIP) + socket.inet_aton(CLIENT) + struct.pack("!HH", 6, len(tcp))
        packet = ip4(VIP, CLIENT, 6, tcp[:16] + struct.pack("!H", csum(pseudo + tcp)) + tcp[18:])
        out = prog_run("duet_egress", bytes(12) + b"\x08\x00" + packet)[1][34:]
        equal(csum(pseudo + out), 0, f"TCP checksum with options {options.hex()}")
        return out[20:].hex()

    for options, want in (("020405b4", "020405a0"), ("01020405b4010101", "01020405a0010101"), ("0303070101020405b4010101", "0303070101020405a0010101"),
                          ("02040200", "02040200"), ("01010101", "01010101"), ("0000000002040fff", "0000000002040fff"),
                          ("0301020405b40000", "0301020405b40000"), ("020305b4", "020305b4"), ("01" * 36 + "020405b4", "01" * 36 + "020405a0")):
        equal(leaves(bytes.fromhex(options)), want, f"options {options}")
    for l in listeners:
        l.close()


@test
def more_checks():
    """HTTPS, expected body, an explicit first state; a state outlives the agent"""
    pem = os.path.join(base.DIR, "tls.pem")
    sh("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", pem, "-out", pem + ".crt", "-days", "2", "-subj", "/CN=x")
    with open(pem, "ab") as f, open(pem + ".crt", "rb") as crt:
        f.write(crt.read())
    tls = Server(HOST, 8443, "secret", tls=pem)
    quick = {"interval_ms": 50, "timeout_ms": 3000, "rise": 1, "fall": 1}
    checks = [{"rule": 0, "type": "https", "port": 8443, "body": "secret", **quick},
              {"rule": 1, "type": "https", "port": 8443, "body": "nowhere", **quick},
              {"rule": 2, "type": "http", "port": 80, "path": "/missing", "expect": 404, **quick},
              {"rule": 3, "type": "http", "port": 80, "body": "says hello", "host": "www.example.com", **quick},
              {"rule": 4, "type": "tcp", "port": 8443, "initial": "up", "interval_ms": 3600000, "timeout_ms": 3000, "rise": 3, "fall": 3}]

    def states():
        return [c["state"] for c in W.agent.status()["vips"][0]["checks"]]

    def reasons():
        return [c["reason"] for c in W.agent.status()["vips"][0]["checks"]]

    put({"vip": VIP, "dip": DIP, "checks": checks})
    until(lambda: states() == ["up", "down", "down", "up", "up"], "states")
    check("nowhere" in reasons()[1] and "200" in reasons()[2], f"reasons: {reasons()}")
    put({"vip": VIP, "dip": DIP, "checks": [{**checks[4], "rule": 3, "initial": "unknown"}]})
    equal(states(), ["up"], "a check asked another way keeps the state of what it asks about")
    W.agent.stop()
    W.agent.start()
    put({"vip": VIP, "dip": DIP, "checks": [{**checks[4], "rule": 3, "initial": "unknown"}]})
    equal(states(), ["up"], "state after a restart, before the third probe")
    tls.stop()


def main():
    if os.geteuid():
        print("1..0 # SKIP not root")
        return 0
    setup = base.setup

    def more():
        setup()
        for ns, dev, address in ((PEER, "p0", CLIENT6), (HOST, "e0", DIP6)):
            sh("ip", "-n", ns, "addr", "add", f"{address}/127", "dev", dev, "nodad")
        sh("ip", "-n", HOST, "-6", "route", "add", "default", "via", CLIENT6)
        for i, (address, ns) in enumerate(VMS.items(), 1):
            sh("ip", "netns", "add", ns)
            sh("ip", "-n", HOST, "link", "add", f"h{i}", "type", "veth", "peer", "name", "eth0", "netns", ns)
            sh("ip", "-n", HOST, "addr", "add", f"10.98.{i}.1/30", "dev", f"h{i}")
            sh("ip", "-n", ns, "addr", "add", f"{address}/30", "dev", "eth0")
            for n, dev in ((HOST, f"h{i}"), (ns, "eth0"), (ns, "lo")):
                sh("ip", "-n", n, "link", "set", dev, "up")
            sh("ip", "-n", ns, "route", "add", "default", "via", f"10.98.{i}.1")

    cleanup = base.cleanup

    def less():
        for ns in VMS.values():
            sh("ip", "netns", "del", ns, ok=False)
        cleanup()

    base.setup, base.cleanup, base.Wire = more, less, Wire6
    return base.main(TESTS)


if __name__ == "__main__":
    sys.exit(main())
