# SPDX-License-Identifier: GPL-2.0
"""Why a connection hangs: for some seconds every namespace of the testbed is
listened to, and where the packets of the connections that have something
unanswered were seen, in which order, is told."""
import re
import select
import socket
import struct
import subprocess
import time

ETH_P_ALL = 3
MAX_TOLD = 3		# connections


def waiting(ns):
    """(VIP, its port, own port, what the kernel says of it) of connections with bytes that nobody has acknowledged"""
    told = subprocess.run(["ip", "netns", "exec", ns.name, "ss", "-tinOH", "state", "established"], check=False,
                          stdout=subprocess.PIPE, text=True).stdout
    found = []
    for line in told.splitlines():
        words = line.split()
        m = re.search(r" unacked:(\d+)", line)
        if len(words) > 4 and m and int(m.group(1)):
            vip, port = words[3].rsplit(":", 1)
            state = " ".join(re.findall(r"(?:rto|backoff|unacked|retrans|lastsnd|lastrcv):\S+", line))
            found.append((vip, int(port), int(words[2].rsplit(":", 1)[1]), state))
    return found


def ways(bed, pairs, seconds):
    """{(own port, port): ["+0 ms tor4 swp10 >", ...]}: where packets of the connections were seen, each place and direction once"""
    signs = {struct.pack(">HH", *pair): (pair, ">") for pair in pairs}
    signs |= {struct.pack(">HH", *reversed(pair)): (pair, "<") for pair in pairs}
    sockets, seen, order, began = {}, set(), {pair: [] for pair in pairs}, {}
    for node in bed.topo.nodes.values():
        with bed.ns(node):
            s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        s.setblocking(False)
        sockets[s] = node.name
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for s in select.select(list(sockets), [], [], 0.2)[0]:
            try:
                data, where = s.recvfrom(256)
            except BlockingIOError:
                continue
            # the ports behind one IPv4 header, or behind two
            for at in (20, 40):
                pair, sign = signs.get(data[at:at + 4], (None, None))
                key = (pair, sockets[s], where[0], sign)
                if pair and key not in seen:
                    seen.add(key)
                    now = time.monotonic()
                    order[pair].append(f"+{(now - began.setdefault(pair, now)) * 1000:.0f} ms {sockets[s]} {where[0]} {sign}")
    for s in sockets:
        s.close()
    return order


def explain(bed, ns, seconds=6.0):
    """lines about connections of a client that hang, or none"""
    some = waiting(ns)[:MAX_TOLD]
    seen = ways(bed, [(own_port, port) for _, port, own_port, _ in some], seconds) if some else {}
    return [f"{ns.name}:{own_port} to {vip}:{port} waits ({state}); seen: {', '.join(seen[own_port, port]) or 'nowhere'}"
            for vip, port, own_port, state in some]
