// SPDX-License-Identifier: GPL-2.0
/* The table: its promises, one test each. The values are test_model.py's. */
#include <duet/table.h>
#include <linux/duet.h>
#include <stdlib.h>

#include "kselftest_harness.h"

struct set {
	__u32 n, buckets;
	struct duet_dip dips[DUET_SET_DIPS_MAX + 1];
	struct duet_walk walk[DUET_SET_DIPS_MAX + 1];
	__u16 base[DUET_BUCKETS_MAX], table[DUET_BUCKETS_MAX];
};

/* 10.1.x.y, sorted; weight 1, up */
static void set_init(struct set *s, __u32 n)
{
	__u32 i;

	memset(s, 0, sizeof(*s));
	s->n = n;
	s->buckets = duet_table_buckets(n);
	for (i = 0; i < n; i++) {
		struct duet_dip *d = &s->dips[i];

		d->addr[10] = d->addr[11] = 0xff;
		d->addr[12] = 10;
		d->addr[13] = 1;
		d->addr[14] = i >> 8;
		d->addr[15] = i;
		d->weight = 1;
	}
}

static int set_fill(struct set *s)
{
	return duet_table_fill(s->dips, s->n, s->walk, s->base, s->buckets);
}

static __u32 set_down(struct set *s)
{
	return duet_table_down(s->dips, s->n, s->base, s->table, s->buckets);
}

FIXTURE(set) {
	struct set *s;
};
FIXTURE_SETUP(set)
{
	self->s = malloc(sizeof(*self->s));
	ASSERT_NE(NULL, self->s);
}
FIXTURE_TEARDOWN(set)
{
	free(self->s);
}

static int is_prime(__u32 n)
{
	__u32 i;

	for (i = 2; i * i <= n; i++)
		if (n % i == 0)
			return 0;
	return n > 1;
}

TEST(sizes)
{
	__u32 n, buckets;

	EXPECT_EQ(0, duet_table_buckets(0));
	EXPECT_EQ(0, duet_table_buckets(DUET_SET_DIPS_MAX + 1));
	EXPECT_EQ(0, duet_table_buckets(0xffffffff));
	EXPECT_EQ(251, duet_table_buckets(1));
	EXPECT_EQ(251, duet_table_buckets(2));
	EXPECT_EQ(509, duet_table_buckets(3));
	EXPECT_EQ(65521, duet_table_buckets(DUET_SET_DIPS_MAX));
	for (n = 1; n <= DUET_SET_DIPS_MAX; n++) {
		buckets = duet_table_buckets(n);
		EXPECT_TRUE(is_prime(buckets));
		EXPECT_GE(buckets, n * DUET_BUCKETS_PER_DIP);
		EXPECT_GE(buckets, duet_table_buckets(n - 1));
	}
	EXPECT_LT(DUET_BUCKETS_MAX, DUET_TABLE_FREE);
}

/* A canary behind the table: no size writes past its end */
TEST_F(set, fills_every_bucket)
{
	struct set *s = self->s;
	__u32 n, b, i;

	for (n = 1; n <= DUET_SET_DIPS_MAX; n = n < 12 ? n + 1 : n * 2 < 512 ? n * 2 : n + 400) {
		__u32 count[DUET_SET_DIPS_MAX] = { 0 };
		__u16 *exact;

		set_init(s, n);
		exact = malloc(s->buckets * sizeof(*exact));
		ASSERT_NE(NULL, exact);
		ASSERT_EQ(0, duet_table_fill(s->dips, n, s->walk, exact, s->buckets));
		for (b = 0; b < s->buckets; b++) {
			ASSERT_LT(exact[b], n);
			count[exact[b]]++;
		}
		for (i = 0; i < n; i++) {
			EXPECT_EQ(count[i], s->walk[i].taken);
			/* equal weights: at most one bucket apart */
			EXPECT_GE(count[i], s->buckets / n);
			EXPECT_LE(count[i], s->buckets / n + 1);
		}
		free(exact);
	}
}

