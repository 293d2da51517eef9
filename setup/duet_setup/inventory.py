# SPDX-License-Identifier: GPL-2.0
"""The inventory: strict YAML. Each refusal names file, line and key, and changes nothing."""
import difflib
import ipaddress
import re

import yaml

from . import Refused

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
PORT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}\Z")
SPEED = re.compile(r"[0-9]+(\.[0-9]+)?[MGT]\Z")
TIER = {"core": 0, "agg": 1, "tor": 2}
ROLES = {"admin": "admins", "operator": "operators", "reader": "readers", "metrics": "metrics"}
# names that the controller has a meaning of its own for
TAKEN = ("smux", "internet")

TOP = ("deployment", "vips", "operators", "controllers", "switches", "smuxes", "hosts", "links", "etcd", "bfd", "bfd_ms", "hold_time",
       "certificate_days", "manage_sysctl")
KEYS = {
    "controllers": ("address",),
    "switches": ("role", "container", "loopback", "asn", "networks", "ports", "mux", "manage"),
    "smuxes": ("loopback", "asn", "capacity", "manage"),
    "hosts": ("address", "interface", "manage"),
    "links": ("from", "to", "addresses", "speed"),
    "etcd": ("urls",),
}


class Value:
    """a YAML node with its place"""

    def __init__(self, path, node, what):
        self.path, self.node, self.what = path, node, what

    def refuse(self, why):
        raise Refused(f"{self.path}:{self.node.start_mark.line + 1}: {self.what}: {why}")

    def scalar(self):
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag.endswith(":null"):
            self.refuse("a single value is expected here")
        return self.node.value

    def text(self, pattern, example):
        text = self.scalar()
        if not pattern.match(text):
            self.refuse(f"'{text}' isn't valid here; write for example {example}")
        return text

    def name(self):
        name = self.text(NAME, "tor1: letters, digits, '.', '_' and '-', at most 63")
        if name in TAKEN:
            self.refuse(f"no node can be called '{name}': the controller uses that word itself")
        return name

    def number(self, low, high):
        text = self.scalar()
        if not re.match(r"[0-9]{1,10}\Z", text) or not low <= int(text) <= high:
            self.refuse(f"'{text}' is not a whole number from {low} to {high}")
        return int(text)

    def yes(self):
        text = self.scalar()
        if text not in ("yes", "no", "true", "false"):
            self.refuse(f"'{text}' is neither yes nor no")
        return text in ("yes", "true")

    def choice(self, *words):
        text = self.scalar()
        if text not in words:
            self.refuse(f"'{text}' is none of {', '.join(words)}{nearest(text, words)}")
        return text

    def address(self):
        text = self.scalar()
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError:
            self.refuse(f"'{text}' is no IPv4 address such as 10.254.0.7")
        if address.is_multicast or address.is_unspecified or address.is_loopback or int(address) == 0xffffffff:
            self.refuse(f"{text} can't be the address of a machine")
        return text

    def prefix(self):
        text = self.scalar()
        try:
            return ipaddress.IPv4Network(text)
        except ValueError as e:
            self.refuse(f"'{text}' is no IPv4 prefix such as 203.0.113.0/24{': host bits are set' if 'host bits' in str(e) else ''}")

    def items(self):
        if not isinstance(self.node, yaml.SequenceNode):
            self.refuse("a list is expected here")
        return [Value(self.path, n, f"{self.what}[{i + 1}]") for i, n in enumerate(self.node.value)]

    def fields(self, known=None):
        """{key: Value}; keys outside known, and keys given twice, are refused"""
        if not isinstance(self.node, yaml.MappingNode):
            self.refuse("'key: value' lines are expected here")
        found = {}
        for key, value in self.node.value:
            at = Value(self.path, key, self.what)
            name = at.scalar()
            if known and name not in known:
                at.refuse(f"there is no key '{name}'{nearest(name, known)}; the keys are {', '.join(known)}")
            if name in found:
                at.refuse(f"'{name}' is given twice")
            found[name] = Value(self.path, value, f"{self.what} {name}".strip())
            found[name].key = at
        return found

    def need(self, fields, *keys):
        for key in keys:
            if key not in fields:
                self.refuse(f"'{key}' is missing")


def nearest(word, known):
    found = difflib.get_close_matches(word, known, 1, 0.5)
    return f": do you mean '{found[0]}'?" if found else ""


