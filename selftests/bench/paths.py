# SPDX-License-Identifier: GPL-2.0
"""The paths that are measured side by side, each on a bed of its own.

A path is a function that prepares the bed and is described by its docstring;
what it returns goes to pktgen. `base` is what its net figure is less: the
generator and the receiving port, on the same kind of packet, which tc drops
there. What tc takes for that no path pays: forward_tc says how much it is, and
gross figures are without it.
"""
from bed import SEGMENT, TIP, VIP, VIP6, dips, dips6, ns, run

PATHS = {}


class Path:
    def __init__(self, prepare, base, program, leaves, packets, warm, short, train):
        self.prepare, self.base, self.program, self.train = prepare, base, program, train
        self.leaves, self.packets, self.warm, self.short = leaves, packets, warm, short
        self.config = " ".join(prepare.__doc__.split())


def path(base="receive", program="pass", leaves=True, packets=10000, warm=2000, short=False, train=False):
    """leaves: every packet must come out. short: part of the short run, too. train: GRO merges packets, and what
    comes out is trains of them; the figure is a segment's."""
    def add(prepare):
        PATHS[prepare.__name__] = Path(prepare, base, program, leaves, packets, warm, short, train)
        return prepare
    return add


def tc(action):
    ns("mux", "tc", "qdisc", "add", "dev", "veth1", "clsact")
    ns("mux", "tc", "filter", "add", "dev", "veth1", "ingress", "matchall", "action", action)


def drop():
    tc("drop")


def route(dst, dev=None):
    run("ip", "-n", "mux", "route", "add", dst, *(("dev", dev) if dev else ("via", "10.8.0.2")))


def smux(bed, **flows):
    bed.mux("smux")
    for key, value in flows.items():
        bed.cli("dev", "set", "mux0", "flows", key, str(value))


@path(base=None, leaves=False, short=True)
def generator(bed):
    """pktgen into a dummy device"""
    run("ip", "-n", "gen", "link", "add", "sink1", "type", "dummy")
    run("ip", "-n", "gen", "link", "set", "sink1", "up")
    return {"dev": "sink1"}


def train(bed, **more):
    bed.merge()
    return {"size": SEGMENT + 54, **more}


@path(base=None, program="train", leaves=False, packets=45000)
def receive_train(bed):
    """the same, segments of one connection, 1,440 bytes each, that GRO merges to 64 KiB"""
    drop()
    return train(bed)


@path(base=None, leaves=False, short=True)
def receive(bed):
    """pktgen, veth, dropped at tc ingress"""
    drop()
    return {}


@path(base=None, program="tip", leaves=False)
def receive_tip(bed):
    """the same, XDP put an outer header before each packet"""
    drop()
    return {}


@path(base=None, program="error", leaves=False)
def receive_error(bed):
    """the same, XDP made an ICMP error of each packet"""
    drop()
    return {}


@path(base=None, program="tcp", leaves=False)
def receive_tcp(bed):
    """the same, XDP made a TCP segment of each packet"""
    drop()
    return {}


@path(base=None, leaves=False, short=True)
def receive_v6(bed):
    """the same, IPv6 and UDP"""
    drop()
    return {"dst": VIP6}


@path(base=None, leaves=False, short=True)
def receive_any(bed):
    """the same, source addresses at random, too"""
    drop()
    return {"flows": "any"}


@path(short=True)
def forward(bed):
    """plain IPv4 forwarding"""
    route(VIP)
    return {}


@path(short=True)
def forward_tc(bed):
    """plain IPv4 forwarding past a tc filter that lets all pass: what it is more than forward is in every base"""
    tc("ok")
    route(VIP)
    return {}


@path(base="receive_v6")
def forward_v6(bed):
    """plain IPv6 forwarding"""
    run("ip", "-n", "mux", "route", "add", VIP6, "via", "fd00:8::2")
    return {"dst": VIP6}


@path()
def ipip(bed):
    """route into an ipip device"""
    run("ip", "-n", "mux", "link", "add", "tun0", "type", "ipip", "local", "10.8.0.1", "remote", "10.7.0.1", "ttl", "64")
    run("ip", "-n", "mux", "link", "set", "tun0", "up")
    route(VIP, "tun0")
    return {}


