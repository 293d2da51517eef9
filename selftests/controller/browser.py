# SPDX-License-Identifier: GPL-2.0
"""A headless Chromium, driven by the WebDriver protocol that chromedriver
speaks; with what the browser itself says of errors and requests."""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

from fabric import free_ports, until

DRIVER = shutil.which("chromedriver")
ENTER, TAB = "\ue007", "\ue004"
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """place runs and ends the driver; the driver ends the browser. With files (certificate, key, CA) it trusts that
    CA and presents that certificate to whoever asks."""

    def __init__(self, place, width=1280, height=800, files=None):
        port, = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.home = tempfile.mkdtemp(prefix="chromium-", dir=place.dir)
        self.place, self.severe, self.requests = place, [], []
        os.environ["HOME"] = self.home		# it writes there, and the caller's is none of its business
        self.driver = place.run(*(self.identity(*files) if files else []), DRIVER, f"--port={port}", "--log-level=WARNING")
        until(lambda: self.ask("GET", "/status")["ready"], 20)
        args = ["--headless=new", f"--window-size={width},{height}", f"--user-data-dir={self.home}", "--disable-gpu",
                "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--no-first-run",
                "--disable-sync", "--disable-extensions", "--proxy-server=direct://", "--force-color-profile=srgb"]
        if not os.geteuid():
            args.append("--no-sandbox")
        session = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"args": args},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}}, 40)
        self.at = "/session/" + session["sessionId"]

    def identity(self, cert, key, ca):
        """what the browser knows it by: a database of certificates in its home, and a policy that spares the dialog, which it reads
        below /etc only: there it is in a mount namespace of the driver's. The command to run the driver with."""
        base = os.path.join(self.home, ".pki", "nssdb")
        os.makedirs(base)

        def run(*command):
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=60)

        run("openssl", "pkcs12", "-export", "-in", cert, "-inkey", key, "-out", f"{self.home}/own.p12", "-passout", "pass:")
        run("certutil", "-N", "-d", f"sql:{base}", "--empty-password")
        run("certutil", "-A", "-d", f"sql:{base}", "-n", "ca", "-t", "C,,", "-i", ca)
        run("pk12util", "-d", f"sql:{base}", "-i", f"{self.home}/own.p12", "-W", "")
        folder = os.path.join(self.home, "chromium", "policies", "managed")
        os.makedirs(folder)
        with open(os.path.join(folder, "certificate.json"), "w", encoding="utf-8") as f:
            json.dump({"AutoSelectCertificateForUrls": ['{"pattern":"https://127.0.0.1","filter":{}}']}, f)
        return ["unshare", "-m", "sh", "-c", 'mkdir -p /etc/chromium && mount --bind "$0" /etc/chromium && exec "$@"', os.path.join(self.home, "chromium")]

    def ask(self, method, path, body=None, timeout=20):
        data = json.dumps(body if body is not None else {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.url + path, data=data, method=method, headers={"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout) as answer:
                return json.loads(answer.read())["value"]
        except urllib.error.HTTPError as e:
            raise OSError(json.loads(e.read())["value"]["message"].split("\n")[0]) from None
        except urllib.error.URLError as e:
            raise OSError(str(e.reason)) from None

    def close(self):
        try:
            self.ask("DELETE", self.at)
        except OSError:
            pass

    def open(self, url):
        self.ask("POST", self.at + "/url", {"url": url})

    def js(self, script, *args):
        """what the body of a function returns"""
        return self.ask("POST", self.at + "/execute/sync", {"script": script, "args": list(args)})

    def cdp(self, cmd, **params):
        return self.ask("POST", self.at + "/goog/cdp/execute", {"cmd": cmd, "params": params})

    def element(self, css):
        return self.ask("POST", self.at + "/element", {"using": "css selector", "value": css})[ELEMENT]

    def click(self, css):
        self.ask("POST", f"{self.at}/element/{self.element(css)}/click")

    def keys(self, css, text):
        self.ask("POST", f"{self.at}/element/{self.element(css)}/value", {"text": text})

    def text(self, css):
        """of all that fit, in one string"""
        return self.js("return [...document.querySelectorAll(arguments[0])].map(e => e.textContent).join('\\n')", css)

    def seen(self, css, words="", seconds=10):
        """until something that fits css has these words in it; its text"""
        def look():
            return self.js("return [...document.querySelectorAll(arguments[0])].map(e => e.textContent + ' ')"
                           ".filter(t => t.includes(arguments[1]))[0] || ''", css, words)
        return until(look, seconds)

    def logs(self):
        """what has come since: errors of the console, and URLs that were asked for"""
        for entry in self.ask("POST", self.at + "/se/log", {"type": "browser"}):
            if entry["level"] in ("SEVERE", "WARNING"):
                self.severe.append(entry["message"])
        for entry in self.ask("POST", self.at + "/se/log", {"type": "performance"}):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
        return self.severe, self.requests

    def size(self, width, height, mobile=False):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def scheme(self, name):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def shot(self, file, whole=False):
        data = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        with open(file, "wb") as f:
            f.write(base64.b64decode(data))

    @staticmethod
    def pause(seconds):
        """for pictures only: transitions and layout"""
        select.select([], [], [], seconds)
