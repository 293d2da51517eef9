#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The flow table of an smux: what keeps a flow on its DIP, and what ends that."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import CLIENT, LOCAL, PATIENCE, VIP, Net, check, dip, duet, duet_json, equal, inside, ip4, main, refused, tcp, test, udp, until
from lib import verdicts

FIRST = [dip(n) for n in range(1, 5)]
SYN, RST, ACK, FIN = 0x02, 0x04, 0x10, 0x11


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


def states():
    """Flows of the client, by state."""
    count = {}
    for flow in duet_json("flow", "show", "mux0"):
        state = "kept" if flow["kept"] and flow["state"] == "open" else flow["state"]
        who = state if flow["src"].startswith(CLIENT + ":") else "invented " + state
        count[who] = count.get(who, 0) + 1
    return count


def establish(net, count=150, flags=ACK, start=2000, between=lambda: None):
    """Flows that go on until they are kept; where each of them goes."""
    raw = packets(count, flags, start)
    if flags is not None:
        net.choices(packets(count, SYN, start))
    want = {f"{CLIENT}:{start + n}" for n in range(count)}

    def all_kept():
        between()
        where = net.choices(raw)
        kept = {f["src"] for f in duet_json("flow", "show", "mux0") if f["kept"]}
        return where if want <= kept else None
    return until(all_kept, f"{count} flows are kept")


@test
def syn():
    """a SYN follows the flow that there is: a retry, a late one, a forged one; also off a draining DIP"""
    net = smux()
    before = net.choices(packets(150, SYN))
    net.vip(FIRST + [dip(n) for n in range(5, 9)])
    equal(net.choices(packets(150, SYN)), before, "SYNs that are sent again after DIPs were added")
    equal(net.choices(packets(150, ACK)), before, "packets after them")
    kept = establish(net)
    equal(kept, before, "the flows later")
    net.vip(FIRST + [dip(n) for n in range(5, 13)])
    equal(net.choices(packets(150, SYN)), kept, "SYNs of flows that are alive")
    equal(net.choices(packets(150, ACK)), kept, "packets after the SYNs")
    duet("dip", "set", "mux0", dip(2), "drain")
    check(dip(2) in kept.values(), "no flow is on the DIP that drains: the test shows nothing")
    equal(net.choices(packets(150, SYN)), kept, "SYNs while a DIP drains")
    equal(net.choices(packets(150, ACK)), kept, "packets after SYNs while a DIP drains")
    check(dip(2) not in net.choices(packets(150, SYN, 9000)).values(), "a draining DIP got a new flow")
    duet("dip", "set", "mux0", dip(2), "down")
    check(dip(2) not in net.choices(packets(150, SYN)).values(), "a DIP that is down got a SYN")


@test
def forged_end():
    """FIN and RST, and SYNs after them, end no flow that goes on; one that is over for long makes way for a new one"""
    net = smux(fin=2)
    before = establish(net)
    net.vip(FIRST + [dip(n) for n in range(5, 9)])
    for flags in (FIN, RST, SYN, FIN, SYN | ACK, ACK):
        equal(net.choices(packets(150, flags)), before, f"packets with flags {flags:#x} after a FIN")
    equal(states(), {"closing": 150}, "states after FIN and RST")
    # silent for longer than fin: whoever sends on is alive, and no SYN moves him then
    until(lambda: min(f["idle"] for f in duet_json("flow", "show", "mux0")) > 2, "all are silent for fin")
    equal(net.choices(packets(150, ACK)), before, "flows that go on after a forged FIN")
    equal(states(), {"kept": 150}, "states when they go on")
    equal(net.choices(packets(150, SYN)), before, "SYNs of flows that have gone on")
    # this time they are over
    net.choices(packets(150, FIN))
    until(lambda: min(f["idle"] for f in duet_json("flow", "show", "mux0")) > 2, "all are silent for fin")
    anew = net.choices(packets(150, SYN))
    check(set(anew.values()) - set(FIRST), "SYNs after the end went by the old table")
    equal(net.choices(packets(150, ACK)), anew, "packets of the new connections")
    duet("flow", "flush", "mux0")
    equal(net.choices(packets(150, ACK)), anew, "what the present table chooses")


