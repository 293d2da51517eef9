/* SPDX-License-Identifier: GPL-2.0 */
/* Packets that are dropped, by a reason that drop monitors understand. */
#ifndef DUET_DROP_H
#define DUET_DROP_H

#include <linux/duet.h>
#include <linux/skbuff.h>

/* duet_drop - free a packet that got this verdict. The device's counter of the
 * verdict says more than the kernel's reason, of which several share one.
 */
void duet_drop(struct sk_buff *skb, enum duet_verdict verdict);

#endif
