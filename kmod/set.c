// SPDX-License-Identifier: GPL-2.0
/*
 * DIP sets: built aside, published by one pointer, freed after a grace period.
 * The table itself is include/duet/table.h.
 */
#include "set.h"
#include "compat.h"
#include "guest.h"

#include <linux/jhash.h>
#include <linux/mm.h>
#include <linux/slab.h>

struct kmem_cache *duet_group_cache;

static u32 duet_group_hash(const struct duet_dip *dips, u32 n)
{
	u32 i, hash = n;

	for (i = 0; i < n; i++) {
		hash = jhash2((const u32 *)dips[i].addr, 4, hash);
		hash = jhash_1word(dips[i].weight, hash);
	}
	return hash;
}

static struct hlist_head *duet_group_head(struct duet_dev *dd, u32 hash)
{
	return &dd->groups[hash & ((1 << DUET_GROUP_HASH_BITS) - 1)];
}

/* duet_group_is - any of its sets tells; there is always one */
static bool duet_group_is(const struct duet_group *group, u32 hash,
			  const struct duet_dip *dips, u32 n)
{
	const struct duet_set *set;
	u32 i;

	if (group->hash != hash || group->n != n)
		return false;
	set = hlist_entry(group->sets.first, struct duet_set, node);
	for (i = 0; i < n; i++)
		if (duet_dip_cmp(&set->dips[i], &dips[i]) ||
		    set->dips[i].weight != dips[i].weight)
			return false;
	return true;
}

static void duet_group_release(struct duet_group *group)
{
	kvfree(group->base);
	kmem_cache_free(duet_group_cache, group);
}

static void duet_group_rcu(struct rcu_head *rcu)
{
	duet_group_release(container_of(rcu, struct duet_group, rcu));
}

static long duet_group_bytes(const struct duet_group *group)
{
	return sizeof(*group) + group->n_buckets * sizeof(*group->base);
}

/* duet_group_new - not linked, no reference */
static struct duet_group *duet_group_new(struct duet_dev *dd,
					 const struct duet_dip *dips, u32 n,
					 u32 hash, struct netlink_ext_ack *extack)
{
	struct duet_group *group;
	struct duet_walk *walk;
	int ret = -ENOMEM;

	group = kmem_cache_zalloc(duet_group_cache, GFP_KERNEL_ACCOUNT);
	if (!group)
		goto err_nomem;
	group->hash = hash;
	group->n = n;
	group->n_buckets = duet_table_buckets(n);
	group->base = kvmalloc_array(group->n_buckets, sizeof(*group->base),
				     GFP_KERNEL_ACCOUNT);
	walk = kvmalloc_array(n, sizeof(*walk), GFP_KERNEL_ACCOUNT);
	if (!group->base || !walk)
		goto err_free;

	ret = duet_table_fill(dips, n, walk, group->base, group->n_buckets);
	if (ret == -ENOENT)
		NL_SET_ERR_MSG(extack, "every DIP has weight 0");
	else if (ret)
		NL_SET_ERR_MSG(extack, "DIPs are not sorted or one is given twice");
	if (ret)
		goto err_free;
	kvfree(walk);
	duet_account(duet_pernet(dd->net), duet_group_bytes(group));
	return group;

err_free:
	kvfree(walk);
	duet_group_release(group);
err_nomem:
	if (ret == -ENOMEM)
		NL_SET_ERR_MSG(extack, "out of memory for the DIP table");
	return ERR_PTR(ret);
}

static void duet_set_release(struct duet_set *set)
{
	if (set->own)
		kvfree(set->table);
	kvfree(set->counts);
	kvfree(set);
}

static void duet_set_rcu(struct rcu_head *rcu)
{
	duet_set_release(container_of(rcu, struct duet_set, rcu));
}

static int duet_set_table(struct duet_set *set)
{
	struct duet_group *group = set->group;
	bool any_down = false;
	u32 i;

	for (i = 0; i < group->n; i++)
		any_down |= set->dips[i].down;
	set->table = group->base;
	if (!any_down)
		return 0;
	set->table = kvmalloc_array(set->n_buckets, sizeof(*set->table),
				    GFP_KERNEL_ACCOUNT);
	if (!set->table)
		return -ENOMEM;
	set->own = true;
	if (!duet_table_down(set->dips, group->n, group->base, set->table,
			     set->n_buckets)) {
		kvfree(set->table);
		set->table = NULL;
	}
	return 0;
}

