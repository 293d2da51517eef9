#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The IPv6 roles of bird-conf as they are installed (examples tor1 and smux1), run: triggers, sessions, filters, drain."""
import json
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "agents"))
from lib import CLEANUP, TOP, Daemon, check, equal, folder, main, namespace, run, test, until  # noqa: E402

TOR, SMUX = "duet-t-tor6", "duet-t-smux6"
LINK = {TOR: ("swp3", "2001:db8:1001:200::a/64", "2001:db8:254::7/128"), SMUX: ("eth0", "2001:db8:1001:200::1/64", "2001:db8:254:1::1/128")}
VIP, AGGREGATE = "2001:db8:113::5", "2001:db8:113::/64"


def routes(ns, table="main"):
    text = run("ip", "-n", ns, "-6", "-j", "route", "show", "table", str(table), ok=False)
    return {r["dst"]: r for r in (json.loads(text) if "]" in text else []) if r.get("protocol") == "bird"}


def start(ns, example):
    at = os.path.join(folder(), "bird")
    conf = os.path.join(TOP, "bird-conf")
    shutil.copytree(os.path.join(conf, "examples", example), at)
    shutil.copytree(os.path.join(conf, "duet"), os.path.join(at, "duet"))
    for name in ("switch.conf", "switch6.conf", "smux.conf", "smux6.conf", "examples/site.conf", "examples/site6.conf"):
        shutil.copy(os.path.join(conf, name), at)
    with open(os.path.join(at, "bird.conf"), encoding="ascii") as f:
        text = f.read().replace("log syslog { warning, error, fatal, bug, auth, remote, info }", "log stderr all")
    with open(os.path.join(at, "bird.conf"), "w", encoding="ascii") as f:
        f.write(text + 'include "ipv6.conf";\n')
    daemon = Daemon(ns, f"bird-{example}", "bird", "-f", "-c", f"{at}/bird.conf", "-s", f"{at}/bird.ctl")
    CLEANUP.append(daemon.remove)
    return f"{at}/bird.ctl"


def trigger(ns, prefix, proto=199):
    run("ip", "-n", ns, "-6", "route", "replace", prefix, "dev", "duet0", "table", "199", "proto", str(proto))


@test
def roles():
    """an SMux's aggregate and a switch's VIP arrive where they should, in the right form, and nothing else does"""
    for ns in LINK:
        namespace(ns)
    run("ip", "-n", TOR, "link", "add", "swp3", "type", "veth", "peer", "name", "eth0", "netns", SMUX)
    for ns, (port, address, own) in LINK.items():
        run("ip", "-n", ns, "addr", "add", address, "dev", port, "nodad")
        run("ip", "-n", ns, "addr", "add", own, "dev", "lo")
        run("ip", "-n", ns, "link", "set", port, "up")
        run("ip", "-n", ns, "link", "add", "duet0", "type", "ifb")
        run("ip", "-n", ns, "link", "set", "duet0", "up")
    tor, smux = start(TOR, "tor1"), start(SMUX, "smux1")
    trigger(SMUX, AGGREGATE)
    trigger(SMUX, VIP)		# an SMux may not
    trigger(TOR, VIP)
    trigger(TOR, "2001:db8:9::1")	# no VIP
    until(lambda: AGGREGATE in routes(TOR), "the ToR has the SMux's aggregate", 60)
    equal(routes(TOR)[AGGREGATE].get("prefsrc"), "2001:db8:254::7", "source of what the ToR sends there")
    check(AGGREGATE in routes(TOR, 201), "and so has the table for packets from above")
    until(lambda: "2001:db8:254::7" in routes(SMUX), "the SMux knows the ToR", 60)
    check(VIP not in routes(SMUX), "no VIP is told to an SMux")
    text = run("birdc", "-s", smux, "show", "route", "export", "tor1_6")
    check(AGGREGATE in text and f"{VIP}/128" not in text, f"what the SMux says: {text}")
    text = run("birdc", "-s", tor, "show", "route", "table", "duet6")
    check(f"{VIP}/128" in text and "2001:db8:9::1" not in text, f"what the switch learned: {text}")
    trigger(SMUX, AGGREGATE, 198)
    until(lambda: "(65535,0)" in run("birdc", "-s", tor, "show", "route", "all", "for", AGGREGATE), "drain carries the community", 60)
    run("ip", "-n", SMUX, "link", "set", "duet0", "down")
    until(lambda: AGGREGATE not in routes(TOR), "the device goes, and the aggregate with it", 60)


if __name__ == "__main__":
    main()
