#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What the module refuses and says, and what it survives."""
import errno
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import *  # noqa: E402,F403 pylint: disable=wildcard-import,unused-wildcard-import
from lib import CLIENT, DUET, VIP, Net, batch, check, dip, duet, duet_json, equal, flowing, inside, ip4, main, outer_dst, refused, run, test, udp, until
from genl import NLM_F_ACK, NLM_F_DUMP, C, Genl, Refused, attr  # noqa: E402


def vip_file(*vips):
    return json.dumps({"vips": list(vips)})


def simple(vip, *dips):
    return {"vip": vip, "rules": [{"dips": [{"address": d} for d in dips]}]}


def state():
    return duet_json("vip", "show", "mux0"), duet_json("dev", "show", "mux0")[0]["used"]


@test
def bad_vips():
    """a bad VIP is refused with a sentence, and nothing changes"""
    net = Net()
    net.vip([dip(1), dip(2)])
    before = state()

    def no(rules, because, vip=VIP):
        refused("m", "vip", "set", "mux0", "-f", "-", because=because, stdin=vip_file({"vip": vip, "rules": rules}))
        equal(state(), before, "the device afterwards")

    no([{"dips": []}], "DIP")
    no([{"dips": [{"address": dip(1)}, {"address": dip(1)}]}], "twice")
    no([{"dips": [{"address": "10.2.0.300"}]}], "address")
    no([{"dips": [{"address": dip(1)}]}], "address", vip="203.0.113")
    no([{"dips": [{"address": dip(1), "weight": 0}]}], "weight")
    no([{"dips": [{"address": dip(1), "weight": 65536}]}], "weight")
    no([{"proto": "tcp", "port": "80-90", "dips": [{"address": dip(1)}]},
        {"proto": "tcp", "port": 85, "dips": [{"address": dip(2)}]}], "overlap")
    no([{"port": 80, "dips": [{"address": dip(1)}]}], "proto")
    no([{"dips": [{"address": "224.0.0.5"}]}], "multicast")
    no([{"dips": [{"address": f"10.9.{n >> 8}.{n & 255}"} for n in range(513)]}], "512")


@test
def full_tables():
    """a table that is full says which, how much it holds and how much was asked; nothing is half-programmed"""
    Net()
    many = [f"10.9.{n >> 8}.{n & 255}" for n in range(512)]
    duet("vip", "set", "mux0", "-f", "-", stdin=vip_file(simple(VIP, *many)))
    before = state()
    equal(before[1]["tunnels"], 512, "tunnels in use")
    refused("m", "vip", "set", "mux0", "-f", "-", because="512", stdin=vip_file(simple("203.0.113.2", dip(1))))
    refused("m", "vip", "set", "mux0", "-f", "-", because="tunnel", stdin=vip_file(simple("203.0.113.2", many[0], dip(1))))
    equal(state(), before, "the device afterwards")
    duet("vip", "set", "mux0", "-f", "-", stdin=vip_file(simple("203.0.113.2", *many[:4])))
    duet("vip", "set", "mux0", "-f", "-", stdin=vip_file(simple(VIP, dip(1))))
    equal(duet_json("dev", "show", "mux0")[0]["used"]["tunnels"], 5, "tunnels in use")
    duet("dev", "set", "mux0", "limits", "vips", "2")
    refused("m", "vip", "set", "mux0", "-f", "-", because="VIP", stdin=vip_file(simple("203.0.113.3", dip(1))))
    refused("m", "dev", "set", "mux0", "limits", "tunnels", "3", because="5")
    duet("vip", "del", "mux0", "all")
    used = duet_json("dev", "show", "mux0")[0]["used"]
    equal(set(used.values()), {0}, f"after all is deleted, in use: {used}")


@test
def ports():
    """a port is a port of one device, exists, and isn't a mux"""
    Net()
    batch("m", "link add mux1 type duet\n")
    refused("m", "port", "add", "mux1", "c0m", because="mux0")
    refused("m", "port", "add", "mux1", "nosuch", because="nosuch")
    refused("m", "port", "add", "mux1", "mux0", because="duet")
    refused("m", "port", "del", "mux1", "c0m", because="no port")
    refused("m", "dev", "show", "c0m", because="duet")
    refused("m", "dev", "show", "nosuch", because="nosuch")
    batch("m", "link del mux1\n")


