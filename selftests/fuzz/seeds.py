#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""seeds.py DIR - what the fuzzers begin with, a folder each below DIR: the golden packets and their configurations, a
file with every kind of value in it, models and VIPs of the engine's own tests, traces; and what was found before (cases/)."""
import json
import os
import random
import shutil
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(os.path.dirname(HERE), "packets"), os.path.join(os.path.dirname(HERE), "controller"), os.path.join(os.path.dirname(HERE), "agents")]
import messages  # noqa: E402 pylint: disable=wrong-import-position
import packets  # noqa: E402 pylint: disable=wrong-import-position
import test_engine as engine  # noqa: E402 pylint: disable=wrong-import-position

CONF = ("[a]\nstr = text\nother =\nnum = 0x10\nsmall = 9\n[b]\nflag = yes\naddr = 192.0.2.1\nprefix = 203.0.113.0/24\nlisten = [::1]:8470\n",
        "[a]\nstr=x ; comment\n[b]\nflag=no\naddr=2001:db8::1\nprefix=2001:db8::/32\nlisten=192.0.2.1:80\n",
        "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::/32", "192.0.2.0/24", "192.0.2.1:80", "[2001:db8::1]:443")

WORDS = {"vip": ('"vip"', '"kind"', '"tip"', '"fragments"', '"hash"', '"oversize"', '"refuse"', '"all_down"', '"reject"', '"pass"', '"rules"',
                 '"proto"', '"port"', '"fields"', '"src-port"', '"src"', '"dips"', '"address"', '"weight"', '"state"', '"down"', '"drain"',
                 '"8000-8080"', '"203.0.113.1"', '"10.2.0.11"', '"2001:db8::1"', '"tcp"', '"sctp"'),
         "host": ('"vip"', '"dip"', '"delivery"', '"lo"', '"nat"', '"virtual"', '"targets"', '"address"', '"weight"', '"ports"', '"proto"', '"tcp"',
                  '"udp"', '"port"', '"to"', '"checks"', '"type"', '"http"', '"https"', '"icmp"', '"command"', '"path"', '"body"', '"host"', '"initial"',
                  '"interval_ms"', '"timeout_ms"', '"rise"', '"fall"', '"expect"', '"203.0.113.1"', '"10.1.1.1"', '"2001:db8::1"', "65536", "-1", "1e9"),
         "conf": ("[a]\\x0a", "[b]\\x0a", "str = ", "other = ", "num = ", "small = ", "flag = ", "addr = ", "prefix = ", "listen = ", "::ffff:",
                  "/32", "/128", "[::1]:80", "\\xef\\xbb\\xbf", ";", "#"),
         "plan": ('"model"', '"vips"', '"current"', '"options"', '"switches"', '"links"', '"servers"', '"name"', '"role"', '"core"', '"agg"', '"tor"',
                  '"border"', '"candidate"', '"failed"', 'true', '"tables"', '"hosts"', '"rules"', '"members"', '"tunnels"', '"a"', '"b"', '"mbps"',
                  '"address"', '"switch"', '"traffic"', '"sources"', '"internet"', '"dips"', '"weight"', '"proto"', '"port"', '"tips"', '"go-on"',
                  '"local-search"', '"only"', '"exclude"', '"delta"', '"sticky"', '"link-share"', '"smux"', "-1", "1e300", "1e-300", "4294967295"),
         "trace": ('"containers"', '"tors"', '"aggs"', '"cores"', '"planes"', '"servers"', '"tables"', '"tunnels"', '"hosts"', '"members"',
                   '"tor-agg-mbps"', '"agg-core-mbps"', '"border-mbps"', "border:", "tor1:", "agg1:", "core1:", " - ", "1e9", "1e-300", "#")}

