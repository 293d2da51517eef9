#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The flow table of an smux: what keeps a flow on its DIP, and what ends that."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import CLIENT, LOCAL, VIP, Net, check, dip, duet, duet_json, equal, inside, ip4, main, refused, tcp, test, udp, until, verdicts

FIRST = [dip(n) for n in range(1, 5)]
SYN, ACK, FIN = 0x02, 0x10, 0x11


def packets(count, flags=None, start=2000):
    """One packet of each of count flows: UDP, or TCP with these flags."""
    return [ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, start + n, 53)) if flags is None
            else ip4(CLIENT, VIP, 6, tcp(start + n, 80, flags)) for n in range(count)]


def flows():
    return duet_json("dev", "show", "mux0")[0]["flows"]


def smux(**settings):
    net = Net("smux")
    for key, value in settings.items():
        duet("dev", "set", "mux0", "flows", key, str(value))
    net.vip(FIRST)
    return net


@test
def added_dip():
    """flows stay where they are when a DIP is added, and an hmux moves some: new ones go by the new table"""
    net = smux()
    for flags in (None, ACK):
        net.vip(FIRST)
        before = net.choices(packets(150, flags))
        net.vip(FIRST + [dip(5)])
        equal(net.choices(packets(150, flags)), before, "DIPs of flows that were there")
        check(dip(5) in net.choices(packets(150, flags, 9000)).values(), "no new flow went to the DIP that was added")
        duet("flow", "flush", "mux0")
        check(net.choices(packets(150, flags)) != before, "without the flow table the addition moves nobody: the test shows nothing")
        duet("flow", "flush", "mux0")
    check(flows()["hits"] >= 300, "hits are counted")


@test
def removed_dip():
    """flows of a DIP that is removed move, those of the others stay"""
    net = smux()
    before = net.choices(packets(150))
    net.vip(FIRST[:3])
    after = net.choices(packets(150))
    check(dip(4) not in after.values(), "a DIP that was removed got a packet")
    equal({k: v for k, v in after.items() if before[k] != dip(4)},
          {k: v for k, v in before.items() if v != dip(4)}, "flows of the DIPs that stayed")
    # it comes back as another: nothing of before is bound to it
    net.vip(FIRST)
    equal(net.choices(packets(150)), after, "flows after it came back")


@test
def another_rule():
    """a flow stays on its DIP when a rule for its port comes or goes, as long as that rule has the DIP"""
    net = smux()
    default = {"dips": [{"address": d} for d in FIRST]}
    special = {"proto": "tcp", "port": 80, "dips": [{"address": dip(n)} for n in range(2, 9)]}
    before = net.choices(packets(150, ACK))
    net.vip(None, rules=[default, special])
    port = next(p for (_, p), d in before.items() if d == dip(2))
    answer = duet_json("trace", "mux0", f"{CLIENT}:{port}", f"{VIP}:80", "tcp")
    equal((answer["dip"], answer["kept"]), (dip(2), True), "trace of a flow that is kept")
    come = net.choices(packets(150, ACK))
    equal({k: v for k, v in come.items() if before[k] != dip(1)},
          {k: v for k, v in before.items() if v != dip(1)}, "flows of the DIPs that the rule has, too")
    check(set(come.values()) > set(FIRST[1:]), "the DIPs that only the new rule has got none of the others")
    equal(net.choices(packets(150, ACK)), come, "and again")
    net.vip(FIRST)
    gone = net.choices(packets(150, ACK))
    equal({k: v for k, v in gone.items() if come[k] in FIRST},
          {k: v for k, v in come.items() if v in FIRST}, "flows of DIPs that are left without the rule")
    equal(duet_json("stats", "mux0")["verdicts"]["encap"]["packets"], 600, "packets")


