#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duetctl and a controller with certificates, roles and tokens, on TCP and on
a unix socket; below it real mux agents with their simulated data plane, each
in a namespace of its own, reached by unix sockets."""
import json
import os
import sys

from ctl import Certificates, Ctl
from fabric import BIN, free_ports, run_test, topology, until

ALL = (0, 1, 2)	# of status: well, warnings, faults; here there is no BIRD


def agent(place, name, mode, local):
    sock = place.path(f"{name}.sock")
    os.makedirs(place.path(name))
    conf = place.write(f"{name}.conf", f"[agent]\nname={name}\nlisten=unix:{sock}\nrun_dir={place.path(name)}\n"
                                       f"[device]\nname=mux0\nmode={mode}\nlocal={local}\nbackend=sim\n[bird]\nsocket={place.path('bird.ctl')}\n")
    place.run("unshare", "-n", f"{BIN}/duet-mux-agent", "-c", conf)
    return f"unix:{sock}"


def controller(place, port):
    agents = {"core1": agent(place, "core1", "hmux", "10.254.0.1"), "smux1": agent(place, "smux1", "smux", "10.254.1.1")}
    dot = place.write("topology.dot", topology(agents, {"srv1": ("10.1.1.1", "tor1")}))
    return (f"[controller]\nname=ctl\nlisten=127.0.0.1:{port} unix:{place.path('ctl.sock')}\nstore={place.path('s.sqlite')}\n"
            f"topology={dot}\naggregate=203.0.113.0/24\nauth=required\nadmins=alice,uid:{os.geteuid()}\nreaders=eve\nagents=nobody\n")


def tls(tap, place, ctl, certificates, url):
    alice, eve = certificates.options("alice"), certificates.options("eve")
    tap.ok(until(lambda: ctl("status", *alice).returncode in ALL, 20), "https with a certificate of the CA", ctl("status", *alice))
    one = {"vip": "203.0.113.1", "rules": [{"dips": [{"address": "10.1.1.1"}]}]}
    ctl.ok("a configuration over https", ctl("apply", "-f", "-", *alice, text=json.dumps({"vips": [one]})), "1 VIPs added")
    tap.ok(until(lambda: "muxes  2: 2 in sync" in ctl("status", *alice).stdout, 20), "the real agents below it are in sync", ctl("status", *alice))
    ctl.ok("and hold it", ctl("mux", "show", "smux1", *alice), "in-sync", "VIPs     1,")
    ctl.ok("a reader reads", ctl("vip", "list", *eve), "VIP")
    ctl.refused("and changes nothing: told which role it takes", ctl("stop", *eve), "operate", "eve", "read")
    ctl.refused("https and no certificate at all", ctl("status"), "--tls-cert", code=4)
    ctl.refused("a part of the three", ctl("status", *alice[:4]), "tls-ca", "missing", code=4)
    ctl.refused("a file that is not there", ctl("status", *alice[:4], "--tls-ca", place.path("none.pem")), "none.pem", code=4)
    ctl.refused("a key of another certificate", ctl("status", *alice[:2], *eve[2:]), "tls-cert", "tls-key", code=4)
    mallory = [w.replace("ca.pem", "other.pem") if "mallory" not in w else w for w in certificates.options("mallory")]
    ctl.refused("a controller of another CA than ours", ctl("status", *mallory), url, "another CA", code=3)
    ctl.refused("ours of another CA than the controller's", ctl("status", *certificates.options("mallory")), url, "CA of our certificate", code=3)
    ctl.refused("plain http where TLS is spoken", ctl("-c", url.replace("https", "http"), "status"), "https://", code=3)
    conf = place.write("duetctl.conf", f"[duetctl]\ncontroller={url}/\n{certificates.keys('alice')}")
    ctl.ok("all of it from a file", ctl("status", DUETCTL_CONF=conf, DUETCTL_URL=""), url, code=2)
    cert, key, ca = certificates.files("eve")
    ctl.refused("the environment goes before the file", ctl("stop", DUETCTL_CONF=conf, DUETCTL_TLS_CERT=cert, DUETCTL_TLS_KEY=key, DUETCTL_TLS_CA=ca), "eve")
    ctl.ok("options before both", ctl("stop", *alice, DUETCTL_CONF=conf, DUETCTL_TLS_CERT=cert, DUETCTL_TLS_KEY=key), "nothing moves")
    ctl.ok("resume", ctl("resume", *alice), "go on")
    ctl.refused("a file that was named and isn't there", ctl("status", DUETCTL_CONF=place.path("none.conf")), "none.conf", code=4)
    ctl.refused("a file with an unknown key", ctl("status", DUETCTL_CONF=place.write("bad.conf", "[duetctl]\ncolour=red\n")), "bad.conf", "colour", code=4)
    name = place.write("name.pem", "")
    ctl.refused("a certificate file with nothing in it", ctl("status", "--tls-cert", name, *alice[2:]), "name.pem", code=4)


def unix(ctl, place):
    sock = f"unix:{place.path('ctl.sock')}"
    ctl.ok("by the unix socket, which the user may open", ctl("-c", sock, "status"), "ctl at unix:", code=2)
    ctl.refused("a socket that isn't there", ctl("-c", sock.replace("ctl.sock", "none.sock"), "status"), "none.sock", code=3)
    return sock


def tokens(tap, ctl, place, sock, alice):
    got = ctl("-c", sock, "token", "add", "bob", "read")
    ctl.ok("a token is made and printed alone", got)
    file = place.write("token", got.stdout)
    by_token = ["-c", sock, "--token-file", file]
    ctl.ok("it reads", ctl(*by_token, "vip", "list"))
    ctl.refused("and no more, whoever holds the socket", ctl(*by_token, "stop"), "operate", "bob")
    ctl.refused("over https too: the token counts, not the certificate", ctl("stop", *alice, "--token-file", file), "bob")
    ctl.ok("token list", ctl("-c", sock, "token", "list"), "bob", "read")
    ctl.refused("a role that is none", ctl("-c", sock, "token", "add", "bob", "king"), "role")
    ctl.ok("token delete", ctl("-c", sock, "token", "delete", "bob"))
    ctl.refused("it is good for nothing", ctl(*by_token, "vip", "list"), "role")
    ctl.refused("an empty token file", ctl("-c", sock, "--token-file", place.write("empty", ""), "status"), "empty", "no token", code=4)
    audit = ctl("-c", sock, "audit")
    tap.ok("alice" in audit.stdout and "/v1/tokens/bob" in audit.stdout, "the audit has who did it", audit.stdout)


def steps(tap, place):
    if os.geteuid():
        tap.ok(True, "duetctl with TLS # SKIP agents in namespaces of their own need root")
        return
    certificates = Certificates(place)
    for name in ("ctl", "alice", "eve"):
        certificates.make(name)
    Certificates(place, "other").make("mallory")
    port = free_ports(1)[0]
    url = f"https://127.0.0.1:{port}"
    place.run(f"{BIN}/duet-controller", "-c", place.write("c.conf", controller(place, port) + certificates.keys("ctl")))
    ctl = Ctl(tap, url)
    tls(tap, place, ctl, certificates, url)
    sock = unix(ctl, place)
    tokens(tap, ctl, place, sock, certificates.options("alice"))


if __name__ == "__main__":
    sys.exit(run_test(steps))
