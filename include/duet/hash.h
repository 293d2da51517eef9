/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The hash every mux and host of a deployment agrees on.
 *
 * HMux and SMux choose the same DIP for the same packet; that property makes
 * failover and migration invisible to connections, and this file is half of
 * it (table.h is the other half). It is compiled unchanged into the module,
 * the BPF programs, the agents, the controller and the tests, so it uses
 * nothing but fixed-size integers: no allocation, no libc, no kernel helper.
 *
 * Whoever can predict the choice can put all of his connections on one DIP. So
 * the hash is a pseudorandom function under a secret of 128 bits, SipHash-1-3
 * (Aumasson and Bernstein): choices that an attacker saw say nothing about
 * others. selftests/model/duet_model.py is a second implementation, written
 * from this comment:
 *
 *   Arithmetic is modulo 2^64. rot(x, k) rotates left. Addresses are read as
 *   big-endian 32-bit words (an IPv4 address is one word, an IPv6 address
 *   four), ports as sport << 16 | dport, host-order numbers.
 *
 *   round:   v0 += v1; v1 = rot(v1,13) ^ v0; v0 = rot(v0,32);
 *            v2 += v3; v3 = rot(v3,16) ^ v2;
 *            v0 += v3; v3 = rot(v3,21) ^ v0;
 *            v2 += v1; v1 = rot(v1,17) ^ v2; v2 = rot(v2,32);
 *   prf(key, m[0], ..., m[n - 1]):
 *            k0, k1 = the key's first and last eight bytes, little-endian
 *            v0 = k0 ^ 0x736f6d6570736575; v1 = k1 ^ 0x646f72616e646f6d;
 *            v2 = k0 ^ 0x6c7967656e657261; v3 = k1 ^ 0x7465646279746573;
 *            for each m: v3 ^= m; round; v0 ^= m
 *            v2 ^= 0xff; round; round; round; result v0 ^ v1 ^ v2 ^ v3
 *
 *   hash = low 32 bits of
 *   IPv4: prf(key, src << 32 | dst, 13 << 56 | protocol << 32 | ports)
 *   IPv6: prf(key, src[0] << 32 | src[1], src[2] << 32 | src[3],
 *                  dst[0] << 32 | dst[1], dst[2] << 32 | dst[3],
 *                  37 << 56 | protocol << 32 | ports)
 *
 *   The key of level two, as 16 bytes: prf(key, 1 << 56 | 1) and
 *   prf(key, 1 << 56 | 2), each as eight bytes, little-endian.
 *   The fingerprint of a key: prf(key, 1 << 56 | 3).
 *
 * The top byte of the last word is the number of bytes before it, as SipHash
 * has it: so no message of one kind is a message of another kind.
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

#define DUET_KEY_LEN	16	/* bytes of a key */

/* Top byte of the last word: bytes of the message before it */
#define DUET_HASH_END(bytes)	((__u64)(bytes) << 56)

/**
 * struct duet_key - a key, ready to hash with
 * @v: SipHash's state before the first word of a message, advanced by what no
 *     word of a message has a part in: v0 += v1; v1 = rot(v1,13) ^ v0;
 *     v0 = rot(v0,32) of the first round.
 *
 * It is as secret as the key itself: it can be undone.
 */
struct duet_key {
	__u64 v[4];
};

/* Level two, a TIP's own table and a host's choice among its local DIPs, has a
 * key of its own. It is derived, so that a deployment has one secret, and
 * unrelated, so that level two doesn't see only the flows of one bucket of
 * level one.
 */
enum duet_derived {
	DUET_LEVEL2_LOW = 1,
	DUET_LEVEL2_HIGH,
	DUET_FINGERPRINT,
};

DUET_INLINE __u64 duet_rot64(__u64 x, unsigned int k)
{
	return x << k | x >> (64 - k);
}

/* The part of a round that struct duet_key has done already, and the rest. */
DUET_INLINE void duet_sip_open(__u64 v[4])
{
	v[0] += v[1];
	v[1] = duet_rot64(v[1], 13) ^ v[0];
	v[0] = duet_rot64(v[0], 32);
}

