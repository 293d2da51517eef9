/* SPDX-License-Identifier: GPL-2.0 */
/* Objects of the family as attributes. All: duet_net->lock held, -EMSGSIZE
 * if the message is full. VIPs: -ENOMEM, too.
 */
#ifndef DUET_NETLINK_GET_H
#define DUET_NETLINK_GET_H

#include <net/netlink.h>
#include "flow.h"
#include "rx.h"
#include "vip.h"

int duet_put_dev(struct sk_buff *msg, struct duet_dev *dd);
/* duet_put_vip - the mux, its generation and nest DUET_A_VIP; counters too if stats */
int duet_put_vip(struct sk_buff *msg, const struct duet_dev *dd,
		 const struct duet_vip *vip, bool stats);
/* duet_put_trace - nest DUET_A_VIP with the chosen rule and DIP only */
int duet_put_trace(struct sk_buff *msg, const struct duet_vip *vip,
		   const struct duet_choice *choice, bool has_dip);
int duet_put_addr(struct sk_buff *msg, int type, const struct in6_addr *addr);
/* duet_put_flow - nests DUET_A_FLOW and DUET_A_DIP */
int duet_put_flow(struct sk_buff *msg, const struct duet_flow *flow,
		  const struct in6_addr *flow_dip);
/* duet_vip_size - room for duet_put_vip() */
size_t duet_vip_size(const struct duet_dev *dd, const struct duet_vip *vip);
size_t duet_dev_size(const struct duet_dev *dd);

#endif
