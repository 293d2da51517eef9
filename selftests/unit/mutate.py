#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Can the unit tests fail? Each mutant changes one condition of include/duet in a copy, and a test has to notice.
TAP; minutes, so not a part of make check: `make mutate`.

usage: mutate.py [FIRST [LAST]]   mutants by number
"""
import os
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.realpath(os.environ.get("O", f"{TOP}/out"))
PACKETS = ("packets", ["selftests/unit/test_packets.c", "selftests/packets/core.c", "selftests/packets/golden.c"])
TABLE = ("table", ["selftests/unit/test_table.c"])
HASH = ("hash", ["selftests/unit/test_hash.c"])

MUTANTS = (
    # what is linear, what is there
    ("packet.h", PACKETS, "end <= v->linear && end <= v->len", "end <= v->len"),
    ("packet.h", PACKETS, "end <= v->len && end > v->want", "end > v->want"),
    ("packet.h", PACKETS, "!duet_has(v, at + 8))\n\t\t\treturn 0;", "!duet_has(v, at + 2))\n\t\t\treturn 0;"),
    ("packet.h", PACKETS, "\t\tif (at > v->len)\n\t\t\treturn 0;\n", ""),
    ("packet.h", PACKETS, "if (!duet_has(v, at + 8))\n\t\treturn DUET_VERDICT_DROP_HEADER;\n\tp = v->data + at;\n\tt->proto",
     "if (!duet_has(v, at + 4))\n\t\treturn DUET_VERDICT_DROP_HEADER;\n\tp = v->data + at;\n\tt->proto"),
    ("packet.h", PACKETS, "duet_has(v, v->l4 + 4)", "duet_has(v, v->l4 + 2)"),
    ("packet.h", PACKETS, "duet_has(v, v->l4 + 14)", "duet_has(v, v->l4 + 13)"),
    ("packet.h", PACKETS, "return v->want ? DUET_VERDICT_DROP_HEADER :\n\t\t\t\t\t DUET_VERDICT_ENCAP;", "return DUET_VERDICT_ENCAP;"),
    # headers
    ("packet.h", PACKETS, "len < ihl ||", ""),
    ("packet.h", PACKETS, "len > v->len || duet_sum4(p, ihl)", "duet_sum4(p, ihl)"),
    ("packet.h", PACKETS, "len > v->len || duet_sum4(p, ihl)", "len > v->len"),
    ("packet.h", PACKETS, "ihl < DUET_IP4_HEADER || !duet_has(v, ihl))", "ihl < DUET_IP4_HEADER)"),
    ("packet.h", PACKETS, "p[0] >> 4 != 6 || len > v->len", "p[0] >> 4 != 6"),
    ("packet.h", PACKETS, "!len && v->gso", "v->gso"),
    ("packet.h", PACKETS, "len == DUET_IP6_HEADER && v->gso", "len == DUET_IP6_HEADER"),
    ("packet.h", PACKETS, "duet_get16(p + 2) & 0xfff9", "duet_get16(p + 2) & 0xfff8"),
    ("packet.h", PACKETS, "i <= DUET_IP6_EXT_MAX", "i < DUET_IP6_EXT_MAX"),
    ("packet.h", PACKETS, "at += 8 + 8 * (__u32)p[1]", "at += 8 * (__u32)p[1]"),
    ("packet.h", PACKETS, "#define DUET_IP_FRAGMENT\t0x3fff", "#define DUET_IP_FRAGMENT\t0x1fff"),
    # ports and flags
    ("packet.h", PACKETS, "proto == DUET_PROTO_DCCP;", "false;"),
    ("packet.h", PACKETS, "(p[13] & 0x12) == 0x02", "p[13] & 0x02"),
    ("packet.h", PACKETS, "p[13] & 0x05", "p[13] & 0x04"),
    ("packet.h", PACKETS, "t->dport >= m->port &&", "t->dport > m->port &&"),
    ("packet.h", PACKETS, "t->dport <= m->port_last", "t->dport < m->port_last"),
    ("packet.h", PACKETS, "m->proto && m->proto != t->proto", "m->proto != t->proto"),
    ("packet.h", PACKETS, "ports &= 0xffff0000", "ports &= 0x0000ffff"),
    ("packet.h", PACKETS, "\t\t\tproto = 0;\n", ""),
    # ICMP errors
    ("packet.h", PACKETS, "type == 5 ||", ""),
    ("packet.h", PACKETS, "return type < 128;", "return type < 5;"),
    ("packet.h", PACKETS, "duet_get32(p + 12) != t->dst[0])", "false)"),
    ("packet.h", PACKETS, "!= t->dst[i])", "!= t->dst[i] && i)"),
    ("packet.h", PACKETS, "t->src[0] = duet_get32(p + 16);", "t->src[0] = duet_get32(p + 12);"),
    ("packet.h", PACKETS, "fragment = fragment > 1;", "fragment = fragment > 0;"),
    ("packet.h", PACKETS, "t->sport = duet_get16(p + 2);\n\t\tt->dport = duet_get16(p);", "t->sport = duet_get16(p);\n\t\tt->dport = duet_get16(p + 2);"),
    ("packet.h", PACKETS, "if (p[0] != 8 && p[0] != 0)", "if (p[0] != 8)"),
    ("packet.h", PACKETS, "if (p[0] != 128 && p[0] != 129)", "if (p[0] != 129)"),
    # answers
    ("packet.h", PACKETS, "if (t->flags & DUET_T_ERROR)\n\t\treturn false;\n", ""),
    ("packet.h", PACKETS, "return !(duet_get16(ip + 6) & DUET_IP_OFFSET) &&", "return"),
    ("packet.h", PACKETS, "ip[12] && ip[12] != 127", "ip[12] != 127"),
    ("packet.h", PACKETS, "ip[12] != 127 && ip[12] < 224", "ip[12] < 224"),
    ("packet.h", PACKETS, "ip[12] < 224", "ip[12] < 240"),
    ("packet.h", PACKETS, "return ip[8] != 0xff &&", "return"),
    ("packet.h", PACKETS, "t->src[3] > 1", "t->src[3]"),
    ("packet.h", PACKETS, "if (!first || t->proto", "if (t->proto"),
    ("packet.h", PACKETS, "return duet_fragment(v, t, fragment == 1);", "return duet_fragment(v, t, false);"),
    ("packet.h", PACKETS, "return len < max ? len : max;", "return len < max ? len : max - 4;"),
    ("packet.h", PACKETS, "DUET_ICMP_TOS,\n\t\t\t     (__u16)(DUET_IP4_HEADER + len)", "0,\n\t\t\t     (__u16)(DUET_IP4_HEADER + len)"),
    ("packet.h", PACKETS, "len + DUET_PROTO_ICMPV6);\n\t}\n\ticmp[0]", "len);\n\t}\n\ticmp[0]"),
    # outer headers
    ("packet.h", PACKETS, "return inner ? 3 : -1;", "return 3;"),
    ("packet.h", PACKETS, "if (outer == 1 && inner == 2)", "if (outer == 1)"),
    ("packet.h", PACKETS, "p[1] = tos;", "p[1] = tos & 0xfc;"),
    ("packet.h", PACKETS, "(__u8)(p[0] << 4 | p[1] >> 4)", "(__u8)(p[0] << 4)"),
    ("packet.h", PACKETS, "(__u32)tclass << 20", "(__u32)tclass << 21"),
    # errors about outer headers
    ("packet.h", PACKETS, "if (q[0] != 0x45 || memcmp(q + 12, p + 16, 4) ||", "if (q[0] != 0x45 ||"),
    ("packet.h", PACKETS, "memcmp(q + 8, p + 24, 16) ||\n", "\n"),
    ("packet.h", PACKETS, "icmp[0] == 2 && e->mtu < DUET_IP6_MTU_MIN", "false"),
    ("packet.h", PACKETS, "e->mtu < 68 + DUET_IP4_HEADER", "false"),
    ("packet.h", PACKETS, "proto != DUET_PROTO_IPIP && proto != DUET_PROTO_IPV6)\n\t\treturn false;", "false)\n\t\treturn false;"),
    ("packet.h", PACKETS, "in[0] >> 4 != t->family", "false"),
    ("packet.h", PACKETS, "duet_icmp4_is_error(in[DUET_IP4_HEADER])", "false"),
    ("packet.h", PACKETS, "duet_icmp6_is_error(in[DUET_IP6_HEADER])", "false"),
    # table and hash
    ("table.h", TABLE, "(__u64)w->taken * wmax >= round * dips[i].weight", "(__u64)w->taken * wmax > round * dips[i].weight"),
    ("table.h", TABLE, "if (dips[i].weight > wmax)", "if (!i)"),
    ("table.h", TABLE, "duet_dip_cmp(&dips[i - 1], &dips[i]) >= 0", "duet_dip_cmp(&dips[i - 1], &dips[i]) > 0"),
    ("table.h", TABLE, "if (!wmax)\n\t\treturn -ENOENT;\n", ""),
    ("table.h", TABLE, "up += dips[i].weight && !dips[i].down;", "up += !dips[i].down;"),
    ("table.h", TABLE, "for (i = b; dips[owner].down; owner = base[i])", "for (i = b; 0; owner = base[i])"),
    ("table.h", TABLE, "j < DUET_TABLE_PROBES", "j < 1"),
    ("table.h", TABLE, "duet_lookup3_final(b, j,", "duet_lookup3_final(j, b,"),
    ("table.h", TABLE, "primes[i] < n * DUET_BUCKETS_PER_DIP", "primes[i] < (n - 1) * DUET_BUCKETS_PER_DIP"),
    ("table.h", TABLE, "duet_digest_word(0xcbf29ce484222325ull, buckets)", "0xcbf29ce484222325ull"),
    ("lookup3.h", HASH, "b ^= a; b -= duet_rot(a, 25);", "b ^= a; b -= duet_rot(a, 24);"),
    ("hash.h", HASH, "duet_rot64(v[3], 21)", "duet_rot64(v[3], 20)"),
    ("hash.h", HASH, "(bytes << 24 | proto)", "(bytes << 24)"),
    ("hash.h", HASH, "v[2] ^= 0xff;\n", ""),
    ("hash.h", HASH, "(__u64)dst[2] << 32 | dst[3]", "(__u64)dst[2] << 32"),
    ("hash.h", HASH, "duet_key_derive(key, DUET_LEVEL2_HIGH)", "duet_key_derive(key, DUET_LEVEL2_LOW)"),
)


def build_and_run(work, test):
    """Is there a test that fails, and which?"""
    name, sources = test
    binary = f"{work}/{name}"
    flags = ["-D_GNU_SOURCE", "-std=gnu11", "-O1", "-w", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined",
             f"-I{work}/include", "-Iinclude", "-Iinclude/uapi", "-Ilib", f"-I{OUT}/linux-source/tools/testing/selftests"]
    done = subprocess.run(["gcc", *flags, "-o", binary, *sources, f"{OUT}/lib/libduet.a", "-ljansson"], cwd=TOP, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"a mutant doesn't build: {done.stderr}")
    try:
        done = subprocess.run([binary], cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, timeout=600)
    except subprocess.TimeoutExpired:
        return "no end", True
    why = [line for line in done.stdout.splitlines() if line.startswith("not ok")]
    why += [line for line in done.stderr.splitlines() if "ERROR: " in line or "runtime error" in line]
    return why[0] if why else f"status {done.returncode}", done.returncode != 0


def main():
    first = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    last = int(sys.argv[2]) if len(sys.argv) > 2 else first if len(sys.argv) > 1 else len(MUTANTS)
    print(f"1..{last - first + 1}", flush=True)
    failed = False
    with tempfile.TemporaryDirectory() as work:
        for number, (header, test, old, new) in enumerate(MUTANTS, 1):
            if not first <= number <= last:
                continue
            shutil.rmtree(f"{work}/include", ignore_errors=True)
            shutil.copytree(f"{TOP}/include/duet", f"{work}/include/duet")
            with open(f"{work}/include/duet/{header}", "r+", encoding="utf-8") as f:
                text = f.read()
                found = text.count(old)
                f.seek(0)
                f.truncate()
                f.write(text.replace(old, new))
            if not found:
                raise SystemExit(f"mutant {number}: {old!r} is not in {header} any more")
            why, ok = build_and_run(work, test)
            failed = failed or not ok
            print(f"# {why}\n{'ok' if ok else 'not ok'} {number} - {header}: {' '.join(old.split())!r} is {' '.join(new.split())!r}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
