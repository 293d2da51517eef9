#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-host-agent: outgoing connections with a VIP as source, through stateless selection.

   host 0..7 (a DIP each, an agent each) 10.97.i.1 ---- 10.97.i.0 core: the Internet (198.51.100.0/24) and the mux
What comes back to the VIP is selected by the model of hash and table and by nothing else, and tunnelled there.
With DUET_REAL_MUX=1 (in the VM, module loaded) the mux is the kernel module's.
"""
import errno
import json
import os
import resource
import select
import selectors
import signal
import socket
import struct
import sys
import tempfile
import threading
import time

import lib
from lib import BIN, LIBC, TOP, Failed, check, equal, inside, namespace, rest, run, test, until

sys.path.insert(0, os.path.join(TOP, "selftests", "model"))
import duet_model as model  # pylint: disable=wrong-import-position

REAL = bool(os.environ.get("DUET_REAL_MUX"))
N, KEY = 8, model.key(4711)
TOTAL = int(os.environ.get("DUET_SNAT_CONNECTIONS", "10000"))
VIP, VIP2, MUX = "203.0.113.1", "203.0.113.2", "10.97.255.1"
CORE, HOSTS = f"snat-c{os.getpid()}", [f"snat-{i}-{os.getpid()}" for i in range(N)]
DIPS = [f"10.97.{i}.1" for i in range(N)]
REMOTES = [f"198.51.100.{i}" for i in range(1, 21)]
SIZE = 2048     # ports a host


def rules(down=(), dips=DIPS):
    return [{"dips": [{"address": d, "weight": 1, "state": "down" if d in down else "up"} for d in dips]}]


class Mux:
    """What comes to a VIP goes to the DIP that the model selects; no state but a cache of that function."""

    def __init__(self):
        self.tables, self.cache, self.sent, self.over = {}, {}, {}, False
        self.key, self.keeps = KEY, True
        with inside(CORE):
            import fcntl
            self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.tun, 0x400454ca, struct.pack("16sH22x", b"tun9", 0x1001))
            self.raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 4)
            self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
            self.raw.bind((MUX, 0))
        run("ip", "-n", CORE, "link", "set", "tun9", "up", "mtu", "1400", "txqueuelen", "10000")
        for vip in (VIP, VIP2):
            run("ip", "-n", CORE, "route", "add", f"{vip}/32", "dev", "tun9")
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def set(self, vip, down=(), dips=DIPS):
        self.tables[vip] = model.Table([(d, 1, d in down) for d in dips])
        self.cache = {}

    def rekey(self, key, keeps):
        """another key; keeps: as an SMux, flows stay on their DIPs"""
        self.key = key
        if not keeps:
            self.cache = {}

    def loop(self):
        while not self.over:
            if not select.select([self.tun], [], [], 0.1)[0]:
                continue
            for _ in range(64):
                try:
                    p = os.read(self.tun, 2000)
                except BlockingIOError:
                    break
                if p[0] >> 4 != 4:
                    continue    # the device says hello by IPv6
                key = p[12:24]
                dip = self.cache.get(key)
                if not dip:
                    sport, dport = struct.unpack("!HH", p[20:24])
                    dip = self.cache[key] = self.tables[socket.inet_ntoa(p[16:20])].choose(
                        socket.inet_ntoa(p[12:16]), socket.inet_ntoa(p[16:20]), p[9], sport, dport, self.key)
                self.sent[dip] = self.sent.get(dip, 0) + 1
                try:
                    self.raw.sendto(p, (dip, 0))
                except OSError:
                    pass


class Module:
    """The same by the kernel module: the very code of a mux."""

    keeps = False	# an HMux

    def __init__(self):
        duet = os.path.join(BIN, "duet")
        self.duet = lambda *a: run("ip", "netns", "exec", CORE, duet, *a)
        run("ip", "-n", CORE, "link", "add", "mux0", "type", "duet")
        self.duet("dev", "set", "mux0", "mode", "hmux", "key", KEY, "local", MUX)
        run("ip", "-n", CORE, "link", "set", "mux0", "up")
        for vip in (VIP, VIP2):
            run("ip", "-n", CORE, "route", "add", f"{vip}/32", "dev", "mux0")

    def set(self, vip, down=(), dips=DIPS):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump({"vips": [{"vip": vip, "rules": rules(down, dips)}]}, f)
            f.flush()
            self.duet("vip", "set", "mux0", "-f", f.name)

    def rekey(self, key, keeps):
        first = key == KEY
        if not first:
            self.duet("dev", "set", "mux0", "key1", key)
        self.duet("vip", "set", "mux0", VIP, "key", "0" if first else "1", "dip", *DIPS)
        if first:
            self.duet("dev", "set", "mux0", "key1", "none")


class Internet:
    """Servers at every remote address: they say who they think calls, and echo. A process of its own: for its open files."""

    def __init__(self):
        self.select = selectors.EpollSelector()
        for a in REMOTES:
            with inside(CORE):
                s = socket.socket()
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind((a, 80))
                s.listen(4096)
            s.setblocking(False)
            self.select.register(s, selectors.EVENT_READ, True)
        self.child = os.fork()
        if not self.child:
            LIBC.prctl(1, signal.SIGKILL)   # PR_SET_PDEATHSIG
            self.loop()

    def loop(self):
        while True:
            for key, _ in self.select.select():
                try:
                    if key.data is True:
                        s, peer = key.fileobj.accept()
                        s.setblocking(False)
                        s.send(f"{peer[0]} {peer[1]}\n".encode())
                        self.select.register(s, selectors.EVENT_READ, False)
                        continue
                    data = key.fileobj.recv(1000)
                    if data:
                        key.fileobj.send(data)
                        continue
                except BlockingIOError:
                    continue
                except OSError:
                    pass
                self.select.unregister(key.fileobj)
                key.fileobj.close()

    def stop(self):
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)


class World:
    pass


W = World()


def setup(listen="127.0.0.1", controller="http://127.0.0.1:9", pins=False):
    """pins: what agents pin outlives them, as where /sys/fs/bpf is the machine's"""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    namespace(CORE)
    run("ip", "-n", CORE, "addr", "add", f"{MUX}/32", "dev", "lo")
    for a in REMOTES:
        run("ip", "-n", CORE, "addr", "add", f"{a}/32", "dev", "lo")
    run("ip", "netns", "exec", CORE, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
    W.folder = lib.folder()
    pin = os.path.join(W.folder, "bpf")
    if pins:
        os.mkdir(pin)
        run("mount", "-t", "bpf", "bpf", pin)
        lib.CLEANUP.append(lambda: run("umount", pin))
    for i, ns in enumerate(HOSTS):
        namespace(ns)
        run("ip", "-n", CORE, "link", "add", f"c{i}", "type", "veth", "peer", "name", "eth0", "netns", ns)
        run("ip", "-n", CORE, "addr", "add", f"10.97.{i}.0/31", "dev", f"c{i}")
        run("ip", "-n", ns, "addr", "add", f"{DIPS[i]}/31", "dev", "eth0")
        run("ip", "-n", CORE, "link", "set", f"c{i}", "up")
        run("ip", "-n", ns, "link", "set", "eth0", "up")
        run("ip", "-n", ns, "route", "add", "default", "via", f"10.97.{i}.0")
        path = os.path.join(W.folder, f"{i}.conf")
        with open(path, "w", encoding="ascii") as f:
            f.write(f"[agent]\nname = {ns}\nlisten = {listen}:8472\ninsecure = yes\ncontroller = {controller}\n"
                    f"[host]\ninterface = eth0\naddress = {DIPS[i]}\nmanage_sysctl = yes\n" + (f"pin = {pin}/{ns}\n" if pins else ""))
        W.agents.append(lib.Daemon(ns, f"host{i}", os.path.join(BIN, "duet-host-agent"), "-c", path))
        lib.CLEANUP.append(W.agents[-1].remove)
    W.internet = Internet()
    lib.CLEANUP.append(W.internet.stop)
    W.mux, W.generation = Module() if REAL else Mux(), 0
    for ns in HOSTS:
        until(lambda n=ns: healthy(n), f"agent of {ns}", 60)
    for vip in (VIP, VIP2):
        W.mux.set(vip)


def healthy(ns):
    try:
        return rest(ns, 8472, "GET", "/healthz")[0] == 200
    except OSError:
        return False


def put(i, vips=None, snat=None, down=(), ok=200, **more):
    W.generation += 1
    body = {"epoch": 1, "generation": W.generation, "key": KEY, "muxes": [MUX],
            "vips": [{"vip": VIP, "dip": DIPS[i], "rules": rules(down)}] if vips is None else vips,
            "snat": [{"vip": VIP, "first": 20000 + i * SIZE, "last": 20000 + (i + 1) * SIZE - 1}] if snat is None else snat,
            "snat_except": ["10.0.0.0/8"], **more}
    status, answer = rest(HOSTS[i], 8472, "PUT", "/v1/state", body)
    equal(status, ok, f"PUT /v1/state of host {i} ({answer})")
    return answer


def counts(i):
    return rest(HOSTS[i], 8472, "GET", "/v1/status")[1]["snat"]


def opened(ns, remote, seconds=30, source=None):
    with inside(ns):
        s = socket.socket()
    s.settimeout(seconds)
    if source:
        s.bind(source)
    s.connect((remote, 80))
    return s


def greeting(s):
    line = b""
    while not line.endswith(b"\n"):
        more = s.recv(100)
        if not more:
            return line.decode()
        line += more
    return line.decode().strip()


def echoes(s, text):
    s.sendall(text)
    got = b""
    while len(got) < len(text):
        more = s.recv(100)
        if not more:
            return False
        got += more
    return got == text


HELD = []       # (host, socket)


@test
def ten_thousand():
    """10,000 connections from 8 DIPs of one VIP: every one is answered at the DIP that opened it"""
    for i in range(N):
        put(i)
    ok, wrong, lock, took = [0], [], threading.Lock(), time.monotonic()

    def dial(i):
        mine = []
        for k in range(TOTAL // N):
            try:
                s = opened(HOSTS[i], REMOTES[k % len(REMOTES)])
                name = s.getsockname()
                if name[0] != VIP or not 20000 + i * SIZE <= name[1] < 20000 + (i + 1) * SIZE:
                    wrong.append(f"host {i}: source {name}")
                elif greeting(s) != f"{name[0]} {name[1]}":
                    wrong.append(f"host {i}: the server sees another")
                else:
                    mine.append((i, s))
            except OSError as e:
                wrong.append(f"host {i}, connection {k}: {e}")
                if len(wrong) > 50:
                    return
        with lock:
            ok[0] += len(mine)
            HELD.extend(mine)

    threads = [threading.Thread(target=dial, args=(i,)) for i in range(N)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(f"# {ok[0]} of {TOTAL} returned, {time.monotonic() - took:.1f} s")
    out = os.environ.get("DUET_SNAT_RESULT")
    if out:
        with open(out, "w", encoding="ascii") as f:
            json.dump({"opened": TOTAL, "returned": ok[0], "mux": "duet.ko" if REAL else "model"}, f)
    equal((ok[0], wrong[:5]), (TOTAL, []), "connections")
    equal(sum(counts(i)["picked"] for i in range(N)), TOTAL, "ports picked")
    pairs = {(s.getsockname(), s.getpeername()) for _, s in HELD}
    equal(len(pairs), TOTAL, "different connections")
    check(len({p[0] for p in pairs}) < TOTAL, "no port served two destinations")


@test
def a_dip_goes_down():
    """one DIP down: connections of all others go on, new ones too; the DIP that is down opens none"""
    W.mux.set(VIP, down=(DIPS[3],))
    for i in range(N):
        put(i, down=(DIPS[3],))
    sample = [(i, s) for n, (i, s) in enumerate(HELD) if i != 3 and not n % 7]
    for i, s in sample:
        check(echoes(s, b"still there?"), f"a connection of host {i} goes on")
    for i in (0, 5):
        s = opened(HOSTS[i], REMOTES[0])
        check(greeting(s).startswith(VIP), "a new one")
        s.close()
    before = counts(3)["exhausted"]
    try:
        opened(HOSTS[3], REMOTES[0])
        raise Failed("a DIP that gets no packets opened a connection")
    except OSError as e:
        equal(e.errno, errno.EADDRNOTAVAIL, "errno")
    equal(counts(3)["exhausted"], before + 1, "exhausted")
    W.mux.set(VIP)
    for i in range(N):
        put(i)
    ours = [s for i, s in HELD if i == 3][:50]
    for s in ours:
        check(echoes(s, b"and back?"), "after its recovery the table is the old one: its connections go on")


@test
def a_dip_is_removed():
    """a DIP taken out of the set: connections whose packets still come here go on, those that move are ended, none hangs"""
    fewer = DIPS[:7]
    table = model.Table([(d, 1, False) for d in fewer])
    sample = [(i, s, s.getsockname()[1], s.getpeername()) for n, (i, s) in enumerate(HELD) if i != 7 and not n % (11 if TOTAL > 5000 else 3)]
    W.mux.set(VIP, dips=fewer)
    for i in range(7):
        put(i, vips=[{"vip": VIP, "dip": DIPS[i], "rules": rules(dips=fewer)}])
    kept = ended = 0
    for i, s, sport, (remote, port) in sample:
        stays = table.choose(remote, VIP, 6, port, sport, KEY) == DIPS[i]
        try:
            alive = echoes(s, b"and now?")
        except TimeoutError:
            raise Failed(f"a connection of host {i} hangs") from None
        except OSError as e:
            equal(e.errno, errno.ECONNABORTED, "errno")
            alive = False
        equal(alive, stays, f"connection of host {i} to {remote} from port {sport} goes on")
        kept, ended = kept + stays, ended + (not stays)
    print(f"# {kept} go on, {ended} were ended")
    check(kept > 3 * ended, "most go on")
    W.mux.set(VIP)
    for i in range(7):
        put(i)


@test
def another_key():
    """under another key no connection is ended while the muxes keep it; those that move are, when an HMux takes over"""
    new = model.key(77)
    table = model.Table([(d, 1, False) for d in DIPS])
    with_key = [{"vip": VIP, "dip": DIPS[i], "rules": rules(), "key": 1} for i in range(7)]
    sample = []
    for i in range(7):
        for _ in range(12):
            s = opened(HOSTS[i], REMOTES[3])
            check(greeting(s).startswith(VIP), "a connection")
            sample.append((i, s, s.getsockname()[1], s.getpeername()))
    if W.mux.keeps:
        W.mux.rekey(new, keeps=True)
        for i in range(7):
            put(i, vips=[dict(with_key[i], keep=True)], key1=new)
        for i, s, sport, _ in sample:
            check(echoes(s, b"on an SMux"), f"a connection of host {i} from port {sport} goes on under the new key")
        s = opened(HOSTS[0], REMOTES[4])
        check(greeting(s).startswith(VIP), "a new one has a port by the new key")
        s.close()
    W.mux.rekey(new, keeps=False)
    for i in range(7):
        put(i, vips=[with_key[i]], key1=new)
    kept = ended = 0
    for i, s, sport, (remote, port) in sample:
        stays = table.choose(remote, VIP, 6, port, sport, new) == DIPS[i]
        try:
            alive = echoes(s, b"on an HMux")
        except OSError as e:
            check(not isinstance(e, TimeoutError), f"a connection of host {i} hangs")
            equal(e.errno, errno.ECONNABORTED, "errno")
            alive = False
        equal(alive, stays, f"connection of host {i} from port {sport} goes on")
        kept, ended = kept + stays, ended + (not stays)
        s.close()
    check(kept and ended > 3 * kept, f"{kept} go on, {ended} were ended")
    put(0, vips=[dict(with_key[0], keep="yes")], key1=new, ok=400)
    put(0, vips=[dict(with_key[0], key=0)], key=None, key1=new, ok=400)
    W.mux.rekey(KEY, keeps=False)
    for i in range(7):
        put(i)


@test
def exhausted():
    """no port left: the connection fails at once and is counted; one in TIME_WAIT is not used again"""
    table, remote = model.Table([(d, 1, False) for d in DIPS]), REMOTES[19]
    good = [p for p in range(50000, 50060) if table.choose(remote, VIP, 6, 80, p, KEY) == DIPS[0]]
    put(0, snat=[{"vip": VIP, "first": 50000, "last": 50059}])
    socks = [opened(HOSTS[0], remote) for _ in good]
    equal(sorted(s.getsockname()[1] for s in socks), good, "every port that will do was used")
    before, started = counts(0), time.monotonic()

    def refused():
        try:
            opened(HOSTS[0], remote)
            raise Failed("a connection without a port")
        except OSError as e:
            equal(e.errno, errno.EADDRNOTAVAIL, "errno")

    def states():
        """{port: state} of what there is on the ports that will do"""
        lines = run("ip", "netns", "exec", HOSTS[0], "ss", "-Htan", "src", VIP, "dst", remote).split("\n")
        found = {int(w[3].rsplit(":", 1)[1]): w[0] for w in map(str.split, lines) if w}
        return {port: state for port, state in found.items() if port in good}

    refused()
    check(time.monotonic() - started < 5, "it fails fast")
    equal(counts(0)["exhausted"] - before["exhausted"], 1, "exhausted")
    for s in socks:
        greeting(s)
        s.close()   # we close first: TIME_WAIT is here
    until(lambda: set(states().values()) <= {"TIME-WAIT"}, "all closed")
    kept = set(states())
    check(kept, "none is in TIME_WAIT")
    # what the peer closed first or reset has left nothing here: its port may be used again, these may not
    again = []
    while len(again) < len(good) - len(kept):
        try:
            again.append(opened(HOSTS[0], remote))
        except OSError as e:
            equal(e.errno, errno.EADDRNOTAVAIL, "errno")
            break
    check(not kept & {s.getsockname()[1] for s in again}, f"of {kept}, in TIME_WAIT, one is used again")
    before = counts(0)
    refused()
    for s in again:
        s.close()
    equal(counts(0)["exhausted"] - before["exhausted"], 1, "exhausted")
    s = opened(HOSTS[0], REMOTES[18])
    equal(s.getsockname()[0], VIP, "another destination has ports")
    s.close()


@test
def left_alone():
    """what is bound, or goes to an excepted prefix, keeps its own address; UDP is served, too"""
    put(0)
    s = opened(HOSTS[0], REMOTES[1], source=(DIPS[0], 0))
    equal(s.getsockname()[0], DIPS[0], "bound by its owner")
    s.close()
    with inside(HOSTS[0]):
        inner, u, six = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
                         socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
    inner.connect(("10.97.255.1", 9))
    equal(inner.getsockname()[0], DIPS[0], "an excepted destination")
    u.connect((REMOTES[2], 53))
    table = model.Table([(d, 1, False) for d in DIPS])
    equal((u.getsockname()[0], table.choose(REMOTES[2], VIP, 17, 53, u.getsockname()[1], KEY)), (VIP, DIPS[0]), "UDP")
    six.settimeout(20)
    six.connect((f"::ffff:{REMOTES[3]}", 80))
    equal(greeting(six).split()[0], VIP, "IPv4 from an IPv6 socket")
    for x in (inner, u, six):
        x.close()


@test
def bad_input():
    """ranges that overlap, of a VIP not served, without rules: a sentence, and nothing changes"""
    def no(because, snat, vips=None):
        answer = put(0, snat=snat, vips=vips, ok=400)
        check(because in answer["detail"], f"{answer['detail']!r} has no {because!r}")

    no("overlap", [{"vip": VIP, "first": 20000, "last": 20010}, {"vip": VIP, "first": 20010, "last": 20020}])
    no("isn't served", [{"vip": VIP2, "first": 20000, "last": 20010}])
    no("rules", [{"vip": VIP, "first": 20000, "last": 20010}], [{"vip": VIP, "dip": DIPS[0]}])
    no("1024", [{"vip": VIP, "first": 80, "last": 90}])
    s = opened(HOSTS[0], REMOTES[4])
    equal(s.getsockname()[0], VIP, "SNAT goes on")
    s.close()


@test
def forwarded():
    """what machines behind the hosts open: translated by conntrack to a port that comes back to their host, and there to them"""
    vms, dips = [f"{HOSTS[i]}-vm" for i in (0, 1)], DIPS[:2]
    W.mux.set(VIP2, dips=dips)
    for i, vm in enumerate(vms):
        namespace(vm)
        run("ip", "-n", HOSTS[i], "link", "add", "vm0", "type", "veth", "peer", "name", "eth0", "netns", vm)
        run("ip", "-n", HOSTS[i], "addr", "add", f"10.96.{i}.1/30", "dev", "vm0")
        run("ip", "-n", vm, "addr", "add", f"10.96.{i}.2/30", "dev", "eth0")
        run("ip", "-n", HOSTS[i], "link", "set", "vm0", "up")
        run("ip", "-n", vm, "link", "set", "eth0", "up")
        run("ip", "-n", vm, "route", "add", "default", "via", f"10.96.{i}.1")
        run("ip", "netns", "exec", HOSTS[i], "sysctl", "-qw", "net.ipv4.ip_forward=1")
        put(i, vips=[{"vip": VIP2, "dip": DIPS[i], "delivery": "virtual", "targets": [{"address": f"10.96.{i}.2"}], "rules": rules(dips=dips)}],
            snat=[{"vip": VIP2, "first": 30000 + 1000 * i, "last": 30999 + 1000 * i}])
        equal(counts(i)["forwarded"], True, "forwarded")
    ports, held = ({}, {}), []
    for k in range(100):
        for i, vm in enumerate(vms):
            s = opened(vm, REMOTES[k % 20])
            seen = greeting(s).split()
            equal(seen[0], VIP2, "source")
            check(30000 + 1000 * i <= int(seen[1]) < 31000 + 1000 * i, f"port {seen[1]} of host {i}")
            check(echoes(s, b"both ways"), "echo")
            ports[i].setdefault(REMOTES[k % 20], set()).add(int(seen[1]))
            held.append(s)
    # some to one destination, and open
    for _ in range(12):
        held.append(opened(vms[0], REMOTES[7]))
        ports[0][REMOTES[7]].add(int(greeting(held[-1]).split()[1]))
    # closed only now: conntrack forgets them two minutes later, and a slow machine takes that long for the above
    for s in held[::7]:
        s.close()
    for i in (0, 1):
        # to the port: those that are closed are in conntrack's TIME_WAIT
        want = (len(set().union(*ports[i].values())), max(len(p) for p in ports[i].values()))
        until(lambda n=i, w=want: [(v["used"], v["busiest"], v["ranges"][0].get("used")) for v in rest(HOSTS[n], 8472, "GET", "/v1/status")[1]["snat-ports"]]
              == [(*w, w[0])], f"host {i} counts what its machines use: {want}")
    for s in held:
        s.close()
    for i in (0, 1):
        # no port: dropped and counted
        put(i, vips=[{"vip": VIP2, "dip": DIPS[i], "delivery": "virtual", "targets": [{"address": f"10.96.{i}.2"}],
                      "rules": rules((DIPS[i],), dips)}], snat=[{"vip": VIP2, "first": 30000, "last": 30010}])
        before = counts(i)["exhausted"]
        try:
            opened(vms[i], REMOTES[0], 0.5)
            raise Failed("a connection without a port")
        except TimeoutError:
            pass
        check(counts(i)["exhausted"] > before, "counted")


@test
def over():
    """no ranges any more: connections have the host's own address; nothing of ours is left on the sockets"""
    for i in range(2):
        put(i, snat=[], vips=[])
    equal(counts(0)["sockets"], False, "sockets")
    s = opened(HOSTS[0], REMOTES[5])
    equal(s.getsockname()[0], DIPS[0], "source")
    s.close()


def tidy():
    for _, s in HELD:
        s.close()
    for a in W.agents:
        text = a.text()
        if " err: " in text:
            print("# " + text.replace("\n", "\n# "))


class Bed(list):
    """Cleanups of one bed for all tests: lib.main() finds nothing to do after each, remove() does it."""

    def __bool__(self):
        return False

    def remove(self):
        while len(self):
            self.pop()()


def main(make=setup):
    bed = lib.CLEANUP = Bed()
    W.agents = []
    try:
        if not os.geteuid():
            make()
        lib.main()
    finally:
        tidy()
        bed.remove()


if __name__ == "__main__":
    main()
