#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The list of faults, and what is made from it: every code is raised somewhere,
and by a test; the runbook, the alert rules and the dashboard are current; each
alert fires when its fault is there, and clears."""
import json
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "selftests", "controller"))
import test_faults as tests  # noqa: E402  pylint: disable=wrong-import-position

ALERTS = "contrib/prometheus/duet-alerts.yml"
number = failed = 0


def check(good, what, why=""):
    global number, failed
    number += 1
    failed += not good
    if not good and why:
        print("# " + "\n# ".join(str(why).splitlines()[:20]))
    print(f"{'ok' if good else 'not ok'} {number} - {what}", flush=True)


def run(*command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=TOP, **more)


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        return f.read()


def sources():
    names = [n for n in run("git", "ls-files", "--cached", "--others", "--exclude-standard", "controller", "lib").stdout.split()
             if n.endswith(".c") and n != "lib/fault_code.c"]
    return "\n".join(read(n) for n in names)


def untested(codes):
    missing = []
    for code in codes:
        test = tests.ELSEWHERE.get(code)
        if code not in tests.CASES and not (test and f'{code}"' in read("selftests/" + test)):
            missing.append(code)
    return missing


def rule_tests(faults):
    """One of each alert: it fires when its fault has been there for long enough, and not for its end"""
    cases = []
    for f in faults:
        name, after = "Duet" + "".join(w.capitalize() for w in f["code"].split("-")), 5 if f["severity"] == "fault" else 10
        series = f'duet_fault{{code="{f["code"]}",severity="{f["severity"]}",instance="a"}}'
        at = lambda minutes, alerts: {"eval_time": f"{minutes}m", "alertname": name, "exp_alerts": alerts}  # noqa: E731
        labels = {"severity": "critical" if f["severity"] == "fault" else "warning", "code": f["code"]}
        annotations = {"summary": f["meaning"], "description": f"{f['hurts']} {f['remedy']} See docs/runbook.md#{f['code']}."}
        cases.append({"interval": "15s", "input_series": [{"series": series, "values": "0x3 2x60 0x60"}, {"series": "duet_controller_up", "values": "1x120"}],
                      "alert_rule_test": [at(0, []), at(after, [{"exp_labels": labels, "exp_annotations": annotations}]), at(25, [])]})
    return cases


def main():
    faults = json.loads(run(os.path.join(os.environ.get("O", os.path.join(TOP, "out")), "bin", "duetctl"), "-j", "explain").stdout)
    codes = {code: name for name, code in re.findall(r'^FAULT\((\w+), "([^"]*)"', read("lib/faults.def"), re.M)}
    check(len(codes) > 30 and set(codes) == {f["code"] for f in faults} and all(re.fullmatch(r"[a-z]+(-[a-z]+)+", c) for c in codes),
          "duetctl explain has every code", set(codes) ^ {f["code"] for f in faults})
    check(all(f[k].endswith(".") for f in faults for k in ("meaning", "hurts", "remedy", "over-when")), "of each it says all in sentences",
          [f for f in faults if not all(f[k].endswith(".") for k in ("meaning", "hurts", "remedy", "over-when"))])
    made = run(os.path.join(TOP, "scripts", "faults"), "--check")
    check(not made.returncode, "runbook, alert rules and dashboard are current", made.stdout)
    text = sources()
    check(not [c for c, name in codes.items() if not re.search(rf"\bFAULT_{name}\b", text)], "every code is raised somewhere",
          [c for c, name in codes.items() if not re.search(rf"\bFAULT_{name}\b", text)])
    check(not untested(codes), "and by a test", untested(codes))
    check(set(tests.CASES) | set(tests.ELSEWHERE) <= set(codes), "no test is of a code that is gone", set(tests.CASES) | set(tests.ELSEWHERE) - set(codes))
    if not os.path.exists("/usr/bin/promtool"):
        print("ok 7 - promtool # SKIP there is none; scripts/deps installs it\n1..7")
        return failed
    ruled = run("promtool", "check", "rules", ALERTS)
    check(not ruled.returncode, "promtool accepts the rules", ruled.stdout)
    with tempfile.TemporaryDirectory() as place:
        path = os.path.join(place, "tests.yml")
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"rule_files": [os.path.join(TOP, ALERTS)], "evaluation_interval": "15s", "tests": rule_tests(faults)}, f)
        fired = run("promtool", "test", "rules", path)
    check(not fired.returncode and "SUCCESS" in fired.stdout, "each alert fires for its fault alone, and ends with it", fired.stdout)
    print(f"1..{number}")
    return failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
