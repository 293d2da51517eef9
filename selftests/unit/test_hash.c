// SPDX-License-Identifier: GPL-2.0
/* The hash: its primitives against published values, its contract, its evenness. */
#include <duet/hash.h>
#include <duet/lookup3.h>
#include <string.h>

#include "kselftest_harness.h"

static struct duet_key key_of(__u64 first, __u64 last)
{
	struct duet_key key;

	duet_key_words(&key, first, last);
	return key;
}

/* Any message through our words, as SipHash cuts it */
static __u64 siphash(const struct duet_key *key, const __u8 *data, int len)
{
	__u64 v[4] = {}, m;
	int at, i;

	for (at = 0; at <= len; at += 8) {
		m = 0;
		for (i = 0; i < 8 && at + i < len; i++)
			m |= (__u64)data[at + i] << 8 * i;
		if (at + 8 > len)
			m |= DUET_HASH_END(len);
		if (at)
			duet_sip_word(v, m);
		else
			duet_sip_first(v, key, m);
	}
	return duet_sip_end(v);
}

/* Values of the authors' implementation of SipHash-1-3 under a key of zeros, as
 * other projects publish them
 */
TEST(published_siphash)
{
	const struct duet_key zeros = key_of(0, 0);

	EXPECT_EQ(0xd1fba762150c532cull, siphash(&zeros, NULL, 0));
	EXPECT_EQ(0x68a914128e01e473ull, siphash(&zeros, (const __u8 *)"\0", 1));
}

/* The words of a flow are SipHash of its bytes: 13 of IPv4, 37 of IPv6. */
TEST(words_are_bytes)
{
	__u8 v4[13] = { 4, 3, 2, 1, 8, 7, 6, 5, 80, 0, 0x40, 0x9c, 6 };
	const __u8 bytes[DUET_KEY_LEN] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	__u8 v6[37] = { 0 };
	__u32 src[4], dst[4];
	struct duet_key key;
	int i, b;

	duet_key_init(&key, bytes);
	/* src 5.6.7.8 and dst 1.2.3.4: the first word has src in its upper half */
	EXPECT_EQ((__u32)siphash(&key, v4, 13), duet_hash_v4(0x05060708, 0x01020304, 40000u << 16 | 80, 6, &key));
	for (i = 0; i < 4; i++) {
		src[i] = 0x20010db8 + i;
		dst[i] = 0x30010db8 + i;
		for (b = 0; b < 4; b++) {
			v6[(i ^ 1) * 4 + b] = src[i] >> 8 * b;
			v6[16 + (i ^ 1) * 4 + b] = dst[i] >> 8 * b;
		}
	}
	memcpy(v6 + 32, v4 + 8, 5);
	EXPECT_EQ((__u32)siphash(&key, v6, 37), duet_hash_v6(src, dst, 40000u << 16 | 80, 6, &key));
	EXPECT_EQ(siphash(&key, (const __u8 *)"\3", 1), duet_key_fingerprint(&key));
}

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
		duet_lookup3_mix(&a, &b, &c);
	}
	a += le32(p, len < 4 ? len : 4);
	b += le32(p + 4, len < 4 ? 0 : len < 8 ? len - 4 : 4);
	c += le32(p + 8, len < 8 ? 0 : len - 8);
	return duet_lookup3_final(a, b, c);
}

/* The two values in the comments of lookup3.c (driver5) */
TEST(published_lookup3)
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

	const struct duet_key zeros = key_of(0, 0), one = key_of(1, 0x123456789abcdef0);
	struct duet_key level2;

	duet_key_level2(&level2, &one);
	EXPECT_EQ(0x7c45f4bbu, duet_hash_v4(0x0a010101, 0xcb007101, 40000u << 16 | 80, 6, &one));
	EXPECT_EQ(0x5423c1fcu, duet_hash_v4(0, 0, 0, 0, &zeros));
	EXPECT_EQ(0x6aa65e0bu, duet_hash_v6(src, dst, 40000u << 16 | 443, 6, &one));
	EXPECT_EQ(0x9896c2c4u, duet_hash_v4(0x0a010101, 0xcb007101, 40000u << 16 | 80, 6, &level2));
	EXPECT_EQ(0x540ba46151a3319cull, duet_key_fingerprint(&one));
}

TEST(bucket_edges)
{
	EXPECT_EQ(0, duet_bucket(0, 251));
	EXPECT_EQ(250, duet_bucket(0xffffffff, 251));
	EXPECT_EQ(0, duet_bucket(0xffffffff, 1));
	EXPECT_EQ(65520, duet_bucket(0xffffffff, 65521));
	EXPECT_EQ(125, duet_bucket(0x80000000, 251));
}

