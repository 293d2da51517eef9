/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The table of a DIP set: bucket -> DIP.
 *
 * A pure function of (provisioned DIPs and weights, which of them are down):
 * never of history, insertion order, VIP or mux. Two muxes told the same set
 * hold the same table, whatever happened to them before.
 *
 *  - Order: DIPs are sorted by address (duet_dip_cmp); no two are equal.
 *  - Size: duet_table_buckets(n), a prime that depends on n provisioned DIPs
 *    (weight 0 included) alone.
 *  - Fill (Maglev, weighted): DIP i walks the buckets in its own order
 *        offset_i + k * skip_i  (mod buckets),  k = 0, 1, 2, ...
 *        offset_i = duet_bucket(key_i, buckets)
 *        skip_i   = duet_bucket(hash(key_i, 1), buckets - 1) + 1
 *    key_i is the hash of its address under a fixed seed, so the table
 *    does not depend on the deployment's key. Rounds r = 1, 2, 3, ...: in a
 *    round every DIP, in sorted order, whose claim is due takes the next free
 *    bucket of its walk. A claim is due when taken_i * wmax < r * w_i:
 *    a DIP of the largest weight claims in every round, one of half of it in
 *    every second, one of weight 0 never. Weights are so normalised: only
 *    their ratios count.
 *  - Down: a bucket whose owner is down goes to the owner of another bucket,
 *    tried in this bucket's own order until one is up:
 *        probe j = 0 .. DUET_TABLE_PROBES-1: duet_bucket(hash(bucket, j), buckets)
 *        then bucket + 1, bucket + 2, ... (mod buckets)
 *    Owners are those of the filled table, so shares follow the weights, only
 *    the flows of DIPs that are down move, and recovery restores the table.
 *    A second failure moves only the flows of the DIP that failed.
 *    All down: no table, the VIP's all-down policy applies.
 *
 * hash(x, y) here is duet_lookup3_final(x, y, DUET_TABLE_SEED).
 *
 * Nothing allocates: callers pass the arrays. 16-bit entries keep a table of
 * 4 DIPs in 1 KiB.
 */
#ifndef _DUET_TABLE_H
#define _DUET_TABLE_H

#include <duet/lookup3.h>
#include <duet/limits.h>

#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/string.h>
#else
#include <errno.h>
#include <string.h>
#endif

#define DUET_TABLE_SEED		0x6d61676cu	/* "magl" */
#define DUET_TABLE_PROBES	32
#define DUET_TABLE_FREE		0xffff

/**
 * struct duet_dip - one provisioned DIP as the table sees it
 * @addr:   encapsulation address, network byte order; IPv4 in the mapped form
 *	    (::ffff:a.b.c.d), so that one order and one hash serve both families
 * @weight: 0 .. DUET_WEIGHT_MAX
 * @down:   not 0: its buckets go to others
 */
struct duet_dip {
	__u8 addr[16];
	__u16 weight;
	__u8 down;
};

/**
 * struct duet_walk - scratch of duet_table_fill(), one for each DIP
 */
struct duet_walk {
	__u32 next;	/* the bucket it looks at next	*/
	__u32 skip;
	__u32 taken;	/* buckets it owns		*/
};

/* duet_dip_cmp - the order of DIPs: by address, as bytes */
DUET_INLINE int duet_dip_cmp(const struct duet_dip *a, const struct duet_dip *b)
{
	return memcmp(a->addr, b->addr, sizeof(a->addr));
}

DUET_INLINE __u32 duet_dip_word(const struct duet_dip *d, int i)
{
	return (__u32)d->addr[4 * i] << 24 | (__u32)d->addr[4 * i + 1] << 16 |
	       (__u32)d->addr[4 * i + 2] << 8 | d->addr[4 * i + 3];
}

/* duet_dip_key - 32-bit key of a DIP's address, what its walk starts from:
 * duet_lookup3_v6(addr, addr, 0, 0, DUET_TABLE_SEED)
 */
DUET_INLINE __u32 duet_dip_key(const struct duet_dip *d)
{
	__u32 w[4] = { duet_dip_word(d, 0), duet_dip_word(d, 1),
		       duet_dip_word(d, 2), duet_dip_word(d, 3) };

	return duet_lookup3_v6(w, w, 0, 0, DUET_TABLE_SEED);
}

/* duet_table_buckets - number of buckets for @n DIPs, 0 if @n is 0 or more
 * than DUET_SET_DIPS_MAX
 */
DUET_INLINE __u32 duet_table_buckets(__u32 n)
{
	static const __u32 primes[] = {
		251, 509, 1021, 2039, 4093, 8191, 16381, 32749,
		DUET_BUCKETS_MAX,
	};
	unsigned int i;

	if (!n || n > DUET_SET_DIPS_MAX)
		return 0;
	for (i = 0; primes[i] < n * DUET_BUCKETS_PER_DIP; i++)
		;
	return primes[i];
}

