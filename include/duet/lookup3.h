/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Bob Jenkins' lookup3 (public domain): cheap mixing without a secret. It fills
 * tables (table.h) and places entries in a mux's own flow table. It never
 * chooses a DIP for a flow: whoever sees enough of its results can compute its
 * 32-bit seed. hash.h has the keyed hash that chooses.
 *
 *   All arithmetic is modulo 2^32. rot(x, k) rotates left.
 *
 *   final(a, b, c):  c ^= b; c -= rot(b,14);  a ^= c; a -= rot(c,11);
 *                    b ^= a; b -= rot(a,25);  c ^= b; c -= rot(b,16);
 *                    a ^= c; a -= rot(c, 4);  b ^= a; b -= rot(a,14);
 *                    c ^= b; c -= rot(b,24);
 *   mix(a, b, c):    a -= c; a ^= rot(c, 4); c += b;  b -= a; b ^= rot(a, 6); a += c;
 *                    c -= b; c ^= rot(b, 8); b += a;  a -= c; a ^= rot(c,16); c += b;
 *                    b -= a; b ^= rot(a,19); a += c;  c -= b; c ^= rot(b, 4); b += a;
 *
 *   init = 0x64756574 + seed + (protocol << 8)
 *   IPv4: a = init + src, b = init + dst, c = init + ports; final; hash = c.
 *   IPv6: a = init + src[0], b = init + src[1], c = init + src[2]; mix;
 *         a += src[3], b += dst[0], c += dst[1]; mix;
 *         a += dst[2], b += dst[3], c += ports; final; hash = c.
 */
#ifndef _DUET_LOOKUP3_H
#define _DUET_LOOKUP3_H

#include <duet/hash.h>

#define DUET_LOOKUP3_INIT	0x64756574u	/* "duet" */

DUET_INLINE __u32 duet_rot(__u32 x, unsigned int k)
{
	return x << k | x >> (32 - k);
}

DUET_INLINE __u32 duet_lookup3_final(__u32 a, __u32 b, __u32 c)
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

DUET_INLINE void duet_lookup3_mix(__u32 *pa, __u32 *pb, __u32 *pc)
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

DUET_INLINE __u32 duet_lookup3_v4(__u32 src, __u32 dst, __u32 ports, __u8 proto,
				  __u32 seed)
{
	__u32 init = DUET_LOOKUP3_INIT + seed + ((__u32)proto << 8);

	return duet_lookup3_final(init + src, init + dst, init + ports);
}

DUET_INLINE __u32 duet_lookup3_v6(const __u32 src[4], const __u32 dst[4],
				  __u32 ports, __u8 proto, __u32 seed)
{
	__u32 init = DUET_LOOKUP3_INIT + seed + ((__u32)proto << 8);
	__u32 a = init + src[0], b = init + src[1], c = init + src[2];

	duet_lookup3_mix(&a, &b, &c);
	a += src[3];
	b += dst[0];
	c += dst[1];
	duet_lookup3_mix(&a, &b, &c);
	return duet_lookup3_final(a + dst[2], b + dst[3], c + ports);
}

#endif
