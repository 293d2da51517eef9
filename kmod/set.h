/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A DIP set with its table: immutable once published, replaced as a whole.
 */
#ifndef DUET_SET_H
#define DUET_SET_H

#include <duet/table.h>
#include "device.h"
#include "tunnel.h"

/* Packets sent to one DIP of one VIP; outlives a replacement of the set. */
struct duet_counter {
	struct duet_stats __percpu *stats;
	struct in6_addr addr;
	unsigned int refs;		/* lock */
	struct rcu_head rcu;
};

struct duet_member {
	struct duet_tunnel *tunnel;	/* reference held */
	struct duet_stats __percpu *stats;	/* counter->stats */
	struct duet_counter *counter;	/* reference held */
	u32 buckets;			/* it has now */
};

struct duet_set {
	u16 *table;			/* n_buckets; NULL: all DIPs are down */
	u32 n_buckets;
	u32 n;
	struct duet_member *members;	/* n, in the order of dips */
	/* configuration, not looked at by packets */
	struct duet_dip *dips;		/* n, sorted */
	u16 *base;			/* table with every DIP up; == table if so */
	u64 digest;			/* 0: all down */
	struct rcu_head rcu;
};

/* duet_set_new - build a set. dips: n, sorted, copied. Counters of DIPs that
 * old (may be NULL) has too are carried over. Takes tunnels and may make some,
 * but checks no limit. Lock held. ERR_PTR with extack filled on failure, and
 * nothing held then.
 */
struct duet_set *duet_set_new(struct duet_dev *dd, const struct duet_dip *dips,
			      u32 n, const struct duet_set *old,
			      struct netlink_ext_ack *extack);
/* duet_set_restate - the same set, with other DIPs down (dips[i].down of the
 * copy that the caller passes). Lock held. ERR_PTR on no memory.
 */
struct duet_set *duet_set_restate(struct duet_dev *dd, const struct duet_set *set,
				  const struct duet_dip *dips);
/* duet_set_free - after it was unpublished; lock held. Memory goes after a
 * grace period.
 */
void duet_set_free(struct duet_dev *dd, struct duet_set *set);

#endif
