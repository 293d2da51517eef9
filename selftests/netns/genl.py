# SPDX-License-Identifier: GPL-2.0
"""VIPs and counters of a mux straight from netlink: that costs some milliseconds,
where starting the tool costs hundreds in an emulated machine. Written from the
words in include/uapi/linux/duet.h; its numbers are read from there."""
import ipaddress
import os
import re
import socket
import struct

from lib import TOP, Failed

NETLINK_GENERIC = 16
NLM_F_REQUEST, NLM_F_ACK, NLM_F_ECHO, NLM_F_DUMP_INTR, NLM_F_DUMP = 1, 4, 8, 0x10, 0x300
NLMSG_ERROR, NLMSG_DONE, GENL_ID_CTRL = 2, 3, 16
NLM_F_ACK_TLVS, NLMSGERR_ATTR_MSG = 0x200, 1
SOL_NETLINK, NETLINK_EXT_ACK, NLA_F_NESTED = 270, 11, 0x8000


class Known(dict):
    """A test of what the header hasn't yet fails, the others run."""

    def __missing__(self, name):
        raise Failed(f"include/uapi/linux/duet.h has no {name}")


def constants():
    """Every enumerator of include/uapi/linux/duet.h."""
    with open(os.path.join(TOP, "include", "uapi", "linux", "duet.h"), encoding="ascii") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    known = Known()
    for body in re.findall(r"enum\s+\w+\s*\{(.*?)\}", text, flags=re.S):
        value = -1
        for item in filter(None, (part.strip() for part in body.split(","))):
            name, _, given = (x.strip() for x in item.partition("="))
            try:
                value = int(given, 0) if given else value + 1
            except ValueError:		# X_MAX = __X_MAX - 1
                continue
            known[name] = value
    return known


C = constants()


def attr(kind, data):
    return struct.pack("HH", 4 + len(data), C[kind] if isinstance(kind, str) else kind) + data + b"\0" * (-len(data) % 4)


def u32(kind, name):
    return attr(kind, struct.pack("I", C[name]))


def nested(kind, *parts):
    return attr((C[kind] if isinstance(kind, str) else kind) | NLA_F_NESTED, b"".join(parts))


def vip_attrs(vip, rule_key):
    """DUET_A_VIP of a VIP as the tool's JSON has it. What isn't said is left out, so that defaults are tested too."""
    policies = [u32(f"DUET_A_VIP_{key.upper()}", f"DUET_{key.upper()}_{vip[key].upper()}")
                for key in ("kind", "fragments", "oversize", "all_down") if key in vip]
    rules = []
    # in the kernel's order: with a port, with a protocol, the default
    for rule in sorted(vip["rules"], key=lambda r: (not rule_key(r)[1], not rule_key(r)[0], rule_key(r))):
        proto, port, last = rule_key(rule)
        parts = [attr("DUET_A_RULE_PROTO", bytes([proto]))] if proto else []
        if port:
            parts.append(attr("DUET_A_RULE_PORT", struct.pack("H", port)))
        if last != port:
            parts.append(attr("DUET_A_RULE_PORT_LAST", struct.pack("H", last)))
        if "fields" in rule:
            parts.append(u32("DUET_A_RULE_FIELDS", "DUET_FIELDS_" + rule["fields"].upper().replace("-", "_")))
        dips = []
        for dip in rule["dips"]:
            one = [attr("DUET_A_DIP_ADDR", ipaddress.ip_address(dip["address"]).packed)]
            if "weight" in dip:
                one.append(attr("DUET_A_DIP_WEIGHT", struct.pack("H", dip["weight"])))
            if "state" in dip:
                one.append(u32("DUET_A_DIP_STATE", "DUET_DIP_" + dip["state"].upper()))
            dips.append(nested(1, *one))
        rules.append(nested(1, *parts, nested("DUET_A_RULE_DIPS", *dips)))
    return nested("DUET_A_VIP", attr("DUET_A_VIP_ADDR", ipaddress.ip_address(vip["vip"]).packed), *policies,
                  nested("DUET_A_VIP_RULES", *rules))


def attrs(data):
    """[(type, payload)]"""
    found = []
    while len(data) >= 4:
        size, kind = struct.unpack("HH", data[:4])
        if size < 4:
            raise Failed(f"an attribute of {size} bytes in an answer")
        found.append((kind & 0x3fff, data[4:size]))
        data = data[(size + 3) & ~3:]
    return found


def nest(data):
    return dict(attrs(data))


def u64(data):
    return struct.unpack("Q", data)[0]


def stats(data):
    have = nest(data)
    return u64(have[C["DUET_A_STATS_PACKETS"]]), u64(have[C["DUET_A_STATS_BYTES"]])


class Refused(Failed):
    """An error from the kernel: its number and its sentence."""

    def __init__(self, command, error, sentence):
        super().__init__(f"netlink command {command}: {os.strerror(error)}: {sentence}")
        self.errno, self.sentence = error, sentence