TEST_F(set, refuses)
{
	struct set *s = self->s;
	struct duet_dip d;

	set_init(s, 3);
	s->buckets = 251;
	EXPECT_EQ(-EINVAL, set_fill(s));
	set_init(s, 3);
	d = s->dips[0];
	s->dips[0] = s->dips[1];
	s->dips[1] = d;
	EXPECT_EQ(-EINVAL, set_fill(s));
	set_init(s, 3);
	s->dips[2] = s->dips[1];
	EXPECT_EQ(-EINVAL, set_fill(s));
	set_init(s, 0);
	EXPECT_EQ(-EINVAL, set_fill(s));
	/* 0 is the size of a set that is too large, and no size */
	set_init(s, DUET_SET_DIPS_MAX + 1);
	EXPECT_EQ(0, s->buckets);
	EXPECT_EQ(-EINVAL, set_fill(s));
	set_init(s, 2);
	s->dips[0].weight = s->dips[1].weight = 0;
	EXPECT_EQ(-ENOENT, set_fill(s));
}

/* The largest set: every share within 1 % of the 512th part, with none down
 * and with every fourth down too, whose own buckets alone have moved
 */
TEST_F(set, the_largest_set_is_even)
{
	struct set *s = self->s;
	__u32 i, b;

	set_init(s, DUET_SET_DIPS_MAX);
	ASSERT_EQ(0, set_fill(s));
	for (i = 0; i < s->n; i++) {
		EXPECT_GE(s->walk[i].taken * s->n * 100, s->buckets * 99);
		EXPECT_LE(s->walk[i].taken * s->n * 100, s->buckets * 101);
		s->dips[i].down = !(i % 4);
	}
	ASSERT_EQ(DUET_SET_DIPS_MAX * 3 / 4, set_down(s));
	for (b = 0; b < s->buckets; b++) {
		EXPECT_NE(0, s->table[b] % 4);
		EXPECT_TRUE(s->table[b] == s->base[b] || !(s->base[b] % 4));
	}
}

/* A DIP that drains takes no new flows: in the table it is down */
TEST_F(set, drain_is_down)
{
	struct set *s = self->s;
	static __u16 down[DUET_BUCKETS_MAX];

	set_init(s, 7);
	ASSERT_EQ(0, set_fill(s));
	s->dips[3].down = DUET_DIP_DOWN;
	ASSERT_EQ(6, set_down(s));
	memcpy(down, s->table, sizeof(down));
	s->dips[3].down = DUET_DIP_DRAIN;
	ASSERT_EQ(6, set_down(s));
	EXPECT_EQ(0, memcmp(down, s->table, s->buckets * sizeof(*down)));
}

/* The widest spread: the lightest of 512 still owns a bucket */
TEST_F(set, the_lightest_is_served)
{
	struct set *s = self->s;
	__u32 i;

	set_init(s, DUET_SET_DIPS_MAX);
	for (i = 0; i < s->n; i++)
		s->dips[i].weight = DUET_WEIGHT_MAX;
	s->dips[s->n - 1].weight = 1;
	ASSERT_EQ(0, set_fill(s));
	EXPECT_EQ(1, s->walk[s->n - 1].taken);
}

/* After R rounds a DIP has claimed ceil(R w / wmax) buckets: from 1 % less than
 * its ideal share and one bucket, to two buckets more.
 */
TEST_F(set, shares_follow_weights)
{
	struct set *s = self->s;
	unsigned int seed = 1, round;
	__u32 i;

	for (round = 0; round < 200; round++) {
		__u64 total = 0;

		set_init(s, 1 + rand_r(&seed) % 40);
		for (i = 0; i < s->n; i++) {
			s->dips[i].weight = rand_r(&seed) % (round % 2 ? 5 : DUET_WEIGHT_MAX + 1);
			total += s->dips[i].weight;
		}
		if (!total) {
			EXPECT_EQ(-ENOENT, set_fill(s));
			continue;
		}
		ASSERT_EQ(0, set_fill(s));
		for (i = 0; i < s->n; i++) {
			double ideal = (double)s->buckets * s->dips[i].weight / total;

			if (!s->dips[i].weight) {
				EXPECT_EQ(0, s->walk[i].taken);
				continue;
			}
			EXPECT_GE(s->walk[i].taken, 1);
			EXPECT_GE((double)s->walk[i].taken, ideal * 0.99 - 1);
			EXPECT_LE((double)s->walk[i].taken, ideal + 2);
		}
	}
}

