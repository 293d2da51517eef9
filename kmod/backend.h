/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A backend: one DIP of one rule of one VIP. It outlives replacements of the
 * rule's set, so its counters go on and its flows stay.
 */
#ifndef DUET_BACKEND_H
#define DUET_BACKEND_H

#include "tunnel.h"

struct duet_backend {
	struct duet_tunnel *tunnel;		/* reference held */
	struct duet_stats __percpu *stats;
	u32 rule;				/* duet_rule.id */
	u32 id;					/* never given twice */
	u32 slot;				/* in duet_dev.slots */
	u32 stats_slot;
	u8 state;				/* enum duet_dip_state, WRITE_ONCE */
	unsigned int refs;			/* rules, lock */
	struct rcu_head rcu;
};

extern struct kmem_cache *duet_backend_cache;

/* Where a flow finds its backend: flows outlive backends, so they name one by
 * slot and id instead of holding it. RCU; replaced by a larger one when full.
 */
struct duet_slots {
	struct rcu_head rcu;
	u32 n;
	struct duet_backend __rcu *backend[];
};

/* duet_backend_find - RCU; NULL if it is gone */
static inline struct duet_backend *duet_backend_find(const struct duet_dev *dd,
						     u32 slot, u32 id)
{
	const struct duet_slots *slots = rcu_dereference(dd->slots);
	struct duet_backend *backend;

	if (unlikely(!slots || slot >= slots->n))
		return NULL;
	backend = rcu_dereference(slots->backend[slot]);
	return likely(backend && backend->id == id) ? backend : NULL;
}

/* duet_backend_new - with a reference; lock held. NULL: no memory. */
struct duet_backend *duet_backend_new(struct duet_dev *dd, const u8 addr[16],
				      u32 rule);
/* duet_backend_put - lock held; freed after a grace period */
void duet_backend_put(struct duet_dev *dd, struct duet_backend *backend);
/* duet_backend_exit - of a device that has none any more */
void duet_backend_exit(struct duet_dev *dd);

#endif
