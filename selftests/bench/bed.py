# SPDX-License-Identifier: GPL-2.0
"""The bed of a path under test: two namespaces, the generator in one, the path
in the other.

        namespace gen                      namespace mux
    pktgen -- veth0 ------------------ veth1 -> path -> sink0 (dummy,
    64-byte UDP, 1,000 source ports                    permanent neighbours)
"""
import ctypes
import json
import mmap
import os
import re
import struct
import subprocess
import sys

VIP, VIP6, TIP = "203.0.113.1", "2001:db8:100::1", "203.0.113.9"
SEGMENT = 1440			# bytes of a segment of a train: with an outer header it fills an MTU of 1500
FLOWS = 1000
O = os.environ.get("O", "out")
PORT = os.path.join(O, "bench", "port.o")
DUET = os.path.abspath(os.path.join(O, "bin", "duet"))
GRO_ON = """import ctypes, fcntl, socket, struct
value = ctypes.create_string_buffer(struct.pack("II", 0x2c, 1))	# ETHTOOL_SGRO
fcntl.ioctl(socket.socket(), 0x8946, struct.pack("16sP16x", b"veth1", ctypes.addressof(value)))"""
MARK_PROFILE, MARK_STORES, MARK_END = 0x64756574, 0x64756575, 0x64756576