USER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")


@test
def privilege():
    """without CAP_NET_ADMIN nothing can be changed and nothing is shown, and the refusal says what is missing"""
    net = Net()
    net.vip([dip(1)])
    before = state()
    for command in (("vip", "del", "mux0", "all"), ("dip", "set", "mux0", dip(1), "down"), ("port", "del", "mux0", "c0m"),
                    ("dev", "set", "mux0", "key", f"{1:032x}"), ("dev", "show"), ("dev", "show", "mux0"), ("vip", "show", "mux0"), ("stats", "mux0"),
                    ("trace", "mux0", "10.1.0.2:1", f"{VIP}:2", "tcp"), ("flow", "show", "mux0"), ("monitor",)):
        status, out, err = run("ip", "netns", "exec", "m", *USER, DUET, *command, ok=False)
        equal(status, 1, f"status of {command}")
        check("CAP_NET_ADMIN" in err, f"{command} says {err.strip()!r}")
        equal(out, "", f"output of {command}")
    equal(state(), before, "the device afterwards")


def as_nobody(function):
    """What function() returns in a process of no privileges in the namespace m."""
    here, there = os.pipe()
    child = os.fork()
    if not child:
        try:
            with inside("m"):
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                os.write(there, json.dumps(function()).encode())
        finally:
            os._exit(0)
    os.close(there)
    with os.fdopen(here, encoding="utf-8") as f:
        text = f.read()
    os.waitpid(child, 0)
    return json.loads(text)


@test
def secrets():
    """no command of the family, do or dump, answers who lacks CAP_NET_ADMIN, and nobody else may join its events"""
    net = Net("smux")
    net.vip([dip(1)])
    with inside("m"):
        ops = Genl("mux0").ops
    names = {C[name]: name for name in C if name.startswith("DUET_CMD_") and not name.endswith("_NTF")}
    equal(set(ops), set(names), "commands of the family and of its header")

    def error_of(genl, command, flags):
        try:
            genl.ask(genl.family, command, attr("DUET_A_IFINDEX", genl.dev), flags)
        except Refused as refusal:
            return refusal.errno
        return 0

    def tries():
        genl, got = Genl("mux0"), {}
        for command, cap in ops.items():
            got.update({f"{names[command]} {what}": error_of(genl, command, flags)
                        for what, flags, bit in (("do", NLM_F_ACK, 2), ("dump", NLM_F_DUMP, 4)) if cap & bit})
        try:
            genl.join()
            got["join"] = 0
        except OSError as error:
            got["join"] = error.errno
        return got
    got = as_nobody(tries)
    check(len(got) > len(ops), f"dumps are tried, too: {got}")
    equal({what: e for what, e in got.items() if e != errno.EPERM}, {}, "what nobody may do")
    with inside("m"):
        own = tries()
    equal([what for what, e in own.items() if e == errno.EPERM], [], "what root may not do")


@test
def key_and_mode():
    """key and mode can't change under VIPs, and a repeated request changes nothing"""
    net = Net()
    net.vip([dip(1), dip(2)])
    refused("m", "dev", "set", "mux0", "key", f"{8:032x}", because="VIP")
    refused("m", "dev", "set", "mux0", "mode", "smux", because="VIP")
    generation = duet_json("dev", "show", "mux0")[0]["generation"]
    net.vip([dip(2), dip(1)])
    duet("dev", "set", "mux0", "key", f"{7:032x}", "mode", "hmux")
    duet("dip", "set", "mux0", dip(1), "up")
    equal(duet_json("dev", "show", "mux0")[0]["generation"], generation, "generation after requests that change nothing")
    refused("m", "dip", "set", "mux0", dip(9), "down", because=dip(9))
    net.vip([dip(1), dip(2), dip(3)])
    check(duet_json("dev", "show", "mux0")[0]["generation"] > generation, "a change bumps the generation")