@test
def syn():
    """a SYN is never bound to what was there before"""
    net = smux()
    net.choices(packets(150, ACK))
    net.vip(FIRST + [dip(n) for n in range(5, 9)])
    kept = net.choices(packets(150, ACK))
    anew = net.choices(packets(150, SYN))
    check(kept != anew, "SYNs went where the old flows are")
    equal(net.choices(packets(150, ACK)), anew, "packets after the SYN go where it went")


@test
def drain_and_down():
    """drain keeps known flows and takes no new ones; down moves them at once; an hmux can't drain"""
    net = smux()
    before = net.choices(packets(150))
    duet("dip", "set", "mux0", dip(2), "drain")
    equal(duet_json("vip", "show", "mux0", VIP)[0]["rules"][0]["dips"][1]["state"], "drain", "state")
    equal(net.choices(packets(150)), before, "flows while the DIP drains")
    check(dip(2) not in net.choices(packets(150, start=9000)).values(), "a draining DIP got a new flow")
    port = next(p for (_, p), d in before.items() if d == dip(2))
    answer = duet_json("trace", "mux0", f"{CLIENT}:{port}", f"{VIP}:53", "udp")
    equal((answer["dip"], answer["kept"]), (dip(2), True), "trace of a flow that is kept")
    duet("dip", "set", "mux0", dip(2), "down")
    down = net.choices(packets(150))
    check(dip(2) not in down.values(), "a DIP that is down got a packet")
    equal({k: v for k, v in down.items() if before[k] != dip(2)},
          {k: v for k, v in before.items() if v != dip(2)}, "flows of the other DIPs")
    duet("dip", "set", "mux0", dip(2), "up")
    equal(net.choices(packets(150)), down, "flows that moved stay when it is back")
    net = Net("hmux")
    net.vip(FIRST)
    refused("m", "dip", "set", "mux0", dip(2), "drain", because="smux mode")
    refused("m", "dev", "set", "mux0", "flows", "max", "8", because="smux mode")
    equal(duet_json("flow", "show", "mux0"), [], "flows of an hmux")


@test
def full():
    """at capacity connections stay, newcomers go by the set's table and are counted; so with the rate limit"""
    net = smux(max=8)
    equal(flows()["max"], 8, "size")
    before = net.choices(packets(8, ACK))
    net.choices(packets(8, ACK))    # a second packet each: no longer the first to go
    net.choices(packets(60, ACK, 7000))
    state = flows()
    check(state["full"] >= 60, f"no room is counted: {state}")
    equal(state["used"], 8, "entries")
    net.vip(FIRST + [dip(n) for n in range(5, 9)])
    equal(net.choices(packets(8, ACK)), before, "the connections that were in the table")
    # first packets give way to others
    duet("flow", "flush", "mux0")
    net.choices(packets(60, ACK, 7000))
    equal(flows()["used"], 8, "entries")
    net = smux(rate=5)
    until(lambda: net.choices(packets(60)) and flows()["limited"] > 0, "the rate limit is counted")
    net = smux(max=0)
    net.choices(packets(20))
    equal((flows()["used"], flows()["added"]), (0, 0), "a table that is off")
    equal(verdicts()["encap"], 20, "packets without a table")


@test
def idle():
    """a flow that is idle is forgotten: by state, after the time set for it"""
    net = smux(new=1, other=1, tcp=600, fin=1)
    net.choices(packets(5))
    net.choices(packets(5, ACK))
    net.choices(packets(5, ACK))
    net.choices(packets(5, ACK, 7000))
    net.choices(packets(5, FIN, 7000))
    until(lambda: flows()["used"] == 5, "only the open connections are left", 60)
    left = duet_json("flow", "show", "mux0")
    equal({(f["proto"], f["state"], f["src"]) for f in left},
          {("tcp", "open", f"{CLIENT}:{2000 + n}") for n in range(5)}, "flows")


