/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tunnelling table: one entry for each distinct DIP address of a mux, with
 * the route to it. References are held by sets, not by packets.
 */
#ifndef DUET_TUNNEL_H
#define DUET_TUNNEL_H

#include <linux/in6.h>
#include <net/dst.h>
#include "device.h"

struct duet_tunnel {
	struct hlist_node node;			/* in duet_dev.tunnels, lock */
	struct in6_addr addr;			/* IPv4 mapped */
	unsigned int refs;			/* lock */
	/* Each CPU's cached route; owned reference. The slot is read under
	 * rcu_read_lock() with BH off and written by its own CPU only; dst
	 * entries are freed by RCU, so a packet needs no reference.
	 */
	struct dst_entry * __percpu *route;
	struct rcu_head rcu;
};

/* duet_tunnel_get - find or make; lock held. NULL: no memory */
struct duet_tunnel *duet_tunnel_get(struct duet_dev *dd, const u8 addr[16]);
/* duet_tunnel_put - lock held; freed after a grace period */
void duet_tunnel_put(struct duet_dev *dd, struct duet_tunnel *tunnel);
/* duet_tunnel_known - is there an entry; lock held */
bool duet_tunnel_known(struct duet_dev *dd, const u8 addr[16]);
/* duet_tunnel_route4 - the route to the DIP, valid within this RCU section,
 * no reference taken; NULL: none, or one that leads back into a mux. BH off.
 */
struct dst_entry *duet_tunnel_route4(struct duet_dev *dd,
				     struct duet_tunnel *tunnel, __be32 src);

#endif
