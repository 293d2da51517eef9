// SPDX-License-Identifier: GPL-2.0
/*
 * Encapsulation: the outer header, then straight to the neighbour.
 *
 * The short way (no fragmentation, no IPsec, no lwtunnel, not to ourselves)
 * skips netfilter's output hooks like a switch does; everything else goes by
 * ip_local_out() or ip6_local_out().
 */
#include "xmit.h"
#include "compat.h"
#include "drop.h"
#include "icmp.h"
#include "neigh.h"
#include "transmit.h"

#include <linux/ip.h>
#include <linux/jhash.h>
#include <linux/ipv6.h>
#include <linux/netfilter.h>
#include <net/ip6_route.h>
#include <net/ip_tunnels.h>
#include <net/ndisc.h>
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

/* duet_too_big - the packet doesn't fit in mtu, what the tunnel leaves: is that
 * for the client to hear? If not, the outer packet is fragmented: for an IPv4
 * packet without DF, unless the policy is to refuse or an outer IPv4 header
 * can't say the length, and for an IPv6 packet that is no larger than every path
 * must carry (RFC 2473, 7.1).
 */
static noinline bool duet_too_big(struct duet_dev *dd,
				  const struct duet_rules *rules,
				  const struct duet_tunnel *tunnel,
				  struct sk_buff *skb,
				  const struct duet_tuple *t, unsigned int mtu)
{
	if (t->family == 4) {
		if (!(ip_hdr(skb)->frag_off & htons(IP_DF)) &&
		    rules->policy.oversize == DUET_OVERSIZE_FRAGMENT &&
		    (tunnel->v6 || skb_is_gso(skb) ||
		     skb->len <= IP_MAX_MTU - sizeof(struct iphdr)))
			return false;
	} else {
		mtu = max_t(unsigned int, mtu, IPV6_MIN_MTU);
		if (duet_fits(skb, mtu))
			return false;
	}
	duet_icmp_too_big(dd, skb, t, mtu);
	return true;
}

/* duet_ready - offloads told of the outer header, and everything that was the
 * packet's on its way in gone
 */
static __always_inline bool duet_ready(const struct duet_dev *dd,
				       struct sk_buff *skb,
				       struct dst_entry *dst, int gso_type,
				       u8 proto)
{
	u32 mark = READ_ONCE(dd->mark);

	if (unlikely(mark))
		skb->mark = mark;
	if (unlikely(skb_is_gso(skb) || skb->ip_summed == CHECKSUM_PARTIAL)) {
		if (iptunnel_handle_offloads(skb, gso_type))
			return false;
		skb_set_inner_ipproto(skb, proto);
	} else {
		/* what iptunnel_handle_offloads() comes to for all others */
		skb->ip_summed = CHECKSUM_NONE;
		skb->encapsulation = 0;
	}
	skb->transport_header = skb->network_header;
	skb_dst_drop(skb);
	skb_dst_set_noref(skb, dst);
	nf_reset_ct(skb);
	secpath_reset(skb);
	skb_clear_tstamp(skb);
	skb->ignore_df = 0;
	skb->pkt_type = PACKET_HOST;
#ifdef CONFIG_NET_SWITCHDEV
	/* the switch forwarded what it trapped for us, not what we make of it */
	skb->offload_fwd_mark = 0;
	skb->offload_l3_fwd_mark = 0;
#endif
	skb->dev = dst->dev;
	return true;
}

static bool duet_short_way(const struct dst_entry *dst)
{
	return !dst->lwtstate && !dst_xfrm(dst);
}

/* duet_entropy - of a flow: what paths to its DIP are chosen by. Not the hash that
 * chooses the DIP: flows of one DIP have that in common, and nobody need see it.
 */
static u32 duet_entropy(const struct duet_dev *dd, const struct duet_tuple *t)
{
	u32 src = t->src[0], dst = t->dst[0];

	if (t->family == 6) {
		src ^= t->src[1] ^ t->src[2] ^ t->src[3];
		dst ^= t->dst[1] ^ t->dst[2] ^ t->dst[3];
	}
	return jhash_3words(src, dst ^ t->proto, t->ports, dd->entropy);
}

