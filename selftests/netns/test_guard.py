#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What can't be a VIP, a DIP or a tunnel's source: addresses of no one machine, and those that are taken."""
import errno
import ipaddress
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import *  # noqa: E402,F403 pylint: disable=wildcard-import,unused-wildcard-import
from lib import LOCAL, VIP, Failed, Net, batch, check, dip, duet, duet_json, equal, inside, main, refused, run, test, until
from genl import C, Genl, Refused, attr, nest, vip_attrs  # noqa: E402

VIP6, DIP6 = "2001:db8:113::1", "2001:db8:2::11"


def key(rule):
    return (rule.get("proto", 0), rule.get("port", 0), rule.get("port", 0))


def setup():
    Net()
    with inside("m"), open("/proc/sys/net/ipv6/conf/all/forwarding", "w", encoding="ascii") as f:
        f.write("1")	# only a router has the anycast address
    batch("m", "addr add 2001:db8:2::1/64 dev d0m nodad\naddr add 198.51.100.1/31 dev c0m\naddr add 198.51.100.9/32 dev lo\n"
          "link add mux1 type duet\n")
    duet("dev", "set", "mux1", "local", "192.0.2.1")
    duet("dev", "set", "mux0", "local", "2001:db8:254::1")
    with inside("m"):
        return Genl("mux0")


def packed(address):
    return ipaddress.ip_address(address).packed


def settings(ask):
    """What a change would change: generation, sources, entries in use."""
    have = nest(ask.command("DEV_GET")[0])
    return [have.get(C[f"DUET_A_{name}"]) for name in ("GENERATION", "LOCAL4", "LOCAL6", "USED")]


def no(ask, command, parts, words, error):
    before = settings(ask)
    try:
        ask.command(command, *parts)
    except Refused as e:
        check(all(w in e.sentence for w in words), f"{command}: the sentence {e.sentence!r} lacks one of {words}")
        equal(e.errno, error, f"error of {e.sentence!r}")
    else:
        raise Failed(f"{command}, which is to be refused for {words}, is accepted")
    equal(settings(ask), before, f"the device after {words}")


def vip_set(ask, vip, *dips):
    ask.command("VIP_SET", vip_attrs({"vip": vip, "rules": [{"dips": [{"address": d} for d in dips]}]}, key))


def no_vip(ask, vip, *words, error=errno.EADDRINUSE, dips=(dip(1),)):
    no(ask, "VIP_SET", [vip_attrs({"vip": vip, "rules": [{"dips": [{"address": d} for d in dips]}]}, key)], words, error)


CLASSES = (("0.0.0.0", "unspecified"), ("0.1.2.3", "unspecified"), ("127.0.0.1", "loopback"), ("127.255.0.1", "loopback"),
           ("169.254.1.1", "link-local"), ("224.0.0.1", "multicast"), ("239.1.1.1", "multicast"), ("240.0.0.1", "reserved"),
           ("255.255.255.255", "broadcast"), ("::", "unspecified"), ("::1", "loopback"), ("fe80::1", "link-local"),
           ("ff02::1", "multicast"), ("::2", "reserved"))


@test
def classes():
    """addresses of no one machine are refused as VIP, DIP and source, with the class"""
    ask = setup()
    for address, word in CLASSES:
        no_vip(ask, address, "VIP", address, word, error=errno.EINVAL)
        no_vip(ask, VIP, "DIP", address, word, error=errno.EINVAL, dips=(address,))
        if set(packed(address)) != {0}:		# all zero: none
            kind = "DUET_A_LOCAL4" if "." in address else "DUET_A_LOCAL6"
            no(ask, "DEV_SET", [attr(kind, packed(address))], ("local", address, word), errno.EINVAL)
    # the tool says the same
    refused("m", "vip", "set", "mux0", "169.254.1.1", "dip", dip(1), because="link-local")
    refused("m", "vip", "set", "mux0", VIP, "dip", "240.0.0.1", because="reserved")


