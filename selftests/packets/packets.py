#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Golden packets: cases/*.json, described layer by layer, made into bytes.

A second opinion on every header is worth nothing if it comes from the same
source, so this knows nothing of the module's code: it is written from the RFCs
with struct alone. README.md beside it says how a case is written.

usage: packets.py [--emit FILE | --show CASE | --list]
  --emit FILE   all cases as one flat text file, easy to read from C (- is stdout):
                  case NAME
                  config key HEX32 | local4 ADDR | local6 ADDR | mode hmux|smux | mtu N | ethertype HEX
                  config vip ADDR KIND FRAGMENTS OVERSIZE ALL_DOWN        the policies, all named
                  config rule PROTO|any PORT PORT_LAST FIELDS             of the vip above; 0 0: any port
                  config dip ADDR WEIGHT STATE                            of the rule above
                  in HEX                                                  without Ethernet header, with its padding
                  verdict NAME
                  count VIP RULE DIP BYTES                                what encap counts; RULE by its place in the vip
                  out dip|client HEX MASKHEX                              compare (got ^ HEX) & MASKHEX, lengths equal
                  end
  --show CASE   its packets, field by field
"""
import glob
import ipaddress
import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "model"))
import duet_model as model  # noqa: E402 pylint: disable=wrong-import-position

VERDICTS = ("pass", "encap", "header", "no-rule", "no-dip", "fragment", "ttl", "too-big", "no-route", "no-local", "memory", "loop",
            "no-tunnel", "outer-error", "martian")
PORTS = ("dip", "client")
PROTOS = {"any": 0, "icmp": 1, "tcp": 6, "udp": 17, "sctp": 132}
DEVICE = {"key": 7, "local4": "10.2.0.1", "local6": "2001:db8:2::1", "mode": "hmux"}
POLICIES = {"kind": ("vip", "tip"), "fragments": ("drop", "hash"), "oversize": ("fragment", "refuse"), "all_down": ("drop", "reject", "pass")}
MTU = 1500
ANY = "?"		# a field that nothing prescribes: masked


class Bad(Exception):
    """A case that isn't written as it must be."""


def need(condition, what):
    if not condition:
        raise Bad(what)


