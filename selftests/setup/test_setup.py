#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-setup: what it refuses and how, what it writes when, and that the daemons of what it wrote obey each other and nobody else."""
import http.client
import json
import os
import re
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "agents"))
from lib import BIN, CLEANUP, TOP, Daemon, Failed, check, equal, folder, inside, main, namespace, run, test, until  # noqa: E402

SETUP = os.path.join(TOP, "setup", "duet-setup")
NS = "duet-t-setup"
ENV = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}:/usr/sbin"}


def sample():
    """the inventory that comes with it, without its first line"""
    with open(f"{TOP}/setup/example.yaml", encoding="utf-8") as f:
        return f.read().split("\n", 1)[1]


MORE = """
deployment: all
vips: 203.0.113.0/24
bfd: no
hold_time: 30
certificate_days: 90
manage_sysctl: no
operators: {alice: admin, oscar: operator, eve: reader, prom: metrics}
etcd: {urls: ["https://10.0.0.9:2379"]}
controllers:
  ctl1: {address: 10.0.0.2}
  ctl2: {address: 10.0.0.3}
switches:
  core-1: {role: core, loopback: 10.254.0.1, asn: 65001}
  agg1: {role: agg, container: 3, loopback: 10.254.0.2, asn: 65002}
  tor1: {role: tor, container: 3, loopback: 10.254.0.3, asn: 65003, networks: [10.1.0.0/24], manage: 10.200.0.3}
smuxes:
  smux1: {loopback: 10.254.1.1, asn: 65101}
hosts:
  srv.1: {address: 10.1.0.2, interface: eth0}
links:
  - {from: "core-1:swp1", to: "agg1:swp1", addresses: [10.255.1.0, 10.255.1.1], speed: 100G}
  - {from: "tor1:swp1", to: "agg1:swp2", addresses: [10.255.2.1, 10.255.2.0], speed: 40G}
  - {from: "tor1:swp2", to: "smux1:eth0", addresses: [10.1.0.1, 10.1.0.9]}
  - {from: "tor1:swp3", to: "srv.1:eth0"}
"""


class Site:
    """an inventory in a folder, and duet-setup on it"""

    def __init__(self, text=None):
        self.dir = folder()
        self.write(text or sample())

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def write(self, text):
        with open(self.path("inventory.yaml"), "w", encoding="utf-8") as f:
            f.write(text)

    def replace(self, old, new):
        text = self.read("inventory.yaml")
        check(old in text, f"the inventory has no '{old}'")
        self.write(text.replace(old, new, 1))

    def read(self, *names):
        with open(self.path(*names), encoding="utf-8") as f:
            return f.read()

    def __call__(self, *args, status=0, **env):
        done = subprocess.run([SETUP, *args], cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, env={**ENV, **env})
        check(done.returncode == status, f"duet-setup {' '.join(args)}: {done.returncode}, want {status}: {done.stdout}{done.stderr}")
        return done.stderr if status and not done.stdout else done.stdout

    def files(self):
        """{path: (mode, content)}"""
        found = {}
        for where, _, names in os.walk(self.path("deployment")):
            for name in names:
                path = os.path.join(where, name)
                with open(path, "rb") as f:
                    found[os.path.relpath(path, self.dir)] = (os.stat(path).st_mode & 0o777, f.read())
        return found

    def cert(self, name, kind="nodes"):
        return self.path("deployment", kind, name, *(["etc/duet/tls"] if kind == "nodes" else []), "cert.pem")


