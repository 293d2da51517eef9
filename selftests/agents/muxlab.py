# SPDX-License-Identifier: GPL-2.0
"""A mux agent and its BIRD in one namespace, a BGP neighbour in another, and a watcher on that neighbour."""
import errno
import json
import multiprocessing
import os
import select
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import BIN, CLEANUP, Daemon, equal, folder, inside, namespace, rest, run, until  # noqa: E402

NS, PEER, PORT = "duet-t-mux", "duet-t-peer", 8471
BIRD = """
router id {id};
log stderr all;
debug protocols off;
ipv4 table duet4;
ipv6 table duet6;
protocol device {{ scan time 1; }}
protocol kernel kmain {{ ipv4 {{ export all; import none; }}; }}
protocol kernel kduet {{ kernel table 199; learn; scan time {scan}; {buffer}
  ipv4 {{ table duet4; import filter {{ if krt_source = 199 || krt_source = 198 then accept; reject; }}; export none; }}; }}
protocol pipe {{ table master4; peer table duet4; import all; export none; }}
protocol kernel kmain6 {{ ipv6 {{ export all; import none; }}; }}
protocol kernel kduet6 {{ kernel table 199; learn; scan time {scan}; {buffer}
  ipv6 {{ table duet6; import filter {{ if krt_source = 199 || krt_source = 198 then accept; reject; }}; export none; }}; }}
protocol pipe {{ table master6; peer table duet6; import all; export none; }}
protocol bgp peer {{ local {own} as {asn}; neighbor {other} as {other_asn}; connect delay time 0; connect retry time 1; error wait time 1, 1;
  ipv4 {{ import all; next hop self; export filter {{ if defined(krt_source) then if krt_source = 198 then bgp_community.add((65535, 0)); accept; }}; }};
  ipv6 {{ import all; next hop address {own6}; export filter {{ if defined(krt_source) then if krt_source = 198 then bgp_community.add((65535, 0)); accept; }}; }}; }}
"""
ADDRESS6 = {"10.255.0.0": "2001:db8:ff::a", "10.255.0.1": "2001:db8:ff::b"}
VIPS = ["203.0.113.1", "203.0.113.2", "203.0.113.3"]


def wish(vip, dips=("10.1.1.1", "10.1.1.2", "10.1.1.3"), announce="yes", down=()):
    return {"vip": vip, "announce": announce,
            "rules": [{"dips": [{"address": d, "state": "down" if d in down else "up"} for d in dips]}]}


class Lab:
    """An agent and its BIRD in one namespace, a BGP neighbour in another."""

    def __init__(self, mode="hmux", bird=True, hold_ms=300, backend="sim", scan=1, buffer="netlink rx buffer 67108864;", **device):
        self.scan, self.buffer = scan, buffer
        for ns in (NS, PEER):
            namespace(ns)
        run("ip", "-n", NS, "link", "add", "swp1", "type", "veth", "peer", "name", "swp1", "netns", PEER)
        for ns, address in ((NS, "10.255.0.0/31"), (PEER, "10.255.0.1/31")):
            run("ip", "-n", ns, "addr", "add", address, "dev", "swp1")
            run("ip", "-n", ns, "link", "set", "swp1", "up")
            run("ip", "-n", ns, "addr", "add", f"{ADDRESS6[address.split('/')[0]]}/64", "dev", "swp1", "nodad")
        # the DIPs are somewhere behind the neighbour
        run("ip", "-n", NS, "route", "add", "10.1.0.0/16", "via", "10.255.0.1")
        run("ip", "-n", NS, "-6", "route", "add", "2001:db8:1::/48", "via", "2001:db8:ff::b")
        self.dir, self.generation, self.epoch = folder(), 0, 1
        self.socket = f"{self.dir}/bird.ctl"
        self.daemons = {}
        self.conf = f"{self.dir}/agent.conf"
        with open(self.conf, "w", encoding="ascii") as f:
            f.write(f"[agent]\nname=tor1\nlisten=127.0.0.1:{PORT}\ninsecure=yes\nrun_dir={self.dir}\n"
                    f"[device]\nname=hmux0\nmode={mode}\nlocal=10.254.0.7\nlocal6=2001:db8:254::7\nbackend={backend}\n"
                    + "".join(f"{k}={v}\n" for k, v in device.items())
                    + f"[bird]\nsocket={self.socket}\n[announce]\nhold_ms={hold_ms}\n")
        if bird:
            self.bird()
            self.start("peer-bird", PEER, "bird", "-f", "-c", self.bird_conf("peer", "10.255.0.1", 65002, "10.255.0.0", 65001),
                       "-s", f"{self.dir}/peer.ctl")
        self.start("agent", NS, f"{BIN}/duet-mux-agent", "-c", self.conf)
        CLEANUP.append(self.stop)
        until(self.answers, "the agent answers")

    def bird_conf(self, name, own, asn, other, other_asn):
        path = f"{self.dir}/{name}.conf"
        with open(path, "w", encoding="ascii") as f:
            f.write(BIRD.format(id=own, own=own, own6=ADDRESS6[own], asn=asn, other=other, other_asn=other_asn, scan=self.scan,
                                buffer=self.buffer))
        return path

    def bird(self):
        self.start("bird", NS, "bird", "-f", "-c", self.bird_conf("mux", "10.255.0.0", 65001, "10.255.0.1", 65002), "-s", self.socket)

    def start(self, key, ns, *args):
        if key in self.daemons:
            self.daemons[key].start()	# as it was started the first time
        else:
            self.daemons[key] = Daemon(ns, key, *args)

    def stop(self):
        for daemon in self.daemons.values():
            daemon.remove()

    def answers(self):
        try:
            return self.ask("GET", "/v1/status")[0] == 200
        except OSError:
            return False

    @staticmethod
    def ask(method, path, body=None):
        return rest(NS, PORT, method, path, body)

    def put(self, *vips, ok=True, **more):
        self.generation += 1
        status, answer = self.ask("PUT", "/v1/state", {"epoch": self.epoch, "generation": self.generation, "key": "7".zfill(32),
                                                       "aggregate": None, "vips": list(vips), **more})
        if ok:
            equal(status, 200, f"status of PUT /v1/state ({answer})")
        return (status, answer) if not ok else answer

    def put_vip(self, vip, **more):
        self.generation += 1
        return self.ask("PUT", f"/v1/vips/{vip['vip']}", {"epoch": self.epoch, "generation": self.generation, **vip, **more})

    def delete(self, vip):
        self.generation += 1
        return self.ask("DELETE", f"/v1/vips/{vip}?epoch={self.epoch}&generation={self.generation}")

    def status(self):
        return self.ask("GET", "/v1/status")[1]

    def vips(self):
        return {v["vip"]: v for v in self.status()["vips"]}

    @staticmethod
    def triggers():
        text = run("ip", "-n", NS, "-j", "route", "show", "table", "199", ok=False)
        routes = json.loads(text) if "]" in text else []	# a table without routes isn't there
        return {r["dst"]: r["protocol"] for r in routes}

    @staticmethod
    def peer_routes():
        routes = json.loads(run("ip", "-n", PEER, "-j", "route", "show", "table", "main"))
        return {r["dst"] for r in routes if r.get("protocol") == "bird"}


