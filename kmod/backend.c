// SPDX-License-Identifier: GPL-2.0
/*
 * Backends, and the slots by which flows find them.
 */
#include "backend.h"
#include "guest.h"
#include "percpu.h"

#include <linux/slab.h>

struct kmem_cache *duet_backend_cache;

#define DUET_SLOTS_MIN	64

static struct duet_slots *duet_slots_locked(const struct duet_dev *dd)
{
	return rcu_dereference_protected(dd->slots, duet_locked(dd));
}

static int duet_slots_grow(struct duet_dev *dd)
{
	struct duet_slots *old = duet_slots_locked(dd), *slots;
	u32 i, n = old ? old->n * 2 : DUET_SLOTS_MIN;

	slots = kvzalloc(struct_size(slots, backend, n), GFP_KERNEL_ACCOUNT);
	if (!slots)
		return -ENOMEM;
	slots->n = n;
	for (i = 0; old && i < old->n; i++)
		RCU_INIT_POINTER(slots->backend[i],
				 rcu_dereference_protected(old->backend[i],
							   duet_locked(dd)));
	rcu_assign_pointer(dd->slots, slots);
	if (old)
		kvfree_rcu(old, rcu);
	return 0;
}

/* duet_slot_take - only a mux with a flow table has slots */
static int duet_slot_take(struct duet_dev *dd, struct duet_backend *backend)
{
	struct duet_slots *slots = duet_slots_locked(dd);
	int slot;

	if (dd->mode != DUET_MODE_SMUX)
		return 0;
	slot = ida_alloc(&dd->slot_ids, GFP_KERNEL_ACCOUNT);
	if (slot < 0)
		return slot;
	if (!slots || slot >= slots->n) {
		if (duet_slots_grow(dd)) {
			ida_free(&dd->slot_ids, slot);
			return -ENOMEM;
		}
		slots = duet_slots_locked(dd);
	}
	backend->slot = slot;
	rcu_assign_pointer(slots->backend[slot], backend);
	return 0;
}

/* What one takes, with its slot and what it has for each CPU. */
static long duet_backend_bytes(void)
{
	return sizeof(struct duet_backend) + sizeof(void *) +
	       duet_percpu_stats.size * num_possible_cpus();
}

static long duet_tunnel_bytes(void)
{
	return sizeof(struct duet_tunnel) +
	       duet_percpu_routes.size * num_possible_cpus();
}

struct duet_backend *duet_backend_new(struct duet_dev *dd, const u8 addr[16],
				      u32 rule)
{
	struct duet_backend *backend = kmem_cache_zalloc(duet_backend_cache,
							 GFP_KERNEL_ACCOUNT);
	u32 tunnels = dd->used.tunnels;

	if (!backend)
		return NULL;
	backend->stats = duet_percpu_get(&duet_percpu_stats, &backend->stats_slot);
	if (!backend->stats)
		goto err_free;
	duet_stats_init(backend->stats);
	backend->tunnel = duet_tunnel_get(dd, addr);
	if (!backend->tunnel)
		goto err_put_stats;
	backend->rule = rule;
	backend->id = ++dd->last_backend;
	backend->refs = 1;
	if (duet_slot_take(dd, backend))
		goto err_put_tunnel;
	dd->used.backends += !!rule;
	duet_account(duet_pernet(dd->net), duet_backend_bytes() +
		     (dd->used.tunnels - tunnels) * duet_tunnel_bytes());
	return backend;

err_put_tunnel:
	duet_tunnel_put(dd, backend->tunnel);
err_put_stats:
	duet_percpu_put(&duet_percpu_stats, backend->stats_slot);
err_free:
	kmem_cache_free(duet_backend_cache, backend);
	return NULL;
}

static void duet_backend_rcu(struct rcu_head *rcu)
{
	struct duet_backend *backend = container_of(rcu, struct duet_backend, rcu);

	duet_percpu_put(&duet_percpu_stats, backend->stats_slot);
	kmem_cache_free(duet_backend_cache, backend);
}

static void duet_backend_put(struct duet_dev *dd, struct duet_backend *backend)
{
	struct duet_slots *slots = duet_slots_locked(dd);
	u32 tunnels = dd->used.tunnels;

	if (--backend->refs)
		return;
	if (dd->mode == DUET_MODE_SMUX) {
		RCU_INIT_POINTER(slots->backend[backend->slot], NULL);
		ida_free(&dd->slot_ids, backend->slot);
	}
	duet_tunnel_put(dd, backend->tunnel);
	dd->used.backends -= !!backend->rule;
	duet_account(duet_pernet(dd->net), -duet_backend_bytes() -
		     (tunnels - dd->used.tunnels) * duet_tunnel_bytes());
	call_rcu(&backend->rcu, duet_backend_rcu);
}

struct duet_lineup *duet_lineup_new(struct duet_dev *dd, u32 n)
{
	struct duet_lineup *lineup;

	lineup = kvzalloc(struct_size(lineup, backend, n), GFP_KERNEL_ACCOUNT);
	if (!lineup)
		return NULL;
	lineup->refs = 1;
	lineup->n = n;
	duet_account(duet_pernet(dd->net), struct_size(lineup, backend, n));
	return lineup;
}

void duet_lineup_put(struct duet_dev *dd, struct duet_lineup *lineup)
{
	u32 i;

	if (--lineup->refs)
		return;
	for (i = 0; i < lineup->n && lineup->backend[i]; i++)
		duet_backend_put(dd, lineup->backend[i]);
	duet_account(duet_pernet(dd->net),
		     -(long)struct_size(lineup, backend, lineup->n));
	kvfree_rcu(lineup, rcu);
}

void duet_backend_exit(struct duet_dev *dd)
{
	/* unregistered: nobody else has it */
	kvfree(rcu_dereference_protected(dd->slots, dd->dev->reg_state > NETREG_REGISTERED));
	ida_destroy(&dd->slot_ids);
}