# (what is changed, into what, the words that must be in the sentence)
REFUSED = [
    ("vips: 203", "vip: 203", ["inventory.yaml:2:", "no key 'vip'", "do you mean 'vips'"]),
    ("loopback: 10.254.1.1,", "lopback: 10.254.1.1,", ["inventory.yaml:10:", "smuxes smux1", "do you mean 'loopback'"]),
    ("vips: 203.0.113.0/24", "vips: 203.0.113.5/24", ["inventory.yaml:2:", "host bits"]),
    ("vips: 203.0.113.0/24", "vips: 203.0.113.0/30", ["/30", "/8 to a /28"]),
    ("vips: 203.0.113.0/24", "vips: [203.0.113.0/24]", ["inventory.yaml:2:", "single value"]),
    ("deployment: quickstart\n", "", ["'deployment' is missing"]),
    ("deployment: quickstart", "deployment: 'a b'", ["'a b'", "isn't valid"]),
    ("{alice: admin}", "{alice: amdin}", ["'amdin' is none of", "do you mean 'admin'"]),
    ("{alice: admin}", "{alice: reader}", ["nobody is 'admin'"]),
    ("{alice: admin}", "{smux1: admin}", ["inventory.yaml:10:", "name of an operator", "unique"]),
    ("address: 10.0.0.2", "address: 10.0.0.256", ["inventory.yaml:5:", "10.0.0.256", "no IPv4 address"]),
    ("address: 10.0.0.2", "address: 224.0.0.1", ["can't be the address"]),
    ("address: 10.0.3.2", "address: 203.0.113.7", ["203.0.113.7", "VIPs"]),
    ("address: 10.0.3.2", "address: 10.0.4.2", ["10.0.4.2", "web1", "too"]),
    ("address: 10.0.3.2", "address: 10.9.9.9", ["10.9.9.9", "none of the networks of router"]),
    ("role: tor", "role: spine", ["'spine' is none of core, agg, tor"]),
    ("asn: 65102", "asn: 65101", ["AS 65101", "smux1"]),
    ("asn: 65102", "asn: 0", ["whole number from 1"]),
    ("mux: no", "mux: maybe", ["neither yes nor no"]),
    ("capacity: 10G", "capacity: fast", ["'fast'", "10G"]),
    ("smux2: {", "smux: {", ["called 'smux'", "controller uses that word"]),
    ("  smux2: {", "  smux1: {", ["'smux1' is given twice"]),
    ("web2: {", "we/b: {", ["'we/b'", "isn't valid", "letters"]),
    ("router:eth1", "roter:eth1", ["no node 'roter'", "do you mean 'router'"]),
    ("router:eth1", "router.eth1", ["NODE:PORT"]),
    ("router:eth2", "router:eth1", ["eth1 of router has another link"]),
    ("router:eth2", "router:eth5", ["eth5 of router has another link"]),
    (", addresses: [10.0.1.1, 10.0.1.2]", "", ["'addresses' is missing"]),
    ("[10.0.1.1, 10.0.1.2]", "[10.0.1.1]", ["two addresses"]),
    ('to: "web1:eth0"', 'to: "web1:eth7"', ["interface is eth0", "eth7"]),
    ('to: "web1:eth0"', 'to: "ctl:eth0"', ["ctl is a controller"]),
    ('from: "router:eth3"', 'from: "smux1:eth3"', ["linked with a tor"]),
    ("  - {from: \"router:eth4\", to: \"web2:eth0\", speed: 10G}\n", "", ["web2", "0 links"]),
    ("  ctl: {address: 10.0.0.2}", "  ctl: {address: 10.0.0.2}\n  ctl2: {address: 10.0.0.3}", ["store in etcd"]),
    ("links:", "links: [", ["inventory.yaml:", "no YAML"]),
    ("hosts:", "host:", ["no key 'host'", "do you mean 'hosts'"]),
]


