#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duetctl's larger commands against a running controller: whatif, trace (the
DIP checked against the model of the hash), events that are followed across a
restart, configurations exported, compared and applied, views, completion."""
import json
import os
import random
import signal
import subprocess
import sys

from ctl import Ctl, Follower
from fabric import SWITCHES, TOP, free_ports, run_test, until
from test_moves import DIPS, SERVERS, Lab, vip

sys.path.insert(0, os.path.join(TOP, "selftests", "model"))
from duet_model import Table  # noqa: E402


def name_of(dip):
    return next((n, tor) for n, (a, tor) in SERVERS.items() if a == dip)


def whatif(tap, lab, ctl):
    before = lab.places()
    generation, writes = lab.get("/v1/status")["generation"], lab.writes()
    home = before["203.0.113.1"]
    there = [v for v, m in before.items() if m == home]
    got = ctl.json("whatif", "switch", home)
    moved = {m["vip"]: m for m in got["moves"]}
    tap.ok(set(there) <= set(moved) and all(moved[v]["from"] == home and moved[v]["to"] != home and moved[v]["reason"] for v in there)
           and all(a["mux"] != home for a in got["assignment"]), f"whatif switch {home}: its VIPs move, with reasons", got["moves"], there)
    tap.ok(0 < got["before"]["mru"] < 1 and 0 < got["after"]["mru"] and got["smuxes"]["falls-mbps"] > 0 and got["smuxes"]["left"] == 3,
           "MRU before and after, and what falls to the SMuxes", got["before"], got["after"], got["smuxes"])
    ctl.ok("as tables", ctl("whatif", "switch", home), "before", "after", "VIPs that would move", home)
    factor, mbps = ctl.json("whatif", "vip", "203.0.113.1", "x2"), ctl.json("whatif", "vip", "203.0.113.1", "1900")
    tap.ok(factor["assignment"] == mbps["assignment"] and factor["after"]["mru"] > factor["before"]["mru"],
           "a VIP with twice its traffic is one with so many Mbps; more is used", factor["after"], mbps["after"])
    huge = ctl.json("whatif", "vip", "203.0.113.1", "x1000")
    tap.ok(any(v["vip"] == "203.0.113.1" and v["reason"] for v in huge["without-hmux"]) and huge["smuxes"]["enough"] is False,
           "with a thousand times it fits on no switch, and is more than the SMuxes carry", huge["without-hmux"], huge["smuxes"])
    ctl.ok("which is said", ctl("whatif", "vip", "203.0.113.1", "x1000"), "MORE THAN THEY CARRY", "no HMux")
    tap.ok("203.0.113.1" not in str(ctl.json("whatif", "vip", "203.0.113.1", "gone")["assignment"]), "a VIP that is gone")
    both = ctl.json("whatif", "switch", "core1", "switch", "core2", "smux", "smux1", "vip", "203.0.113.2", "5")
    tap.ok(not {"core1", "core2"} & {a["mux"] for a in both["assignment"]} and both["smuxes"]["left"] == 2 and both["smuxes"]["mbps"] == 7200,
           "all of it at once", both["smuxes"])
    rack = ctl.json("whatif", "switch", "tor1")
    tap.ok(rack["smuxes"]["left"] == 2 and rack["after"]["mru"] > 0 and not rack["without-hmux"],
           "a rack takes its SMux along, and its DIPs' traffic is the others'", rack["smuxes"], rack["without-hmux"])
    ctl.ok("no SMux left is not enough", ctl("whatif", *[w for s in (1, 2, 3) for w in ("smux", f"smux{s}")]), "0 of 3", "MORE THAN")
    ctl.refused("a switch that isn't there", ctl("whatif", "switch", "tor9"), "tor9")
    ctl.refused("a VIP that isn't there", ctl("whatif", "vip", "203.0.113.99", "x2"), "203.0.113.99")
    for words in (["switch"], ["vip", "203.0.113.1"], ["vip", "203.0.113.1", "much"], ["rack", "tor1"], []):
        ctl.refused(f"whatif {' '.join(words)}: wrong usage", ctl("whatif", *words), code=2)
    tap.ok(lab.places() == before and lab.writes() == writes and lab.get("/v1/status")["generation"] == generation and
           not lab.get("/v1/moves?running=1")["moves"], "and nothing has changed")


def trace(tap, lab, ctl):
    key = next(body["key"] for _, _, path, body in lab.mux["smux1"].puts if path == "/v1/state")
    rng, bad = random.Random(5), []
    for _ in range(60):
        n = rng.randint(1, 8)
        config = lab.get(f"/v1/vips/203.0.113.{n}")
        src, sport, dport = f"192.0.2.{rng.randint(1, 250)}", rng.randint(1, 65535), rng.randint(1, 65535)
        table = Table([(d["address"], d["weight"], False) for d in config["rules"][0]["dips"]])
        want = table.choose(src, config["vip"], 6, sport, dport, key)
        got = ctl.json("trace", f"{src}:{sport}", f"{config['vip']}:{dport}")
        if got["dip"] != want or (got["host"], got["switch"]) != name_of(want) or got["muxes"][0]["name"] != config["status"]["mux"]:
            bad.append((src, sport, config["vip"], dport, want, got))
    tap.ok(not bad, "60 flows traced get the DIP of the model, on the mux that has the VIP", *bad[:2])
    lab.move("203.0.113.1", "tor3")
    got = ctl.json("trace", "192.0.2.1:4000", "203.0.113.1:80", "tcp")
    tap.ok(got["way-in"] == [{"from": ["core1", "core2"], "hops": [["agg3", "agg4"], ["tor3"]]}] and got["source"] is None,
           "from outside: cores, the container's aggs, its tor", got["way-in"])
    tor = got["switch"]
    way = [["tor3"]] if tor == "tor3" else [["agg3", "agg4"], [tor]] if tor == "tor4" else [["agg3", "agg4"], ["core1", "core2"], ["agg1", "agg2"], [tor]]
    tap.ok(got["way-out"] == [{"from": ["tor3"], "hops": way if tor != "tor3" else []}], "on to the server's rack", got["way-out"])
    got = ctl.json("trace", f"{DIPS[7]}:9", "203.0.113.1:80")
    tap.ok(got["source"] == "srv8" and got["way-in"] == [{"from": ["tor4"], "hops": [["agg3", "agg4"], ["tor3"]]}], "from a server", got)
    ctl.ok("as a table", ctl("trace", "192.0.2.1:4000", "203.0.113.1:80"), "core1 core2 > agg3 agg4 > tor3", "tor3 (hmux", "rule 1, hash", "host")
    lab.move("203.0.113.1", "smux")
    got = ctl.json("trace", "192.0.2.1", "203.0.113.1", "icmp")
    tap.ok([m["name"] for m in got["muxes"]] == ["smux1", "smux2", "smux3"] and got["way-in"][0]["hops"][-1] == ["tor1", "tor2", "tor3"],
           "on the SMuxes: any of them", got)
    ctl.refused("no VIP", ctl("trace", "192.0.2.1:4000", "198.51.100.1:80"), "198.51.100.1", "no VIP")
    ctl.refused("no protocol", ctl("trace", "192.0.2.1:4000", "203.0.113.1:80", "smoke"), "protocol")
    ctl.refused("no address", ctl("trace", "here", "203.0.113.1:80"), "here", code=2)


def events(tap, lab, ctl):
    ctl.ok("events", ctl("events", "-n", "3"), "TIME", "moved")
    lines = ctl("-j", "events", "-n", "3").stdout.splitlines()
    tap.ok(len(lines) == 3 and all(json.loads(one)["kind"] for one in lines), "--json: one object a line", *lines)
    table, stream = Follower(lab.place, ctl, "events", "--watch", "-n", "1"), Follower(lab.place, ctl, "-j", "events", "-w", "-n", "2")
    tap.ok(table.until("\n") and stream.until("\n"), "the last ones come first")
    lab.put("/v1/drains/smux/smux3", None)
    tap.ok(table.until("drain") and stream.until('"drain"'), "an event comes as it happens", table.text, stream.text)
    lab.kill(signal.SIGKILL)
    tap.ok(stream.until("trying until", "err"), "the controller is killed: told, once", stream.text["err"])
    lab.start()
    lab.settled()
    lab.move("203.0.113.2", "smux")
    tap.ok(stream.until('"203.0.113.2"') and stream.until("followed again", "err"), "it is back: followed again", stream.text["err"])
    rest = lab.get("/v1/events?limit=1000")["events"]
    until(lambda: stream.until(f'"id":{rest[-1]["id"]},', seconds=0.1))
    ids = [json.loads(one)["id"] for one in stream.lines()]
    tap.ok(ids == [e["id"] for e in rest if e["id"] >= ids[0]] and stream.text["err"].count(b"\n") == 2, "none is missing and none comes twice", ids, stream.text["err"])
    tap.ok(stream.end() == -signal.SIGTERM and table.end() == -signal.SIGTERM, "they end when they are told to")
    lab.kill()
    lonely = Follower(lab.place, ctl, "events", "-w")
    lonely.child.wait(20)
    lab.place.running.remove(lonely.child)
    tap.ok(lonely.child.returncode == 3, "with no controller to begin with: exit code 3")
    lab.start()
    lab.settled()
    subprocess.run([ctl.binary, "undrain", "smux", "smux3"], env=ctl.env, stdout=subprocess.DEVNULL, check=True, timeout=20)
    full = subprocess.run(f"{ctl.binary} events -w -n 100 | head -n 1", shell=True, env=ctl.env, stdout=subprocess.PIPE, text=True, timeout=60)
    tap.ok(full.stdout.count("\n") == 1, "a reader that goes ends it", full)


def configuration(tap, lab, ctl):
    place, url = lab.place, "/v1/config"
    export = ctl("export")
    file = place.write("all.json", export.stdout)
    got = ctl("diff", "-f", file)
    tap.ok(got.returncode == 0 and not got.stdout and not got.stderr, "export | diff: nothing, exit code 0", got)
    tap.ok(ctl("diff", "-f", "-", text=export.stdout).returncode == 0, "from standard input")
    before = lab.get(url)
    lab.clear()
    generation = lab.get("/v1/status")["generation"]
    ctl.ok("apply of it changes nothing", ctl("apply", "-f", file), "0 VIPs added, 0 changed, 0 removed, 8 unchanged")
    tap.ok(lab.writes() == 0 and lab.get("/v1/status")["generation"] == generation and lab.get(url) == before, "really nothing; no agent hears of it")
    config = json.loads(export.stdout)
    tap.ok(config["settings"]["max-moves"] == 256 and "stop" not in config["settings"] and len(config["vips"]) == 8, "settings and VIPs", config["settings"])
    config["vips"][1]["rules"][0]["dips"][0]["weight"] = 7
    config["vips"][1]["rules"][0]["dips"].append({"address": "10.4.8.1"})
    config["vips"][2]["name"] = "shop"
    del config["vips"][7]
    config["vips"].append(vip(20, DIPS[:2]))
    config["settings"] = {"max-moves": 32}
    new = place.write("new.json", json.dumps(config))
    got = ctl("diff", "-f", new)
    v = config["vips"][1]["rules"][0]["dips"][0]["address"]
    ctl.ok("what differs, exit code 1", got, "~ VIP 203.0.113.2", f"- rules[1].dips[{v}].weight: 1", f"+ rules[1].dips[{v}].weight: 7",
           "+ rules[1].dips[10.4.8.1]", '+ name: "shop"', "- VIP 203.0.113.8 is removed", "+ VIP 203.0.113.20 is added",
           "~ settings", "- max-moves: 256", "+ max-moves: 32", code=1)
    tap.ok("VIP 203.0.113.1\n" not in got.stdout and "203.0.113.4" not in got.stdout, "and nothing else", got.stdout)
    ctl.ok("apply --dry-run says the same", ctl("apply", "-f", new, "--dry-run"), "+ max-moves: 32")
    tap.ok(lab.get(url) == before and lab.writes() == 0, "and changes nothing")
    for what, change, words in (
            ("a DIP that is no address", lambda c: c["vips"][5]["rules"][0]["dips"][0].update(address="10.1.1"), ["10.1.1"]),
            ("an unknown member", lambda c: c["vips"][5].update(colour="red"), ["203.0.113.6", "colour"]),
            ("a VIP outside the aggregate", lambda c: c["vips"][5].update(vip="198.51.100.1"), ["198.51.100.1", "203.0.112.0/20"]),
            ("a VIP twice", lambda c: c["vips"].append(c["vips"][0]), ["203.0.113.1", "twice"]),
            ("a setting out of range", lambda c: c.update(settings={"max-moves": 0}), ["max-moves", "10000"]),
            ("a setting that is none", lambda c: c.update(settings={"speed": 1}), ["speed"]),
            ("the stop switch", lambda c: c.update(settings={"stop": True}), ["stop"]),
            ("a member that is none", lambda c: c.update(vipz=[]), ["vipz"]),
            ("no VIPs", lambda c: c.pop("vips"), ["vips"])):
        bad = json.loads(json.dumps(config))
        change(bad)
        text = json.dumps(bad)
        ctl.refused(f"apply with {what}: refused in a sentence", ctl("apply", "-f", "-", text=text), *words)
        got = ctl("diff", "-f", "-", text=text)
        tap.ok(got.returncode == 1 and not got.stdout and got.stderr, "and diff the same", got)
    tap.ok(lab.get(url) == before and lab.get("/v1/control")["max-moves"] == 256 and lab.writes() == 0, "none of them changed anything")
    lab.watch.must -= {"203.0.113.8"}
    ctl.ok("apply", ctl("apply", "-f", new, "--wait"), "1 VIPs added, 2 changed, 1 removed, 5 unchanged; settings changed")
    tap.ok(ctl("diff", "-f", new).returncode == 0 and lab.get("/v1/control")["max-moves"] == 32, "it is in force, and differs in nothing", ctl("diff", "-f", new))
    ctl.ok("and back", ctl("apply", "-f", file, "--wait"), "1 VIPs added, 2 changed, 1 removed")
    tap.ok(ctl("diff", "-f", file).returncode == 0 and ctl.json("export") == json.loads(export.stdout), "what was exported is there again")
    lab.put("/v1/vips/203.0.113.3", dict(config["vips"][3], vip="203.0.113.3"))
    lab.settled()
    order = json.loads(ctl("export").stdout)
    order["vips"][0]["rules"][0]["dips"].reverse()
    ctl.ok("DIPs in another order", ctl("diff", "-f", "-", text=json.dumps(order)), "order of its DIPs", code=1)
    ctl.refused("a file that is no JSON", ctl("diff", "-f", place.write("bad.json", "{\n")), "bad.json:2")
    ctl.refused("diff with no file", ctl("diff"), code=2)
    ctl.ok("apply of the first", ctl("apply", "-f", file, "--wait"))


def views(tap, lab, ctl):
    ctl.ok("switch list", ctl("switch", "list"), "core2", "in-sync", "512")
    tap.ok([s["mux"]["state"] for s in ctl.json("switch", "list")["switches"]] == ["in-sync"] * 10, "and as JSON, with its mux")
    ctl.ok("mux show", ctl("mux", "show", "tor1"), "mux tor1 (hmux)", "in-sync", "agent")
    tap.ok(ctl.json("mux", "show", "tor1")["name"] == "tor1", "as JSON")
    ctl.refused("of none", ctl("mux", "show", "tor9"), "tor9")
    lab.host["srv1"].report(lab.url, [("203.0.113.1", 0, "up")])
    ctl.ok("host show", ctl("host", "show", "srv1"), "srv1 on tor1", "203.0.113.1", "up")
    ctl.refused("of none", ctl("host", "show", "srv99"), "srv99")
    ctl.ok("link list", ctl("link", "list"), "tor1  swp1", "10000")
    ctl.ok("plan", ctl("plan"), "203.0.113.1", "MRU")
    moves = ctl.json("moves", "-n", "3")["moves"]
    tap.ok(len(moves) == 3, "moves -n 3", moves)
    ctl.ok("one of them", ctl("moves", str(moves[0]["id"])), f"move {moves[0]['id']} of VIP", "over")
    ctl.ok("all of them", ctl("moves", "-n", "0"), "MOVE")
    ctl.refused("none", ctl("moves", "99999"), "99999")
    ctl.ok("drain", ctl("drain", "switch", "agg1"))
    ctl.ok("drains", ctl("drains"), "switch", "agg1")
    ctl.ok("undrain", ctl("undrain", "switch", "agg1"))
    ctl.ok("settings", ctl("settings", "max-moves=7", "assign-on-change=false"), "max-moves=7")
    ctl.ok("and back", ctl("settings", "max-moves=256"), "max-moves=256")
    ctl.refused("a setting that is none", ctl("settings", "speed=1"), "speed")
    ctl.refused("no value", ctl("settings", "speed"), code=2)
    ctl.ok("traffic", ctl("traffic"), "VIP")
    ctl.ok("audit", ctl("audit"), "PUT /v1/config")
    ctl.ok("backup", ctl("backup", "copy.sqlite"), "copy.sqlite")
    ctl.ok("abort of a wave", ctl("abort", "wave", "1"), "goes back")
    ctl.refused("a name that climbs", ctl("token", "delete", ".."))
    for one in ("status", "vip list", "dip list", "switch list", "link list", "mux list", "host list", "traffic", "topology", "assignment",
                "plan", "export", "moves", "drains", "settings", "audit", "token list"):
        tap.ok(isinstance(ctl.json(*one.split()), dict), f"{one}: --json")


def pages(tap, lab, ctl):
    """more VIPs than an answer of the controller has room for"""
    many = [dict(vip(0, DIPS[:2], 1), vip=f"203.0.{113 + n // 250}.{n % 250 + 1}", name=f"n{n}") for n in range(1500)]
    ctl.ok("1,500 VIPs", ctl("apply", "-f", "-", text=json.dumps({"vips": many})), "VIPs added")
    lab.settled(30)
    tap.ok(len(ctl.json("vip", "list")["vips"]) == 1500 and len(ctl("assignment").stdout.splitlines()) == 1501 and
           len(ctl.json("export")["vips"]) == 1500, "lists are whole, whatever the pages")


def complete(ctl, line):
    """what bash offers for the last word"""
    words = line.split(" ")
    script = (f"source {TOP}/cli/duetctl.bash; COMP_WORDS=({' '.join(w or chr(39) * 2 for w in words)}); COMP_CWORD={len(words) - 1}; "
              "_duetctl duetctl; printf '%s\\n' \"${COMPREPLY[@]}\"")
    env = dict(ctl.env, PATH=os.path.dirname(ctl.binary) + ":" + ctl.env["PATH"])
    got = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, timeout=20)
    return got.stderr or sorted(got.stdout.split())


def completion(tap, lab, ctl):
    usage = ctl("--help").stdout
    commands = {w for line in usage.splitlines() if line.startswith("  ") and not line.startswith("   ") and not line.startswith("  -")
                for w in [part.split()[0] for part in line[2:30].split(" | ")] if w.islower() and w.isalpha()}
    offered = set(complete(ctl, "duetctl "))
    tap.ok(commands | {"undrain", "resume"} <= offered, "every command of --help is offered", commands - offered)
    for line, want in (("duetctl wh", ["whatif"]), ("duetctl vip ", ["delete", "list", "show"]), ("duetctl drain ", ["rack", "smux", "switch"]),
                       ("duetctl drain switch co", ["core1", "core2"]), ("duetctl drain smux ", ["smux1", "smux2", "smux3"]),
                       ("duetctl move 203.0.113.1 tor", ["tor1", "tor2", "tor3", "tor4"]), ("duetctl move 203.0.113.1 smu", ["smux"]),
                       ("duetctl vip show ", [f"203.0.113.{n}" for n in range(1, 9)]), ("duetctl mux show smux2", ["smux2"]),
                       ("duetctl host show srv3", ["srv3"]), ("duetctl whatif switch agg4", ["agg4"]),
                       ("duetctl whatif switch tor1 vip ", [f"203.0.113.{n}" for n in range(1, 9)]),
                       ("duetctl token add bob ", ["admin", "agent", "operate", "read"]), ("duetctl --tls-c", ["--tls-ca", "--tls-cert", "--tls-crl"]),
                       ("duetctl -j drain smux smux1", ["smux1"]), ("duetctl settings max-", ["max-moves="])):
        tap.ok(complete(ctl, line) == want, f"completion of \"{line}\"", complete(ctl, line))
    away = Ctl(tap, f"http://127.0.0.1:{free_ports(1)[0]}")
    tap.ok(complete(away, "duetctl vip show ") == [] and "status" in complete(away, "duetctl st"), "with no controller: commands, no names, no words",
           complete(away, "duetctl vip show "))


def steps(tap, place):
    lab = Lab(place)
    lab.conf = place.write("controller.conf", open(lab.conf, encoding="utf-8").read().replace("203.0.113.0/24", "203.0.112.0/20"))
    lab.start()
    ctl = Ctl(tap, lab.url)
    vips = [vip(n, DIPS[(n - 1) % 6:(n - 1) % 6 + 3], 1000 - 50 * n) for n in range(1, 9)]
    ctl.ok("apply", ctl("apply", "-f", "-", text=json.dumps({"vips": vips})), "8 VIPs added")
    lab.settled()
    lab.watch.must = {v["vip"] for v in vips}
    ctl.ok("assign --wait", ctl("assign", "--wait"), "MRU")
    tap.ok(set(lab.places().values()) <= set(SWITCHES), "all VIPs are on switches", lab.places())
    whatif(tap, lab, ctl)
    trace(tap, lab, ctl)
    events(tap, lab, ctl)
    configuration(tap, lab, ctl)
    views(tap, lab, ctl)
    completion(tap, lab, ctl)
    lab.watch.must = set()
    pages(tap, lab, ctl)
    tap.ok(not lab.watch.wrong, "no VIP was without a mux, on two, or on two tables", *lab.watch.wrong)


if __name__ == "__main__":
    sys.exit(run_test(steps))
