#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The store in a real etcd that speaks TLS and wants certificates of its clients: the controller leads, stores and
resumes over it, trusts the CA of etcd_ca alone, and looks at purpose and revocation of etcd's certificate."""
import signal
import subprocess
import sys

from ctl import Certificates
from fabric import BIN, rest, run_test, until
from test_store import Etcd, Lab, vip


def keys(certificates, name, ca="ca.pem", crl=None):
    cert, key, _ = certificates.files(name)
    return f"etcd_cert={cert}\netcd_key={key}\netcd_ca={certificates.place.path(ca)}\n" + (f"etcd_crl={crl}\n" if crl else "")


def checked(lab, store, extra):
    got = subprocess.run([f"{BIN}/duet-controller", "-c", lab.config(store, 1, extra), "--check-config"], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    return got.returncode, got.stdout


def said(place, lab, store, extra, what):
    """until a controller with that configuration has logged what"""
    log = place.path("out.log")
    with open(log, "w", encoding="utf-8") as f:
        child = subprocess.Popen([f"{BIN}/duet-controller", "-c", lab.config(store, 1, extra)], stdin=subprocess.DEVNULL, stdout=f, stderr=f)
    place.running.append(child)

    def has():
        with open(log, encoding="utf-8") as f:
            return what in f.read()
    found = until(has, 20)
    leads = until(lambda: rest("GET", lab.url(1) + "/healthz") == "ok\n", 1)
    place.stop(child)
    with open(log, encoding="utf-8") as f:
        return found and not leads, f.read()[-1000:]


def steps(tap, place):
    certificates = Certificates(place)
    for name in ("etcd", "ctl"):
        certificates.make(name)
    Certificates(place, "other")
    lab, etcd = Lab(place), Etcd(place, tls=certificates.files("etcd"))
    good = keys(certificates, "ctl")

    tap.ok(lab.start(etcd.spec, extra=good), "a controller leads over TLS")
    got = rest("PUT", lab.url() + "/v1/config", {"vips": [vip(n) for n in range(1, 6)]})
    tap.ok(len(got["added"]) == 5 and lab.settled(), "and stores a configuration", got)
    lab.start(etcd.spec, 1, wait=False, extra=good)
    tap.ok(until(lambda: rest("GET", lab.url(1) + "/healthz") == "standby\n", 30) and until(lambda: lab.get("/v1/vips", 1) == lab.get("/v1/vips")),
           "a second one stands by and carries requests")
    long = "/v1/vips?x=" + "y" * 1500 + "&limit=2"
    tap.ok(len(lab.get(long, 1)["vips"]) == 2, "long ones whole", lab.get(long, 1))
    epoch = lab.get("/v1/status")["epoch"]
    lab.kill()
    tap.ok(until(lambda: lab.get("/v1/status", 1)["epoch"] > epoch, 40) and len(lab.get("/v1/vips", 1)["vips"]) == 5, "the first killed: it takes over")
    lab.kill(1, signal.SIGTERM)
    got = subprocess.run([f"{BIN}/duet-controller", "-c", lab.config(etcd.spec, 1, good), "--check"], capture_output=True, text=True, timeout=60, check=False)
    tap.ok(got.returncode == 0 and "5 VIPs" in got.stdout, "--check reads it over TLS", got)

    for extra, because in (("", "needs etcd_ca: no other CA is trusted"),
                           (good.replace(certificates.files("ctl")[1], place.path("etcd.key")), "etcd_cert"),
                           ("".join(x for x in good.splitlines(True) if "etcd_key" not in x), "etcd_key is missing"),
                           (good.replace("ca.pem", "none.pem"), "none.pem: No such file")):
        code, text = checked(lab, etcd.spec, extra)
        tap.ok(code == 1 and because in text, f"refused: {because}", code, text)
    tap.ok(checked(lab, etcd.spec, good)[0] == 0, "the whole of it isn't")
    tap.ok(*said(place, lab, etcd.spec, keys(certificates, "ctl", "other.pem"), "etcd: ")[:1], "an etcd of another CA: nothing is led")
    crl = certificates.revoke("etcd")
    good_now, text = said(place, lab, etcd.spec, keys(certificates, "ctl", crl=crl), "is revoked")
    tap.ok(good_now, "an etcd whose certificate is revoked: nothing is led, the log says why", text)


if __name__ == "__main__":
    sys.exit(run_test(steps))