class Node:
    def __init__(self, kind, name, value):
        self.kind, self.name, self.value = kind, name, value
        self.links = []		# (own port, own address or None, other node, its port, its address, speed)
        self.loopback = self.address = self.asn = self.role = self.capacity = self.interface = None
        self.container, self.networks, self.ports, self.has_mux = 1, [], [], kind == "smuxes"
        self.manage = None

    @property
    def is_switch(self):
        return self.kind == "switches"

    @property
    def routes(self):
        return self.kind in ("switches", "smuxes")

    @property
    def addresses(self):
        """what its certificate is valid for, besides its name"""
        return sorted({a for a in (self.manage, self.loopback, self.address) if a}, key=ipaddress.IPv4Address)


class Inventory:
    def __init__(self, path):
        self.path = path
        root = self.load()
        top = root.fields(TOP)
        root.need(top, "deployment", "vips", "operators", "controllers", "smuxes", "hosts", "links")
        self.deployment = top["deployment"].text(NAME, "example")
        self.vips = top["vips"].prefix()
        if not 8 <= self.vips.prefixlen <= 28:
            top["vips"].refuse(f"{self.vips} is a /{self.vips.prefixlen}; SMuxes announce a /8 to a /28")
        self.etcd = []
        if "etcd" in top:
            fields = top["etcd"].fields(KEYS["etcd"])
            top["etcd"].need(fields, "urls")
            self.etcd = [u.text(re.compile(r"https://[A-Za-z0-9.:\[\]-]+\Z"), "https://10.0.0.2:2379") for u in fields["urls"].items()]
        self.bfd = top["bfd"].yes() if "bfd" in top else True
        self.bfd_ms = top["bfd_ms"].number(10, 10000) if "bfd_ms" in top else 50
        self.hold_time = top["hold_time"].number(3, 65535) if "hold_time" in top else 9
        self.days = top["certificate_days"].number(1, 3650) if "certificate_days" in top else 365
        self.manage_sysctl = top["manage_sysctl"].yes() if "manage_sysctl" in top else True
        self.operators = {}
        for name, value in top["operators"].fields().items():
            value.key.name()
            self.operators[name] = value.choice(*ROLES)
        if "admin" not in self.operators.values():
            top["operators"].refuse("nobody is 'admin'; give one person that role")
        self.nodes = {}
        for kind in ("controllers", "switches", "smuxes", "hosts"):
            if kind in top:
                for name, value in top[kind].fields().items():
                    self.add(kind, name, value)
            if kind != "switches" and not self.of(kind):
                top[kind].refuse("there must be one at least")
        if len(self.of("controllers")) > 1 and not self.etcd:
            top["controllers"].refuse("several controllers share a store in etcd; add 'etcd: {urls: [https://...]}'")
        self.unique()
        for link in top["links"].items():
            self.add_link(link)
        for node in self.nodes.values():
            self.check_links(node)

    def load(self):
        try:
            with open(self.path, encoding="utf-8") as f:
                node = yaml.compose(f, yaml.SafeLoader)
        except OSError as e:
            raise Refused(f"{self.path}: {e.strerror}; name the inventory with -i FILE") from None
        except UnicodeDecodeError:
            raise Refused(f"{self.path}: it is no text in UTF-8") from None
        except yaml.MarkedYAMLError as e:
            mark = e.problem_mark or e.context_mark
            raise Refused(f"{self.path}:{mark.line + 1 if mark else 1}: this is no YAML: {e.problem or e.context}") from None
        except yaml.YAMLError as e:
            raise Refused(f"{self.path}: this is no YAML: {' '.join(str(e).split())}") from None
        if node is None:
            raise Refused(f"{self.path}: the file is empty")
        return Value(self.path, node, "inventory")

    def of(self, *kinds):
        return [n for n in self.nodes.values() if n.kind in kinds]

    @property
    def muxes(self):
        return [n for n in self.nodes.values() if n.has_mux]

    def add(self, kind, name, value):
        value.key.name()
        for known, where in ((self.nodes, "another node"), (self.operators, "an operator")):
            if name in known:
                value.key.refuse(f"'{name}' is the name of {where} already; certificates go by it, so it must be unique")
        value.what = f"{kind} {name}"
        fields = value.fields(KEYS[kind])
        node = self.nodes[name] = Node(kind, name, value)
        if kind in ("controllers", "hosts"):
            value.need(fields, "address")
            node.address = fields["address"].address()
        else:
            value.need(fields, "loopback", "asn")
            node.loopback = fields["loopback"].address()
            node.asn = fields["asn"].number(1, 4294967294)
        if kind == "hosts":
            value.need(fields, "interface")
            node.interface = fields["interface"].text(PORT, "eth0")
        if kind == "switches":
            value.need(fields, "role")
            node.role = fields["role"].choice(*TIER)
            node.has_mux = fields["mux"].yes() if "mux" in fields else True
            if "container" in fields:
                if node.role == "core":
                    fields["container"].refuse("a core is in no container; agg and tor are")
                node.container = fields["container"].number(0, 65535)
            if "networks" in fields:
                if node.role != "tor":
                    fields["networks"].refuse(f"a {node.role} has no networks of its own; a tor has its rack's")
                node.networks = [n.prefix() for n in fields["networks"].items()]
            if "ports" in fields:
                node.ports = [p.text(PORT, "swp1") for p in fields["ports"].items()]
        if "capacity" in fields:
            node.capacity = fields["capacity"].text(SPEED, "10G")
        node.manage = fields["manage"].address() if "manage" in fields else node.loopback or node.address

    def unique(self):
        """an address is one machine's, and no VIP"""
        seen = {}
        for node in self.nodes.values():
            for address in node.addresses:
                if ipaddress.IPv4Address(address) in self.vips:
                    node.value.refuse(f"{address} lies in the VIPs {self.vips}; a machine needs an address outside of them")
                if seen.setdefault(address, node) is not node:
                    node.value.refuse(f"{address} is the address of {seen[address].name}, too")
            for net in node.networks:
                if net.overlaps(self.vips):
                    node.value.refuse(f"its network {net} overlaps the VIPs {self.vips}")
        asns = {}
        for node in self.nodes.values():
            if node.routes and asns.setdefault(node.asn, node) is not node:
                node.value.refuse(f"AS {node.asn} is that of {asns[node.asn].name}, too; each switch and SMux has one of its own")

    def end(self, value):
        words = value.scalar().split(":")
        if len(words) != 2:
            value.refuse(f"'{value.scalar()}' is no end of a link; write NODE:PORT, for example tor1:swp1")
        if words[0] not in self.nodes:
            value.refuse(f"there is no node '{words[0]}'{nearest(words[0], list(self.nodes))}")
        if not PORT.match(words[1]):
            value.refuse(f"'{words[1]}' can't be the name of a port")
        return self.nodes[words[0]], words[1]

    def add_link(self, link):
        fields = link.fields(KEYS["links"])
        link.need(fields, "from", "to")
        (a, port_a), (b, port_b) = self.end(fields["from"]), self.end(fields["to"])
        speed = fields["speed"].text(SPEED, "10G") if "speed" in fields else None
        for node, port in ((a, port_a), (b, port_b)):
            if node.kind == "controllers":
                link.refuse(f"{node.name} is a controller; controllers have no place in the fabric's links")
            if port in node.ports or any(port == known[0] for known in node.links):
                link.refuse(f"the port {port} of {node.name} has another link already")
        switches = [n for n in (a, b) if n.is_switch]
        if not switches or len(switches) == 1 and switches[0].role != "tor":
            link.refuse("SMuxes and hosts are linked with a tor, switches with each other")
        if a.is_switch and b.is_switch and abs(TIER[a.role] - TIER[b.role]) != 1:
            link.refuse(f"{a.name} is a {a.role} and {b.name} a {b.role}; links go from tor to agg, and from agg to core")
        if a.is_switch and b.is_switch:
            link.need(fields, "speed")
        own = other = None
        if a.routes and b.routes:
            link.need(fields, "addresses")
            ends = [v.address() for v in fields["addresses"].items()]
            if len(ends) != 2 or ends[0] == ends[1]:
                fields["addresses"].refuse("two addresses are expected: that of 'from', and that of 'to'")
            own, other = ends
            if any(ipaddress.IPv4Address(e) in self.vips for e in ends):
                fields["addresses"].refuse(f"they lie in the VIPs {self.vips}")
        elif "addresses" in fields:
            fields["addresses"].refuse("a host's link needs none: the host has its 'address'")
        a.links.append((port_a, own, b, port_b, other, speed))
        b.links.append((port_b, other, a, port_a, own, speed))

    def check_links(self, node):
        if node.kind in ("smuxes", "hosts") and len(node.links) != 1:
            node.value.refuse(f"it has {len(node.links)} links; one, with a tor, is expected")
        if node.kind == "hosts":
            rack = node.links[0][2]
            if node.links[0][0] != node.interface:
                node.value.refuse(f"its interface is {node.interface}, but its link is at {node.links[0][0]}")
            if not any(ipaddress.IPv4Address(node.address) in net for net in rack.networks):
                node.value.refuse(f"{node.address} is in none of the networks of {rack.name}, so nobody would have a route to it; add its network there")
