#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-mux-agent with its simulated data plane, real trigger routes and real BIRD."""
import json
import os
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import BIN, CLEANUP, Daemon, Failed, check, equal, folder, main, namespace, rest, run, test, until  # noqa: E402

NS, PEER, PORT = "duet-t-mux", "duet-t-peer", 8471
BIRD = """
router id {id};
log stderr all;
debug protocols off;
ipv4 table duet4;
protocol device {{ scan time 1; }}
protocol kernel kmain {{ ipv4 {{ export all; import none; }}; }}
protocol kernel kduet {{ kernel table 199; learn; scan time 1;
  ipv4 {{ table duet4; import filter {{ if krt_source = 199 || krt_source = 198 then accept; reject; }}; export none; }}; }}
protocol pipe {{ table master4; peer table duet4; import all; export none; }}
protocol bgp peer {{ local {own} as {asn}; neighbor {other} as {other_asn}; connect delay time 0; connect retry time 1; error wait time 1, 1;
  ipv4 {{ import all; next hop self; export filter {{ if defined(krt_source) then if krt_source = 198 then bgp_community.add((65535, 0)); accept; }}; }}; }}
"""
VIPS = ["203.0.113.1", "203.0.113.2", "203.0.113.3"]


def wish(vip, dips=("10.1.1.1", "10.1.1.2", "10.1.1.3"), announce="yes", down=()):
    return {"vip": vip, "announce": announce,
            "rules": [{"dips": [{"address": d, "state": "down" if d in down else "up"} for d in dips]}]}


