#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Every libFuzzer target for FUZZ_SECONDS (15), all at once. What one finds is left in out/fuzz/found-NAME-*, and run
again by `out/fuzz/fuzz_NAME FILE`. The corpus grows in out/fuzz/corpus. TAP; no root, no VM."""
import glob
import os
import subprocess
import sys

OUT = os.environ.get("O", os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "out"))
SECONDS = int(os.environ.get("FUZZ_SECONDS", "15"))
MAX_LEN = {"packet": 4096, "vip": 4096, "conf": 1024, "host": 4096, "message": 4096, "plan": 8192, "trace": 2048}


def start(program):
    name = os.path.basename(program)[5:]
    corpus = os.path.join(OUT, "fuzz", "corpus", name)
    os.makedirs(corpus, exist_ok=True)
    log = open(os.path.join(OUT, "fuzz", f"{name}.log"), "w+", encoding="utf-8", errors="replace")
    args = [program, corpus, os.path.join(OUT, "fuzz", "seeds", name), f"-max_total_time={SECONDS}", f"-max_len={MAX_LEN[name]}",
            f"-artifact_prefix={OUT}/fuzz/found-{name}-", "-print_final_stats=1", "-timeout=60", "-rss_limit_mb=2048", "-reload=0"]
    words = os.path.join(OUT, "fuzz", "seeds", f"{name}.dict")
    args += [f"-dict={words}"] if os.path.exists(words) else []
    return name, log, subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def main():
    programs = sorted(p for p in glob.glob(f"{OUT}/fuzz/fuzz_*") if os.access(p, os.X_OK) and not p.endswith(".d"))
    print(f"1..{len(programs)}")
    failed = not programs
    for number, (name, log, child) in enumerate([start(p) for p in programs], 1):
        status = child.wait()
        log.seek(0)
        lines = log.read().splitlines()
        stats = dict(line.split("::")[1].split(": ") for line in lines if line.startswith("stat::"))
        runs = int(stats.get("number_of_executed_units", 0))
        seeds = len(glob.glob(os.path.join(OUT, "fuzz", "seeds", name, "*")))
        ok = status == 0 and runs > seeds > 0
        if not ok:
            print("\n".join(f"# {line}" for line in lines[-40:]))
        print(f"# {name}: {runs} runs in {SECONDS} s, {seeds} seeds, {stats.get('peak_rss_mb', '?').strip()} MiB; log {log.name}")
        print(f"{'ok' if ok else 'not ok'} {number} - fuzz {name}")
        failed = failed or not ok
    return failed


if __name__ == "__main__":
    sys.exit(main())
