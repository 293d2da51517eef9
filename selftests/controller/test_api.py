#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""openapi.yaml against the running controller: every route is in the document
and every documented one is there; answers have the documented status and
schema. Pages, generations, roles, the event stream, drains, limits, aborts,
what-if, traces; and rubbish sent to every route."""
import ipaddress
import json
import os
import random
import re
import signal
import socket
import sys
import urllib.error
import urllib.request

import jsonschema
import yaml

from fabric import TOP, run_test, until
from test_moves import DIPS, Lab, vip

DOC = os.path.join(TOP, "controller/api/openapi.yaml")
ROUTES = os.path.join(TOP, "controller/api/routes.c")


def ask(lab, method, path, body=None, headers=None):
    """(status, headers, JSON or text)"""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(lab.url + path, data=data, method=method,
                                     headers=dict({"Content-Type": "application/json"}, **(headers or {})))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as a:
            status, heads, text = a.status, a.headers, a.read().decode()
    except urllib.error.HTTPError as e:
        status, heads, text = e.code, e.headers, e.read().decode()
    try:
        return status, heads, json.loads(text)
    except ValueError:
        return status, heads, text


def resolve(doc, node):
    if isinstance(node, dict):
        if "$ref" in node:
            at = doc
            for part in node["$ref"][2:].split("/"):
                at = at[part]
            return resolve(doc, at)
        return {k: resolve(doc, v) for k, v in node.items()}
    return [resolve(doc, n) for n in node] if isinstance(node, list) else node


def nullable(node):
    """OpenAPI 3.0 says nullable where JSON Schema has two types"""
    if isinstance(node, dict):
        node = {k: nullable(v) for k, v in node.items()}
        if node.pop("nullable", False) is True:
            node["type"] = [node["type"], "null"]
        return node
    return [nullable(n) for n in node] if isinstance(node, list) else node


class Api:
    def __init__(self, tap, lab):
        self.tap, self.lab = tap, lab
        raw = yaml.safe_load(open(DOC, encoding="utf-8"))
        self.doc = resolve(raw, raw)

    def conforms(self, method, path, template, body=None, status=None):
        code, heads, answer = ask(self.lab, method, path, body)
        responses = self.doc["paths"][template][method.lower()]["responses"]
        wrong = [] if str(code) in responses and (status is None or code == status) else [f"status {code}: {answer}"]
        for kind, media in responses.get(str(code), {}).get("content", {}).items():
            if not heads["Content-Type"].startswith(kind):
                wrong.append(f"type {heads['Content-Type']}")
            wrong += [e.message for e in jsonschema.Draft7Validator(nullable(media["schema"])).iter_errors(answer)]
        self.tap.ok(not wrong, f"{method} {path}: as documented", *wrong[:3])
        return answer


def document(tap, api):
    """with the right each needs; the server's own routes are lib/http's"""
    code = open(ROUTES, encoding="utf-8").read()
    served = {(m, p, r.lower()) for m, p, r in re.findall(r'\{ "([A-Z]+)", "([^"]+)", \w+, RIGHT_(\w+)', code)}
    told = {(m.upper(), re.sub(r"\{[^}]*\}", "*", p), op.get("x-right")) for p, ops in api.doc["paths"].items() for m, op in ops.items()
            if m != "parameters" and p not in ("/v1/log", "/v1/routes", "/v1/whoami")}
    tap.ok(served == told, "every route is documented with the right it needs, and every documented one served", served ^ told)


def conformance(tap, api, lab):
    v = "203.0.113.1"
    for path in ("status", "vips", "assignment", "moves", "muxes", "hosts", "links", "traffic", "topology", "events", "audit", "control",
                 "drains", "tokens", "export", "config", "dips"):
        api.conforms("GET", f"/v1/{path}", f"/v1/{path}", status=200)
    api.conforms("GET", "/healthz", "/healthz", status=200)
    api.conforms("GET", "/metrics", "/metrics", status=200)
    api.conforms("GET", f"/v1/vips/{v}", "/v1/vips/{vip}", status=200)
    api.conforms("GET", "/v1/vips/203.0.113.99", "/v1/vips/{vip}", status=404)
    way = api.conforms("GET", f"/v1/vips/{v}/way", "/v1/vips/{vip}/way", status=200)
    tap.ok([d["address"] for d in way["dips"]] == DIPS[:3] and way["dips"][0]["host"] == "srv1" and way["way-in"] and way["way-out"],
           "a VIP's way: in, out, and its DIPs' servers", way)
    api.conforms("GET", "/v1/vips/203.0.113.99/way", "/v1/vips/{vip}/way", status=404)
    tap.ok([x["vip"] for x in api.conforms("GET", "/v1/vips?find=WEB3&mux=smux", "/v1/vips", status=200)["vips"]] == ["203.0.113.3"] and
           not lab.get("/v1/assignment?mux=tor3&find=113.3")["assignment"], "lists by mux and by what is looked for")
    fabric(tap, api, lab)
    api.conforms("GET", "/", "/", status=200)
    api.conforms("GET", "/web/page.js", "/web/{file}", status=200)
    api.conforms("GET", "/web/nothing.js", "/web/{file}", status=404)
    api.conforms("PUT", "/v1/vips/203.0.113.9", "/v1/vips/{vip}", vip(9, DIPS[:2]), 200)
    api.conforms("PUT", "/v1/vips/203.0.113.9", "/v1/vips/{vip}", vip(9, []), 422)
    api.conforms("DELETE", "/v1/vips/203.0.113.9", "/v1/vips/{vip}", status=202)
    lab.settled()
    api.conforms("POST", "/v1/assign?dry_run=1", "/v1/assign", {}, 200)
    api.conforms("POST", "/v1/assign", "/v1/assign", {}, 202)
    lab.settled()
    plan = api.conforms("POST", "/v1/what-if", "/v1/what-if", {"without": ["core1"], "vips": {v: {"mbps": 1}}}, 200)
    tap.ok(all(a["mux"] != "core1" for a in plan["assignment"]) and lab.places(), "what if core1 goes: nobody is there")
    api.conforms("POST", "/v1/what-if", "/v1/what-if", {"without": ["core9"]}, 422)
    api.conforms("POST", "/v1/what-if", "/v1/what-if", {"witout": ["core1"]}, 400)
    api.conforms("POST", "/v1/what-if", "/v1/what-if", {"vips": {v: {"factor": -1}}}, 422)
    move = api.conforms("POST", "/v1/moves", "/v1/moves", {"vip": v, "to": "smux"})
    lab.settled()
    api.conforms("GET", f"/v1/moves/{move['id']}", "/v1/moves/{id}", status=200)
    api.conforms("DELETE", f"/v1/moves/{move['id']}", "/v1/moves/{id}", status=404)
    api.conforms("DELETE", "/v1/waves/1", "/v1/waves/{wave}", status=202)
    trace = api.conforms("GET", f"/v1/trace?src=192.0.2.9&dst={v}&proto=tcp&sport=4000&dport=80", "/v1/trace", status=200)
    tap.ok(trace["verdict"] == "encap" and trace["dip"] in DIPS and trace["host"].startswith("srv"), "a flow is traced to its host", trace)
    api.conforms("GET", "/v1/trace?src=192.0.2.9&dst=198.51.100.1", "/v1/trace", status=404)
    api.conforms("GET", "/v1/trace?src=x", "/v1/trace", status=400)
    dip = f"/v1/vips/{v}/dips/{DIPS[0]}"
    for body, status in (({"state": "drain"}, 202), ({"state": "up"}, 202), ({"weight": 2}, 200), ({"weight": 1}, 200), ({"state": "x"}, 422)):
        api.conforms("PUT", dip, "/v1/vips/{vip}/dips/{dip}", body, status)
    api.conforms("DELETE", dip + "/damping", "/v1/vips/{vip}/dips/{dip}/damping", status=200)
    api.conforms("PUT", "/v1/drains/host/srv4", "/v1/drains/{kind}/{name}", status=202)
    api.conforms("DELETE", "/v1/drains/host/srv4", "/v1/drains/{kind}/{name}", status=200)
    lab.settled()
    api.conforms("PUT", "/v1/control", "/v1/control", {"max-moves": 100}, 200)
    api.conforms("PUT", "/v1/control", "/v1/control", {"max-moves": 0}, 422)
    api.conforms("PUT", "/v1/tokens/bob", "/v1/tokens/{name}", {"role": "read"}, 201)
    api.conforms("PUT", "/v1/tokens/bob", "/v1/tokens/{name}", {"role": "king"}, 422)
    api.conforms("DELETE", "/v1/tokens/bob", "/v1/tokens/{name}", status=200)
    api.conforms("POST", "/v1/backup", "/v1/backup", {"name": "b.sqlite"}, 201)
    api.conforms("PUT", "/v1/config", "/v1/config", {"vips": 5}, 400)
    config = api.conforms("GET", "/v1/config", "/v1/config", status=200)
    api.conforms("PUT", "/v1/config", "/v1/config", dict(config, settings={"stop": True}), 422)
    api.conforms("POST", "/v1/config/diff", "/v1/config/diff", {"vips": 5}, 400)
    api.conforms("POST", "/v1/config/diff", "/v1/config/diff", {"vips": [vip(9, [])]}, 422)
    answer = api.conforms("POST", "/v1/config/diff", "/v1/config/diff", {"vips": [vip(1, DIPS[:2])] + config["vips"][1:] + [vip(9, DIPS[:1])]}, 200)
    tap.ok([c["vip"] for c in answer["changes"]] == [v, "203.0.113.9"] and answer["changes"][1]["old"] is None,
           "differences are one changed, one added", answer)
    tap.ok(not api.conforms("POST", "/v1/config/diff", "/v1/config/diff", config, 200)["changes"], "and none from what is there")
    before = ask(lab, "GET", "/v1/config")[1]["ETag"]
    api.conforms("PUT", "/v1/config", "/v1/config", config, 200)
    tap.ok(ask(lab, "GET", "/v1/config")[1]["ETag"] == before, "to put what is there changes nothing, the generation neither")


def fabric(tap, api, lab):
    """containers in numbers, of some of them all, and the engine's load"""
    few = api.conforms("GET", "/v1/fabric", "/v1/fabric", status=200)
    tap.ok([(c["id"], c["switches"], c["smuxes"]) for c in few["containers"]] == [("core", 2, 0), ("1", 4, 2), ("2", 4, 1)] and not few["switches"],
           "the fabric as three containers", few)
    one = api.conforms("GET", "/v1/fabric?detail=core,1", "/v1/fabric", status=200)
    tap.ok(len(one["switches"]) == 6 and len(one["links"]) == 8 and len(one["smuxes"]) == 2, "cores and one container in detail", one)

    def carried():
        answer = lab.get("/v1/fabric?detail=*")
        return answer["load-age-ms"] is not None and len(answer["links"]) == 16 and all(x["mbps-ab"] is not None for x in answer["links"])
    tap.ok(until(carried), "what links carry comes from the engine", lab.get("/v1/fabric?detail=*"))