TEST_F(set, only_ratios_count)
{
	struct set *s = self->s;
	static __u16 one[DUET_BUCKETS_MAX];
	__u32 i;

	set_init(s, 12);
	for (i = 0; i < s->n; i++)
		s->dips[i].weight = 1 + i % 4;
	ASSERT_EQ(0, set_fill(s));
	memcpy(one, s->base, sizeof(one));
	for (i = 0; i < s->n; i++)
		s->dips[i].weight *= 16000;
	ASSERT_EQ(0, set_fill(s));
	EXPECT_EQ(0, memcmp(one, s->base, s->buckets * sizeof(*one)));
	s->dips[0].weight = 1;
	ASSERT_EQ(0, set_fill(s));
	EXPECT_NE(0, memcmp(one, s->base, s->buckets * sizeof(*one)));
}

TEST_F(set, all_up_is_the_filled_table)
{
	struct set *s = self->s;

	set_init(s, 9);
	s->dips[4].weight = 0;
	ASSERT_EQ(0, set_fill(s));
	EXPECT_EQ(8, set_down(s));
	EXPECT_EQ(0, memcmp(s->base, s->table, s->buckets * sizeof(*s->base)));
}

/* One after the other goes down, down to the last: each moves its own flows
 * and no other's, and each that comes back restores what was before.
 */
TEST_F(set, failures_move_only_their_own)
{
	struct set *s = self->s;
	static __u16 held[17][DUET_BUCKETS_MAX];
	unsigned int seed = 5;
	__u32 i, k, b, moved, order[17];

	set_init(s, 17);
	for (i = 0; i < s->n; i++) {
		s->dips[i].weight = 1 + i % 3;
		order[i] = i;
	}
	for (i = s->n - 1; i; i--) {
		__u32 other = rand_r(&seed) % (i + 1), was = order[i];

		order[i] = order[other];
		order[other] = was;
	}
	ASSERT_EQ(0, set_fill(s));
	ASSERT_EQ(17, set_down(s));
	memcpy(held[0], s->table, sizeof(held[0]));
	for (k = 1; k < s->n; k++) {
		s->dips[order[k]].down = 1;
		ASSERT_EQ(s->n - k, set_down(s));
		for (b = moved = 0; b < s->buckets; b++) {
			ASSERT_LT(s->table[b], s->n);
			EXPECT_EQ(0, s->dips[s->table[b]].down);
			if (s->table[b] != held[k - 1][b]) {
				EXPECT_EQ(order[k], held[k - 1][b]);
				moved++;
			}
		}
		EXPECT_GE(moved, s->walk[order[k]].taken);
		memcpy(held[k], s->table, sizeof(held[k]));
	}
	for (b = 0; b < s->buckets; b++)
		EXPECT_EQ(order[0], s->table[b]);
	for (k = s->n - 1; k; k--) {
		s->dips[order[k]].down = 1;
		set_down(s);
		EXPECT_EQ(0, memcmp(held[k], s->table, s->buckets * sizeof(*s->table)));
		s->dips[order[k]].down = 0;
		set_down(s);
		EXPECT_EQ(0, memcmp(held[k - 1], s->table, s->buckets * sizeof(*s->table)));
	}
	s->dips[s->n - 1].down = 1;
	s->dips[0].down = 1;
	set_down(s);
	EXPECT_NE(0, memcmp(held[0], s->table, s->buckets * sizeof(*s->table)));
}

