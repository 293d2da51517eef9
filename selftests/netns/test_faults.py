#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Every allocation of every command fails once: on a kernel with fault injection
(scripts/debug-kernel), elsewhere all is skipped. A command either is done or is
refused and changed nothing. What it leaked, leaks.py finds."""
import errno
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import *  # noqa: E402,F403 pylint: disable=wildcard-import,unused-wildcard-import
from lib import CLIENT, PATIENCE, VIP, Failed, Net, batch, check, dip, duet, equal, inside, ip4, main, test, udp, verdicts
from genl import NLM_F_ACK, NLM_F_DUMP, NLM_F_ECHO, NLM_F_REQUEST, C, Genl, Refused, attr, attrs, nest, nested, u32, vip_attrs  # noqa: E402

FAULTS = "/sys/kernel/debug/failslab"
RTM_NEWLINK, RTM_DELLINK, NLM_F_CREATE, NLM_F_EXCL = 16, 17, 0x400, 0x200


def knob(name, value, where=FAULTS):
    with open(f"{where}/{name}", "w", encoding="ascii") as f:
        f.write(str(value))


class Nth:
    """The nth allocation of this thread fails."""

    def __init__(self):
        for name, value in (("ignore-gfp-wait", "N"), ("probability", 0), ("times", -1), ("verbose", 0)):
            knob(name, value)
        # a failing page is told with a stack trace, which is no finding
        knob("min-order", 100, "/sys/kernel/debug/fail_page_alloc")
        self.fd = os.open("/proc/thread-self/fail-nth", os.O_RDWR)

    def fail(self, n):
        os.pwrite(self.fd, str(n).encode(), 0)

    def left(self):
        left = int(os.pread(self.fd, 32, 0))
        os.pwrite(self.fd, b"0", 0)
        return left


def key(rule):
    return (rule.get("proto", 0), rule.get("port", 0), rule.get("port", 0))


def vip(address, *dips, **rule):
    return vip_attrs({"vip": address, "rules": [dict({"dips": [{"address": d} for d in dips]}, **rule)]}, key)


def vip_nest(address):
    return nested("DUET_A_VIP", attr("DUET_A_VIP_ADDR", socket.inet_aton(address)))


def dip_nest(address, state):
    return nested("DUET_A_DIP", attr("DUET_A_DIP_ADDR", socket.inet_aton(address)), u32("DUET_A_DIP_STATE", f"DUET_DIP_{state}"))


class Bench:
    """A mux, and what it is like now."""

    def __init__(self, mode="smux"):
        self.net = Net(mode)
        with inside("m"):
            self.ask, self.look, self.listen = Genl("mux0"), Genl("mux0"), Genl("mux0")
            self.d0m = socket.if_nametoindex("d0m")
        for genl in (self.ask, self.look):
            genl.s.settimeout(60 * PATIENCE)
        self.listen.join()
        self.nth = Nth()

    def state(self):
        """Configuration, without counters: generation, limits, use, ports; VIPs and their DIPs with states."""
        replies = self.look.ask(self.look.family, C["DUET_CMD_DEV_GET"], attr("DUET_A_IFINDEX", self.look.dev))
        dev = {k: v for k, v in nest(replies[0]).items() if k not in (C["DUET_A_STATS"], C["DUET_A_FLOWS"])}
        return dev, self.look.vips().keys(), [digest(d) for d in self.look.ask(
            self.look.family, C["DUET_CMD_VIP_GET"], attr("DUET_A_IFINDEX", self.look.dev), NLM_F_DUMP)]

    def told(self):
        try:
            return bool(self.listen.told())
        except OSError as error:
            equal(error.errno, errno.ENOBUFS, "error of the socket that listens")
            return True

    def torment(self, what, do, undo=None, changes=True):
        """do() again and again, the first, second ... allocation failing, until none is left to fail. If it was
        done although one failed (an answer or an event was lost), undo() before the next."""
        for n in range(1, 400):
            before = self.state()
            self.told()
            self.nth.fail(n)
            lost = refused = False
            try:
                do()
            except Refused:
                refused = True
            except OSError as error:        # the request, or its answer, found no memory
                check(error.errno in (errno.ENOBUFS, errno.ENOMEM), f"{what}, allocation {n}: {error}")
                lost = True
            left = self.nth.left()
            if lost or refused:     # a dump that found no memory stays under way, and its socket takes no other
                with inside("m"):
                    self.ask = Genl("mux0")
                    self.ask.s.settimeout(60 * PATIENCE)
            after = self.state()
            if refused:
                equal(after, before, f"{what}: configuration after a refusal, allocation {n}")
            elif not lost and changes:
                check(after != before, f"{what}, allocation {n}: success and no change")
            if after != before:
                check(self.told(), f"{what}, allocation {n}: who listens heard nothing, not even that he missed something")
            if left:
                check(not refused and not lost, f"{what}: fails where no allocation failed")
                return
            if after != before:
                if not undo:
                    return
                undo()
        raise Failed(f"{what}: 400 allocations, and still failing")


def digest(data):
    """DUET_A_VIP without what traffic changes."""
    one = nest(nest(data)[C["DUET_A_VIP"]])
    return (one[C["DUET_A_VIP_ADDR"]], [(nest(r)[C["DUET_A_RULE_DIGEST"]],
                                         [nest(d)[C["DUET_A_DIP_STATE"]] for _, d in attrs(nest(r)[C["DUET_A_RULE_DIPS"]])])
                                        for _, r in attrs(one[C["DUET_A_VIP_RULES"]])])


def have_faults():
    return os.path.exists(FAULTS) and os.path.exists("/proc/thread-self/fail-nth")


@test
def commands():
    """every command of the family, every allocation failing in turn"""
    for mode in ("hmux", "smux"):
        b = Bench(mode)

        def run_all(flags, b=b, mode=mode):
            def command(name, *parts):
                return lambda: b.ask.command(name, *parts, flags=flags)

            port = attr("DUET_A_PORT_IFINDEX", struct.pack("I", b.d0m))
            flow = nested("DUET_A_FLOW", attr("DUET_A_FLOW_SRC", b"\x0a\1\0\2"), attr("DUET_A_FLOW_DST", socket.inet_aton(VIP)),
                          attr("DUET_A_FLOW_PROTO", b"\6"))
            keys = [attr("DUET_A_KEY1", struct.pack("4I", 1000, 2, 3, flags + n)) for n in range(2)]
            b.torment("DEV_SET key", command("DEV_SET", keys[0]), command("DEV_SET", keys[1]))
            if mode == "smux":
                size = [nested("DUET_A_FLOWS", attr("DUET_A_FLOWS_SIZE", struct.pack("I", 64 * flags << n))) for n in range(2)]
                b.torment("DEV_SET flows", command("DEV_SET", size[0]), command("DEV_SET", size[1]))
            b.torment("PORT_ADD", command("PORT_ADD", port), command("PORT_DEL", port))
            b.torment("PORT_DEL", command("PORT_DEL", port), command("PORT_ADD", port))
            old, new = vip(VIP, dip(1), dip(2), dip(3)), vip(VIP, dip(2), dip(3), dip(4), dip(5))
            b.torment("VIP_SET new", command("VIP_SET", old), command("VIP_DEL", vip_nest(VIP)))
            b.torment("VIP_SET replaced", command("VIP_SET", new), command("VIP_SET", old))
            b.torment("VIP_SET refused", refused_anyway(command("VIP_SET", vip("203.0.113.9", "203.0.113.9"))), changes=False)
            for n in range(2, 6):
                b.torment("VIP_SET shared", command("VIP_SET", vip(f"203.0.113.{n}", dip(2), dip(3), *([dip(5)] if n % 2 else []))),
                          command("VIP_DEL", vip_nest(f"203.0.113.{n}")))
            b.torment("VIP_SET two rules", command("VIP_SET", vip_attrs({"vip": "203.0.113.6", "rules": [
                {"proto": 6, "port": 80, "dips": [{"address": dip(1)}, {"address": dip(2)}]}, {"dips": [{"address": dip(2)}]}]}, key)),
                      command("VIP_DEL", vip_nest("203.0.113.6")))
            up, down = command("DIP_SET", dip_nest(dip(2), "UP")), command("DIP_SET", dip_nest(dip(2), "DOWN"))
            b.torment("DIP_SET in all", down, up)
            b.torment("DIP_SET up", up, down)
            b.torment("DIP_SET in one", command("DIP_SET", vip_nest(VIP), dip_nest(dip(3), "DOWN")),
                      command("DIP_SET", vip_nest(VIP), dip_nest(dip(3), "UP")))
            b.torment("VIP_GET", command("VIP_GET", vip_nest(VIP)), changes=False)
            b.torment("DEV_GET", command("DEV_GET"), changes=False)
            b.torment("TRACE", command("TRACE", flow), changes=False)
            for name in ("VIP_GET", "DEV_GET", "FLOW_GET"):
                b.torment(f"dump {name}", lambda name=name: b.ask.command(name, flags=NLM_F_DUMP), changes=False)
            b.torment("FLOW_FLUSH", command("FLOW_FLUSH"), changes=False)
            b.torment("VIP_DEL", command("VIP_DEL", vip_nest(VIP)), command("VIP_SET", new))
            b.torment("VIP_DEL all", command("VIP_DEL", attr("DUET_A_FLUSH", b"")), command("VIP_SET", new))
        run_all(NLM_F_ACK)
        run_all(NLM_F_ACK | NLM_F_ECHO)


def refused_anyway(do):
    def asked():
        try:
            do()
        except Refused as error:
            if error.errno != errno.EINVAL:
                raise
    return asked


def link_message(kind, flags, name):
    info = struct.pack("BxHiII", 0, 0, 0, 0, 0) + attr(3, name.encode() + b"\0") + nested(18, attr(1, b"duet\0"))
    return struct.pack("IHHII", 16 + len(info), kind, NLM_F_REQUEST | NLM_F_ACK | flags, 1, 0) + info


@test
def devices():
    """a device is made and deleted, every allocation failing in turn"""
    b = Bench()
    with inside("m"):
        rtnl = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    rtnl.bind((0, 0))
    rtnl.settimeout(60 * PATIENCE)

    def ask(message):
        rtnl.send(message)
        return struct.unpack("i", rtnl.recv(65536)[16:20])[0]
    done = 0
    for n in range(1, 600):
        b.nth.fail(n)
        try:
            error = ask(link_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, "mux7"))
        except OSError:
            error = -1
        left = b.nth.left()
        with inside("m"):
            there = "mux7" in [name for _, name in socket.if_nameindex()]
        if error != -1:
            equal(there, error == 0, f"is the device there after {os.strerror(-error)}, allocation {n}")
        if there:
            done += 1
            equal(ask(link_message(RTM_DELLINK, 0, "mux7")), 0, "deletion")
        if left:
            break
    check(done, "it was never made")
    check(left, "600 allocations, and still failing")
    rtnl.close()


@test
def packets():
    """packets whose allocations fail are dropped and counted, and nothing else happens"""
    net = Net("smux")
    net.vip([dip(n) for n in range(1, 5)])
    raw = [ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 2000 + n, 53, b"x" * (n % 4 * 490)), frag=0x4000 * (n & 1)) for n in range(60)]
    Nth()
    knob("ignore-gfp-wait", "Y")
    knob("times", 4000)
    knob("probability", 10)
    try:
        for _ in range(20):
            for packet in raw:
                try:
                    net.send(packet)
                except OSError as error:
                    check(error.errno in (errno.ENOBUFS, errno.ENOMEM), str(error))
    finally:
        knob("probability", 0)
    before = verdicts()["encap"]
    check(before > 0, "no packet came through")
    check(net.exchange(raw[0]), "afterwards packets don't come through")
    duet("vip", "del", "mux0", "all")


if __name__ == "__main__":
    if not have_faults():
        print("1..0 # SKIP this kernel can't inject faults")
        sys.exit(4)
    main()
