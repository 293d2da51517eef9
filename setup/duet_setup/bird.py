# SPDX-License-Identifier: GPL-2.0
"""BIRD's configuration: what of it differs from node to node. All else is bird-conf's, as it is."""
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
# beside the source tree's setup/, or below share/duet
PLACES = [os.path.join(HERE, "..", "..", "bird-conf"), os.path.join(HERE, "..", "..", "bird")]
CONF = next((os.path.normpath(p) for p in PLACES if os.path.exists(os.path.join(p, "switch.conf"))), PLACES[0])


def read(*names):
    with open(os.path.join(CONF, *names), encoding="ascii") as f:
        return f.read()


def site(overrides):
    """bird-conf's site file with other values for some of its names"""
    text = read("examples", "site.conf")
    for name, value in overrides.items():
        text, n = re.subn(rf"(?m)^define {name} = [^;]*;", f"define {name} = {value};", text)
        if n != 1:
            raise ValueError(f"bird-conf/examples/site.conf defines {name} {n} times")
    return text


def node(name, asn, address):
    return (f"router id {address};\n"
            f'hostname "{name}";\n'
            f"define OWN_AS = {asn};\n"
            f"define OWN_ADDRESS = {address};\n"
            f"define OWN_NET = {address}/32;\n")


def rack(nets):
    routes = "".join(f"\troute {net} unreachable;\n" for net in nets)
    return f"protocol static rack {{\n\tipv4;\n{routes}}}\n" if nets else ""


def neighbour(name, kind, address, asn, port):
    """kind: a template of bird-conf/duet: above, below, smux, tor"""
    return f'protocol bgp {name} from {kind} {{\n\tneighbor {address} as {asn};\n\tinterface "{port}";\n}}\n'


def statics(role):
    """{name below /etc/bird: text} of what is the same on all nodes of a role"""
    files = {f"{role}.conf": read(f"{role}.conf")}
    for name in sorted(os.listdir(os.path.join(CONF, "duet"))):
        files[f"duet/{name}"] = read("duet", name)
    return files


def main(role):
    example = {"switch": "tor1", "smux": "smux1"}[role]
    text = read("examples", example, "bird.conf")
    return "\n".join(line for line in text.splitlines() if not line.startswith("#")) + "\n"