/* Its flows go to all the others, none gets more than twice its part */
TEST_F(set, heirs_are_many)
{
	struct set *s = self->s;
	__u32 count[32] = { 0 }, b, i, most = 0, heirs = 0;

	set_init(s, 32);
	s->dips[7].down = 1;
	ASSERT_EQ(0, set_fill(s));
	ASSERT_EQ(31, set_down(s));
	for (b = 0; b < s->buckets; b++)
		if (s->base[b] == 7)
			count[s->table[b]]++;
	for (i = 0; i < 32; i++) {
		heirs += count[i] > 0;
		if (count[i] > most)
			most = count[i];
	}
	EXPECT_EQ(0, count[7]);
	EXPECT_GE(heirs, 28);
	EXPECT_LE(most, 4 * s->walk[7].taken / 31);
}

/* Only the heaviest of a very uneven set is down: probes hit it nearly always,
 * so the last rule (bucket + 1, ...) is what ends the search.
 */
TEST_F(set, the_last_resort_ends)
{
	struct set *s = self->s;
	__u32 b;

	set_init(s, 2);
	s->dips[0].weight = DUET_WEIGHT_MAX;
	s->dips[0].down = 1;
	ASSERT_EQ(0, set_fill(s));
	ASSERT_EQ(1, s->walk[1].taken);
	ASSERT_EQ(1, set_down(s));
	for (b = 0; b < s->buckets; b++)
		EXPECT_EQ(1, s->table[b]);
}

TEST_F(set, all_down_writes_nothing)
{
	struct set *s = self->s;
	__u32 b;

	set_init(s, 3);
	s->dips[2].weight = 0;
	ASSERT_EQ(0, set_fill(s));
	memset(s->table, 0x77, sizeof(s->table));
	s->dips[0].down = s->dips[1].down = 1;
	EXPECT_EQ(0, set_down(s));
	for (b = 0; b < s->buckets; b++)
		EXPECT_EQ(0x7777, s->table[b]);
}

TEST_F(set, digest)
{
	struct set *s = self->s;
	static __u32 keys[8];
	__u64 one, two;
	__u32 i;

	/* FNV-1a of "chongo w", which is two words long */
	one = duet_digest_word(0xcbf29ce484222325ull, 'c' | 'h' << 8 | 'o' << 16 | 'n' << 24);
	one = duet_digest_word(one, 'g' | 'o' << 8 | ' ' << 16 | 'w' << 24);
	EXPECT_EQ(0xd1edd10b507344d0ull, one);

	set_init(s, 8);
	for (i = 0; i < 8; i++)
		keys[i] = duet_dip_key(&s->dips[i]);
	ASSERT_EQ(0, set_fill(s));
	one = duet_table_digest(s->base, s->buckets, keys);
	EXPECT_EQ(one, duet_table_digest(s->base, s->buckets, keys));
	for (i = 0; s->base[i] == s->base[i + 1]; i++)
		;
	s->base[i] = s->base[i + 1];
	two = duet_table_digest(s->base, s->buckets, keys);
	EXPECT_NE(one, two);
	EXPECT_NE(two, duet_table_digest(s->base, s->buckets - 1, keys));
}

/* Muxes of two versions serve side by side: these values, the model's, stay */
TEST_F(set, values_for_ever)
{
	struct set *s = self->s;
	__u32 keys[9], i;

	set_init(s, 9);
	for (i = 0; i < 9; i++) {
		s->dips[i].weight = 1 + i % 3;
		keys[i] = duet_dip_key(&s->dips[i]);
	}
	ASSERT_EQ(0, set_fill(s));
	EXPECT_EQ(0x699716819f180924ull, duet_table_digest(s->base, s->buckets, keys));
	s->dips[4].down = 1;
	ASSERT_EQ(8, set_down(s));
	EXPECT_EQ(0xf426fab155f308b9ull, duet_table_digest(s->table, s->buckets, keys));
}

TEST_HARNESS_MAIN
