// SPDX-License-Identifier: GPL-2.0
/*
 * DIP sets: built aside, published by one pointer, freed after a grace period.
 * The table itself is include/duet/table.h.
 */
#include "set.h"
#include "compat.h"

#include <linux/mm.h>
#include <linux/slab.h>

static struct duet_counter *duet_counter_get(const struct duet_set *old,
					     const u8 addr[16])
{
	struct duet_counter *counter;
	u32 i;

	for (i = 0; old && i < old->n; i++) {
		counter = old->members[i].counter;
		if (!memcmp(&counter->addr, addr, 16)) {
			counter->refs++;
			return counter;
		}
	}
	counter = kzalloc(sizeof(*counter), GFP_KERNEL);
	if (!counter)
		return NULL;
	counter->stats = alloc_percpu(struct duet_stats);
	if (!counter->stats) {
		kfree(counter);
		return NULL;
	}
	duet_stats_init(counter->stats);
	memcpy(&counter->addr, addr, 16);
	counter->refs = 1;
	return counter;
}

static void duet_counter_free(struct rcu_head *rcu)
{
	struct duet_counter *counter = container_of(rcu, struct duet_counter, rcu);

	free_percpu(counter->stats);
	kfree(counter);
}

static void duet_counter_put(struct duet_counter *counter)
{
	if (!--counter->refs)
		call_rcu(&counter->rcu, duet_counter_free);
}

static void duet_set_release(struct duet_set *set)
{
	if (set->base != set->table)
		kvfree(set->base);
	kvfree(set->table);
	kvfree(set->dips);
	kvfree(set->members);
	kfree(set);
}

static void duet_set_rcu(struct rcu_head *rcu)
{
	duet_set_release(container_of(rcu, struct duet_set, rcu));
}

/* duet_set_count - digest, and how many buckets each member has */
static int duet_set_count(struct duet_set *set)
{
	u32 *keys;
	u32 i;

	for (i = 0; i < set->n; i++)
		set->members[i].buckets = 0;
	if (!set->table)
		return 0;
	keys = kvmalloc_array(set->n, sizeof(*keys), GFP_KERNEL);
	if (!keys)
		return -ENOMEM;
	for (i = 0; i < set->n; i++)
		keys[i] = duet_dip_key(&set->dips[i]);
	for (i = 0; i < set->n_buckets; i++)
		set->members[set->table[i]].buckets++;
	set->digest = duet_table_digest(set->table, set->n_buckets, keys);
	kvfree(keys);
	return 0;
}

/* duet_set_table - set->table from set->base and set->dips */
static int duet_set_table(struct duet_set *set)
{
	bool any_down = false;
	u32 i;

	for (i = 0; i < set->n; i++)
		any_down |= set->dips[i].down;
	if (!any_down) {
		set->table = set->base;
		return duet_set_count(set);
	}
	set->table = kvmalloc_array(set->n_buckets, sizeof(*set->table), GFP_KERNEL);
	if (!set->table)
		return -ENOMEM;
	if (!duet_table_down(set->dips, set->n, set->base, set->table,
			     set->n_buckets)) {
		kvfree(set->table);
		set->table = NULL;
	}
	return duet_set_count(set);
}

static struct duet_set *duet_set_alloc(const struct duet_dip *dips, u32 n)
{
	struct duet_set *set = kzalloc(sizeof(*set), GFP_KERNEL);

	if (!set)
		return NULL;
	set->n = n;
	set->n_buckets = duet_table_buckets(n);
	set->dips = kvmalloc_array(n, sizeof(*set->dips), GFP_KERNEL);
	set->members = kvcalloc(n, sizeof(*set->members), GFP_KERNEL);
	set->base = kvmalloc_array(set->n_buckets, sizeof(*set->base), GFP_KERNEL);
	if (!set->dips || !set->members || !set->base) {
		duet_set_release(set);
		return NULL;
	}
	memcpy(set->dips, dips, n * sizeof(*dips));
	return set;
}

static void duet_set_put_members(struct duet_dev *dd, struct duet_set *set)
{
	u32 i;

	for (i = 0; i < set->n; i++) {
		if (set->members[i].counter)
			duet_counter_put(set->members[i].counter);
		if (set->members[i].tunnel)
			duet_tunnel_put(dd, set->members[i].tunnel);
	}
}

/* duet_set_members - references of every member; on failure some are held */
static int duet_set_members(struct duet_dev *dd, struct duet_set *set,
			    const struct duet_set *old)
{
	struct duet_member *m = set->members;
	u32 i;

	for (i = 0; i < set->n; i++, m++) {
		m->counter = duet_counter_get(old, set->dips[i].addr);
		if (!m->counter)
			return -ENOMEM;
		m->stats = m->counter->stats;
		m->tunnel = duet_tunnel_get(dd, set->dips[i].addr);
		if (!m->tunnel)
			return -ENOMEM;
	}
	return 0;
}

struct duet_set *duet_set_new(struct duet_dev *dd, const struct duet_dip *dips,
			      u32 n, const struct duet_set *old,
			      struct netlink_ext_ack *extack)
{
	struct duet_walk *walk;
	struct duet_set *set;
	int ret = -ENOMEM;

	walk = kvmalloc_array(n, sizeof(*walk), GFP_KERNEL);
	if (!walk)
		goto err_nomem;
	set = duet_set_alloc(dips, n);
	if (!set)
		goto err_free_walk;

	ret = duet_table_fill(set->dips, n, walk, set->base, set->n_buckets);
	if (ret == -ENOENT)
		NL_SET_ERR_MSG(extack, "every DIP has weight 0");
	else if (ret == -ERANGE)
		NL_SET_ERR_MSG(extack, "a DIP would get no bucket: its weight is too small beside the largest");
	else if (ret)
		NL_SET_ERR_MSG(extack, "DIPs are not sorted or one is given twice");
	if (ret)
		goto err_free_set;

	ret = duet_set_members(dd, set, old);
	if (!ret)
		ret = duet_set_table(set);
	if (ret)
		goto err_put_members;
	kvfree(walk);
	return set;

err_put_members:
	duet_set_put_members(dd, set);
err_free_set:
	duet_set_release(set);
err_free_walk:
	kvfree(walk);
err_nomem:
	if (ret == -ENOMEM)
		NL_SET_ERR_MSG(extack, "out of memory for the DIP table");
	return ERR_PTR(ret);
}

struct duet_set *duet_set_restate(struct duet_dev *dd, const struct duet_set *old,
				  const struct duet_dip *dips)
{
	struct duet_set *set = duet_set_alloc(dips, old->n);
	int ret;

	if (!set)
		return ERR_PTR(-ENOMEM);
	memcpy(set->base, old->base, set->n_buckets * sizeof(*set->base));
	ret = duet_set_members(dd, set, old);
	if (!ret)
		ret = duet_set_table(set);
	if (ret) {
		duet_set_put_members(dd, set);
		duet_set_release(set);
		return ERR_PTR(ret);
	}
	return set;
}

void duet_set_free(struct duet_dev *dd, struct duet_set *set)
{
	duet_set_put_members(dd, set);
	call_rcu(&set->rcu, duet_set_rcu);
}