/* duet_label - RFC 6438; 0 would say that there is none */
static __be32 duet_label(u32 entropy)
{
	return htonl(entropy >> 12 ?: 1);
}

/* duet_output - the packet has its outer header; other: its neighbour is of the
 * other family
 */
static __always_inline void duet_output(struct neighbour *n, struct sk_buff *skb,
					bool other)
{
	if (likely(duet_neigh_header(n, skb, other)))
		duet_transmit(skb, skb->dev);
	else
		n->output(n, skb);
}

/* duet_send4, duet_send6 - with an outer IPv4 or IPv6 header; n: the neighbour, NULL:
 * the long way; inner: protocol number of the inner one, tos: of the outer header
 */
static __always_inline enum duet_verdict
duet_send4(struct duet_dev *dd, struct duet_tunnel *tunnel,
	   struct duet_route *route, struct neighbour *n, struct sk_buff *skb,
	   const struct duet_tuple *t, u8 inner, u8 tos, bool df)
{
	struct iphdr *iph;

	if (unlikely(!duet_ready(dd, skb, route->dst, SKB_GSO_IPXIP4, inner)))
		return DUET_VERDICT_DROP_MEMORY;
	memset(IPCB(skb), 0, sizeof(*IPCB(skb)));
	iph = __skb_push(skb, sizeof(*iph));
	skb_reset_network_header(skb);
	iph->version = 4;
	iph->ihl = 5;
	iph->tos = tos;
	iph->tot_len = htons(skb->len);
	iph->frag_off = df ? htons(IP_DF) : 0;
	iph->ttl = DUET_OUTER_TTL;
	iph->protocol = inner;
	iph->saddr = READ_ONCE(dd->local4);
	if (unlikely(~READ_ONCE(dd->mask4)))
		iph->saddr = duet_source4(dd, duet_entropy(dd, t));
	iph->daddr = tunnel->addr.s6_addr32[3];
	iph->id = 0;
	if (!df) {
		iph->id = htons(route->id + 1);
		route->id += skb_shinfo(skb)->gso_segs ?: 1;
	}
	skb->protocol = htons(ETH_P_IP);

	if (unlikely(!n)) {
		skb->ignore_df = 1;
		nf_ct_set(skb, NULL, IP_CT_UNTRACKED);
		ip_local_out(dd->net, skb->sk, skb);
		return DUET_VERDICT_ENCAP;
	}
	iph->check = 0;
	iph->check = ip_fast_csum(iph, sizeof(*iph) / 4);
	duet_output(n, skb, route->gw_family == AF_INET6);
	return DUET_VERDICT_ENCAP;
}

static __always_inline enum duet_verdict
duet_send6(struct duet_dev *dd, struct duet_tunnel *tunnel,
	   struct duet_route *route, struct neighbour *n, struct sk_buff *skb,
	   const struct duet_tuple *t, u8 inner, u8 tos)
{
	struct ipv6hdr *ip6;

	if (unlikely(!duet_ready(dd, skb, route->dst, SKB_GSO_IPXIP6, inner)))
		return DUET_VERDICT_DROP_MEMORY;
	memset(IP6CB(skb), 0, sizeof(*IP6CB(skb)));
	ip6 = __skb_push(skb, sizeof(*ip6));
	skb_reset_network_header(skb);
	ip6_flow_hdr(ip6, tos, duet_label(duet_entropy(dd, t)));
	ip6->payload_len = htons(skb->len - sizeof(*ip6));
	ip6->nexthdr = inner;
	ip6->hop_limit = DUET_OUTER_TTL;
	ip6->saddr = dd->local6;
	ip6->daddr = tunnel->addr;
	skb->protocol = htons(ETH_P_IPV6);

	if (unlikely(!n)) {
		skb->ignore_df = 1;
		nf_ct_set(skb, NULL, IP_CT_UNTRACKED);
		ip6_local_out(dd->net, skb->sk, skb);
		return DUET_VERDICT_ENCAP;
	}
	duet_output(n, skb, false);
	return DUET_VERDICT_ENCAP;
}

