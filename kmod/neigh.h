/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The neighbour of a cached route: next hop's MAC address and its state.
 *
 * A route remembers its neighbour without a reference, because a reference would
 * keep the neighbour's netdev from going away. What makes that safe is a sequence
 * number: the kernel calls the netevent chain after it unlinked a neighbour and
 * before it drops the table's reference, and each such call changes the number. A
 * packet that reads the number a route has remembered began its RCU section before
 * the grace period after which the neighbour is freed.
 *
 * The state is read for each packet, and so is the cached Ethernet header: the
 * kernel's own probes and changes of a MAC address work as for any other packet.
 */
#ifndef DUET_NEIGH_H
#define DUET_NEIGH_H

#include "tunnel.h"

#include <linux/etherdevice.h>
#include <linux/if_arp.h>
#include <net/ip6_route.h>
#include <net/neighbour.h>

/* duet_route.neigh_seq: even, or one of these */
#define DUET_NEIGH_NONE	1	/* none is remembered */
#define DUET_NEIGH_LOST	3	/* neigh didn't answer: it must before it gets packets */

extern u32 duet_neigh_seq;

struct neighbour *duet_neigh_find(struct duet_route *route,
				  const struct duet_tunnel *tunnel);

/* duet_route_local - does the route end here, so that there is no neighbour */
static inline bool duet_route_local(const struct duet_route *route, bool v6)
{
	if (v6)
		return ((const struct rt6_info *)route->dst)->rt6i_flags & RTF_LOCAL;
	return ((const struct rtable *)route->dst)->rt_flags & RTCF_LOCAL;
}

/* duet_route_neigh - the neighbour of a valid route that isn't local, NULL: none,
 * or it doesn't answer. RCU, BH off.
 */
static __always_inline struct neighbour *
duet_route_neigh(struct duet_route *route, const struct duet_tunnel *tunnel)
{
	const struct rtable *rt = (const struct rtable *)route->dst;

	/* an exception of an IPv4 route gets another gateway in place */
	if (likely(route->neigh_seq == READ_ONCE(duet_neigh_seq) &&
		   (tunnel->v6 || (route->gw == rt->rt_gw4 &&
				   route->gw_family == rt->rt_gw_family))))
		return route->neigh;
	return duet_neigh_find(route, tunnel);
}

/* duet_neigh_header - the neighbour's Ethernet header in front of skb->data, which
 * has LL_RESERVED_SPACE() before it; false: it must be asked for it. other: the
 * neighbour is of another family than the packet.
 */
static __always_inline bool duet_neigh_header(const struct neighbour *n,
					      struct sk_buff *skb, bool other)
{
	const struct hh_cache *hh = &n->hh;
	unsigned int seq;

	if (unlikely(!(READ_ONCE(n->nud_state) & NUD_CONNECTED)))
		return false;
	do {
		seq = read_seqbegin(&hh->hh_lock);
		if (unlikely(READ_ONCE(hh->hh_len) != ETH_HLEN))
			return false;
		memcpy(skb->data - HH_DATA_MOD, hh->hh_data, HH_DATA_MOD);
	} while (read_seqretry(&hh->hh_lock, seq));
	if (unlikely(other)) {
		if (n->dev->type != ARPHRD_ETHER)
			return false;
		((struct ethhdr *)(skb->data - ETH_HLEN))->h_proto = skb->protocol;
	}
	__skb_push(skb, ETH_HLEN);
	return true;
}

int duet_neigh_init(void);
void duet_neigh_exit(void);

#endif
