// SPDX-License-Identifier: GPL-2.0
/*
 * Pools of small per-CPU objects.
 */
#include "percpu.h"
#include "stats.h"
#include "tunnel.h"

#include <linux/log2.h>
#include <linux/slab.h>

#define DUET_BLOCK_OBJECTS	64

/* all but objects is the xa_lock's */
struct duet_percpu_block {
	void __percpu *objects;
	struct list_head node;	/* of pool->room, while there is some */
	u64 room;		/* bits of objects that are free */
	u32 index;
};

struct duet_percpu duet_percpu_stats;
struct duet_percpu duet_percpu_routes;

static void duet_percpu_block_free(struct duet_percpu_block *block)
{
	free_percpu(block->objects);
	kfree(block);
}

/* duet_percpu_take - an object of a block that has room, NULL: none has */
static void __percpu *duet_percpu_take(struct duet_percpu *pool, u32 *slot)
{
	struct duet_percpu_block *block;
	unsigned int bit;

	xa_lock_bh(&pool->blocks);
	block = list_first_entry_or_null(&pool->room, struct duet_percpu_block, node);
	if (!block) {
		xa_unlock_bh(&pool->blocks);
		return NULL;
	}
	bit = __ffs64(block->room);
	block->room &= block->room - 1;
	if (!block->room)
		list_del(&block->node);
	xa_unlock_bh(&pool->blocks);
	*slot = block->index * DUET_BLOCK_OBJECTS + bit;
	return block->objects + bit * pool->size;
}

static int duet_percpu_grow(struct duet_percpu *pool)
{
	struct duet_percpu_block *block = kzalloc(sizeof(*block), GFP_KERNEL_ACCOUNT);
	int ret = -ENOMEM;

	if (!block)
		return ret;
	block->room = U64_MAX;
	block->objects = __alloc_percpu_gfp(DUET_BLOCK_OBJECTS * pool->size,
					    SMP_CACHE_BYTES, GFP_KERNEL_ACCOUNT);
	if (!block->objects)
		goto err_free;
	xa_lock_bh(&pool->blocks);
	ret = __xa_alloc(&pool->blocks, &block->index, block,
			 XA_LIMIT(0, U32_MAX / DUET_BLOCK_OBJECTS), GFP_KERNEL_ACCOUNT);
	if (!ret)
		list_add(&block->node, &pool->room);
	xa_unlock_bh(&pool->blocks);
	if (!ret)
		return 0;
err_free:
	duet_percpu_block_free(block);
	return ret;
}

void __percpu *duet_percpu_get(struct duet_percpu *pool, u32 *slot)
{
	void __percpu *object;
	int cpu;

	/* another mux may take all of a new block meanwhile */
	while (!(object = duet_percpu_take(pool, slot)))
		if (duet_percpu_grow(pool))
			return NULL;
	for_each_possible_cpu(cpu)
		memset(per_cpu_ptr(object, cpu), 0, pool->size);
	return object;
}

void duet_percpu_put(struct duet_percpu *pool, u32 slot)
{
	struct duet_percpu_block *block;
	bool empty;

	xa_lock_bh(&pool->blocks);
	block = xa_load(&pool->blocks, slot / DUET_BLOCK_OBJECTS);
	if (!block->room)
		list_add(&block->node, &pool->room);
	block->room |= 1ull << slot % DUET_BLOCK_OBJECTS;
	empty = block->room == U64_MAX;
	if (empty) {
		list_del(&block->node);
		__xa_erase(&pool->blocks, block->index);
	}
	xa_unlock_bh(&pool->blocks);
	if (empty)
		duet_percpu_block_free(block);
}

static void duet_percpu_pool(struct duet_percpu *pool, size_t size)
{
	xa_init_flags(&pool->blocks, XA_FLAGS_ALLOC | XA_FLAGS_LOCK_BH);
	INIT_LIST_HEAD(&pool->room);
	pool->size = roundup_pow_of_two(size);
}

void duet_percpu_init(void)
{
	duet_percpu_pool(&duet_percpu_stats, sizeof(struct duet_stats));
	duet_percpu_pool(&duet_percpu_routes, sizeof(struct duet_route));
}

void duet_percpu_exit(void)
{
	WARN_ON_ONCE(!xa_empty(&duet_percpu_stats.blocks));
	WARN_ON_ONCE(!xa_empty(&duet_percpu_routes.blocks));
	xa_destroy(&duet_percpu_stats.blocks);
	xa_destroy(&duet_percpu_routes.blocks);
}
