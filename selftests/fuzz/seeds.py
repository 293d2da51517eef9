#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""seeds.py DIR - what the fuzzers begin with, below DIR/packet, DIR/vip and DIR/conf: the golden packets and their
configurations, and a file with every kind of value in it."""
import json
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "packets"))
import packets  # noqa: E402 pylint: disable=wrong-import-position

CONF = ("[a]\nstr = text\nother =\nnum = 0x10\nsmall = 9\n[b]\nflag = yes\naddr = 192.0.2.1\nprefix = 203.0.113.0/24\nlisten = [::1]:8470\n",
        "[a]\nstr=x ; comment\n[b]\nflag=no\naddr=2001:db8::1\nprefix=2001:db8::/32\nlisten=192.0.2.1:80\n",
        "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::/32", "192.0.2.0/24", "192.0.2.1:80", "[2001:db8::1]:443")

WORDS = {"vip": ('"vip"', '"kind"', '"tip"', '"fragments"', '"hash"', '"oversize"', '"refuse"', '"all_down"', '"reject"', '"pass"', '"rules"',
                 '"proto"', '"port"', '"fields"', '"src-port"', '"src"', '"dips"', '"address"', '"weight"', '"state"', '"down"', '"drain"',
                 '"8000-8080"', '"203.0.113.1"', '"10.2.0.11"', '"2001:db8::1"', '"tcp"', '"sctp"'),
         "conf": ("[a]\\x0a", "[b]\\x0a", "str = ", "other = ", "num = ", "small = ", "flag = ", "addr = ", "prefix = ", "listen = ", "::ffff:",
                  "/32", "/128", "[::1]:80", "\\xef\\xbb\\xbf", ";", "#")}


def write(folder, name, data):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def main(top):
    vips = set()
    for number, case in enumerate(packets.load()):
        family = {0x0800: 0, 0x86dd: 1}.get(case.ethertype)
        if family is not None:
            write(f"{top}/packet", case.name, struct.pack("!HB", number, family) + case.packet)
        vips |= {json.dumps(vip, sort_keys=True) for vip in case.vips}
    for number, vip in enumerate(sorted(vips)):
        write(f"{top}/vip", str(number), vip.encode())
    for number, text in enumerate(CONF):
        write(f"{top}/conf", str(number), text.encode())
    for name, words in WORDS.items():
        lines = ('"{}"\n'.format(word.replace('"', '\\"')) for word in words)
        write(top, f"{name}.dict", "".join(lines).encode())


if __name__ == "__main__":
    main(sys.argv[1])