class Genl:
    """One socket, in the namespace that is entered when it is made."""

    def __init__(self, dev):
        self.groups, self.ops = {}, {}
        self.s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
        self.s.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self.s.bind((0, 0))
        self.sequence = 0
        self.dev = struct.pack("I", socket.if_nametoindex(dev)) if dev else None
        reply = self.ask(GENL_ID_CTRL, 3, attr(2, b"duet\0"), version=2)	# CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME
        self.family = struct.unpack("H", nest(reply[0])[1])[0]
        for _, op in attrs(nest(reply[0])[6]):		# CTRL_ATTR_OPS: ID, FLAGS
            self.ops[struct.unpack("I", nest(op)[1])[0]] = struct.unpack("I", nest(op)[2])[0]
        for _, group in attrs(nest(reply[0])[7]):	# CTRL_ATTR_MCAST_GROUPS: NAME, ID
            self.groups[nest(group)[1].rstrip(b"\0").decode()] = struct.unpack("I", nest(group)[2])[0]

    def ask(self, family, command, payload, flags=NLM_F_ACK, version=1):
        """The attributes of each answer."""
        self.sequence += 1
        body = struct.pack("BBH", command, version, 0) + payload
        self.s.send(struct.pack("IHHII", 16 + len(body), family, NLM_F_REQUEST | flags, self.sequence, 0) + body)
        answers = []
        while True:
            data = self.s.recv(1 << 20)
            while data:
                size, kind, answer_flags, sequence, _ = struct.unpack("IHHII", data[:16])
                part, data = data[16:size], data[(size + 3) & ~3:]
                if sequence != self.sequence:
                    continue
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    error = struct.unpack("i", part[:4])[0]
                    if error:
                        # the request comes back with its error, its extack sentence behind it; not that of a dump
                        at = 4 if kind == NLMSG_DONE else 4 + struct.unpack("I", part[4:8])[0]
                        why = nest(part[at:]) if answer_flags & NLM_F_ACK_TLVS else {}
                        raise Refused(command, -error, why.get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode())
                    return answers
                answers.append(part[4:])

    def command(self, name, *parts, flags=NLM_F_ACK):
        return self.ask(self.family, C[f"DUET_CMD_{name}"], attr("DUET_A_IFINDEX", self.dev) + b"".join(parts), flags)

    def join(self):
        """From now on this socket is told of events: see told()."""
        self.s.setsockopt(SOL_NETLINK, 1, self.groups["events"])	# NETLINK_ADD_MEMBERSHIP
        self.s.setblocking(False)

    def told(self):
        """[(command, attributes)] of the events that have come."""
        events = []
        while True:
            try:
                data = self.s.recv(1 << 20)
            except BlockingIOError:
                return events
            events.append((data[16], nest(data[20:])))

    def vip_set(self, vip, rule_key):
        self.ask(self.family, C["DUET_CMD_VIP_SET"], attr("DUET_A_IFINDEX", self.dev) + vip_attrs(vip, rule_key))

    def flush(self):
        self.ask(self.family, C["DUET_CMD_VIP_DEL"], attr("DUET_A_IFINDEX", self.dev) + attr("DUET_A_FLUSH", b""))

    def verdicts(self):
        """Packets, by the verdict's number."""
        reply = nest(self.ask(self.family, C["DUET_CMD_DEV_GET"], attr("DUET_A_IFINDEX", self.dev))[0])
        table = nest(nest(reply[C["DUET_A_STATS"]])[C["DUET_A_DEV_STATS_VERDICTS"]])
        return {kind - 1: stats(data)[0] for kind, data in table.items()}

    def vips(self):
        """{(VIP, None) or (VIP, (proto, port, port_last), DIP): (packets, bytes)}"""
        counts = {}
        for reply in self.ask(self.family, C["DUET_CMD_VIP_GET"], attr("DUET_A_IFINDEX", self.dev), NLM_F_DUMP):
            vip = nest(nest(reply)[C["DUET_A_VIP"]])
            address = str(ipaddress.ip_address(vip[C["DUET_A_VIP_ADDR"]]))
            counts[(address, None)] = stats(vip[C["DUET_A_VIP_STATS"]])
            for _, data in attrs(vip[C["DUET_A_VIP_RULES"]]):
                rule = nest(data)
                proto = rule.get(C["DUET_A_RULE_PROTO"], b"\0")[0]
                port = struct.unpack("H", rule.get(C["DUET_A_RULE_PORT"], b"\0\0"))[0]
                last = struct.unpack("H", rule[C["DUET_A_RULE_PORT_LAST"]])[0] if C["DUET_A_RULE_PORT_LAST"] in rule else port
                for _, one in attrs(rule[C["DUET_A_RULE_DIPS"]]):
                    dip = nest(one)
                    where = (address, (proto, port, last), str(ipaddress.ip_address(dip[C["DUET_A_DIP_ADDR"]])))
                    counts[where] = stats(dip[C["DUET_A_DIP_STATS"]])
        return counts