def ipvs(scheduler, *flags, proto="-u"):
    run("ip", "-n", "mux", "addr", "add", VIP + "/32", "dev", "lo")
    ns("mux", "ipvsadm", "-A", proto, VIP + ":80", "-s", scheduler, *flags)
    for dip in dips(4):
        ns("mux", "ipvsadm", "-a", proto, VIP + ":80", "-r", dip["address"] + ":80", "-i")
    return {}


@path()
def ipvs_mh(bed):
    """IPVS, tunnel mode, mh with mh-port, 4 servers"""
    return ipvs("mh", "-b", "mh-port")


@path()
def ipvs_rr(bed):
    """IPVS, tunnel mode, rr, 4 servers"""
    return ipvs("rr")


def nft(rules):
    """flows stay in the flowtable however long a starved emulator takes"""
    ns("mux", "nft", "-f", "-", input=rules)
    ns("mux", "sysctl", "-qw", "net.netfilter.nf_flowtable_udp_timeout=3600")


@path(warm=20000)
def flowtable(bed):
    """nf_flowtable's software path, forwarding alone: 1,000 flows that it knows"""
    route(VIP)
    nft("""table inet f {
    flowtable fast { hook ingress priority 0; devices = { veth1, sink0 }; }
    chain forward { type filter hook forward priority 0; meta l4proto { tcp, udp } flow add @fast; }
}""")
    return {}


@path(warm=20000)
def flowtable_dnat(bed):
    """nf_flowtable's software path, flows that nft's dnat gave to one of 4 servers by a hash: no tunnel"""
    nft("""table ip n {
    flowtable fast { hook ingress priority 0; devices = { veth1, sink0 }; }
    chain pre { type nat hook prerouting priority -100; ip daddr %s dnat to jhash ip saddr . udp sport mod 4 map {
        0 : 10.7.0.1, 1 : 10.7.0.2, 2 : 10.7.0.3, 3 : 10.7.0.4 }; }
    chain forward { type filter hook forward priority 0; meta l4proto { tcp, udp } flow add @fast; }
}""" % VIP)
    return {}


def flower(kind, *more):
    """flower chooses no server: all goes to one"""
    run("ip", "-n", "mux", "link", "add", "tun0", "type", kind, *more, "external")
    run("ip", "-n", "mux", "link", "set", "tun0", "up")
    ns("mux", "tc", "qdisc", "add", "dev", "veth1", "clsact")
    ns("mux", "tc", "filter", "add", "dev", "veth1", "ingress", "protocol", "ip", "flower", "dst_ip", VIP,
       "action", "tunnel_key", "set", "src_ip", "10.8.0.1", "dst_ip", "10.7.0.1", "id", "7", "nocsum",
       "action", "mirred", "egress", "redirect", "dev", "tun0")
    return {}


@path()
def flower_ipip(bed):
    """tc flower, tunnel_key set, mirred to an external ipip device: one server, nothing to choose"""
    return flower("ipip")


@path()
def flower_vxlan(bed):
    """the same to an external vxlan device"""
    return flower("vxlan", "dstport", "4789")


@path(base="receive_train", program="train", packets=45000, train=True)
def forward_train(bed):
    """plain IPv4 forwarding of trains of 64 KiB, a segment"""
    route(VIP)
    return train(bed)


@path(base="receive_train", program="train", packets=45000, train=True)
def ipvs_mh_train(bed):
    """IPVS, tunnel mode, mh with mh-port, 4 servers, trains of 64 KiB, a segment"""
    ipvs("mh", "-b", "mh-port", proto="-t")
    ns("mux", "sysctl", "-qw", "net.ipv4.vs.sloppy_tcp=1")	# a connection without a SYN
    return train(bed)


@path(base="receive_train", program="train", packets=45000, train=True)
def hmux_port_train(bed):
    """hmux, port, 1 VIP, 4 DIPs, trains of 64 KiB, a segment"""
    bed.mux(limits=False)
    return train(bed)


@path(base="receive_train", program="train", packets=45000, train=True)
def smux_hit_train(bed):
    """smux, port, 1 VIP, 4 DIPs, trains of 64 KiB of a flow that it knows, a segment"""
    smux(bed)
    return train(bed)


@path(base="forward", short=True)
def passing(bed):
    """plain IPv4 forwarding past the port of a mux with one VIP"""
    bed.mux()
    route("203.0.113.2")
    return {"dst": "203.0.113.2"}


