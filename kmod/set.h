/* SPDX-License-Identifier: GPL-2.0 */
/*
 * DIP sets with their tables. A group is a set as provisioned: DIPs and
 * weights, with the table of all of them up. A set is a group with the states
 * of its DIPs, immutable once published. Rules of any number of VIPs that say
 * the same share both, as a switch's ECMP groups are shared.
 */
#ifndef DUET_SET_H
#define DUET_SET_H

#include <duet/table.h>
#include "device.h"

struct duet_group {
	union {
		struct hlist_node node;	/* in duet_dev.groups */
		struct rcu_head rcu;	/* when it is in them no more */
	};
	struct hlist_head sets;		/* of duet_set.node */
	unsigned int refs;		/* sets */
	u32 hash;
	u32 n, n_buckets;
	u16 *base;			/* n_buckets */
	struct duet_lineup *lineup;	/* lock: the shared one, or NULL; no reference */
};

extern struct kmem_cache *duet_group_cache;

/* What only answers tell. */
struct duet_set_counts {
	u64 digest;			/* 0: all down */
	u32 buckets[];			/* group->n: how many each DIP has */
};

struct duet_set {
	/* what packets read, under RCU */
	u16 *table;			/* group->base if all are up; NULL: all down */
	u32 n_buckets;
	/* the rest, under the lock */
	unsigned int refs : 31;		/* rules */
	unsigned int own : 1;		/* table isn't the group's */
	struct duet_group *group;	/* reference held; RCU may read its n */
	union {
		struct hlist_node node;	/* in group->sets */
		struct rcu_head rcu;	/* when it is in them no more */
	};
	struct duet_set_counts *counts;	/* NULL: nobody has asked yet */
	struct duet_dip dips[];		/* group->n; down: enum duet_dip_state */
};

/* All: duet_net->lock held. duet_set_get() and duet_set_restate() find or make
 * the set and take a reference; they check no limit, but dd->used.members
 * counts. ERR_PTR with extack filled on failure.
 */

/* dips: n, sorted, copied */
struct duet_set *duet_set_get(struct duet_dev *dd, const struct duet_dip *dips,
			      u32 n, struct netlink_ext_ack *extack);
/* duet_set_restate - the same group with other states. ERR_PTR(-ENOMEM). */
struct duet_set *duet_set_restate(struct duet_dev *dd, const struct duet_set *set,
				  const struct duet_dip *dips);
/* duet_set_count - made when first asked for: they cost as much as the table.
 * NULL: no memory.
 */
const struct duet_set_counts *duet_set_count(struct duet_set *set);
/* duet_set_put - after it was unpublished; memory goes after a grace period */
void duet_set_put(struct duet_dev *dd, struct duet_set *set);

#endif