@test
def bad_inventories():
    """each mistake is refused in a sentence with its line, and nothing is written"""
    for old, new, words in REFUSED:
        site = Site()
        site.replace(old, new)
        for command in ("check", "generate"):
            said = site(command, status=1)
            check(all(w in said for w in words) and said.count("\n") == 1, f"'{new}' for '{old}': wanted {words}, got: {said}")
        check(not site.files(), f"'{new}': something was written")
    site = Site("\n")
    check("empty" in site(status=1), "an empty file")
    site.write("a: b\x00")
    check("no YAML" in site(status=1), "a control character")
    with open(site.path("inventory.yaml"), "wb") as f:
        f.write(b"deployment: \xff\n")
    check("UTF-8" in site(status=1), "not UTF-8")
    check("none.yaml" in site("-i", "none.yaml", status=1), "no file")
    for line in (["destroy"], ["renew"], ["renew", "--all", "web1"], ["revoke"], ["revoke", "a", "b"], ["check", "web1"], ["--colour"]):
        check("usage:" in site(*line, status=2), f"{line} is wrong usage")


@test
def idempotent():
    """run again it writes nothing; after a change only what differs, and --diff writes nothing at all"""
    site = Site()
    check("6 of 6 machines" in site(), "the first time")
    before = site.files()
    check("nothing differs" in site() and site.files() == before, "a second run changed something")
    equal(site("--diff"), "", "--diff of no difference")
    for path, (mode, _) in before.items():
        secret = os.path.basename(path) in ("ca.key", "key.pem", "hash.key")
        equal(mode, 0o600 if secret else 0o755 if path.endswith("install.sh") else 0o644, f"mode of {path}")
    equal(os.stat(site.path("deployment/ca")).st_mode & 0o777, 0o700, "mode of the CA's folder")
    equal([p for p in before if p.endswith("ca.key")], ["deployment/ca/ca.key"], "where the CA's key is")
    site.replace("10.0.4.0/24, 198", "10.0.4.0/24, 10.0.5.0/24, 198")
    said = site("--diff", status=1)
    check("+\troute 10.0.5.0/24 unreachable;" in said and site.files() == before, f"--diff: {said}")
    changed = {c["path"] for c in json.loads(site("--diff", "-j", status=1))["changed"]}
    equal(json.loads(site("-j"))["written"], True, "written")
    after = site.files()
    equal({p for p in after if after[p] != before.get(p)}, changed, "files that changed against those that --diff named")
    check(changed and not any(p.endswith(".pem") or "/web" in p for p in changed), f"changed: {changed}")
    site.replace("hosts:\n", "hosts:\n  web3: {address: 10.0.5.2, interface: eth0}\n")
    site.replace("links:\n", "links:\n  - {from: \"router:eth6\", to: \"web3:eth0\"}\n")
    equal(json.loads(site("-j"))["certificates"], {"web3": "there is none yet"}, "certificates for a new host")
    site.replace("  web3: {address: 10.0.5.2, interface: eth0}\n", "")
    site.replace("  - {from: \"router:eth6\", to: \"web3:eth0\"}\n", "")
    check("duet-setup revoke web3" in json.loads(site("-j"))["notes"][0], "a host that went away")
    site("revoke", "web3")
    check(not os.path.exists(site.cert("web3")) and json.loads(site("-j"))["notes"] == [], "and is revoked")
    os.chmod(site.path("deployment/ca/ca.key"), 0o644)
    check("chmod 600" in site(status=1), "a CA's key that others can read")
    os.unlink(site.path("deployment/ca/ca.key"))
    check("one is missing" in site(status=1), "a CA without its key makes no new one")