class Lab:
    """An agent and its BIRD in one namespace, a BGP neighbour in another."""

    def __init__(self, mode="hmux", bird=True, hold_ms=300, **limits):
        for ns in (NS, PEER):
            namespace(ns)
        run("ip", "-n", NS, "link", "add", "swp1", "type", "veth", "peer", "name", "swp1", "netns", PEER)
        for ns, address in ((NS, "10.255.0.0/31"), (PEER, "10.255.0.1/31")):
            run("ip", "-n", ns, "addr", "add", address, "dev", "swp1")
            run("ip", "-n", ns, "link", "set", "swp1", "up")
        # the DIPs are somewhere behind the neighbour
        run("ip", "-n", NS, "route", "add", "10.1.0.0/16", "via", "10.255.0.1")
        self.dir, self.generation, self.epoch = folder(), 0, 1
        self.socket = f"{self.dir}/bird.ctl"
        self.daemons = {}
        self.conf = f"{self.dir}/agent.conf"
        with open(self.conf, "w", encoding="ascii") as f:
            f.write(f"[agent]\nname=tor1\nlisten=127.0.0.1:{PORT}\ninsecure=yes\nrun_dir={self.dir}\n"
                    f"[device]\nname=hmux0\nmode={mode}\nlocal=10.254.0.7\nbackend=sim\n"
                    + "".join(f"{k}={v}\n" for k, v in limits.items())
                    + f"[bird]\nsocket={self.socket}\n[announce]\nhold_ms={hold_ms}\n")
        if bird:
            self.bird()
            self.start("peer-bird", PEER, "bird", "-f", "-c", self.bird_conf("peer", "10.255.0.1", 65002, "10.255.0.0", 65001),
                       "-s", f"{self.dir}/peer.ctl")
        self.start("agent", NS, f"{BIN}/duet-mux-agent", "-c", self.conf)
        CLEANUP.append(self.stop)
        until(self.answers, "the agent answers")

    def bird_conf(self, name, own, asn, other, other_asn):
        path = f"{self.dir}/{name}.conf"
        with open(path, "w", encoding="ascii") as f:
            f.write(BIRD.format(id=own, own=own, asn=asn, other=other, other_asn=other_asn))
        return path

    def bird(self):
        self.start("bird", NS, "bird", "-f", "-c", self.bird_conf("mux", "10.255.0.0", 65001, "10.255.0.1", 65002), "-s", self.socket)

    def start(self, key, ns, *args):
        if key in self.daemons:
            self.daemons[key].start()
        else:
            self.daemons[key] = Daemon(ns, key, *args)

    def stop(self):
        for daemon in self.daemons.values():
            daemon.remove()

    def answers(self):
        try:
            return self.ask("GET", "/v1/status")[0] == 200
        except OSError:
            return False

    @staticmethod
    def ask(method, path, body=None):
        return rest(NS, PORT, method, path, body)

    def put(self, *vips, ok=True, **more):
        self.generation += 1
        status, answer = self.ask("PUT", "/v1/state", {"epoch": self.epoch, "generation": self.generation, "seed": 7,
                                                       "aggregate": None, "vips": list(vips), **more})
        if ok:
            equal(status, 200, f"status of PUT /v1/state ({answer})")
        return (status, answer) if not ok else answer

    def put_vip(self, vip, **more):
        self.generation += 1
        return self.ask("PUT", f"/v1/vips/{vip['vip']}", {"epoch": self.epoch, "generation": self.generation, **vip, **more})

    def delete(self, vip):
        self.generation += 1
        return self.ask("DELETE", f"/v1/vips/{vip}?epoch={self.epoch}&generation={self.generation}")

    def status(self):
        return self.ask("GET", "/v1/status")[1]

    def vips(self):
        return {v["vip"]: v for v in self.status()["vips"]}

    @staticmethod
    def triggers():
        text = run("ip", "-n", NS, "-j", "route", "show", "table", "199", ok=False)
        routes = json.loads(text) if "]" in text else []	# a table without routes isn't there
        return {r["dst"]: r["protocol"] for r in routes}

    @staticmethod
    def peer_routes():
        routes = json.loads(run("ip", "-n", PEER, "-j", "route", "show", "table", "main"))
        return {r["dst"] for r in routes if r.get("protocol") == "bird"}


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
    for body, because in (("{", "JSON"), ({"epoch": 1}, "generation"), ({"epoch": 9, "generation": 9, "seed": 7}, "vips")):
        status, answer = lab.ask("PUT", "/v1/state", body)
        check(status in (400, 422) and because in answer["detail"], f"{body}: {status} {answer}")
    equal(lab.ask("GET", "/v1/nothing")[0], 404, "status of a path that isn't there")
    equal(lab.ask("POST", "/v1/state", {})[0], 405, "status of a method that isn't there")
    after = lab.status()
    equal((after["vips"], after["device"], after["epoch"]), (before["vips"], before["device"], before["epoch"]), "status afterwards")


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
def seed():
    """another seed is another deployment: all VIPs are made anew under it"""
    lab = Lab(bird=False)
    lab.put(wish(VIPS[0]))
    lab.put(wish(VIPS[0]), seed=8)
    equal(lab.status()["device"]["seed"], 8, "seed")
    equal(lab.vips()[VIPS[0]]["state"], "announced", "state")


@test
def configuration():
    """--check-config says what is wrong with what"""
    directory = folder()
    for text, because in (("[agent]\nname=x\n", "listen"), ("[agent]\nname=x\nlisten=1.2.3.4:99999\n", "listen"),
                          ("[agent]\nname=x\nlisten=127.0.0.1:1\ninsecure=yes\n[device]\nname=h\nmode=xmux\nlocal=10.0.0.1\n", "xmux"),
                          ("[agent]\nname=x\nlisten=127.0.0.1:1\ninsecure=yes\n[device]\nname=h\nmode=hmux\nlocal=10.0.0.1\ncolour=red\n", "colour")):
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
def metrics():
    """/metrics and /healthz"""
    lab = Lab(bird=False)
    lab.put(wish(VIPS[0]))
    text = lab.ask("GET", "/metrics")[1]
    check('duet_mux_vips{state="announced"} 1' in text, text)
    equal(lab.ask("GET", "/healthz"), (200, {"status": "ok"}), "/healthz")


if __name__ == "__main__":
    main()
