#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The netlink contract of include/uapi/linux/duet.h, straight on the socket."""
import errno
import json
import os
import shutil
import socket
import struct
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import *  # noqa: E402,F403 pylint: disable=wildcard-import,unused-wildcard-import
from lib import CLIENT, DUET, VIP, Failed, Net, batch, check, dip, duet, duet_json, equal, inside, ip4, main, refused, run, tcp, test, until
from genl import NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_ECHO, NLM_F_REQUEST, C, Genl, Refused, attr, attrs, nest, nested, u32, u64, vip_attrs  # noqa: E402


def key(rule):
    return (rule.get("proto", 0), rule.get("port", 0), rule.get("port", 0))


def simple(vip, *dips):
    return {"vip": vip, "rules": [{"dips": [{"address": d} for d in dips]}]}


def setup(mode="hmux"):
    """A mux, a socket that asks and one that listens."""
    net = Net(mode)
    with inside("m"):
        ask, listen = Genl("mux0"), Genl("mux0")
    listen.join()
    return net, ask, listen


def vip_nest(address):
    return nested("DUET_A_VIP", attr("DUET_A_VIP_ADDR", socket.inet_aton(address)))


def dip_nest(address, state):
    return nested("DUET_A_DIP", attr("DUET_A_DIP_ADDR", socket.inet_aton(address)), u32("DUET_A_DIP_STATE", f"DUET_DIP_{state}"))


@test
def echo():
    """NLM_F_ECHO answers every change with its event, also one that changes nothing; then nobody else is told"""
    _, ask, listen = setup()
    both = NLM_F_ACK | NLM_F_ECHO
    port = attr("DUET_A_PORT_IFINDEX", struct.pack("I", index("d0m")))
    cases = [("DEV_SET", (attr("DUET_A_KEY", b"k" * 16),), True, "same"),
             ("PORT_ADD", (port,), True, None), ("PORT_DEL", (port,), True, None),
             ("VIP_SET", (vip_attrs(simple(VIP, dip(1), dip(2)), key),), True, "same"),
             ("DIP_SET", (dip_nest(dip(1), "DOWN"),), True, "same"),
             ("VIP_DEL", (vip_nest(VIP),), True, None),
             ("VIP_DEL", (attr("DUET_A_FLUSH", b""),), False, None)]
    for name, parts, changes, again in cases:
        listen.told()
        answers = ask.command(name, *parts, flags=both)
        equal(len(answers), 1, f"answers to {name} with NLM_F_ECHO")
        equal(len(listen.told()), int(changes), f"events of {name}")
        generation = u64(nest(answers[0])[C["DUET_A_GENERATION"]])
        if again:
            answers = ask.command(name, *parts, flags=both)
            equal([u64(nest(a)[C["DUET_A_GENERATION"]]) for a in answers], [generation], f"generation after {name} again")
            equal(listen.told(), [], f"events of {name} that changes nothing")
            equal(ask.command(name, *parts), [], f"answers to {name} without NLM_F_ECHO")


def index(dev):
    with inside("m"):
        return socket.if_nametoindex(dev)


@test
def events():
    """every change is told to group "events", with the generation it made; and a table that is full"""
    net, _, listen = setup("smux")

    def told(what, command, want=1):
        have = []
        until(lambda: have.extend(listen.told()) or len(have) >= want, f"event: {what}")
        equal([c for c, _ in have], [C[f"DUET_CMD_{command}_NTF"]] * want, f"events: {what}")
        return have[-1][1]

    def generation():
        return duet_json("dev", "show", "mux0")[0]["generation"]
    listen.told()
    net.vip([dip(1), dip(2)])
    event = told("VIP set", "VIP")
    equal(u64(event[C["DUET_A_GENERATION"]]), generation(), "generation of the event")
    check(C["DUET_A_VIP_RULES"] in nest(event[C["DUET_A_VIP"]]), "the event has the rules")
    net.vip([dip(2), dip(1)])
    duet("dip", "set", "mux0", dip(1), "down")
    event = told("DIP down", "DIP")
    equal(nest(event[C["DUET_A_DIP"]])[C["DUET_A_DIP_STATE"]], struct.pack("I", C["DUET_DIP_DOWN"]), "state in the event")
    equal(u64(event[C["DUET_A_GENERATION"]]), generation(), "generation of the event")
    duet("dev", "set", "mux0", "limits", "tunnels", "3")
    told("limits", "DEV")
    refused("m", "vip", "set", "mux0", "203.0.113.2", "dip", dip(5), dip(6), because="tunnelling table full")
    event = told("tunnelling table full", "FULL")
    equal(event[C["DUET_A_TABLE"]], struct.pack("I", C["DUET_A_TABLE_TUNNELS"]), "table")
    equal(nest(event[C["DUET_A_VIP"]])[C["DUET_A_VIP_ADDR"]], socket.inet_aton("203.0.113.2"), "VIP that was refused")
    duet("vip", "del", "mux0", VIP)
    event = told("VIP deleted", "VIP")
    check(C["DUET_A_DELETED"] in event, "it says deleted")
    batch("m", "link del c0m\n")
    told("a port is gone", "DEV")
    batch("m", "link del mux0\n")
    event = told("device deleted", "DEV")
    check(C["DUET_A_DELETED"] in event, "it says deleted")
    batch("m", "link add mux1 type duet\n")
    told("device made", "DEV")


