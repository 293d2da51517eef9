# SPDX-License-Identifier: GPL-2.0
"""Real hosts behind a mux: each DIP is a namespace of its own that takes the
outer header off, serves the VIP, and answers the client directly.

   c (client)                     m (mux)                         h1 ... h5
   10.1.0.2  c0 ----------- c0m   10.1.0.1
                            br0   10.2.0.1 -------------- e0      10.2.0.11 ...
   10.3.0.1  back ------------------------------------------ e1   10.3.0.11 ...
             the way back: never through m
   r, on demand, stands between br0 (10.2.0.200) and h1 (10.4.0.11): a path whose
   second link has a smaller MTU
"""
import array
import contextlib
import fcntl
import ipaddress
import json
import os
import selectors
import socket
import struct
import threading
import time
import zlib

from lib import LOCAL, VIP, Failed, batch, check, duet, equal, inside, packet_socket, run, until, verdicts

VIP6, LOCAL6 = "2001:db8:f::1", "2001:db8:2::1"
HOSTS = 5
TCP_INFO_PMTU, TCP_INFO_RETRANS, TCP_INFO_DATA_IN, TCP_INFO_DATA_OUT = 60, 100, 152, 156
IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IPV6_MTU_DISCOVER = 10, 0, 23


def dip(n, family=4):
    return f"10.2.0.{10 + n}" if family == 4 else f"2001:db8:2::{10 + n}"


def far(family=4):
    """The DIP of h1 that is behind r."""
    return "10.4.0.11" if family == 4 else "2001:db8:4::11"