DUET_INLINE void duet_sip_close(__u64 v[4])
{
	v[2] += v[3];
	v[3] = duet_rot64(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = duet_rot64(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = duet_rot64(v[1], 17) ^ v[2];
	v[2] = duet_rot64(v[2], 32);
}

/* duet_sip_first - state after the first word of a message */
DUET_INLINE void duet_sip_first(__u64 v[4], const struct duet_key *key, __u64 m)
{
	v[0] = key->v[0];
	v[1] = key->v[1];
	v[2] = key->v[2];
	v[3] = key->v[3] ^ m;
	duet_sip_close(v);
	v[0] ^= m;
}

DUET_INLINE void duet_sip_word(__u64 v[4], __u64 m)
{
	v[3] ^= m;
	duet_sip_open(v);
	duet_sip_close(v);
	v[0] ^= m;
}

DUET_INLINE __u64 duet_sip_end(__u64 v[4])
{
	v[2] ^= 0xff;
	duet_sip_open(v);
	duet_sip_close(v);
	duet_sip_open(v);
	duet_sip_close(v);
	duet_sip_open(v);
	duet_sip_close(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

DUET_INLINE __u64 duet_key_word(const __u8 *p)
{
	return (__u64)p[0] | (__u64)p[1] << 8 | (__u64)p[2] << 16 |
	       (__u64)p[3] << 24 | (__u64)p[4] << 32 | (__u64)p[5] << 40 |
	       (__u64)p[6] << 48 | (__u64)p[7] << 56;
}

DUET_INLINE void duet_key_words(struct duet_key *key, __u64 k0, __u64 k1)
{
	key->v[0] = k0 ^ 0x736f6d6570736575ull;
	key->v[1] = k1 ^ 0x646f72616e646f6dull;
	key->v[2] = k0 ^ 0x6c7967656e657261ull;
	key->v[3] = k1 ^ 0x7465646279746573ull;
	duet_sip_open(key->v);
}

/* duet_key_init - make the DUET_KEY_LEN bytes of a key ready */
DUET_INLINE void duet_key_init(struct duet_key *key, const __u8 *bytes)
{
	duet_key_words(key, duet_key_word(bytes), duet_key_word(bytes + 8));
}

DUET_INLINE __u64 duet_key_derive(const struct duet_key *key,
				  enum duet_derived what)
{
	__u64 v[4];

	duet_sip_first(v, key, DUET_HASH_END(1) | what);
	return duet_sip_end(v);
}

/* duet_key_level2 - the key of the second level, see enum duet_derived */
DUET_INLINE void duet_key_level2(struct duet_key *level2,
				 const struct duet_key *key)
{
	duet_key_words(level2, duet_key_derive(key, DUET_LEVEL2_LOW),
		       duet_key_derive(key, DUET_LEVEL2_HIGH));
}

/* duet_key_fingerprint - to compare keys by, in public */
DUET_INLINE __u64 duet_key_fingerprint(const struct duet_key *key)
{
	return duet_key_derive(key, DUET_FINGERPRINT);
}

/* duet_hash_last - last word of a flow's message of @bytes bytes */
DUET_INLINE __u64 duet_hash_last(__u32 bytes, __u8 proto, __u32 ports)
{
	return (__u64)(bytes << 24 | proto) << 32 | ports;
}

/* duet_hash_v4 - hash of an IPv4 flow
 * @src, @dst:	addresses, host byte order (be32_to_cpu of the header field)
 * @ports:	sport << 16 | dport, host byte order; 0 where there are none
 * @proto:	IP protocol
 */
DUET_INLINE __u32 duet_hash_v4(__u32 src, __u32 dst, __u32 ports, __u8 proto,
			       const struct duet_key *key)
{
	__u64 v[4];

	duet_sip_first(v, key, (__u64)src << 32 | dst);
	duet_sip_word(v, duet_hash_last(13, proto, ports));
	return (__u32)duet_sip_end(v);
}

/* duet_hash_v6 - the same for IPv6; @src and @dst are four words each, every
 * word in host byte order, most significant word first.
 */
DUET_INLINE __u32 duet_hash_v6(const __u32 src[4], const __u32 dst[4],
			       __u32 ports, __u8 proto,
			       const struct duet_key *key)
{
	__u64 v[4];

	duet_sip_first(v, key, (__u64)src[0] << 32 | src[1]);
	duet_sip_word(v, (__u64)src[2] << 32 | src[3]);
	duet_sip_word(v, (__u64)dst[0] << 32 | dst[1]);
	duet_sip_word(v, (__u64)dst[2] << 32 | dst[3]);
	duet_sip_word(v, duet_hash_last(37, proto, ports));
	return (__u32)duet_sip_end(v);
}

/* duet_bucket - bucket of a hash in a table of @buckets: (hash * buckets) >> 32,
 * as even as a remainder and without a division.
 */
DUET_INLINE __u32 duet_bucket(__u32 hash, __u32 buckets)
{
	return (__u32)(((__u64)hash * buckets) >> 32);
}

#endif
