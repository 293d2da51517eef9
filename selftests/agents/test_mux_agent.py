#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-mux-agent with its simulated data plane, real trigger routes and real BIRD."""
import json
import os
import re
import signal
import socket
import sys

import jsonschema
import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import BIN, TOP, Failed, check, equal, folder, main, run, test, until  # noqa: E402
sys.path.insert(0, os.path.join(TOP, "selftests", "model"))
import duet_model as model  # noqa: E402
from muxlab import NS, PEER, VIPS, Lab, wish  # noqa: E402

@test
def announce_and_withdraw():
    """programmed, announced, exported; withdrawn, served on for the hold time, removed"""
    lab = Lab(hold_ms=2000)
    answer = lab.put(wish(VIPS[0]), wish(VIPS[1], announce="no"))
    equal(answer["changed"], {"added": 2, "replaced": 0, "removed": 0, "announced": 1, "withdrawn": 0, "dips": 0}, "changes")
    until(lambda: VIPS[0] in lab.peer_routes(), "the neighbour has the route")
    until(lambda: lab.vips()[VIPS[0]]["exported"], "the agent knows that it is exported")
    equal(lab.vips()[VIPS[0]]["state"], "announced", "state")
    equal(lab.vips()[VIPS[1]]["state"], "programmed", "state")
    check(VIPS[1] not in lab.peer_routes(), "a VIP that is not to be announced is")
    equal(lab.delete(VIPS[0])[0], 202, "status of DELETE")
    until(lambda: VIPS[0] not in lab.peer_routes(), "the neighbour lost the route")
    equal(lab.vips()[VIPS[0]]["state"], "withdrawing", "it is served on")
    until(lambda: VIPS[0] not in lab.vips(), "it is removed after the hold time")


@test
def drain():
    """drain announces with the graceful-shutdown community"""
    lab = Lab()
    lab.put(wish(VIPS[0]))
    until(lambda: VIPS[0] in lab.peer_routes(), "the neighbour has the route")
    lab.put(wish(VIPS[0], announce="drain"))
    equal(lab.vips()[VIPS[0]]["state"], "draining", "state")
    until(lambda: "(65535,0)" in run("birdc", "-s", f"{lab.dir}/peer.ctl", "show", "route", "all", "for", VIPS[0]), "the community")
    lab.put(wish(VIPS[0]))
    until(lambda: "(65535,0)" not in run("birdc", "-s", f"{lab.dir}/peer.ctl", "show", "route", "all", "for", VIPS[0]), "it is gone")


@test
def equal_changes_nothing():
    """the same state again changes nothing; a DIP's state changes one thing"""
    lab = Lab(bird=False)
    lab.put(wish(VIPS[0]), wish(VIPS[1]))
    generation = lab.status()["device"]["generation"]
    answer = lab.put(wish(VIPS[1]), wish(VIPS[0]))
    equal(set(answer["changed"].values()), {0}, f"changes {answer}")
    equal(lab.status()["device"]["generation"], generation, "generation of the data plane")
    digest = lab.vips()[VIPS[0]]["digest"]
    answer = lab.put(wish(VIPS[0], down=("10.1.1.2",)), wish(VIPS[1]))
    equal(answer["changed"]["dips"], 1, f"changes {answer}")
    check(lab.vips()[VIPS[0]]["digest"] != digest, "the digest follows")
    equal([d["state"] for d in lab.vips()[VIPS[0]]["rules"][0]["dips"]], ["up", "down", "up"], "states")
    for down in ((), ("10.1.1.1",)):
        told, seen = lab.put_vip(wish(VIPS[0], down=down))[1], lab.vips()[VIPS[0]]
        for answer in (told, lab.ask("GET", f"/v1/vips/{VIPS[0]}")[1]):
            equal((answer["digest"], answer["rules"]), (seen["digest"], seen["rules"]), "one VIP's answer has the data plane's tables")


@test
def fencing():
    """older epochs and generations are refused with 409, and told what is held"""
    lab = Lab(bird=False)
    lab.epoch, lab.generation = 5, 10
    lab.put(wish(VIPS[0]))
    for epoch, generation in ((4, 100), (5, 10)):
        lab.epoch, lab.generation = epoch, generation - 1
        status, answer = lab.put(wish(VIPS[1]), ok=False)
        equal((status, answer["epoch"], answer["generation"]), (409, 5, 11), "answer")
        equal(lab.put_vip(wish(VIPS[1]))[0] if generation != 10 else 409, 409, "status of a single VIP")
        equal(sorted(lab.vips()), [VIPS[0]], "VIPs")
    lab.epoch, lab.generation = 6, 0
    lab.put(wish(VIPS[1]))
    until(lambda: sorted(lab.vips()) == [VIPS[1]], "a newer epoch is obeyed, whatever its generation")


