# SPDX-License-Identifier: GPL-2.0
"""What a machine gets, as texts by path: configurations of daemons, BIRD, topology.dot, drop-ins. No certificates here."""
import os

from . import bird
from .inventory import ROLES, TIER

HERE = os.path.dirname(os.path.abspath(__file__))
PORTS = {"controllers": 8470, "switches": 8471, "smuxes": 8471, "hosts": 8472}
HEAD = "# Written by duet-setup from the deployment's inventory: change that, not this.\n"
TLS = ("tls-cert = /etc/duet/tls/cert.pem\ntls-key = /etc/duet/tls/key.pem\ntls-ca = /etc/duet/tls/ca.pem\n"
       "tls-crl = /etc/duet/tls/crl.pem\n")
PROGRAM = {"controller.conf": "duet-controller", "mux-agent.conf": "duet-mux-agent", "host-agent.conf": "duet-host-agent"}


def url(node):
    return f"https://{node.manage}:{PORTS[node.kind]}"


def people(inv, role):
    return ", ".join(f"cert:{name}" for name, its in inv.operators.items() if its == role)


def agents_lists(inv):
    """who may command an agent, read it, or read its metrics"""
    text = "controllers = " + ", ".join(f"cert:{c.name}" for c in inv.of("controllers")) + "\n"
    readers = ", ".join(f"cert:{n}" for n, r in inv.operators.items() if r in ("admin", "operator", "reader"))
    metrics = people(inv, "metrics")
    return text + f"readers = {readers}\n" + (f"metrics = {metrics}\n" if metrics else "")


def controller(inv, node):
    store = "/var/lib/duet/duet.db"
    more = ""
    if inv.etcd:
        store = "etcd:" + ",".join(inv.etcd)
        more = "etcd_ca = /etc/duet/tls/ca.pem\netcd_cert = /etc/duet/tls/cert.pem\netcd_key = /etc/duet/tls/key.pem\n"
    if len(inv.of("controllers")) > 1:
        more += "part_secret = /etc/duet/part.secret\n"
    for role, key in ROLES.items():
        if people(inv, role):
            more += f"{key} = {people(inv, role)}\n"
    hosts = ", ".join(f"cert:{h.name}" for h in inv.of("hosts"))
    return (f"{HEAD}[controller]\nname = {node.name}\n"
            f"listen = {node.manage}:{PORTS['controllers']} unix:/run/duet-controller/controller.sock\n{TLS}"
            f"store = {store}\ntopology = /etc/duet/topology.dot\naggregate = {inv.vips}\nkey-file = /etc/duet/hash.key\n"
            f"{more}agents = {hosts}\n")


def mux_agent(inv, node):
    device, mode = ("hmux0", "hmux") if node.is_switch else ("smux0", "smux")
    return (f"{HEAD}[agent]\nname = {node.name}\nlisten = {node.manage}:{PORTS[node.kind]} unix:/run/duet/mux.sock\n{TLS}"
            f"{agents_lists(inv)}\n[device]\nname = {device}\nmode = {mode}\nlocal = {node.loopback}\n"
            f"ports = {' '.join([link[0] for link in node.links] + node.ports)}\n\n[announce]\nallow = {inv.vips}\n")


def host_agent(inv, node):
    return (f"{HEAD}[agent]\nname = {node.name}\nlisten = {node.manage}:{PORTS['hosts']} unix:/run/duet/host.sock\n"
            f"controller = {' '.join(url(c) for c in inv.of('controllers'))}\n{TLS}{agents_lists(inv)}\n"
            f"[host]\ninterface = {node.interface}\naddress = {node.address}\n"
            f"manage_sysctl = {'yes' if inv.manage_sysctl else 'no'}\n"
            f"mux-prefixes = {' '.join(f'{m.loopback}/32' for m in inv.muxes)}\n")


def duetctl(inv):
    return (f"{HEAD}# DUETCTL_CONF=THIS_FILE duetctl status; or copy this folder to /etc/duet/operator and this file to /etc/duet\n"
            f"[duetctl]\ncontroller = {url(inv.of('controllers')[0])}\n"
            + TLS.replace("/etc/duet/tls/", "/etc/duet/operator/"))


