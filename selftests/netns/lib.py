# SPDX-License-Identifier: GPL-2.0
"""What the namespace tests share: TAP, namespaces, raw packets, the tool `duet`.

Every test runs inside one VM on the real module:

      c (client)                 m (mux)                  d (DIPs)
   10.1.0.2  c0 ------------ c0m  10.1.0.1
                             d0m  10.2.0.1 ------------- d0  10.2.0.2, 10.2.0.11-...
   VIPs 203.0.113.0/24 are routed by c to m; mux0 has port c0m, local 10.2.0.1.
"""
import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.environ.get("O", os.path.join(TOP, "out"))
DUET = os.path.join(OUT, "bin", "duet")
sys.path.insert(0, os.path.join(TOP, "selftests", "model"))

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
SO_RCVBUFFORCE = 33
ETH_P_IP, ETH_P_ALL = 0x0800, 0x0003
# every deadline times this: a debug kernel is slow
PATIENCE = int(os.environ.get("DUET_PATIENCE", "1"))
TESTS = []


def test(function):
    TESTS.append(function)
    return function


class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


def equal(got, want, what):
    if got != want:
        raise Failed(f"{what}: got {got!r}, want {want!r}")


def until(probe, what, seconds=60):
    """Poll until probe() is true; its value."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {what}")
        select.select([], [], [], 0.02)


def run(*args, inside=None, stdin=None, ok=True):
    """Run a command, in a namespace; (status, stdout, stderr)."""
    if inside:
        args = ("ip", "netns", "exec", inside) + args
    done = subprocess.run(args, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if ok and done.returncode != 0:
        raise Failed(f"{' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.returncode, done.stdout, done.stderr


def batch(ns, text):
    run("ip", "-n", ns, "-batch", "-", stdin=text)


def duet(*args, ns="m", ok=True, stdin=None):
    return run(DUET, *args, inside=ns, ok=ok, stdin=stdin)


def duet_json(*args, ns="m"):
    return json.loads(duet("-j", *args, ns=ns)[1])


def refused(ns, *args, because, stdin=None):
    """The tool says no, with a sentence that has `because` in it."""
    status, _, err = duet(*args, ns=ns, ok=False, stdin=stdin)
    equal(status, 1, f"exit status of duet {' '.join(args)} ({err.strip()})")
    check(because in err, f"duet {' '.join(args)} says {err.strip()!r}, without {because!r}")


class inside:
    """with inside("c"): sockets made here belong to that namespace."""

    def __init__(self, ns):
        self.ns = ns

    def __enter__(self):
        self.own = os.open("/proc/self/ns/net", os.O_RDONLY)
        other = os.open(f"/run/netns/{self.ns}", os.O_RDONLY)
        if LIBC.setns(other, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {self.ns}")
        os.close(other)

    def __exit__(self, *_):
        LIBC.setns(self.own, CLONE_NEWNET)
        os.close(self.own)


def packet_socket(ns, dev, proto=ETH_P_ALL):
    with inside(ns):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(proto))
        s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        s.bind((dev, proto))
    s.setblocking(False)
    return s


def drain(s):
    while True:
        try:
            s.recv(65535)
        except BlockingIOError:
            return


def receive(s, want, seconds=10, count=1):
    """Frames for which want(frame) is true, at least count of them."""
    found, end = [], time.monotonic() + seconds * PATIENCE
    while len(found) < count:
        left = end - time.monotonic()
        if left <= 0 or not select.select([s], [], [], left)[0]:
            break
        try:
            frame = s.recv(70000)
        except BlockingIOError:
            continue
        if want(frame):
            found.append(frame)
    return found


def csum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip4(src, dst, proto, payload, ttl=64, tos=0, ident=0x1234, frag=0x4000, length=None):
    header = struct.pack("!BBHHHBBH4s4s", 0x45, tos, length or 20 + len(payload), ident, frag, ttl, proto, 0,
                         socket.inet_aton(src), socket.inet_aton(dst))
    return header[:10] + struct.pack("!H", csum(header)) + header[12:] + payload


def udp(src, dst, sport, dport, data=b"duet"):
    pseudo = socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack("!BBH", 0, 17, 8 + len(data))
    header = struct.pack("!HHHH", sport, dport, 8 + len(data), 0)
    return struct.pack("!HHHH", sport, dport, 8 + len(data), csum(pseudo + header + data) or 0xffff) + data


def tcp(sport, dport, flags=0x02):
    return struct.pack("!HHIIBBHHH", sport, dport, 1, 0, 0x50, flags, 1024, 0, 0)


def echo(ident, seq=1, kind=8, data=b"duet"):
    body = struct.pack("!BBHHH", kind, 0, 0, ident, seq) + data
    return body[:2] + struct.pack("!H", csum(body)) + body[4:]


def is_ipip(frame):
    return frame[12:14] == b"\x08\x00" and frame[23] == 4


def outer_dst(frame):
    return socket.inet_ntoa(frame[30:34])


CLIENT, LOCAL, VIP = "10.1.0.2", "10.2.0.1", "203.0.113.1"


def dip(n):
    return f"10.2.0.{10 + n}"


class Net:
    """The three namespaces, remade for each test that asks."""

    def __init__(self, mode="hmux"):
        self.remove()
        for ns in ("c", "m", "d"):
            run("ip", "netns", "add", ns)
        batch("m", "link set lo up\n"
              "link add c0m type veth peer name c0 netns c\n"
              "link add d0m type veth peer name d0 netns d\n"
              "addr add 10.1.0.1/24 dev c0m\nlink set c0m up\n"
              "addr add 10.2.0.1/24 dev d0m\nlink set d0m up\n"
              "link add mux0 type duet\nlink set mux0 up\n")
        batch("c", "link set lo up\naddr add 10.1.0.2/24 dev c0\nlink set c0 up\nroute add default via 10.1.0.1\n")
        batch("d", "link set lo up\naddr add 10.2.0.2/24 dev d0\nlink set d0 up\n"
              + "".join(f"addr add {dip(n)}/24 dev d0\n" for n in range(1, 41)) + "route add default via 10.2.0.1\n")
        with inside("m"):
            for key, value in (("ip_forward", "1"), ("conf/all/rp_filter", "0")):
                with open(f"/proc/sys/net/ipv4/{key}", "w", encoding="ascii") as f:
                    f.write(value)
        if mode != "hmux":
            duet("dev", "set", "mux0", "mode", mode)
        duet("dev", "set", "mux0", "key", f"{7:032x}", "local", LOCAL)
        duet("port", "add", "mux0", "c0m")
        self.c = packet_socket("c", "c0")
        self.d = packet_socket("d", "d0", ETH_P_IP)
        self.c_mac = self.mac("c", "c0")
        self.m_mac = self.mac("m", "c0m")
        # the DIPs' neighbours would be resolved by the first packets; know them before
        mac = self.mac("d", "d0").hex(":")
        batch("m", "".join(f"neigh replace {dip(n)} lladdr {mac} dev d0m nud permanent\n" for n in range(1, 41)))

    @staticmethod
    def mac(ns, dev):
        out = json.loads(run("ip", "-n", ns, "-j", "link", "show", dev)[1])
        return bytes.fromhex(out[0]["address"].replace(":", ""))

    @staticmethod
    def remove():
        have = run("ip", "netns", "list")[1].split()
        for ns in ("c", "m", "d"):
            if ns in have:
                run("ip", "netns", "del", ns)

    def send(self, packet):
        """Waits for room in the socket's buffer."""
        select.select([], [self.c], [], 20)
        self.c.send(self.m_mac + self.c_mac + b"\x08\x00" + packet)

    def exchange(self, packet):
        """Send from c; the encapsulated frame that arrives at d, or None."""
        drain(self.d)
        self.send(packet)
        got = receive(self.d, is_ipip, seconds=5)
        return got[0] if got else None

    def choices(self, packets):
        """The DIP that each of the packets is sent to; key = inner (proto, sport or id)."""
        drain(self.d)
        result, sources = {}, {packet[12:16] for packet in packets}
        for start in range(0, len(packets), 50):
            part = packets[start:start + 50]
            for packet in part:
                self.send(packet)
            for frame in receive(self.d, lambda f: is_ipip(f) and f[46:50] in sources, seconds=10, count=len(part)):
                inner = frame[34:]
                at = 4 if inner[9] == 1 else 0
                result[(inner[9], struct.unpack("!H", inner[20 + at:22 + at])[0])] = outer_dst(frame)
        return result

    def vip(self, dips, vip=VIP, rules=None):
        rules = rules or [{"dips": [d if isinstance(d, dict) else {"address": d} for d in dips]}]
        duet("vip", "set", "mux0", "-f", "-", stdin=json.dumps({"vips": [{"vip": vip, "rules": rules}]}))


