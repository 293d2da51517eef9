#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""duet-host-agent's fence: which epoch and generation is obeyed, and how a wrong one is mended. The bed is that of test_host_agent.py."""
import os
import signal
import sys

import test_host_agent as base
from test_host_agent import AGENT, DIP, HOST, VIP, VIP2, W, check, equal, sh

TESTS = []
STATE = os.path.join(base.DIR, "state")
MAX = 2**53 - 1


def test(function):
    TESTS.append(function)
    return function


def put(epoch, generation, address=VIP):
    status, answer = W.agent.put({"vip": address, "dip": DIP}, epoch=epoch, generation=generation, ok=False)
    return status, answer


def held():
    s = W.agent.status()
    return s["epoch"], s["generation"]


def served():
    return [v["vip"] for v in W.agent.status()["vips"]]


def refused(epoch, generation, code, *words):
    """refused with this code and a sentence, and nothing is changed"""
    before = held(), served(), base.kernel_state()
    status, answer = put(epoch, generation, VIP2)
    equal(status, code, f"epoch {epoch} generation {generation} ({answer})")
    for word in words:
        check(word in answer["detail"], f"{word!r} in {answer['detail']!r}")
    equal((held(), served(), base.kernel_state()), before, f"what is there after epoch {epoch} generation {generation}")


def restart(how=signal.SIGKILL):
    W.agent.stop(how)
    W.agent.start()


@test
def bounded():
    """no number that no controller has, in size or by its step, is accepted; a refused request changes nothing"""
    equal(put(3, 7)[0], 200, "the first")
    for epoch, generation in ((2**63 - 1, 2**63 - 1), (2**53, 8), (3, 2**53), (2**62, 1), (3 + 2**40 + 1, 1), (3, 7 + 2**40 + 1), (MAX, MAX)):
        refused(epoch, generation, 422, "epoch")
    for epoch, generation in ((2**63, 1), (-1, 8), (3, -1), (3, 2**64), (3.5, 8), ("3", 8), (None, 8), (True, 8)):
        refused(epoch, generation, 400)
    for epoch, generation in ((2, 100), (3, 6), (0, 0)):
        refused(epoch, generation, 409, "older", "epoch 3 generation 7")
    equal(put(3, 7)[0], 200, "the same again")
    equal(put(4, 1)[0], 200, "a new epoch begins its generations anew")
    equal(put(4 + 2**40, 2**40)[0], 200, "the largest step")
    equal(W.agent.ask("DELETE", "/v1/fence")[0], 200, "and back")


@test
def no_refusal_moves_it():
    """a state refused for another reason doesn't move the fence"""
    equal(put(3, 7)[0], 200, "the first")
    for vips in ([{"vip": VIP, "dip": "192.0.2.77"}], [{"vip": VIP, "dip": DIP, "checks": [{"type": "command", "command": "x"}]}],
                 [{"vip": VIP, "dip": DIP, "checks": [{"type": "none"}]}], [{"vip": VIP, "dip": VIP}]):
        status, _ = W.agent.put(*vips, epoch=9, generation=9, ok=False)
        check(status in (400, 422), f"refused: {status}")
        equal(held(), (3, 7), f"held after {vips}")
    equal(put(3, 8)[0], 200, "the true controller goes on")


@test
def delete():
    """DELETE /v1/fence lets the next controller in, says what was held, and is in the log with who did it; traffic goes on"""
    equal(put(1000, 5)[0], 200, "a poisoned one")
    refused(4, 1, 409)
    before = base.kernel_state()
    equal(W.agent.ask("DELETE", "/v1/fence"), (200, {"epoch": 1000, "generation": 5}), "DELETE")
    equal((held(), served(), base.kernel_state()), ((0, 0), [VIP], before), "nothing else changed")
    check("127.0.0.1" in W.agent.text().split("removed the fence of epoch 1000")[0].splitlines()[-1], "the log")
    equal(put(4, 1)[0], 200, "the true controller")
    refused(3, 9, 409)


@test
def unfence():
    """--unfence does the same, while the agent runs and while it doesn't, and takes nothing else away"""
    for stopped in (False, True):
        equal(put(1000, 5)[0], 200, "a poisoned one")
        before = base.kernel_state()
        if stopped:
            W.agent.stop()
        sh(AGENT, "-c", W.agent.conf, "--unfence", ns=HOST)
        if stopped:
            W.agent.start()
        equal((held(), base.kernel_state()), ((0, 0), before), "held")
        equal(put(4, 1)[0], 200, "the true controller")
        restart()
        equal(held(), (4, 1), "after a restart")
        equal(W.agent.ask("DELETE", "/v1/fence")[0], 200, "for the next")


@test
def durable():
    """kept before the answer: over kill -9, and with a state folder over the loss of all that is in the kernel"""
    equal(put(5, 2)[0], 200, "one")
    restart()
    refused(5, 1, 409)
    with open(W.agent.conf, encoding="ascii") as f:
        lines = f.read().replace("[host]", f"state_dir = {STATE}\n[host]")
    with open(W.agent.conf, "w", encoding="ascii") as f:
        f.write(lines)
    restart()
    equal(held(), (5, 2), "what the kernel has goes on, though the folder is new")
    equal(put(6, 1)[0], 200, "in the folder now")
    W.agent.stop(signal.SIGKILL)
    # as a reboot: the programs and their maps are gone, the folder isn't
    os.rename(STATE, STATE + ".kept")
    sh(AGENT, "-c", W.agent.conf, "--uninstall", ns=HOST)
    os.rename(STATE + ".kept", STATE)
    W.agent.start()
    equal(held(), (6, 1), "after a reboot")
    refused(5, 9, 409)
    equal(put(6, 1)[0], 200, "and the same controller is obeyed")
    sh(AGENT, "-c", W.agent.conf, "--unfence", ns=HOST)
    equal(put(3, 1)[0], 200, "--unfence while it runs")
    refused(2, 9, 409)
    W.agent.stop()
    sh(AGENT, "-c", W.agent.conf, "--unfence", ns=HOST)
    W.agent.start()
    equal((held(), put(2, 1)[0]), ((0, 0), 200), "--unfence: the folder too")
    W.agent.stop()
    sh(AGENT, "-c", W.agent.conf, "--uninstall", ns=HOST)
    W.agent.start()
    equal((held(), put(1, 1)[0]), ((0, 0), 200), "--uninstall: the folder too")


if __name__ == "__main__":
    sys.exit(base.main(TESTS))
