#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Instructions a packet, every path side by side in one boot.

Runs in the VM under icount (one instruction is one nanosecond of guest time),
where pktgen's own result is instructions per packet. `make bench` starts it.

        namespace gen                      namespace mux
    pktgen ── veth0 ────────────────── veth1 ─▶ path ─▶ sink0 (dummy,
    64-byte UDP, 1,000 source ports                     permanent neighbour)

Every path gets a namespace pair of its own, so that none pays for another's
hooks. The figure of a path is the mean of all its packets; `net` is less the
`receive` path: generator, veth and a drop at tc ingress.
"""
import argparse
import json
import os
import re
import subprocess
import sys

VIP = "203.0.113.1"
FLOWS = 1000
ROUTER = "10.9.0.2"


def run(*cmd, **kw):
    return subprocess.run(cmd, check=True, text=True, capture_output=True, **kw).stdout


def ns(name, *cmd):
    return run("ip", "netns", "exec", name, *cmd)


XDP = os.path.join(os.environ.get("O", "out"), "bench", "xdp_pass.o")


def write(path, value):
    with open(path, "w", encoding="ascii") as f:
        f.write(value)


class Bed:
    """A pair of namespaces, the generator on one side, the path on the other."""

    def __init__(self, duet):
        self.duet = duet
        for name in ("gen", "mux"):
            run("ip", "netns", "add", name)
            ns(name, "ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "veth0", "netns", "gen", "type", "veth",
            "peer", "name", "veth1", "netns", "mux")
        ns("gen", "ip", "addr", "add", "10.9.0.1/24", "dev", "veth0")
        ns("mux", "ip", "addr", "add", ROUTER + "/24", "dev", "veth1")
        ns("mux", "ip", "link", "set", "veth1", "xdp", "obj", XDP, "sec", "xdp")
        ns("gen", "ip", "link", "set", "veth0", "up")
        ns("mux", "ip", "link", "set", "veth1", "up")
        ns("mux", "sysctl", "-qw", "net.ipv4.ip_forward=1",
           "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.veth1.rp_filter=0")
        ns("mux", "ip", "link", "add", "sink0", "type", "dummy")
        ns("mux", "ip", "addr", "add", "10.8.0.1/24", "dev", "sink0")
        ns("mux", "ip", "link", "set", "sink0", "up")
        ns("mux", "ip", "neigh", "add", "10.8.0.2", "lladdr", "02:00:00:00:08:02",
           "dev", "sink0", "nud", "permanent")
        ns("mux", "ip", "route", "add", "10.7.0.0/16", "via", "10.8.0.2")
        self.mac = ns("mux", "cat", "/sys/class/net/veth1/address").strip()

    def close(self):
        for name in ("gen", "mux"):
            run("ip", "netns", "del", name)

    def cli(self, *args):
        return ns("mux", self.duet, *args)

    def mux(self, mode="hmux", dips=4, vips=1, port=True, limits=True):
        ns("mux", "ip", "link", "add", "mux0", "type", "duet")
        self.cli("dev", "set", "mux0", "mode", mode, "seed", "0x5eed", "local", "10.8.0.1")
        if limits:
            self.cli("dev", "set", "mux0", "limits", "vips", "0", "members", "0", "tunnels", "0")
        ns("mux", "ip", "link", "set", "mux0", "up")
        vip_list = [{"vip": VIP, "rules": [{"dips": dip_list(dips)}]}]
        for i in range(1, vips):
            addr = "198.%d.%d.%d" % (18 + (i >> 16), i >> 8 & 255, i & 255)
            vip_list.append({"vip": addr, "rules": [{"dips": dip_list(4)}]})
        path = "/tmp/vips.json"
        with open(path, "w", encoding="ascii") as f:
            json.dump({"vips": vip_list}, f)
        self.cli("vip", "set", "mux0", "-f", path)
        if port:
            self.cli("port", "add", "mux0", "veth1")
        else:
            ns("mux", "ip", "route", "add", VIP + "/32", "dev", "mux0")

    def sent(self):
        """Packets that left by sink0 or by the ipip device's sink."""
        return int(ns("mux", "cat", "/sys/class/net/sink0/statistics/tx_packets"))

    def pktgen(self, packets, dev="veth0", dst=VIP, netns="gen"):
        script = f"""set -e
p=/proc/net/pktgen
echo "rem_device_all" > $p/kpktgend_0
echo "add_device {dev}" > $p/kpktgend_0
for c in "count {packets}" "clone_skb 0" "pkt_size 64" "delay 0" "dst {dst}" \\
  "dst_mac {self.mac}" "src_min 10.9.0.1" "src_max 10.9.0.1" "udp_dst_min 80" \\
  "udp_dst_max 80" "udp_src_min 1024" "udp_src_max {1024 + FLOWS}" "flag UDPSRC_RND" "flag NO_TIMESTAMP"; do
  echo "$c" > $p/{dev} || [ "$c" = "flag NO_TIMESTAMP" ]
done
echo start > $p/pgctrl
cat $p/{dev}
"""
        text = ns(netns, "sh", "-c", script)
        m = re.search(r"Result: OK: (\d+)\(c(\d+)\+d(\d+)\) usec, (\d+)", text)
        if not m:
            raise RuntimeError("pktgen: " + text)
        return int(m.group(1)) * 1000.0 / int(m.group(4))