RTM_NEWROUTE, RTM_DELROUTE, RTA_DST, RTPROT_BIRD, MAIN = 24, 25, 1, 12, 254
SOL_SOCKET_RCVBUFFORCE = 33


def route_events(data):
    """(is new, VIP) of what BIRD did to a /32 of the main table"""
    while len(data) >= 28:
        length, kind = struct.unpack_from("IH", data)
        if kind in (RTM_NEWROUTE, RTM_DELROUTE):
            family, dst_len, _, _, table, proto = struct.unpack_from("BBBBBB", data, 16)
            at = 28
            while family == socket.AF_INET and dst_len == 32 and table == MAIN and proto == RTPROT_BIRD and at + 4 <= length:
                size, attr = struct.unpack_from("HH", data, at)
                if attr == RTA_DST:
                    yield kind == RTM_NEWROUTE, socket.inet_ntoa(data[at + 4:at + 8])
                at += (size + 3) & ~3
        data = data[(length + 3) & ~3:]


class Watcher:
    """Looks all the time at the neighbour's routes and at what the mux serves: a VIP whose route is there while the mux
    has no table for it, before and after one and the same look, was announced unprogrammed."""

    def __init__(self, ns, served):
        self.ours, other = multiprocessing.Pipe()
        self.child = multiprocessing.Process(target=self._run, args=(ns, served, other), daemon=True)
        self.child.start()
        other.close()
        self.ours.recv()	# it listens

    @staticmethod
    def _run(ns, served, pipe):
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        with inside(ns):
            s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        s.setsockopt(socket.SOL_SOCKET, SOL_SOCKET_RCVBUFFORCE, 64 << 20)
        s.bind((0, 0x40))
        s.setblocking(False)
        there, since, violations, looks, events, lost = set(), {}, {}, 0, [], 0
        pipe.send("ready")

        def drain():
            nonlocal lost
            while True:
                try:
                    data = s.recv(1 << 20)
                except BlockingIOError:
                    return
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    lost += 1
                    continue
                now = time.monotonic()
                for new, vip in route_events(data):
                    if new and vip not in there:
                        since[vip] = now
                    (there.add if new else there.discard)(vip)
                    events.append((now, vip, new))

        while not pipe.poll(0):
            select.select([s, pipe], [], [], 0.002)
            drain()
            missing = [v for v in there if not served(v)]
            if missing:
                drain()		# what was withdrawn by then isn't announced
                for vip in missing:
                    if vip in there and not served(vip):
                        violations.setdefault(vip, [time.monotonic(), since.get(vip)])
            looks += 1
        pipe.send({"violations": violations, "looks": looks, "events": events, "lost": lost})

    def stop(self):
        self.ours.send("stop")
        result = self.ours.recv()
        self.child.join(20)
        return result