/* duet_walk_next - the next free bucket of a walk; there is one. Most of what a
 * table costs is this loop, so it steps before it wraps: -@buckets .. -1.
 */
DUET_INLINE __u32 duet_walk_next(const struct duet_walk *w, const __u16 *table,
				 __u32 buckets)
{
	const __u16 *end = table + buckets;
	long at = (long)w->next - (long)buckets, skip = w->skip, size = buckets;

	while (end[at] != DUET_TABLE_FREE) {
		at += skip;
		if (at >= 0)
			at -= size;
	}
	return at + size;
}

/**
 * duet_table_fill - the table with every DIP up
 * @dips:    @n DIPs in duet_dip_cmp() order
 * @walk:    scratch, @n entries; on return walk[i].taken is the number of
 *	     buckets DIP i owns
 * @table:   @buckets entries, each becomes an index into @dips
 * @buckets: duet_table_buckets(@n)
 *
 * Returns 0; -EINVAL if the DIPs are out of order, one is there twice, or the
 * size is wrong; -ENOENT if every weight is 0. A DIP with a weight, however
 * small beside the largest, owns a bucket: in round 1 every claim is due, and
 * there are more buckets than DIPs.
 */
DUET_INLINE int duet_table_fill(const struct duet_dip *dips, __u32 n,
				struct duet_walk *walk, __u16 *table,
				__u32 buckets)
{
	__u32 i, wmax = 0, used = 0;
	int even = 1;
	__u64 round;

	if (!buckets || buckets != duet_table_buckets(n))
		return -EINVAL;
	for (i = 0; i < n; i++) {
		__u32 key = duet_dip_key(&dips[i]);

		if (i && duet_dip_cmp(&dips[i - 1], &dips[i]) >= 0)
			return -EINVAL;
		if (dips[i].weight > wmax)
			wmax = dips[i].weight;
		even &= dips[i].weight == dips[0].weight;
		walk[i].next = duet_bucket(key, buckets);
		walk[i].skip = duet_bucket(duet_lookup3_final(key, 1,
							      DUET_TABLE_SEED),
					   buckets - 1) + 1;
		walk[i].taken = 0;
	}
	if (!wmax)
		return -ENOENT;

	memset(table, 0xff, buckets * sizeof(*table));	/* DUET_TABLE_FREE */
	for (round = 1; used < buckets; round++) {
		for (i = 0; i < n && used < buckets; i++) {
			struct duet_walk *w = &walk[i];

			/* equal weights: every claim is due in every round */
			if (!even && (__u64)w->taken * wmax >=
				     round * dips[i].weight)
				continue;
			w->next = duet_walk_next(w, table, buckets);
			table[w->next] = i;
			w->taken++;
			used++;
		}
	}
	return 0;
}

/**
 * duet_table_down - the table with the buckets of down DIPs handed on
 * @dips:    the DIPs @base was filled for
 * @base:    filled table
 * @table:   @buckets entries; not @base itself
 *
 * Returns the number of DIPs that are up and have a weight: 0 means that all
 * are down and @table is not written.
 */
DUET_INLINE __u32 duet_table_down(const struct duet_dip *dips, __u32 n,
				  const __u16 *base, __u16 *table,
				  __u32 buckets)
{
	__u32 b, i, j, up = 0;

	for (i = 0; i < n; i++)
		up += dips[i].weight && !dips[i].down;
	if (!up)
		return 0;

	for (b = 0; b < buckets; b++) {
		__u32 owner = base[b];

		for (j = 0; dips[owner].down && j < DUET_TABLE_PROBES; j++)
			owner = base[duet_bucket(duet_lookup3_final(b, j,
								    DUET_TABLE_SEED),
						 buckets)];
		for (i = b; dips[owner].down; owner = base[i])
			i = i + 1 < buckets ? i + 1 : 0;
		table[b] = owner;
	}
	return up;
}

/* duet_table_digest - 64-bit digest of a table: FNV-1a over the number of
 * buckets and, for each bucket, the key of its DIP, each as four bytes, least
 * significant first. Muxes that choose alike have equal digests; the
 * controller compares them. @keys: duet_dip_key() of each DIP.
 */
DUET_INLINE __u64 duet_digest_word(__u64 digest, __u32 word)
{
	int i;

	for (i = 0; i < 32; i += 8)
		digest = (digest ^ (word >> i & 0xff)) * 0x100000001b3ull;
	return digest;
}

DUET_INLINE __u64 duet_table_digest(const __u16 *table, __u32 buckets,
				    const __u32 *keys)
{
	__u64 digest = duet_digest_word(0xcbf29ce484222325ull, buckets);
	__u32 b;

	for (b = 0; b < buckets; b++)
		digest = duet_digest_word(digest, keys[table[b]]);
	return digest;
}

#endif
