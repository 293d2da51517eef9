# SPDX-License-Identifier: GPL-2.0
"""Network namespaces and rtnetlink without a process for every command: under
software emulation a fork costs more than everything the command then does.

Namespace(name) is one below /run/netns; `with ns:` puts this process into it,
so sockets made and programs started inside belong to it. Rtnl is a netlink
socket of one namespace: requests are queued and sent many at a time.
"""
import ctypes
import errno
import os
import select
import socket
import struct
import time

NETNS_DIR = "/run/netns"
CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_SHARED, MNT_DETACH = 4096, 16384, 1 << 20, 2

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR = 20
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWRULE, FR_ACT_TO_TBL = 32, 1
FRA_DST, FRA_IIFNAME, FRA_PRIORITY, FRA_TABLE = 1, 3, 6, 15
IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_FD = 3, 4, 10, 18, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_METRICS, RTA_MULTIPATH, RTA_TABLE = 1, 4, 5, 8, 9, 15
RTAX_MTU, RTAX_QUICKACK = 2, 15
RTMGRP_IPV4_ROUTE = 0x40
RT_MAIN, PROTO_STATIC, SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST, SCOPE_NOWHERE = 254, 4, 0, 253, 254, 255
IFF_UP = 1
SO_ATTACH_FILTER, SO_RCVBUFFORCE = 26, 33

libc = ctypes.CDLL(None, use_errno=True)


def _call(what, result):
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