def lost_updates(tap, lab):
    v = "203.0.113.2"
    _, heads, one = ask(lab, "GET", f"/v1/vips/{v}")
    del one["status"]
    first = ask(lab, "PUT", f"/v1/vips/{v}", dict(one, name="first"), {"If-Match": heads["ETag"]})
    second = ask(lab, "PUT", f"/v1/vips/{v}", dict(one, name="second"), {"If-Match": heads["ETag"]})
    tap.ok(first[0] == 200 and second[0] == 412 and lab.get(f"/v1/vips/{v}")["name"] == "first", "of two changes of one generation one is refused", first, second)
    _, heads, config = ask(lab, "GET", "/v1/config")
    ask(lab, "PUT", f"/v1/vips/{v}", dict(one, name="third"))
    tap.ok(ask(lab, "PUT", "/v1/config", config, {"If-Match": heads["ETag"]})[0] == 412, "of the whole configuration too")


def stream(tap, lab):
    s = socket.create_connection(("127.0.0.1", lab.port), 10)
    s.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
    s.settimeout(10)
    got = s.recv(4096)
    lab.move("203.0.113.3", "tor1")
    lab.move("203.0.113.3", "smux")
    while b"203.0.113.3" not in got:
        got += s.recv(4096)
    s.close()
    tap.ok(b"text/event-stream" in got and b"event: move" in got and b"id: " in got, "events come as a stream, as they happen", got)


