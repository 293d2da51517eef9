# SPDX-License-Identifier: GPL-2.0
"""The testbed as topology.dot describes it, and every configuration file that
follows from it: no root needed, nothing started. Who has which address:
switch k mux 10.254.0.k, ASN 65000+k; SMux s 10.254.1.s, ASN 65100+s; the i-th
link between switches 10.255.i.0/31, the switch with the lower k has .0."""
import json
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.environ.get("O", os.path.join(TOP, "out"))
BIN = os.path.join(OUT, "bin")
HERE = os.path.join(TOP, "selftests", "lab")
BIRD_CONF = os.path.join(TOP, "bird-conf")

sys.path.insert(0, os.path.join(TOP, "setup"))
from duet_setup import bird  # noqa: E402

TIER = {"core": 0, "agg": 1, "tor": 2}
CONTROLLER = "10.250.0.1:8470"
ECHO_PORT = 7
AGGREGATE = "203.0.113.0/24"
DOWN_TABLE = 201	# bird-conf/duet/kernel.conf

NODE = re.compile(r'^\s*"([^"]+)"\s*\[(.*)\]\s*;')
EDGE = re.compile(r'^\s*"([^"]+)":"([^"]+)"\s*--\s*"([^"]+)":"([^"]+)"\s*(?:\[(.*)\])?\s*;')
ATTR = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^,\s\]]+))')


class Node:
    def __init__(self, name, attrs):
        self.name = name
        self.role = attrs["role"]
        self.attrs = attrs
        self.agent = attrs.get("agent")		# URL or None
        self.links = []				# (own port, other node, its port, number of the fabric link or None)
        self.local = attrs.get("local")		# mux address
        self.address = attrs.get("address")	# server address
        self.number = int((self.local or self.address).split(".")[3 if self.local else 2])

    @property
    def is_switch(self):
        return self.role in TIER

    @property
    def is_mux(self):
        return self.is_switch or self.role == "smux"

    @property
    def asn(self):
        return (65000 if self.is_switch else 65100) + self.number

    @property
    def listen(self):
        return self.agent.split("//")[1] if self.agent else None

    @property
    def manage(self):
        return self.listen.split(":")[0] if self.agent else None

    @property
    def device(self):
        return "hmux0" if self.is_switch else "smux0"

    @property
    def ports(self):
        return [link[0] for link in self.links]


class Topology:
    """nodes by name in the file's order, and the links; with fewer servers than
    the file has: a client at every ToR first, then DIP servers, ToR by ToR."""

    def __init__(self, path, servers=None):
        self.path = path
        self.nodes = {}
        self.lines = []		# (node names of the line, text), to write a smaller file
        edges = []
        with open(path, encoding="ascii") as f:
            for line in f:
                edge, node = EDGE.match(line), NODE.match(line)
                names = ()
                if edge:
                    edges.append(edge.groups()[:4])
                    names = (edge[1], edge[3])
                elif node:
                    attrs = {k: quoted or plain for k, quoted, plain in ATTR.findall(node[2])}
                    self.nodes[node[1]] = Node(node[1], attrs)
                    names = (node[1],)
                self.lines.append((names, line))
        for a, port_a, b, port_b in edges:
            for name, port, other in ((a, port_a, b), (b, port_b, a)):
                if name not in self.nodes:
                    raise ValueError(f"{path}: the link of {other} goes to {name}:{port}, but there is no node {name}")
        rack = {}
        for a, _, b, _ in edges:
            for server, tor in ((a, b), (b, a)):
                if self.nodes[server].role == "server":
                    rack[server] = tor
        for name in self._drop(rack, servers):
            del self.nodes[name]
        fabric = 0
        for a, port_a, b, port_b in edges:
            if a not in self.nodes or b not in self.nodes:
                continue
            na, nb = self.nodes[a], self.nodes[b]
            number = None
            if na.is_switch and nb.is_switch:
                fabric += 1
                number = fabric
            na.links.append((port_a, nb, port_b, number))
            nb.links.append((port_b, na, port_a, number))

    def _drop(self, rack, servers):
        if servers is None:
            return []
        shelves = {}
        for name, tor in rack.items():
            shelf = shelves.setdefault(tor, {True: [], False: []})
            shelf[bool(self.nodes[name].agent)].append(name)
        order = [shelf[False][0] for shelf in shelves.values()]
        for dip, skip in ((True, 0), (False, 1)):
            for i in range(len(rack)):
                order += [shelf[dip][i] for shelf in shelves.values() if skip <= i < len(shelf[dip])]
        return order[servers:]

    def of(self, *roles):
        return [n for n in self.nodes.values() if n.role in roles]

    @property
    def switches(self):
        return self.of("core", "agg", "tor")

    @property
    def muxes(self):
        return self.switches + self.of("smux")

    @property
    def dips(self):
        return [n for n in self.of("server") if n.agent]

    @property
    def clients(self):
        return [n for n in self.of("server") if not n.agent]

    def rack_of(self, node):
        return node.links[0][1]

    def text(self):
        return "".join(line for names, line in self.lines if all(n in self.nodes for n in names))


def fabric_addresses(node, other, number):
    """own and the other's address on fabric link `number`"""
    low = node.number < other.number
    return (f"10.255.{number}.{0 if low else 1}", f"10.255.{number}.{1 if low else 0}")