@test
def flow_table_full():
    """the flow table tells when it begins to lack room"""
    net, _, listen = setup("smux")
    duet("dev", "set", "mux0", "flows", "max", "8")
    net.vip([dip(1), dip(2)])
    listen.told()
    packets = [ip4(CLIENT, VIP, 6, tcp(3000 + n, 80, 0x10)) for n in range(40)]
    for packet in packets[:8] * 2 + packets:
        net.send(packet)
    have = []
    until(lambda: have.extend(listen.told()) or have, "the event")
    equal([c for c, _ in have], [C["DUET_CMD_FULL_NTF"]], "events")
    flows = nest(have[0][1][C["DUET_A_FLOWS"]])
    equal(flows[C["DUET_A_FLOWS_SIZE"]], struct.pack("I", 8), "size of the table")
    check(u64(flows[C["DUET_A_FLOWS_FULL"]]) > 0, "packets without room")


def dump_parts(genl, between):
    """All messages of a dump of VIPs; between() is called after the first part."""
    body = struct.pack("BBH", C["DUET_CMD_VIP_GET"], 1, 0) + attr("DUET_A_IFINDEX", genl.dev)
    genl.s.send(struct.pack("IHHII", 16 + len(body), genl.family, NLM_F_REQUEST | NLM_F_DUMP, 77, 0) + body)
    found, parts = [], 0
    while True:
        data = genl.s.recv(1 << 20)
        parts += 1
        while data:
            size, kind, flags, _, _ = struct.unpack("IHHII", data[:16])
            found.append((kind, flags, data[20:size]))
            data = data[(size + 3) & ~3:]
        if found[-1][0] == 3:
            return parts, found
        if parts == 1:
            between()


@test
def dumps():
    """a dump that a change runs into says so, another doesn't; every message has the generation"""
    _, ask, _ = setup("smux")
    for n in range(1200):
        ask.vip_set(simple(f"198.51.{100 + (n >> 8)}.{n & 255 or 1}" if n & 255 else f"198.18.{n >> 8}.7", *(dip(1 + (n + k) % 40) for k in range(4))), key)
    shown = len(duet_json("vip", "show", "mux0"))
    parts, quiet = dump_parts(ask, lambda: None)
    check(parts > 3, f"the dump came in {parts} parts: too few to be disturbed")
    equal(len(quiet) - 1, shown, "VIPs in the dump")
    equal({f & NLM_F_DUMP_INTR for _, f, _ in quiet}, {0}, "NLM_F_DUMP_INTR in a dump that nothing disturbed")
    equal(len({nest(d)[C["DUET_A_GENERATION"]] for k, _, d in quiet if k != 3}), 1, "generations in it")
    for change in (lambda: duet("dip", "set", "mux0", dip(1), "down"), lambda: duet("vip", "del", "mux0", "all")):
        _, disturbed = dump_parts(ask, change)
        check(any(f & NLM_F_DUMP_INTR for _, f, _ in disturbed), "a change during the dump is not marked")


@test
def batches():
    """many requests in one buffer: errors come for those that fail, the others are done"""
    _, ask, _ = setup()
    buffer = b""
    for n in range(1, 101):
        body = struct.pack("BBH", C["DUET_CMD_VIP_SET"], 1, 0) + attr("DUET_A_IFINDEX", ask.dev) + \
            vip_attrs(simple(f"203.0.113.{n}", dip(1), *([dip(1)] if n == 50 else [dip(2)])), key)
        buffer += struct.pack("IHHII", 16 + len(body), ask.family, NLM_F_REQUEST | (NLM_F_ACK if n == 100 else 0), n, 0) + body
    ask.s.send(buffer)
    answers = {}
    while 100 not in answers:
        data = ask.s.recv(1 << 20)
        while data:
            size, _, _, sequence, _ = struct.unpack("IHHII", data[:16])
            answers[sequence] = struct.unpack("i", data[16:20])[0]
            data = data[(size + 3) & ~3:]
    equal(answers, {50: -errno.EINVAL, 100: 0}, "answers to 100 requests of which the 50th is wrong")
    equal(len(duet_json("vip", "show", "mux0")), 99, "VIPs")