def operating(tap, lab):
    v = "203.0.113.4"
    lab.move(v, "tor2")
    lab.settled()
    ask(lab, "PUT", "/v1/drains/switch/tor2")
    tap.ok(until(lambda: "tor2" not in lab.places().values()) and lab.settled() and not any(d["vips-left"] for d in lab.get("/v1/drains")["drains"]),
           "a drained switch is left by its VIPs", lab.places(), lab.get("/v1/drains"))
    tap.refused(lambda: lab.post("/v1/moves", {"vip": v, "to": "tor2"}), 409, ["tor2", "drained"], "and none goes there")
    ask(lab, "DELETE", "/v1/drains/switch/tor2")
    ask(lab, "PUT", "/v1/drains/smux/smux1")
    puts = lab.mux["smux1"].puts
    tap.ok(until(lambda: [b for _, m, p, b in puts if p == "/v1/state" and b.get("aggregate") is None]), "a drained SMux withdraws the aggregate")
    ask(lab, "PUT", "/v1/drains/smux/smux2")
    tap.ok(ask(lab, "PUT", "/v1/drains/smux/smux3")[0] == 422, "the last SMux is not drained")
    for n in (1, 2):
        ask(lab, "DELETE", f"/v1/drains/smux/smux{n}")
    lab.settled()
    ask(lab, "PUT", "/v1/control", {"stop": True})
    move = lab.post("/v1/moves", {"vip": v, "to": "agg2"})["id"]
    tap.ok(until(lambda: "stopped" in lab.get(f"/v1/moves/{move}")["note"]) and lab.places()[v] != "agg2", "stopped: nothing moves, and it says so")
    ask(lab, "PUT", "/v1/control", {"stop": False})
    tap.ok(until(lambda: lab.places()[v] == "agg2"), "resumed: it moves")
    lab.settled()
    lab.mux["agg2"].lag = 2
    move = lab.post("/v1/moves", {"vip": v, "to": "agg3"})["id"]
    until(lambda: lab.get(f"/v1/moves/{move}")["state"] == "withdrawing")
    tap.ok(ask(lab, "DELETE", f"/v1/moves/{move}")[0] == 202 and lab.settled(seconds=15) and lab.held()[v] == ["agg2"], "an aborted move goes back", lab.held())
    lab.mux["agg2"].lag = 0.005
    ask(lab, "PUT", "/v1/vips/203.0.113.5", vip(5, DIPS[:3], 50000))
    lab.move("203.0.113.5", "smux")
    big = ask(lab, "PUT", "/v1/vips/203.0.113.4", vip(4, DIPS[:3], 50000))
    move = lab.post("/v1/moves", {"vip": v, "to": "agg3"})["id"]
    tap.ok(until(lambda: "can't take" in lab.get(f"/v1/moves/{move}")["note"]) and lab.held()[v] == ["agg2"],
           "no more traffic in transit than the SMuxes can carry", lab.get(f"/v1/moves/{move}"), big)
    tap.ok(not lab.watch.wrong, "no VIP was without a mux, on two, or on two tables", *lab.watch.wrong)


