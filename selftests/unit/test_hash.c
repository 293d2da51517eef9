// SPDX-License-Identifier: GPL-2.0
/* The hash: its primitives against published values, its contract, its evenness. */
#include <duet/hash.h>
#include <string.h>

#include "kselftest_harness.h"

static __u32 le32(const unsigned char *p, int n)
{
	__u32 word = 0;
	int i;

	for (i = 0; i < n; i++)
		word |= (__u32)p[i] << 8 * i;
	return word;
}

/* Bob Jenkins' hashlittle() built from our mix and final */
static __u32 lookup3(const char *text, __u32 initval)
{
	const unsigned char *p = (const unsigned char *)text;
	int len = strlen(text);
	__u32 a = 0xdeadbeef + len + initval, b = a, c = a;

	for (; len > 12; len -= 12, p += 12) {
		a += le32(p, 4);
		b += le32(p + 4, 4);
		c += le32(p + 8, 4);
		duet_hash_mix(&a, &b, &c);
	}
	a += le32(p, len < 4 ? len : 4);
	b += le32(p + 4, len < 4 ? 0 : len < 8 ? len - 4 : 4);
	c += le32(p + 8, len < 8 ? 0 : len - 8);
	return duet_hash_final(a, b, c);
}

/* The two values in the comments of lookup3.c (driver5) */
TEST(published_values)
{
	EXPECT_EQ(0x17770551u, lookup3("Four score and seven years ago", 0));
	EXPECT_EQ(0xcd628161u, lookup3("Four score and seven years ago", 1));
}

/* Deployments depend on these values: a change breaks every connection while
 * muxes of two versions live side by side.
 */
TEST(values_for_ever)
{
	const __u32 src[4] = { 0x20010db8, 0, 0, 1 };
	const __u32 dst[4] = { 0x20010db8, 1, 2, 3 };

	EXPECT_EQ(0xf070667cu, duet_hash_v4(0x0a010101, 0xcb007101, 40000u << 16 | 80, 6, 1));
	EXPECT_EQ(0x7b01b209u, duet_hash_v4(0, 0, 0, 0, 0));
	EXPECT_EQ(0xfc7adcdcu, duet_hash_v6(src, dst, 40000u << 16 | 443, 6, 0x1234));
	EXPECT_EQ(0x72e1daaau, duet_seed_level2(1));
}

TEST(bucket_edges)
{
	EXPECT_EQ(0, duet_bucket(0, 251));
	EXPECT_EQ(250, duet_bucket(0xffffffff, 251));
	EXPECT_EQ(0, duet_bucket(0xffffffff, 1));
	EXPECT_EQ(65520, duet_bucket(0xffffffff, 65521));
	EXPECT_EQ(125, duet_bucket(0x80000000, 251));
}

/* Every input matters: flipping any one bit changes the hash of any flow, and
 * on average about half of its bits.
 */
TEST(every_bit_counts)
{
	int bit, flow, flips = 0, weakest = 32 * 200;

	for (bit = 0; bit < 32 * 4 + 8; bit++) {
		int changed = 0;

		for (flow = 0; flow < 200; flow++) {
			__u32 in[5] = { 0x0a000000 + flow * 2654435761u, 0xcb007101,
					(__u32)flow << 16 | 80, 77 * flow, 6 };
			__u32 before, after;

			before = duet_hash_v4(in[0], in[1], in[2], in[4], in[3]);
			in[bit / 32] ^= 1u << bit % 32;
			after = duet_hash_v4(in[0], in[1], in[2], in[4], in[3]);
			ASSERT_NE(before, after) {
				TH_LOG("bit %d of flow %d", bit, flow);
			}
			changed += __builtin_popcount(before ^ after);
		}
		flips += changed;
		if (changed < weakest)
			weakest = changed;
	}
	/* 16 of 32 on average, and no input bit is heard by fewer than 13 */
	EXPECT_GT(flips, (32 * 4 + 8) * 200 * 31 / 2);
	EXPECT_LT(flips, (32 * 4 + 8) * 200 * 33 / 2);
	EXPECT_GT(weakest, 200 * 13);
}

TEST(v6_words_count)
{
	__u32 in[8] = { 0x20010db8, 1, 2, 3, 0x20010db8, 5, 6, 7 };
	__u32 before = duet_hash_v6(in, in + 4, 1, 6, 9), after;
	int bit;

	for (bit = 0; bit < 256; bit++) {
		in[bit / 32] ^= 1u << bit % 32;
		after = duet_hash_v6(in, in + 4, 1, 6, 9);
		EXPECT_NE(before, after);
		in[bit / 32] ^= 1u << bit % 32;
	}
	EXPECT_NE(before, duet_hash_v6(in, in + 4, 2, 6, 9));
	EXPECT_NE(before, duet_hash_v6(in, in + 4, 1, 17, 9));
	EXPECT_NE(before, duet_hash_v6(in, in + 4, 1, 6, 10));
	EXPECT_EQ(before, duet_hash_v6(in, in + 4, 1, 6, 9));
}

/* Clients one after another, ports one after another: the worst of real
 * traffic still fills 251 buckets evenly. chi2 has 250 degrees of freedom,
 * mean 250, deviation 22; 362 is five deviations above.
 */
TEST(even_over_buckets)
{
	int count[251] = { 0 }, host, port, b;
	double chi2 = 0, mean = 256.0 * 256 / 251;

	for (host = 0; host < 256; host++)
		for (port = 0; port < 256; port++)
			count[duet_bucket(duet_hash_v4(0x0a010100 + host, 0xcb007101,
						       (32768u + port) << 16 | 80, 6, 7), 251)]++;
	for (b = 0; b < 251; b++)
		chi2 += (count[b] - mean) * (count[b] - mean) / mean;
	EXPECT_LT(chi2, 362);
	EXPECT_GT(chi2, 138);
}

/* Level two must split the flows of one bucket of level one evenly. */
TEST(level2_is_independent)
{
	int count[16] = { 0 }, flows = 0, i, b;
	__u32 seed = 12345, seed2 = duet_seed_level2(seed);
	double chi2 = 0;

	EXPECT_NE(seed, seed2);
	for (i = 0; flows < 8000; i++) {
		__u32 src = 0x0a000000 + i / 64, ports = (40000u + i % 64) << 16 | 80;

		if (duet_bucket(duet_hash_v4(src, 0xcb007101, ports, 6, seed), 16) != 3)
			continue;
		flows++;
		count[duet_bucket(duet_hash_v4(src, 0xcb007101, ports, 6, seed2), 16)]++;
	}
	for (b = 0; b < 16; b++)
		chi2 += (count[b] - 500) * (count[b] - 500) / 500.0;
	/* 15 degrees of freedom: five deviations of 5.5 above 15 */
	EXPECT_LT(chi2, 43);
}

TEST_HARNESS_MAIN