/* duet_xmit - v4: t->family is 4; known when this is compiled */
static __always_inline enum duet_verdict
duet_xmit(struct duet_dev *dd, const struct duet_rules *rules,
	  struct duet_tunnel *tunnel, struct sk_buff *skb,
	  const struct duet_tuple *t, unsigned int how, bool v4)
{
	unsigned int outer = tunnel->v6 ? sizeof(struct ipv6hdr) :
					  sizeof(struct iphdr);
	u8 hop = how & DUET_HOP;
	bool df = true, fits;
	struct neighbour *n = NULL;
	enum duet_verdict verdict;
	struct duet_route *route;
	unsigned int mtu;
	u8 tos;

	verdict = DUET_VERDICT_DROP_TTL;
	if (unlikely((v4 ? ip_hdr(skb)->ttl : ipv6_hdr(skb)->hop_limit) <= hop)) {
		duet_icmp_expired(dd, skb, t);
		goto drop;
	}
	verdict = DUET_VERDICT_DROP_NO_LOCAL;
	if (unlikely(tunnel->v6 ? !duet_local6(dd) :
				  !READ_ONCE(dd->local4))) {
		duet_icmp_unreachable(dd, skb, t);
		goto drop;
	}
	verdict = DUET_VERDICT_DROP_NO_ROUTE;
	route = duet_tunnel_route(dd, tunnel);
	if (unlikely(!route)) {
		duet_icmp_unreachable(dd, skb, t);
		goto drop;
	}

	mtu = duet_route_mtu(route) - outer;
	fits = duet_fits(skb, mtu);
	verdict = DUET_VERDICT_DROP_TOO_BIG;
	if (unlikely(!fits && duet_too_big(dd, rules, tunnel, skb, t, mtu)))
		goto drop;

	/* the short way has a neighbour */
	verdict = DUET_VERDICT_DROP_NO_ROUTE;
	if (likely(fits && duet_short_way(route->dst) &&
		   !duet_route_local(route, tunnel->v6))) {
		n = duet_route_neigh(route, tunnel);
		if (unlikely(!n)) {
			duet_icmp_unreachable(dd, skb, t);
			goto drop;
		}
	}

	/* merged by hardware on a device below that began to after it became a port */
	verdict = DUET_VERDICT_DROP_HEADER;
	if (unlikely(skb_is_gso(skb) && skb_warn_if_lro(skb)))
		goto drop;
	verdict = DUET_VERDICT_DROP_MEMORY;
	if (unlikely(skb_cow_head(skb, LL_RESERVED_SPACE(route->dst->dev) + outer)))
		goto drop;
	if (v4) {
		struct iphdr *iph = ip_hdr(skb);

		if (likely(hop))
			ip_decrease_ttl(iph);
		tos = duet_outer_tos(dd, iph->tos);
		df = iph->frag_off & htons(IP_DF);
	} else {
		struct ipv6hdr *ip6 = ipv6_hdr(skb);

		ip6->hop_limit -= hop;
		tos = duet_outer_tos(dd, ipv6_get_dsfield(ip6));
	}
	if (!IS_ENABLED(CONFIG_IPV6) || likely(!tunnel->v6))
		verdict = duet_send4(dd, tunnel, route, n, skb, t,
				     v4 ? IPPROTO_IPIP : IPPROTO_IPV6, tos,
				     df && fits);
	else
		verdict = duet_send6(dd, tunnel, route, n, skb, t,
				     v4 ? IPPROTO_IPIP : IPPROTO_IPV6, tos);
	if (likely(verdict == DUET_VERDICT_ENCAP))
		return verdict;
drop:
	duet_drop(skb, verdict);
	return verdict;
}

enum duet_verdict __flatten
duet_xmit4(struct duet_dev *dd, const struct duet_rules *rules,
	   struct duet_tunnel *tunnel, struct sk_buff *skb,
	   const struct duet_tuple *t, unsigned int how)
{
	return duet_xmit(dd, rules, tunnel, skb, t, how, true);
}

enum duet_verdict duet_xmit6(struct duet_dev *dd, const struct duet_rules *rules,
			     struct duet_tunnel *tunnel, struct sk_buff *skb,
			     const struct duet_tuple *t, unsigned int how)
{
	return duet_xmit(dd, rules, tunnel, skb, t, how, false);
}