@test
def fence_kept():
    """killed and started again, an agent refuses what it refused before; a refused request moves no fence"""
    lab = Lab(bird=False)
    lab.epoch, lab.generation = 11, 5
    lab.put(wish(VIPS[0]))

    def refused():
        for epoch, generation in ((10, 1 << 40), (11, 5), (0, 0)):
            fence = {"epoch": epoch, "generation": generation}
            for method, path, body in (("PUT", "/v1/state", {**fence, "key": "7".zfill(32), "vips": []}), ("PUT", "/v1/drain", {**fence, "drain": True}),
                                       ("PUT", f"/v1/vips/{VIPS[0]}", {**fence, **wish(VIPS[0], dips=("10.1.9.9",))}),
                                       ("POST", f"/v1/vips/{VIPS[0]}/withdraw", fence), ("POST", f"/v1/vips/{VIPS[0]}/drain", fence),
                                       ("DELETE", f"/v1/vips/{VIPS[0]}?epoch={epoch}&generation={generation}", None)):
                status = lab.ask(method, path, body)[0]
                # after a restart, before a state came, the VIP can't be spoken of at all
                check(status == 409 or (status == 404 and method == "POST"), f"{method} {path} with {fence}: {status}")
        status = lab.status()
        equal((status["epoch"], status["generation"], [v["state"] for v in status["vips"]]), (11, 6, ["announced"]), "what is held")

    refused()
    for _ in range(2):
        lab.daemons["agent"].kill()
        lab.start("agent", NS)
        until(lab.answers, "the agent is back")
        refused()
    # refused for another reason: the fence stays where it is
    later = {"epoch": 50, "generation": 50}
    for method, path, body, want in (("DELETE", f"/v1/vips/{VIPS[1]}?epoch=50&generation=50", None, 404), ("PUT", "/v1/state", {**later, "vips": 3}, 422),
                                     ("POST", f"/v1/vips/{VIPS[1]}/announce", later, 404), ("PUT", "/v1/drain", {**later, "drain": "x"}, 422),
                                     ("PUT", f"/v1/vips/{VIPS[1]}", {**later, **wish(VIPS[2])}, 422)):
        equal(lab.ask(method, path, body)[0], want, f"status of {method} {path}")
    refused()
    for epoch, generation in ((1 << 53, 0), (11, 1 << 53), (1 << 62, 1 << 62)):
        status, answer = lab.ask("PUT", "/v1/state", {"epoch": epoch, "generation": generation, "key": "7".zfill(32), "vips": []})
        check(status == 422 and "every controller" in answer["detail"], f"an epoch that no controller has: {status} {answer}")
    refused()
    # the way out after an epoch that no controller will ever reach
    lab.epoch, lab.generation = (1 << 53) - 1, 1
    lab.put(wish(VIPS[0]))
    lab.epoch, lab.generation = 12, 1
    equal(lab.put(wish(VIPS[0]), ok=False)[0], 409, "the controller is shut out")
    equal(lab.ask("DELETE", "/v1/fence"), (200, {"epoch": (1 << 53) - 1, "generation": 2}), "answer of DELETE /v1/fence")
    lab.daemons["agent"].kill()
    lab.start("agent", NS)
    until(lab.answers, "the agent is back")
    lab.put(wish(VIPS[1]))
    equal(lab.status()["epoch"], 12, "it commands again")


@test
def fence_unreadable():
    """a fence that isn't one, or that another agent has, keeps the agent from starting, with a sentence"""
    lab = Lab(bird=False)
    said = run("ip", "netns", "exec", NS, "sh", "-c", f"{BIN}/duet-mux-agent -c {lab.conf} 2>&1", ok=False)
    check("another agent" in said, f"a second agent: {said}")
    lab.daemons["agent"].kill()
    with open(f"{lab.dir}/tor1.fence", "w", encoding="ascii") as f:
        f.write("0 0\n")
    said = run("ip", "netns", "exec", NS, "sh", "-c", f"{BIN}/duet-mux-agent -c {lab.conf} 2>&1", ok=False)
    check("tor1.fence isn't a fence" in said, f"a broken file: {said}")


@test
def bad_input():
    """bad input gets a sentence and changes nothing"""
    lab = Lab(bird=False)
    lab.put(wish(VIPS[0]))
    before = lab.status()
    twice = wish(VIPS[1], dips=("10.1.1.1", "10.1.1.1"))
    for vips, because in (([wish(VIPS[1], dips=())], "no DIPs"), ([twice], "twice"), ([wish("203.0.113.999")], "address"),
                          ([wish(VIPS[2]), wish(VIPS[1]), wish(VIPS[2])], "twice"), ([wish(VIPS[1], announce="perhaps")], "announce"),
                          ([{"vip": VIPS[1]}], "rules")):
        status, answer = lab.put(*vips, ok=False)
        equal(status, 422, f"status of {vips}")
        check(because in answer["detail"], f"{answer['detail']!r} has no {because!r}")
    for body, because in (("{", "JSON"), ({"epoch": 1}, "generation"), ({"epoch": 9, "generation": 9, "key": "7".zfill(32)}, "vips"),
                          ({"epoch": 9, "generation": 9, "vips": []}, "key"), ({"epoch": 9, "generation": 9, "vips": [], "key": 7}, "hex digits"),
                          ({"epoch": 9, "generation": 9, "vips": [], "key": "0" * 32}, "hex digits"),
                          ({"epoch": 9, "generation": 9, "vips": [], "seed": 7}, "128 bits")):
        status, answer = lab.ask("PUT", "/v1/state", body)
        check(status in (400, 422) and because in answer["detail"], f"{body}: {status} {answer}")
    equal(lab.ask("GET", "/v1/nothing")[0], 404, "status of a path that isn't there")
    equal(lab.ask("POST", "/v1/state", {})[0], 405, "status of a method that isn't there")
    after = lab.status()
    equal((after["vips"], after["device"], after["epoch"]), (before["vips"], before["device"], before["epoch"]), "status afterwards")