@test
def show_and_flush():
    """flows are shown and flushed, all or those of a VIP or a DIP"""
    net = smux()
    net.vip(FIRST, vip="203.0.113.2")
    where = net.choices(packets(40))
    net.choices([ip4(CLIENT, "203.0.113.2", 17, udp(CLIENT, "203.0.113.2", 500 + n, 53)) for n in range(10)])
    shown = duet_json("flow", "show", "mux0", "vip", VIP)
    equal({(f["src"], f["dip"]) for f in shown}, {(f"{CLIENT}:{p}", d) for (_, p), d in where.items()}, "flows of the VIP")
    equal(len(duet_json("flow", "show", "mux0")), 50, "all flows")
    duet("flow", "flush", "mux0", "vip", "203.0.113.2")
    equal(len(duet_json("flow", "show", "mux0")), 40, "flows after one VIP's were flushed")
    duet("flow", "flush", "mux0", "dip", dip(1))
    equal({f["dip"] for f in duet_json("flow", "show", "mux0")}, set(where.values()) - {dip(1)}, "DIPs of the flows left")
    refused("m", "dev", "set", "mux0", "flows", "tcp", "90000", because="at most 86400 s")


@test
def shared_sets():
    """VIPs with the same DIPs and weights share one set, and take the ECMP table once"""
    net = Net("hmux")
    duet("dev", "set", "mux0", "limits", "members", "8")
    for n in range(1, 6):
        net.vip(FIRST, vip=f"203.0.113.{n}")

    def used():
        return duet_json("dev", "show", "mux0")[0]["used"]
    equal((used()["vips"], used()["members"], used()["tunnels"]), (5, 4, 4), "used by five VIPs with one set")
    net.vip([dip(n) for n in range(5, 9)], vip="203.0.113.6")
    equal(used()["members"], 8, "members of two sets")
    refused("m", "vip", "set", "mux0", "203.0.113.7", "dip", dip(9), because="ECMP table full: 8 of 8 entries used, the VIP needs 1 more")
    equal((used()["vips"], used()["members"], used()["tunnels"]), (6, 8, 8), "used after the refusal")
    # a failure is never refused for want of room, and recovery shares again
    duet("dip", "set", "mux0", dip(1), "down", "vip", "203.0.113.2")
    equal(used()["members"], 8, "members with a DIP down in one VIP")
    digests = {v["vip"]: v["rules"][0]["digest"] for v in duet_json("vip", "show", "mux0")}
    check(digests["203.0.113.1"] == digests["203.0.113.3"] != digests["203.0.113.2"], "only the one VIP's table changed")
    duet("dip", "set", "mux0", dip(1), "up", "vip", "203.0.113.2")
    equal(len({v["rules"][0]["digest"] for v in duet_json("vip", "show", "mux0")}), 2, "tables after the recovery")
    # replacing a VIP counts what its old set gives back
    net.vip([dip(n) for n in range(9, 13)], vip="203.0.113.6")
    equal((used()["members"], used()["tunnels"]), (8, 8), "used after a replacement of the same size")
    for n in range(1, 7):
        duet("vip", "del", "mux0", f"203.0.113.{n}")
    equal(tuple(used().values()), (0, 0, 0, 0), "used by nothing")


@test
def under_traffic():
    """an smux loses nothing while sets, flow table and device change under traffic, and goes away in the middle of it"""
    net = smux()
    with inside("c"):
        raw = packets(40)
    sent = 0
    for turn in range(10):
        for packet in raw:
            net.send(packet)
            sent += 1
        if turn % 3 == 0:
            net.vip(FIRST[:2 + turn % 2])
        elif turn % 3 == 1:
            duet("dev", "set", "mux0", "flows", "max", str(64 << turn % 4))
        else:
            duet("flow", "flush", "mux0")
    until(lambda: verdicts()["encap"] == sent, f"{sent} packets encapsulated, none dropped")
    equal(sum(v for k, v in verdicts().items() if k not in ("encap", "pass")), 0, "drops")
    for packet in raw:
        net.send(packet)
    duet("dev", "set", "mux0", "local", LOCAL)


if __name__ == "__main__":
    main()