@test
def certificates():
    """names, addresses and purposes; renewed when asked for, when they expire, when an address changes; revoked"""
    site = Site()
    site("--ca", "vault")
    text = run("openssl", "x509", "-in", site.cert("smux1"), "-noout", "-text")
    for words in ("CN = smux1", "DNS:smux1", "IP Address:10.254.1.1", "TLS Web Server Authentication", "CA:FALSE"):
        check(words in text, f"no '{words}' in {text}")
    person = run("openssl", "x509", "-in", site.cert("alice", "operators"), "-noout", "-text")
    check("TLS Web Client" in person and "TLS Web Server" not in person, "a person's certificate is no server's")
    check(not os.path.exists(site.path("deployment/ca")), "the CA is where --ca says")

    def serials():
        return {n: run("openssl", "x509", "-in", site.cert(n), "-noout", "-serial") for n in ("ctl", "smux1", "smux2", "web1", "web2")}

    old = serials()
    site("--ca", "vault", "renew", "web1")
    equal({n for n, s in serials().items() if s != old[n]}, {"web1"}, "renewed")
    site("--ca", "vault", "renew", "--all")
    check(not set(serials().values()) & set(old.values()), "all renewed")
    check("no machine or operator 'web9'" in site("--ca", "vault", "renew", "web9", status=1), "renew of nobody")
    old = serials()
    site.replace("address: 10.0.3.2", "address: 10.0.3.3")
    equal(json.loads(site("--ca", "vault", "-j"))["certificates"], {"web1": "name or addresses changed"}, "another address")
    # of 2 days, 16 hours before the end is a third; 'faketime' is no package of ours, so one that is that old is made
    site.replace("vips:", "certificate_days: 1\nvips:")
    site("--ca", "vault", "renew", "web2")
    run("openssl", "req", "-new", "-key", os.path.join(os.path.dirname(site.cert("web2")), "key.pem"), "-subj", "/CN=web2", "-out", site.path("csr"))
    with open(site.path("ext"), "w", encoding="ascii") as f:
        f.write("subjectAltName=DNS:web2,IP:10.0.4.2\n")
    for days, reason in (("29", "it expires on"), ("31", None)):
        run("openssl", "x509", "-req", "-in", site.path("csr"), "-CA", site.path("vault/ca.pem"), "-CAkey", site.path("vault/ca.key"),
            "-CAcreateserial", "-out", site.cert("web2"), "-extfile", site.path("ext"), "-days", days)
        issued = json.loads(site("--ca", "vault", "-j", "check"))["certificates"]
        # 29 days of 29 are not a third of its time: it is new, not old
        check("web2" not in issued, f"{days} days, just made: {issued}")
    site("--ca", "vault", "revoke", "alice")
    crl = run("openssl", "crl", "-in", site.path("vault/crl.pem"), "-noout", "-text")
    check(re.search("Serial Number: [0-9A-F]{20}", crl), crl)
    equal(site.read("vault/crl.pem"), site.read("deployment/nodes/web1/etc/duet/tls/crl.pem"), "the list is on every machine")
    check("no certificate of 'mallory'" in site("--ca", "vault", "revoke", "mallory", status=1), "revoke of nobody")
    check("nothing differs" in site("--ca", "vault"), "nothing differs after all that")


@test
def whole_fabric():
    """every role, several controllers, names with '-' and '.': each daemon and BIRD accept what was written for it"""
    site = Site(MORE)
    site()
    equal(json.loads(site("check", "-j"))["not-checked-by"], [], "programs that didn't check")
    equal(len(site.read("deployment/nodes/ctl1/etc/duet/hash.key").strip()), 32, "hash key")
    equal(site.read("deployment/nodes/ctl1/etc/duet/part.secret"), site.read("deployment/nodes/ctl2/etc/duet/part.secret"), "the controllers' word")
    check("controllers = cert:ctl1, cert:ctl2" in site.read("deployment/nodes/srv.1/etc/duet/host-agent.conf"), "both controllers may command")
    urls = re.search(r"^controller = (.*)$", site.read("deployment/nodes/srv.1/etc/duet/host-agent.conf"), re.M).group(1).split()
    check(len(urls) == 2 and len(set(urls)) == 2, f"and hear it: {urls}")
    unit = site.read("deployment/nodes/tor1/etc/systemd/system/bird.service.d/duet.conf")
    check("iif swp1 to 203.0.113.0/24 lookup 201" in unit and "iif swp2" not in unit, f"uplink rules: {unit}")
    check(not os.path.exists(site.path("deployment/nodes/tor1/etc/sysctl.d")), "manage_sysctl: no")
    check("define BFD_ON = 0;" in site.read("deployment/nodes/tor1/etc/bird/site.conf"), "bfd: no")
    check("from above" in site.read("deployment/nodes/tor1/etc/bird/neighbours.conf"), "a tor's agg is above")
    check('agent="https://10.200.0.3:8471"' in site.read("deployment/nodes/ctl1/etc/duet/topology.dot"), "manage")
    # a daemon's refusal stops all of it
    bad = folder()
    with open(f"{bad}/duet-host-agent", "w", encoding="ascii") as f:
        f.write("#!/bin/sh\necho 'host-agent.conf: no such luck'\nexit 1\n")
    os.chmod(f"{bad}/duet-host-agent", 0o755)
    site.replace("hold_time: 30", "hold_time: 20")
    before = site.files()
    said = site(status=1, PATH=f"{bad}:{ENV['PATH']}")
    check("srv.1: /etc/duet/host-agent.conf: host-agent.conf: no such luck" in said and site.files() == before, said)
    said = subprocess.run([SETUP, "check"], cwd=site.dir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True, env={**os.environ, "PATH": "/bin:/usr/bin"})
    check("duet-mux-agent isn't installed here" in said.stdout, f"a daemon that isn't there: {said.stdout}")


