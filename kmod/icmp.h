/* SPDX-License-Identifier: GPL-2.0 */
/* ICMP that a mux sends, all to the client of a VIP, and that it takes. */
#ifndef DUET_ICMP_H
#define DUET_ICMP_H

#include "vip.h"

/* duet_icmp_too_big, duet_icmp_unreachable, duet_icmp_expired - answer the client
 * of the packet at skb->data, whose flow is t: the first two as the VIP, the
 * last one as the mux. Rate limited; skb stays the caller's, and skb->cb isn't
 * read. RCU, BH off.
 */
void duet_icmp_too_big(struct duet_dev *dd, const struct sk_buff *skb,
		       const struct duet_tuple *t, unsigned int mtu);
void duet_icmp_unreachable(struct duet_dev *dd, const struct sk_buff *skb,
			   const struct duet_tuple *t);

void duet_icmp_expired(struct duet_dev *dd, const struct sk_buff *skb,
		       const struct duet_tuple *t);

/* duet_icmp_is_outer - ICMP to the source of our outer headers? skb has an IP
 * header in one piece.
 */
static inline bool duet_icmp_is_outer(const struct duet_dev *dd,
				      const struct sk_buff *skb, bool v6)
{
	const u8 *ip = skb->data;

	if (!v6)
		return duet_is_local4(dd, *(__be32 *)(ip + 16)) &&
		       ip[9] == DUET_PROTO_ICMP;
	return ip[6] == DUET_PROTO_ICMPV6 &&
	       duet_is_local6(dd, (const struct in6_addr *)(ip + 24));
}

/* duet_icmp_outer - if it is an error about a packet of a client of ours in one
 * of our tunnels, the client is told and skb consumed; false: it passes
 */
bool duet_icmp_outer(struct duet_dev *dd, struct sk_buff *skb, bool v6);

/* duet_icmp_attach, duet_icmp_detach - take errors that are delivered to a
 * network namespace; rtnl held
 */
int duet_icmp_attach(struct net *net);
void duet_icmp_detach(struct net *net);

int duet_icmp_init(void);
void duet_icmp_exit(void);

#endif