class Namespace:
    """A named network namespace; usable as `with ns:`, also nested."""

    def __init__(self, name):
        self.name = name
        self.path = os.path.join(NETNS_DIR, name)
        self._fd = None
        self._back = []

    @staticmethod
    def prepare():
        """/run/netns as `ip netns` wants it: a shared mount, so that all see what is added"""
        os.makedirs(NETNS_DIR, exist_ok=True)
        target = NETNS_DIR.encode()
        if libc.mount(b"", target, b"none", MS_SHARED | MS_REC, None) == 0:
            return
        _call(f"bind mount of {NETNS_DIR}", libc.mount(target, target, b"none", MS_BIND | MS_REC, None))
        _call(f"shared mount of {NETNS_DIR}", libc.mount(b"", target, b"none", MS_SHARED | MS_REC, None))

    def create(self):
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.close(os.open(self.path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
            _call(f"new namespace {self.name}", libc.unshare(CLONE_NEWNET))
            _call(f"mount of {self.path}",
                  libc.mount(b"/proc/self/ns/net", self.path.encode(), b"none", MS_BIND, None))
        finally:
            _call("return to the first namespace", libc.setns(home, CLONE_NEWNET))
            os.close(home)

    def delete(self):
        self.close()
        libc.umount2(self.path.encode(), MNT_DETACH)
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass

    def exists(self):
        return os.path.exists(self.path)

    @property
    def fd(self):
        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return self._fd

    def close(self):
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def inode(self):
        return os.stat(self.path).st_ino

    def __enter__(self):
        self._back.append(os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        _call(f"setns {self.name}", libc.setns(self.fd, CLONE_NEWNET))
        return self

    def __exit__(self, *exc):
        home = self._back.pop()
        _call("setns back", libc.setns(home, CLONE_NEWNET))
        os.close(home)

    def sysctl(self, values):
        """{"net.ipv4.ip_forward": 1, ...}, written from inside"""
        with self:
            for name, value in values.items():
                with open("/proc/sys/" + name.replace(".", "/"), "w", encoding="ascii") as f:
                    f.write(str(value))


def attr(kind, payload):
    if isinstance(payload, int):
        payload = struct.pack("I", payload)
    elif isinstance(payload, str):
        payload = payload.encode() + b"\0"
    size = 4 + len(payload)
    return struct.pack("HH", size, kind) + payload + b"\0" * (-size % 4)


def attrs(data):
    found = {}
    while len(data) >= 4:
        size, kind = struct.unpack_from("HH", data)
        if size < 4:
            break
        found[kind & 0x3fff] = data[4:size]
        data = data[(size + 3) & ~3:]
    return found


def ip4(text):
    return socket.inet_aton(text)


def prefix4(text):
    addr, _, length = text.partition("/")
    return ip4(addr), int(length or 32)


def parse_route(body):
    """A route as a dict: dst, table, proto, type, hops (set of (gateway, ifindex))"""
    _, dst_len, _, _, table, proto, _, kind, _ = struct.unpack_from("BBBBBBBBI", body)
    a = attrs(body[12:])
    dst = socket.inet_ntoa(a.get(RTA_DST, b"\0\0\0\0")) + f"/{dst_len}"
    if RTA_TABLE in a:
        table = struct.unpack("I", a[RTA_TABLE])[0]
    hops = set()

    def hop(found, ifindex):
        via = found.get(RTA_GATEWAY)
        hops.add((socket.inet_ntoa(via) if via else None, ifindex))

    if RTA_MULTIPATH in a:
        rest = a[RTA_MULTIPATH]
        while len(rest) >= 8:
            size, _, _, ifindex = struct.unpack_from("HBBi", rest)
            if size < 8:
                break
            hop(attrs(rest[8:size]), ifindex)
            rest = rest[(size + 3) & ~3:]
    elif RTA_OIF in a:
        hop(a, struct.unpack("I", a[RTA_OIF])[0])
    return {"dst": dst, "table": table, "proto": proto, "type": kind, "hops": hops}


class Rtnl:
    """Netlink route socket of the namespace that it was made in."""

    def __init__(self, groups=0):
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20 if groups else 1 << 20)
        self.sock.bind((0, groups))
        self.seq = 0
        self.queue = []		# (sequence number, what, message)
        self.index = {}
        self.last_index = 100

    def close(self):
        self.sock.close()

    def fileno(self):
        return self.sock.fileno()

    def add(self, kind, flags, body, what, ok=()):
        """queue a request; errors named in ok are none"""
        self.seq += 1
        message = struct.pack("IHHII", 16 + len(body), kind, NLM_F_REQUEST | NLM_F_ACK | flags, self.seq, 0) + body
        self.queue.append((self.seq, what, message, ok))

    def flush(self):
        """send what is queued, wait for all answers, raise the first error"""
        first = None
        while self.queue:
            part, self.queue = self.queue[:50], self.queue[50:]
            waiting = {seq: (what, ok) for seq, what, _, ok in part}
            self.sock.send(b"".join(message for _, _, message, _ in part))
            while waiting:
                for kind, seq, body in self._receive():
                    if kind != NLMSG_ERROR or seq not in waiting:
                        continue
                    what, ok = waiting.pop(seq)
                    code = -struct.unpack_from("i", body)[0]
                    if code and code not in ok and first is None:
                        first = OSError(code, f"{what}: {os.strerror(code)}")
        if first:
            raise first

    def _receive(self):
        data = self.sock.recv(1 << 18)
        found = []
        while len(data) >= 16:
            size, kind, _, seq, _ = struct.unpack_from("IHHII", data)
            found.append((kind, seq, data[16:size]))
            data = data[(size + 3) & ~3:]
        return found

    def dump(self, kind, body):
        self.seq += 1
        self.sock.send(struct.pack("IHHII", 16 + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP, self.seq, 0) + body)
        found = []
        while True:
            for what, seq, data in self._receive():
                if seq != self.seq:
                    continue
                if what == NLMSG_DONE:
                    return found
                if what == NLMSG_ERROR:
                    code = -struct.unpack_from("i", data)[0]
                    raise OSError(code, os.strerror(code))
                found.append(data)

    # links

    def veth(self, name, ns, peer, peer_ns, mtu=1500):
        # Both come down: a veth can't be opened before it has its other end. Every
        # device of a run has an index of its own, for the kernel delays the news of
        # a lost carrier by up to a second where both ends have the same index.
        self.last_index += 2
        head = struct.pack("BBHiII", 0, 0, 0, self.last_index, 0, 0)
        other = struct.pack("BBHiII", 0, 0, 0, self.last_index + 1, 0, 0) + attr(IFLA_IFNAME, peer) + attr(IFLA_MTU, mtu) + attr(IFLA_NET_NS_FD, peer_ns.fd)
        info = attr(IFLA_INFO_KIND, "veth") + attr(IFLA_INFO_DATA, attr(VETH_INFO_PEER, other))
        body = head + attr(IFLA_IFNAME, name) + attr(IFLA_MTU, mtu) + attr(IFLA_NET_NS_FD, ns.fd)
        body += attr(IFLA_LINKINFO, info)
        self.add(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"link {ns.name}:{name} - {peer_ns.name}:{peer}")

    def link(self, name, kind):
        body = struct.pack("BBHiII", 0, 0, 0, 0, IFF_UP, IFF_UP)
        body += attr(IFLA_IFNAME, name) + attr(IFLA_LINKINFO, attr(IFLA_INFO_KIND, kind))
        self.add(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"{kind} device {name}")

    def link_del(self, name):
        self.add(RTM_DELLINK, 0, struct.pack("BBHiII", 0, 0, 0, 0, 0, 0) + attr(IFLA_IFNAME, name),
                 f"delete {name}", (errno.ENODEV,))

    def links(self):
        """names and indexes of all links"""
        self.index = {}
        for body in self.dump(RTM_GETLINK, struct.pack("BBHiII", 0, 0, 0, 0, 0, 0)):
            self.index[attrs(body[16:])[IFLA_IFNAME].rstrip(b"\0").decode()] = struct.unpack_from("i", body, 4)[0]
        return self.index

    def ifindex(self, name):
        if name not in self.index and name not in self.links():
            raise OSError(errno.ENODEV, f"no link {name}")
        return self.index[name]

    def set_link(self, name, up, master=None):
        body = struct.pack("BBHiII", 0, 0, 0, 0, IFF_UP if up else 0, IFF_UP) + attr(IFLA_IFNAME, name)
        if master:
            body += attr(IFLA_MASTER, self.ifindex(master))
        self.add(RTM_NEWLINK, 0, body, f"{name} {'up' if up else 'down'}")

    # addresses and routes

    def address(self, name, prefix, scope=SCOPE_UNIVERSE):
        addr, length = prefix4(prefix)
        body = struct.pack("BBBBI", socket.AF_INET, length, 0, scope, self.ifindex(name))
        self.add(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body + attr(IFA_LOCAL, addr) + attr(IFA_ADDRESS, addr),
                 f"address {prefix} on {name}")

    def route(self, prefix, dev, via=None, table=RT_MAIN, proto=PROTO_STATIC, metrics=None, delete=False):
        addr, length = prefix4(prefix)
        scope = SCOPE_UNIVERSE if via else SCOPE_LINK
        if delete:
            scope, proto = SCOPE_NOWHERE, 0	# whatever these are
        body = struct.pack("BBBBBBBBI", socket.AF_INET, length, 0, 0, table, proto, scope, 1, 0)
        body += attr(RTA_DST, addr) if length else b""
        body += attr(RTA_OIF, self.ifindex(dev))
        if via:
            body += attr(RTA_GATEWAY, ip4(via))
        if metrics:
            body += attr(RTA_METRICS, b"".join(attr(k, v) for k, v in metrics.items()))
        if delete:
            self.add(RTM_DELROUTE, 0, body, f"delete route {prefix}", (errno.ESRCH,))
        else:
            self.add(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body, f"route {prefix} dev {dev}")

    def rule(self, iif, prefix, table, priority):
        """packets to prefix that came in by iif are looked up in table first"""
        addr, length = prefix4(prefix)
        body = struct.pack("BBBBBBBBI", socket.AF_INET, length, 0, 0, table, 0, 0, FR_ACT_TO_TBL, 0)
        body += attr(FRA_DST, addr) + attr(FRA_IIFNAME, iif) + attr(FRA_PRIORITY, priority) + attr(FRA_TABLE, table)
        self.add(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, body, f"rule iif {iif} to {prefix}")

    def routes(self, table=RT_MAIN):
        """{prefix: route} of one table"""
        found = {}
        for body in self.dump(RTM_GETROUTE, struct.pack("BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)):
            route = parse_route(body)
            if route["table"] == table:
                found[route["dst"]] = route
        return found

    def route_events(self):
        """all that a socket of RTMGRP_IPV4_ROUTE has to tell: (added?, route) pairs"""
        found = []
        while True:
            try:
                data = self.sock.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            size, kind = struct.unpack_from("IH", data)
            if kind in (RTM_NEWROUTE, RTM_DELROUTE):
                found.append((kind == RTM_NEWROUTE, parse_route(data[16:size])))

    def only(self, octet):
        """of route events, only those of prefixes that begin with octet: others cost a program
        that wants to know the time more than it has. 40: where RTA_DST is, behind RTA_TABLE"""
        load, equal, give = (0x30, 0, 0, 40), (0x15, 0, 1, octet), (0x06, 0, 0, 0xffffffff)
        code = b"".join(struct.pack("HBBI", *i) for i in (load, equal, give, (0x06, 0, 0, 0)))
        hold = ctypes.create_string_buffer(code)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxQ", 4, ctypes.addressof(hold)))


class Watch:
    """Routes of many namespaces as they change, without asking again: want(test)
    waits until test(table) holds everywhere, and says when. octet: changes of
    prefixes that begin with it only. What came since the last call is read first,
    which takes time: drain() before the clock starts."""

    def __init__(self, namespaces, octet=None):
        self.socks = {}
        self.tables = {}
        self.changes = []	# (namespace, added?, prefix), in the order they came
        self.poll = select.epoll()
        for ns in namespaces:
            with ns:
                sock, ask = Rtnl(RTMGRP_IPV4_ROUTE), Rtnl()
            if octet is not None:
                sock.only(octet)
            self.tables[ns.name] = ask.routes()
            ask.close()
            self.socks[sock.fileno()] = (ns.name, sock)
            self.poll.register(sock.fileno(), select.EPOLLIN)

    def close(self):
        for _, sock in self.socks.values():
            sock.close()
        self.poll.close()

    def take(self, timeout):
        """read what happened within timeout; number of namespaces heard of"""
        heard = self.poll.poll(max(timeout, 0))
        for fd, _ in heard:
            name, sock = self.socks[fd]
            for added, route in sock.route_events():
                if route["table"] != RT_MAIN:
                    continue
                self.changes.append((name, added, route["dst"]))
                if added:
                    self.tables[name][route["dst"]] = route
                else:
                    old = self.tables[name].get(route["dst"])
                    if old and (old["hops"] == route["hops"] or not route["hops"]):
                        del self.tables[name][route["dst"]]
        return len(heard)

    def drain(self):
        """read what came so far"""
        while self.take(0):
            pass

    def read_for(self, seconds):
        """read whatever happens for so long"""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.take(left)

    def want(self, test, names=None, seconds=10.0):
        """wait until test(table) holds in all; (monotonic time or None, names where it does not)"""
        deadline = time.monotonic() + seconds
        missing = set(names or self.tables)
        while True:
            missing = {name for name in missing if not test(self.tables[name])}
            now = time.monotonic()
            if not missing:
                return now, missing
            if now >= deadline:
                return None, missing
            self.take(deadline - now)