@test
def allowed():
    """VIPs and aggregates outside the prefixes of the node's own configuration are refused, and nothing changes"""
    lab = Lab("smux", bird=False)
    lab.daemons["agent"].kill()
    with open(lab.conf, encoding="ascii") as f:
        conf = f.read()
    for allow, because in (("203.0.113.0", "prefix"), ("203.0.113.7/24", "prefix"), (",", "no prefix"), (" ".join(f"10.{i}.0.0/16" for i in range(33)), "32")):
        with open(lab.conf, "w", encoding="ascii") as f:
            f.write(f"{conf}allow={allow}\n")
        said = run("sh", "-c", f"{BIN}/duet-mux-agent --check-config -c {lab.conf} 2>&1", ok=False)
        check("allow" in said and because in said, f"allow = {allow}: {said}")
    with open(lab.conf, "w", encoding="ascii") as f:
        f.write(f"{conf}allow=203.0.113.0/25, 2001:db8:113::/48\n")
    lab.start("agent", NS)
    until(lab.answers, "the agent answers")
    inside = [wish("203.0.113.127", announce="no"), wish("2001:db8:113:ffff::1", dips=("2001:db8:1::1",), announce="no")]
    lab.put(*inside, aggregate=["203.0.113.0/25", "203.0.113.64/26", "2001:db8:113::/64"])
    until(lambda: set(lab.triggers()) == {"203.0.113.0/25", "203.0.113.64/26"}, "both aggregates are announced")
    before = lab.vips(), lab.triggers(), lab.status()["generation"]
    for vips, aggregate in (([wish("203.0.113.128", announce="no")], None), ([wish("10.0.0.1", announce="no")], None),
                            ([wish("2001:db8:114::1", dips=("2001:db8:1::1",), announce="no")], None), ([], "203.0.113.0/24"), ([], "0.0.0.0/0"),
                            ([], ["203.0.113.0/25", "203.0.113.128/25"]), ([], "::/0"), ([], "2001:db8::/32")):
        status, answer = lab.put(*inside, *vips, aggregate=aggregate, ok=False)
        check(status == 422 and "[announce] allow" in answer["detail"], f"{vips} {aggregate}: {status} {answer}")
    status, answer = lab.put_vip(wish("198.51.100.1", announce="no"))
    check(status == 422 and "[announce] allow" in answer["detail"], f"a single VIP: {status} {answer}")
    equal((lab.vips(), lab.triggers(), lab.status()["generation"]), before, "what is served")


@test
def full_table():
    """a full table is an answer, and what was there stays"""
    lab = Lab(bird=False, max_tunnels=4)
    lab.put(wish(VIPS[0]))
    answer = lab.put(wish(VIPS[0]), wish(VIPS[1], dips=("10.1.2.1", "10.1.2.2")))
    equal([r["vip"] for r in answer["refused"]], [VIPS[1]], "refused")
    equal(lab.vips()[VIPS[1]]["state"], "refused", "state")
    check(VIPS[1] not in lab.triggers(), "a refused VIP is announced")
    status, answer = lab.put_vip(wish(VIPS[2], dips=("10.1.2.1", "10.1.2.2")))
    equal(status, 507, f"status of a VIP for which there is no room ({answer})")
    # a refused replacement leaves the old table serving and announced
    answer = lab.put(wish(VIPS[0], dips=tuple(f"10.1.3.{i}" for i in range(1, 9))))
    equal([r["vip"] for r in answer["refused"]], [VIPS[0]], "refused")
    equal(len(lab.vips()[VIPS[0]]["rules"][0]["dips"]), 3, "DIPs of the table that serves")
    check(VIPS[0] in lab.triggers(), "it is announced still")


@test
def crash():
    """killed and started again: nothing is touched before the whole state came, then only what differs"""
    lab = Lab()
    lab.put(wish(VIPS[0]), wish(VIPS[1]), wish(VIPS[2], announce="no"))
    until(lambda: {VIPS[0], VIPS[1]} <= lab.peer_routes(), "the neighbour has the routes")
    generation, triggers = lab.status()["device"]["generation"], lab.triggers()
    lab.daemons["agent"].kill(signal.SIGKILL)
    equal(lab.triggers(), triggers, "triggers without an agent")
    lab.start("agent", NS)
    until(lab.answers, "the agent answers again")
    status = lab.status()
    equal((status["synced"], status["device"]["generation"], lab.triggers()), (False, generation, triggers), "after the restart")
    equal(lab.vips()[VIPS[0]]["state"], "announced", "state")
    answer = lab.put(wish(VIPS[0]), wish(VIPS[1]), wish(VIPS[2], announce="no"))
    equal(set(answer["changed"].values()), {0}, f"changes {answer['changed']}")
    answer = lab.put(wish(VIPS[0]))
    equal(answer["changed"]["withdrawn"], 1, f"changes {answer['changed']}")
    until(lambda: sorted(lab.vips()) == [VIPS[0]], "what isn't wanted goes")


