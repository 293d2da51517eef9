/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tunnelling table: one entry for each distinct DIP address of a mux, with
 * the route to it. References are held by backends, not by packets.
 *
 * Why not struct dst_cache: it takes a reference to the route for each packet,
 * calls dst_check() where an inline comparison does for IPv4, and keeps no MTU
 * and no IPv4 ID beside the route, so a packet would touch a second cache line.
 */
#ifndef DUET_TUNNEL_H
#define DUET_TUNNEL_H

#include <linux/in6.h>
#include <net/dst.h>
#include <net/route.h>
#include "device.h"

/* A CPU's route to a DIP. Read and written by that CPU only (but for mtu, see
 * duet_tunnel_stale()), with BH off and under rcu_read_lock(); dst entries are
 * freed by RCU, so a packet needs no reference.
 *
 * Nothing in here outlives what the kernel would use for the same packet:
 * - A route dies when dst_check() says so: at every change of the routing table,
 *   of an address, of a device or its MTU, and when the kernel makes or flushes
 *   an exception (learned PMTU, redirect).
 * - An IPv6 route dies after a second, too: rules of IPv6 change without a word
 *   to cached routes.
 * - It dies when an ICMP error about the tunnel came: on which of several next
 *   hops an exception was made is the kernel's affair.
 * - Its MTU is copied only while none is learned from the path. The kernel fills
 *   in a learned one, renews it and lets it age in place.
 * - Its neighbour dies at every change of any neighbour: neigh.h. An IPv4 gateway
 *   is compared for each packet, because the kernel replaces it in place.
 */
struct duet_route {
	struct dst_entry *dst;		/* owned reference */
	struct neighbour *neigh;	/* not held: neigh.h */
	u32 neigh_seq;
	union {
		u32 cookie;		/* IPv6: of dst_check() */
		__be32 gw;		/* IPv4: the gateway that has neigh, */
	};
	union {
		u32 until;		/* IPv6: jiffies */
		u32 gw_family;		/* IPv4: and its family, 0: the DIP has */
	};
	u16 mtu;			/* DUET_MTU_NONE, DUET_MTU_ASK, or the route's */
	u16 id;				/* last IPv4 ID of an outer header without DF */
};

#define DUET_MTU_NONE	0		/* no route: look it up */
#define DUET_MTU_ASK	1		/* dst_mtu() each time */
#define DUET_MTU_MIN	68		/* RFC 791, whatever a route says */

struct duet_tunnel {
	struct hlist_node node;			/* in duet_dev.tunnels, lock */
	struct in6_addr addr;			/* IPv4 mapped */
	bool v6;
	u32 id;					/* never given twice */
	u32 route_slot;
	unsigned int refs;			/* lock */
	struct duet_route __percpu *route;
	struct rcu_head rcu;
};

extern struct kmem_cache *duet_tunnel_cache;

/* duet_tunnel_find, duet_tunnel_get - find; find or make. Lock held. NULL:
 * none; no memory.
 */
struct duet_tunnel *duet_tunnel_find(struct duet_dev *dd, const u8 addr[16]);
struct duet_tunnel *duet_tunnel_get(struct duet_dev *dd, const u8 addr[16]);
/* duet_tunnel_put - lock held; freed after a grace period */
void duet_tunnel_put(struct duet_dev *dd, struct duet_tunnel *tunnel);
/* duet_tunnel_peek - the same as find for packets, RCU */
struct duet_tunnel *duet_tunnel_peek(struct duet_dev *dd,
				     const struct in6_addr *addr);
/* duet_tunnel_stale - the next packet of each CPU looks up its route again; RCU */
void duet_tunnel_stale(struct duet_tunnel *tunnel);
/* duet_tunnels_stale - of all tunnels, after a change of what routes are looked up
 * by; lock held
 */
void duet_tunnels_stale(struct duet_dev *dd);

struct dst_entry *duet_tunnel_lookup(struct duet_dev *dd,
				     struct duet_tunnel *tunnel,
				     struct duet_route *route);

/* duet_route_valid - dst_check(); for IPv4, what that calls is all inline */
static inline bool duet_route_valid(const struct duet_dev *dd,
				    const struct duet_tunnel *tunnel,
				    const struct duet_route *route)
{
	const struct rtable *rt = (const struct rtable *)route->dst;

	if (unlikely(tunnel->v6)) {
		/* a route that nobody used for weeks is not valid again when 32 bits wrap */
		u32 left = route->until - (u32)jiffies;

		return left <= HZ && dst_check(route->dst, route->cookie);
	}
	return READ_ONCE(rt->dst.obsolete) == DST_OBSOLETE_FORCE_CHK &&
	       rt->rt_genid == rt_genid_ipv4(dd->net);
}

/* duet_tunnel_route - the route to the DIP, valid within this RCU section, no
 * reference taken; false: none, or one that leads back into a mux. BH off.
 */
static inline struct duet_route *duet_tunnel_route(struct duet_dev *dd,
						   struct duet_tunnel *tunnel)
{
	struct duet_route *route = this_cpu_ptr(tunnel->route);

	if (likely(READ_ONCE(route->mtu) && duet_route_valid(dd, tunnel, route)))
		return route;
	return duet_tunnel_lookup(dd, tunnel, route) ? route : NULL;
}

/* duet_route_mtu - of a route that is valid */
static inline unsigned int duet_route_mtu(const struct duet_route *route)
{
	unsigned int mtu = READ_ONCE(route->mtu);

	if (likely(mtu >= DUET_MTU_MIN &&
		   !((const struct rtable *)route->dst)->rt_pmtu))
		return mtu;
	return max_t(unsigned int, dst_mtu(route->dst), DUET_MTU_MIN);
}

#endif