@test
def strict():
    """every command refuses what it doesn't know, and who names no device or a strange one, with a sentence"""
    _, ask, _ = setup("smux")
    before = duet_json("dev", "show", "mux0")[0]["generation"]
    commands = {"DEV_GET": (), "DEV_SET": (), "PORT_ADD": (attr("DUET_A_PORT_IFINDEX", struct.pack("I", 1)),),
                "PORT_DEL": (attr("DUET_A_PORT_IFINDEX", struct.pack("I", 1)),), "VIP_SET": (vip_attrs(simple(VIP, dip(1)), key),),
                "VIP_DEL": (vip_nest(VIP),), "VIP_GET": (vip_nest(VIP),), "DIP_SET": (dip_nest(dip(1), "UP"),),
                "TRACE": (nested("DUET_A_FLOW", attr("DUET_A_FLOW_SRC", b"\x0a\1\0\2"), attr("DUET_A_FLOW_DST", b"\xcb\0\x71\1"),
                                 attr("DUET_A_FLOW_PROTO", b"\6")),), "FLOW_FLUSH": ()}

    def no(name, payload, flags=NLM_F_ACK):
        try:
            ask.ask(ask.family, C[f"DUET_CMD_{name}"], payload, flags)
        except Refused as error:
            check(error.sentence, f"{name} is refused with {os.strerror(error.errno)}, without a sentence")
            return error.errno
        raise Failed(f"{name} is not refused")
    here = attr("DUET_A_IFINDEX", ask.dev)
    for name, parts in commands.items():
        parts = b"".join(parts)
        equal(no(name, parts), errno.EINVAL, f"{name} without a device")
        equal(no(name, attr("DUET_A_IFINDEX", struct.pack("I", index("c0m"))) + parts), errno.ENODEV, f"{name} on another netdev")
        equal(no(name, attr("DUET_A_IFNAME", b"nosuch\0") + parts), errno.ENODEV, f"{name} on no netdev")
        equal(no(name, here + parts + attr(99, b"\0\0\0\0")), errno.EINVAL, f"{name} with an attribute that there isn't")
        equal(no(name, here + parts + attr("DUET_A_DELETED", b"")), errno.EINVAL, f"{name} with a reply's attribute")
    for name in ("VIP_GET", "FLOW_GET"):
        equal(no(name, b"", NLM_F_DUMP), errno.EINVAL, f"dump {name} without a device")
        equal(no(name, here + attr(99, b""), NLM_F_DUMP), errno.EINVAL, f"dump {name} with an attribute that there isn't")
    equal(no("VIP_GET", here + vip_nest(VIP), NLM_F_DUMP), errno.EINVAL, "dump VIP_GET of one VIP")
    for name in ("PORT_ADD", "PORT_DEL", "VIP_SET", "VIP_DEL", "VIP_GET", "DIP_SET", "TRACE"):
        no(name, here)
    for name in ("VIP_DEL", "VIP_GET", "DIP_SET"):
        equal(no(name, here + b"".join(commands[name])), errno.ENOENT, f"{name} of what there isn't")
    equal(duet_json("dev", "show", "mux0")[0]["generation"], before, "generation after refusals")


@test
def exact_limits():
    """host, ACL, ECMP and tunnelling tables fill to the last entry and not beyond; a refusal leaves all as it was"""
    net, _, _ = setup()
    ports = [{"proto": "tcp", "port": 1000 + n, "dips": [{"address": dip(n)}]} for n in range(1, 5)]

    def state():
        shown = duet_json("dev", "show", "mux0")[0]
        return shown["used"], shown["generation"], duet_json("vip", "show", "mux0")

    def no(rules, because, vip="203.0.113.9"):
        before = state()
        refused("m", "vip", "set", "mux0", "-f", "-", because=because, stdin=json.dumps({"vips": [{"vip": vip, "rules": rules}]}))
        equal(state(), before, "the device after a refusal")
    duet("dev", "set", "mux0", "limits", "vips", "2", "rules", "5", "members", "6", "tunnels", "5")
    net.vip(None, rules=ports)                          # 1 VIP, 4 ACL, 4 ECMP, 4 tunnels
    no(ports[:2], "ACL table full: 4 of 5 entries used, the VIP needs 2 more")
    no([{"dips": [{"address": dip(n)} for n in (1, 2, 3)]}], "ECMP table full: 4 of 6 entries used, the VIP needs 3 more")
    no([{"dips": [{"address": dip(n)} for n in (8, 9)]}], "tunnelling table full: 4 of 5 entries used, the VIP needs 2 more")
    net.vip(None, rules=ports[:1] + [{"dips": [{"address": dip(n)} for n in (1, 9)]}], vip="203.0.113.2")
    equal(state()[0], {"vips": 2, "rules": 5, "members": 6, "tunnels": 5}, "every table is full to the last entry")
    no(ports[:1], "host table full: 2 of 2 entries used, the VIP needs 1 more")
    # replacing counts what it gives back; the set of ports[0] is shared by both VIPs
    net.vip(None, rules=[{"dips": [{"address": dip(n)} for n in (1, 9)]}], vip="203.0.113.2")
    equal(state()[0], {"vips": 2, "rules": 4, "members": 6, "tunnels": 5}, "in use after a smaller one")
    no(ports[:1] + [{"proto": "udp", "port": 53, "dips": [{"address": dip(1)}]}], "ACL table full", vip="203.0.113.2")
    net.vip([dip(1)], vip="203.0.113.2")
    equal(state()[0], {"vips": 2, "rules": 4, "members": 4, "tunnels": 4}, "in use after it shares its only set")
    duet("vip", "del", "mux0", "all")
    equal(set(state()[0].values()), {0}, "in use by nothing")