@test
def bird_away():
    """BIRD absent, then there, then gone: shown, and recovered from"""
    lab = Lab(bird=False)
    lab.put(wish(VIPS[0]))
    equal(lab.status()["bird"]["state"], "down", "state of BIRD")
    equal(lab.vips()[VIPS[0]]["exported"], False, "exported without BIRD")
    lab.bird()
    lab.start("peer-bird", PEER, "bird", "-f", "-c", lab.bird_conf("peer", "10.255.0.1", 65002, "10.255.0.0", 65001),
              "-s", f"{lab.dir}/peer.ctl")
    until(lambda: lab.vips()[VIPS[0]]["exported"], "exported by BIRD")
    lab.daemons["bird"].kill()
    until(lambda: lab.status()["bird"]["state"] == "down" and not lab.vips()[VIPS[0]]["exported"], "BIRD's end is seen")
    lab.bird()
    until(lambda: lab.vips()[VIPS[0]]["exported"], "exported again")


@test
def bird_wedged():
    """a BIRD that takes connections and says nothing is called wedged"""
    lab = Lab(bird=False)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(lab.socket)
        s.listen(8)
        until(lambda: lab.status()["bird"]["state"] == "wedged", "it is seen")
        os.unlink(lab.socket)


@test
def smux_aggregate():
    """an SMux announces the aggregate while it serves every VIP, and never a single VIP"""
    lab = Lab("smux")
    lab.put(wish(VIPS[0], announce="no"), aggregate="203.0.113.0/24")
    until(lambda: lab.peer_routes() == {"203.0.113.0/24"}, "the neighbour has the aggregate")
    status, answer = lab.put(wish(VIPS[0]), aggregate="203.0.113.0/24", ok=False)
    equal(status, 422, f"status of a single VIP announced by an SMux ({answer})")
    with open(f"{lab.dir}/refuse", "w", encoding="ascii") as f:
        f.write(VIPS[1])
    lab.put(wish(VIPS[0], announce="no"), wish(VIPS[1], announce="no"), aggregate="203.0.113.0/24")
    until(lambda: not lab.peer_routes(), "the aggregate goes when a VIP can't be served")
    os.unlink(f"{lab.dir}/refuse")
    lab.put(wish(VIPS[0], announce="no"), wish(VIPS[1], announce="no"), aggregate="203.0.113.0/24")
    until(lambda: lab.peer_routes() == {"203.0.113.0/24"}, "and comes back when it can")


@test
def taken_addresses():
    """no VIP is an address of the machine, no DIP a tunnel's source; what comes later is a fault; an aggregate has neither in it"""
    lab = Lab(bird=False)
    for vip, words in (("10.255.0.0", ("an address of this machine", "swp1")), ("10.254.0.7", ("the source of the tunnels",)),
                       ("2001:db8:ff::a", ("an address of this machine", "swp1")),
                       ("2001:db8:ff::", ("anycast", "swp1")), ("2001:db8:254::7", ("the source of the tunnels",))):
        status, answer = lab.put_vip(wish(vip))
        check(status == 422 and all(w in answer["detail"] for w in (vip, *words)), f"VIP {vip}: {status} {answer}")
    for vip, word in (("169.254.1.1", "link-local"), ("127.0.0.2", "loopback"), ("224.0.0.5", "multicast"), ("255.255.255.255", "broadcast"),
                      ("0.0.0.1", "unspecified"), ("240.1.1.1", "reserved"), ("fe80::1", "link-local")):
        status, answer = lab.put_vip(wish(vip))
        check(status == 422 and vip in answer["detail"] and word in answer["detail"], f"VIP {vip}: {status} {answer}")
    run("ip", "-n", NS, "addr", "add", "10.7.0.1/24", "dev", "swp1")
    for dip, word in (("10.254.0.7", "the source of the tunnels"), ("10.7.0.255", "broadcast"), ("169.254.1.1", "link-local")):
        status, answer = lab.put_vip(wish(VIPS[0], dips=(dip,)))
        check(status == 422 and dip in answer["detail"] and word in answer["detail"], f"DIP {dip}: {status} {answer}")
    equal(lab.put_vip(wish(VIPS[0], dips=("10.255.0.0",)))[0], 200, "a server on the mux itself")
    # a whole state: the others are served, and the refused one when its address is free
    run("ip", "-n", NS, "addr", "add", f"{VIPS[1]}/32", "dev", "swp1")
    until(lambda: "swp1" in (lab.put(*map(wish, VIPS)), lab.vips())[1][VIPS[1]].get("reason", ""), "the VIP is refused")
    equal([lab.vips()[v]["state"] for v in VIPS], ["announced", "refused", "announced"], "states")
    run("ip", "-n", NS, "addr", "add", "10.254.0.7/32", "dev", "lo")
    run("ip", "-n", NS, "addr", "add", "2001:db8:254::7/128", "dev", "lo", "nodad")
    equal(lab.status()["trouble"], None, "a fault")
    run("ip", "-n", NS, "addr", "del", f"{VIPS[1]}/32", "dev", "swp1")
    until(lambda: lab.vips()[VIPS[1]]["state"] == "announced", "the VIP is served when the address is gone")
    # an address that comes after the VIP
    run("ip", "-n", NS, "addr", "add", f"{VIPS[2]}/32", "dev", "swp1")
    until(lambda: VIPS[2] in (lab.status()["trouble"] or ""), "the fault is shown")
    equal(lab.vips()[VIPS[2]]["state"], "announced", "the VIP")
    run("ip", "-n", NS, "addr", "del", f"{VIPS[2]}/32", "dev", "swp1")
    until(lambda: not lab.status()["trouble"], "the fault is gone")
    # a server answers as the VIP by an address of lo with host scope
    run("ip", "-n", NS, "addr", "add", f"{VIPS[2]}/32", "dev", "lo", "scope", "host")
    lab.put(wish(VIPS[0]))
    until(lambda: VIPS[2] not in lab.vips(), "the VIP is gone")
    equal(lab.put_vip(wish(VIPS[2]))[0], 200, "a VIP that this machine serves, too")
    for prefix, word in (("0.0.0.0/0", "wider"), ("10.255.0.0/24", "10.255.0.0"), ("10.254.0.0/16", "10.254.0.7"), ("::/0", "wider"),
                         ("2001:db8::/32", "2001:db8:"), ("169.0.0.0/8", "link-local"), ("224.1.0.0/16", "multicast")):
        status, answer = lab.put(aggregate=prefix, ok=False)
        check(status in (400, 422) and prefix in answer["detail"] and word in answer["detail"], f"aggregate {prefix}: {status} {answer}")


