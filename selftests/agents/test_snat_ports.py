#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-controller and duet-host-agents: ports for outgoing connections, from the controller's block to the packet that
comes back. The lab is test_host_snat's, where what returns is selected by the model of hash and table."""
import errno
import os
import shutil
import socket
import struct
import sys

import lib
import test_host_snat as lab
from lib import BIN, TOP, Failed, check, equal, inside, rest, test, until
from test_host_snat import CORE, DIPS, HOSTS, MUX, N, REMOTES, KEY, VIP, W, greeting, opened

sys.path.insert(0, os.path.join(TOP, "selftests", "controller"))
import agents  # pylint: disable=wrong-import-position
from fabric import sentences, topology  # pylint: disable=wrong-import-position

FIRST, BLOCK = 20000, 64
lib.TESTS.clear()   # those of the lab's own file


def setup():
    lab.setup("0.0.0.0", f"http://{MUX}:8470", pins=True)
    watch = agents.Watch()
    with inside(CORE):
        W.smux = agents.Mux("smux1", 8475, watch, smux=True, tunnels=0).start()
    lib.CLEANUP.append(W.smux.stop)
    at = {ns: (DIPS[i], f"tor{i // 2 + 1}") for i, ns in enumerate(HOSTS)}
    urls = {ns: f"http://{DIPS[i]}:8472" for i, ns in enumerate(HOSTS)}
    dot = os.path.join(W.folder, "topology.dot")
    with open(dot, "w", encoding="ascii") as f:
        f.write(topology(dict(urls, smux1=W.smux.url), at).replace("10.254.1.1", MUX))
    key_file = os.path.join(W.folder, "key")
    with open(os.open(key_file, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
        f.write(KEY + "\n")
    conf = os.path.join(W.folder, "controller.conf")
    with open(conf, "w", encoding="ascii") as f:
        f.write(f"[controller]\nname = ctl\nlisten = 0.0.0.0:8470\ninsecure = yes\nstore = {W.folder}/store.sqlite\ntopology = {dot}\n"
                f"aggregate = 203.0.113.0/24\nkey-file = {key_file}\n")
    W.controller = lib.Daemon(CORE, "controller", os.path.join(BIN, "duet-controller"), "-c", conf)
    lib.CLEANUP.append(W.controller.remove)
    W.agents.append(W.controller)
    until(lambda: answers("GET", "/v1/status").get("hosts", {}).get("total") == N, "the controller knows its hosts")


def answers(method, path, body=None):
    """The controller's answer; {} while there is none"""
    try:
        status, answer = rest(CORE, 8470, method, path, body)
    except OSError:
        return {}
    if status // 100 != 2:
        raise Failed(f"{method} {path}: {answer}")
    return answer


def configure(down=(), idle=1):
    answers("PUT", "/v1/config", {
        "settings": {"snat-quarantine-s": 1, "snat-idle-s": idle},
        "vips": [{"vip": VIP, "snat": {"first": FIRST, "last": FIRST + 64 * BLOCK - 1, "block": BLOCK, "max_blocks": 12},
                  "rules": [{"dips": [{"address": d, **({"state": "down"} if d in down else {})} for d in DIPS]}]}]})


def pool():
    return next((p for p in answers("GET", "/v1/snat")["snat"] if p["vip"] == VIP), {"hosts": [], "blocks": []})


def blocks_of(i):
    return {(b["first"], b["last"]) for b in pool()["blocks"] if b["host"] == HOSTS[i] and b["state"] == "held"}


def has(i):
    """what the agent says it has, in use or not"""
    return {(r["first"], r["last"]) for v in rest(HOSTS[i], 8472, "GET", "/v1/status")[1]["snat-ports"] for r in v["ranges"]}


def gone(s):
    """End it at once, without TIME_WAIT"""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def has_port(i, remote):
    """A connection, None if there is no port for one, False if it is not answered: mux and host change one after the other"""
    try:
        return opened(HOSTS[i], remote, 1)
    except TimeoutError:
        return False
    except OSError as e:
        equal(e.errno, errno.EADDRNOTAVAIL, "errno of a connection without a port")
    return None


@test
def a_block_each():
    """a VIP with "snat": each host gets a block, its connections leave with VIP and a port of it, what returns comes to its DIP"""
    configure()
    until(lambda: all(has(i) and has(i) == blocks_of(i) for i in range(N)), "each host has the block that the controller says")
    equal(sorted(h["blocks"] for h in pool()["hosts"]), [1] * N, "blocks")
    for i in range(N):
        first, last = next(iter(blocks_of(i)))
        for remote in REMOTES[:5]:
            s = opened(HOSTS[i], remote)
            name = s.getsockname()
            check(name[0] == VIP and first <= name[1] <= last, f"host {i}: {name} is of VIP and its block {first}-{last}")
            equal(greeting(s), f"{name[0]} {name[1]}", "what the server sees")
            equal(W.mux.tables[VIP].choose(remote, VIP, 6, 80, name[1], KEY), DIPS[i], "the DIP that what returns selects")
            gone(s)


@test
def more_and_back():
    """one that runs low is given more before long, and what it no longer uses is taken back: used by another then"""
    socks, seen = [], 0
    while len(socks) < 40:     # to one destination: about 8 of 64 ports will do
        s = until(lambda: has_port(1, REMOTES[7]), "a port for one more", 20)
        greeting(s)
        socks.append(s)
        seen = max(seen, len(has(1)))
    print(f"# {len(socks)} connections to one destination with {seen} blocks, {rest(HOSTS[1], 8472, 'GET', '/v1/status')[1]['snat']['exhausted']} refused meanwhile")
    check(5 <= len(has(1)) <= 12 and has(1) == blocks_of(1), f"blocks: {has(1)}")
    until(lambda: [h for h in pool()["hosts"] if h["host"] == HOSTS[1] and h["busiest"] == 40 and h["used"] >= 40], "the controller sees its use", 20)
    for s in socks:
        gone(s)
    until(lambda: len(blocks_of(1)) == 1 and has(1) == blocks_of(1), "all but one are given back", 40)
    until(lambda: not pool()["quarantined"] and not pool()["leaving"], "and free after the quarantine", 20)


@test
def follows():
    """a DIP taken out: the hosts' tables follow the muxes', ports are chosen by the new one"""
    W.mux.set(VIP, down=(DIPS[3],))
    configure(down=(DIPS[3],))
    until(lambda: has_port(3, REMOTES[2]) is None, "the DIP that is out opens none")
    for i in (0, 5):
        s = until(lambda n=i: has_port(n, REMOTES[9]), f"a connection of host {i}")
        check(greeting(s).startswith(VIP), f"host {i}")
        gone(s)
    W.mux.set(VIP)
    configure()
    s = until(lambda: has_port(3, REMOTES[2]), "back again")
    check(greeting(s).startswith(VIP), "and it is answered")
    gone(s)


@test
def without_a_controller():
    """the controller killed and started anew: connections go on and new ones are opened meanwhile, every host keeps its ports"""
    configure(idle=300)
    until(lambda: not any(h["low"] for h in pool()["hosts"]) and all(has(i) == blocks_of(i) for i in range(N)), "nobody wants more", 20)
    before, s = [has(i) for i in range(N)], opened(HOSTS[0], REMOTES[3])
    greeting(s)
    W.controller.kill()
    new = opened(HOSTS[4], REMOTES[3])
    check(greeting(new).startswith(VIP) and lab.echoes(s, b"still there?"), "without one")
    W.controller.start()
    until(lambda: answers("GET", "/v1/status").get("hosts", {}).get("told") == N, "all hosts are told again")
    equal([has(i) for i in range(N)], before, "ports")
    equal([blocks_of(i) for i in range(N)], before, "as the controller has them")
    check(lab.echoes(s, b"and now?"), "and goes on")
    gone(s)
    gone(new)


@test
def an_old_store():
    """the store is put back to a copy, agents are killed meanwhile: each host has what it had, and no port is with two"""
    configure(idle=300)
    until(lambda: all(has(i) and has(i) == blocks_of(i) for i in range(N)), "nothing is under way")
    answers("POST", "/v1/backup", {"name": "old.sqlite"})
    known, socks = blocks_of(2), []
    while len(socks) < 24:
        socks.append(until(lambda: has_port(2, REMOTES[6]), "a port for one more", 20))
        greeting(socks[-1])
    until(lambda: len(has(2)) > len(known) and not any(h["low"] for h in pool()["hosts"]) and all(has(i) == blocks_of(i) for i in range(N)),
          "it has been given more since the copy, and nobody wants more", 20)
    before = [has(i) for i in range(N)]
    W.controller.kill()
    for i in (2, 3):
        W.agents[i].kill()
    store = os.path.join(W.folder, "store.sqlite")
    for end in ("", "-wal", "-shm"):
        if os.path.exists(store + end):
            os.unlink(store + end)
    shutil.copy(os.path.join(W.folder, "old.sqlite"), store)
    check(greeting(opened(HOSTS[3], REMOTES[11])).startswith(VIP), "sockets have ports without an agent")
    W.agents[2].start()
    until(lambda: lab.healthy(HOSTS[2]), "an agent that has been told nothing yet")
    W.controller.start()
    until(lambda: any("is a copy" in f for f in sentences({"faults": []} | answers("GET", "/v1/status"))), "the controller knows, and waits for host 3")
    until(lambda: has(2) == before[2], "host 2 has its ports again though nobody but its kernel knew", 20)
    W.agents[3].start()
    until(lambda: not any("is a copy" in f for f in sentences(answers("GET", "/v1/status"))), "every host has been heard", 20)
    # one may run low by now and be given more, as the ports that fit the hash would have it
    until(lambda: all(before[i] <= has(i) == blocks_of(i) for i in range(N)), "ports, as the controller has them")
    every = [b for i in range(N) for b in has(i)]
    equal(len(every), len(set(every)), "blocks of all hosts, and how many different ones")
    for s in socks:
        check(lab.echoes(s, b"still there?"), "connections of before go on")
        gone(s)


if __name__ == "__main__":
    lab.main(setup)
