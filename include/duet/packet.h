/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Packets as bytes: from headers to the flow they belong to, and the headers
 * a mux writes. Pure functions on buffers, compiled into the module and, under
 * sanitizers and fuzzers, into the tests: what reads bytes from the network is
 * here and nowhere else.
 *
 * Numbers in struct duet_tuple are in host byte order; an IPv4 address is in
 * word 0, an IPv6 address in four words, most significant first, as hash.h
 * wants them.
 */
#ifndef _DUET_PACKET_H
#define _DUET_PACKET_H

#include <duet/hash.h>
#include <duet/limits.h>
#include <linux/duet.h>

#ifdef __KERNEL__
#include <linux/string.h>
#include <linux/types.h>
#include <net/ip.h>
#else
#include <stdbool.h>
#ifdef __bpf__	/* has no libc */
#define memcmp(a, b, n)	__builtin_memcmp(a, b, n)
#define memcpy(a, b, n)	__builtin_memcpy(a, b, n)
#else
#include <string.h>
#endif
#ifndef likely
#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)
#endif
#endif

#define DUET_IP4_HEADER		20
#define DUET_IP6_HEADER		40
#define DUET_ICMP_HEADER	8
#define DUET_ICMP4_ANSWER_MAX	576	/* RFC 1812, 4.3.2.3 */
#define DUET_IP6_MTU_MIN	1280	/* RFC 8200, 5; and RFC 4443, 2.4 (c) */
#define DUET_IP6_EXT_MAX	8	/* extension headers we walk over */
#define DUET_ICMP_TOS		0xc0	/* internetwork control */

#define DUET_IP_DF		0x4000
#define DUET_IP_FRAGMENT	0x3fff	/* MF and offset */
#define DUET_IP_OFFSET		0x1fff

enum {
	DUET_PROTO_ICMP = 1, DUET_PROTO_IPIP = 4, DUET_PROTO_TCP = 6,
	DUET_PROTO_UDP = 17, DUET_PROTO_DCCP = 33, DUET_PROTO_IPV6 = 41,
	DUET_PROTO_ICMPV6 = 58, DUET_PROTO_SCTP = 132, DUET_PROTO_UDPLITE = 136,
	/* IPv6 extension headers */
	DUET_EXT_HOP = 0, DUET_EXT_ROUTING = 43, DUET_EXT_FRAGMENT = 44,
	DUET_EXT_DEST = 60,
};

/* A packet, or the part of it that lies in one piece.
 * @data:   the IP header
 * @linear: bytes that can be read at data
 * @len:    bytes there are; a parser brings it down to what the IP header says
 * @l4:     out: where the transport header starts (or the fragment's data)
 * @want:   out, not 0: the verdict needs this many linear bytes: pull, ask again
 * @gso:    a length of 0 in the header means @len (BIG TCP)
 */
struct duet_view {
	const __u8 *data;
	__u32 linear;
	__u32 len;
	__u32 l4;
	__u32 want;
	bool gso;
};

#define DUET_T_PORTS	0x01	/* sport and dport are ports */
#define DUET_T_FRAGMENT	0x02	/* of a datagram: no ports, whatever it holds */
#define DUET_T_ERROR	0x04	/* an ICMP error about this flow, not of it */
#define DUET_T_SYN	0x08	/* TCP: the first of a connection */
#define DUET_T_END	0x10	/* TCP: FIN or RST */

/* The flow of a packet as its client sends it. */
struct duet_tuple {
	__u32 src[4], dst[4];
	union {			/* ICMP echo: identifier, 0 */
		struct {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
			__u16 dport, sport;
#else
			__u16 sport, dport;
#endif
		};
		__u32 ports;	/* sport << 16 | dport */
	};
	__u8 proto;
	__u8 family;		/* 4 or 6 */
	__u8 flags;
};

/* What a rule takes. port 0: any; proto 0: any. */
struct duet_match {
	__u16 port, port_last;
	__u8 proto;
	__u8 fields;		/* enum duet_fields */
};

DUET_INLINE __u16 duet_get16(const __u8 *p)
{
	return (__u16)(p[0] << 8 | p[1]);
}

