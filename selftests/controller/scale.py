#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""scale.py [OPTION]... - the controller at the size of a data centre: the
paper's fabric (40 containers of 40 ToRs and 4 Aggs, 40 cores), its workload of
30,000 VIPs by duet-sim's generator, 50,000 hosts that report, and SMuxes that
hold every VIP. The agents are those of out/test/fleet, a few processes on this
machine. From empty to converged, one wave of moves, then at rest; what comes
out is checked with the muxes themselves. Prints JSON at the end."""
import argparse
import collections
import ctypes
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from fabric import BIN, Place, Refused, rest, sentences, until

FLEET = os.path.join(os.path.dirname(BIN), "test", "fleet")
DIPS_MAX = 512		# of one rule, DUET_SET_DIPS_MAX: the controller places no TIPs
PAPER = {"containers": 40, "tors": 40, "aggs": 4, "cores": 40, "planes": 4}
SMALL = {"containers": 2, "tors": 14, "aggs": 4, "cores": 4, "planes": 4}


class Fabric:
    """Switches, SMuxes and hosts with their addresses, as topology.dot and as lists of agents"""

    def __init__(self, shape, hosts, smuxes, capacity):
        self.shape, self.capacity = shape, capacity
        racks = shape["containers"] * shape["tors"]
        self.cores = [f"core{i + 1}" for i in range(shape["cores"])]
        self.aggs = [f"agg{i + 1}" for i in range(shape["containers"] * shape["aggs"])]
        self.tors = [f"tor{i + 1}" for i in range(racks)]
        self.switches = self.cores + self.aggs + self.tors
        self.smuxes = [f"smux{i + 1}" for i in range(smuxes)]
        self.rack = collections.defaultdict(list)	# tor: addresses of its hosts
        self.hosts = {}					# name: (address, tor)
        for i in range(hosts):
            r = i % racks
            address = f"10.{r // 200 + 1}.{r % 200}.{i // racks + 1}"
            self.hosts[f"h{i + 1}"] = (address, self.tors[r])
            self.rack[self.tors[r]].append(address)
        self.agent = {n: f"127.16.{i // 250}.{i % 250 + 1}:9000" for i, n in enumerate(self.switches + self.smuxes)}
        self.local = {n: f"172.16.{i // 250}.{i % 250 + 1}" for i, n in enumerate(self.switches + self.smuxes)}

    def links(self):
        """(a, b, Gbps), as controller/sim/fabric.c lays them"""
        s = self.shape
        yield from (("border", c, 1600) for c in self.cores)
        a, k = s["aggs"] // s["planes"], s["cores"] // s["planes"]
        for c in range(s["containers"]):
            for i in range(s["aggs"]):
                for t in range(k):
                    yield self.aggs[c * s["aggs"] + i], self.cores[i // a * k + t], 40
                for t in range(s["tors"]):
                    yield self.tors[c * s["tors"] + t], self.aggs[c * s["aggs"] + i], 10

    def dot(self, host_url):
        ports, s = collections.Counter(), self.shape

        def port(node):
            ports[node] += 1
            return f'"{node}":"p{ports[node]}"'

        out = ["graph duet {"]
        for n in self.switches:
            inside = {"agg": s["aggs"], "tor": s["tors"]}.get(n[:3])
            container = f", container={(int(n[3:]) - 1) // inside}" if inside else ""
            role = n[:3] if inside else "core"
            out.append(f' "{n}" [role={role}{container}, agent="http://{self.agent[n]}", local="{self.local[n]}", profile=paper]')
        out.append(' "border" [role=border]')
        for n in self.smuxes:
            out.append(f' "{n}" [role=smux, agent="http://{self.agent[n]}", local="{self.local[n]}", capacity="{self.capacity}G"]')
        for n, (address, _) in self.hosts.items():
            out.append(f' "{n}" [role=server, address="{address}", agent="{host_url}/{n}"]')
        out += [f' {port(a)} -- {port(b)} [speed="{gbps}G"]' for a, b, gbps in self.links()]
        out += [f' {port(n)} -- {port(self.tors[i % len(self.tors)])}' for i, n in enumerate(self.smuxes)]
        out += [f' {port(n)} -- {port(tor)}' for n, (_, tor) in self.hosts.items()]
        return "\n".join(out + ["}"]) + "\n"

    def agents(self, muxes):
        return "".join(f"{'smux' if n[0] == 's' else 'hmux'} {n} {self.local[n]} {self.agent[n]}\n" for n in muxes)


def workload(place, fabric, n_vips, tbps, dips_max):
    """VIP definitions of the generator's first interval, DIPs on the fabric's hosts"""
    shape = place.write("shape.json", json.dumps(dict(fabric.shape, servers=len(fabric.hosts))))
    lines = subprocess.run([f"{BIN}/duet-sim", "trace", "--fabric", shape, "--vips", str(n_vips), "--tbps", str(tbps)],
                           stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    vips, dice = [], random.Random(2014)
    for line in lines:
        if line.startswith("#"):
            continue
        _, vip, mbps, rules, sources, racks = line.split()
        shares = [s.split(":") for s in sources.split(",")]
        dips = []
        for tor, n in (r.split(":") for r in racks.split(",")):
            here = fabric.rack[tor]
            first = dice.randrange(len(here))
            dips += [here[(first + i) % len(here)] for i in range(min(int(n), len(here)))]
        vips.append({"vip": vip, "traffic": {"mbps": round(float(mbps), 3),
                                             "sources": {"internet" if n == "border" else n: round(float(x), 6) for n, x in shares}},
                     "rules": [dict({"proto": "tcp", "port": 80} if rules != "0" else {"proto": "any"},
                                    dips=[{"address": d} for d in dips[:dips_max]], check={"type": "tcp", "port": 80})]})
    return vips


class Scale:
    """A fabric's agents and a controller, and what is asked of them"""

    def __init__(self, place, fabric, vips, say, aggregate="10.128.0.0/9"):
        self.place, self.fabric, self.vips, self.say = place, fabric, vips, say
        self.url, at = "http://127.0.0.1:8471", "127.0.0.1:8472"
        dot = place.write("topology.dot", fabric.dot(f"http://{at}"))
        self.conf = place.write("controller.conf", f"[controller]\nname=scale\nlisten={self.url[7:]}\ninsecure=yes\n"
                                f"store={place.path('store.sqlite')}\ntopology={dot}\naggregate={aggregate}\n")
        hosts = "".join(f"host {n} {a}\n" for n, (a, _) in fabric.hosts.items())
        self.fleets = [self.fleet("host", at, self.url, hosts)]
        for i in range(0, len(fabric.smuxes), 4):	# one that takes the state of all VIPs answers nobody in its process
            self.fleets.append(self.fleet(f"smux{i}", f"127.1.0.{i + 1}:9000", "-", fabric.agents(fabric.smuxes[i:i + 4])))
        for i in range(0, len(fabric.switches), 250):
            self.fleets.append(self.fleet(f"hmux{i}", f"127.1.1.{i // 250}:9000", "-", fabric.agents(fabric.switches[i:i + 250])))
        self.controller = None

    def fleet(self, name, at, controller, agents):
        with open(self.place.write(f"{name}s", agents), encoding="utf-8") as text:
            with open(self.place.path(f"{name}.log"), "w", encoding="utf-8") as log:
                # SMuxes have machines of their own; here what they do with 30,000 VIPs would take this one's processors from the controller
                nice = ["nice", "-n", "15"] if name.startswith("smux") else []
                child = subprocess.Popen([*nice, FLEET, at, controller], stdin=text, stdout=log, stderr=log)
        self.place.running.append(child)
        if not until(lambda: rest("GET", f"http://{at}/v1/fleet"), 60):
            raise RuntimeError(f"the fleet of {name}s does not start")
        return child, f"http://{at}"

    def get(self, path, timeout=120):
        return rest("GET", self.url + path, timeout=timeout)

    def metrics(self):
        """family{labels}: value"""
        return dict((k, float(v)) for k, v in (line.rsplit(" ", 1) for line in self.get("/metrics").splitlines()
                                               if line and line[0] != "#"))

    def until(self, what, seconds, *show):
        """what(metrics), with what it is like meanwhile every few seconds"""
        deadline, told = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            try:
                m = self.metrics()
            except (OSError, Refused):
                m = None
            if m and what(m):
                return True
            if m and time.monotonic() - told > 2:
                told = time.monotonic()
                self.say("  " + ", ".join(f"{k.split('_', 2)[2]} {m.get(k, 0):.0f}" for k in show if m.get(k)))
            select.select([], [], [], 0.1)	# a question more often would be work for the controller
        return False

    def start(self):
        self.controller = self.place.run(f"{BIN}/duet-controller", "-c", self.conf)
        muxes = len(self.fabric.agent)
        return self.until(lambda m: m.get('duet_controller_muxes{state="syncing"}', 0) +
                          m.get('duet_controller_muxes{state="in-sync"}', 0) == muxes, 120, *self.SHOW)

    def at_rest(self, m):
        return (m['duet_controller_muxes{state="in-sync"}'] == len(self.fabric.agent)
                and m['duet_controller_hosts{state="told"}'] == len(self.fabric.hosts)
                and not m['duet_controller_moves{state="under-way"}'] and not m['duet_controller_moves{state="waiting"}'])

    SHOW = ('duet_controller_muxes{state="in-sync"}', 'duet_controller_muxes{state="unreachable"}',
            'duet_controller_hosts{state="told"}', 'duet_controller_hosts{state="silent"}',
            'duet_controller_moves{state="under-way"}', 'duet_controller_moves{state="waiting"}',
            'duet_controller_vips{on="hmux"}')

    def settled(self, seconds):
        return self.until(self.at_rest, seconds, *self.SHOW)

    def assign(self, seconds=60):
        """the plan's moves; while a switch has not been heard of none is made"""
        got = until(lambda: rest("POST", self.url + "/v1/assign", {"options": {"go-on": True}}, timeout=120), seconds)
        return got and got["moves"]

    def put_config(self):
        return rest("PUT", self.url + "/v1/config", {"vips": self.vips}, timeout=300)

    def places(self):
        found, after = {}, ""
        while after is not None:
            page = self.get(f"/v1/assignment?limit=1000&after={after}" if after else "/v1/assignment?limit=1000")
            found.update((a["vip"], a["mux"]) for a in page["assignment"])
            after = page.get("next")
        return found

    def wave(self, n, places):
        """n VIPs from their switch to another that has room for them; where they go, and how many moves that makes"""
        dice, wanted = random.Random(7), []
        dips = {v["vip"]: {d["address"] for d in v["rules"][0]["dips"]} for v in self.vips}
        tunnels, members = collections.defaultdict(set), collections.Counter()
        for vip, mux in places.items():
            tunnels[mux] |= dips[vip]
            members[mux] += len(dips[vip])
        candidates = [v for v in dips if places[v] != "smux"]
        dice.shuffle(candidates)
        for vip in candidates:
            to = dice.choice(self.fabric.switches)
            if to == places[vip] or len(tunnels[to] | dips[vip]) > 512 or members[to] + len(dips[vip]) > 4096:
                continue
            tunnels[to] |= dips[vip]
            members[to] += len(dips[vip])
            wanted.append({"vip": vip, "mux": to, "mru": 0.5, "reason": "selftests/controller/scale.py"})
            if len(wanted) == n:
                break
        got = rest("PUT", self.url + "/v1/updater/assignment", {"assignment": wanted}, timeout=120)
        return {w["vip"]: w["mux"] for w in wanted}, len(got["moves"])

    def status_of(self, mux):
        return rest("GET", f"http://{self.fabric.agent[mux]}/v1/status?vips=digest", timeout=60)

    def wrong(self, places):
        """What muxes hold and export against where VIPs are placed, asked of themselves: sentences"""
        wrong, digests = [], {}
        with ThreadPoolExecutor(4) as pool:
            told = dict(zip(self.fabric.agent, pool.map(self.status_of, self.fabric.agent)))
        mine = collections.defaultdict(set)
        for vip, mux in places.items():
            mine[mux].add(vip)
        for mux, status in told.items():
            smux = mux in self.fabric.smuxes
            want = set(places) if smux else mine[mux]
            if set(status["digests"]) != want:
                wrong.append(f"{mux} holds {len(status['digests'])} VIPs, not its {len(want)}")
            if set(status["exported"]) != (set() if smux else want):
                wrong.append(f"{mux} exports {len(status['exported'])} VIPs, not its {0 if smux else len(want)}")
            if smux and not status["aggregate"]["exported"]:
                wrong.append(f"{mux} does not export the aggregate")
            for vip, digest in status["digests"].items():
                other = digests.setdefault(vip, (mux, digest))
                if other[1] != digest:
                    wrong.append(f"VIP {vip}: {mux} and {other[0]} have different tables")
        return wrong

    def wrong_at_rest(self, places, seconds=30):
        """as wrong(), when what was withdrawn has been served on for long enough"""
        last = []
        until(lambda: last.clear() or last.extend(self.wrong(places)) or not last, seconds)
        return last

    def fleet_counts(self):
        return rest("GET", self.fleets[0][1] + "/v1/fleet")

    def steady(self, seconds):
        """reports a second that are answered, how long that takes, and the controller's share of a CPU"""
        rest("POST", self.fleets[0][1] + "/v1/clear", {})
        cpu, began = self.cpu(), time.monotonic()
        until(lambda: time.monotonic() - began >= seconds, seconds + 1)
        took, c = time.monotonic() - began, self.fleet_counts()
        return {"reports_per_s": round(c["reports"] / took), "reports_failed": c["failed"],
                "report_ms": round(c["report-us"] / 1000, 2), "report_p99_ms": round(c["report-us-p99"] / 1000, 2),
                "cpu": round((self.cpu() - cpu) / took, 2)}

    def cpu(self):
        with open(f"/proc/{self.controller.pid}/stat", encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) // 1024