@test
def reach():
    """a VIP is announced when its DIPs can be reached, and withdrawn when none can"""
    lab = Lab(bird=False)
    run("ip", "-n", NS, "route", "del", "10.1.0.0/16")
    lab.put(wish(VIPS[0]))
    equal((lab.vips()[VIPS[0]]["state"], lab.triggers()), ("programmed", {}), "state without routes")
    run("ip", "-n", NS, "route", "add", "10.1.1.1/32", "via", "10.255.0.1")
    run("ip", "-n", NS, "route", "add", "10.1.1.2/32", "via", "10.255.0.1")
    equal(lab.triggers(), {}, "triggers with a route to some")
    run("ip", "-n", NS, "route", "add", "10.1.1.3/32", "via", "10.255.0.1")
    until(lambda: set(lab.triggers()) == {VIPS[0]}, "announced with routes to all", 3)
    run("ip", "-n", NS, "route", "del", "10.1.1.1/32")
    run("ip", "-n", NS, "route", "del", "10.1.1.2/32")
    equal(set(lab.triggers()), {VIPS[0]}, "triggers with a route to one, once announced")
    run("ip", "-n", NS, "route", "del", "10.1.1.3/32")
    until(lambda: lab.triggers() == {}, "withdrawn when none can be reached", 3)
    run("ip", "-n", NS, "route", "add", "10.1.1.3/32", "via", "10.255.0.1")
    until(lambda: set(lab.triggers()) == {VIPS[0]}, "announced with a route to one, after a while")


@test
def reach_of_some():
    """what takes routes away without naming them is heard at once: a link down, a rule; another VIP's DIPs stay as they are"""
    lab = Lab(bird=False)
    run("ip", "-n", NS, "route", "del", "10.1.0.0/16")
    run("ip", "-n", NS, "link", "add", "rack1", "type", "ifb")
    run("ip", "-n", NS, "link", "set", "rack1", "up")
    run("ip", "-n", NS, "route", "add", "10.1.1.0/24", "dev", "rack1")
    run("ip", "-n", NS, "route", "add", "10.1.2.0/24", "via", "10.255.0.1")
    lab.put(wish(VIPS[0]), wish(VIPS[1], dips=("10.1.2.1", "10.1.2.2", "10.1.2.3")))
    until(lambda: set(lab.triggers()) == {VIPS[0], VIPS[1]}, "both are announced", 2)
    run("ip", "-n", NS, "link", "set", "rack1", "down")
    until(lambda: set(lab.triggers()) == {VIPS[1]}, "one is withdrawn when its link goes down", 2)
    run("ip", "-n", NS, "link", "set", "rack1", "up")
    run("ip", "-n", NS, "route", "add", "10.1.1.0/24", "dev", "rack1")
    until(lambda: set(lab.triggers()) == {VIPS[0], VIPS[1]}, "and announced when it is back", 2)
    run("ip", "-n", NS, "rule", "add", "to", "10.1.2.0/24", "prohibit")
    until(lambda: set(lab.triggers()) == {VIPS[0]}, "the other is withdrawn when a rule forbids its DIPs", 2)
    run("ip", "-n", NS, "rule", "del", "to", "10.1.2.0/24", "prohibit")
    until(lambda: set(lab.triggers()) == {VIPS[0], VIPS[1]}, "and announced without that rule", 2)


@test
def drift():
    """a trigger that somebody deleted, and one that nobody wants, are repaired"""
    lab = Lab(bird=False)
    lab.put(wish(VIPS[0]))
    run("ip", "-n", NS, "route", "del", VIPS[0], "dev", "hmux0", "table", "199")
    run("ip", "-n", NS, "route", "add", "203.0.113.77", "dev", "hmux0", "table", "199", "proto", "199")
    until(lambda: set(lab.triggers()) == {VIPS[0]}, "triggers are as they were")
    run("ip", "-n", NS, "link", "del", "hmux0")
    until(lambda: set(lab.triggers()) == {VIPS[0]}, "the device is made anew, and its triggers")


@test
def keys():
    """another key in place of one that VIPs use is another deployment: all VIPs are rebuilt under it"""
    lab = Lab(bird=False)
    lab.put(wish(VIPS[0]))
    first = lab.status()["device"]["key-fingerprint"]
    equal(first, model.fingerprint(model.key(7)), "fingerprint")
    lab.put(wish(VIPS[0]), key=model.key(8))
    equal(lab.status()["device"]["key-fingerprint"], model.fingerprint(model.key(8)), "fingerprint of another key")
    equal(lab.vips()[VIPS[0]]["state"], "announced", "state")