const struct duet_set_counts *duet_set_count(struct duet_set *set)
{
	struct duet_set_counts *counts = set->counts;
	u32 n = set->group->n, i;

	if (counts)
		return counts;
	counts = kvzalloc(struct_size(counts, buckets, n), GFP_KERNEL_ACCOUNT);
	set->counts = counts;
	if (!counts || !set->table)
		return counts;
	/* the keys' place is what the counts need afterwards */
	for (i = 0; i < n; i++)
		counts->buckets[i] = duet_dip_key(&set->dips[i]);
	counts->digest = duet_table_digest(set->table, set->n_buckets,
					   counts->buckets);
	memset(counts->buckets, 0, n * sizeof(*counts->buckets));
	for (i = 0; i < set->n_buckets; i++)
		counts->buckets[set->table[i]]++;
	return counts;
}

/* duet_set_bytes - with its counts, which may be made later */
static long duet_set_bytes(const struct duet_set *set)
{
	u32 n = set->group->n;
	long table = set->own ? set->n_buckets * sizeof(*set->table) : 0;

	return struct_size(set, dips, n) + struct_size(set->counts, buckets, n) + table;
}

/* duet_set_of - the group's set with these states; a reference is taken */
static struct duet_set *duet_set_of(struct duet_dev *dd, struct duet_group *group,
				    const struct duet_dip *dips)
{
	struct duet_set *set;
	u32 i;

	hlist_for_each_entry(set, &group->sets, node) {
		for (i = 0; i < group->n && set->dips[i].down == dips[i].down; i++)
			;
		if (i == group->n) {
			set->refs++;
			return set;
		}
	}

	set = kvzalloc(struct_size(set, dips, group->n), GFP_KERNEL_ACCOUNT);
	if (!set)
		return ERR_PTR(-ENOMEM);
	set->group = group;
	set->n_buckets = group->n_buckets;
	set->refs = 1;
	memcpy(set->dips, dips, group->n * sizeof(*dips));
	if (duet_set_table(set)) {
		duet_set_release(set);
		return ERR_PTR(-ENOMEM);
	}
	hlist_add_head(&set->node, &group->sets);
	group->refs++;
	duet_account(duet_pernet(dd->net), duet_set_bytes(set));
	return set;
}

struct duet_set *duet_set_get(struct duet_dev *dd, const struct duet_dip *dips,
			      u32 n, struct netlink_ext_ack *extack)
{
	u32 hash = duet_group_hash(dips, n);
	struct duet_group *group;
	struct duet_set *set;

	duet_assert_locked(dd);
	hlist_for_each_entry(group, duet_group_head(dd, hash), node)
		if (duet_group_is(group, hash, dips, n))
			break;
	if (!group) {
		group = duet_group_new(dd, dips, n, hash, extack);
		if (IS_ERR(group))
			return ERR_CAST(group);
		hlist_add_head(&group->node, duet_group_head(dd, hash));
		dd->used.members += n;
	}
	set = duet_set_of(dd, group, dips);
	if (IS_ERR(set)) {
		NL_SET_ERR_MSG(extack, "out of memory for the DIP table");
		if (!group->refs) {
			hlist_del(&group->node);
			dd->used.members -= n;
			duet_account(duet_pernet(dd->net), -duet_group_bytes(group));
			duet_group_release(group);
		}
	}
	return set;
}

struct duet_set *duet_set_restate(struct duet_dev *dd, const struct duet_set *set,
				  const struct duet_dip *dips)
{
	return duet_set_of(dd, set->group, dips);
}

void duet_set_put(struct duet_dev *dd, struct duet_set *set)
{
	struct duet_group *group = set->group;

	duet_assert_locked(dd);
	if (--set->refs)
		return;
	hlist_del(&set->node);
	duet_account(duet_pernet(dd->net), -duet_set_bytes(set));
	call_rcu(&set->rcu, duet_set_rcu);
	if (--group->refs)
		return;
	hlist_del(&group->node);
	dd->used.members -= group->n;
	duet_account(duet_pernet(dd->net), -duet_group_bytes(group));
	call_rcu(&group->rcu, duet_group_rcu);
}
