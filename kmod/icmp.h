/* SPDX-License-Identifier: GPL-2.0 */
/* ICMP: echo and errors to a VIP as flows, and "too big" to the client. */
#ifndef DUET_ICMP_H
#define DUET_ICMP_H

#include "vip.h"

/* duet_icmp_parse4 - flow of an ICMP packet to a VIP, whose IP header is ihl
 * bytes long: echo by identifier; an error as the flow it quotes, as the
 * client sends it, so that it reaches the DIP that has the connection.
 */
enum duet_verdict duet_icmp_parse4(struct sk_buff *skb, unsigned int ihl,
				   struct duet_flow4 *flow);

/* duet_icmp_too_big4 - tell the client of the packet at skb->data: source VIP,
 * fragmentation needed, next-hop MTU mtu. Rate limited; skb stays the caller's.
 */
void duet_icmp_too_big4(struct duet_dev *dd, struct sk_buff *skb,
			unsigned int mtu);

#endif
