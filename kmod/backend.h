/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A backend: one DIP of one rule of one VIP. It outlives replacements of the
 * rule's set, so its counters go on and its flows stay.
 *
 * A lineup: the backends of a rule, in the order of its set's DIPs. When a mux has as
 * many backends as its limit allows, further rules share one lineup for each group
 * (set.h), and so their DIPs' counters: what a VIP takes doesn't depend on how many
 * DIPs it has then.
 */
#ifndef DUET_BACKEND_H
#define DUET_BACKEND_H

#include "tunnel.h"

struct duet_lineup;

struct duet_backend {
	struct duet_tunnel *tunnel;		/* reference held */
	struct duet_stats __percpu *stats;
	struct duet_lineup *lineup;		/* the shared one it is of, or NULL */
	u32 at;					/* its place there */
	u32 rule;				/* duet_rule.id, 0: of a shared lineup */
	u32 id;					/* never given twice */
	u32 slot;				/* in duet_dev.slots */
	u32 stats_slot;
	u8 state;				/* enum duet_dip_state, WRITE_ONCE;
						 * shared: not here but in each set
						 */
	unsigned int refs;			/* lineups, lock */
	struct rcu_head rcu;
};

struct duet_lineup {
	struct rcu_head rcu;
	unsigned int refs;			/* rules, lock */
	u32 n;
	bool shared;
	struct duet_backend *backend[];
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

/* duet_lineup_new - for n DIPs, with a reference, no backends yet; duet_lineup_put -
 * with those that it has; freed after a grace period. Lock held.
 */
struct duet_lineup *duet_lineup_new(struct duet_dev *dd, u32 n);
void duet_lineup_put(struct duet_dev *dd, struct duet_lineup *lineup);

/* duet_backend_new - with a reference; rule 0: of a shared lineup. Lock held. NULL:
 * no memory.
 */
struct duet_backend *duet_backend_new(struct duet_dev *dd, const u8 addr[16],
				      u32 rule);
/* duet_backend_exit - of a device that has none any more */
void duet_backend_exit(struct duet_dev *dd);

#endif