def flaps(tap, lab):
    host, v = lab.host["srv1"], "203.0.113.1"
    for _ in range(4):
        host.report(lab.url, [(v, 0, "down")])
        host.report(lab.url, [(v, 0, "up")])
    tap.ok(until(lambda: [d for d in lab.get("/v1/status")["damped-dips"] if d["vip"] == v]), "a DIP that comes and goes is held down")
    tap.ok(until(lambda: [d["state"] for d in lab.mux["smux1"].vips[v]["rules"][0]["dips"] if d["address"] == DIPS[0]] == ["down"]), "on the muxes too")


def racks(tap, lab):
    model = lab.get("/v1/monitor/model")
    made = [(ipaddress.ip_network(r["prefix"]), r["rack"]) for r in model["racks"]]
    at = {n["address" if "address" in n else "local"]: n["switch"] for n in model["servers"] + model["smuxes"]}
    found = {a: {r for p, r in made if ipaddress.ip_address(a) in p} for a in at}
    tap.ok(found == {a: {s} for a, s in at.items()} and len(made) < len(at), "prefixes of racks hold each server and SMux of the rack and none of another", made)
    h, sent = lab.host["srv1"], []
    for said in ("", "another"):
        h.racks, h.state = said, None
        h.report(lab.url, [])
        until(lambda: h.state and "racks" in h.state)
        sent.append((h.state.get("racks"), h.state.get("racks_id")))
    tap.ok(sent[0] == sent[1] and sent[0][0] == model["racks"] and sent[0][1], "a host that counts by none, or by others, is sent them", sent)
    h.racks, puts = sent[0][1], h.puts
    h.report(lab.url, [])
    lab.put("/v1/vips/203.0.113.1", dict(vip(1, DIPS[:3], 100), delivery={"type": "nat"}))
    tap.ok(until(lambda: h.puts > puts and any(v.get("delivery") == "nat" for v in h.state["vips"])) and "racks" not in h.state,
           "and one that has them is not sent them again", h.state)


