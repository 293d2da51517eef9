#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-mux-agent on the module: what it does there that its simulated data plane can't show."""
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "agents"))
from lib import BIN, check, equal, main, run, test, until  # noqa: E402
from muxlab import NS, PEER, VIPS, Lab, wish  # noqa: E402

SLOW = 120	# seconds; the machine is emulated


def device(name="hmux0"):
    return json.loads(run("ip", "netns", "exec", NS, f"{BIN}/duet", "-j", "dev", "show", name))[0]


def is_up():
    return "UP" in json.loads(run("ip", "-n", NS, "-j", "link", "show", "hmux0"))[0]["flags"]


@test
def keepalive():
    """a killed agent's HMux goes down after its time and takes the announcements along; a stopped one's too; both come back"""
    lab = Lab(backend="kmod", ports="swp1", keepalive_ms=2000)
    lab.put(wish(VIPS[0]), wish("2001:db8:113::1", dips=("2001:db8:1::1",)))
    equal(device()["keepalive_ms"], 2000, "keepalive")
    until(lambda: VIPS[0] in lab.peer_routes(), "the neighbour has the route", SLOW)
    check(is_up(), "it is up while the agent lives")
    lab.daemons["agent"].kill()
    until(lambda: not is_up(), "the device goes down", SLOW)
    until(lambda: VIPS[0] not in lab.peer_routes(), "the neighbour lost the route", SLOW)
    equal(run("ip", "-n", NS, "-6", "route", "show", "table", "199", ok=False).strip(), "", "IPv6 triggers")
    lab.start("agent", NS)
    until(lab.answers, "the agent is back", SLOW)
    lab.put(wish(VIPS[0]))
    until(lambda: is_up() and VIPS[0] in lab.peer_routes(), "and so is the route", SLOW)
    pid = lab.daemons["agent"].child.pid
    os.kill(pid, signal.SIGSTOP)
    until(lambda: not is_up(), "a stopped agent's device goes down", SLOW)
    os.kill(pid, signal.SIGCONT)
    until(lambda: is_up() and VIPS[0] in lab.peer_routes(), "and comes back when it goes on", SLOW)
    for value, because in (("50", "keepalive"), ("600001", "keepalive")):
        said = run("ip", "netns", "exec", NS, "sh", "-c", f"{BIN}/duet dev set hmux0 keepalive {value} 2>&1 || true")
        check(because in said, f"keepalive {value}: {said}")
    # a device that goes while its time is running, many times
    for _ in range(20):
        run("ip", "-n", PEER, "link", "add", "k0", "type", "duet")
        run("ip", "netns", "exec", PEER, f"{BIN}/duet", "dev", "set", "k0", "keepalive", "100")
        run("ip", "-n", PEER, "link", "del", "k0")


@test
def clock():
    """the wall clock jumps by years, both ways: nobody minds, and nothing is held or dropped for it"""
    lab = Lab(bird=False, backend="kmod", hold_ms=1500, keepalive_ms=3000)
    lab.put(wish(VIPS[0]), wish(VIPS[1]))
    before = device()["generation"]
    for date in ("2031-05-05 05:05:05", "2001-01-01 01:01:01", "2026-11-25 00:00:00"):
        run("date", "-s", date)
        equal(lab.delete(VIPS[1])[0], 202, "status of DELETE")
        until(lambda: VIPS[1] not in lab.vips(), "removed after the hold time", SLOW)
        equal(lab.put_vip(wish(VIPS[1]))[0], 200, "status of PUT")
        check(is_up(), "the device is up")
    equal(device()["generation"], before + 6, "generation: one a change")
    equal(set(lab.triggers()), set(VIPS[:2]), "triggers")