/* in: src and dst, protocol and ports, the key's halves */
static __u32 flow_hash(const __u64 in[4])
{
	struct duet_key key = key_of(in[2], in[3]);

	return duet_hash_v4(in[0] >> 32, in[0], in[1], in[1] >> 32, &key);
}

/* Every input matters, the key's too: flipping any one bit changes the hash of any flow, and
 * on average about half of its bits.
 */
TEST(every_bit_counts)
{
	int bit, flow, flips = 0, weakest = 32 * 200, bits = 32 * 3 + 8 + 128;

	for (bit = 0; bit < bits; bit++) {
		int changed = 0;

		for (flow = 0; flow < 200; flow++) {
			/* addresses; protocol and ports; the key */
			__u64 in[4] = { (__u64)(0x0a000000 + flow * 2654435761u) << 32 | 0xcb007101,
					6ull << 32 | (__u32)flow << 16 | 80, 77 * flow, ~0ull / 3 * flow };
			__u32 before = flow_hash(in), after;

			in[bit < 104 ? bit / 64 : 2 + (bit - 104) / 64] ^= 1ull << (bit < 104 ? bit : bit - 104) % 64;
			after = flow_hash(in);
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
	EXPECT_GT(flips, bits * 200 * 31 / 2);
	EXPECT_LT(flips, bits * 200 * 33 / 2);
	EXPECT_GT(weakest, 200 * 13);
}

TEST(v6_words_count)
{
	__u32 in[8] = { 0x20010db8, 1, 2, 3, 0x20010db8, 5, 6, 7 };
	const struct duet_key nine = key_of(9, 0), ten = key_of(10, 0);
	__u32 before = duet_hash_v6(in, in + 4, 1, 6, &nine), after;
	int bit;

	for (bit = 0; bit < 256; bit++) {
		in[bit / 32] ^= 1u << bit % 32;
		after = duet_hash_v6(in, in + 4, 1, 6, &nine);
		EXPECT_NE(before, after);
		in[bit / 32] ^= 1u << bit % 32;
	}
	EXPECT_NE(before, duet_hash_v6(in, in + 4, 2, 6, &nine));
	EXPECT_NE(before, duet_hash_v6(in, in + 4, 1, 17, &nine));
	EXPECT_NE(before, duet_hash_v6(in, in + 4, 1, 6, &ten));
	EXPECT_EQ(before, duet_hash_v6(in, in + 4, 1, 6, &nine));
}

/* Clients one after another, ports one after another: the worst of real
 * traffic still fills 251 buckets evenly. chi2 has 250 degrees of freedom,
 * mean 250, deviation 22; 362 is five deviations above.
 */
TEST(even_over_buckets)
{
	int count[251] = { 0 }, host, port, b;
	double chi2 = 0, mean = 256.0 * 256 / 251;
	const struct duet_key key = key_of(7, 0);

	for (host = 0; host < 256; host++)
		for (port = 0; port < 256; port++)
			count[duet_bucket(duet_hash_v4(0x0a010100 + host, 0xcb007101,
						       (32768u + port) << 16 | 80, 6, &key), 251)]++;
	for (b = 0; b < 251; b++)
		chi2 += (count[b] - mean) * (count[b] - mean) / mean;
	EXPECT_LT(chi2, 362);
	EXPECT_GT(chi2, 138);
}

/* Level two must split the flows of one bucket of level one evenly. */
TEST(level2_is_independent)
{
	int count[16] = { 0 }, flows = 0, i, b;
	const struct duet_key key = key_of(12345, 0);
	struct duet_key level2;
	double chi2 = 0;

	duet_key_level2(&level2, &key);
	EXPECT_NE(0, memcmp(&key, &level2, sizeof(key)));
	for (i = 0; flows < 8000; i++) {
		__u32 src = 0x0a000000 + i / 64, ports = (40000u + i % 64) << 16 | 80;

		if (duet_bucket(duet_hash_v4(src, 0xcb007101, ports, 6, &key), 16) != 3)
			continue;
		flows++;
		count[duet_bucket(duet_hash_v4(src, 0xcb007101, ports, 6, &level2), 16)]++;
	}
	for (b = 0; b < 16; b++)
		chi2 += (count[b] - 500) * (count[b] - 500) / 500.0;
	/* 15 degrees of freedom: five deviations of 5.5 above 15 */
	EXPECT_LT(chi2, 43);
}

TEST_HARNESS_MAIN