def delivery(tap, api, lab):
    many = dict(vip(1, DIPS[:3], 100), delivery={"type": "virtual", "ports": [{"proto": "tcp", "port": 80, "to": 8080}], "targets": {
        a: [{"address": "192.168.0.2"}, {"address": "192.168.0.3", "weight": 2}] for a in DIPS[:3]}})
    api.conforms("PUT", "/v1/vips/203.0.113.1", "/v1/vips/{vip}", many, 200)
    tap.ok(api.conforms("GET", "/v1/vips/203.0.113.1", "/v1/vips/{vip}", status=200)["delivery"] == many["delivery"], "delivery is kept as it was given")
    told = until(lambda: next((v for v in lab.host["srv1"].state["vips"] if v["vip"] == "203.0.113.1" and "targets" in v), None))
    tap.ok(told and (told["delivery"], told["targets"], told["ports"]) == ("virtual", many["delivery"]["targets"][DIPS[0]], many["delivery"]["ports"]),
           "a host is told its own targets", told)
    mux = lab.mux["smux1"].vips["203.0.113.1"]
    tap.ok("delivery" not in mux, "a mux has nothing of it", mux)
    more = dict(many, rules=[dict(many["rules"][0], dips=vip(1, DIPS[:4], 100)["rules"][0]["dips"])])
    tap.refused(lambda: lab.put("/v1/vips/203.0.113.1", more), 422, [DIPS[3], "needs 1 to"], "a DIP more, without targets: refused")
    api.conforms("PUT", "/v1/vips/203.0.113.1", "/v1/vips/{vip}", dict(many, delivery={"type": "nat", "targets": {DIPS[0]: [{"address": "192.168.0.2"}]}}), 200)
    tap.ok(until(lambda: next(v for v in lab.host["srv2"].state["vips"] if v["vip"] == "203.0.113.1").get("delivery") == "nat") and
           "targets" not in next(v for v in lab.host["srv2"].state["vips"] if v["vip"] == "203.0.113.1"), "a host without a target of its own is told none")
    api.conforms("PUT", "/v1/vips/203.0.113.1", "/v1/vips/{vip}", vip(1, DIPS[:3], 100), 200)
    lab.settled()