DUET_INLINE __u32 duet_get32(const __u8 *p)
{
	return (__u32)p[0] << 24 | (__u32)p[1] << 16 | (__u32)p[2] << 8 | p[3];
}

DUET_INLINE __u64 duet_get64(const __u8 *p)
{
	return (__u64)duet_get32(p) << 32 | duet_get32(p + 4);
}

DUET_INLINE void duet_put16(__u8 *p, __u16 v)
{
	p[0] = v >> 8;
	p[1] = v & 0xff;
}

DUET_INLINE void duet_put32(__u8 *p, __u32 v)
{
	p[0] = v >> 24;
	p[1] = v >> 16 & 0xff;
	p[2] = v >> 8 & 0xff;
	p[3] = v & 0xff;
}

/* duet_sum - one's complement sum of @len bytes, added to @sum; not folded */
DUET_INLINE __u32 duet_sum(const __u8 *p, __u32 len, __u32 sum)
{
	for (; len > 1; len -= 2, p += 2)
		sum += duet_get16(p);
	return len ? sum + ((__u32)p[0] << 8) : sum;
}

DUET_INLINE __u16 duet_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~((sum & 0xffff) + (sum >> 16));
}

/* duet_sum4 - checksum of an IPv4 header of @ihl bytes, to be written with
 * duet_put16(); over a good header it is 0
 */
DUET_INLINE __u16 duet_sum4(const __u8 *p, __u32 ihl)
{
#ifdef __KERNEL__
	return be16_to_cpu((__force __be16)ip_fast_csum(p, ihl / 4));
#else
	return duet_fold(duet_sum(p, ihl, 0));
#endif
}

/* duet_has - are the first @end bytes linear? If not, but the packet has them,
 * @v->want says so.
 */
DUET_INLINE bool duet_has(struct duet_view *v, __u32 end)
{
	if (likely(end <= v->linear && end <= v->len))
		return true;
	if (end <= v->len && end > v->want)
		v->want = end;
	return false;
}

DUET_INLINE bool duet_has_ports(__u8 proto)
{
	return proto == DUET_PROTO_TCP || proto == DUET_PROTO_UDP ||
	       proto == DUET_PROTO_SCTP || proto == DUET_PROTO_UDPLITE ||
	       proto == DUET_PROTO_DCCP;
}

