/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The flow table of an smux: which backend a flow was sent to, so that it
 * stays there while its VIP's table changes. Memory is bounded and taken at
 * once; buckets of eight entries, looked up without a lock. It is an
 * optimisation of last resort, never a condition: without room, the packet
 * goes where the set's table says, like on an hmux.
 *
 * Anybody can send the mux a packet of any flow, so one packet decides little:
 *
 *  - What is bound stays bound. A SYN follows its flow, whether it is a retry, late
 *    or forged. A FIN or RST makes a flow closing, which takes nothing from
 *    it but its turn: a packet after it makes it open again. Only when
 *    it was closing and silent for the time `fin` does a SYN begin
 *    a new flow, and may others have its room.
 *  - A flow begins on probation (rank 0). A packet that comes DUET_FLOW_TRIAL after its
 *    first makes it kept (rank 1); packets that come later and later, each
 *    time after four times the age, raise its rank. SYNs and FINs raise
 *    nothing. Whoever invents flows must so keep each of them alive for as long
 *    as those live that he wants to displace, and what he sends back to
 *    back counts for nothing.
 *  - A new flow takes a free way, or that of a closed one, or of the flow on
 *    probation that is silent for longest. Flows on probation may have all that kept
 *    ones leave them: the more there is, the longer is a real flow among a flood of
 *    invented ones sure to stay until it is kept. Kept flows make way only in a bucket
 *    where fewer than two are not kept, the lowest rank first and the
 *    longest silent of that, and only after a silence of DUET_FLOW_PATIENCE, a
 *    higher rank after more, or of a quarter of their timeout.
 */
#ifndef DUET_FLOW_H
#define DUET_FLOW_H

#include "vip.h"

#include <linux/seqlock.h>
#include <linux/workqueue.h>

#define DUET_FLOW_WAYS	8

/* Beside enum duet_flow_state: open, and kept. A packet of such a flow changes
 * nothing, mostly.
 */
#define DUET_FLOW_KEPT	(DUET_FLOW_CLOSING + 1)

/* Real flows have a packet some round trips after their first: that is time
 * enough to be spared by packets sent back to back, and short enough to
 * be kept before a flood has turned over the ways of a bucket.
 */
#define DUET_FLOW_TRIAL		max(HZ / 16, 1)
#define DUET_FLOW_RANK_MAX	8
#define DUET_FLOW_PATIENCE	(30 * HZ)

struct duet_flow_sum {
	u32 used;
	u64 bytes, hits, added, full, limited;
};

/* One flow. Written under its bucket's lock and seq, but for what changes while
 * the flow stays: used is also written without, by the packets of the flow;
 * state and rank under the lock, read without.
 */
struct duet_flow {
	u32 used;		/* jiffies of the last packet, about */
	u32 born;		/* jiffies of the first */
	u32 src[4], dst[4];	/* duet_tuple's, IPv4: the rest is 0 */
	u16 sport, dport;
	u8 proto, family;
	u8 state;		/* enum duet_flow_state or DUET_FLOW_KEPT */
	u8 rank;		/* 0: on probation */
	u32 slot, id;		/* of the backend */
	u32 tunnel;		/* id of the backend's */
} ____cacheline_aligned;

/* tag: from the flow's hash, 0 if the way is free */
struct duet_flow_bucket {
	u32 tag[DUET_FLOW_WAYS];
	spinlock_t lock;		/* of tags and entries, for writers */
	seqcount_spinlock_t seq;	/* of the entries */
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
	u32 timeout[4][2];	/* jiffies; [state][TCP]; closing: on probation */
	u32 closed;		/* jiffies: closing and silent for so long is over */
	struct delayed_work sweep;
	struct duet_dev *dd;	/* for the sweep, which ends before it */
	u32 swept;		/* sweep's: the bucket it goes on with */
	u32 told;		/* sweep's: jiffies when is_full was last seen to */
	u64 full;		/* sweep's: flows without free room by then */
	bool is_full;		/* there were some since the time before */
	struct rcu_work rcu;
	bool guest;		/* of a namespace that is accounted */
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
 * down or gone, or a SYN after the flow's end. hash: duet_flow_hash(). touch: a
 * packet of the flow, not a question about it. RCU and BH off.
 */
struct duet_backend *duet_flow_lookup(const struct duet_dev *dd,
				      struct duet_flows *flows,
				      const struct duet_rule *rule,
				      const struct duet_tuple *t, u32 hash,
				      bool touch);
/* duet_flow_bind - from now on the flow is backend's. RCU and BH off. */
void duet_flow_bind(struct duet_flows *flows, const struct duet_tuple *t,
		    u32 hash, const struct duet_backend *backend);

extern const struct duet_flow_config duet_flow_default;

/* duet_flows_new - a table of max entries, empty. Without the lock: a large one
 * takes its time. ERR_PTR with extack filled.
 */
struct duet_flows *duet_flows_new(struct duet_net *dn, u32 max,
				  struct netlink_ext_ack *extack);
/* duet_flows_discard - one that was never a device's, or NULL */
void duet_flows_discard(struct duet_net *dn, struct duet_flows *flows);
/* duet_flows_is - has the table (NULL: none) as many entries as max wants */
bool duet_flows_is(const struct duet_flows *flows, u32 max);

/* All below: duet_net->lock held. */

/* duet_flows_set - another configuration. new, which is the device's from now on,
 * takes the place of the table it has, if that is not of the right size.
 */
void duet_flows_set(struct duet_dev *dd, const struct duet_flow_config *config,
		    struct duet_flows *new);
void duet_flows_free(struct duet_dev *dd);
void duet_flows_sum(struct duet_dev *dd, struct duet_flow_sum *sum);

/* Which flows a walk is about; NULL: all. */
struct duet_flow_filter {
	struct in6_addr vip_addr, dip_addr;
	const struct in6_addr *vip, *dip;
};

/* A walk over the table in steps of at most DUET_FLOW_STEP buckets: whoever
 * walks gives lock and CPU back in between. The table may be another one then.
 */
#define DUET_FLOW_STEP	1024

enum duet_flow_step { DUET_FLOW_FOUND, DUET_FLOW_MORE, DUET_FLOW_LAST };

/* duet_flow_next - FOUND: a copy of a flow that is in use and wanted, *at behind
 * it; MORE: none in this step; LAST: there are no more
 */
enum duet_flow_step duet_flow_next(struct duet_dev *dd, u64 *at,
				   const struct duet_flow_filter *filter,
				   struct duet_flow *flow,
				   struct in6_addr *flow_dip);
/* duet_flow_flush - forget those that are wanted, one step from bucket *at on */
enum duet_flow_step duet_flow_flush(struct duet_dev *dd, u64 *at,
				    const struct duet_flow_filter *filter);

#endif
