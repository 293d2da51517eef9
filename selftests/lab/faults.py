# SPDX-License-Identifier: GPL-2.0
"""Ways in which parts of the testbed die, and how each is undone. A fault of a
switch or an SMux is one of CAUSES; the part is as before after heal()."""
import os
import signal
import subprocess
import threading
import time

from rtnl import Rtnl
from testbed import Failed, program

CAUSES = {
    "links_down": "all its links lose their light",
    "power": "silent death: everything it runs is frozen, its kernel drops all that comes",
    "bird_killed": "BIRD is killed, the switch forwards on",
    "bird_frozen": "BIRD is stopped, the switch forwards on",
    "agent_killed": "the mux agent is killed",
    "device_down": "the mux device is set down",
}
DROP = "duet_dead"	# nftables: drop before the mux sees it


class Faults:
    def __init__(self, bed):
        self.bed = bed
        self.rt = {}
        self.threads = {}
        self.struck = []	# (node, cause) not yet healed

    def close(self):
        for rt in self.rt.values():
            rt.close()

    def netlink(self, node):
        if node.name not in self.rt:
            with self.bed.ns(node):
                self.rt[node.name] = Rtnl()
        return self.rt[node.name]

    def links(self, node, up, ports=None):
        rt = self.netlink(node)
        for port in ports or node.ports:
            rt.set_link(port, up)
        rt.flush()
        if up:
            rt.links()
            self.bed.peer_routes(rt, node)
            rt.flush()

    def plug(self, servers, up):
        """the plug of servers is out (or in again): their links to the fabric and to the management network"""
        for node in servers:
            rt = self.netlink(node)
            for port in node.ports + ["mgmt0"]:
                rt.set_link(port, up)
            rt.flush()
            if up:
                rt.route("0.0.0.0/0", "eth0", node.address.rsplit(".", 1)[0] + ".0", metrics={2: 1500})
                rt.flush()

    @staticmethod
    def down(rt, devices):
        for device in devices:
            rt.set_link(device, False)
        rt.flush()

    def programs(self, node, but=()):
        """what runs there: keys of Testbed.programs"""
        return [key for key in self.bed.programs if key[0] == node.name and key[1] not in but and self.bed.pids.get(key)]

    def signal(self, keys, sig):
        for key in keys:
            os.kill(self.bed.pids[key], sig)

    def nft(self, node, script):
        told = self.bed.run_in(node, [program("nft"), "-f", "-"], input=script, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
        if told.returncode:
            raise Failed(f"nft in {node.name}: {told.stdout.strip()}")

    def drop_all(self, node):
        chains = "".join(f"\tchain {port} {{ type filter hook ingress device \"{port}\" priority -500; policy drop; }}\n"
                         for port in node.ports)
        self.nft(node, f"table netdev {DROP} {{\n{chains}}}\n")

    def pass_all(self, node):
        self.nft(node, f"delete table netdev {DROP}\n")

    def kill(self, node, *names):
        self.bed.kill([(node.name, name) for name in names if (node.name, name) in self.bed.programs])

    def start(self, node, *names):
        self.bed.start_all([(node.name, name) for name in names if (node.name, name) in self.bed.programs])

    def strike(self, node, cause):
        """let it happen; monotonic time right before its first effect"""
        self.struck.append((node, cause))
        if cause == "power":
            # the silence begins with the last packet: programs a moment later change nothing
            began = time.monotonic()
            self.drop_all(node)
            self.signal(self.programs(node), signal.SIGSTOP)
            return began
        began = time.monotonic()
        if cause in ("links_down", "device_down"):
            # the kernel answers when it has waited for all who still use the device, long after the effect
            devices = node.ports if cause == "links_down" else [node.device]
            self.threads[node.name] = threading.Thread(target=self.down, args=(self.netlink(node), devices))
            self.threads[node.name].start()
        elif cause == "bird_killed":
            os.kill(self.bed.pids[node.name, "bird"], signal.SIGKILL)
        elif cause == "bird_frozen":
            self.signal([(node.name, "bird")], signal.SIGSTOP)
        elif cause == "agent_killed":
            self.kill(node, "mux-agent")
        else:
            raise ValueError(cause)
        return began

    def heal(self, node, cause):
        """a switch without power starts again from nothing: its device is made anew too"""
        self.struck.remove((node, cause))
        if node.name in self.threads:
            self.threads.pop(node.name).join()
        if cause == "links_down":
            self.links(node, True)
        elif cause == "power":
            self.kill(node, *(name for _, name in self.programs(node)))
            if self.bed.device == "duet":
                self.netlink(node).link_del(node.device)
                self.netlink(node).flush()
            self.pass_all(node)
            self.start(node, "bird", "mux-agent")
        elif cause == "bird_killed":
            self.bed.reap([(node.name, "bird")])
            self.start(node, "bird")
        elif cause == "bird_frozen":
            self.signal([(node.name, "bird")], signal.SIGCONT)
        elif cause == "agent_killed":
            self.start(node, "mux-agent")
        elif cause == "device_down":
            self.netlink(node).set_link(node.device, True)
            self.netlink(node).flush()

    def heal_all(self):
        for node, cause in list(self.struck):
            self.heal(node, cause)
