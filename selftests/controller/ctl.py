# SPDX-License-Identifier: GPL-2.0
"""duetctl as tests call it, and certificates for it."""
import json
import os
import select
import subprocess
import time

from fabric import BIN

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Ctl:
    """duetctl with what it takes from the environment and nothing else"""

    def __init__(self, tap, url, **env):
        self.tap, self.binary = tap, os.path.join(os.path.abspath(BIN), "duetctl")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("DUETCTL")}
        self.env.update(env, DUETCTL_URL=url)

    def __call__(self, *args, text=None, **env):
        return subprocess.run([self.binary, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=90,
                              input=text, env=dict(self.env, **env))

    def json(self, *args, **more):
        return json.loads(self("-j", *args, **more).stdout)

    def ok(self, what, got, *words, code=0, where="stdout"):
        text = getattr(got, where)
        good = got.returncode == code and all(w in text for w in words)
        return self.tap.ok(good, what, f"wanted {code} and {words}", got.returncode, got.stdout, got.stderr)

    def refused(self, what, got, *words, code=1):
        return self.ok(what, got, *words, code=code, where="stderr")


class Follower:
    """a duetctl that goes on, its lines as they come"""

    def __init__(self, place, ctl, *args):
        self.place = place
        self.child = subprocess.Popen([ctl.binary, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ctl.env)
        place.running.append(self.child)
        self.text = {"out": b"", "err": b""}
        self.pipes = {self.child.stdout: "out", self.child.stderr: "err"}

    def until(self, word, which="out", seconds=20):
        """True when the word has come"""
        deadline = time.monotonic() + seconds
        while word.encode() not in self.text[which]:
            ready = select.select(list(self.pipes), [], [], max(0, deadline - time.monotonic()))[0]
            if not ready:
                return False
            for pipe in ready:
                data = os.read(pipe.fileno(), 65536)
                if not data:
                    del self.pipes[pipe]
                self.text[self.pipes.get(pipe, "out")] += data
            if not self.pipes:
                return word.encode() in self.text[which]
        return True

    def lines(self):
        return self.text["out"].decode().splitlines()

    def end(self):
        return self.place.stop(self.child)


class Certificates:
    """a CA and whom it knows, as files in the place"""

    def __init__(self, place, ca="ca"):
        """of a CA that is there already, if its files are; place: dir, path(name), write(name, text)"""
        self.place, self.ca = place, ca
        if os.path.exists(place.path(f"{ca}.key")):
            return
        self.run("req", "-x509", *EC, "-keyout", f"{ca}.key", "-out", f"{ca}.pem", "-subj", f"/CN={ca}", "-days", "3650")

    def run(self, *args):
        subprocess.run(["openssl", *args], cwd=self.place.dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True, timeout=60)

    def make(self, name, san="IP:127.0.0.1", ext="", days=365, subject=None):
        """a certificate in NAME.pem; days may be negative"""
        self.place.write("ext", f"subjectAltName={san}\n{ext}\n")
        self.run("req", *EC, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject or f"/CN={name}")
        self.run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.ca}.pem", "-CAkey", f"{self.ca}.key", "-CAcreateserial",
                 "-out", f"{name}.pem", "-extfile", "ext", "-days", str(days))
        # daemons that face the network run as users
        os.chmod(self.place.path(f"{name}.key"), 0o644)

    def revoke(self, *names, days=365, file="crl.pem"):
        """a revocation list with the certificates of these names"""
        conf = self.place.write(f"{file}.conf", f"[ca]\ndefault_ca=d\n[d]\ndatabase={self.place.path(file)}.index\ndefault_md=sha256\n"
                                                f"crlnumber={self.place.path(file)}.number\n")
        self.place.write(f"{file}.index", "")
        self.place.write(f"{file}.number", "01\n")
        key = ("-config", conf, "-keyfile", f"{self.ca}.key", "-cert", f"{self.ca}.pem")
        for name in names:
            self.run("ca", *key, "-revoke", f"{name}.pem")
        # a date in the past can't be asked for: "-crlsec 1" is soon over
        self.run("ca", *key, "-gencrl", "-out", f"{file}.new", *(("-crldays", str(days)) if days else ("-crlsec", "1")))
        os.rename(self.place.path(f"{file}.new"), self.place.path(file))
        return self.place.path(file)

    def files(self, name):
        """(certificate, key, CA)"""
        return self.place.path(f"{name}.pem"), self.place.path(f"{name}.key"), self.place.path("ca.pem")

    def keys(self, name):
        """the daemons' keys"""
        return "".join(f"tls-{k}={v}\n" for k, v in zip(("cert", "key", "ca"), self.files(name)))

    def options(self, name):
        return [w for k, v in zip(("cert", "key", "ca"), self.files(name)) for w in (f"--tls-{k}", v)]
