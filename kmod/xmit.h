/* SPDX-License-Identifier: GPL-2.0 */
/* Encapsulation and output. */
#ifndef DUET_XMIT_H
#define DUET_XMIT_H

#include "vip.h"

/* How a packet came. */
#define DUET_HOP	1	/* we are a hop of its path: its TTL falls by one */
#define DUET_WIRE	2	/* from outside: its source is no address of ours */

/* duet_xmit4, duet_xmit6 - send the IPv4 or IPv6 packet at skb->data, whose flow
 * is t and whose network and transport headers are set, through the tunnel.
 * Consumed in every case; how: DUET_HOP. RCU and BH off.
 */
enum duet_verdict duet_xmit4(struct duet_dev *dd, const struct duet_rules *rules,
			     struct duet_tunnel *tunnel, struct sk_buff *skb,
			     const struct duet_tuple *t, unsigned int how);
enum duet_verdict duet_xmit6(struct duet_dev *dd, const struct duet_rules *rules,
			     struct duet_tunnel *tunnel, struct sk_buff *skb,
			     const struct duet_tuple *t, unsigned int how);

#endif
