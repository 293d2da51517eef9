/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Small per-CPU objects, many of them: the kernel's allocator searches all it
 * has for each; here 64 of a size come from one allocation.
 *
 * A pool belongs to the module, not to a mux, for objects are freed when a grace
 * period is over, and their mux may be gone by then. A block is accounted to
 * whoever needed its first object.
 */
#ifndef DUET_PERCPU_H
#define DUET_PERCPU_H

#include <linux/list.h>
#include <linux/percpu.h>
#include <linux/xarray.h>

struct duet_percpu {
	struct xarray blocks;	/* of struct duet_percpu_block, by index */
	struct list_head room;	/* those that have some; blocks.xa_lock */
	size_t size;		/* of an object, a power of 2 */
};

/* what there is a pool of */
extern struct duet_percpu duet_percpu_stats;
extern struct duet_percpu duet_percpu_routes;

/* duet_percpu_get - an object, zeroed on every CPU, NULL: out of memory; *slot is
 * what duet_percpu_put() wants. May sleep.
 */
void __percpu *duet_percpu_get(struct duet_percpu *pool, u32 *slot);
/* duet_percpu_put - from any context but hard interrupts */
void duet_percpu_put(struct duet_percpu *pool, u32 slot);

void duet_percpu_init(void);
/* duet_percpu_exit - when every object was put */
void duet_percpu_exit(void);

#endif
