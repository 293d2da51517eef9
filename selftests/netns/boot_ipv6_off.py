#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# boot: ipv6.disable=1
"""A kernel that was booted without IPv6: what needs it is refused, and no packet asks for it."""
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import *  # noqa: E402,F403 pylint: disable=wildcard-import,unused-wildcard-import
from lib import CLIENT, TESTS, VIP, Net, batch, check, dip, duet, duet_json, equal, inside, ip4, main, outer_dst, refused, run, tcp, test, udp, until, verdicts
from test_hostile import garbage, tainted  # noqa: E402
from test_manners import ip6  # noqa: E402

TESTS.clear()	# those of the files that lend us their helpers

OFF = "IPv6 is off in this kernel"


@test
def refusals():
    """IPv6 as local address, VIP or DIP is refused with a sentence and changes nothing"""
    check(not os.path.exists("/proc/sys/net/ipv6"), "this machine has IPv6")
    net = Net()
    before = duet_json("dev", "show", "mux0")[0]
    refused("m", "dev", "set", "mux0", "local", "2001:db8::1", because=OFF)
    refused("m", "vip", "set", "mux0", "2001:db8:f::1", "dip", dip(1), because=OFF)
    refused("m", "vip", "set", "mux0", VIP, "dip", dip(1), "2001:db8::2", because=OFF)
    equal(duet_json("dev", "show", "mux0")[0], before, "the device")
    net.vip([dip(1)])
    refused("m", "vip", "set", "mux0", VIP, "dip", "2001:db8::2", because=OFF)
    frame = net.exchange(ip4(CLIENT, VIP, 6, tcp(1000, 80)))
    check(frame and outer_dst(frame) == dip(1), "IPv4 is balanced as ever")
    duet("dev", "set", "mux0", "local", "none")


@test
def packets():
    """IPv6 packets by every way in: on a port, by a route, in a tunnel to a TIP, garbage"""
    net, before = Net(), tainted()
    net.vip([dip(1)])
    duet("vip", "set", "mux0", "203.0.113.9", "kind", "tip", "dip", dip(2), "192.0.2.9")
    v6 = [ip6("2001:db8::1", "2001:db8::2", 17, struct.pack("!HHHH", 1, 2, 8 + size, 0) + b"x" * size, hop) for size in (0, 1300, 1440) for hop in (0, 1, 64)]
    for packet in v6:
        net.c.send(net.m_mac + net.c_mac + b"\x86\xdd" + packet)
        for source in ("10.2.0.99", "10.2.0.98"):
            net.send(ip4(source, "203.0.113.9", 41, packet[:1480]))
        with inside("m"), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.sendto(packet, ("mux0", 0x86dd))
    with inside("m"):
        garbage(200, "mux0")
    batch("m", f"route add {VIP}/32 dev mux0\nroute add 203.0.113.77/32 dev mux0\n")
    for target in (VIP, "203.0.113.77"):
        with inside("m"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", (target, 9))
    net.send(ip4(CLIENT, VIP, 17, udp(CLIENT, VIP, 1, 2), ttl=1))
    until(lambda: verdicts()["ttl"] > 0, "the last packet is counted")
    equal(tainted(), before, "the kernel's taint")
    run("ip", "-n", "m", "link", "del", "mux0")


if __name__ == "__main__":
    main()