@test
def machine():
    """an address of the machine, or of a subnet's broadcast, is refused as VIP; as DIP only the latter"""
    ask = setup()
    for address, name in (("10.1.0.1", "c0m"), ("10.2.0.1", "mux0"), ("198.51.100.1", "c0m"), ("198.51.100.9", "lo"), ("192.0.2.1", "mux1"),
                          ("2001:db8:2::1", "d0m"), ("2001:db8:254::1", "mux0")):
        no_vip(ask, address, "VIP", address, name)
    no_vip(ask, "10.1.0.255", "10.1.0.255", "broadcast", "c0m")
    no_vip(ask, "2001:db8:2::", "2001:db8:2::", "anycast")
    for address, word in (("10.2.0.255", "broadcast"), ("192.0.2.1", "mux1"), (LOCAL, "mux0")):
        no_vip(ask, VIP, "DIP", address, word, dips=(dip(1), address))
    no_vip(ask, VIP6, "DIP", "2001:db8:254::1", "mux0", dips=("2001:db8:254::1",))
    no_vip(ask, VIP6, "DIP", "2001:db8:2::", "anycast", dips=("2001:db8:2::",))
    no_vip(ask, VIP, "DIP", VIP, "itself", error=errno.EINVAL, dips=(VIP,))
    # neighbours of those, and what is on this machine, are fine
    for vip, to in (("198.51.100.0", dip(1)), ("198.51.100.2", "10.1.0.1"), ("10.1.0.0", dip(2)), (VIP6, DIP6), (VIP, "198.51.100.9")):
        vip_set(ask, vip, to)
    equal(len(duet_json("vip", "show", "mux0")), 5, "VIPs")
    # a VIP that was set stays settable
    vip_set(ask, VIP, "198.51.100.9", dip(3))


@test
def other_way():
    """a tunnel's source can't be a VIP or a DIP, of any mux of the namespace"""
    ask = setup()
    vip_set(ask, VIP, dip(1))
    vip_set(ask, VIP6, DIP6)
    duet("vip", "set", "mux1", "203.0.113.2", "dip", dip(2))
    for kind, address, words in (("DUET_A_LOCAL4", VIP, ("VIP", "mux0")), ("DUET_A_LOCAL4", dip(1), ("DIP", "mux0")),
                                 ("DUET_A_LOCAL4", "203.0.113.2", ("VIP", "mux1")), ("DUET_A_LOCAL4", dip(2), ("DIP", "mux1")),
                                 ("DUET_A_LOCAL4", "10.2.0.255", ("broadcast", "d0m")),
                                 ("DUET_A_LOCAL6", VIP6, ("VIP", "mux0")), ("DUET_A_LOCAL6", DIP6, ("DIP", "mux0"))):
        no(ask, "DEV_SET", [attr(kind, packed(address))], ("local address", address, *words), errno.EADDRINUSE)
    duet("vip", "del", "mux0", VIP)
    duet("dev", "set", "mux0", "local", VIP)
    duet("dev", "set", "mux0", "local", VIP)	# the same again
    no_vip(ask, VIP, "VIP", VIP, "mux0")


@test
def vrfs():
    """an address and a broadcast address in a VRF of a port are refused, too"""
    ask = setup()
    batch("m", "link add red type vrf table 100\nlink set red up\nlink set c0m master red\n")
    no_vip(ask, "10.1.0.1", "10.1.0.1", "c0m")
    no_vip(ask, "10.1.0.255", "10.1.0.255", "broadcast", "c0m")


@test
def later():
    """an address that is added when the VIP is there is warned of; on lo with host scope it is a server's, not the machine's"""
    ask = setup()
    vip_set(ask, VIP, dip(1))
    vip_set(ask, VIP6, DIP6)
    mark = run("dmesg")[1].count("is a VIP")
    batch("m", f"addr add {VIP}/32 dev lo scope host\naddr add {VIP6}/128 dev lo nodad preferred_lft 0\n")
    equal(run("dmesg")[1].count("is a VIP"), mark, "warnings of what a server does")
    vip_set(ask, VIP, dip(1), dip(2))
    duet("vip", "del", "mux0", "all")
    vip_set(ask, VIP, dip(1))
    vip_set(ask, VIP6, DIP6)
    batch("m", f"addr del {VIP}/32 dev lo\naddr del {VIP6}/128 dev lo\n")
    batch("m", f"addr add {VIP}/32 dev c0m\naddr add {VIP6}/128 dev c0m nodad\n")
    for vip in (VIP, VIP6):
        until(lambda: any(f"{vip}, now an address of c0m, is a VIP" in line for line in run("dmesg")[1].splitlines()), f"a warning of {vip}")
    duet("vip", "del", "mux0", "all")
    no_vip(ask, VIP, VIP, "c0m")
    no_vip(ask, VIP6, VIP6, "c0m")


if __name__ == "__main__":
    main()