def invented(first, count, flags):
    """Two packets of each of count flows from sources that there are not, back to back."""
    raw = []
    for n in range(first, first + count):
        source = f"198.18.{n >> 8 & 255}.{n & 255}"
        if flags is None:
            raw += [ip4(source, VIP, 17, udp(source, VIP, 1024 + n % 60000, 53))] * 2
        else:
            raw += [ip4(source, VIP, 6, tcp(1024 + n % 60000, 80, f)) for f in (SYN, ACK)]
    return raw


@test
def flood():
    """real flows among invented ones, many more than the table holds, get their place and keep it: none moves when a DIP is added"""
    for flags in (ACK, None):
        net = smux(max=1024)
        every = iter(range(0, 1 << 15, 256))

        def flooded(count=1, net=net, flags=flags, every=every):
            for _ in range(count):
                for packet in invented(next(every), 256, flags):
                    net.send(packet)
        flooded(12)
        check(flows()["full"] > 1500, f"the flood did not fill the table: {flows()}")
        before = establish(net, flags=flags, between=flooded)
        flooded(12)
        kept = states()
        equal(kept.get("kept"), 150, f"real flows that are kept: {kept}")
        check(kept.get("invented kept", 0) < 30, f"invented flows are kept: {kept}")
        net.vip(FIRST + [dip(5)])
        flooded(4)
        equal(net.choices(packets(150, flags)), before, "real flows after a DIP was added")


@test
def crowded():
    """a table full of flows that were kept and are silent has room for those that go on"""
    net = smux(max=64, tcp=60)
    # a few at a time, for those that don't fit push each other out
    for start in range(7000, 7096, 16):
        for _ in range(2):
            net.choices(packets(16, ACK, start))
            states()
    check(states().get("kept", 0) >= 40, f"most of the table is kept: {states()}")
    before = establish(net, 12)
    net.vip(FIRST + [dip(n) for n in range(5, 9)])
    equal(net.choices(packets(12, ACK)), before, "the flows that go on")


@test
def long_flood():
    """kept flows that go on stay in a bucket that is full, under a flood of invented flows that lasts longer than kept ones are spared"""
    net = smux(max=8, tcp=20 * PATIENCE)	# spared for a quarter of tcp
    before = establish(net, 4)
    every, regulars = iter(range(0, 1 << 30, 64)), invented(1 << 15, 32, ACK)
    end, rounds = time.monotonic() + 7 * PATIENCE, 0
    while time.monotonic() < end:
        first = next(every)
        for packet in regulars + invented(first % (1 << 15), 64, ACK):
            net.send(packet)
        equal(net.choices(packets(4, ACK)), before, "the flows that go on")
        rounds += 1
    kept = states()
    equal(kept.get("kept"), 4, f"flows that go on are kept, after {rounds} rounds: {kept}")
    check(flows()["full"] > rounds and sum(kept.values()) == 8, f"the bucket wasn't full: {kept}, {flows()}")
    net.vip(FIRST + [dip(n) for n in range(5, 9)])
    equal(net.choices(packets(4, ACK)), before, "the flows after DIPs were added")


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
    """at capacity connections stay, newcomers are counted, and go by the set's table; so with the rate limit"""
    net = smux(max=8)
    equal(flows()["max"], 8, "size")
    before = establish(net, 8)
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
    equal(sum(v for k, v in verdicts().items() if k not in ("encap", "pass", "outer-error")), 0, "drops")
    for packet in raw:
        net.send(packet)
    duet("dev", "set", "mux0", "local", LOCAL)


if __name__ == "__main__":
    main()