@test
def many_ports():
    """a mux with very many ports is in the list of muxes, whole"""
    _, ask, _ = setup()
    batch("m", "".join(f"link add p{n} type dummy\n" for n in range(200)))
    for n in range(200):
        ask.command("PORT_ADD", attr("DUET_A_PORT_IFINDEX", struct.pack("I", index(f"p{n}"))))
    batch("m", "link add mux1 type duet\n")
    shown = ask.ask(ask.family, C["DUET_CMD_DEV_GET"], b"", NLM_F_DUMP)
    equal([len(attrs(nest(d)[C["DUET_A_PORTS"]])) for d in shown], [201, 0], "ports of the muxes in a dump")


@test
def user_namespaces():
    """an ordinary user has muxes of his own in a namespace of his own, and none of the others'"""
    net, _, _ = setup()
    net.vip([dip(1)])
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    script = f"set -e; ip link set lo up; ip link add mux9 type duet; ip link set mux9 up; {DUET} dev set mux9 mode smux key {5:032x}; " \
             f"{DUET} vip set mux9 {VIP} dip 10.0.0.1; {DUET} port add mux9 lo 2>/dev/null && exit 1; " \
             f"ip link add v0 type veth peer name v1; {DUET} port add mux9 v0; {DUET} dev show; ip link del mux9"
    shown = run(*user, "unshare", "--user", "--map-root-user", "--net", "sh", "-c", script)[1]
    check("mux9" in shown and "mux0" not in shown, f"the user's muxes: {shown}")
    before = duet_json("vip", "show", "mux0")
    for change in (("dev", "set", "mux0", "key", f"{3:032x}"), ("vip", "del", "mux0", "all"), ("port", "del", "mux0", "c0m"), ("dip", "set", "mux0", dip(1), "down")):
        status, _, err = run("ip", "netns", "exec", "m", *user, "unshare", "--user", "--map-root-user", DUET, *change, ok=False)
        equal(status, 1, f"{change} by root of another user namespace ({err.strip()})")
        check("ermi" in err or "CAP_NET_ADMIN" in err, f"says {err.strip()!r}")
    status, _, _ = run("ip", "netns", "exec", "m", *user, "unshare", "--user", "--map-root-user", "ip", "link", "del", "mux0", ok=False)
    check(status != 0, "the device could be deleted by root of another user namespace")
    equal(duet_json("vip", "show", "mux0"), before, "VIPs")


@test
def autoload():
    """`ip link add type duet` loads the module, and so does asking for the netlink family"""
    Net.remove()
    kver, tree = os.uname().release, tempfile.mkdtemp()
    modules = f"{tree}/lib/modules/{kver}"
    os.makedirs(f"{modules}/extra")
    shutil.copy(os.environ["DUET_KO"], f"{modules}/extra")
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        if os.path.exists(f"/lib/modules/{kver}/{name}"):
            shutil.copy(f"/lib/modules/{kver}/{name}", modules)
    run("depmod", "-b", tree, kver)
    until(lambda: run("rmmod", "duet", ok=False)[0] == 0, "the module unloads")

    def loaded():
        with open("/proc/modules", encoding="ascii") as f:
            return any(line.startswith("duet ") for line in f)
    run("mount", "--bind", modules, f"/lib/modules/{kver}")
    try:
        check(not loaded(), "it is loaded still")
        run("ip", "link", "add", "auto0", "type", "duet")
        check(loaded(), "ip link add type duet did not load it")
        run("ip", "link", "del", "auto0")
        until(lambda: run("rmmod", "duet", ok=False)[0] == 0, "the module unloads")
        Genl(None)
        check(loaded(), "the family's name did not load it")
    finally:
        run("umount", f"/lib/modules/{kver}")
        if not loaded():
            run("insmod", os.environ["DUET_KO"])
        shutil.rmtree(tree)


if __name__ == "__main__":
    main()
