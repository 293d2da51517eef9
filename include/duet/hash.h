/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The hash every mux and host of a deployment agrees on (design section 4).
 *
 * HMux and SMux choose the same DIP for the same packet; that property makes
 * failover and migration invisible to connections, and this file is half of
 * it (table.h is the other half). It is compiled unchanged into the module,
 * the BPF programs, the agents, the simulator and the tests, so it uses
 * nothing but fixed-size integers: no allocation, no libc, no kernel helper.
 * selftests/model/duet_model.py is a second implementation, written from this
 * comment:
 *
 *   All arithmetic is modulo 2^32. rot(x, k) rotates left. Addresses are read
 *   as big-endian 32-bit words (an IPv4 address is one word, an IPv6 address
 *   four), ports as sport << 16 | dport, host-order numbers.
 *
 *   final(a, b, c):  c ^= b; c -= rot(b,14);  a ^= c; a -= rot(c,11);
 *                    b ^= a; b -= rot(a,25);  c ^= b; c -= rot(b,16);
 *                    a ^= c; a -= rot(c, 4);  b ^= a; b -= rot(a,14);
 *                    c ^= b; c -= rot(b,24);
 *   mix(a, b, c):    a -= c; a ^= rot(c, 4); c += b;  b -= a; b ^= rot(a, 6); a += c;
 *                    c -= b; c ^= rot(b, 8); b += a;  a -= c; a ^= rot(c,16); c += b;
 *                    b -= a; b ^= rot(a,19); a += c;  c -= b; c ^= rot(b, 4); b += a;
 *   (Bob Jenkins' lookup3, public domain.)
 *
 *   init = 0x64756574 + seed + (protocol << 8)
 *   IPv4: a = init + src, b = init + dst, c = init + ports; final; hash = c.
 *   IPv6: a = init + src[0], b = init + src[1], c = init + src[2]; mix;
 *         a += src[3], b += dst[0], c += dst[1]; mix;
 *         a += dst[2], b += dst[3], c += ports; final; hash = c.
 *
 * What goes in as src, ports and protocol is the VIP rule's choice of fields:
 *   5-tuple:       src, dst, protocol, sport and dport
 *   source + port: src, dst, protocol, sport (dport = 0)
 *   source:        src, dst              (protocol = 0, ports = 0)
 * ICMP echo hashes with sport = identifier, dport = 0; a protocol without
 * ports, and every fragment of a VIP that accepts fragments, with ports = 0.
 */
#ifndef _DUET_HASH_H
#define _DUET_HASH_H

#include <linux/types.h>

#if defined(__KERNEL__) || defined(__bpf__)
#define DUET_INLINE static __always_inline
#else
#define DUET_INLINE static inline
#endif

#ifndef __always_inline
#define __always_inline inline __attribute__((__always_inline__))
#endif

#define DUET_HASH_INIT	0x64756574u	/* "duet" */

/* The seed of level two: a TIP's own table, and a host's choice among its
 * local DIPs. Derived, so that a deployment has one secret, and unrelated, so
 * that level two doesn't see only the flows of one bucket of level one.
 */
#define DUET_LEVEL2	0x6c766c32u	/* "lvl2" */

DUET_INLINE __u32 duet_rot(__u32 x, unsigned int k)
{
	return x << k | x >> (32 - k);
}

DUET_INLINE __u32 duet_hash_final(__u32 a, __u32 b, __u32 c)
{
	c ^= b; c -= duet_rot(b, 14);
	a ^= c; a -= duet_rot(c, 11);
	b ^= a; b -= duet_rot(a, 25);
	c ^= b; c -= duet_rot(b, 16);
	a ^= c; a -= duet_rot(c, 4);
	b ^= a; b -= duet_rot(a, 14);
	c ^= b; c -= duet_rot(b, 24);
	return c;
}

DUET_INLINE void duet_hash_mix(__u32 *pa, __u32 *pb, __u32 *pc)
{
	__u32 a = *pa, b = *pb, c = *pc;

	a -= c; a ^= duet_rot(c, 4); c += b;
	b -= a; b ^= duet_rot(a, 6); a += c;
	c -= b; c ^= duet_rot(b, 8); b += a;
	a -= c; a ^= duet_rot(c, 16); c += b;
	b -= a; b ^= duet_rot(a, 19); a += c;
	c -= b; c ^= duet_rot(b, 4); b += a;
	*pa = a;
	*pb = b;
	*pc = c;
}

/* duet_hash_v4 - hash of an IPv4 flow
 * @src, @dst:	addresses, host byte order (be32_to_cpu of the header field)
 * @ports:	sport << 16 | dport, host byte order; 0 where there are none
 * @proto:	IP protocol
 */
DUET_INLINE __u32 duet_hash_v4(__u32 src, __u32 dst, __u32 ports, __u8 proto,
			       __u32 seed)
{
	__u32 init = DUET_HASH_INIT + seed + ((__u32)proto << 8);

	return duet_hash_final(init + src, init + dst, init + ports);
}

/* duet_hash_v6 - the same for IPv6; @src and @dst are four words each, every
 * word in host byte order, most significant word first.
 */
DUET_INLINE __u32 duet_hash_v6(const __u32 src[4], const __u32 dst[4],
			       __u32 ports, __u8 proto, __u32 seed)
{
	__u32 init = DUET_HASH_INIT + seed + ((__u32)proto << 8);
	__u32 a = init + src[0], b = init + src[1], c = init + src[2];

	duet_hash_mix(&a, &b, &c);
	a += src[3];
	b += dst[0];
	c += dst[1];
	duet_hash_mix(&a, &b, &c);
	return duet_hash_final(a + dst[2], b + dst[3], c + ports);
}

/* duet_seed_level2 - the seed of the second level, see DUET_LEVEL2 */
DUET_INLINE __u32 duet_seed_level2(__u32 seed)
{
	return duet_hash_final(seed, DUET_LEVEL2, DUET_HASH_INIT);
}

/* duet_bucket - bucket of a hash in a table of @buckets: (hash * buckets) >> 32,
 * as even as a remainder and without a division.
 */
DUET_INLINE __u32 duet_bucket(__u32 hash, __u32 buckets)
{
	return (__u32)(((__u64)hash * buckets) >> 32);
}

#endif
