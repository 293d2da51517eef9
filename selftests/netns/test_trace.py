#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What tracing shows of a mux: an event for each packet of a VIP, and the kernel's reason for each drop."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import CLIENT, VIP, Net, check, dip, duet, equal, ip4, main, run, test, udp, until  # noqa: E402

TRACING = "/sys/kernel/tracing"


def write(name, text):
    with open(f"{TRACING}/{name}", "w", encoding="ascii") as f:
        f.write(text)


def traced(pattern):
    with open(f"{TRACING}/trace", encoding="ascii") as f:
        return re.findall(pattern, f.read())


class Events:
    """An event that is on for a while, in a trace that was empty before."""

    def __init__(self, *names):
        if not os.path.exists(f"{TRACING}/trace"):
            subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACING], check=True)
        self.names = names

    def __enter__(self):
        write("trace", "")
        for name in self.names:
            write(f"events/{name}/enable", "1")

    def __exit__(self, *_):
        for name in self.names:
            write(f"events/{name}/enable", "0")


def packet(port):
    return ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, port, 53))


@test
def sent():
    """a packet that is encapsulated is one event, with verdict, VIP, DIP, device and length"""
    net = Net()
    net.vip([dip(1)])
    index = int(run("ip", "netns", "exec", "m", "cat", "/sys/class/net/mux0/ifindex")[1])
    one = packet(2000)
    net.exchange(one)
    with Events("duet/duet_packet"):
        net.exchange(one)
        until(lambda: traced(r"duet_packet: (dev=\S+ .*)"), "the event")
    address = dip(1)
    equal(traced(r"duet_packet: (dev=\S+ .*)"),
          [f"dev=mux0 ifindex={index} verdict=encap vip=::ffff:{VIP} dip=::ffff:{address} len={len(one)}"], "events")


@test
def dropped():
    """a packet that is dropped is an event with its verdict, and has a reason of the kernel's own"""
    net = Net()
    net.vip([dip(1)])
    duet("dip", "set", "mux0", dip(1), "down")
    with Events("duet/duet_packet", "skb/kfree_skb"):
        net.send(packet(2001))
        until(lambda: traced(r"duet_packet: dev=mux0 .*verdict=no-dip"), "the event of the drop")
        # 6.12 names the place: the caller, where the compiler made the last call a jump; 6.1 has a number
        drops = until(lambda: traced(r"kfree_skb: .*\[duet\].* reason: (\w+)") or
                      traced(r"kfree_skb: .*location=\S+ reason: (NO_SOCKET)"), "the reason of the drop")
    check("NO_SOCKET" in drops, f"reasons: {drops}")


@test
def off():
    """without the event nothing is written, and the packet goes the same way"""
    net = Net()
    net.vip([dip(1)])
    with Events():
        net.exchange(packet(2002))
        equal(traced(r"duet_packet"), [], "events")


main()
