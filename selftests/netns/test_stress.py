#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Things that end while others go on: ports, devices, namespaces, the module,
all under traffic. DUET_ROUNDS says how often (default 3)."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import *  # noqa: E402,F403 pylint: disable=wildcard-import,unused-wildcard-import
from lib import DUET, VIP, Net, batch, check, dip, duet, duet_json, equal, flowing, main, run, test, until

ROUNDS = int(os.environ.get("DUET_ROUNDS", "3"))


@test
def unload():
    """the module unloads after its namespaces died under traffic, again and again"""
    for turn in range(ROUNDS):
        net = Net(("hmux", "smux")[turn % 2])
        net.vip([dip(n) for n in range(1, 5)])
        traffic = flowing(net)
        try:
            if turn % 3 == 0:
                run("ip", "netns", "del", "m")
            elif turn % 3 == 1:
                run("ip", "netns", "del", "d")
        finally:
            if turn % 3 == 2:       # the module itself goes, with device, port and flows in full use
                run("rmmod", "duet")
            traffic.stop()
        Net.remove()
        if turn % 3 != 2:
            until(lambda: run("rmmod", "duet", ok=False)[0] == 0, "the module unloads")
        run("insmod", os.environ["DUET_KO"])


@test
def churn():
    """everything is changed at once, under traffic: VIPs, DIPs, ports, flow table, addresses, neighbours, routes; and hooks are listed"""
    net = Net("smux")
    net.vip([dip(n) for n in range(1, 5)])
    traffic = flowing(net)
    batch("m", "link add v0 type veth peer name v1\nlink set v0 up\n")
    script = f"""
        i=0
        while [ $i -lt {ROUNDS * 5} ]; do
            i=$((i + 1))
            {DUET} vip set mux0 {VIP} dip {dip(1)} {dip(2)} {dip(5)}
            {DUET} dip set mux0 {dip(1)} down; {DUET} dip set mux0 {dip(1)} up
            {DUET} port add mux0 v0; nft list hooks netdev device v0 >/dev/null 2>&1; {DUET} port del mux0 v0
            {DUET} dev set mux0 flows max $((64 << (i % 4)))
            {DUET} dev set mux0 local 2001:db8::$i
            {DUET} vip set mux0 {VIP} dip {dip(3)} {dip(4)}
            {DUET} flow flush mux0
            ip route flush cache
            {DUET} vip del mux0 {VIP}
            {DUET} vip set mux0 {VIP} dip {dip(1)} {dip(2)} {dip(5)}
        done 2>&1"""
    reader = subprocess.Popen(["ip", "netns", "exec", "m", "sh", "-c", f"while :; do {DUET} -j vip show mux0; {DUET} -j flow show mux0; "
                               f"{DUET} -j stats mux0; nft list hooks; done >/dev/null 2>&1"], start_new_session=True)
    try:
        equal(run("ip", "netns", "exec", "m", "sh", "-c", script)[1], "", "what the changes said")
    finally:
        os.killpg(reader.pid, 15)
        reader.wait()
        traffic.stop()
    before = duet_json("stats", "mux0")["verdicts"]["encap"]["packets"]
    traffic = flowing(net, before + 100)
    traffic.stop()


@test
def route_device_gone():
    """the device that packets leave by goes down, comes back, is deleted: counted, no route is held, no packet is stuck"""
    for _ in range(ROUNDS):
        net = Net()
        net.vip([dip(n) for n in range(1, 5)])
        traffic = flowing(net)
        try:
            batch("m", "link set d0m down\n")
            until(lambda: duet_json("stats", "mux0")["verdicts"]["no-route"]["packets"] > 0, "no route is counted")
            batch("m", "link set d0m up\n")
            before = duet_json("stats", "mux0")["verdicts"]["encap"]["packets"]
            until(lambda: duet_json("stats", "mux0")["verdicts"]["encap"]["packets"] > before + 100, "traffic flows again")  # pylint: disable=cell-var-from-loop
            batch("m", "link del d0m\n")
            batch("m", "link set c0m down\nlink set c0m up\n")
        finally:
            traffic.stop()
        check("d0m" not in run("ip", "-n", "m", "link", "show")[1], "the device is gone")
    duet("vip", "del", "mux0", "all")


if __name__ == "__main__":
    main()
