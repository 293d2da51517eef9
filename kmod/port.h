/* SPDX-License-Identifier: GPL-2.0 */
/* Ports: netdevs whose ingress hook feeds a mux. */
#ifndef DUET_PORT_H
#define DUET_PORT_H

#include <linux/netfilter.h>
#include "compat.h"
#include "device.h"

struct duet_port {
	struct list_head node;		/* in duet_dev.ports, RCU */
	struct net_device *dev;		/* held */
	char name[IFNAMSIZ];		/* dev's; duet_net->lock */
	netdevice_tracker tracker;
	struct nf_hook_ops ops;		/* read under RCU by who lists hooks */
	struct rcu_head rcu;
};

/* duet_client_vrf - the VRF that clients are in, as far as the mux can know it
 * without a packet of theirs: of its first port outside the VRF of the tunnels;
 * without ports, of the mux itself. 0: none. RCU.
 */
int duet_client_vrf(const struct duet_dev *dd);

/* duet_port_add, duet_port_del - rtnl and duet_net->lock held */
int duet_port_add(struct duet_net *dn, struct duet_dev *dd,
		  struct net_device *dev, struct netlink_ext_ack *extack);
int duet_port_del(struct duet_dev *dd, u32 ifindex,
		  struct netlink_ext_ack *extack);
/* duet_port_flush - all ports of a device; lock held. No packet is in the hook
 * of any of them when it returns.
 */
void duet_port_flush(struct duet_dev *dd);
/* duet_port_joins - may dev become a member of master; rtnl and lock held */
int duet_port_joins(struct duet_net *dn, struct net_device *dev,
		    const struct net_device *master,
		    struct netlink_ext_ack *extack);
/* duet_port_gone - a netdev leaves the namespace; lock held */
bool duet_port_gone(struct duet_dev *dd, const struct net_device *dev);

#endif
