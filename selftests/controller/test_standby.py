#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Three controllers on one etcd, and hosts that report to all of them: the
leader acts, standbys keep what they hear, and whoever leads next knows every
host from the first moment."""
import signal
import sys
import threading

from fabric import free_ports, rest, run_test, until
from test_store import Etcd, Lab, SERVERS, vip

EVERY_S = 0.2


class Reporter(threading.Thread):
    """Every host to every controller, as the host agent does."""

    def __init__(self, lab, vips):
        super().__init__(daemon=True)
        self.lab, self.vips, self.over, self.down, self.answers = lab, vips, threading.Event(), set(), {}
        self.start()

    def run(self):
        while not self.over.wait(EVERY_S):
            for name, host in self.lab.host.items():
                for n in (0, 1, 2):
                    try:
                        self.answers[n] = host.report(self.lab.url(n), [(v, 0, "down" if (name, v) in self.down else "up") for v in self.vips[name]])
                    except OSError:
                        self.answers.pop(n, None)


def health(n, lab):
    return rest("GET", lab.url(n) + "/healthz")


def leader(lab, among=(0, 1, 2)):
    return until(lambda: [n for n in among if health(n, lab) == "ok\n"], 40)[0]


def steps(tap, place):
    lab, etcd = Lab(place), Etcd(place)
    lab.ports.append(free_ports(1)[0])
    lab.start(etcd.spec)
    for n in (1, 2):
        lab.start(etcd.spec, n, wait=False)
    tap.ok(until(lambda: [health(n, lab) for n in (1, 2)] == ["standby\n"] * 2, 30), "one leads, two stand by")
    vips = [vip(n) for n in range(1, 4)]
    rest("PUT", lab.url() + "/v1/config", {"vips": vips})
    lab.settled()
    of = {name: [v["vip"] for v in vips if any(d["address"] == SERVERS[name][0] for d in v["rules"][0]["dips"])] for name in SERVERS}
    said = Reporter(lab, of)
    tap.ok(until(lambda: len(said.answers) == 3) and [said.answers[n]["leads"] for n in (0, 1, 2)] == [True, False, False],
           "the answers to reports say who leads", said.answers)
    victim = next(n for n in of if of[n])
    address, v = SERVERS[victim][0], of[victim][0]

    def state(n):
        return {d["dip"]: d["state"] for d in lab.get(f"/v1/dips?vip={v}", n)["dips"]}[address]
    tap.ok(until(lambda: state(0) == "up"), "the leader has the states")
    said.down.add((victim, v))
    tap.ok(until(lambda: state(0) == "down"), "and acts on them")
    lab.kill(0, signal.SIGKILL)
    said.down.clear()	# while nobody leads
    now = leader(lab, (1, 2))
    tap.ok(until(lambda: state(now) == "up", 5), "what changed while nobody led the next leader knows", lab.get("/v1/hosts", now))
    hosts = until(lambda: lab.get("/v1/hosts", now)["hosts"])
    tap.ok({h["state"] for h in hosts} == {"reporting"}, "no host is unheard of", hosts)
    other = 3 - now
    lab.kill(now, signal.SIGKILL)
    said.down.add((victim, v))
    tap.ok(leader(lab, (other,)) == other and until(lambda: state(other) == "down", 5), "nor after the next one")
    tap.ok({h["state"] for h in lab.get("/v1/hosts", other)["hosts"]} == {"reporting"}, "by the last of the three")
    lab.start(etcd.spec, 0, wait=False)
    tap.ok(until(lambda: health(0, lab) == "standby\n", 30) and until(lambda: 0 in said.answers and said.answers[0]["leads"] is False),
           "the first one, started again, stands by and hears the hosts")
    said.over.set()
    said.join()


if __name__ == "__main__":
    sys.exit(run_test(steps))