@test
def two_keys():
    """VIPs go from one key to the other one by one, and neither they nor their announcements are ever gone"""
    lab = Lab(bird=False)
    old, new = model.key(7), model.key(8)
    lab.put(wish(VIPS[0]), wish(VIPS[1]))
    status, answer = lab.put(wish(VIPS[0]), dict(wish(VIPS[1]), key=2), ok=False)
    check(status == 422 and "key" in answer["detail"], f"a VIP with a third key: {status} {answer}")
    steps = ((old, new, (0, 0)), (old, new, (1, 0)), (old, new, (1, 1)), (model.key(9), new, (1, 1)), (model.key(9), new, (1, 0)), (model.key(9), None, (0, 0)))
    for first, second, which in steps:
        answer = lab.put(*(dict(wish(vip), key=key) for vip, key in zip(VIPS, which)), key=first, **({"key1": second} if second else {}))
        check(not any(answer["changed"][what] for what in ("added", "removed", "announced", "withdrawn")), f"{which}: {answer}")
        device = lab.status()["device"]
        equal((device["key-fingerprint"], device.get("key1-fingerprint")), (model.fingerprint(first), second and model.fingerprint(second)), f"{which}: keys")
        equal([(lab.vips()[v]["state"], lab.vips()[v].get("key", 0)) for v in VIPS[:2]], [("announced", key) for key in which], "VIPs")
    lab.put(*(dict(wish(vip), key=1) for vip in VIPS[:2]), key=None, key1=new)
    device = lab.status()["device"]
    equal((device["key-fingerprint"], device["key1-fingerprint"]), ("none", model.fingerprint(new)), "key 1 alone")
    for what, body in (("key 0", {"key": 0}), ("no key named", {})):
        status, answer = lab.put(dict(wish(VIPS[0]), **body), key=None, key1=new, ok=False)
        check(status == 422 and "key 0" in answer["detail"] and VIPS[0] in answer["detail"], f"a state with {what}, which isn't there: {status} {answer}")
        status, answer = lab.put_vip(dict(wish(VIPS[0]), **body))
        check(status == 422 and "key 0" in answer["detail"], f"a VIP with {what}: {status} {answer}")
    lab.daemons["agent"].kill()
    lab.start("agent", NS)
    until(lab.answers, "the agent answers")
    status, answer = lab.put_vip(dict(wish(VIPS[0]), key=1))
    check(status == 200, f"an agent that has just started knows the device's keys: {status} {answer}")
    lab.put(*(dict(wish(vip), key=1) for vip in VIPS[:2]), key=new, key1=new)
    lab.put(*(wish(vip) for vip in VIPS[:2]), key=new)
    said = json.dumps([lab.status(), lab.ask("GET", "/v1/vips")[1], lab.ask("GET", "/metrics")[1]])
    check(not any(key in said for key in (old, new, model.key(9))), "an answer has a key")


@test
def many_refused():
    """more refused VIPs than a turn of the loop takes: the others are served, and the refused ones when there is room"""
    lab = Lab(bird=False, max_vips=5)
    first = [f"198.18.{n // 250}.{1 + n % 250}" for n in range(1500)]
    answer = lab.put(*[wish(v, dips=("10.1.1.1",), announce="no") for v in first])
    equal((answer["changed"]["added"], len(answer["refused"])), (5, 1495), "served and refused")
    answer = lab.put(*[wish(v, dips=("10.1.1.1",), announce="no") for v in first[3:]], wish(VIPS[0]))
    equal(lab.status()["progress"], None, "nothing left to do")
    until(lambda: lab.status()["device"]["used"]["vips"] == 5, "room is used", 30)
    started = lab.daemons["agent"]
    with open(f"/proc/{started.child.pid}/schedstat", encoding="ascii") as f:
        before = int(f.read().split()[0])
    until(lambda: lab.put_vip(wish(first[3], dips=("10.1.1.2",), announce="no"))[0] == 200, "one that is there is changed")
    with open(f"/proc/{started.child.pid}/schedstat", encoding="ascii") as f:
        check(int(f.read().split()[0]) - before < 5e9, "it doesn't go round and round")


@test
def verbs():
    """announce, drain and withdraw of one VIP; drain of the whole mux"""
    lab = Lab(bird=False)
    lab.put(wish(VIPS[0]), wish(VIPS[1], announce="no"))

    def order(vip, verb, status=200):
        lab.generation += 1
        got, answer = lab.ask("POST", f"/v1/vips/{vip}/{verb}", {"epoch": lab.epoch, "generation": lab.generation})
        equal(got, status, f"{verb} {vip}: {answer}")
        return answer

    equal(order(VIPS[1], "announce")["state"], "announced", "state")
    equal(order(VIPS[1], "drain")["state"], "draining", "state")
    equal(lab.triggers(), {VIPS[0]: "199", VIPS[1]: "198"}, "triggers")
    equal(order(VIPS[1], "withdraw")["state"], "programmed", "state: served on")
    equal(lab.triggers(), {VIPS[0]: "199"}, "triggers")
    order("203.0.113.9", "announce", 404)
    order("nonsense", "announce", 400)
    equal(lab.ask("POST", f"/v1/vips/{VIPS[1]}/announce", {"epoch": 0, "generation": 0})[0], 409, "a stale order")
    lab.generation += 1
    equal(lab.ask("PUT", "/v1/drain", {"epoch": 1, "generation": lab.generation, "drain": True}), (200, {"drain": True}), "drain")
    equal(lab.triggers(), {VIPS[0]: "198"}, "triggers of a mux that drains")
    lab.put(wish(VIPS[0]), drain=False)
    equal(lab.triggers(), {VIPS[0]: "199"}, "triggers afterwards")


