#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What muxes may take of memory and time: those of an ordinary user in namespaces of his own, and those of an operator
with very many VIPs or flows."""
import json
import os
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import *  # noqa: E402,F403 pylint: disable=wildcard-import,unused-wildcard-import
from lib import CLIENT, DUET, PATIENCE, VIP, Net, batch, check, dip, duet, duet_json, equal, inside, ip4, main, run, tcp, test, until
from genl import C, Genl, Refused, attr, attrs, nest, nested, vip_attrs  # noqa: E402

USER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
NAMESPACE_MIB, ALL_MIB, DEVICES = 32, 256, 16	# include/duet/limits.h


def available():
    """MiB that are free, or would be if they were needed."""
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("3")
    with open("/proc/meminfo", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("MemAvailable")) // 1024


def key(rule):
    return (rule.get("proto", 0), rule.get("port", 0), rule.get("port", 0))


def of_dips(vip, dips):
    return vip_attrs({"vip": vip, "rules": [{"dips": [{"address": d} for d in dips]}]}, key)


def take_all():
    """In a user namespace of one's own: as many muxes as there may be, each with as large a flow table and as many VIPs as
    may be. Says what that was, and holds it until stdin ends."""
    took, sentences = {"devices": 0, "flows": 0, "vips": 0}, set()
    while took["devices"] < 100:
        name = f"d{took['devices']}"
        _, _, err = run("ip", "link", "add", name, "type", "duet", ok=False)
        if err:
            sentences.add(err.strip())
            break
        took["devices"] += 1
        genl, size = Genl(name), 1 << 24

        def ask(command, payload, genl=genl):
            try:
                genl.command(command, payload)
                return True
            except Refused as refusal:
                sentences.add(refusal.sentence)
                return False
        ask("DEV_SET", attr("DUET_A_MODE", struct.pack("I", C["DUET_MODE_SMUX"])))
        while size and not ask("DEV_SET", nested("DUET_A_FLOWS", attr("DUET_A_FLOWS_SIZE", struct.pack("I", size)))):
            size //= 2
        took["flows"] += size
        for n in range(1, 200):
            if not ask("VIP_SET", of_dips(f"203.0.113.{n}", [f"10.{n}.{k >> 8}.{k & 255 or 255}" for k in range(1, 400)])):
                break
            took["vips"] += 1
    print(json.dumps({"took": took, "sentences": sorted(sentences)}), flush=True)
    sys.stdin.read()


@test
def ordinary_users():
    """muxes of ordinary users take so much memory and no more, in one namespace and in all; the refusals say so"""
    Net.remove()
    users, told = [], []
    before = available()
    try:
        for _ in range(ALL_MIB // NAMESPACE_MIB + 3):
            user = subprocess.Popen([*USER, "unshare", "--user", "--map-root-user", "--net", sys.executable, os.path.abspath(__file__), "--take-all"],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            users.append(user)
            line = user.stdout.readline()
            told.append(json.loads(line) if line else {"took": {"flows": 0}, "sentences": [user.stderr.read()[-500:]]})
            if len(told) == 1:
                one = before - available()
        took = before - available()
    finally:
        for user in users:
            user.stdin.close()
            user.wait()
    print(f"# robust: hostile_mib {took}\n# of one namespace: {one}")
    first, last = told[0], told[-1]
    check(first["took"]["flows"] >= 131072, f"an ordinary user can't have what he may: {first}")
    check(any("unprivileged namespace may take" in s for s in first["sentences"]), f"refusals of the first: {first}")
    check(any("all unprivileged namespaces" in s for s in last["sentences"]), f"refusals of the last: {last}")
    equal(last["took"]["flows"], 0, "flows of who came when all was taken")
    # page tables, processes and what the network namespaces take by themselves come on top
    check(one <= NAMESPACE_MIB * 2 + 32, f"one ordinary user took {one} MiB")
    check(took <= ALL_MIB + 32 * len(users) + 64, f"ordinary users took {took} MiB")
    # all is given back
    net = Net()
    net.vip([dip(1)])
    until(lambda: run(*USER, "unshare", "--user", "--map-root-user", "--net", "ip", "link", "add", "d0", "type", "duet", ok=False)[0] == 0,
          "a mux after the others are gone")


@test
def user_devices():
    """an ordinary user's namespace has so many muxes and ports, and no more"""
    Net.remove()
    script = f"for i in $(seq {DEVICES}); do ip link add d$i type duet || exit 3; done; ip link add more type duet && exit 4; " \
             "for i in $(seq 64); do ip link add p$i type dummy || exit 5; done; " \
             f"for i in $(seq 64); do {DUET} port add d1 p$i || exit 6; done; ip link add q type dummy; {DUET} port add d1 q && exit 7; exit 0"
    status, _, err = run(*USER, "unshare", "--user", "--map-root-user", "--net", "sh", "-c", script, ok=False)
    equal(status, 0, f"exit status ({err})")
    check(f"at most {DEVICES} muxes" in err and "at most 64 ports" in err, f"says {err}")


