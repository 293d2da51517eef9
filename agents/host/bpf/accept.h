/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a VIP accepts: the packets that a mux would send by the VIP's rules, and no
 * others, whatever a tunnel holds. The match of a rule is packet.h's, as the muxes
 * have it; an error about a flow is matched as the flow.
 */
#ifndef DUET_HOST_ACCEPT_H
#define DUET_HOST_ACCEPT_H

#include <duet/packet.h>
#include "maps.h"

/* load - bytes of the packet; false: it has fewer */
static __always_inline bool load(void *ctx, const bool xdp, __u32 at, void *to, __u32 len)
{
	return xdp ? !bpf_xdp_load_bytes(ctx, at, to, len) : !bpf_skb_load_bytes(ctx, at, to, len);
}

/* walk6 - over extension headers from @at to the transport header; @at of it, 0: none.
 * *fragment as duet_ext6() says it, whose walk this is with loads instead of pointers.
 */
static __always_inline __u32 walk6(void *ctx, const bool xdp, __u32 at, __u8 *proto, __u32 *fragment)
{
	__u8 p[4];
	int i;

	for (i = 0; i < DUET_IP6_EXT_MAX; i++) {
		if (*proto != DUET_EXT_HOP && *proto != DUET_EXT_ROUTING && *proto != DUET_EXT_DEST && *proto != DUET_EXT_FRAGMENT)
			return at;
		if (!load(ctx, xdp, at, p, sizeof(p)))
			return 0;
		at += *proto == DUET_EXT_FRAGMENT ? 8 : 8 + 8 * (__u32)p[1];
		if (*proto == DUET_EXT_FRAGMENT && duet_get16(p + 2) & 0xfff9) {
			*proto = p[0];
			*fragment = (duet_get16(p + 2) >> 3) + 1;
			return at;
		}
		*proto = p[0];
	}
	return 0;
}

/* quoted - the ICMP error at @at is about a flow of the VIP: *t becomes that flow's */
static __always_inline bool quoted(void *ctx, const bool xdp, __u32 at, const struct decap_addr *vip, struct duet_tuple *t)
{
	__u32 fragment = 0;
	__u8 p[DUET_IP6_HEADER];

	if (t->family == 4) {
		if (!load(ctx, xdp, at, p, DUET_IP4_HEADER) || p[0] >> 4 != 4 || (p[0] & 15) < 5 ||
		    duet_get32(p + 12) != bpf_ntohl(vip->w[3]) || duet_get16(p + 6) & DUET_IP_OFFSET)
			return false;
		t->proto = p[9];
		at += (p[0] & 15) * 4;
	} else {
		if (!load(ctx, xdp, at, p, DUET_IP6_HEADER) || p[0] >> 4 != 6 ||
		    duet_get32(p + 8) != bpf_ntohl(vip->w[0]) || duet_get32(p + 12) != bpf_ntohl(vip->w[1]) ||
		    duet_get32(p + 16) != bpf_ntohl(vip->w[2]) || duet_get32(p + 20) != bpf_ntohl(vip->w[3]))
			return false;
		t->proto = p[6];
		at = walk6(ctx, xdp, at + DUET_IP6_HEADER, &t->proto, &fragment);
		if (!at || fragment > 1)
			return false;
	}
	if (!load(ctx, xdp, at, p, 8))
		return false;
	t->flags |= DUET_T_ERROR;
	if (duet_has_ports(t->proto)) {
		t->dport = duet_get16(p);	/* it went from the VIP */
		t->flags |= DUET_T_PORTS;
		return true;
	}
	if (t->proto == DUET_PROTO_ICMP && t->family == 4)
		return p[0] == 8 || p[0] == 0;
	if (t->proto == DUET_PROTO_ICMPV6 && t->family == 6)
		return p[0] == 128 || p[0] == 129;
	return true;
}

/* flow_of - what rules are matched with; 0, or why there is nothing */
static __always_inline int flow_of(void *ctx, const bool xdp, const struct tunnelled *p, __u32 l3, struct duet_tuple *t)
{
	__u32 l4 = l3 + p->inner, fragment = p->fragment;
	__u8 l[4];

	t->family = p->six ? 6 : 4;
	t->proto = p->proto;
	if (p->six) {
		l4 = walk6(ctx, xdp, l4, &t->proto, &fragment);
		if (!l4)
			return DECAP_MALFORMED;
	}
	if (fragment) {
		t->flags = DUET_T_FRAGMENT;
		return 0;
	}
	if (duet_has_ports(t->proto)) {
		if (!load(ctx, xdp, l4, l, sizeof(l)))
			return DECAP_MALFORMED;
		t->dport = duet_get16(l + 2);
		t->flags = DUET_T_PORTS;
		return 0;
	}
	if (t->proto != (p->six ? DUET_PROTO_ICMPV6 : DUET_PROTO_ICMP))
		return 0;
	if (!load(ctx, xdp, l4, l, sizeof(l)))
		return DECAP_MALFORMED;
	if (p->six ? !duet_icmp6_is_error(l[0]) : !duet_icmp4_is_error(l[0]))
		return 0;
	return quoted(ctx, xdp, l4 + DUET_ICMP_HEADER, &p->key.vip, t) ? 0 : DECAP_NO_RULE;
}

static __always_inline int accepts_flow(void *ctx, const bool xdp, const struct tunnelled *p, __u32 l3, __u32 index)
{
	struct decap_rules *r = bpf_map_lookup_elem(&accepts, &index);
	struct duet_tuple t = {};
	int why = r ? flow_of(ctx, xdp, p, l3, &t) : DECAP_NO_RULE, i;

	if (why)
		return why;
	if (t.flags & DUET_T_FRAGMENT && r->fragments == DUET_FRAGMENTS_DROP)
		return DECAP_INNER_FRAGMENT;
	for (i = 0; i < DECAP_RULES_MAX && i < r->n; i++)
		if (duet_match(&r->match[i], &t))
			return 0;
	return DECAP_NO_RULE;
}

/* Not static: the verifier looks at them once. 0, or the reason to drop the packet. */
__attribute__((noinline)) int accepts_skb(struct __sk_buff *skb, const struct tunnelled *p, __u32 l3, __u32 index)
{
	return p ? accepts_flow(skb, false, p, l3, index) : DECAP_NO_RULE;
}

__attribute__((noinline)) int accepts_xdp(struct xdp_md *ctx, const struct tunnelled *p, __u32 l3, __u32 index)
{
	return p ? accepts_flow(ctx, true, p, l3, index) : DECAP_NO_RULE;
}

#endif
