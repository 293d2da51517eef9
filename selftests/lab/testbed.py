# SPDX-License-Identifier: GPL-2.0
"""The testbed running: namespaces, links, programs; up, down, and the little
that scripts/lab, scripts/demo and the tests all do with it."""
import fcntl
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

import config
import rtnl
from rtnl import Namespace, Rtnl, Watch

FABRIC_MTU = 1600	# a packet of 1500 bytes and an outer header
SYSCTLS = {
    "net.ipv6.conf.all.disable_ipv6": 1, "net.ipv6.conf.default.disable_ipv6": 1,
    "net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.default.rp_filter": 0,
}
ROUTER_SYSCTLS = {
    "net.ipv4.ip_forward": 1, "net.ipv4.fib_multipath_hash_policy": 1,
    "net.ipv4.conf.all.ignore_routes_with_linkdown": 1, "net.ipv4.conf.default.ignore_routes_with_linkdown": 1,
}


# Packets that may wait for a CPU. All links of all nodes share the queue, so a moment in which the CPU does something
# else must not overflow it: 1,000, as it is, are enough for one machine, not for a hundred.
BACKLOG = 30000
FIRST, SOFTIRQ = 10, 20		# real-time priorities: of programs that come first, and of what carries all packets


class Failed(Exception):
    """what went wrong, in a sentence; log: the file that tells more"""

    def __init__(self, text, log=None):
        super().__init__(text)
        self.log = log


def program(name):
    for place in (config.BIN, "/usr/sbin", "/usr/bin"):
        path = os.path.join(place, name)
        if os.access(path, os.X_OK):
            return path
    raise Failed(f"no program {name}: run make, or scripts/deps")


def until(test, seconds, every=0.02):
    """poll test() until it is true or the time is over; its last answer"""
    deadline = time.monotonic() + seconds
    while True:
        answer = test()
        if answer or time.monotonic() >= deadline:
            return answer
        select.select([], [], [], every)