@test
def digests():
    """the digest of a set depends on the set alone"""
    net = Net()
    net.vip([dip(3), dip(1), dip(2)])
    net.vip([dip(1), dip(2), dip(3)], vip="203.0.113.2")
    one, two = duet_json("vip", "show", "mux0")
    equal(one["rules"][0]["digest"], two["rules"][0]["digest"], "digests of equal sets")
    duet("dip", "set", "mux0", dip(2), "down", "vip", VIP)
    one, two = duet_json("vip", "show", "mux0")
    check(one["rules"][0]["digest"] != two["rules"][0]["digest"], "a DIP is down in one of them only")
    equal([d["state"] for d in one["rules"][0]["dips"]], ["up", "down", "up"], "states")


@test
def many_vips():
    """2,000 VIPs in one batch, dumped again, deleted again"""
    Net("smux")
    vips = [simple(f"203.0.{n >> 8}.{n & 255}", *(dip(1 + (n + k) % 40) for k in range(4))) for n in range(2000)]
    duet("vip", "set", "mux0", "-f", "-", stdin=vip_file(*vips))
    shown = duet_json("vip", "show", "mux0")
    equal(len(shown), 2000, "VIPs")
    equal({v["vip"]: sorted(d["address"] for d in v["rules"][0]["dips"]) for v in shown},
          {v["vip"]: sorted(d["address"] for d in v["rules"][0]["dips"]) for v in vips}, "VIPs and their DIPs")
    duet("vip", "del", "mux0", "all")
    equal(duet_json("vip", "show", "mux0"), [], "VIPs")


@test
def monitor():
    """`duet monitor` tells every change"""
    net = Net()
    watch = subprocess.Popen(["ip", "netns", "exec", "m", DUET, "-j", "monitor"], stdout=subprocess.PIPE)
    try:
        os.set_blocking(watch.stdout.fileno(), False)
        text = b""

        def seen(what):
            nonlocal text
            try:
                text += os.read(watch.stdout.fileno(), 65536)
            except BlockingIOError:
                pass
            return what.encode() in text

        # joined when the first change is told
        until(lambda: (net.vip([dip(1)]), net.vip([dip(2)]), seen(dip(2)))[-1], "a VIP is told")
        duet("dip", "set", "mux0", dip(2), "down")
        until(lambda: seen("down"), "a DIP going down is told")
        duet("vip", "del", "mux0", VIP)
        until(lambda: seen("deleted"), "a deletion is told")
    finally:
        watch.kill()
        watch.wait()


@test
def lifecycle():
    """device, port and namespace go away under traffic; the module unloads clean"""
    for gone in ("link del mux0\n", "link del c0m\n", "link set mux0 down\n", "link set d0m down\n", "link del d0m\n", None):
        net = Net()
        net.vip([dip(n) for n in range(1, 5)])
        traffic = flowing(net)
        try:
            if gone:
                batch("m", gone)
            else:
                run("ip", "netns", "del", "m")
        finally:
            traffic.stop()
    Net.remove()
    until(lambda: run("rmmod", "duet", ok=False)[0] == 0, "the module unloads")
    run("insmod", os.environ["DUET_KO"])


@test
def device_down():
    """a device that is down serves nobody; up again, everybody"""
    net = Net()
    net.vip([dip(1)])
    packet = ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 1, 2))
    check(net.exchange(packet), "no packet came")
    batch("m", "link set mux0 down\n")
    count = duet_json("stats", "mux0")["verdicts"]["encap"]["packets"]
    net.send(packet)
    passed = net.exchange(ip4(CLIENT, dip(1), 4, packet))
    check(passed, "a later packet, not for a VIP, did not come")
    equal(duet_json("stats", "mux0")["verdicts"]["encap"]["packets"], count, "encapsulated packets while down")
    batch("m", "link set mux0 up\n")
    frame = net.exchange(packet)
    check(frame and outer_dst(frame) == dip(1), "up again, it serves")


@test
def renamed_port():
    """ports are followed through a rename, and forgotten when deleted"""
    Net()
    batch("m", "link set c0m down\nlink set c0m name swp9\nlink set swp9 up\n")
    equal(duet_json("dev", "show", "mux0")[0]["ports"], ["swp9"], "ports")
    batch("m", "link del swp9\n")
    equal(duet_json("dev", "show", "mux0")[0]["ports"], [], "ports")


if __name__ == "__main__":
    main()