@test
def neighbours():
    """BGP neighbours and links as seen; a BIRD without our protocol or table is misconfigured"""
    lab = Lab(ports="swp1")
    lab.put(wish(VIPS[0]))
    until(lambda: lab.vips()[VIPS[0]]["exported-to"] == 1, "exported to the neighbour")
    seen = lab.ask("GET", "/v1/links")[1]
    equal(seen["links"], [{"port": "swp1", "there": True, "up": True, "carrier": True, "mtu": 1500, "attached": True, "reason": None}], "links")
    equal(seen["neighbours"], [{"name": "peer", "state": "Established", "address": "10.255.0.1", "id": "10.255.0.1",
                                "asn": 65002, "port": "swp1", "exported": 1}], "neighbours")
    status = lab.status()
    equal((status["links"], status["bird"]["neighbours"]), (seen["links"], seen["neighbours"]), "in the status, for the controller")
    run("birdc", "-s", lab.socket, "disable", "kduet")
    until(lambda: lab.status()["bird"]["state"] == "misconfigured" and "kduet" in lab.status()["bird"]["detail"], "a disabled kduet is seen")
    run("birdc", "-s", lab.socket, "enable", "kduet")
    until(lambda: lab.status()["bird"]["state"] == "up" and lab.vips()[VIPS[0]]["exported"], "and its return")
    run("ip", "-n", PEER, "link", "set", "swp1", "down")
    until(lambda: not lab.ask("GET", "/v1/links")[1]["links"][0]["carrier"], "a dead link is seen")


@test
def own_address():
    """tunnels from an address that the machine hasn't are told of, for what is sent through them has no route"""
    lab = Lab(bird=False)
    check("10.254.0.7" in (lab.status()["trouble"] or ""), f"trouble: {lab.status()['trouble']}")
    run("ip", "-n", NS, "addr", "add", "10.254.0.7/32", "dev", "swp1")
    check("2001:db8:254::7" in (lab.status()["trouble"] or ""), f"trouble: {lab.status()['trouble']}")
    run("ip", "-n", NS, "addr", "add", "2001:db8:254::7/128", "dev", "swp1", "nodad")
    until(lambda: lab.status()["trouble"] is None, "no trouble with both")
    run("ip", "-n", NS, "addr", "del", "10.254.0.7/32", "dev", "swp1")
    check("10.254.0.7" in (lab.status()["trouble"] or ""), "it is asked anew each time")


@test
def ipv6():
    """an IPv6 VIP with IPv6 DIPs: trigger, neighbour, drain, reach; the aggregate of an SMux in both families"""
    lab, vip = Lab(), "2001:db8:113::1"
    dips = ("2001:db8:1::1", "10.1.1.2")

    def peer6():
        routes = json.loads(run("ip", "-n", PEER, "-6", "-j", "route", "show", "table", "main"))
        return {r["dst"] for r in routes if r.get("protocol") == "bird"}

    lab.put(wish(VIPS[0]), wish(vip, dips=dips))
    equal(lab.vips()[vip]["state"], "announced", "state")
    until(lambda: vip in peer6() and VIPS[0] in lab.peer_routes(), "the neighbour has both")
    until(lambda: lab.vips()[vip]["exported"], "the agent knows")
    lab.put(wish(VIPS[0]), wish(vip, dips=dips, announce="drain"))
    until(lambda: "(65535,0)" in run("birdc", "-s", f"{lab.dir}/peer.ctl", "show", "route", "all", "for", vip), "the community")
    run("ip", "-n", NS, "-6", "route", "del", "2001:db8:1::/48")
    lab.put(wish(VIPS[0]), wish(vip, dips=dips[:1]))
    until(lambda: vip not in peer6(), "withdrawn when no DIP can be reached")
    for daemon in lab.daemons.values():
        daemon.kill()
    with open(lab.conf, encoding="ascii") as f:
        text = f.read()
    with open(lab.conf, "w", encoding="ascii") as f:
        f.write(text.replace("local6=2001:db8:254::7\n", ""))
    lab.start("agent", NS)
    until(lab.answers, "the agent answers")
    status, answer = lab.put(wish(vip, dips=dips), ok=False)
    check(status == 422 and "local6" in answer["detail"], f"IPv6 DIPs without local6: {status} {answer}")


@test
def drift_report():
    """with drift = report, what others change is told and left, until an order says otherwise"""
    lab = Lab(bird=False, drift="report")
    lab.put(wish(VIPS[0]), wish(VIPS[1]))
    run("ip", "-n", NS, "route", "del", VIPS[0], "dev", "hmux0", "table", "199")
    until(lambda: lab.vips()[VIPS[0]]["drift"], "it is told")
    equal(set(lab.triggers()), {VIPS[1]}, "and left")
    equal(lab.status()["drifts"], 1, "drifts")
    lab.generation += 1
    lab.ask("POST", f"/v1/vips/{VIPS[0]}/announce", {"epoch": 1, "generation": lab.generation})
    equal(set(lab.triggers()), set(VIPS[:2]), "an order overrules it")