def dip_list(n):
    return [{"address": "10.7.%d.%d" % (i >> 8, i & 255)} for i in range(1, n + 1)]


# Each path: function(bed) prepares, returns (what is configured, where the
# generator sends: device, destination) -- None: veth0 and the VIP.
def p_generator(bed):
    ns("gen", "ip", "link", "add", "sink1", "type", "dummy")
    ns("gen", "ip", "link", "set", "sink1", "up")
    return "pktgen into a dummy device", ("sink1", VIP), False


def p_receive(bed):
    ns("mux", "tc", "qdisc", "add", "dev", "veth1", "clsact")
    ns("mux", "tc", "filter", "add", "dev", "veth1", "ingress", "matchall", "action", "drop")
    return "pktgen, veth, dropped at tc ingress", None, False


def p_forward(bed):
    ns("mux", "ip", "route", "add", VIP + "/32", "via", "10.8.0.2")
    return "plain IPv4 forwarding", None, True


def p_ipip(bed):
    ns("mux", "ip", "link", "add", "tun0", "type", "ipip", "local", "10.8.0.1",
       "remote", "10.7.0.1", "ttl", "64")
    ns("mux", "ip", "link", "set", "tun0", "up")
    ns("mux", "ip", "route", "add", VIP + "/32", "dev", "tun0")
    return "route into an ipip device", None, True


def ipvs(bed, scheduler, *flags):
    ns("mux", "ip", "addr", "add", VIP + "/32", "dev", "lo")
    ns("mux", "ipvsadm", "-A", "-u", VIP + ":80", "-s", scheduler, *flags)
    for dip in dip_list(4):
        ns("mux", "ipvsadm", "-a", "-u", VIP + ":80", "-r", dip["address"] + ":80", "-i")
    return f"IPVS, tunnel mode, {scheduler} {' '.join(flags)}, 4 servers".replace("  ", " "), None, True


def p_ipvs_mh(bed):
    return ipvs(bed, "mh", "-b", "mh-port")


def p_ipvs_rr(bed):
    return ipvs(bed, "rr")


def p_passing(bed):
    bed.mux()
    ns("mux", "ip", "route", "add", "203.0.113.2/32", "via", "10.8.0.2")
    return "plain forwarding past a mux port", ("veth0", "203.0.113.2"), True


def p_hmux_port(bed):
    bed.mux()
    return "hmux, port, 1 VIP, 4 DIPs", None, True


def p_hmux_route(bed):
    bed.mux(port=False)
    return "hmux, route into the device, 1 VIP, 4 DIPs", None, True


def p_hmux_port_512(bed):
    bed.mux(dips=512)
    return "hmux, port, 1 VIP, 512 DIPs", None, True


def p_hmux_port_16k(bed):
    bed.mux(vips=16384)
    return "hmux, port, 16,384 VIPs, 4 DIPs each", None, True


def p_smux(bed):
    bed.mux(mode="smux", limits=False)
    return "smux, port, 1 VIP, 4 DIPs", None, True


PATHS = {
    "generator": p_generator, "receive": p_receive, "forward": p_forward, "ipip": p_ipip,
    "ipvs_mh": p_ipvs_mh, "ipvs_rr": p_ipvs_rr, "passing": p_passing,
    "hmux_port": p_hmux_port, "hmux_route": p_hmux_route,
    "hmux_port_512": p_hmux_port_512, "hmux_port_16k": p_hmux_port_16k, "smux": p_smux,
}


def measure(name, duet, packets):
    bed = Bed(duet)
    try:
        config, target, leaves = PATHS[name](bed)
        dev, dst = target or ("veth0", VIP)
        bed.pktgen(2 * FLOWS, dev, dst)             # caches, flows, neighbours
        before = bed.sent()
        cost = bed.pktgen(packets, dev, dst)
        sent = bed.sent() - before
        # a few more are the stack's own (MLD, neighbour discovery)
        if leaves and not packets <= sent <= packets + 10:
            raise RuntimeError(f"{name}: {sent} of {packets} packets came out")
        return {"instructions_per_packet": round(cost, 1), "packets": packets, "config": config}
    finally:
        bed.close()


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--duet", default="out/bin/duet")
    ap.add_argument("--out", default="out/results/datapath.json")
    ap.add_argument("--packets", type=int, default=20000)
    ap.add_argument("paths", nargs="*", help="only these")
    args = ap.parse_args()
    args.duet = os.path.abspath(args.duet)
    subprocess.run(["modprobe", "-a", "pktgen", "dummy", "veth"], check=True)
    result = {"kernel": os.uname().release, "clock": "icount: 1 instruction = 1 ns",
              "flows": FLOWS, "paths": {}}
    for name in args.paths or PATHS:
        row = result["paths"][name] = measure(name, args.duet, args.packets)
        base = result["paths"].get("receive" if name != "generator" else None)
        if name == "passing" and "forward" in result["paths"]:
            base = result["paths"]["forward"]
        if base:
            row["net_instructions"] = round(
                row["instructions_per_packet"] - base["instructions_per_packet"], 1)
        print(f"{name:14} {row['instructions_per_packet']:9.1f} {row.get('net_instructions', ''):>9}  "
              f"{row['config']}", flush=True)
    os.makedirs(os.path.dirname(args.out), exist_ok=True)
    with open(args.out, "w", encoding="ascii") as f:
        json.dump(result, f, indent=1, sort_keys=True)
        f.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
