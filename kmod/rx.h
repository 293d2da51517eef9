/* SPDX-License-Identifier: GPL-2.0 */
/* The way of a packet: parse, look up, choose, and hand to xmit or icmp. */
#ifndef DUET_RX_H
#define DUET_RX_H

#include "icmp.h"
#include "vip.h"

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netfilter.h>
#include <linux/skbuff.h>

/* All three: a packet from a port's hook, skb->data at its IP header; what the
 * hook returns. NF_STOLEN: sent or dropped; NF_ACCEPT: not ours, untouched. RCU
 * and BH off.
 */

/* duet_rx_vip - for a VIP, its IP header in one piece */
unsigned int duet_rx_vip(struct duet_dev *dd, struct duet_vip *vip,
			 struct sk_buff *skb, bool v6);
/* duet_rx_other - ICMP, which may be for us, or its header isn't in one piece */
unsigned int duet_rx_other(struct duet_dev *dd, struct sk_buff *skb, bool v6);

/* duet_rx_port - any. Inline and without a stack frame, because packets that
 * aren't ours pay for it.
 */
static __always_inline unsigned int
duet_rx_port(struct duet_dev *dd, struct sk_buff *skb, bool v6)
{
	const u8 *ip = skb->data;
	struct duet_vip *vip;
	bool icmp;

	if (unlikely(skb_headlen(skb) < (v6 ? DUET_IP6_HEADER : DUET_IP4_HEADER)))
		return duet_rx_other(dd, skb, v6);
	if (v6) {
		vip = duet_vip_lookup6(dd, &((const struct ipv6hdr *)ip)->daddr);
		icmp = ip[6] == IPPROTO_ICMPV6;
	} else {
		vip = duet_vip_lookup4(dd, ((const struct iphdr *)ip)->daddr);
		icmp = ip[9] == IPPROTO_ICMP;
	}
	if (vip)
		return duet_rx_vip(dd, vip, skb, v6);
	if (unlikely(icmp))
		return duet_rx_other(dd, skb, v6);
	duet_count(dd, DUET_VERDICT_PASS, skb->len);
	return NF_ACCEPT;
}

/* duet_rx_route - a packet routed into the device; always taken */
void duet_rx_route(struct duet_dev *dd, struct sk_buff *skb);

/* What the data path chooses for a flow; also what TRACE answers with. RCU. */
struct duet_choice {
	struct duet_rules *rules;
	struct duet_rule *rule;
	struct duet_set *set;
	struct duet_backend *backend;
	u32 hash, bucket;
	bool kept;		/* by the flow table, not by the set's table */
};

/* duet_choose - the backend for a flow of vip. ask: nothing is remembered. RCU,
 * BH off.
 */
enum duet_verdict duet_choose(struct duet_dev *dd, struct duet_vip *vip,
			      const struct duet_tuple *t, bool ask,
			      struct duet_choice *choice);

#endif
