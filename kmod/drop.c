// SPDX-License-Identifier: GPL-2.0
/*
 * Verdicts as the kernel's own drop reasons, and the module's trace events.
 */
#include "drop.h"
#include "compat.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

#if DUET_HAVE_DROP_REASONS
static enum skb_drop_reason duet_drop_reason(enum duet_verdict verdict)
{
	switch (verdict) {
	case DUET_VERDICT_DROP_HEADER:
	case DUET_VERDICT_DROP_TTL:	/* as ip_forward() has it */
		return SKB_DROP_REASON_IP_INHDR;
	case DUET_VERDICT_DROP_NO_RULE:
	case DUET_VERDICT_DROP_NO_DIP:	/* nobody listens behind the VIP */
		return SKB_DROP_REASON_NO_SOCKET;
	case DUET_VERDICT_DROP_FRAGMENT:	/* the VIP's policy */
		return SKB_DROP_REASON_NETFILTER_DROP;
	case DUET_VERDICT_DROP_TOO_BIG:
		return SKB_DROP_REASON_PKT_TOO_BIG;
	case DUET_VERDICT_PASS:		/* routed into the device, of no VIP */
	case DUET_VERDICT_DROP_NO_ROUTE:
	case DUET_VERDICT_DROP_NO_LOCAL:
		return SKB_DROP_REASON_IP_OUTNOROUTES;
	case DUET_VERDICT_DROP_MEMORY:
		return SKB_DROP_REASON_NOMEM;
	case DUET_VERDICT_DROP_LOOP:	/* the source is the mux itself */
	case DUET_VERDICT_DROP_MARTIAN:
		return SKB_DROP_REASON_IP_INADDRERRORS;
	case DUET_VERDICT_DROP_NO_TUNNEL:
		return SKB_DROP_REASON_UNHANDLED_PROTO;
	default:
		return SKB_DROP_REASON_NOT_SPECIFIED;
	}
}

void duet_drop(struct sk_buff *skb, enum duet_verdict verdict)
{
	kfree_skb_reason(skb, duet_drop_reason(verdict));
}
#else
void duet_drop(struct sk_buff *skb, enum duet_verdict verdict)
{
	kfree_skb(skb);
}
#endif
