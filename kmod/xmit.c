// SPDX-License-Identifier: GPL-2.0
/*
 * Encapsulation: the outer header, then straight to the neighbour.
 *
 * The short way (no fragmentation, no IPsec, no lwtunnel, not to ourselves)
 * skips netfilter's output hooks like a switch does; everything else goes by
 * ip_local_out().
 */
#include "xmit.h"
#include "compat.h"
#include "icmp.h"

#include <linux/ip.h>
#include <linux/netfilter.h>
#include <net/ip_tunnels.h>
#include <net/neighbour.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/route.h>
#include <net/xfrm.h>

/* duet_fits - does the packet, or each segment of it, fit in mtu */
static bool duet_fits(const struct sk_buff *skb, unsigned int mtu)
{
	if (skb_is_gso(skb))
		return skb_gso_validate_network_len(skb, mtu);
	return skb->len <= mtu;
}

static bool duet_short_way(const struct rtable *rt)
{
	const struct dst_entry *dst = &rt->dst;

	return !(rt->rt_flags & RTCF_LOCAL) && !dst->lwtstate && !dst_xfrm(dst);
}

enum duet_verdict duet_xmit4(struct duet_dev *dd, struct duet_tunnel *tunnel,
			     struct sk_buff *skb)
{
	const struct iphdr *inner = (const struct iphdr *)skb->data;
	__be32 local = READ_ONCE(dd->local4);
	enum duet_verdict verdict;
	struct dst_entry *dst;
	bool fits, is_v6gw;
	struct neighbour *n;
	struct rtable *rt;
	struct iphdr *iph;
	unsigned int mtu;
	__be16 df;
	u8 tos;

	verdict = DUET_VERDICT_DROP_TTL;
	if (unlikely(inner->ttl <= 1))
		goto drop;
	verdict = DUET_VERDICT_DROP_NO_LOCAL;
	if (unlikely(!local))
		goto drop;
	/* what we encapsulated ourselves, back again inside a tunnel to a VIP */
	verdict = DUET_VERDICT_DROP_LOOP;
	if (unlikely(inner->saddr == local && inner->protocol == IPPROTO_IPIP))
		goto drop;
	verdict = DUET_VERDICT_DROP_NO_ROUTE;
	dst = duet_tunnel_route4(dd, tunnel, local);
	if (unlikely(!dst))
		goto drop;
	rt = (struct rtable *)dst;

	df = inner->frag_off & htons(IP_DF);
	mtu = dst_mtu(dst) - sizeof(*iph);
	fits = duet_fits(skb, mtu);
	if (unlikely(!fits && df)) {
		duet_icmp_too_big4(dd, skb, mtu);
		verdict = DUET_VERDICT_DROP_TOO_BIG;
		goto drop;
	}

	verdict = DUET_VERDICT_DROP_MEMORY;
	if (unlikely(skb_cow_head(skb, LL_RESERVED_SPACE(dst->dev) + sizeof(*iph))))
		goto drop;
	ip_decrease_ttl((struct iphdr *)skb->data);
	tos = ((struct iphdr *)skb->data)->tos;
	if (unlikely(iptunnel_handle_offloads(skb, SKB_GSO_IPXIP4)))
		goto drop;
	skb_set_inner_ipproto(skb, IPPROTO_IPIP);
	skb->transport_header = skb->network_header;

	skb_dst_drop(skb);
	skb_dst_set_noref(skb, dst);
	nf_reset_ct(skb);
	secpath_reset(skb);
	skb_clear_tstamp(skb);
	skb->ignore_df = 0;
	skb->pkt_type = PACKET_HOST;
	memset(IPCB(skb), 0, sizeof(*IPCB(skb)));

	iph = skb_push(skb, sizeof(*iph));
	skb_reset_network_header(skb);
	iph->version = 4;
	iph->ihl = 5;
	/* RFC 6040, normal mode: the whole ECN field is copied, CE too */
	iph->tos = tos;
	iph->tot_len = htons(skb->len);
	iph->frag_off = df;
	iph->ttl = DUET_OUTER_TTL;
	iph->protocol = IPPROTO_IPIP;
	iph->saddr = local;
	iph->daddr = tunnel->addr.s6_addr32[3];
	if (df && !skb_is_gso(skb))
		iph->id = 0;
	else
		__ip_select_ident(dd->net, iph, skb_shinfo(skb)->gso_segs ?: 1);
	skb->protocol = htons(ETH_P_IP);

	if (unlikely(!fits || !duet_short_way(rt))) {
		skb->ignore_df = 1;
		skb->dev = dst->dev;
		nf_ct_set(skb, NULL, IP_CT_UNTRACKED);
		ip_local_out(dd->net, skb->sk, skb);
		return DUET_VERDICT_ENCAP;
	}

	ip_send_check(iph);
	skb->dev = dst->dev;
	n = ip_neigh_for_gw(rt, skb, &is_v6gw);
	verdict = DUET_VERDICT_DROP_NO_ROUTE;
	if (IS_ERR(n))
		goto drop;
	neigh_output(n, skb, is_v6gw);
	return DUET_VERDICT_ENCAP;

drop:
	kfree_skb(skb);
	return verdict;
}