def rubbish(tap, api, lab):
    rng = random.Random(3)
    pieces = [None, True, -1, 1e308, "", "x" * 5000, "\u0000", [], {}, [[[]]], {"vip": 1, "rules": 2}, {"vips": [None]}, {"hosts": [5]},
              {"assignment": [1]}, {"host": 5}, {"model": []}, {"dips": {}}, {"options": []}, {"without": [1], "vips": 3}, {"role": []}]
    bad = []
    for _ in range(600):
        path, ops = rng.choice(list(api.doc["paths"].items()))
        method = rng.choice([m for m in ops if m != "parameters"]).upper()
        at = re.sub(r"\{[^}]*\}", lambda m: rng.choice(["1", "x", "%00", "..%2f", "203.0.113.1x", "9" * 40]), path)
        query = rng.choice(["", "?limit=0", "?limit=x", "?after=%ff", "?limit=99999999999999999999", "?src=1&dst=2"])
        if method == "DELETE" and "203" in at:
            continue
        try:
            code, _, answer = ask(lab, method, at + query, rng.choice(pieces) if method != "GET" else None)
        except OSError as e:
            bad.append(f"{method} {at}: {e}")
            break
        if code >= 500 and code not in (502, 503, 507):
            bad.append(f"{method} {at}{query}: {code} {answer}")
        if code >= 400 and not (isinstance(answer, dict) and answer.get("detail")):
            bad.append(f"{method} {at}{query}: {code} without a sentence: {answer}")
    tap.ok(not bad and lab.child.poll() is None, "rubbish on every route: a sentence each, and it lives", *bad[:5])


def roles(tap, lab):
    admin = lab.put("/v1/tokens/root", {"role": "admin"})["token"]
    reader = lab.put("/v1/tokens/eve", {"role": "read"})["token"]
    operator = lab.put("/v1/tokens/oscar", {"role": "operate"})["token"]
    lab.kill(signal.SIGTERM)
    with open(lab.conf, "a", encoding="utf-8") as f:
        f.write("auth=required\nagents=nobody\n")
    lab.child = lab.place.run(os.path.join(os.environ.get("O", os.path.join(TOP, "out")), "bin/duet-controller"), "-c", lab.conf)

    def code(method, path, token=None, body=None):
        return ask(lab, method, path, body, {"Authorization": "Bearer " + token} if token else {})[0]
    tap.ok(until(lambda: code("GET", "/v1/status", reader) == 200, 30), "with roles required a reader's token reads")
    tap.ok(code("GET", "/v1/status") == 401 and code("GET", "/v1/status", "wrong") == 401, "nobody else does")
    tap.ok(code("PUT", "/v1/control", reader, {"stop": False}) == 403 and code("PUT", "/v1/control", admin, {"stop": False}) == 200 and
           code("GET", "/v1/tokens", reader) == 403 and code("GET", "/v1/tokens", admin) == 200, "a reader changes nothing, an administrator may")
    tap.ok(code("POST", "/v1/reports", reader, {"host": "srv1"}) == 403 and code("GET", "/healthz") == 200, "a reader is no agent; health is everybody's")
    def command(text, token, weight=1):
        body = vip(1, DIPS[:3], 100, check={"type": "command", "command": text})
        body["rules"][0]["dips"][0]["weight"] = weight
        return code("PUT", "/v1/vips/203.0.113.1", token, body)
    codes = (command("true", operator), command("true", admin), command("true", operator, 2), command("other", operator), command("../true", admin))
    tap.ok(codes == (403, 200, 200, 403, 422), "a command that hosts are to run is an administrator's; an operator may keep it", codes)
    audit = ask(lab, "GET", "/v1/audit", None, {"Authorization": "Bearer " + admin})[2]["audit"]
    tap.ok({"token:root", "token:oscar"} <= {a["who"] for a in audit}, "the audit names the token", audit[-1])
    tap.ok(until(lambda: ask(lab, "GET", "/v1/status", None, {"Authorization": "Bearer " + reader})[2]["muxes"]["in-sync"] == 13),
           "and the parts know each other")


def steps(tap, place):
    lab = Lab(place)
    api = Api(tap, lab)
    document(tap, api)
    lab.start()
    vips = [vip(n, DIPS[(n - 1) % 6:(n - 1) % 6 + 3], 100) for n in range(1, 7)]
    vips[0] = vip(1, DIPS[:3], 100)
    lab.put("/v1/config", {"vips": vips})
    lab.settled()
    lab.watch.must = {v["vip"] for v in vips}
    conformance(tap, api, lab)
    racks(tap, lab)
    delivery(tap, api, lab)
    lost_updates(tap, lab)
    stream(tap, lab)
    operating(tap, lab)
    flaps(tap, lab)
    lab.watch.must = set()
    rubbish(tap, api, lab)
    roles(tap, lab)


if __name__ == "__main__":
    sys.exit(run_test(steps))