DUET_INLINE bool duet_icmp4_is_error(__u8 type)
{
	return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

/* types below 128 are errors, those that nobody has defined yet too */
DUET_INLINE bool duet_icmp6_is_error(__u8 type)
{
	return type < 128;
}

/* duet_ext6 - walk over extension headers from @at, whose type is *proto, to
 * the transport header, *proto then, whose offset is returned; 0: cut short or
 * too many. *fragment: the fragment offset + 1 if it is a fragment; the walk
 * ends there.
 */
DUET_INLINE __u32 duet_ext6(struct duet_view *v, __u32 at, __u8 *proto,
			    __u32 *fragment)
{
	const __u8 *p;
	__u32 i;

	*fragment = 0;
	for (i = 0; i <= DUET_IP6_EXT_MAX; i++) {
		if (likely(*proto != DUET_EXT_HOP && *proto != DUET_EXT_ROUTING &&
			   *proto != DUET_EXT_DEST && *proto != DUET_EXT_FRAGMENT))
			return at;
		if (i == DUET_IP6_EXT_MAX || !duet_has(v, at + 8))
			return 0;
		p = v->data + at;
		if (*proto == DUET_EXT_FRAGMENT) {
			*proto = p[0];
			at += 8;
			/* RFC 6946: whole packets come with one, too */
			if (duet_get16(p + 2) & 0xfff9) {
				*fragment = (duet_get16(p + 2) >> 3) + 1;
				return at;
			}
		} else {
			*proto = p[0];
			at += 8 + 8 * (__u32)p[1];
		}
		if (at > v->len)
			return 0;
	}
	return 0;
}

/* duet_quoted - the packet quoted at @at went VIP -> client: *t becomes the
 * flow client -> VIP. RFC 792 promises its IP header and eight bytes.
 */
DUET_INLINE enum duet_verdict duet_quoted(struct duet_view *v, __u32 at,
					  struct duet_tuple *t)
{
	__u32 i, fragment = 0;
	const __u8 *p;
	__u8 proto;

	if (t->family == 4) {
		if (!duet_has(v, at + DUET_IP4_HEADER))
			return DUET_VERDICT_DROP_HEADER;
		p = v->data + at;
		if (p[0] >> 4 != 4 || (p[0] & 15) < 5 ||
		    duet_get32(p + 12) != t->dst[0])
			return DUET_VERDICT_DROP_HEADER;
		t->src[0] = duet_get32(p + 16);
		proto = p[9];
		fragment = duet_get16(p + 6) & DUET_IP_OFFSET;
		at += (p[0] & 15) * 4;
	} else {
		if (!duet_has(v, at + DUET_IP6_HEADER))
			return DUET_VERDICT_DROP_HEADER;
		p = v->data + at;
		if (p[0] >> 4 != 6)
			return DUET_VERDICT_DROP_HEADER;
		for (i = 0; i < 4; i++) {
			if (duet_get32(p + 8 + 4 * i) != t->dst[i])
				return DUET_VERDICT_DROP_HEADER;
			t->src[i] = duet_get32(p + 24 + 4 * i);
		}
		proto = p[6];
		at = duet_ext6(v, at + DUET_IP6_HEADER, &proto, &fragment);
		if (!at)
			return DUET_VERDICT_DROP_HEADER;
		/* a first fragment has the ports */
		fragment = fragment > 1;
	}
	if (fragment)
		return DUET_VERDICT_DROP_FRAGMENT;
	if (!duet_has(v, at + 8))
		return DUET_VERDICT_DROP_HEADER;
	p = v->data + at;
	t->proto = proto;
	t->flags |= DUET_T_ERROR;
	if (duet_has_ports(proto)) {
		t->sport = duet_get16(p + 2);
		t->dport = duet_get16(p);
		t->flags |= DUET_T_PORTS;
	} else if (proto == DUET_PROTO_ICMP && t->family == 4) {
		if (p[0] != 8 && p[0] != 0)
			return DUET_VERDICT_DROP_HEADER;
		t->sport = duet_get16(p + 4);
	} else if (proto == DUET_PROTO_ICMPV6 && t->family == 6) {
		if (p[0] != 128 && p[0] != 129)
			return DUET_VERDICT_DROP_HEADER;
		t->sport = duet_get16(p + 4);
	}
	return DUET_VERDICT_ENCAP;
}

/* duet_transport - ports, echo identifier or quoted flow at @v->l4 */
DUET_INLINE enum duet_verdict duet_transport(struct duet_view *v,
					     struct duet_tuple *t)
{
	const __u8 *p = v->data + v->l4;

	if (likely(duet_has_ports(t->proto))) {
		if (unlikely(!duet_has(v, v->l4 + 4)))
			return DUET_VERDICT_DROP_HEADER;
		t->ports = duet_get32(p);
		t->flags |= DUET_T_PORTS;
		if (t->proto != DUET_PROTO_TCP)
			return DUET_VERDICT_ENCAP;
		/* ports are enough to balance it, but flags that are there count */
		if (unlikely(!duet_has(v, v->l4 + 14)))
			return v->want ? DUET_VERDICT_DROP_HEADER :
					 DUET_VERDICT_ENCAP;
		if ((p[13] & 0x12) == 0x02)
			t->flags |= DUET_T_SYN;
		if (p[13] & 0x05)
			t->flags |= DUET_T_END;
		return DUET_VERDICT_ENCAP;
	}
	if (t->proto != (t->family == 4 ? DUET_PROTO_ICMP : DUET_PROTO_ICMPV6))
		return DUET_VERDICT_ENCAP;
	if (!duet_has(v, v->l4 + DUET_ICMP_HEADER))
		return DUET_VERDICT_DROP_HEADER;
	if (t->family == 4 ? duet_icmp4_is_error(p[0]) : duet_icmp6_is_error(p[0]))
		return duet_quoted(v, v->l4 + DUET_ICMP_HEADER, t);
	if (t->family == 4 ? p[0] == 8 || p[0] == 0 : p[0] == 128 || p[0] == 129)
		t->sport = duet_get16(p + 4);
	return DUET_VERDICT_ENCAP;
}

/* duet_fragment - a fragment has no ports, whatever it holds; but about the
 * first one of an ICMP error nothing is answered
 */
DUET_INLINE enum duet_verdict duet_fragment(struct duet_view *v,
					    struct duet_tuple *t, bool first)
{
	__u8 type;

	t->flags = DUET_T_FRAGMENT;
	if (!first || t->proto != (t->family == 4 ? DUET_PROTO_ICMP :
						    DUET_PROTO_ICMPV6))
		return DUET_VERDICT_ENCAP;
	if (!duet_has(v, v->l4 + 1))
		return v->want ? DUET_VERDICT_DROP_HEADER : DUET_VERDICT_ENCAP;
	type = v->data[v->l4];
	if (t->family == 4 ? duet_icmp4_is_error(type) : duet_icmp6_is_error(type))
		t->flags |= DUET_T_ERROR;
	return DUET_VERDICT_ENCAP;
}

/* duet_parse4, duet_parse6 - the flow of the packet at @v->data
 *
 * Sets @v->len to the packet's own length and @v->l4. DUET_VERDICT_ENCAP, or
 * why it can't be balanced: then, if @v->want is set, with more linear bytes
 * the answer may be another.
 */
DUET_INLINE enum duet_verdict duet_parse4(struct duet_view *v,
					  struct duet_tuple *t)
{
	const __u8 *p = v->data;
	__u32 ihl = DUET_IP4_HEADER, len;
	__u64 addrs;

	v->want = 0;
	if (unlikely(!duet_has(v, DUET_IP4_HEADER)))
		return DUET_VERDICT_DROP_HEADER;
	len = duet_get16(p + 2);
	if (unlikely(!len && v->gso))
		len = v->len;
	if (unlikely(p[0] != 0x45)) {
		ihl = (p[0] & 15) * 4;
		if (p[0] >> 4 != 4 || ihl < DUET_IP4_HEADER || !duet_has(v, ihl))
			return DUET_VERDICT_DROP_HEADER;
	}
	if (unlikely(len < ihl || len > v->len || duet_sum4(p, ihl)))
		return DUET_VERDICT_DROP_HEADER;
	v->len = len;
	v->l4 = ihl;
	t->flags = 0;
	t->family = 4;
	addrs = duet_get64(p + 12);	/* the hash has them in one word, too */
	t->src[0] = addrs >> 32;
	t->dst[0] = (__u32)addrs;
	t->proto = p[9];
	t->ports = 0;
	if (unlikely(duet_get16(p + 6) & DUET_IP_FRAGMENT))
		return duet_fragment(v, t, !(duet_get16(p + 6) & DUET_IP_OFFSET));
	return duet_transport(v, t);
}

DUET_INLINE enum duet_verdict duet_parse6(struct duet_view *v,
					  struct duet_tuple *t)
{
	const __u8 *p = v->data;
	__u32 i, len, fragment;

	v->want = 0;
	t->flags = 0;
	t->family = 6;
	if (unlikely(!duet_has(v, DUET_IP6_HEADER)))
		return DUET_VERDICT_DROP_HEADER;
	len = DUET_IP6_HEADER + duet_get16(p + 4);
	if (unlikely(len == DUET_IP6_HEADER && v->gso))
		len = v->len;
	if (unlikely(p[0] >> 4 != 6 || len > v->len))
		return DUET_VERDICT_DROP_HEADER;
	v->len = len;
	for (i = 0; i < 4; i++) {
		t->src[i] = duet_get32(p + 8 + 4 * i);
		t->dst[i] = duet_get32(p + 24 + 4 * i);
	}
	t->proto = p[6];
	t->ports = 0;
	v->l4 = duet_ext6(v, DUET_IP6_HEADER, &t->proto, &fragment);
	if (unlikely(!v->l4))
		return DUET_VERDICT_DROP_HEADER;
	if (unlikely(fragment))
		return duet_fragment(v, t, fragment == 1);
	return duet_transport(v, t);
}

/* duet_martian4, duet_martian6 - is src an address that no packet of a client to
 * the VIP dst can come from? RFC 1812 5.3.7: networks 0 and 127, and what is no
 * unicast address (from 224.0.0.0 on, class E too). RFC 4291 2.5.2, 2.5.3, 2.5.5,
 * 2.5.6 and 2.7: unspecified, loopback, IPv4 in IPv6, link-local, multicast. Nor
 * is a VIP a client of itself.
 */
DUET_INLINE bool duet_martian4(__u32 src, __u32 dst)
{
	return src - 0x01000000u >= 0xdf000000u || src >> 24 == 127 || src == dst;
}

DUET_INLINE bool duet_martian6(const __u32 src[4], const __u32 dst[4])
{
	if (unlikely(src[0] - 1 >= 0xfe800000u - 1)) {
		if (src[0] ? src[0] < 0xfec00000u || src[0] >= 0xff000000u :
			     !src[1] && (!src[2] || src[2] == 0xffff))
			return true;
	}
	return src[3] == dst[3] && src[2] == dst[2] && src[1] == dst[1] &&
	       src[0] == dst[0];
}

/* duet_martian - the same of a packet, not of the flow that it quotes: @ip has
 * an IP header
 */
DUET_INLINE bool duet_martian(const __u8 *ip, bool v6)
{
	__u32 src[4], dst[4], i;

	if (!v6)
		return duet_martian4(duet_get32(ip + 12), duet_get32(ip + 16));
	for (i = 0; i < 4; i++) {
		src[i] = duet_get32(ip + 8 + 4 * i);
		dst[i] = duet_get32(ip + 24 + 4 * i);
	}
	return duet_martian6(src, dst);
}

DUET_INLINE bool duet_match(const struct duet_match *m,
			    const struct duet_tuple *t)
{
	if (m->proto && m->proto != t->proto)
		return false;
	return !m->port || (t->flags & DUET_T_PORTS && t->dport >= m->port &&
			    t->dport <= m->port_last);
}

/* duet_tuple_hash - hash.h's hash under a choice of fields */
DUET_INLINE __u32 duet_tuple_hash(const struct duet_tuple *t, __u8 fields,
				  const struct duet_key *key)
{
	__u32 ports = t->ports;
	__u8 proto = t->proto;

	if (unlikely(fields != DUET_FIELDS_5TUPLE)) {
		ports &= 0xffff0000;
		if (fields == DUET_FIELDS_SRC) {
			ports = 0;
			proto = 0;
		}
	}
	if (likely(t->family == 4))
		return duet_hash_v4(t->src[0], t->dst[0], ports, proto, key);
	return duet_hash_v6(t->src, t->dst, ports, proto, key);
}

/* duet_ecn_decap - RFC 6040, 4.2: the inner header's ECN after the outer one
 * is off; -1: drop, CE on a packet whose sender can't hear of it
 */
DUET_INLINE int duet_ecn_decap(__u8 outer, __u8 inner)
{
	outer &= 3;
	inner &= 3;
	if (outer == 3)
		return inner ? 3 : -1;
	if (outer == 1 && inner == 2)
		return 1;
	return inner;
}

/* duet_put_ip4 - an IPv4 header with checksum; addresses in host order */
DUET_INLINE void duet_put_ip4(__u8 *p, __u32 src, __u32 dst, __u8 proto,
			      __u8 tos, __u16 len, __u16 id, __u16 frag)
{
	p[0] = 0x45;
	p[1] = tos;
	duet_put16(p + 2, len);
	duet_put16(p + 4, id);
	duet_put16(p + 6, frag);
	p[8] = DUET_OUTER_TTL;
	p[9] = proto;
	duet_put16(p + 10, 0);
	duet_put32(p + 12, src);
	duet_put32(p + 16, dst);
	duet_put16(p + 10, duet_sum4(p, DUET_IP4_HEADER));
}

/* duet_put_ip6 - an IPv6 header, flow label 0; addresses in network order */
DUET_INLINE void duet_put_ip6(__u8 *p, const __u8 src[16], const __u8 dst[16],
			      __u8 proto, __u8 tclass, __u16 payload)
{
	duet_put32(p, 0x60000000u | (__u32)tclass << 20);
	duet_put16(p + 4, payload);
	p[6] = proto;
	p[7] = DUET_OUTER_TTL;
	memcpy(p + 8, src, 16);
	memcpy(p + 24, dst, 16);
}

/* duet_tclass6 - the traffic class of an IPv6 header */
DUET_INLINE __u8 duet_tclass6(const __u8 *p)
{
	return (__u8)(p[0] << 4 | p[1] >> 4);
}

/* duet_icmp_quote - how many bytes of a packet of @len an answer quotes */
DUET_INLINE __u32 duet_icmp_quote(__u8 family, __u32 len)
{
	__u32 max = family == 4 ?
		DUET_ICMP4_ANSWER_MAX - DUET_IP4_HEADER - DUET_ICMP_HEADER :
		DUET_IP6_MTU_MIN - DUET_IP6_HEADER - DUET_ICMP_HEADER;

	return len < max ? len : max;
}

/* duet_put_icmp - the two headers before @quote bytes of a packet that the
 * client can't have delivered.
 * @p:    answer; the quoted packet is there already, behind room for the
 *	  headers (28 or 48 bytes)
 * @src:  the answer's source, in network order; NULL: the VIP
 * @info: second word of the ICMP header: the MTU
 */
DUET_INLINE void duet_put_icmp(__u8 *p, __u8 family, const __u8 *src,
			       __u32 quote, __u8 type, __u8 code, __u32 info,
			       __u16 id)
{
	__u32 len = DUET_ICMP_HEADER + quote, sum = 0;
	__u8 *icmp, *quoted;

	if (family == 4) {
		icmp = p + DUET_IP4_HEADER;
		quoted = icmp + DUET_ICMP_HEADER;
		duet_put_ip4(p, duet_get32(src ? src : quoted + 16),
			     duet_get32(quoted + 12),
			     DUET_PROTO_ICMP, DUET_ICMP_TOS,
			     (__u16)(DUET_IP4_HEADER + len), id, 0);
	} else {
		icmp = p + DUET_IP6_HEADER;
		quoted = icmp + DUET_ICMP_HEADER;
		duet_put_ip6(p, src ? src : quoted + 24, quoted + 8,
			     DUET_PROTO_ICMPV6, DUET_ICMP_TOS, (__u16)len);
		/* RFC 8200, 8.1: addresses, length and next header */
		sum = duet_sum(p + 8, 32, len + DUET_PROTO_ICMPV6);
	}
	icmp[0] = type;
	icmp[1] = code;
	duet_put16(icmp + 2, 0);
	duet_put32(icmp + 4, info);
	duet_put16(icmp + 2, duet_fold(duet_sum(icmp, len, sum)));
}

/* duet_may_answer - may an ICMP error be sent about this packet? Not about an
 * error, not about later fragments, not to nobody (RFC 1122 3.2.2, RFC 4443
 * 2.4 (e)), not to a loopback address, which no packet on a wire comes from
 * (RFC 1122 3.2.1.3, RFC 4291 2.5.3).
 */
DUET_INLINE bool duet_may_answer(const struct duet_tuple *t, const __u8 *ip)
{
	if (t->flags & DUET_T_ERROR)
		return false;
	if (t->family == 4)
		return !(duet_get16(ip + 6) & DUET_IP_OFFSET) &&
		       ip[12] && ip[12] != 127 && ip[12] < 224;
	return ip[8] != 0xff &&
	       (t->src[0] | t->src[1] | t->src[2] || t->src[3] > 1);
}

/* An ICMP error from the path about an outer header of ours.
 * @mtu:    not 0: too big; else the DIP can't be reached
 * @dip:    outer destination
 * @quoted: offset of the quoted outer header
 * @inner:  offset of the client's packet
 */
struct duet_outer_error {
	__u32 mtu;
	__u32 dip[4];
	__u32 quoted, inner;
};

/* duet_parse_outer_error - is the packet such an error, about a packet of @t?
 * Its ICMP checksum is the caller's to check: from @v->l4 to @v->len. Of @t only
 * family, addresses and protocol are set. False and @v->want: with
 * more linear bytes it may be.
 */
DUET_INLINE bool duet_parse_outer_error(struct duet_view *v, bool v6,
					struct duet_outer_error *e,
					struct duet_tuple *t)
{
	const __u8 *p = v->data, *icmp, *q, *in;
	__u32 at = DUET_IP6_HEADER, len, i;
	__u8 proto;

	v->want = 0;
	if (!duet_has(v, v6 ? DUET_IP6_HEADER : DUET_IP4_HEADER))
		return false;
	if (v6) {
		len = DUET_IP6_HEADER + duet_get16(p + 4);
	} else {
		at = (p[0] & 15) * 4;
		len = duet_get16(p + 2);
		if (at < DUET_IP4_HEADER || duet_get16(p + 6) & DUET_IP_FRAGMENT ||
		    !duet_has(v, at) || duet_sum4(p, at))
			return false;
	}
	if (len > v->len)
		return false;
	v->len = len;
	v->l4 = at;
	e->quoted = at + DUET_ICMP_HEADER;
	if (!duet_has(v, e->quoted + (v6 ? DUET_IP6_HEADER : DUET_IP4_HEADER)))
		return false;
	icmp = p + at;
	q = p + e->quoted;
	/* the destination of the error is the source of what it quotes: us */
	if (v6) {
		if (q[0] >> 4 != 6 || memcmp(q + 8, p + 24, 16) ||
		    icmp[0] < 1 || icmp[0] > 3)
			return false;
		e->mtu = icmp[0] == 2 ? duet_get32(icmp + 4) : 0;
		if (icmp[0] == 2 && e->mtu < DUET_IP6_MTU_MIN)
			return false;
		proto = q[6];
		for (i = 0; i < 4; i++)
			e->dip[i] = duet_get32(q + 24 + 4 * i);
		e->inner = e->quoted + DUET_IP6_HEADER;
	} else {
		if (q[0] != 0x45 || memcmp(q + 12, p + 16, 4) ||
		    duet_get16(q + 6) & DUET_IP_OFFSET ||
		    (icmp[0] != 3 && icmp[0] != 11))
			return false;
		e->mtu = icmp[0] == 3 && icmp[1] == 4 ? duet_get16(icmp + 6) : 0;
		/* a router too old to say how much fits */
		if (icmp[0] == 3 && icmp[1] == 4 && e->mtu < 68 + DUET_IP4_HEADER)
			return false;
		proto = q[9];
		e->dip[0] = duet_get32(q + 16);
		e->inner = e->quoted + DUET_IP4_HEADER;
	}
	if (proto != DUET_PROTO_IPIP && proto != DUET_PROTO_IPV6)
		return false;
	t->flags = 0;
	t->ports = 0;
	t->family = proto == DUET_PROTO_IPIP ? 4 : 6;
	/* the inner header, and the eight bytes that RFC 792 promises */
	if (!duet_has(v, e->inner + 8 + (t->family == 4 ? DUET_IP4_HEADER :
							  DUET_IP6_HEADER)))
		return false;
	in = p + e->inner;
	if (in[0] >> 4 != t->family)
		return false;
	if (t->family == 4) {
		t->src[0] = duet_get32(in + 12);
		t->dst[0] = duet_get32(in + 16);
		t->proto = in[9];
		if ((in[0] & 15) == 5 && t->proto == DUET_PROTO_ICMP &&
		    duet_icmp4_is_error(in[DUET_IP4_HEADER]))
			t->flags = DUET_T_ERROR;
	} else {
		for (i = 0; i < 4; i++) {
			t->src[i] = duet_get32(in + 8 + 4 * i);
			t->dst[i] = duet_get32(in + 24 + 4 * i);
		}
		t->proto = in[6];
		if (t->proto == DUET_PROTO_ICMPV6 &&
		    duet_icmp6_is_error(in[DUET_IP6_HEADER]))
			t->flags = DUET_T_ERROR;
	}
	return true;
}

#endif