@test
def restart():
    """2,000 VIPs: killed and started again it writes nothing to the kernel; a diff of one writes one"""
    lab = Lab(bird=False, backend="kmod", max_members=0xfffffffe, max_tunnels=0xfffffffe, keepalive_ms=0)
    vips = [wish(f"198.18.{i // 250}.{1 + i % 250}", dips=(f"10.1.1.{1 + i % 200}", f"10.1.2.{1 + i % 200}"), announce="no")
            for i in range(2000)]
    lab.put(*vips)
    generation = device()["generation"]
    lab.daemons["agent"].kill()
    lab.start("agent", NS)
    until(lab.answers, "the agent is back", SLOW)
    equal(set(lab.put(*vips)["changed"].values()), {0}, "changes")
    equal(device()["generation"], generation, "generation of the kernel's tables")
    vips[1000] = wish(vips[1000]["vip"], announce="no")
    equal(lab.put(*vips)["changed"]["replaced"], 1, "replaced")
    equal(device()["generation"], generation + 1, "generation")


@test
def drift():
    """what somebody does with `duet` by hand is found and repaired; an SMux has no keepalive unless told"""
    lab = Lab("smux", bird=False, backend="kmod")
    lab.put(wish(VIPS[0], announce="no"), wish(VIPS[1], announce="no"))
    equal(device()["keepalive_ms"], 0, "keepalive of an SMux")
    run("ip", "netns", "exec", NS, f"{BIN}/duet", "vip", "del", "hmux0", VIPS[0])
    run("ip", "netns", "exec", NS, f"{BIN}/duet", "vip", "set", "hmux0", VIPS[1], "dip", "10.1.9.9")
    run("ip", "netns", "exec", NS, f"{BIN}/duet", "vip", "set", "hmux0", VIPS[2], "dip", "10.1.9.9")
    until(lambda: lab.status()["drifts"] >= 3, "it is found", SLOW)
    until(lambda: sorted(lab.vips()) == VIPS[:2] and all(len(v["rules"][0]["dips"]) == 3 for v in lab.vips().values()), "and repaired", SLOW)


def trouble(lab):
    """of an agent that answers, also while it can't show its tables"""
    status, answer = lab.ask("GET", "/v1/status")
    return answer["trouble"] if status == 200 else answer["detail"]


def health(lab):
    try:
        return lab.ask("GET", "/healthz")[0]
    except OSError:
        return None


def ports():
    return set(device()["ports"])


def link(*words):
    run("ip", "-n", NS, "link", *words)


@test
def ports_come_and_go():
    """a port that is missing is shown and attached when it comes, also under its old name; the agent starts without it"""
    lab = Lab(bird=False, backend="kmod", ports="swp1, swp8 swp9")
    lab.put(wish(VIPS[0]))
    equal(ports(), {"swp1"}, "ports")
    check("swp8" in (trouble(lab) or "") and "no such link" in trouble(lab), f"trouble: {trouble(lab)}")
    seen = {p["port"]: (p["there"], p["attached"], p["reason"]) for p in lab.status()["links"]}
    equal(seen, {"swp1": (True, True, None), "swp8": (False, False, "there is no such link"), "swp9": (False, False, "there is no such link")}, "links")
    equal(lab.ask("GET", "/healthz")[0], 200, "the others' work goes on")
    for _ in range(2):	# the second is another link of the same name
        for name in ("swp8", "swp9"):
            link("add", name, "type", "dummy")
        until(lambda: ports() == {"swp1", "swp8", "swp9"}, "both are attached", SLOW)
        until(lambda: lab.status()["links"][2]["attached"] and "swp" not in (trouble(lab) or ""), "and shown", SLOW)
        link("del", "swp8")
        until(lambda: "swp8" in (trouble(lab) or ""), "a port that went is shown", SLOW)
        link("del", "swp9")
    link("add", "swp8", "type", "dummy")
    link("set", "swp8", "name", "swp9")
    until(lambda: "swp9" in ports(), "a link that was renamed into a port", SLOW)
    equal(list(lab.vips()), [VIPS[0]], "the VIP")
    equal(lab.status()["drifts"], 0, "drifts")


