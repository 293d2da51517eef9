#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The web page in a headless Chromium, served by the real controller with
agents that can die: everything is where it is, what changes is seen without a
reload, nothing comes from elsewhere, a name is no script.

usage: test_web.py [--shots DIR]    pictures to look at, instead of the test
"""
import os
import signal
import sqlite3
import sys
import urllib.error
import urllib.request

import agents
import test_moves
from browser import DRIVER, ENTER, Browser
from ctl import Certificates
from fabric import BIN, run_test, until
from test_moves import DIPS, Lab, vip

HOSTILE = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"


class Mux(agents.Mux):
    """An agent that tells of ports and tables too"""

    ports = None	# port: up; None: it doesn't tell

    def locked(self, method, path, body, query):
        status, answer = super().locked(method, path, body, query)
        if method == "GET" and path == "/v1/status":
            dips = {d["address"] for v in self.vips.values() for r in v["rules"] for d in r["dips"]}
            rules = [r for v in self.vips.values() for r in v["rules"]]
            answer["device"] = {"limits": {"vips": 16384, "rules": 1024, "members": 4096, "tunnels": self.tunnels or 65536},
                                "used": {"vips": len(self.vips), "rules": len(rules), "members": sum(len(r["dips"]) for r in rules),
                                         "tunnels": len(dips)}}
            if self.ports is not None:
                answer["links"] = [{"port": p, "up": up} for p, up in self.ports.items()]
        return status, answer


test_moves.Mux = Mux


def tell_ports(lab):
    """from now on every agent tells of its ports"""
    for link in lab.get("/v1/topology")["links"]:
        for end in "ab":
            mux = lab.mux.get(link[end])
            if mux:
                mux.ports = dict(mux.ports or {}, **{link[f"port-{end}"]: True})


def cut(lab, a, b, up=False):
    link = next(x for x in lab.get("/v1/topology")["links"] if {x["a"], x["b"]} == {a, b})
    for end in "ab":
        lab.mux[link[end]].ports[link[f"port-{end}"]] = up
    return f'.link.down[data-a="{link["a"]}"][data-b="{link["b"]}"]'


def ask(url, **headers):
    """(status, headers, text)"""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=10) as a:
            return a.status, a.headers, a.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read().decode()


def files(tap, lab):
    status, heads, text = ask(lab.url + "/")
    tap.ok(status == 200 and heads["Content-Type"].startswith("text/html") and heads["X-Content-Type-Options"] == "nosniff" and
           "default-src 'none'" in heads["Content-Security-Policy"] and "unsafe" not in heads["Content-Security-Policy"] and "<script type" in text,
           "the page comes with a type and a strict policy", heads)
    again = ask(lab.url + "/", **{"If-None-Match": heads["ETag"]})
    other = ask(lab.url + "/", **{"If-None-Match": '"x"'})
    tap.ok(again[0] == 304 and not again[2] and other[0] == 200, "what the browser has is not sent again", again[0], other[0])
    script, style = ask(lab.url + "/web/page.js"), ask(lab.url + "/web/page.css")
    tap.ok(script[1]["Content-Type"].startswith("text/javascript") and style[1]["Content-Type"].startswith("text/css"), "scripts and styles have theirs")
    tap.ok(ask(lab.url + "/web/page.jsx")[0] == 404 and ask(lab.url + "/web/..%2fpage.js")[0] == 404, "what is no file of the page is not there")


def picture(tap, lab, b):
    b.open(lab.url + "/")
    tap.ok(b.seen("#health", "well") and b.seen("#line", "live"), "the page loads: all is well, and it is live", b.text("header"), b.text("#faults"))

    def drawn():
        return b.js("return [...document.querySelectorAll('#drawing [data-name]')].map(e => e.dataset.name).sort()")
    tap.ok(until(lambda: drawn() == sorted(lab.mux)), "every switch and SMux is drawn", drawn())
    links = b.js("return document.querySelectorAll('.link').length")
    tap.ok(links == 16 + 3, "every link too", links)
    wrong = []
    for address, mux in lab.places().items():
        name = lab.get(f"/v1/vips/{address}")["name"]
        if not b.seen(f'[data-vip="{address}"] .place', "SMuxes" if mux == "smux" else mux, 5):
            wrong.append(f"{address}: {b.text(f'[data-vip={chr(34)}{address}{chr(34)}]')}")
        if mux != "smux" and name != HOSTILE and not b.seen(f'[data-name="{mux}"] .vip', name, 5):
            wrong.append(f"{name} is not on {mux}: {b.text(f'[data-name={mux}]')}")
    tap.ok(not wrong, "every VIP is listed where it lives, and drawn there", *wrong)
    tap.ok(b.seen('[data-name="core1"] .value', "/16k", 5) and b.seen(".labels text", "%", 10), "tables are told in numbers, load of links in percent",
           b.text(".labels"), lab.get("/v1/fabric?detail=core")["load-age-ms"])
    b.js("document.querySelector('[data-vip=\"203.0.113.1\"] button').focus()")
    b.keys('[data-vip="203.0.113.1"] button', ENTER)
    home = lab.places()["203.0.113.1"]
    tap.ok(b.seen('[data-vip="203.0.113.1"] .details', "srv1 on tor1") and b.seen(f'.node.home[data-name="{home}"]') and b.seen('.node.rack[data-name="tor1"]')
           and b.seen(".link.way-in, .link.way-out"),
           "by keyboard: a VIP opens, its place, its way and its DIPs' racks are marked", b.text(".details"))
    b.keys('[data-vip="203.0.113.1"] button', ENTER)
    b.keys(f'[data-name="{home}"]', ENTER)
    only = {v for v, m in lab.places().items() if m == home}
    tap.ok(until(lambda: set(b.js("return [...document.querySelectorAll('#list [data-vip]')].map(e => e.dataset.vip)")) == only),
           "a switch chosen: the list is of its VIPs", b.text("#list"))
    b.click("#filter")
    b.keys("#find", "113.2")
    tap.ok(until(lambda: b.js("return [...document.querySelectorAll('#list [data-vip]')].map(e => e.dataset.vip)") == ["203.0.113.2"]), "VIPs are found by a part of their address")
    b.keys("#find", "\ue003" * 5)
    b.seen('[data-vip="203.0.113.1"]')
    severe, requests = b.logs()
    tap.ok(not severe, "the console is silent", *severe)
    outside = [u for u in requests if not u.startswith(lab.url) and not u.startswith(("data:", "about:", "chrome:"))]
    tap.ok(requests and not outside, "nothing is asked for elsewhere", *outside)
    b.js("window.before = 1")


def changes(tap, lab, b):
    v, here = "203.0.113.1", lab.places()["203.0.113.1"]
    there = "tor4" if here != "tor4" else "tor3"
    lab.mux[here].lag = lab.mux[there].lag = 2
    lab.post("/v1/moves", {"vip": v, "to": there})
    tap.ok(b.seen("#running .runs", v) and b.seen("#running .runs .step", "withdrawing"), "a move that runs appears, with its step", b.text("#running"))
    tap.ok(b.seen("#running .runs .step", "announcing"), "and the next one", b.text("#running"))
    tap.ok(b.seen(f'[data-vip="{v}"] .place', there) and until(lambda: not b.text("#running .runs")) and b.seen(f'[data-name="{there}"] .vip', "web1")
           and b.seen("#log", "moved"), "it ends, and the VIP is shown at its new place", b.text("#running"), b.text("#list"))
    down = cut(lab, "agg1", "core1")
    tap.ok(b.seen(down) and b.seen(".labels .down", "down"), "a dead link is drawn dead", b.text("#faults"))
    cut(lab, "agg1", "core1", True)
    tap.ok(until(lambda: not b.js("return document.querySelector('.link.down')")), "and alive again when it is")
    lab.mux["agg3"].stop()
    tap.ok(b.seen('.node.s-unreachable[data-name="agg3"]', "unreachable") and b.seen("#faults", "agg3") and b.seen("#health", "fault"), "a dead switch is drawn dead, and is a fault",
           b.text('[data-name="agg3"]'))
    lab.mux["agg3"].start()
    lab.host["srv1"].report(lab.url, [(v, 0, "down")])
    tap.ok(b.seen(f'[data-vip="{v}"] .dots', "1 down") and b.seen("#log li", "dip-down"), "a dead DIP is seen in the list, and as an event", b.text("#list"))
    lab.host["srv1"].report(lab.url, [(v, 0, "up")])
    tap.ok(until(lambda: not b.js("return document.querySelector('.dot.down')")) and b.seen("#log li", "dip-up"), "and its return")
    lab.put("/v1/control", {"stop": True})
    tap.ok(b.seen("#counts", "moves are stopped"), "the stop switch is on top")
    lab.put("/v1/control", {"stop": False})
    b.seen("#health", "well")


def restart(tap, lab, b):
    lab.kill()
    tap.ok(b.seen("#line.away", "lost"), "the controller is killed: the page says so")
    lab.start()
    lab.settled()
    tap.ok(b.seen("#line.live", "live", 15) and b.seen("#counts", f"epoch {lab.get('/v1/status')['epoch']}"), "it is started: the page goes on", b.text("header"))
    lab.host["srv2"].report(lab.url, [("203.0.113.1", 0, "down")])
    tap.ok(b.seen("#log li", DIPS[1]), "with events from where they ended", b.text("#log"))
    ids = b.js("return [...document.querySelectorAll('#log li')].map(e => +e.dataset.event)")
    tap.ok(ids == sorted(set(ids), reverse=True) and {e["id"] for e in lab.get("/v1/events?limit=50")["events"]} <= set(ids) and b.js("return window.before") == 1,
           "none twice, none left out, no reload", ids)


def hostile(tap, lab, b):
    tap.ok(b.js("return [...document.querySelectorAll('#list .name')].some(e => e.textContent === arguments[0])", HOSTILE) and b.seen("#log", "<img"),
           "a name that is markup is shown as it is written", b.text("#list .name"))
    tap.ok(b.js("return window.hacked === undefined && !document.querySelector('main img, body script:not([src])')"), "and is none")
    refused = b.js("""
        const script = document.createElement('script');
        try { script.textContent = 'window.inline = 1'; document.body.append(script); } catch (e) {}
        let said = 0;
        try { document.body.setAttribute('onclick', 'window.inline = 1'); document.body.click(); } catch (e) { said++; }
        try { document.body.insertAdjacentHTML('beforeend', '<b>x</b>'); } catch (e) { said++; }
        setTimeout(() => { try { (0, eval)('window.inline = 1'); } catch (e) { window.refused = 1; } }, 0);	/* WebDriver's own may */
        return said""")
    tap.ok(refused == 2 and until(lambda: b.js("return window.refused")) and b.js("return window.inline === undefined"), "scripts inline, handlers, markup from strings and eval are refused", refused)


def narrow(tap, b):
    b.size(420, 900)
    tap.ok(until(lambda: b.js("return document.documentElement.scrollWidth <= 420 && document.querySelector('#drawing svg').getBoundingClientRect().width <= 410")),
           "it fits a screen of 420 pixels", b.js("return [document.documentElement.scrollWidth, document.querySelector('#drawing svg').getBoundingClientRect().width]"))
    b.size(1280, 800)
    tap.ok(until(lambda: b.js("return document.documentElement.scrollWidth <= 1280 && document.documentElement.scrollHeight <= 800")), "and one of 1280x800, whole",
           b.js("return [document.documentElement.scrollWidth, document.documentElement.scrollHeight]"))


def tokens(tap, lab, b):
    reader = lab.put("/v1/tokens/eve", {"role": "read"})["token"]
    lab.kill(signal.SIGTERM)
    with open(lab.conf, "a", encoding="utf-8") as f:
        f.write("auth=required\nagents=nobody\n")
    lab.child = lab.place.run(f"{BIN}/duet-controller", "-c", lab.conf)
    until(lambda: ask(lab.url + "/healthz")[0] == 200, 20)
    b.open(lab.url + "/")
    tap.ok(b.seen("#ask[open]", "token", 15), "where a token is needed the page asks for one", b.text("#ask-why"))
    b.keys("#token", "wrong" + ENTER)
    tap.ok(b.seen("#ask[open]"), "again if it is wrong")
    until(lambda: b.js("return document.querySelector('#token').value === ''"))
    b.keys("#token", reader + ENTER)
    tap.ok(b.seen("#line.live", "live", 20) and b.seen("#list", "web1"), "with a reader's it shows all, events too", b.text("header"), b.text("#ask-why"))
    tap.ok(b.js("return localStorage.length === 0 && document.cookie === '' && Object.values(sessionStorage)[0] === arguments[0]", reader), "which is kept in the tab alone")


def tls(tap, lab):
    """the listener that takes nobody without a certificate, as it is outside a test"""
    known = Certificates(lab.place)
    for name in ("ctl", "eve", "nobody"):
        known.make(name)
    lab.kill(signal.SIGTERM)
    with open(lab.conf, encoding="utf-8") as f:
        text = f.read().replace("insecure=yes\n", f"readers=eve\n{known.keys('ctl')}")
    lab.place.write(os.path.basename(lab.conf), text)
    lab.child = lab.place.run(f"{BIN}/duet-controller", "-c", lab.conf)
    url = lab.url.replace("http:", "https:")
    for name, sees in (("eve", True), ("nobody", False)):
        b = Browser(lab.place, files=known.files(name))
        try:
            until(lambda: b.open(url + "/") or b.text("title"), 20)
            if sees:
                tap.ok(b.seen("#line.live", "live", 20) and b.seen("#list", "web1") and b.js("return !document.querySelector('#ask[open]')"),
                       "over TLS a reader's certificate is enough: all is shown, events too, and no token asked for", b.text("header"), b.text("#ask-why"))
                severe = b.logs()[0]
                tap.ok(not severe, "and the browser finds nothing wrong with that", severe)
            else:
                tap.ok(b.seen("#ask[open]", "token", 15), "a certificate of nobody's: a token is asked for", b.text("#ask-why"))
        finally:
            b.close()


def configured(lab):
    """eight VIPs, some of them large, where the engine puts them"""
    lab.start()
    vips = [vip(n, DIPS[(n - 1) % 6:(n - 1) % 6 + 3], 4200 - 400 * n, {"internet": 0.7, f"tor{n % 4 + 1}": 0.3}) for n in range(1, 8)]
    lab.put("/v1/config", {"vips": vips})
    lab.settled()
    lab.kill()	# a name that no API takes, of a store of before that
    db = sqlite3.connect(lab.place.path("store.sqlite"))
    for table in ("vip", "event"):
        db.execute(f"UPDATE {table} SET value = replace(value, 'web7', ?)", (HOSTILE,))
    db.commit()
    db.close()
    lab.start()
    lab.settled()
    lab.post("/v1/assign")
    lab.settled()
    lab.move("203.0.113.7", "smux")
    tell_ports(lab)
    until(lambda: not lab.get("/v1/status")["faults"])


def steps(tap, place):
    lab = Lab(place)
    configured(lab)
    b = Browser(place)
    b.size(1280, 800)
    try:
        files(tap, lab)
        picture(tap, lab, b)
        changes(tap, lab, b)
        restart(tap, lab, b)
        hostile(tap, lab, b)
        narrow(tap, b)
        tokens(tap, lab, b)
    finally:
        b.close()
    tls(tap, lab)


if __name__ == "__main__":
    if not DRIVER:
        print("1..0 # SKIP no chromedriver: scripts/deps")
        sys.exit(4)
    if "--shots" in sys.argv[1:]:
        import shots
        shots.take(sys.argv[-1])
        sys.exit(0)
    sys.exit(run_test(steps))