def https(site, who, method, address, port, path, body=None):
    """status of a request with somebody's certificate, or the word refused"""
    kind = "operators" if who == "alice" else "nodes"
    tls = ssl.create_default_context(cafile=site.path("deployment/ca/ca.pem"))
    if who:
        cert = site.cert(who, kind)
        tls.load_cert_chain(cert, cert.replace("cert.pem", "key.pem"))
    with inside(NS):
        connection = http.client.HTTPSConnection(address, port, context=tls, timeout=30)
        try:
            connection.connect()
            connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"} if body is not None else {})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return "refused"
        finally:
            connection.close()


@test
def deployment():
    """its daemons accept each other, each for what it is, and nobody of another CA"""
    site, other = Site(), Site()
    site()
    other()
    namespace(NS)
    addresses = ["10.0.0.2/24", "10.254.1.1/32", "10.254.1.2/32", "10.0.3.2/24", "10.0.4.2/24"]
    for address in addresses:
        run("ip", "-n", NS, "addr", "add", address, "dev", "lo")
    daemons = {}
    # as /etc is on a machine: what gave up being root reads certificates and lists again, but for its key
    for where, _, _ in os.walk(site.path("deployment")):
        if not where.endswith("/ca"):
            os.chmod(where, 0o755)
    for name, program in (("smux1", "mux"), ("smux2", "mux"), ("web1", "host"), ("ctl", "controller")):
        etc = site.path("deployment/nodes", name, "etc/duet")
        file = "controller.conf" if program == "controller" else f"{program}-agent.conf"
        text = site.read("deployment/nodes", name, "etc/duet", file).replace("/etc/duet/", f"{etc}/")
        run_dir = site.path(name)
        os.makedirs(run_dir)
        text = re.sub(r"unix:/run/\S+/", f"unix:{run_dir}/", text).replace("/var/lib/duet/", f"{run_dir}/")
        if program == "mux":
            text = text.replace("[agent]\n", f"[agent]\nrun_dir = {run_dir}\nstate_dir = {run_dir}\n").replace("[device]\n", "[device]\nbackend = sim\n")
            text += f"[bird]\nsocket = {run_dir}/bird.ctl\n"
        elif program == "host":
            run("ip", "-n", NS, "link", "add", "eth0", "type", "veth", "peer", "name", "far")
            run("ip", "-n", NS, "link", "set", "eth0", "up")
            text = text.replace("[host]\n", "[host]\npin = /sys/fs/bpf/duet-t-setup\n").replace("[agent]\n", f"[agent]\nstate_dir = {run_dir}\n")
        path = f"{run_dir}/{file}"
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        binary = f"{BIN}/duet-controller" if program == "controller" else f"{BIN}/duet-{program}-agent"
        daemons[name] = Daemon(NS, name, binary, "-c", path)
        if program == "host":
            CLEANUP.append(lambda binary=binary, path=path: run("ip", "netns", "exec", NS, binary, "-c", path, "--uninstall", ok=False))
        CLEANUP.append(daemons[name].remove)
    folder_ = site.path("deployment/operators/alice")
    conf = site.path("duetctl.conf")
    with open(conf, "w", encoding="ascii") as f:
        f.write(site.read("deployment/operators/alice/duetctl.conf").replace("/etc/duet/operator/", f"{folder_}/"))

    def duetctl(*args):
        done = subprocess.run(["ip", "netns", "exec", NS, f"{BIN}/duetctl", *args], env={**os.environ, "DUETCTL_CONF": conf}, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        return done.stdout

    def well():
        dead = [f"{n}: {d.text()[-700:]}" for n, d in daemons.items() if d.child.poll() is not None]
        check(not dead, f"ended: {dead}")
        said[:] = [duetctl("status")]
        return "2 in sync" in said[0] and "1 told" in said[0]

    said = []
    with open(site.path("vips.json"), "w", encoding="ascii") as f:
        f.write('{"vips": []}')
    until(lambda: "unchanged" in duetctl("apply", "-f", f.name) or "2 in sync" in duetctl("status"), "the controller takes a configuration", 30)
    try:
        until(well, "both muxes are in sync, and web1 is heard", 30)
    except Failed as e:
        raise Failed(f"{e}: {said[0]}") from None
    ctl, mux, web = ("10.0.0.2", 8470), ("10.254.1.1", 8471), ("10.0.3.2", 8472)
    wish = {"epoch": 1, "generation": 1, "vips": []}
    expected = [("alice", "GET", ctl, "/v1/status", None, 200), ("alice", "GET", mux, "/v1/status", None, 200), ("alice", "PUT", mux, "/v1/state", wish, 403),
                ("web1", "GET", ctl, "/v1/status", None, 403), ("web1", "PUT", mux, "/v1/state", wish, 403), ("web1", "PUT", web, "/v1/state", wish, 403),
                ("smux2", "PUT", mux, "/v1/state", wish, 403), ("smux1", "POST", ctl, "/v1/reports", {}, 401)]
    for who, method, (address, port), path, body, status in expected:
        equal(https(site, who, method, address, port, path, body), status, f"{who}: {method} {path} at {address}")
    # revoked, and the list is on the machines: the next request is refused, with no restart
    stolen = [open(p, "rb").read() for p in (site.cert("web2"), site.cert("web2").replace("cert.pem", "key.pem"))]
    equal(https(site, "web2", "GET", *ctl, "/healthz"), 200, "web2 before")
    site("revoke", "web2")
    equal(https(site, "web2", "GET", *ctl, "/healthz"), 200, "web2 with its new certificate")
    for path, data in zip((site.cert("web2"), site.cert("web2").replace("cert.pem", "key.pem")), stolen):
        with open(path, "wb") as f:
            f.write(data)
    for address, port in (ctl, mux, web):
        until(lambda address=address, port=port: https(site, "web2", "GET", address, port, "/healthz") == "refused",
              f"{address} refuses the revoked certificate", 30)
    site.dir, mine = other.dir, site.dir
    context = ssl.create_default_context(cafile=os.path.join(mine, "deployment/ca/ca.pem"))
    for who, kind in (("ctl", "nodes"), ("alice", "operators")):
        cert = other.cert(who, kind)
        context.load_cert_chain(cert, cert.replace("cert.pem", "key.pem"))
        for address, port in (ctl, mux, web):
            with inside(NS):
                connection = http.client.HTTPSConnection(address, port, context=context, timeout=30)
                try:
                    connection.connect()
                    connection.request("GET", "/healthz")
                    said = connection.getresponse().status
                except (OSError, http.client.HTTPException):
                    said = "refused"
            equal(said, "refused", f"{who} of another CA at {address}")


if __name__ == "__main__":
    main()