@test
def broken():
    """a data plane that takes nothing: said, withdrawn from by an SMux, and recovered from; a drained SMux announces nothing"""
    lab = Lab("smux")
    aggregates = ["203.0.113.0/24", "2001:db8:113::/64"]
    lab.put(wish(VIPS[0], announce="no"), aggregate=aggregates)
    until(lambda: lab.peer_routes() == {"203.0.113.0/24"}, "the neighbour has the aggregate")
    equal([a["prefix"] for a in lab.status()["aggregate"]["all"] if a["announced"]], aggregates, "both families")
    with open(f"{lab.dir}/break", "w", encoding="ascii"):
        pass
    status, answer = lab.put(wish(VIPS[0], announce="no"), wish(VIPS[1], announce="no"), aggregate=aggregates, ok=False)
    check(status == 503 and "broken" in answer["detail"], f"{status} {answer}")
    equal(lab.ask("GET", "/healthz")[0], 503, "/healthz")
    until(lambda: not lab.peer_routes(), "the aggregate is withdrawn")
    os.unlink(f"{lab.dir}/break")
    until(lambda: lab.peer_routes() == {"203.0.113.0/24"}, "and comes back by itself")
    lab.put(wish(VIPS[0], announce="no"), wish(VIPS[1], announce="no"), aggregate=aggregates, drain=True)
    until(lambda: not lab.peer_routes(), "drained")
    equal(sorted(lab.vips()), VIPS[:2], "and serves on")


@test
def privileges():
    """of root's powers it keeps CAP_NET_ADMIN"""
    lab = Lab(bird=False)
    pid = run("ip", "netns", "pids", NS).split()[0]
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        caps = {line.split()[0]: int(line.split()[1], 16) for line in f if line.startswith("Cap")}
    equal({k: caps[k] for k in ("CapPrm:", "CapEff:", "CapBnd:", "CapAmb:")},
          {"CapPrm:": 1 << 12, "CapEff:": 1 << 12, "CapBnd:": 0, "CapAmb:": 0}, "capabilities")


@test
def openapi():
    """agents/mux/api.yaml describes the routes that the server has, all of them and no others"""
    lab = Lab(bird=False)
    with open(os.path.join(TOP, "agents", "mux", "api.yaml"), encoding="utf-8") as f:
        api = yaml.safe_load(f)
    told = {(method.upper(), re.sub(r"{[^}]*}", "*", path)) for path, item in api["paths"].items()
            for method in item if method in ("get", "put", "post", "delete")}
    has = {(r["method"], r["path"]) for r in lab.ask("GET", "/v1/routes")[1]}
    equal(told, has, "routes")
    lab.put(wish(VIPS[0]))
    jsonschema.validate(lab.status(), {"$ref": "#/components/schemas/Status", "components": api["components"]})
    for vip in lab.status()["vips"]:
        jsonschema.validate(vip, {"$ref": "#/components/schemas/VipStatus", "components": api["components"]})


@test
def configuration():
    """--check-config says what is wrong with what"""
    directory = folder()
    for text, because in (("[agent]\nname=x\n", "listen"), ("[agent]\nname=x\nlisten=1.2.3.4:99999\n", "listen"),
                          ("[agent]\nname=x\nlisten=127.0.0.1:1\ninsecure=yes\n[device]\nname=h\nmode=xmux\nlocal=10.0.0.1\n", "xmux"),
                          ("[agent]\nname=x\nlisten=127.0.0.1:1\ninsecure=yes\n[device]\nname=h\nmode=hmux\nlocal=10.0.0.1\ncolour=red\n", "colour"),
                          *((f"[agent]\nname=x\nlisten=127.0.0.1:1\ninsecure=yes\n[device]\nname=h\nmode=hmux\nlocal=10.0.0.1\n{line}\n", why)
                            for line, why in (("tos=0x29", "ECN"), ("tos=x", "tos"), ("spread=15", "spread"), ("spread=33", "spread"),
                                              ("fwmark=x", "fwmark"), ("link=a/b", "link")))):
        path = f"{directory}/a.conf"
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        try:
            run(f"{BIN}/duet-mux-agent", "-c", path, "--check-config")
        except Failed as failure:
            check(because in str(failure), f"{failure} has no {because!r}")
        else:
            raise Failed(f"accepted: {text!r}")


@test
def underlay():
    """what is configured of the tunnels is in the status; a VIP or DIP of the prefix of their sources is refused"""
    lab = Lab(bird=False, fwmark="0x29", tos="0x28", spread=28, link="swp1")
    device = lab.status()["device"]
    equal([device[k] for k in ("link", "fwmark", "tos", "spread")], ["swp1", 0x29, "0x28", 28], "device")
    for vip, dips, why in (("10.254.0.9", ["10.1.1.1"], "VIP 10.254.0.9"), (VIPS[0], ["10.254.0.0"], "DIP 10.254.0.0")):
        said = json.dumps(lab.put({"vip": vip, "rules": [{"dips": [{"address": d} for d in dips]}]})["refused"])
        check(why in said and "a source of the tunnels" in said, said)


@test
def metrics():
    """/metrics and /healthz"""
    lab = Lab(bird=False)
    lab.put(wish(VIPS[0]))
    text = lab.ask("GET", "/metrics")[1]
    check('duet_mux_vips{state="announced"} 1' in text, text)
    equal(lab.ask("GET", "/healthz"), (200, {"status": "ok"}), "/healthz")


if __name__ == "__main__":
    main()
