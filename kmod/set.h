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
	struct hlist_node node;		/* in duet_dev.groups */
	struct hlist_head sets;		/* of duet_set.node */
	unsigned int refs;		/* sets */
	u32 hash;
	u32 n, n_buckets;
	u16 *base;			/* n_buckets */
	struct rcu_head rcu;
};

struct duet_set {
	/* what packets read, under RCU */
	u16 *table;			/* group->base if all are up; NULL: all down */
	u32 n_buckets;
	bool own;			/* table isn't the group's */
	/* the rest, under the lock */
	bool counted;			/* buckets and digest are filled in */
	u32 n;
	struct duet_group *group;	/* reference held */
	struct hlist_node node;		/* in group->sets */
	unsigned int refs;		/* rules */
	u64 digest;			/* 0: all down */
	u32 *buckets;			/* n, behind dips: how many each has */
	struct rcu_head rcu;
	struct duet_dip dips[];		/* n; down: enum duet_dip_state */
};

/* All: duet_net->lock held. duet_set_get() and duet_set_restate() find or make
 * the set and take a reference; they check no limit, but dd->used.members
 * counts. ERR_PTR with extack filled on failure.
 */

/* dips: n, sorted, copied */
struct duet_set *duet_set_get(struct duet_dev *dd, const struct duet_dip *dips,
			      u32 n, struct netlink_ext_ack *extack);
/* duet_set_restate - the same group with other states. ERR_PTR(-ENOMEM). */
struct duet_set *duet_set_restate(const struct duet_set *set,
				  const struct duet_dip *dips);
/* duet_set_count - fills in buckets and digest, which only answers tell and
 * which cost as much as the table; lock held
 */
void duet_set_count(struct duet_set *set);
/* duet_set_put - after it was unpublished; memory goes after a grace period */
void duet_set_put(struct duet_dev *dd, struct duet_set *set);

#endif