def server_addresses(node):
    """server's or SMux's address on eth0, and its ToR's there"""
    tor = node.links[0][1]
    own = node.address or f"10.{tor.number - 6}.200.1"
    return own, own.rsplit(".", 1)[0] + ".0"


def rack_net(tor):
    return f"10.{tor.number - 6}.0.0/16"


def vip_file(path, topo, patient=False):
    """the VIP file without DIPs that aren't there; patient: checks for a slow machine, on which a busy
    second is no dead server (a refused connection still tells at once)"""
    with open(path, encoding="ascii") as f:
        config = json.load(f)
    there = {n.address for n in topo.dips}
    for vip in config["vips"]:
        for rule in vip["rules"]:
            rule["dips"] = [d for d in rule["dips"] if d["address"] in there]
            if patient and "check" in rule:
                rule["check"].update(interval_ms=1000, timeout_ms=15000, fall=2)
        vip["rules"] = [r for r in vip["rules"] if r["dips"]]
    config["vips"] = [v for v in config["vips"] if v["rules"]]
    return config


# ---- BIRD

def bird_node(node):
    return bird.node(node.name, node.asn, node.local)


def bird_neighbours(node):
    text = bird.rack([rack_net(node)]) if node.role == "tor" else ""
    for port, other, _, number in node.links:
        if not other.is_mux:
            continue
        if number:
            kind = "above" if TIER[other.role] < TIER[node.role] else "below"
            address = fabric_addresses(node, other, number)[1]
        elif node.role == "smux":
            kind, address = "tor", server_addresses(node)[1]
        else:
            kind, address = "smux", server_addresses(other)[0]
        text += bird.neighbour(other.name, kind, address, other.asn, port)
    return text


def bird_main(node, site):
    role = "switch" if node.is_switch else "smux"
    return (f'log stderr all;\ninclude "{site}";\ninclude "node.conf";\n'
            f'include "{BIRD_CONF}/{role}.conf";\ninclude "neighbours.conf";\n')


# ---- agents, controller, web servers

# An emulated machine lets an agent wait for seconds, and the demo kills them all
# and starts them again: longer than that, and shorter than anybody's patience.
KEEPALIVE_MS = 60000


def mux_agent(node, run, backend):
    ports = " ".join(node.ports)
    keepalive = f"keepalive_ms = {KEEPALIVE_MS}\n" if node.is_switch else ""
    return (f"[agent]\nname = {node.name}\nlisten = {node.listen}\ninsecure = yes\nrun_dir = {run}/{node.name}\n\n"
            f"[device]\nname = {node.device}\nmode = {'hmux' if node.is_switch else 'smux'}\n"
            f"local = {node.local}\nports = {ports}\nbackend = {backend}\n{keepalive}\n"
            f"[bird]\nsocket = {run}/{node.name}/bird.ctl\ntable = duet4\n\n"
            f"[announce]\ntable = 199\nhold_ms = 2000\n")


def host_agent(node, run):
    return (f"[agent]\nname = {node.name}\nlisten = {node.listen}\ninsecure = yes\ncontroller = http://{CONTROLLER}\n\n"
            f"[host]\ninterface = eth0\naddress = {node.address}\npin = {run}/bpf/{node.name}\n")


def controller(run, aggregate):
    return (f"[controller]\nname = ctl\nlisten = {CONTROLLER}\ninsecure = yes\nrole = all\nstore = {run}/ctl/duet.sqlite\n"
            f"topology = {run}/topology.dot\naggregate = {aggregate}\n")


def nginx(node, run):
    own = f"{run}/{node.name}"
    temp = "".join(f"\t{kind}_temp_path {own}/tmp;\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return (f"daemon off;\nmaster_process off;\nworker_processes 1;\npid {own}/nginx.pid;\n"
            f"error_log stderr warn;\nevents {{ worker_connections 512; }}\n"
            f"http {{\n\taccess_log off;\n\tdefault_type text/plain;\n{temp}"
            f"\tserver {{\n\t\tlisten 80 default_server backlog=512;\n"
            f"\t\tadd_header X-Peer $remote_addr:$remote_port always;\n"
            f'\t\tlocation / {{ return 200 "{node.name}\\n"; }}\n\t}}\n}}\n')


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def write_all(topo, run, vips, site=None, backend="kmod", aggregate=AGGREGATE, patient=False):
    """every file below run; returns what vips.json became"""
    write(f"{run}/topology.dot", topo.text())
    config = vip_file(vips, topo, patient)
    write(f"{run}/vips.json", json.dumps(config, indent=1) + "\n")
    write(f"{run}/site.conf", bird.site(site or {}))
    for node in topo.muxes:
        write(f"{run}/{node.name}/bird.conf", bird_main(node, f"{run}/site.conf"))
        write(f"{run}/{node.name}/node.conf", bird_node(node))
        write(f"{run}/{node.name}/neighbours.conf", bird_neighbours(node))
        write(f"{run}/{node.name}/mux-agent.conf", mux_agent(node, run, backend))
    for node in topo.dips:
        write(f"{run}/{node.name}/nginx.conf", nginx(node, run))
        write(f"{run}/{node.name}/host-agent.conf", host_agent(node, run))
    write(f"{run}/ctl/controller.conf", controller(run, aggregate))
    return config
