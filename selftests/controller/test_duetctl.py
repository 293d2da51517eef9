#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What people type and read: configuration and topology with something wrong
in them, and duetctl."""
import json
import os
import subprocess
import sys

from agents import Mux, Watch
from fabric import BIN, SWITCHES, free_ports, rest, run_test, topology, until

SERVERS = {"srv1": ("10.1.1.1", "tor1"), "srv2": ("10.2.2.1", "tor2"), "srv3": ("10.3.3.1", "tor3")}


def check(place, dot, extra="", drop=()):
    """duet-controller --check-config: exit code and what it said"""
    lines = {"listen": "127.0.0.1:1", "insecure": "yes", "store": "x.sqlite", "topology": place.write("bad.dot", dot), "aggregate": "203.0.113.0/24"}
    conf = place.write("bad.conf", "[controller]\n" + "".join(f"{k}={v}\n" for k, v in lines.items() if k not in drop) + extra)
    got = subprocess.run([f"{BIN}/duet-controller", "--check-config", "-c", conf], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, timeout=20)
    return got.returncode, got.stdout


def key_file(place, text, mode):
    path = place.write(f"key{len(text)}-{mode:o}", text + "\n")
    os.chmod(path, mode)
    return path


def topologies(tap, place):
    good = topology({"tor1": "http://127.0.0.1:1", "smux1": "http://127.0.0.1:2"}, SERVERS)
    code, said = check(place, good)
    tap.ok(code == 0 and ": ok" in said, "a good topology is ok", said)
    link = '"tor1":"swp1" -- "agg1":"swp1" [speed="10G"]'
    assert link in good
    for what, dot, words in (
            ("a link to nowhere", good.replace(link, '"tor1":"swp1" -- "agg9":"swp1" [speed="10G"]'), ["tor1", "agg9", "nowhere"]),
            ("a port used twice", good.replace(link, link.replace("swp1", "swp2", 1)), ['"tor1":"swp2"', "two links"]),
            ("a link with no port", good.replace(link, '"tor1" -- "agg1":"swp1" [speed="10G"]'), ["tor1", "port"]),
            ("a link with no speed", good.replace(link, '"tor1":"swp1" -- "agg1":"swp1"'), ["tor1", "agg1", "speed"]),
            ("a speed that is none", good.replace(link, link.replace("10G", "fast")), ["fast"]),
            ("prefixes that are none", good.replace("role=tor, container=1", 'role=tor, container=1, prefixes="10.1.1.1/24"', 1), ["tor1", "10.1.1.1/24"]),
            ("a prefix of two racks", good.replace("role=tor, ", 'role=tor, prefixes="10.1.0.0/24", '), ["tor1", "tor2", "10.1.0.0/24"]),
            ("prefixes of no rack", good.replace("role=agg, ", 'role=agg, prefixes="10.1.0.0/24", ', 1), ["agg1", "prefixes"]),
            ("a role that is none", good.replace("role=tor, container=1", "role=spine, container=1", 1), ["spine", "core"]),
            ("no container", good.replace("role=agg, container=1", "role=agg", 1), ["agg1", "container"]),
            ("a bad address", good.replace('local="10.254.0.7"', 'local="10.254.0.700"'), ["tor1", "10.254.0.700"]),
            ("an address twice", good.replace("10.2.2.1", "10.1.1.1"), ["srv1", "srv2", "10.1.1.1"]),
            ("an agent that is no URL", good.replace('agent="http://127.0.0.1:1"', 'agent="tor1"'), ["tor1", "URL"]),
            ("a mux with no address", good.replace(', local="10.254.0.7"', ""), ["tor1", "local"]),
            ("an address inside the aggregate", good.replace("10.1.1.1", "203.0.113.9"), ["srv1", "203.0.113.9", "203.0.113.0/24"]),
            ("an SMux with no agent", good.replace('agent="http://127.0.0.1:2", ', ""), ["smux1", "agent"]),
            ("a server on no ToR", good.replace('"srv2":"eth0" --', '"srv1":"eth1" --'), ["srv1", "tor1", "tor2"]),
            ("a server on a core", good.replace('"srv2":"eth0" -- "tor2":"swp3"', '"srv2":"eth0" -- "core1":"swp9"'), ["srv2", "core1"]),
            ("a number with no quotes", good.replace('"10G"', "10G", 1), ["quotes"]),
            ("no graph", "this is not a graph", ["no graph"]),
            ("an empty file", "", ["empty"]),
            ("a digraph", good.replace("graph", "digraph").replace("--", "->"), ["digraph"])):
        code, said = check(place, dot)
        tap.ok(code == 1 and "bad.dot" in said and all(w in said for w in words), f"topology with {what}: refused", said)
    for what, extra, drop, words in (
            ("a seed", "seed=42\n", (), ["seed", "128 bits", "key-file"]),
            ("a key file that isn't there", "key-file=/nowhere/key\n", (), ["/nowhere/key"]),
            ("a key file with no key", f"key-file={key_file(place, 'short', 0o600)}\n", (), ["32 hex digits"]),
            ("a key file of zeros", f"key-file={key_file(place, '0' * 32, 0o600)}\n", (), ["32 hex digits"]),
            ("a key file that others can read", f"key-file={key_file(place, 'ab' * 16, 0o644)}\n", (), ["0644", "chmod 600"]),
            ("a key file that a group can read", f"key-file={key_file(place, 'ab' * 16, 0o640)}\n", (), ["0640", "chmod 600"]),
            ("an unknown key", "colour=red\n", (), ["colour"]),
            ("no store", "", ("store",), ["store"]),
            ("a bad aggregate", "aggregate=203.0.113.1/24\n", ("aggregate",), ["203.0.113.1/24"]),
            ("an aggregate of everything", "aggregate=0.0.0.0/0\n", ("aggregate",), ["0.0.0.0/0", "wider"]),
            ("an aggregate of link-local addresses", "aggregate=169.254.7.0/24\n", ("aggregate",), ["169.254.7.0/24", "link-local"]),
            ("an IPv6 aggregate of multicast groups", "aggregate6=ff02::/64\n", (), ["ff02::/64", "multicast"]),
            ("an unknown role", "role=king\n", (), ["king"]),
            ("a part whose place is not told", "role=updater\n", (), ["monitor"]),
            ("a bad port", "listen=127.0.0.1:99999\n", ("listen",), ["99999"])):
        code, said = check(place, good, extra, drop)
        tap.ok(code == 1 and all(w in said for w in words), f"configuration with {what}: refused", said)


def commands(tap, place):
    watch = Watch()
    ports = free_ports(len(SWITCHES) + 2)
    muxes = {n: Mux(n, ports.pop(), watch).start() for n in SWITCHES}
    muxes["smux1"] = Mux("smux1", ports.pop(), watch, smux=True, tunnels=0).start()
    url = f"http://127.0.0.1:{ports[0]}"
    dot = place.write("topology.dot", topology({n: m.url for n, m in muxes.items()}, SERVERS))
    conf = place.write("c.conf", f"[controller]\nname=ctl\nlisten=127.0.0.1:{ports[0]}\ninsecure=yes\nstore={place.path('s.sqlite')}\n"
                                 f"topology={dot}\naggregate=203.0.113.0/24\n")

    def ctl(*args, env=None):
        return subprocess.run([f"{BIN}/duetctl", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=90,
                              env=dict(os.environ, DUETCTL_URL=url, **(env or {})))

    def ok(what, got, *words, code=0, where="stdout"):
        text = getattr(got, where)
        return tap.ok(got.returncode == code and all(w in text for w in words), what, got.returncode, got.stdout, got.stderr)

    ok("genkey needs no controller", ctl("genkey"))
    tap.ok(len({ctl("genkey").stdout for _ in range(3)}) == 3 and len(ctl("genkey").stdout) == 33, "genkey: another key each time")
    ok("no controller: exit code 3 and a sentence", ctl("status"), url, code=3, where="stderr")
    child = place.run(f"{BIN}/duet-controller", "-c", conf)
    until(lambda: rest("GET", url + "/v1/status")["muxes"]["total"] == 11)
    ok("status says what is missing", ctl("status"), "no configuration", code=1)
    rules = [{"proto": "tcp", "port": 80, "dips": [{"address": "10.1.1.1"}, {"address": "10.2.2.1", "weight": 3}]},
             {"proto": "udp", "port": "5000-5010", "dips": [{"address": "10.3.3.1"}]}]
    vips = [{"vip": "203.0.113.1", "name": "web", "traffic": {"mbps": 900, "sources": {"tor1": 0.5, "internet": 0.5}}, "rules": rules},
            {"vip": "203.0.113.20", "name": "dns", "rules": [{"dips": [{"address": "10.3.3.1"}]}]}]
    file = place.write("vips.json", json.dumps({"vips": vips}))
    ok("apply", ctl("apply", "-f", file), "2 VIPs added, 0 changed, 0 removed, 0 unchanged")
    ok("apply again", ctl("apply", "-f", file), "0 VIPs added, 0 changed, 0 removed, 2 unchanged")
    ok("apply of a file that is no JSON names the line", ctl("apply", "-f", place.write("bad.json", "{\n\"vips\": [\n}")),
       "bad.json:3", code=1, where="stderr")
    ok("apply of no file", ctl("apply", "-f", place.path("none.json")), "none.json", code=1, where="stderr")
    bad = dict(vips[1], rules=[{"dips": []}])
    ok("apply of a VIP with no DIPs", ctl("apply", "-f", place.write("bad.json", json.dumps({"vips": [bad]}))),
       "203.0.113.20", "no DIPs", code=1, where="stderr")
    ok("assign --dry-run", ctl("assign", "--dry-run"), "203.0.113.1 ", "lowest MRU")
    ok("and nothing moved", ctl("moves"), "MOVE")
    tap.ok(all(a["mux"] == "smux" for a in json.loads(ctl("-j", "assignment").stdout)["assignment"]), "really nothing")
    ok("assign --wait", ctl("assign", "--wait"), "smux to ")
    place_of = {a["vip"]: a["mux"] for a in json.loads(ctl("--json", "assignment").stdout)["assignment"]}
    tap.ok("smux" not in place_of.values(), "both VIPs are on switches", place_of)
    got = ctl("vip", "list").stdout.splitlines()
    tap.ok(len(got) == 3 and len({line.index("203") for line in got[1:]}) == 1 and
           got[1].index("web") == got[2].index("dns") == got[0].index("NAME"), "vip list: columns line up", *got)
    ok("vip show", ctl("vip", "show", "203.0.113.1"), "tcp/80", "udp/5000-5010", "10.2.2.1", "because", place_of["203.0.113.1"])
    ok("vip show of none", ctl("vip", "show", "203.0.113.2"), "203.0.113.2", code=1, where="stderr")
    ok("vip show of nonsense", ctl("vip", "show", "a/b c"), "a/b c", code=1, where="stderr")
    ok("dip list", ctl("dip", "list"), "10.3.3.1", "up")
    ok("dip list of a VIP", ctl("dip", "list", "203.0.113.1"), "10.3.3.1", "tcp/80")
    ok("dip list of none", ctl("dip", "list", "203.0.113.2"), "203.0.113.2", code=1, where="stderr")
    ok("dip release", ctl("dip", "release", "203.0.113.1", "10.3.3.1"), "was not damped")
    ok("dip release of no DIP", ctl("dip", "release", "203.0.113.1", "10.3.3.9"), "10.3.3.9", code=1, where="stderr")
    ok("mux list", ctl("mux", "list"), "core1", "in-sync", "smux1")
    ok("host list", ctl("host", "list"), "HOST")
    ok("topology", ctl("topology"), "core2", "agg4", "40000")
    ok("move --wait", ctl("move", "203.0.113.1", "smux", "--wait"), "to smux in")
    ok("move back", ctl("-w", "move", "203.0.113.1", place_of["203.0.113.1"]), "to " + place_of["203.0.113.1"])
    ok("move to where it is", ctl("move", "203.0.113.1", place_of["203.0.113.1"]), "there already")
    ok("move to nowhere", ctl("move", "203.0.113.1", "tor7"), "tor7", code=1, where="stderr")
    ok("moves", ctl("moves", "-n", "2"), "done", "smux")
    muxes["core2" if place_of["203.0.113.20"] != "core2" else "core1"].refuse = "tunnelling table full: 512 of 512 entries used"
    full = next(n for n, m in muxes.items() if m.refuse)
    ok("a move to a full switch", ctl("move", "203.0.113.20", full, "--wait"), "512 of 512", code=1, where="stderr")
    ok("events", ctl("events", "-n", "5"), "move-failed", "512 of 512")
    ok("vip delete", ctl("vip", "delete", "203.0.113.20", "--wait"), "203.0.113.20")
    tap.ok(until(lambda: not any("203.0.113.20" in m.vips for m in muxes.values())), "and it is gone")
    ok("status when all is well but for DIPs that no host agent checks",
       until(lambda: (s := ctl("status")) and s.stdout.count("\nwarning") == 0 and s.stdout.startswith("warning  dip-no-host") and s) or ctl("status"),
       "dip-no-host", code=1)
    tap.ok(json.loads(ctl("-j", "status").stdout)["ok"] is True, "and in JSON")
    ok("a switch is drained", ctl("drain", "switch", "tor1"), "drained")
    ok("and undrained", ctl("undrain", "switch", "tor1"), "in use")
    ok("undrained twice: told", ctl("undrain", "switch", "tor1"), code=1)
    ok("stop", ctl("stop"), "nothing moves")
    tap.ok("stopped by the operator" in ctl("status").stdout, "which status shows")
    ok("resume", ctl("resume"), "go on")
    ok("no such move to abort: told", ctl("abort", "99999"), code=1)
    for args in (("drain",), ("abort",), ("stop", "now"), (), ("fly",), ("vip",), ("move", "203.0.113.1"), ("apply",), ("status", "now"), ("-c", "ftp://x", "status"), ("-q",)):
        ok(f"duetctl {' '.join(args)}: wrong usage", ctl(*args), code=5 if "status" in args else 2)
    ok("--help", ctl("--help"), "usage:", "exit code")
    metrics = rest("GET", url + "/metrics")
    tap.ok('duet_controller_vips{on="hmux"} 1' in metrics and "# TYPE" in metrics, "metrics", metrics)
    tap.refused(lambda: rest("GET", url + "/v1/nothing"), 404, [], "an unknown path: 404")
    tap.refused(lambda: rest("POST", url + "/v1/status", {}), 405, [], "a wrong method: 405")
    second = subprocess.run([f"{BIN}/duet-controller", "-c", place.write("d.conf", open(conf, encoding="utf-8").read().replace("s.sqlite", "t.sqlite"))],
                            stderr=subprocess.PIPE, text=True, timeout=20)
    tap.ok(second.returncode == 1 and str(ports[0]) in second.stderr, "a port in use: told", second.returncode, second.stderr)
    place.stop(child)
    with open(place.path("s.sqlite"), "r+b") as f:
        f.seek(0)
        f.write(b"garbage " * 1024)
    broken = subprocess.run([f"{BIN}/duet-controller", "-c", conf], stderr=subprocess.PIPE, text=True, timeout=20)
    tap.ok(broken.returncode == 1 and "s.sqlite" in broken.stderr, "a store that is none: told and left alone", broken.stderr)


def steps(tap, place):
    topologies(tap, place)
    commands(tap, place)


if __name__ == "__main__":
    sys.exit(run_test(steps))