def run(a, say):
    """The whole run; its figures"""
    own_network()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))	# what runs is ended too
    place = Place()
    try:
        fabric = Fabric(SMALL if a.small else PAPER, a.hosts, a.smuxes, a.capacity)
        vips = workload(place, fabric, a.vips, a.tbps, a.dips)
        say(f"{len(fabric.switches)} switches, {a.smuxes} SMuxes, {len(vips)} VIPs with "
            f"{sum(len(v['rules'][0]['dips']) for v in vips)} DIPs on {a.hosts} hosts")
        s = Scale(place, fabric, vips, say)
        say("agents are there")
        began = time.monotonic()

        def since():
            return round(time.monotonic() - began, 1)

        result = {"muxes": len(fabric.agent), "vips": len(vips), "hosts": a.hosts}
        if not s.start():
            raise RuntimeError("the controller does not know its agents")
        result["started_s"] = since()
        say(f"started, all muxes heard: {since()} s")
        s.put_config()
        result["configured_s"] = since()
        say(f"configuration taken: {since()} s")
        result["planned_moves"] = len(s.assign(120))
        result["planned_s"] = since()
        say(f"plan of {result['planned_moves']} moves taken: {since()} s")
        if not s.settled(a.patience):
            raise RuntimeError(f"not converged after {since()} s")
        result["converged_s"] = since()
        say(f"converged: {since()} s, controller {s.cpu():.1f} s on a CPU, {peak_mib(s.controller.pid)} MiB")
        places = s.places()
        wrong = s.wrong_at_rest(places)
        began = time.monotonic()
        wanted, moves = s.wave(a.moves, places)
        if moves != a.moves or not s.settled(a.patience):
            raise RuntimeError(f"a wave of {moves} is not over after {since()} s")
        result["wave"] = {"moves": moves, "s": since()}
        say(f"a wave of {moves} moves: {since()} s")
        now = s.places()
        wrong += s.wrong_at_rest(now) + [f"{v} is on {now[v]}, not on {m}" for v, m in wanted.items() if now[v] != m]
        result.update(s.steady(a.seconds))
        say(f"at rest: {result['reports_per_s']} reports a second, {result['cpu']} of a CPU")
        began = time.monotonic()
        status = s.get("/v1/status")
        result["status_s"] = round(time.monotonic() - began, 2)
        found = s.metrics()
        result["faults_ms"] = {w: round(1000 * found[f'duet_controller_fault_gather_seconds{{what="{w}"}}'], 1) for w in ("state", "tables")}
        wrong += sentences(status) + ([f"{status['hosts']['silent']} hosts are silent"] if status["hosts"]["silent"] else [])
        result["peak_mib"] = peak_mib(s.controller.pid)
        result["fleet_peak_mib"] = sum(peak_mib(c.pid) for c, _ in s.fleets)
        result["wrong"] = len(wrong)
        for w in wrong[:20]:
            say(f"wrong: {w}")
        return result
    finally:
        place.close()


def own_network():
    """A network namespace of its own: its addresses, and ports for a connection from each host"""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):	# CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "no network namespace (root?)")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="utf-8") as f:
        f.write("1024 65535")


def options(args):
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--small", action="store_true", help="40 switches instead of the paper's 1,800")
    p.add_argument("--vips", type=int, default=30000)
    p.add_argument("--hosts", type=int, default=50000)
    p.add_argument("--smuxes", type=int, default=20)
    p.add_argument("--capacity", type=float, default=43, help="Gbps of an SMux: 20 carry what the paper's 239 do")
    p.add_argument("--tbps", type=float, default=10)
    p.add_argument("--dips", type=int, default=DIPS_MAX, help="of one VIP at most")
    p.add_argument("--moves", type=int, default=1000)
    p.add_argument("--seconds", type=float, default=30, help="at rest")
    p.add_argument("--patience", type=float, default=1200)
    return p.parse_args(args)


def main():
    began = time.monotonic()

    def say(text):
        print(f"# {time.monotonic() - began:6.1f} {text}", file=sys.stderr, flush=True)

    result = run(options(sys.argv[1:]), say)
    print(json.dumps(result))
    return 1 if result["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
