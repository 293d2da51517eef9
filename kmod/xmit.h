/* SPDX-License-Identifier: GPL-2.0 */
/* Encapsulation and output. */
#ifndef DUET_XMIT_H
#define DUET_XMIT_H

#include "tunnel.h"

/* duet_xmit4 - send the IPv4 packet at skb->data through the tunnel; its
 * transport header is set. Consumed in every case. RCU and BH off.
 */
enum duet_verdict duet_xmit4(struct duet_dev *dd, struct duet_tunnel *tunnel,
			     struct sk_buff *skb);

#endif
