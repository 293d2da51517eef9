// SPDX-License-Identifier: GPL-2.0
/*
 * ICMP of a mux.
 *
 * The kernel's icmp_send() wants a route on the packet, which one taken at
 * ingress doesn't have, and picks its own source; so errors are built here,
 * with the VIP as source like the DIP would have sent them.
 */
#include "icmp.h"
#include "compat.h"

#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <net/icmp.h>
#include <net/ip6_checksum.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/route.h>

/* duet_icmp_route - to the client; with a reference, NULL: none */
static struct dst_entry *duet_icmp_route(struct duet_dev *dd,
					 const struct duet_tuple *t)
{
	struct flowi4 fl4 = {
		.flowi4_proto = IPPROTO_ICMP,
		.daddr = cpu_to_be32(t->src[0]),
	};
	struct flowi6 fl6 = { .flowi6_proto = IPPROTO_ICMPV6 };
	struct dst_entry *dst;
	struct rtable *rt;

	if (t->family == 4) {
		rt = ip_route_output_key(dd->net, &fl4);
		return IS_ERR(rt) ? NULL : &rt->dst;
	}
	/* without IPv6 a TIP can still have IPv6 inside */
	if (!ipv6_mod_enabled())
		return NULL;
	duet_tuple_addr(t->src, t->family, &fl6.daddr);
	dst = ip6_route_output(dd->net, NULL, &fl6);
	if (!dst->error)
		return dst;
	dst_release(dst);
	return NULL;
}

/* duet_icmp_send - about the packet that is at offset at of skb */
static void duet_icmp_send(struct duet_dev *dd, const struct sk_buff *skb,
			   unsigned int at, const struct duet_tuple *t,
			   u8 type, u8 code, u32 info)
{
	unsigned int headers = DUET_ICMP_HEADER +
			       (t->family == 4 ? DUET_IP4_HEADER : DUET_IP6_HEADER);
	u32 quote = duet_icmp_quote(t->family, skb->len - at);
	struct dst_entry *dst;
	struct sk_buff *msg;

	if (!duet_may_answer(t, skb->data + at) || !duet_icmp_global_allow(dd->net))
		return;
	duet_icmp_global_consume(dd->net);
	dst = duet_icmp_route(dd, t);
	if (!dst)
		return;
	msg = alloc_skb(LL_RESERVED_SPACE(dst->dev) + headers + quote, GFP_ATOMIC);
	if (!msg)
		goto err_route;
	skb_reserve(msg, LL_RESERVED_SPACE(dst->dev));
	skb_reset_network_header(msg);
	skb_put(msg, headers + quote);
	if (skb_copy_bits(skb, at, msg->data + headers, quote))
		goto err_free;
	duet_put_icmp(msg->data, t->family, quote, type, code, info,
		      get_random_u32());
	skb_set_transport_header(msg, headers - DUET_ICMP_HEADER);
	skb_dst_set(msg, dst);
	if (t->family == 4) {
		msg->protocol = htons(ETH_P_IP);
		ip_local_out(dd->net, NULL, msg);
	} else if (IS_ENABLED(CONFIG_IPV6)) {
		msg->protocol = htons(ETH_P_IPV6);
		ip6_local_out(dd->net, NULL, msg);
	}
	return;

err_free:
	kfree_skb(msg);
err_route:
	dst_release(dst);
}

static void duet_icmp_big_at(struct duet_dev *dd, const struct sk_buff *skb,
			     unsigned int at, const struct duet_tuple *t, u32 mtu)
{
	if (t->family == 4)
		duet_icmp_send(dd, skb, at, t, ICMP_DEST_UNREACH,
			       ICMP_FRAG_NEEDED, min_t(u32, mtu, U16_MAX));
	else
		duet_icmp_send(dd, skb, at, t, ICMPV6_PKT_TOOBIG, 0,
			       max_t(u32, mtu, IPV6_MIN_MTU));
}

static void duet_icmp_unreachable_at(struct duet_dev *dd,
				     const struct sk_buff *skb, unsigned int at,
				     const struct duet_tuple *t)
{
	if (t->family == 4)
		duet_icmp_send(dd, skb, at, t, ICMP_DEST_UNREACH,
			       ICMP_HOST_UNREACH, 0);
	else
		duet_icmp_send(dd, skb, at, t, ICMPV6_DEST_UNREACH,
			       ICMPV6_ADDR_UNREACH, 0);
}

void duet_icmp_too_big(struct duet_dev *dd, const struct sk_buff *skb,
		       const struct duet_tuple *t, unsigned int mtu)
{
	duet_icmp_big_at(dd, skb, 0, t, mtu);
}

void duet_icmp_unreachable(struct duet_dev *dd, const struct sk_buff *skb,
			   const struct duet_tuple *t)
{
	duet_icmp_unreachable_at(dd, skb, 0, t);
}

/* duet_icmp_learn - the path's MTU, so that the next packet is answered here */
static void duet_icmp_learn(struct duet_dev *dd, struct sk_buff *skb,
			    const struct duet_outer_error *error, bool v6)
{
	skb_pull(skb, error->quoted);
	if (v6 && IS_ENABLED(CONFIG_IPV6))
		ip6_update_pmtu(skb, dd->net, cpu_to_be32(error->mtu), 0, 0,
				INVALID_UID);
	else if (!v6)
		ipv4_update_pmtu(skb, dd->net, error->mtu, 0, IPPROTO_IPIP);
	skb_push(skb, error->quoted);
}

/* duet_icmp_good - the mux is who the error is for, so it looks at the checksum */
static bool duet_icmp_good(const struct sk_buff *skb, unsigned int at, bool v6)
{
	unsigned int len = skb->len - at;
	__wsum sum = skb_checksum(skb, at, len, 0);
	const struct ipv6hdr *ip6;

	if (!v6)
		return !csum_fold(sum);
	ip6 = (const struct ipv6hdr *)skb->data;
	return !csum_ipv6_magic(&ip6->saddr, &ip6->daddr, len, IPPROTO_ICMPV6, sum);
}

bool duet_icmp_outer(struct duet_dev *dd, struct sk_buff *skb, bool v6)
{
	struct duet_outer_error error;
	struct duet_tuple t;
	struct duet_view view;
	struct in6_addr addr;
	bool known;

	for (;;) {
		view.data = skb->data;
		view.linear = skb_headlen(skb);
		view.len = skb->len;
		view.gso = false;
		if (duet_parse_outer_error(&view, v6, &error, &t))
			break;
		if (!view.want || skb_shared(skb) || !pskb_may_pull(skb, view.want))
			return false;
	}
	duet_tuple_addr(error.dip, v6 ? 6 : 4, &addr);
	if (!duet_tunnel_known(dd, &addr))
		return false;
	duet_tuple_addr(t.dst, t.family, &addr);
	known = t.family == 4 ? duet_vip_lookup4(dd, addr.s6_addr32[3]) :
				duet_vip_lookup6(dd, &addr);
	if (!known || skb_shared(skb) ||
	    (skb->len > view.len && pskb_trim_rcsum(skb, view.len)) ||
	    !duet_icmp_good(skb, view.l4, v6))
		return false;

	duet_count(dd, DUET_VERDICT_OUTER_ERROR, skb->len);
	if (error.mtu) {
		u32 outer = v6 ? DUET_IP6_HEADER : DUET_IP4_HEADER;

		duet_icmp_learn(dd, skb, &error, v6);
		duet_icmp_big_at(dd, skb, error.inner, &t, error.mtu - outer);
	} else {
		duet_icmp_unreachable_at(dd, skb, error.inner, &t);
	}
	consume_skb(skb);
	return true;
}