def csum(data):
    """RFC 1071."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


# Layers and their fields: the number of bits, or "addr4", "addr6", "flag", "hex".
# The value left out is 0, or what the builder finds out ("auto").
FIELDS = {
    "ip4": {"version": 4, "ihl": 4, "tos": 8, "len": 16, "id": 16, "rb": "flag", "df": "flag", "mf": "flag", "offset": 16, "ttl": 8,
            "proto": 8, "check": 16, "src": "addr4", "dst": "addr4", "options": "hex"},
    "ip6": {"version": 4, "tc": 8, "flow": 20, "len": 16, "nh": 8, "hop": 8, "src": "addr6", "dst": "addr6"},
    "hbh": {"nh": 8, "hlen": 8, "data": "hex"},
    "dstopts": {"nh": 8, "hlen": 8, "data": "hex"},
    "routing": {"nh": 8, "hlen": 8, "type": 8, "left": 8, "data": "hex"},
    "frag6": {"nh": 8, "offset": 16, "mf": "flag", "id": 32},
    "udp": {"sport": 16, "dport": 16, "len": 16, "check": 16},
    "tcp": {"sport": 16, "dport": 16, "seq": 32, "ack": 32, "flags": 8, "window": 16, "check": 16},
    "ports": {"sport": 16, "dport": 16},
    "icmp4": {"type": 8, "code": 8, "check": 16, "id": 16, "seq": 16, "mtu": 16, "rest": "hex"},
    "icmp6": {"type": 8, "code": 8, "check": 16, "id": 16, "seq": 16, "mtu": 32, "rest": "hex"},
}
PROTO_OF = {"ip4": 4, "ip6": 41, "hbh": 0, "dstopts": 60, "routing": 43, "frag6": 44, "udp": 17, "tcp": 6, "icmp4": 1, "icmp6": 58}
MASKABLE = {("ip4", "id"), ("ip6", "tc"), ("ip6", "flow"), ("frag6", "id")}


def number(value, bits, where):
    if isinstance(value, str):
        try:
            value = int(value, 16)
        except ValueError:
            raise Bad(f"{where}: {value!r} is no number") from None
    need(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << bits, f"{where}: {value!r} is not of {bits} bits")
    return value


def hexbytes(value, where):
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError):
        raise Bad(f"{where}: {value!r} is not hex") from None


class Fields:
    """The fields of one layer, each checked when the layer is made."""

    def __init__(self, layer, given, dip):
        need(isinstance(given, dict), f"{layer}: fields are an object")
        self.layer, self.masked, self.values = layer, set(), {}
        for name, value in given.items():
            where = f"{layer}.{name}"
            need(name in FIELDS[layer], f"{where}: no such field")
            kind = FIELDS[layer][name]
            if value == ANY:
                need((layer, name) in MASKABLE, f"{where}: can't be masked")
                self.masked.add(name)
                value = 0
            elif kind == "flag":
                need(isinstance(value, bool), f"{where}: true or false")
            elif kind == "hex":
                value = hexbytes(value, where)
            elif kind in ("addr4", "addr6"):
                value = dip if value == "@model" else value
                need(value is not None, f"{where}: @model, and the case has no flow")
                address = ipaddress.ip_address(value)
                need(address.version == int(kind[4]), f"{where}: {value} is not of IPv{kind[4]}")
                value = address.packed
            else:
                value = number(value, kind, where)
            self.values[name] = value

    def get(self, name, default=0):
        return self.values.get(name, default)

    def __contains__(self, name):
        return name in self.values


class Builder:
    """Layers to bytes and mask. `source` are the layers that "in" means."""

    def __init__(self, source=None, dip=None):
        self.source, self.dip = source, dip

    def packet(self, layers, nets=None):
        """(bytes, mask). What follows the lengths: {"pad"} is after the packet, {"cut"} shortens it."""
        need(isinstance(layers, list) and layers and all(isinstance(x, dict) and len(x) == 1 for x in layers),
             "a packet is a list of objects with one layer each")
        tail = [x for x in layers if set(x) & {"pad", "cut"}]
        need(layers[len(layers) - len(tail):] == tail, "pad and cut come last")
        data, mask = self.layers(layers[:len(layers) - len(tail)], nets)
        for x in tail:
            (kind, value), = x.items()
            if kind == "pad":
                value = hexbytes(value, "pad")
                data, mask = data + value, mask + b"\xff" * len(value)
            else:
                need(isinstance(value, int) and 0 <= value < len(data), f"cut: {value} of {len(data)} bytes")
                data, mask = data[:value], mask[:value]
        return data, mask

    def layers(self, layers, nets):
        """nets: (src, dst) of the IP header around, for pseudo headers."""
        if not layers:
            return b"", b""
        (kind, given), = layers[0].items()
        if kind == "raw":
            data, mask = self.raw(given)
        elif kind == "quote":
            data, mask = self.packet(given)
        elif kind == "in":
            data, mask = self.again(given)
        else:
            need(kind in FIELDS, f"no layer {kind!r}")
            fields = Fields(kind, given, self.dip)
            if kind in ("ip4", "ip6"):
                nets = (fields.get("src", None), fields.get("dst", None))
                need(None not in nets, f"{kind} has src and dst")
            rest, rest_mask = self.layers(layers[1:], nets)
            data, mask = getattr(self, f"make_{kind}" if kind not in ("hbh", "dstopts") else "make_options")(
                fields, rest, self.proto(layers[1:]), nets)
            need(len(data) == len(mask), f"{kind}: the mask's length")
            return data + rest, mask + rest_mask
        rest, rest_mask = self.layers(layers[1:], nets)
        return data + rest, mask + rest_mask

    def proto(self, layers):
        """What names the layer that follows; None: has to be given."""
        kind = next(iter(layers[0])) if layers else None
        if kind == "in":
            return {4: 4, 6: 41}.get(self.again(layers[0]["in"])[0][0] >> 4)
        return PROTO_OF.get(kind)

    @staticmethod
    def raw(given):
        if isinstance(given, dict):
            need(set(given) == {"hex", "bytes"}, "raw: a string, or hex and bytes")
            unit, size = hexbytes(given["hex"], "raw"), given["bytes"]
            data = (unit * (size // len(unit) + 1))[:size]
        else:
            data = hexbytes(given, "raw")
        return data, b"\xff" * len(data)

    def again(self, given):
        """The packet that came in: without its first `from` layers, with another ttl, tos, hop or tc, bytes [a, b) of it."""
        need(self.source is not None and isinstance(given, dict) and not set(given) - {"from", "ttl", "tos", "hop", "tc", "slice"},
             f"in: {given!r}")
        layers = [x for x in self.source[given.get("from", 0):] if "pad" not in x]
        data = bytearray(Builder().packet(layers)[0])
        version = data[0] >> 4
        need(not set(given) & ({"hop", "tc"} if version == 4 else {"ttl", "tos"}), f"in: {given!r} of IPv{version}")
        if set(given) & {"ttl", "tos"}:
            data[8] = given.get("ttl", data[8])
            data[1] = number(given.get("tos", data[1]), 8, "in.tos")
            data[10:12] = b"\0\0"
            data[10:12] = struct.pack("!H", csum(bytes(data[:(data[0] & 15) * 4])))
        elif set(given) & {"hop", "tc"}:
            data[7] = given.get("hop", data[7])
            tc = number(given.get("tc", (data[0] & 15) << 4 | data[1] >> 4), 8, "in.tc")
            data[0], data[1] = 0x60 | tc >> 4, (tc & 15) << 4 | data[1] & 15
        start, end = given.get("slice", (0, len(data)))
        need(0 <= start < end <= len(data), f"in: slice {start}, {end} of {len(data)} bytes")
        return bytes(data[start:end]), b"\xff" * (end - start)

    @staticmethod
    def make_ip4(f, rest, proto, nets):
        options = f.get("options", b"")
        need(not len(options) % 4, "ip4.options: a multiple of 4 bytes")
        need(not f.get("offset") % 8 and f.get("offset") < 65536, "ip4.offset: bytes, a multiple of 8")
        proto = f.get("proto", proto)
        need(proto is not None, "ip4.proto: has to be given here")
        frag = f.get("rb", False) << 15 | f.get("df", False) << 14 | f.get("mf", False) << 13 | f.get("offset") >> 3
        header = struct.pack("!BBHHHBBH4s4s", f.get("version", 4) << 4 | f.get("ihl", 5 + len(options) // 4), f.get("tos"),
                             f.get("len", 20 + len(options) + len(rest)), f.get("id"), frag, f.get("ttl", 64), proto, 0, *nets) + options
        check = f.get("check", csum(header))
        mask = bytearray(b"\xff" * len(header))
        if "id" in f.masked:
            mask[4:6] = mask[10:12] = b"\0\0"
        return header[:10] + struct.pack("!H", check) + header[12:], bytes(mask)

    @staticmethod
    def make_ip6(f, rest, proto, nets):
        nh = f.get("nh", proto)
        need(nh is not None, "ip6.nh: has to be given here")
        word = f.get("version", 6) << 28 | f.get("tc") << 20 | f.get("flow")
        mask = 0xffffffff ^ (0x0ff00000 if "tc" in f.masked else 0) ^ (0xfffff if "flow" in f.masked else 0)
        return (struct.pack("!IHBB16s16s", word, f.get("len", len(rest)), nh, f.get("hop", 64), *nets),
                struct.pack("!I", mask) + b"\xff" * 36)

    @staticmethod
    def make_options(f, _rest, proto, _nets):
        """RFC 8200 4.3 and 4.6; the option left out is PadN."""
        nh = f.get("nh", proto)
        data = f.get("data", b"\x01\x04\0\0\0\0")
        need(nh is not None and len(data) % 8 == 6, "options: a next header, and 6, 14, 22 ... bytes of data")
        return struct.pack("!BB", nh, f.get("hlen", len(data) // 8)) + data, b"\xff" * (2 + len(data))

    @staticmethod
    def make_routing(f, _rest, proto, _nets):
        nh = f.get("nh", proto)
        data = f.get("data", b"\0" * 4)
        need(nh is not None and len(data) % 8 == 4, "routing: a next header, and 4, 12, 20 ... bytes of data")
        return struct.pack("!BBBB", nh, f.get("hlen", len(data) // 8), f.get("type"), f.get("left")) + data, b"\xff" * (4 + len(data))

    @staticmethod
    def make_frag6(f, _rest, proto, _nets):
        nh = f.get("nh", proto)
        need(nh is not None and not f.get("offset") % 8, "frag6: a next header, and an offset in bytes, a multiple of 8")
        return struct.pack("!BBHI", nh, 0, f.get("offset") | f.get("mf", False), f.get("id")), b"\xff" * 4 + (b"\0" if "id" in f.masked else b"\xff") * 4

    @staticmethod
    def pseudo(nets, proto, length):
        """RFC 793, 768; RFC 8200 8.1."""
        need(nets, "a checksum over addresses needs an IP header around it")
        src, dst = nets
        return src + dst + (struct.pack("!BBH", 0, proto, length) if len(src) == 4 else struct.pack("!IHBB", length, 0, 0, proto))

    def make_udp(self, f, rest, _proto, nets):
        length = f.get("len", 8 + len(rest))
        header = struct.pack("!HHH", f.get("sport"), f.get("dport"), length)
        check = f.get("check") if "check" in f else csum(self.pseudo(nets, 17, length) + header + b"\0\0" + rest) or 0xffff
        return header + struct.pack("!H", check), b"\xff" * 8

    def make_tcp(self, f, rest, _proto, nets):
        header = struct.pack("!HHIIBBH", f.get("sport"), f.get("dport"), f.get("seq", 1), f.get("ack"), 0x50, f.get("flags", 0x02),
                             f.get("window", 1024))
        check = f.get("check") if "check" in f else csum(self.pseudo(nets, 6, 20 + len(rest)) + header + b"\0\0\0\0" + rest)
        return header + struct.pack("!HH", check, 0), b"\xff" * 20

    @staticmethod
    def make_ports(f, _rest, _proto, _nets):
        """What SCTP, DCCP and UDP-Lite begin with; the rest of them is raw."""
        return struct.pack("!HH", f.get("sport"), f.get("dport")), b"\xff" * 4

    @staticmethod
    def second_word(f):
        if "rest" in f:
            need(len(f.get("rest")) == 4, f"{f.layer}.rest: 4 bytes")
            return f.get("rest")
        return struct.pack("!I", f.get("mtu")) if "mtu" in f else struct.pack("!HH", f.get("id"), f.get("seq"))

    def make_icmp4(self, f, rest, _proto, _nets):
        head, word = struct.pack("!BB", f.get("type"), f.get("code")), self.second_word(f)
        check = f.get("check") if "check" in f else csum(head + b"\0\0" + word + rest)
        return head + struct.pack("!H", check) + word, b"\xff" * 8

    def make_icmp6(self, f, rest, _proto, nets):
        """RFC 4443 2.3."""
        head, word = struct.pack("!BB", f.get("type"), f.get("code")), self.second_word(f)
        check = f.get("check") if "check" in f else csum(self.pseudo(nets, 58, 8 + len(rest)) + head + b"\0\0" + word + rest)
        return head + struct.pack("!H", check) + word, b"\xff" * 8


# The other way: bytes to (layer, fields), for what a failed comparison prints
# and for the test that what was built says what was asked for.

def upper(proto, data, nets, entire):
    """Layers behind an IP header; entire: nothing is cut off, so that a checksum over all can be right."""
    def ok(length):
        if not entire:
            return "?"
        whole = nets[0] + nets[1] + (struct.pack("!BBH", 0, proto, length) if len(nets[0]) == 4 else struct.pack("!IHBB", length, 0, 0, proto))
        return not csum(whole + data[:length])
    if proto == 4 or proto == 41:
        return parse(data)
    if proto in (0, 60, 43) and len(data) >= 8 and len(data) >= data[1] * 8 + 8:
        size = data[1] * 8 + 8
        name = {0: "hbh", 60: "dstopts", 43: "routing"}[proto]
        return [(name, {"nh": data[0], "data": data[2:size].hex()})] + upper(data[0], data[size:], nets, entire)
    if proto == 44 and len(data) >= 8:
        nh, _, off, ident = struct.unpack("!BBHI", data[:8])
        fields = {"nh": nh, "offset": off & 0xfff8, "mf": bool(off & 1), "id": ident}
        return [("frag6", fields)] + (upper(nh, data[8:], nets, entire) if not off & 0xfff9 else [("raw", {"hex": data[8:].hex()})])
    if proto == 17 and len(data) >= 8:
        sport, dport, length, check = struct.unpack("!HHHH", data[:8])
        good = ok(length) if check and length == len(data) else "?"
        return [("udp", {"sport": sport, "dport": dport, "len": length, "check": check, "good": good}), ("raw", {"hex": data[8:].hex()})]
    if proto == 6 and len(data) >= 20:
        sport, dport, seq, ack, _, flags, window, check = struct.unpack("!HHIIBBHH", data[:18])
        return [("tcp", {"sport": sport, "dport": dport, "seq": seq, "ack": ack, "flags": flags, "window": window, "check": check,
                         "good": ok(len(data))}), ("raw", {"hex": data[20:].hex()})]
    if proto in (1, 58) and len(data) >= 8:
        kind, code, check = struct.unpack("!BBH", data[:4])
        good = ok(len(data)) if proto == 58 or not entire else not csum(data)
        fields = {"type": kind, "code": code, "check": check, "rest": data[4:8].hex(), "good": good}
        error = kind in (3, 4, 5, 11, 12) if proto == 1 else kind < 128
        return [(f"icmp{4 if proto == 1 else 6}", fields)] + ([("quote", {})] + parse(data[8:]) if error else [("raw", {"hex": data[8:].hex()})])
    return [("raw", {"hex": data.hex()})]


def parse(data):
    """A packet as a list of (layer, fields); what is cut short or unknown is raw."""
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20 and (data[0] & 15) * 4 <= len(data):
        first, tos, length, ident, frag, ttl, proto, check, src, dst = struct.unpack("!BBHHHBBH4s4s", data[:20])
        ihl = max(20, (first & 15) * 4)
        fields = {"ihl": first & 15, "tos": tos, "len": length, "id": ident, "rb": bool(frag & 0x8000), "df": bool(frag & 0x4000),
                  "mf": bool(frag & 0x2000), "offset": (frag & 0x1fff) * 8, "ttl": ttl, "proto": proto, "check": check,
                  "good": not csum(data[:ihl]), "src": str(ipaddress.ip_address(src)), "dst": str(ipaddress.ip_address(dst)),
                  "options": data[20:ihl].hex()}
        rest = data[ihl:]
        return [("ip4", fields)] + ([("raw", {"hex": rest.hex()})] if frag & 0x3fff else upper(proto, rest, (src, dst), len(data) == length))
    if version == 6 and len(data) >= 40:
        word, length, nh, hop, src, dst = struct.unpack("!IHBB16s16s", data[:40])
        fields = {"tc": word >> 20 & 0xff, "flow": word & 0xfffff, "len": length, "nh": nh, "hop": hop,
                  "src": str(ipaddress.ip_address(src)), "dst": str(ipaddress.ip_address(dst))}
        return [("ip6", fields)] + upper(nh, data[40:], (src, dst), len(data) == 40 + length)
    return [("raw", {"hex": data.hex()})]


def show(data):
    """A packet on a few lines."""
    lines = []
    for layer, fields in parse(data):
        values = {k: (v if not isinstance(v, str) or len(v) < 64 else f"{v[:48]}... {len(v) // 2} bytes") for k, v in fields.items()}
        lines.append(f"{layer} " + " ".join(f"{k} {v}" for k, v in values.items()))
    return lines


def matches(got, want, mask):
    """Equal where the mask has ones: as one number each, an emulated machine has hundreds of these to do."""
    return len(got) == len(want) and not (int.from_bytes(got, "big") ^ int.from_bytes(want, "big")) & int.from_bytes(mask, "big")


def differences(got, want, mask):
    """Why `got` isn't `want`, field by field as far as the layers are the same."""
    lines = []
    if len(got) != len(want):
        lines.append(f"length: got {len(got)}, want {len(want)}")
    have, should = parse(got), parse(bytes(g & ~m & 255 | w & m for g, w, m in zip(got.ljust(len(want), b"\0"), want, mask)))
    for n, (a, b) in enumerate(zip(have, should)):
        if a[0] != b[0]:
            lines.append(f"layer {n}: got {a[0]}, want {b[0]}")
            break
        lines += [f"layer {n}, {a[0]}.{k}: got {str(a[1][k])[:100]}, want {str(b[1][k])[:100]}" for k in a[1]
                  if a[1][k] != b[1][k] and k != "good"]
    if not lines:
        at = next((i for i, (g, w, m) in enumerate(zip(got, want, mask)) if (g ^ w) & m), None)
        lines.append(f"byte {at}")
    return lines