@test
def ports_by_hand():
    """ports and settings that somebody else changed are mended; with drift = report they are left, and shown"""
    lab = Lab(bird=False, backend="kmod", ports="swp1", drift="repair")
    link("add", "extra", "type", "dummy")
    duet = ("ip", "netns", "exec", NS, f"{BIN}/duet")
    run(*duet, "port", "del", "hmux0", "swp1")
    until(lambda: ports() == {"swp1"}, "detached by hand", SLOW)
    run(*duet, "port", "add", "hmux0", "extra")
    until(lambda: ports() == {"swp1"}, "attached by hand", SLOW)
    run(*duet, "dev", "set", "hmux0", "local", "10.254.0.99")
    until(lambda: device()["local"] == "10.254.0.7", "the tunnels' source", SLOW)
    lab.daemons["agent"].kill()
    link("del", "hmux0")
    with open(lab.conf, encoding="ascii") as f:
        conf = f.read()
    with open(lab.conf, "w", encoding="ascii") as f:
        f.write(conf.replace("drift=repair", "drift=report"))
    lab.start("agent", NS)
    until(lab.answers, "the agent is back", SLOW)
    run(*duet, "port", "del", "hmux0", "swp1")
    run(*duet, "port", "add", "hmux0", "extra")
    until(lambda: "swp1" in (trouble(lab) or "") and "drift" in trouble(lab), "it is shown", SLOW)
    equal(ports(), {"extra"}, "ports")
    # another link under the old name is nobody's decision about the mux
    link("del", "swp1")
    link("add", "swp1", "type", "dummy")
    until(lambda: ports() == {"extra", "swp1"}, "attached", SLOW)


@test
def module_again():
    """the module is unloaded and loaded: the agent says so, and serves again by itself; it also starts without it"""
    ko = os.environ["DUET_KO"]
    lab = Lab(bird=False, backend="kmod", ports="swp1")
    lab.put(wish(VIPS[0]), wish(VIPS[1], announce="no"))
    for _ in range(2):
        run("rmmod", "duet")
        until(lambda: "module" in (trouble(lab) or "") or "no such type" in (trouble(lab) or ""), "it is shown", SLOW)
        equal(lab.ask("GET", "/healthz")[0], 503, "health")
        equal(lab.triggers(), {}, "triggers")
        status, answer = lab.put(wish(VIPS[0]), wish(VIPS[1], announce="no"), ok=False)
        check(status == 503 and "type" in answer["detail"] or "module" in answer["detail"], f"a state meanwhile: {status} {answer}")
        run("insmod", ko)
        until(lambda: lab.ask("GET", "/v1/status")[0] == 200 and
              {v["vip"]: v["state"] for v in lab.status()["vips"]} == {VIPS[0]: "announced", VIPS[1]: "programmed"}, "it serves again", SLOW)
        equal((list(lab.triggers()), ports()), ([VIPS[0]], {"swp1"}), "triggers and ports")
        # it still hears of changes by others: the group of events has another number now
        run("ip", "netns", "exec", NS, f"{BIN}/duet", "vip", "del", "hmux0", VIPS[1])
        until(lambda: VIPS[1] in {v["vip"] for v in json.loads(run("ip", "netns", "exec", NS, f"{BIN}/duet", "-j", "vip", "show", "hmux0"))},
              "what is done by hand is mended", SLOW)
    lab.daemons["agent"].kill()
    run("rmmod", "duet")
    lab.start("agent", NS)
    until(lambda: health(lab) == 503, "it answers without a module", SLOW)
    run("insmod", ko)
    until(lambda: lab.ask("GET", "/healthz")[0] == 200, "and takes up its work", SLOW)
    lab.put(wish(VIPS[0]))
    until(lambda: list(lab.triggers()) == [VIPS[0]], "the VIP is announced", SLOW)


if __name__ == "__main__":
    run("modprobe", "-a", "veth", "ipv6", ok=False)
    main()