@test
def one_set_many_vips():
    """VIPs that share one set of 512 DIPs take counters of their own up to the limit, and next to nothing beyond"""
    net = Net()
    del net
    with inside("m"):
        genl = Genl("mux0")
    rules = attrs(nest(of_dips("203.0.113.1", [f"10.3.{k >> 8}.{k & 255 or 255}" for k in range(512) if k & 255]))[C["DUET_A_VIP"]])
    rules = next(nested("DUET_A_VIP_RULES", data) for kind, data in rules if kind == C["DUET_A_VIP_RULES"])

    def add(first, last):
        for n in range(first, last):
            genl.command("VIP_SET", nested("DUET_A_VIP", attr("DUET_A_VIP_ADDR", struct.pack("!I", 0xc6120000 + n)), rules))
    add(1, 400)
    backends = duet_json("dev", "show", "mux0")[0]["backends"]
    check(backends["limit"] - 512 < backends["used"] <= backends["limit"] == 65536, f"backends {backends}")
    before = available()
    add(400, 2400)
    took = before - available()
    check(took < 40, f"2,000 VIPs more took {took} MiB")
    equal(duet_json("dev", "show", "mux0")[0]["used"]["vips"], 2399, "VIPs")
    equal(duet_json("dev", "show", "mux0")[0]["backends"], backends, "backends after them")

    def shared(n):
        reply = genl.command("VIP_GET", nested("DUET_A_VIP", attr("DUET_A_VIP_ADDR", struct.pack("!I", 0xc6120000 + n))))[0]
        rule = nest(attrs(nest(nest(reply)[C["DUET_A_VIP"]])[C["DUET_A_VIP_RULES"]])[0][1])
        return C["DUET_A_RULE_SHARED"] in rule
    equal((shared(1), shared(2399)), (False, True), "counters of the first VIP and of the last are shared")
    for n, want in ((1, False), (2399, True)):
        vip = socket.inet_ntoa(struct.pack("!I", 0xc6120000 + n))
        equal(duet_json("vip", "show", "mux0", vip)[0]["rules"][0].get("shared", False), want, f"{vip}: shared, as duet -j shows it")
        equal("counters shared" in duet("vip", "show", "mux0", vip)[1], want, f"{vip}: shared, as duet shows it")
    duet("vip", "del", "mux0", "all")
    equal(duet_json("dev", "show", "mux0")[0]["backends"]["used"], 0, "backends when there is no VIP")


def connections(vip, count=60):
    return [ip4(CLIENT, vip, 6, tcp(2000 + n, 80, 0x10)) for n in range(count)]


@test
def shared_lineup():
    """VIPs that share counters keep their flows as others do, each with the states of its own"""
    net = Net("smux")
    first = [dip(n) for n in range(1, 5)]
    duet("dev", "set", "mux0", "limits", "backends", "4")
    vips = [f"203.0.113.{n}" for n in range(1, 4)]
    for vip in vips:
        net.vip(first, vip=vip)
    equal(duet_json("dev", "show", "mux0")[0]["backends"], {"used": 4, "limit": 4}, "backends")
    before = {vip: net.choices(connections(vip)) for vip in vips}
    counts = {vip: [d["packets"] for d in duet_json("vip", "show", "mux0", vip)[0]["rules"][0]["dips"]] for vip in vips}
    equal([sum(counts[vip]) for vip in vips], [60, 120, 120], "packets counted for the DIPs of each VIP")
    duet("dip", "set", "mux0", dip(2), "down", "vip", vips[1])
    after = {vip: net.choices(connections(vip)) for vip in vips}
    equal([after[vip] for vip in (vips[0], vips[2])], [before[vip] for vip in (vips[0], vips[2])], "flows of the VIPs where the DIP is up")
    check(dip(2) not in after[vips[1]].values(), "a DIP that is down in its VIP got a packet")
    equal({k: v for k, v in after[vips[1]].items() if before[vips[1]][k] != dip(2)},
          {k: v for k, v in before[vips[1]].items() if v != dip(2)}, "flows of the VIP's other DIPs")
    for vip in vips:
        net.vip(first + [dip(5)], vip=vip)
    equal(net.choices(connections(vips[2])), before[vips[2]], "flows that share counters after a DIP was added")
    equal(net.choices(connections(vips[0])), before[vips[0]], "flows of the VIP with counters of its own after a DIP was added")
    # one goes and the others have what is shared still
    duet("vip", "del", "mux0", vips[1])
    duet("dip", "set", "mux0", dip(1), "drain")
    equal(net.choices(connections(vips[2])), before[vips[2]], "flows while a DIP drains")
    duet("dev", "set", "mux0", "limits", "backends", "0")
    net.vip(first + [dip(5), dip(6)], vip=vips[2])
    equal({k: v for k, v in net.choices(connections(vips[2])).items()}, before[vips[2]], "flows when the VIP has counters of its own")
    duet("vip", "del", "mux0", "all")
    equal(duet_json("dev", "show", "mux0")[0]["backends"]["used"], 0, "backends when there is no VIP")


@test
def long_walks():
    """nobody who makes and deletes links waits while 16 million flows are looked through"""
    Net("smux")
    duet("dev", "set", "mux0", "flows", "max", str(1 << 24))

    def link(ns):
        begin = time.monotonic()
        batch(ns, "link add walk0 type dummy\nlink del walk0\n")
        return time.monotonic() - begin
    quiet = max(max(link("d"), link("m")) for _ in range(4))
    longest, walks = 0, 0
    for command in (("flow", "show", "mux0", "dip", "192.0.2.1"), ("flow", "flush", "mux0", "vip", VIP)):
        for ns in ("d", "m"):
            walk = subprocess.Popen(["ip", "netns", "exec", "m", DUET, *command], stdout=subprocess.DEVNULL)
            while walk.poll() is None:
                longest = max(longest, link(ns))
                walks += 1
            equal(walk.returncode, 0, f"status of {command}")
    print(f"# robust: longest_lock_ms {int(longest * 1000)}\n# quiet: {int(quiet * 1000)} ms, links: {walks}")
    check(longest < 2 * quiet + 1.5 * PATIENCE, f"a link took {longest:.1f} s during a walk, {quiet:.1f} s when it was quiet")
    equal(duet_json("flow", "show", "mux0"), [], "flows")


if __name__ == "__main__":
    if sys.argv[1:] == ["--take-all"]:
        take_all()
    else:
        main()
