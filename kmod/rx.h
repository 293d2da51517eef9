/* SPDX-License-Identifier: GPL-2.0 */
/* The way of a packet: parse, look up, choose, and hand to xmit or icmp. */
#ifndef DUET_RX_H
#define DUET_RX_H

#include "vip.h"

/* duet_rx_port - a packet from a port's hook. True: taken (sent or dropped);
 * false: not ours, untouched. RCU and BH off; skb->data at the IP header.
 */
bool duet_rx_port(struct duet_dev *dd, struct sk_buff *skb, bool v6);
/* duet_rx_route - a packet routed into the device; always taken */
void duet_rx_route(struct duet_dev *dd, struct sk_buff *skb);

/* What the data path chooses for a flow; also what TRACE answers with. RCU. */
struct duet_choice {
	struct duet_rules *rules;
	struct duet_rule *rule;
	const struct duet_set *set;
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