def verdicts(dev="mux0"):
    """Packets by verdict name."""
    return {k: v["packets"] for k, v in duet_json("stats", dev)["verdicts"].items()}


class Traffic(threading.Thread):
    """Packets of several sizes to the VIP until stopped or the device is gone."""

    def __init__(self, net):
        super().__init__(daemon=True)
        self.packets = [ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, port, 53, b"x" * (port % 7 * 240)), frag=0x4000 * (port & 1))
                        for port in range(2000, 2064)]
        self.net, self.stopping = net, False
        self.start()

    def run(self):
        while not self.stopping:
            for packet in self.packets:
                try:
                    self.net.send(packet)
                except OSError:
                    return

    def stop(self):
        self.stopping = True
        self.join()


def flowing(net, least=100):
    traffic = Traffic(net)
    try:
        until(lambda: duet_json("stats", "mux0")["verdicts"]["encap"]["packets"] > least, "traffic flows")
    except BaseException:
        traffic.stop()
        raise
    return traffic


def main():
    only = sys.argv[1:]
    chosen = [t for t in TESTS if not only or t.__name__ in only]
    print(f"1..{len(chosen)}", flush=True)
    failed = 0
    for number, function in enumerate(chosen, 1):
        name = (function.__doc__ or function.__name__).splitlines()[0].rstrip(".")
        case = f"# robust: cases {os.path.basename(sys.argv[0])[:-3]}.{function.__name__}"
        try:
            function()
            print(f"{case} ok\nok {number} - {name}", flush=True)
        except Exception as error:  # every failure of a test is its result
            failed += 1
            for line in (str(error) if isinstance(error, Failed) else traceback.format_exc()).splitlines()[-20:]:
                print(f"# {line[:500]}")
            print(f"{case} failed\nnot ok {number} - {name}", flush=True)
    Net.remove()
    sys.exit(1 if failed else 0)