def rule_key(rule):
    """A rule as numbers: (protocol, first port, last port), 0 where it has none."""
    proto = rule.get("proto", "any")
    port, _, last = str(rule.get("port", 0)).partition("-")
    return PROTOS.get(proto, proto), int(port), int(last or port)


TABLES = {}


def table(dips):
    """The model's table of a rule's DIPs, made once."""
    key = tuple((d["address"], d.get("weight", 1), d.get("state", "up") == "down") for d in dips)
    if key not in TABLES:
        TABLES[key] = model.Table(key)
    return TABLES[key]


class Case:
    """One case: checked, and its packets made."""

    KEYS = {"name", "why", "config", "mtu", "ethertype", "in", "verdict", "out", "flow", "not", "vip", "rule"}

    def __init__(self, given, configs, topic):
        need(isinstance(given, dict) and not set(given) - self.KEYS, f"unknown keys: {set(given) - self.KEYS}")
        for key in ("name", "why", "config", "in", "verdict", "out"):
            need(key in given, f"no {key!r}")
        self.name, self.why, self.topic = given["name"], given["why"], topic
        config = given["config"]
        need(not isinstance(config, str) or config in configs, f"no config {config!r}")
        config = configs[config] if isinstance(config, str) else config
        need(isinstance(config, dict) and not set(config) - {"vips"} - set(DEVICE), f"config: {config!r}")
        self.device = {**DEVICE, **{k: v for k, v in config.items() if k != "vips"}}
        self.vips = config["vips"]
        for vip in self.vips:
            self.check_vip(vip)
        self.mtu = given.get("mtu", MTU)
        need(self.mtu >= 1280, "mtu: below 1280 the kernel takes IPv6 off the device")
        self.verdict = given["verdict"]
        need(self.verdict in VERDICTS, f"verdict {self.verdict!r}")
        self.vip, self.rule = given.get("vip", 0), given.get("rule", 0)
        self.flow = given.get("flow")
        self.others = given.get("not", [])
        self.dip = self.choose(self.flow) if self.flow else None
        for flow in self.others:
            need(self.choose(flow) != self.dip, f"flow {flow} chooses {self.dip} too: the case shows nothing")
        self.layers = given["in"]
        self.packet = Builder().packet(self.layers)[0]
        first = next(iter(self.layers[0]))
        self.ethertype = number(given.get("ethertype", {"ip4": 0x0800, "ip6": 0x86dd}.get(first, -1)), 16, "ethertype")
        self.out = []
        for out in given["out"]:
            need(isinstance(out, dict) and set(out) == {"port", "packet"} and out["port"] in PORTS, "out: port and packet")
            self.out.append((out["port"],) + Builder(self.layers, self.dip).packet(out["packet"]))
        sent = [o for o in self.out if o[0] == "dip"]
        need(bool(sent) == (self.verdict == "encap") or self.verdict == "pass", f"verdict {self.verdict}, and {len(sent)} packets to DIPs")
        self.counts = None
        if self.verdict == "encap":
            skip = 1 if self.vips[self.vip].get("kind") == "tip" else 0
            inner = Builder().packet([x for x in self.layers[self.tunnel_layers() if skip else 0:] if "pad" not in x])[0]
            size = int.from_bytes(inner[2:4], "big") if inner[0] >> 4 == 4 else 40 + int.from_bytes(inner[4:6], "big")
            header = sent[0][1]
            dip = str(ipaddress.ip_address(header[16:20] if header[0] >> 4 == 4 else header[24:40]))
            need(dip in [str(ipaddress.ip_address(d["address"])) for d in self.vips[self.vip]["rules"][self.rule]["dips"]],
                 f"{dip} is no DIP of the rule")
            self.counts = (str(ipaddress.ip_address(self.vips[self.vip]["vip"])), self.rule, dip, size)

    def tunnel_layers(self):
        """How many layers a TIP takes off: all before the second IP header."""
        return next(n for n, x in enumerate(self.layers) if n and set(x) & {"ip4", "ip6", "quote"})

    @staticmethod
    def check_vip(vip):
        need(isinstance(vip, dict) and not set(vip) - {"vip", "rules"} - set(POLICIES), f"vip: {vip!r}")
        for key, values in POLICIES.items():
            need(vip.get(key, values[0]) in values, f"{key}: {vip.get(key)!r}")
        ipaddress.ip_address(vip["vip"])
        for rule in vip["rules"]:
            need(not set(rule) - {"proto", "port", "fields", "dips"}, f"rule: {set(rule)}")
            need(rule.get("fields", "5tuple") in ("5tuple", "src-port", "src"), f"fields: {rule.get('fields')!r}")
            for dip in rule["dips"]:
                need(not set(dip) - {"address", "weight", "state"} and dip.get("state", "up") in ("up", "down"), f"dip: {dip!r}")
                ipaddress.ip_address(dip["address"])

    def choose(self, flow):
        """The DIP by the model: flow is [src, dst, protocol, sport, dport]; a TIP's has the second level's key."""
        need(len(flow) in (5, 6), "flow: src, dst, protocol, sport, dport, and below \"not\" a key")
        vip = self.vips[self.vip]
        rule = vip["rules"][self.rule]
        key = model.key(flow[5] if len(flow) == 6 else self.device["key"])
        if len(flow) == 5 and vip.get("kind") == "tip":
            key = model.key_level2(key)
        return table(rule["dips"]).choose(*flow[:5], key, rule.get("fields", "5tuple"))

    def emit(self):
        """The case as lines, see the top."""
        yield f"case {self.name}"
        for key, value in {**self.device, "key": model.key(self.device["key"]), "mtu": self.mtu, "ethertype": f"{self.ethertype:04x}"}.items():
            yield f"config {key} {'none' if value is None else value}"
        for vip in self.vips:
            yield f"config vip {vip['vip']} " + " ".join(vip.get(key, values[0]) for key, values in POLICIES.items())
            for rule in vip["rules"]:
                proto, port, last = rule_key(rule)
                yield f"config rule {proto or 'any'} {port} {last} {rule.get('fields', '5tuple')}"
                for dip in rule["dips"]:
                    yield f"config dip {dip['address']} {dip.get('weight', 1)} {dip.get('state', 'up')}"
        yield f"in {self.packet.hex()}"
        yield f"verdict {self.verdict}"
        if self.counts:
            yield "count " + " ".join(str(c) for c in self.counts)
        for port, data, mask in self.out:
            yield f"out {port} {data.hex()} {mask.hex()}"
        yield "end"


