/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The flow table of an smux: which backend a flow was sent to, so that it
 * stays there while its VIP's table changes. Memory is bounded and taken at
 * once; buckets of eight entries, looked up without a lock. It is an
 * optimisation of last resort, never a condition: without room, the packet
 * goes where the set's table says, like on an hmux.
 */
#ifndef DUET_FLOW_H
#define DUET_FLOW_H

#include "vip.h"

#include <linux/workqueue.h>

#define DUET_FLOW_WAYS	8

struct duet_flow_sum {
	u32 used;
	u64 bytes, hits, added, full, limited;
};

/* One flow. Written under its bucket's lock and seq; used and state are also
 * written without, by the packets of the flow.
 */
struct duet_flow {
	seqcount_t seq;
	u32 used;		/* jiffies of the last packet, about */
	u32 src[4], dst[4];	/* duet_tuple's, IPv4: the rest is 0 */
	u16 sport, dport;
	u8 proto, family;
	u8 state;		/* enum duet_flow_state */
	u32 slot, id;		/* of the backend */
	u32 tunnel;		/* id of the backend's */
} ____cacheline_aligned;

/* tag: from the flow's hash, 0 if the way is free */
struct duet_flow_bucket {
	u32 tag[DUET_FLOW_WAYS];
	spinlock_t lock;	/* of tags and entries, for writers */
} ____cacheline_aligned;

enum duet_flow_counter {
	DUET_FLOW_HIT,
	DUET_FLOW_ADDED,
	DUET_FLOW_REMOVED,
	DUET_FLOW_FULL,
	DUET_FLOW_LIMITED,

	__DUET_FLOW_COUNTERS
};

struct duet_flow_stats {
	struct u64_stats_sync syncp;
	u64_stats_t count[__DUET_FLOW_COUNTERS];
	u32 second, budget;	/* of the rate limit */
};

struct duet_flows {
	struct duet_flow_bucket *buckets;
	struct duet_flow *flows;	/* DUET_FLOW_WAYS a bucket */
	struct duet_flow_stats __percpu *stats;
	u32 mask;		/* of buckets */
	u32 key;		/* of the table's own hash */
	u32 rate;
	u32 timeout[3][2];	/* jiffies; [state][TCP] */
	struct delayed_work sweep;
	struct duet_dev *dd;	/* for the sweep, which ends before it */
	u64 full;		/* packets without room when last swept, sweep's */
	bool is_full;		/* there were some since the sweep before */
	struct rcu_head rcu;
};

/* duet_flow_hash - where in the table; not the deployment's hash, which costs
 * more and whose key other machines have
 */
static inline u32 duet_flow_hash(const struct duet_flows *flows,
				 const struct duet_tuple *t)
{
	if (t->family == 4)
		return duet_lookup3_v4(t->src[0], t->dst[0], t->ports, t->proto,
				       flows->key);
	return duet_lookup3_v6(t->src, t->dst, t->ports, t->proto, flows->key);
}

/* duet_flow_lookup - the backend of rule that the flow is bound to, or has been
 * by another rule that was the flow's: the same DIP; NULL: none, or one that is
 * down or gone. hash: duet_flow_hash(). touch: a packet of the flow, not a
 * question about it. RCU and BH off.
 */
struct duet_backend *duet_flow_lookup(const struct duet_dev *dd,
				      struct duet_flows *flows,
				      const struct duet_rule *rule,
				      const struct duet_tuple *t, u32 hash,
				      bool touch);
/* duet_flow_bind - from now on the flow is backend's. RCU and BH off. */
void duet_flow_bind(struct duet_flows *flows, const struct duet_tuple *t,
		    u32 hash, const struct duet_backend *backend);

/* All below: duet_net->lock held. */

extern const struct duet_flow_config duet_flow_default;

/* duet_flows_set - another configuration; another max makes an empty table */
int duet_flows_set(struct duet_dev *dd, const struct duet_flow_config *config,
		   struct netlink_ext_ack *extack);
void duet_flows_free(struct duet_dev *dd);
void duet_flows_sum(struct duet_dev *dd, struct duet_flow_sum *sum);

/* duet_flow_next - a copy of the first flow at or after *at that is in use and
 * whose VIP and DIP are these (NULL: any), *at behind it; false: no more
 */
bool duet_flow_next(struct duet_dev *dd, u64 *at, const struct in6_addr *vip,
		    const struct in6_addr *dip, struct duet_flow *flow,
		    struct in6_addr *flow_dip);
void duet_flow_flush(struct duet_dev *dd, const struct in6_addr *vip,
		     const struct in6_addr *dip);

#endif