class Testbed:
    def __init__(self, prefix="duet-", run=None, servers=None, device="duet", topology=None, vips=None, site=None, first=(),
                 aggregate=config.AGGREGATE, patient=None, netem=None):
        self.prefix = prefix
        self.run = run or f"/run/{prefix}lab"
        self.device = device		# duet: the module; sim: agents and their tables in memory; dummy: no agents
        self.agents = device != "dummy"
        self.vips_path = vips or os.path.join(config.HERE, "vips.json")
        self.topo = config.Topology(topology or os.path.join(config.HERE, "topology.dot"), servers)
        self.site = site or {}
        self.aggregate = aggregate
        self.patient = bool(self.site) if patient is None else patient
        self.netem = netem	# what tc makes of every link of the fabric, in each direction: "delay 100us rate 1gbit"
        self.first = first	# programs that run before all others, as if each had a CPU of its own
        self.logs = os.path.join(self.run, "log")
        self.names = {name: Namespace(prefix + name) for name in list(self.topo.nodes) + ["ctl"]}
        self.vips = None
        self.programs = {}	# (node, program) -> argv
        self.pids = {}
        self.say = lambda text: None
        self.lock = None
        self.connections = {}

    @classmethod
    def running(cls, prefix="duet-", run=None):
        """the testbed that another process brought up"""
        run = run or f"/run/{prefix}lab"
        try:
            with open(f"{run}/lab.json", encoding="ascii") as f:
                facts = json.load(f)
        except FileNotFoundError:
            raise Failed(f"no testbed is up with the prefix {prefix}") from None
        bed = cls(prefix, run, facts["servers"], facts["device"], facts["topology"], facts["vips"])
        with open(f"{run}/vips.json", encoding="ascii") as f:
            bed.vips = json.load(f)
        with open(f"{run}/programs.json", encoding="ascii") as f:
            for node, name, argv, pid in json.load(f):
                bed.programs[node, name] = argv
                bed.pids[node, name] = pid
        return bed

    def ns(self, node):
        return self.names[node if isinstance(node, str) else node.name]

    def log_of(self, node, name):
        return os.path.join(self.logs, f"{node}-{name}.log")

    # ---- up

    def up(self, wait=True, controller=True):
        steps = [("files", self._files), ("namespaces", self._namespaces), ("links", self._links),
                 ("addresses", self._addresses)]
        if self.netem:
            steps.append(("netem", self._netem))
        steps.append(("programs", lambda: self._programs(controller)))
        if wait:
            steps += [("BGP", self.wait_bgp), ("agents", lambda: self.wait_programs(controller))]
        for what, step in steps:
            started = time.monotonic()
            told = step()
            self.say(f"{what}: {told} ({time.monotonic() - started:.1f} s)")

    def claim(self, down=False):
        """the right to build or remove a testbed of this prefix; held until down()"""
        if os.geteuid() != 0:
            raise Failed("not root: the testbed is made of network namespaces")
        os.makedirs(self.run, exist_ok=True)
        self.lock = os.open(f"{self.run}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed(f"another scripts/lab works with the prefix {self.prefix} at this moment") from None
        if not down and self.leftovers():
            raise Failed(f"a testbed with the prefix {self.prefix} is up already: scripts/lab down")
        if not down:
            self._forget()

    def _forget(self):
        """remove the files of a testbed that was killed: its store would be the new one's"""
        rtnl.libc.umount2(f"{self.run}/bpf".encode(), rtnl.MNT_DETACH)
        with os.scandir(self.run) as entries:
            for entry in list(entries):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                elif entry.name != "lock":
                    os.unlink(entry.path)

    def leftovers(self):
        """names of namespaces with our prefix"""
        try:
            return sorted(n for n in os.listdir(rtnl.NETNS_DIR)
                          if n.startswith(self.prefix) and n[len(self.prefix):] in self.names)
        except FileNotFoundError:
            return []

    def _files(self):
        self.vips = config.write_all(self.topo, self.run, self.vips_path, self.site,
                                     "kmod" if self.device == "duet" else "sim", self.aggregate, self.patient)
        os.makedirs(self.logs, exist_ok=True)
        os.makedirs(f"{self.run}/bpf", exist_ok=True)
        if self.agents and not os.path.ismount(f"{self.run}/bpf"):
            rtnl._call("mount of a BPF file system",
                       rtnl.libc.mount(b"bpf", f"{self.run}/bpf".encode(), b"bpf", 0, None))
        facts = {"servers": len(self.topo.of("server")), "device": self.device,
                 "topology": os.path.abspath(self.topo.path), "vips": os.path.abspath(self.vips_path)}
        config.write(f"{self.run}/lab.json", json.dumps(facts) + "\n")
        return f"below {self.run}"

    @staticmethod
    def _forwarding_first():
        """A dozen daemons that start leave a switch's forwarding alone, and here the kernel's packet threads too.

        While one of these threads is due, its CPU handles packets nowhere else: if it waits for programs of real-time
        priority the whole network is silent, and so it is when these must leave the CPU for a part of each second. RCU's
        own thread waits for nobody either, or the kernel complains of the grace period that doesn't end."""
        for path, value in (("net/core/netdev_max_backlog", BACKLOG), ("kernel/sched_rt_runtime_us", -1)):
            with open(f"/proc/sys/{path}", "w", encoding="ascii") as f:
                f.write(f"{value}\n")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as f:
                    if f.read().startswith(("ksoftirqd/", "rcu_preempt", "rcu_sched")):
                        os.sched_setscheduler(int(pid), os.SCHED_RR, os.sched_param(SOFTIRQ))
            except FileNotFoundError:
                pass	# it has ended meanwhile

    def _namespaces(self):
        if os.environ.get("DUET_VM"):	# a kernel that is ours alone
            self._forwarding_first()
        Namespace.prepare()
        for ns in self.names.values():
            ns.create()
        for name, ns in self.names.items():
            node = self.topo.nodes.get(name)
            ns.sysctl({**SYSCTLS, **(ROUTER_SYSCTLS if node and node.is_mux else {})})
        return f"{len(self.names)}"

    def _links(self):
        rt, n = Rtnl(), 0
        for node in self.topo.nodes.values():
            for port, other, other_port, number in node.links:
                if number is None and node.is_switch or number and node.number > other.number:
                    continue	# the other end makes it
                rt.veth(port, self.ns(node), other_port, self.ns(other), FABRIC_MTU)
                n += 1
        with self.ns("ctl"):
            ctl = Rtnl()
        ctl.link("br-mgmt", "bridge")
        ctl.flush()
        rt.flush()
        managed = [node for node in self.topo.nodes.values() if node.agent]
        for node in managed:
            rt.veth("mgmt0", self.ns(node), f"m-{node.name}", self.ns("ctl"))
        rt.flush()
        for node in managed:
            ctl.set_link(f"m-{node.name}", True, "br-mgmt")
        ctl.address("br-mgmt", "10.250.0.1/16")
        ctl.set_link("lo", True)
        ctl.flush()
        rt.close()
        ctl.close()
        return f"{n} of the fabric, {len(managed)} of management"

    def _addresses(self):
        for node in self.topo.nodes.values():
            with self.ns(node):
                rt = Rtnl()
            rt.links()
            rt.set_link("lo", True)
            for port in node.ports + (["mgmt0"] if node.agent else []):
                rt.set_link(port, True)
            if node.agent:
                rt.address("mgmt0", f"{node.manage}/16")
            if node.local:
                rt.address("lo", f"{node.local}/32")
            if node.role == "server":
                own, via = config.server_addresses(node)
                rt.address("eth0", f"{own}/31")
                rt.route("0.0.0.0/0", "eth0", via, metrics={rtnl.RTAX_MTU: 1500})
            for port, other, _, number in node.links:
                if number:
                    own, via = config.fabric_addresses(node, other, number)
                elif node.role == "smux":
                    own, via = config.server_addresses(node)
                elif node.is_switch:
                    via, own = config.server_addresses(other)
                else:
                    continue
                rt.address(port, f"{own}/31")
                if number and config.TIER[other.role] < config.TIER[node.role]:
                    rt.rule(port, self.aggregate, config.DOWN_TABLE, 100)
            if node.is_mux:
                self.peer_routes(rt, node)
            if not self.agents and node.is_mux:
                rt.last_index = 1000
                # the kernel may have no dummy device either; all that is asked is a device that is up
                rt.veth(node.device, self.ns(node), f"{node.device}-end", self.ns(node))
                rt.set_link(node.device, True)
                rt.set_link(f"{node.device}-end", True)
            rt.flush()
            rt.close()
        return f"of {len(self.topo.nodes)} nodes"

    def _netem(self):
        for node in self.topo.nodes.values():
            text = "".join(f"qdisc replace dev {port} root netem {self.netem}\n" for port in node.ports)
            told = self.run_in(node, [program("tc"), "-batch", "-"], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True)
            if told.returncode:
                raise Failed(f"netem {self.netem}, at the ports of {node.name}: {told.stdout.strip().splitlines()[0]}")
        return self.netem

    @staticmethod
    def peer_routes(rt, node):
        """ways to BGP peers by which ACKs are not delayed: a delayed one (40 ms) can hold back
        BGP's next update. A port that is set down loses its own: call again when it is up"""
        for port, other, _, number in node.links:
            if not other.is_mux:
                continue
            if number:
                via = config.fabric_addresses(node, other, number)[1]
            else:
                via = config.server_addresses(node)[1] if node.role == "smux" else config.server_addresses(other)[0]
            rt.route(f"{via}/32", port, metrics={rtnl.RTAX_QUICKACK: 1})

    # ---- programs

    def _programs(self, controller):
        for node in self.topo.muxes:
            self.programs[node.name, "bird"] = [
                program("bird"), "-f", "-c", f"{self.run}/{node.name}/bird.conf",
                "-s", f"{self.run}/{node.name}/bird.ctl", "-P", f"{self.run}/{node.name}/bird.pid"]
        for node in self.topo.dips:
            os.makedirs(f"{self.run}/{node.name}/tmp", exist_ok=True)
            self.programs[node.name, "nginx"] = [
                program("nginx"), "-c", f"{self.run}/{node.name}/nginx.conf", "-p", f"{self.run}/{node.name}"]
            self.programs[node.name, "echo"] = [
                program("duet-probe"), "--echo", str(config.ECHO_PORT), "--name", node.name]
        if self.agents:
            for node in self.topo.muxes:
                self.programs[node.name, "mux-agent"] = [
                    program("duet-mux-agent"), "-c", f"{self.run}/{node.name}/mux-agent.conf"]
            for node in self.topo.dips:
                self.programs[node.name, "host-agent"] = [
                    program("duet-host-agent"), "-c", f"{self.run}/{node.name}/host-agent.conf"]
            if controller:
                self.programs["ctl", "controller"] = [
                    program("duet-controller"), "-c", f"{self.run}/ctl/controller.conf"]
        self.start_all(self.programs)
        kinds = {}
        for _, name in self.programs:
            kinds[name] = kinds.get(name, 0) + 1
        return ", ".join(f"{n} {kind}" for kind, n in kinds.items())

    def start(self, node, name):
        """start a program in its node's namespace; its output goes to its log"""
        self.start_all([(node, name)])

    def start_all(self, which):
        env = dict(os.environ, LC_ALL="C.UTF-8")
        for node, name in which:
            log = self.log_of(node, name)
            actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                       (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                       (os.POSIX_SPAWN_DUP2, 1, 2)]
            argv = self.programs[node, name]
            # not by inheritance: whoever measures has a priority of its own
            scheduler = (os.SCHED_RR, os.sched_param(FIRST)) if name in self.first else (os.SCHED_OTHER, os.sched_param(0))
            with self.ns(node):
                self.pids[node, name] = os.posix_spawn(argv[0], argv, env, file_actions=actions, setsid=True, scheduler=scheduler,
                                                       setsigmask=[], setsigdef=[signal.SIGPIPE, signal.SIGINT])
        self._save_programs()

    def _save_programs(self):
        config.write(f"{self.run}/programs.json", json.dumps(
            [[node, name, argv, self.pids.get((node, name))] for (node, name), argv in self.programs.items()]) + "\n")

    def kill(self, which, sig=signal.SIGKILL, seconds=5.0):
        """signal programs [(node, name)...] at once, then wait for their ends"""
        for key in which:
            try:
                os.kill(self.pids.get(key), sig)
            except (ProcessLookupError, TypeError):
                raise Failed(f"{key[1]} of {key[0]} was not running", self.log_of(*key)) from None
        self.reap(which, seconds)

    def reap(self, which, seconds=5.0):
        """wait for the ends of programs that were signalled"""
        pidfds = []
        for key in which:
            try:
                pidfds.append((os.pidfd_open(self.pids[key]), self.pids[key]))
            except ProcessLookupError:
                pass
        self._await_end(pidfds, seconds)
        for key in which:
            self.pids[key] = None

    @staticmethod
    def _await_end(pidfds, seconds):
        """wait for processes; those that outlast the time are returned (closed all the same)"""
        deadline = time.monotonic() + seconds
        waiting = dict(pidfds)
        poll = select.poll()
        for fd in waiting:
            poll.register(fd, select.POLLIN)
        while waiting and time.monotonic() < deadline:
            for fd, _ in poll.poll(max(0, (deadline - time.monotonic()) * 1000)):
                poll.unregister(fd)
                pid = waiting.pop(fd)
                os.close(fd)
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass
        for fd in waiting:
            os.close(fd)
        return list(waiting.values())

    def processes(self):
        """(pid, namespace without prefix, command) of all that runs in our namespaces"""
        inodes = {}
        for name in self.leftovers():
            inodes[os.stat(os.path.join(rtnl.NETNS_DIR, name)).st_ino] = name[len(self.prefix):]
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                where = inodes.get(os.stat(f"/proc/{pid}/ns/net").st_ino)
                if where:
                    with open(f"/proc/{pid}/cmdline", "rb") as f:
                        found.append((int(pid), where, f.read().replace(b"\0", b" ").decode(errors="replace").strip()))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return found

    def dead(self):
        """programs that should run and don't"""
        gone = []
        for key, pid in self.pids.items():
            if pid is None:
                continue
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                    if f.read().rsplit(")", 1)[1].split()[0] in "ZX":
                        gone.append(key)
            except FileNotFoundError:
                gone.append(key)
        return gone

    # ---- down

    def down(self):
        """stop all, delete all; also what an interrupted up left"""
        for connection in self.connections.values():
            connection.close()
        self.connections = {}
        for sig, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            pidfds = []
            for pid, _, _ in self.processes():
                if pid == os.getpid():
                    continue
                try:
                    pidfds.append((os.pidfd_open(pid), pid))
                    os.kill(pid, sig)
                except ProcessLookupError:
                    continue
            if not pidfds or not self._await_end(pidfds, seconds):
                break
        for name in self.leftovers():
            Namespace(name).delete()
        rtnl.libc.umount2(f"{self.run}/bpf".encode(), rtnl.MNT_DETACH)
        shutil.rmtree(self.run, ignore_errors=True)
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def keep_logs(self, place):
        """copy logs and configurations to where they outlive the testbed"""
        shutil.rmtree(place, ignore_errors=True)
        if os.path.isdir(self.run):
            shutil.copytree(self.run, place, symlinks=True,
                            ignore=lambda _, names: [n for n in names if n in ("bpf", "tmp", "lock") or n.endswith(".ctl")])

    # ---- waiting

    def wait_bgp(self, seconds=90.0):
        """until every switch and SMux has the way to every other and to every rack"""
        loopbacks = {n.local + "/32" for n in self.topo.muxes}
        racks = {config.rack_net(n) for n in self.topo.of("tor")}
        watch = Watch([self.ns(n) for n in self.topo.muxes])
        own = {self.ns(n).name: n.local + "/32" for n in self.topo.muxes}
        try:
            want = {name: (loopbacks - {own[name]}) | racks for name in own}
            deadline = time.monotonic() + seconds
            missing = set(own)
            while missing:
                missing = {name for name in missing if not want[name] <= watch.tables[name].keys()}
                left = deadline - time.monotonic()
                if missing and left <= 0:
                    name = sorted(missing)[0]
                    lost = sorted(want[name] - watch.tables[name].keys())
                    node = name[len(self.prefix):]
                    raise Failed(f"no BGP after {seconds:.0f} s: {node} lacks {', '.join(lost[:4])}"
                                 f"{' and more' if len(lost) > 4 else ''}; {len(missing)} nodes incomplete",
                                 self.log_of(node, "bird"))
                if missing:
                    watch.take(left)
        finally:
            watch.close()
        return f"{len(own)} nodes know all loopbacks and racks"

    def wait_programs(self, controller, seconds=120.0):
        """until every web server accepts and every agent answers"""
        waiting = {}
        for node in self.topo.dips:
            waiting[node.name, "nginx"] = (node, node.address, 80)
            waiting[node.name, "echo"] = (node, node.address, config.ECHO_PORT)
        for (name, kind) in self.programs:
            if kind in ("mux-agent", "host-agent"):
                host, port = self.topo.nodes[name].listen.split(":")
                waiting[name, kind] = ("ctl", host, int(port))
        if controller and ("ctl", "controller") in self.programs:
            host, port = config.CONTROLLER.split(":")
            waiting["ctl", "controller"] = ("ctl", host, int(port))
        count = len(waiting)

        def accepts(where, host, port):
            with self.ns(where):
                sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            with sock:
                sock.settimeout(1)
                return sock.connect_ex((host, port)) == 0

        def all_accept():
            for key, (where, host, port) in list(waiting.items()):
                if accepts(where, host, port):
                    del waiting[key]
            dead = self.dead()
            if dead:
                node, name = dead[0]
                raise Failed(f"{name} of {node} has ended", self.log_of(node, name))
            return not waiting

        if not until(all_accept, seconds, 0.1):
            node, name = next(iter(waiting))
            raise Failed(f"{name} of {node} does not accept connections after {seconds:.0f} s"
                         f" ({len(waiting)} such programs)", self.log_of(node, name))
        return f"{count} programs accept connections"

    # ---- REST on the management network

    def rest(self, method, url, body=None, timeout=30.0, ok=True, sender="ctl"):
        """(status, JSON); a kept connection for each host and sender. ok: raise unless 2xx"""
        where = url.split("//", 1)[1]
        hostport, _, path = where.partition("/")
        data = None if body is None else json.dumps(body)
        for attempt in (0, 1):
            connection = self.connections.get((sender, hostport))
            fresh = connection is None
            if fresh:
                host, port = hostport.split(":")
                connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
            try:
                if fresh:
                    with self.ns(sender):
                        connection.connect()
                    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.connections[sender, hostport] = connection
                connection.request(method, "/" + path, data, {"Content-Type": "application/json"} if data else {})
                answer = connection.getresponse()
                text = answer.read()
                break
            except (OSError, http.client.HTTPException) as e:
                connection.close()
                self.connections.pop((sender, hostport), None)
                if fresh or attempt:
                    raise Failed(f"{method} {url}: {e or type(e).__name__}") from None
        try:
            found = json.loads(text) if text else None
        except ValueError:
            found = text.decode(errors="replace")
        if ok and not 200 <= answer.status < 300:
            why = found.get("detail") or found.get("title") if isinstance(found, dict) else found
            raise Failed(f"{method} {url}: {answer.status} {why}")
        return answer.status, found

    def controller(self, method, path, body=None, **more):
        return self.rest(method, f"http://{config.CONTROLLER}{path}", body, **more)[1]

    def run_in(self, node, argv, **more):
        """subprocess.run inside a node's namespace"""
        with self.ns(node):
            return subprocess.run(argv, check=False, **more)

    # ---- BIRD

    def bird(self, node, command, seconds=5.0):
        """answer of a node's BIRD to one command, as text"""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(seconds)
            sock.connect(f"{self.run}/{node}/bird.ctl")
            reader = sock.makefile("r", encoding="utf-8", errors="replace")
            reader.readline()
            sock.sendall(command.encode() + b"\n")
            lines = []
            for line in reader:
                if line[:4].isdigit():
                    lines.append(line[5:].rstrip("\n"))
                    if line[4:5] == " ":
                        break
                else:
                    lines.append(line[1:].rstrip("\n"))
        return "\n".join(lines)


    # ---- state

    def bgp_problems(self):
        """sessions that aren't established, as sentences"""
        found = []
        for node in self.topo.muxes:
            try:
                table = self.bird(node.name, "show protocols")
            except OSError as e:
                found.append(f"{node.name}: BIRD does not answer: {e}")
                continue
            for line in table.splitlines():
                words = line.split()
                if len(words) > 1 and words[1] == "BGP" and words[-1] != "Established":
                    found.append(f"{node.name}: BGP with {words[0]}: {' '.join(words[3:])}")
        return found

    def bfd_problems(self):
        """BFD sessions that aren't up: with one of them a neighbour's silent death is seen by the hold timer only"""
        found = []
        for node in self.topo.muxes:
            for line in self.bird(node.name, "show bfd sessions").splitlines():
                words = line.split()
                if len(words) > 2 and words[0].count(".") == 3 and words[2] != "Up":
                    found.append(f"{node.name}: BFD with {words[0]} is {words[2]}")
        return found

    def problems(self):
        """everything that isn't as it should be, as sentences"""
        found = [f"{name} of {node} has ended, see {self.log_of(node, name)}" for node, name in self.dead()]
        found += self.bgp_problems()
        if ("ctl", "controller") not in self.programs:
            return found
        for node in self.topo.muxes:
            try:
                status = self.rest("GET", f"{node.agent}/v1/status")[1]
            except Failed as e:
                found.append(f"{node.name}: {e}")
                continue
            if not status.get("synced"):
                found.append(f"{node.name}: the mux agent waits for the controller's state")
            if status["bird"]["state"] != "up":
                found.append(f"{node.name}: the mux agent sees BIRD {status['bird']['state']}")
        return found

    def load_vips(self):
        """the VIP file to the controller, as an operator would do it"""
        answer = self.controller("PUT", "/v1/config", self.vips)
        self.say(f"{len(self.vips['vips'])} VIPs loaded")
        return answer

    def assign(self, seconds=30.0):
        """VIPs to switches; asked again while the controller has not yet heard of all"""
        last = []

        def done():
            last[:] = self.rest("POST", f"http://{config.CONTROLLER}/v1/assign", {}, ok=False)
            return last[0] // 100 == 2

        if not until(done, seconds, 0.1):
            why = last[1].get("detail") if isinstance(last[1], dict) else last[1]
            raise Failed(f"no assignment: {last[0]} {why}", self.log_of("ctl", "controller"))
        self.say(f"{sum(a['mux'] != 'smux' for a in last[1]['assignment'])} of them go to switches")


def note(text):
    print(text, file=sys.stderr, flush=True)