TRACES = (({"containers": 2, "tors": 2, "aggs": 2, "cores": 2, "planes": 1}, ("0 10.0.0.1 120.5 0 border:0.3,tor1:0.5,tor2:0.2 tor3:2,tor4:1",
                                                                                "0 10.0.0.2 7000 1 tor1:1 tor2:1", "1 10.0.0.1 130 0 - -",
                                                                                "2 10.0.0.2 1e4 1 tor4:2 -")),
          ({"containers": 3, "tors": 3, "aggs": 4, "cores": 4, "planes": 2, "tables": {"tunnels": 4, "hosts": 9}},
           ("# tables so small that TIPs are needed", "0 10.0.0.1 900 0 border:1 tor1:3,tor4:5,tor7:3", "0 10.0.0.2 800 2 agg1:1,core2:2 tor9:4",
            "1 10.0.0.1 90 0 border:2,tor3:1 tor1:3")),
          ({"containers": 1, "tors": 4, "aggs": 2, "cores": 1, "planes": 1, "tor-agg-mbps": 100, "agg-core-mbps": 200, "border-mbps": 1000,
            "servers": 8, "tables": {"rules": 1, "members": 3}}, ("0 a 150 1 border:1 tor1:1", "0 b 90 1 tor1:1 tor1:1,tor2:2", "0 c 10 0 tor4:1 tor3:9")))


HOSTS = ({"vip": "203.0.113.1", "dip": "10.1.1.1", "delivery": "nat", "ports": [{"proto": "tcp", "port": 80, "to": 8080}],
          "checks": [{"type": "http", "port": 80, "path": "/up", "expect": 204, "body": "ok", "host": "web"}, {"type": "tcp", "rise": 3, "fall": 1}]},
         {"vip": "203.0.113.2", "dip": "10.1.1.1", "delivery": "virtual", "targets": [{"address": "10.9.0.2", "weight": 2}, {"address": "10.9.0.1"},
                                                                                     {"address": "10.9.0.3", "weight": 0}],
          "checks": [{"type": "command", "command": "/bin/true", "initial": "up"}, {"type": "icmp", "interval_ms": 10, "timeout_ms": 5}]},
         {"vip": "2001:db8:113::1", "dip": "2001:db8:1::1", "delivery": "nat", "targets": [{"address": "2001:db8:9::1"}],
          "ports": [{"proto": "udp", "port": 53}, {"proto": "tcp", "port": 53, "to": 5353}], "checks": [{"type": "https", "port": 443, "body": "é"}]},
         {"vip": "203.0.113.3", "dip": "10.1.1.1", "checks": []})


def write(folder, name, data):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def plans(rng):
    """Requests for plans, as the controller's tests make them: the testbed and random fabrics, with every option."""
    for number in range(12):
        model = engine.testbed() if number < 2 else engine.random_fabric(rng)
        model["servers"] = model["servers"][:15]
        vips = engine.random_vips(rng, model, rng.randint(1, 6), rng.choice([1, 10]))
        names = [s["name"] for s in model["switches"]]
        options = {"tips": True, "go-on": number % 2 == 0, "local-search": number % 3, "exclude": names[:number % 2], "delta": 0.01}
        if number % 4 == 3:
            options["only"] = [vips[0]["vip"]]
        yield {"model": model, "vips": vips, "options": options, "current": {v["vip"]: rng.choice(names) for v in vips[::2]}}


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
    for number, host in enumerate(HOSTS):
        write(f"{top}/host", str(number), json.dumps(host).encode())
    for number, state in enumerate((messages.state(), messages.state("2001:db8::1", "2001:db8:1::1", "2001:db8:2::/64")[:3])):
        write(f"{top}/message", str(number), messages.stream(state))
    for number, plan in enumerate(plans(random.Random(7))):
        write(f"{top}/plan", str(number), json.dumps(plan, separators=(",", ":")).encode())
    for number, (fabric, lines) in enumerate(TRACES):
        write(f"{top}/trace", str(number), "\n".join((json.dumps(fabric), *lines, "")).encode())
    shutil.copytree(os.path.join(HERE, "cases"), top, dirs_exist_ok=True)
    for name, words in WORDS.items():
        lines = ('"{}"\n'.format(word.replace('"', '\\"')) for word in words)
        write(top, f"{name}.dict", "".join(lines).encode())


if __name__ == "__main__":
    main(sys.argv[1])