def topology(inv):
    lines = ["// " + HEAD[2:], "graph fabric {\n"]
    for node in inv.of("switches", "smuxes", "hosts"):
        attrs = {"role": node.role or {"smuxes": "smux", "hosts": "server"}[node.kind]}
        if node.role in ("agg", "tor"):
            attrs["container"] = str(node.container)
        if node.networks:
            attrs["prefixes"] = f'"{" ".join(map(str, node.networks))}"'
        if node.has_mux or node.kind == "hosts":
            attrs["agent"] = f'"{url(node)}"'
        attrs["local" if node.routes else "address"] = f'"{node.loopback or node.address}"'
        if node.capacity:
            attrs["capacity"] = f'"{node.capacity}"'
        lines.append(f'\t"{node.name}" [{", ".join(f"{k}={v}" for k, v in attrs.items())}];\n')
    lines.append("\n")
    done = set()
    for node in inv.of("switches", "smuxes", "hosts"):
        for port, _, other, other_port, _, speed in node.links:
            if (other.name, other_port) not in done:
                done.add((node.name, port))
                lines.append(f'\t"{node.name}":"{port}" -- "{other.name}":"{other_port}"' + (f' [speed="{speed}"]' if speed else "") + ";\n")
    return "".join(lines) + "}\n"


def bird_files(inv, node):
    low = inv.vips.prefixlen
    networks = sorted({net for s in inv.of("switches") for net in s.networks})
    loopbacks = [f"{n.loopback}/32" for n in inv.of("switches", "smuxes")]
    role = "switch" if node.is_switch else "smux"
    text = bird.rack(node.networks)
    for port, _, other, _, address, _ in node.links:
        if other.routes:
            if node.kind == "smuxes":
                kind = "tor"
            elif other.kind == "smuxes":
                kind = "smux"
            else:
                kind = "above" if TIER[other.role] < TIER[node.role] else "below"
            # a prefix: BIRD has words of its own, such as router
            text += bird.neighbour(f"'peer_{other.name}'", kind, address, other.asn, port)
    files = bird.statics(role)
    files["bird.conf"] = HEAD + bird.main(role)
    files["node.conf"] = HEAD + bird.node(node.name, node.asn, node.loopback)
    files["neighbours.conf"] = HEAD + text
    files["site.conf"] = bird.site({
        "VIP_HOSTS": f"[ {inv.vips}{{32,32}} ]", "VIP_AGGREGATES": f"[ {inv.vips}{{{low},{max(low, min(low + 4, 28))}}} ]",
        "FABRIC_NETS": f"[ {', '.join([*map(str, networks), *loopbacks])} ]",
        "SMUX_ADDRESSES": f"[ {', '.join(f'{s.loopback}/32' for s in inv.of('smuxes'))} ]",
        "HOLD_TIME": inv.hold_time, "BFD_ON": int(inv.bfd), "BFD_MS": inv.bfd_ms})
    return files


def bird_unit(inv, node):
    """What must be there before BIRD looks: its own address, and that packets from above never go up again"""
    lines = [f"ExecStartPre=-+/sbin/ip address add {node.loopback}/32 dev lo\n"]
    for port, _, other, *_ in node.links:
        if node.is_switch and other.is_switch and TIER[other.role] < TIER[node.role]:
            rule = f"iif {port} to {inv.vips} lookup 201 priority 100"
            lines.append(f"ExecStartPre=-+/sbin/ip rule del {rule}\nExecStartPre=+/sbin/ip rule add {rule}\n")
    return HEAD + "[Service]\n" + "".join(lines)


SYSCTL = {
    "net.ipv4.ip_forward": 1,
    "net.ipv4.fib_multipath_hash_policy": 1,	# equal paths by ports, too
    "net.ipv4.conf.all.ignore_routes_with_linkdown": 1, "net.ipv4.conf.default.ignore_routes_with_linkdown": 1,
    "net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.default.rp_filter": 0,	# answers take another way than requests
}


def install_script(units, owner):
    with open(os.path.join(HERE, "..", "install.sh"), encoding="ascii") as f:
        return f.read().replace("@UNITS@", " ".join(units)).replace("@OWNER@", owner)


def of_node(inv, node):
    """{path below the node's folder: text}"""
    files, units, owner = {}, [], "root"
    if node.routes:
        files.update({f"etc/bird/{name}": text for name, text in bird_files(inv, node).items()})
        files["etc/systemd/system/bird.service.d/duet.conf"] = bird_unit(inv, node)
        if inv.manage_sysctl:
            files["etc/sysctl.d/60-duet.conf"] = HEAD + "".join(f"{k} = {v}\n" for k, v in SYSCTL.items())
        units.append("bird")
    if node.has_mux:
        files["etc/duet/mux-agent.conf"] = mux_agent(inv, node)
        units.append("duet-mux-agent")
    if node.kind == "hosts":
        files["etc/duet/host-agent.conf"] = host_agent(inv, node)
        units.append("duet-host-agent")
    if node.kind == "controllers":
        files["etc/duet/controller.conf"] = controller(inv, node)
        files["etc/duet/topology.dot"] = topology(inv)
        units.append("duet-controller")
        owner = "duet"
    files["install.sh"] = install_script(units, owner)
    return files