def run(*cmd, **kw):
    done = subprocess.run(cmd, text=True, capture_output=True, check=False, **kw)
    if done.returncode:
        raise RuntimeError(f"{' '.join(cmd)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def ns(name, *cmd, **kw):
    return run("ip", "netns", "exec", name, *cmd, **kw)


def mark(which):
    """Tell the emulator's plugin (profile.c): nopl which(%rax); ret."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\x0f\x1f\x80" + struct.pack("<I", which) + b"\xc3")
    ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()


def dips(n, first=1, net=7):
    return [{"address": "10.%d.%d.%d" % (net, i >> 8, i & 255)} for i in range(first, first + n)]


def dips6(n):
    return [{"address": f"fd00:7::{i:x}"} for i in range(1, n + 1)]


class Bed:
    def __init__(self, program="pass", queues=1):
        for name in ("gen", "mux"):
            run("ip", "netns", "add", name)
        count = ("numtxqueues", str(queues), "numrxqueues", str(queues))
        run("ip", "link", "add", "veth0", "netns", "gen", *count, "type", "veth",
            "peer", "name", "veth1", "netns", "mux", *count)
        run("ip", "-n", "gen", "-batch", "-", input="""
link set lo up
link set veth0 addrgenmode none
addr add 10.9.0.1/24 dev veth0
link set veth0 up
""")
        ns("mux", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
           "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.veth1.rp_filter=0", "net.ipv6.conf.default.accept_dad=0")
        run("ip", "-n", "mux", "-batch", "-", input=f"""
link set lo up
link set veth1 addrgenmode none
addr add 10.9.0.2/24 dev veth1
addr add fd00:9::2/64 dev veth1 nodad
link set veth1 xdp obj {PORT} program {program}
link set veth1 up
link add sink0 type dummy
link set sink0 addrgenmode none
addr add 10.8.0.1/24 dev sink0
addr add fd00:8::1/64 dev sink0 nodad
link set sink0 up
neigh add 10.8.0.2 lladdr 02:00:00:00:08:02 dev sink0 nud permanent
neigh add fd00:8::2 lladdr 02:00:00:00:08:02 dev sink0 nud permanent
route add 10.7.0.0/16 via 10.8.0.2
route add 10.16.0.0/12 via 10.8.0.2
route add fd00:7::/32 via fd00:8::2
""")
        self.mac = ns("mux", "cat", "/sys/class/net/veth1/address").strip()

    def close(self):
        for name in ("gen", "mux"):
            run("ip", "netns", "del", name)

    def cli(self, *args, **kw):
        return ns("mux", DUET, *args, **kw)

    def device(self, mode="hmux", limits=True):
        run("ip", "-n", "mux", "link", "add", "mux0", "type", "duet")
        args = ["mode", mode, "key", f"{0x5eed:032x}", "local", "10.8.0.1", "local", "fd00:8::1"]
        if mode == "hmux" and limits:
            args += ["limits", "vips", "0", "rules", "0", "members", "0", "tunnels", "0"]
        self.cli("dev", "set", "mux0", *args)
        run("ip", "-n", "mux", "link", "set", "mux0", "up")

    def vips(self, vip_list, name="vips"):
        path = f"/tmp/{name}.json"
        with open(path, "w", encoding="ascii") as f:
            json.dump({"vips": vip_list}, f)
        self.cli("vip", "set", "mux0", "-f", path)

    def mux(self, mode="hmux", n_dips=4, more=(), port=True, vip=None, limits=True):
        """A mux with the VIP and more."""
        self.device(mode, limits)
        self.vips([vip or {"vip": VIP, "rules": [{"dips": dips(n_dips)}]}] + list(more))
        if port:
            self.cli("port", "add", "mux0", "veth1")

    def sent(self):
        """Packets that left."""
        return int(ns("mux", "cat", "/sys/class/net/sink0/statistics/tx_packets"))

    def stats(self):
        return json.loads(self.cli("-j", "stats", "mux0"))

    def merge(self):
        """GRO, which an XDP program alone doesn't turn on, and it waits for more of a connection than one packet,
        as behind a card that has many at a time"""
        ns("mux", sys.executable, "-c", GRO_ON)
        ns("mux", "sh", "-c", "echo 2000000 >/sys/class/net/veth1/gro_flush_timeout")

    def pktgen(self, packets, dev="veth0", dst=VIP, flows="ports", profile=False, size=None):
        """Send packets; virtual nanoseconds for each. flows: ports (1,000 source
        ports, at random), any (16 million addresses and all ports), million (each
        of 999,919 flows once) or random million (among those). size: bytes of a frame."""
        v6 = ":" in dst
        set_up = [f"count {packets}", "clone_skb 0", f"pkt_size {size or (84 if v6 else 64)}", "delay 0",
                  f"dst_mac {self.mac}", "udp_dst_min 80", "udp_dst_max 80", "flag NO_TIMESTAMP"]
        set_up += [f"dst6 {dst}", "src6 fd00:9::1"] if v6 else [f"dst {dst}"]
        if flows == "ports":
            set_up += ["udp_src_min 1024", f"udp_src_max {1024 + FLOWS}", "flag UDPSRC_RND"]
            set_up += [] if v6 else ["src_min 10.9.0.1", "src_max 10.9.0.1"]
        elif flows == "any":
            set_up += ["udp_src_min 1024", "udp_src_max 65535", "src_min 10.64.0.0", "src_max 10.127.255.255",
                       "flag UDPSRC_RND", "flag IPSRC_RND"]
        else:
            # 1,009 ports and 991 addresses, both a prime: one step of both at a time meets each pair once
            set_up += ["udp_src_min 1024", "udp_src_max 2033", "src_min 10.64.0.0", "src_max 10.64.3.222"]
            set_up += ["flag UDPSRC_RND", "flag IPSRC_RND"] if flows == "random million" else []
        script = "set -e\np=/proc/net/pktgen\necho rem_device_all >$p/kpktgend_0\n" \
                 f"echo add_device {dev} >$p/kpktgend_0\n"
        for line in set_up:
            script += f"echo '{line}' >$p/{dev}" + (" || :\n" if line == "flag NO_TIMESTAMP" else "\n")
        ns("gen", "sh", "-c", script)
        if profile:
            mark(MARK_PROFILE)
        text = ns("gen", "sh", "-c", f"echo start >/proc/net/pktgen/pgctrl && cat /proc/net/pktgen/{dev}")
        if profile:
            mark(MARK_END)
        m = re.search(r"Result: OK: (\d+)\(c(\d+)\+d(\d+)\) usec, (\d+)", text)
        if not m or int(m.group(4)) != packets:
            raise RuntimeError("pktgen: " + text)
        return int(m.group(1)) * 1000.0 / packets