@path(base="forward")
def passing_16k(bed):
    """plain IPv4 forwarding past the port of a mux with 16,384 VIPs"""
    bed.mux(more=vips_16k(4))
    route("203.0.113.2")
    return {"dst": "203.0.113.2"}


def vips_16k(n_dips):
    """16,383 VIPs with the same set: 16,384 with VIP."""
    return [{"vip": "198.%d.%d.%d" % (18 + (i >> 16), i >> 8 & 255, i & 255),
             "rules": [{"dips": dips(n_dips)}]} for i in range(1, 16384)]


@path(short=True)
def hmux_port(bed):
    """hmux, port, 1 VIP, 4 DIPs"""
    bed.mux(limits=False)
    return {}


@path(base="receive_tcp", program="tcp")
def hmux_port_tcp(bed):
    """hmux, port, 1 VIP, 4 DIPs, TCP segments"""
    bed.mux()
    return {}


@path()
def hmux_port_512(bed):
    """hmux, port, 1 VIP, 512 DIPs"""
    bed.mux(n_dips=512)
    return {}


@path(short=True)
def hmux_port_16k(bed):
    """hmux, port, 16,384 VIPs, the one that is hit of 512 DIPs"""
    bed.mux(n_dips=512, more=vips_16k(4))
    return {}


@path()
def hmux_port_rules(bed):
    """hmux, port, 1 VIP of 16 rules (ports), the last one hit, 4 DIPs each"""
    rules = [{"proto": "udp", "port": 8000 + i, "dips": dips(4)} for i in range(15)]
    bed.mux(vip={"vip": VIP, "rules": rules + [{"dips": dips(4)}]})
    return {}


@path(short=True)
def hmux_route(bed):
    """hmux, route into the device, 1 VIP, 4 DIPs"""
    bed.mux(port=False)
    route(VIP, "mux0")
    return {}


@path(base="receive_v6", short=True)
def hmux_port_v6(bed):
    """hmux, port, an IPv6 VIP, 4 IPv6 DIPs"""
    bed.mux(vip={"vip": VIP6, "rules": [{"dips": dips6(4)}]})
    return {"dst": VIP6}


@path(base="receive_v6")
def hmux_port_v6_in_v4(bed):
    """hmux, port, an IPv6 VIP, 4 IPv4 DIPs"""
    bed.mux(vip={"vip": VIP6, "rules": [{"dips": dips(4)}]})
    return {"dst": VIP6}


@path(base="receive_tip", program="tip", short=True)
def tip(bed):
    """hmux, port, a TIP of 4 DIPs: outer header off, second level, outer header on"""
    bed.mux(vip={"vip": TIP, "kind": "tip", "rules": [{"dips": dips(4)}]})
    return {}


@path(base="receive_error", program="error", short=True)
def icmp_error(bed):
    """hmux, port, ICMP errors to the VIP about its flows, 4 DIPs"""
    bed.mux()
    return {}


@path(short=True)
def smux_hit(bed):
    """smux, port, 1,000 flows that it knows, 1 VIP, 4 DIPs"""
    smux(bed)
    return {}


@path(base="receive_any", short=True)
def smux_new(bed):
    """smux, port, every packet a new flow, 1 VIP, 4 DIPs"""
    smux(bed, rate=0)
    return {"flows": "any"}


@path()
def smux_stateless(bed):
    """smux, port, flow table off, 1 VIP, 4 DIPs"""
    smux(bed, max=0)
    return {}


@path(base="receive_any", warm=1000000)
def smux_hit_1m(bed):
    """smux, port, 999,919 flows in the table, those at random, 1 VIP, 4 DIPs"""
    smux(bed, rate=0, max=1 << 21)
    return {"flows": "random million", "warm": "million"}


@path(base="receive_any")
def flood_replace(bed):
    """smux, port, flood of new flows, each takes the place of another of which one packet was seen"""
    smux(bed, rate=0, max=1024)
    return {"flows": "any"}


@path(base="receive_any", warm=16000)
def flood_full(bed):
    """smux, port, flood of new flows, the table full of flows that are kept: none is remembered"""
    smux(bed, rate=0, max=512)
    return {"flows": "any", "warm": "ports"}


@path(base="receive_any", warm=2000)
def flood_capped(bed):
    """smux, port, flood of new flows above the rate: none is remembered"""
    smux(bed, rate=1)
    return {"flows": "any"}