def no_twins(pairs):
    need(len({k for k, _ in pairs}) == len(pairs), f"a key is there twice: {[k for k, _ in pairs]}")
    return dict(pairs)


def load(folder=os.path.join(HERE, "cases")):
    """All cases, in the order of files and in them."""
    cases, names = [], set()
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        topic = os.path.basename(path)[:-5]
        name = None
        try:
            with open(path, encoding="utf-8") as f:
                given = json.load(f, object_pairs_hook=no_twins)
            need(set(given) == {"about", "configs", "cases"}, f"keys {set(given)}")
            for one in given["cases"]:
                name = one.get("name")
                need(name not in names, "a name twice")
                names.add(name)
                cases.append(Case(one, given["configs"], topic))
        except (Bad, ValueError, KeyError, TypeError, IndexError, struct.error) as error:
            raise Bad(f"{os.path.relpath(path)}: {name}: {type(error).__name__}: {error}") from error
    return cases


def main(args):
    if args[:1] == ["--emit"] and len(args) == 2:
        text = "".join(line + "\n" for case in load() for line in case.emit())
        if args[1] == "-":
            sys.stdout.write(text)
        else:
            with open(args[1], "w", encoding="ascii") as f:
                f.write(text)
        return 0
    if args[:1] == ["--show"] and len(args) == 2:
        for case in load():
            if case.name == args[1]:
                print(f"{case.name}: {case.why}\nin, {len(case.packet)} bytes")
                print("\n".join("    " + line for line in show(case.packet)))
                print(f"verdict {case.verdict}")
                for port, data, _ in case.out:
                    print(f"out to {port}, {len(data)} bytes")
                    print("\n".join("    " + line for line in show(data)))
        return 0
    if args == ["--list"]:
        for case in load():
            print(f"{case.topic:14} {case.name:44} {case.verdict:12} {case.why}")
        return 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