def tcp_info(sock, at):
    return struct.unpack("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)[at:at + 4])[0]


def offload(ns, dev, on):
    """What `ethtool -K DEV tx sg gso tso gro on|off` does."""
    commands = (0x17, 0x19, 0x24, 0x1f, 0x2c)     # ETHTOOL_STXCSUM, SSG, SGSO, STSO, SGRO
    with inside(ns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in commands if on else reversed(commands):
            value = array.array("I", [command, int(on)])
            fcntl.ioctl(sock, 0x8946, struct.pack("16sP", dev.encode(), value.buffer_info()[0]))     # SIOCETHTOOL


def sysctl(ns, **values):
    with inside(ns):
        for key, value in values.items():
            with open(f"/proc/sys/net/{key.replace('__', '/')}", "w", encoding="ascii") as f:
                f.write(str(value))


class Server(threading.Thread):
    """In every host: TCP on the VIP's port 80, UDP on its port 53.

    A TCP line is answered with the host's name; "SINK" and what follows until
    the end is answered with its length and checksum. So is a datagram."""

    def __init__(self, names):
        super().__init__(daemon=True)
        self.events, self.stopping, self.accepted = selectors.DefaultSelector(), False, []
        for name in names:
            with inside(name):
                for family, vip in ((socket.AF_INET, VIP), (socket.AF_INET6, VIP6)):
                    tcp, udp = socket.socket(family, socket.SOCK_STREAM), socket.socket(family, socket.SOCK_DGRAM)
                    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    tcp.bind((vip, 80))
                    tcp.listen(64)
                    udp.bind((vip, 53))
                    self.events.register(tcp, selectors.EVENT_READ, (self.accept, name))
                    self.events.register(udp, selectors.EVENT_READ, (self.datagram, name))
        self.start()

    def run(self):
        while not self.stopping:
            for key, _ in self.events.select(0.2):
                key.data[0](key.fileobj, *key.data[1:])

    def stop(self):
        self.stopping = True
        self.join()
        for key in list(self.events.get_map().values()):
            key.fileobj.close()

    def accept(self, sock, name):
        peer, _ = sock.accept()
        self.accepted.append(peer)
        self.events.register(peer, selectors.EVENT_READ, (self.stream, name, {"sink": False, "got": 0, "crc": 0}))

    def stream(self, sock, name, state):
        try:
            data = sock.recv(1 << 18)
            if data.startswith(b"SINK"):
                state["sink"], data = True, data[4:]
                if not data:
                    return
            if state["sink"] and data:
                state["got"] += len(data)
                state["crc"] = zlib.crc32(data, state["crc"])
                return
            if data:
                sock.send(f"{name}\n".encode())
                return
            if state["sink"]:
                state["segments"] = tcp_info(sock, TCP_INFO_DATA_IN)
                sock.send(f"{name} {state['got']} {state['crc']} {state['segments']}\n".encode())
        except OSError:
            pass
        self.events.unregister(sock)
        sock.close()

    @staticmethod
    def datagram(sock, name):
        data, peer = sock.recvfrom(65535)
        with contextlib.suppress(OSError):
            sock.sendto(f"{name} {len(data)} {zlib.crc32(data)}\n".encode(), peer)


class Hosts:
    """The topology, made once; every test begins with reset()."""

    def __init__(self, count=HOSTS):
        self.count, self.names = count, [f"h{n}" for n in range(1, count + 1)]
        self.remove()
        for module in ("ipip", "sit", "ip6_tunnel"):
            run("modprobe", module, ok=False)
        for ns in ["c", "m"] + self.names:
            run("ip", "netns", "add", ns)
            sysctl(ns, ipv6__conf__default__accept_dad=0, ipv6__conf__all__accept_dad=0, ipv4__conf__all__rp_filter=0,
                   ipv4__conf__default__rp_filter=0, ipv4__ip_forward=int(ns == "m"), ipv6__conf__all__forwarding=int(ns == "m"),
                   ipv4__icmp_ratelimit=0, ipv6__icmp__ratelimit=0)
        batch("m", "link set lo up\nlink add br0 type bridge\nlink add c0m type veth peer name c0 netns c\n"
              "addr add 10.1.0.1/24 dev c0m\naddr add 2001:db8:1::1/64 dev c0m nodad\nlink set c0m up\n"
              "addr add 10.2.0.1/24 dev br0\naddr add 2001:db8:2::1/64 dev br0 nodad\nlink set br0 up\n")
        batch("c", "link set lo up\nlink add back type bridge\naddr add 10.1.0.2/24 dev c0\naddr add 2001:db8:1::2/64 dev c0 nodad\n"
              "link set c0 up\naddr add 10.3.0.1/24 dev back\naddr add 2001:db8:3::1/64 dev back nodad\nlink set back up\n"
              "route add 203.0.113.0/24 via 10.1.0.1\nroute add 2001:db8:f::/64 via 2001:db8:1::1\n")
        for n, name in enumerate(self.names, 1):
            batch(name, f"link set lo up\nlink add e0 type veth peer name {name}m netns m\nlink add e1 type veth peer name {name}c netns c\n"
                  f"addr add {dip(n)}/24 dev e0\naddr add {dip(n, 6)}/64 dev e0 nodad\nlink set e0 up\n"
                  f"addr add 10.3.0.{10 + n}/24 dev e1\naddr add 2001:db8:3::{10 + n}/64 dev e1 nodad\nlink set e1 up\n"
                  f"addr add {VIP}/32 dev lo\naddr add {VIP6}/128 dev lo nodad\n"
                  f"route add 10.1.0.0/24 via 10.3.0.1\nroute add 2001:db8:1::/64 via 2001:db8:3::1\n"
                  f"link set tunl0 up\nlink set sit0 up\nlink add t6 type ip6tnl mode any local {dip(n, 6)}\nlink set t6 up\n")
            self.rp_filter_off(name)
            batch("m", f"link set {name}m master br0 up\n")
            batch("c", f"link set {name}c master back up\n")
        self.rp_filter_off("c")
        self.server = Server(self.names)
        self.has_far = False

    @staticmethod
    def rp_filter_off(ns):
        with inside(ns):
            for dev in os.listdir("/proc/sys/net/ipv4/conf"):
                with open(f"/proc/sys/net/ipv4/conf/{dev}/rp_filter", "w", encoding="ascii") as f:
                    f.write("0")

    @staticmethod
    def remove():
        have = run("ip", "netns", "list")[1].split()
        for ns in ["c", "m", "d", "r"] + [f"h{n}" for n in range(1, 10)]:
            if ns in have:
                run("ip", "netns", "del", ns)

    def stop(self):
        self.server.stop()
        self.remove()

    def reset(self, mode="hmux", port="c0m"):
        """A new mux0."""
        run("ip", "-n", "m", "link", "del", "mux0", ok=False)
        batch("m", "link add mux0 type duet\nlink set mux0 up\n")
        duet("dev", "set", "mux0", "mode", mode, "key", f"{7:032x}", "local", LOCAL)
        duet("dev", "set", "mux0", "local", LOCAL6)
        duet("port", "add", "mux0", port)
        batch("m", "route flush cache\n")
        batch("c", "route flush cache\n")
        run("ip", "-n", "c", "-6", "route", "flush", "cache")
        return self

    @contextlib.contextmanager
    def direct(self, n):
        """Host n on a link of the mux's own: br0 tells no offloads of packets in
        tunnels, so whatever goes through it is cut up."""
        batch("m", f"link set h{n}m nomaster\nroute add {dip(n)}/32 dev h{n}m\nroute add {dip(n, 6)}/128 dev h{n}m\n")
        try:
            yield
        finally:
            batch("m", f"route del {dip(n)}/32 dev h{n}m\nroute del {dip(n, 6)}/128 dev h{n}m\nlink set h{n}m master br0\n")

    def far_away(self, mtu):
        """r, and h1 behind it by a link of that MTU."""
        if self.has_far:
            return
        self.has_far = True
        run("ip", "netns", "add", "r")
        sysctl("r", ipv4__ip_forward=1, ipv6__conf__all__forwarding=1, ipv6__conf__default__accept_dad=0,
               ipv4__icmp_ratelimit=0, ipv6__icmp__ratelimit=0)
        batch("r", "link set lo up\nlink add r0 type veth peer name r0m netns m\nlink add r1 type veth peer name e2 netns h1\n"
              "addr add 10.2.0.200/24 dev r0\naddr add 2001:db8:2::200/64 dev r0 nodad\nlink set r0 up\n"
              f"addr add 10.4.0.1/24 dev r1\naddr add 2001:db8:4::1/64 dev r1 nodad\nlink set r1 mtu {mtu} up\n")
        batch("m", "link set r0m master br0 up\nroute add 10.4.0.0/24 via 10.2.0.200\nroute add 2001:db8:4::/64 via 2001:db8:2::200\n")
        batch("h1", f"addr add {far()}/24 dev e2\naddr add {far(6)}/64 dev e2 nodad\nlink set e2 mtu {mtu} up\nlink add t7 type ip6tnl mode any local {far(6)}\nlink set t7 up\n")
        self.rp_filter_off("h1")

    @staticmethod
    def vip(dips, vip=VIP, **policy):
        rules = [{"dips": [d if isinstance(d, dict) else {"address": d} for d in dips]}]
        duet("vip", "set", "mux0", "-f", "-", stdin=json.dumps({"vips": [dict({"vip": vip, "rules": rules}, **policy)]}))

    @staticmethod
    def connect(vip=VIP, seconds=30):
        with inside("c"):
            return socket.create_connection((vip, 80), timeout=seconds)

    @staticmethod
    def ask(sock):
        """The name of the host at the other end."""
        sock.send(b"?\n")
        answer = sock.recv(64)
        check(answer.endswith(b"\n"), f"the connection ended: {answer!r}")
        return answer.decode().strip()

    def bulk(self, sock, size):
        """size bytes through the mux; (host, segments that came, segments sent, retransmits)."""
        block = os.urandom(1 << 16)
        crc, left = 0, size
        sock.sendall(b"SINK")
        while left:
            part = block[:min(left, len(block))]
            sock.sendall(part)
            crc, left = zlib.crc32(part, crc), left - len(part)
        sock.shutdown(socket.SHUT_WR)
        name, got, seen, segments = sock.recv(128).decode().split()
        equal((int(got), int(seen)), (size, crc), "bytes that arrived and their checksum")
        return name, int(segments), tcp_info(sock, TCP_INFO_DATA_OUT), tcp_info(sock, TCP_INFO_RETRANS)

    @staticmethod
    def datagram(size, vip=VIP, pmtu=None):
        with inside("c"):
            sock = socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM)
        if pmtu is not None:
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, pmtu)
        sock.connect((vip, 53))
        sock.settimeout(0.5)
        return sock, os.urandom(size)

    def echoed(self, size, vip=VIP, pmtu=None, seconds=30):
        """A datagram, sent until it is answered: the host that got it whole."""
        sock, data = self.datagram(size, vip, pmtu)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                sock.send(data)
                name, length, crc = sock.recv(128).decode().split()
            except OSError:        # too big at first, or not answered yet
                continue
            equal((int(length), int(crc)), (size, zlib.crc32(data)), "length and checksum of the datagram")
            return name
        raise Failed(f"{size} bytes to {vip} were not answered within {seconds} s")


def count(name, wanted, seconds=20):
    return until(lambda: verdicts()[name] >= wanted, f"{wanted} packets counted as {name}", seconds)


def address_in(frame, vip):
    """Is it an IP packet from vip? (Not in a tunnel.)"""
    packed = ipaddress.ip_address(vip).packed
    return frame[26:30] == packed if len(packed) == 4 and frame[12:14] == b"\x08\x00" else \
        frame[22:38] == packed and frame[12:14] == b"\x86\xdd"


def watch(ns, dev):
    return packet_socket(ns, dev)
