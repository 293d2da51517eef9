// SPDX-License-Identifier: GPL-2.0
/*
 * ICMP of a mux.
 *
 * The kernel's icmp_send() wants a route on the packet, which one taken at
 * ingress doesn't have, and picks its own source; so "too big" is built here,
 * with the VIP as source like the DIP would have sent it.
 */
#include "icmp.h"

#include <linux/icmp.h>
#include <linux/ip.h>
#include <net/icmp.h>
#include <net/ip.h>
#include <net/route.h>

/* RFC 1812: as much of the packet as fits in 576 bytes with our headers */
#define DUET_ICMP_MAX	576

static bool duet_icmp_is_error(u8 type)
{
	switch (type) {
	case ICMP_DEST_UNREACH:
	case ICMP_SOURCE_QUENCH:
	case ICMP_REDIRECT:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETERPROB:
		return true;
	}
	return false;
}

/* duet_icmp_quoted4 - the quoted packet went VIP -> client; RFC 792 promises
 * its header and eight bytes
 */
static enum duet_verdict duet_icmp_quoted4(struct sk_buff *skb, unsigned int at,
					   struct duet_flow4 *flow)
{
	const struct icmphdr *echo;
	const struct iphdr *iph;
	const __be16 *ports;
	unsigned int ihl;

	if (!pskb_may_pull(skb, at + sizeof(*iph)))
		return DUET_VERDICT_DROP_HEADER;
	iph = (const struct iphdr *)(skb->data + at);
	ihl = iph->ihl * 4;
	if (iph->version != 4 || iph->ihl < 5 ||
	    be32_to_cpu(iph->saddr) != flow->dst)
		return DUET_VERDICT_DROP_HEADER;
	if (ip_is_fragment(iph))
		return DUET_VERDICT_DROP_FRAGMENT;
	if (!pskb_may_pull(skb, at + ihl + 8))
		return DUET_VERDICT_DROP_HEADER;
	iph = (const struct iphdr *)(skb->data + at);

	flow->src = be32_to_cpu(iph->daddr);
	flow->proto = iph->protocol;
	switch (iph->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP:
		ports = (const __be16 *)(skb->data + at + ihl);
		flow->sport = be16_to_cpu(ports[1]);
		flow->dport = be16_to_cpu(ports[0]);
		flow->ports = true;
		break;
	case IPPROTO_ICMP:
		echo = (const struct icmphdr *)(skb->data + at + ihl);
		if (echo->type != ICMP_ECHO && echo->type != ICMP_ECHOREPLY)
			return DUET_VERDICT_DROP_HEADER;
		flow->sport = be16_to_cpu(echo->un.echo.id);
		break;
	}
	return DUET_VERDICT_ENCAP;
}

enum duet_verdict duet_icmp_parse4(struct sk_buff *skb, unsigned int ihl,
				   struct duet_flow4 *flow)
{
	const struct icmphdr *icmp;

	if (!pskb_may_pull(skb, ihl + sizeof(*icmp)))
		return DUET_VERDICT_DROP_HEADER;
	icmp = (const struct icmphdr *)(skb->data + ihl);
	if (icmp->type == ICMP_ECHO || icmp->type == ICMP_ECHOREPLY)
		flow->sport = be16_to_cpu(icmp->un.echo.id);
	else if (duet_icmp_is_error(icmp->type))
		return duet_icmp_quoted4(skb, ihl + sizeof(*icmp), flow);
	return DUET_VERDICT_ENCAP;
}

void duet_icmp_too_big4(struct duet_dev *dd, struct sk_buff *skb,
			unsigned int mtu)
{
	const struct iphdr *inner = (const struct iphdr *)skb->data;
	struct flowi4 fl = {
		.flowi4_proto = IPPROTO_ICMP,
		.daddr = inner->saddr,
	};
	unsigned int quote, len;
	struct icmphdr *icmp;
	struct sk_buff *msg;
	struct iphdr *iph;
	struct rtable *rt;
	void *quoted;

	/* no error about an error, nor to nobody (RFC 1122, 3.2.2) */
	if (inner->protocol == IPPROTO_ICMP) {
		const u8 *type = skb_header_pointer(skb, inner->ihl * 4, 1, &len);

		if (!type || duet_icmp_is_error(*type))
			return;
	}
	if (ipv4_is_multicast(inner->saddr) || ipv4_is_lbcast(inner->saddr) ||
	    ipv4_is_zeronet(inner->saddr) || ipv4_is_loopback(inner->saddr))
		return;
	if (!icmp_global_allow(dd->net))
		return;
	rt = ip_route_output_key(dd->net, &fl);
	if (IS_ERR(rt))
		return;

	quote = min_t(unsigned int, skb->len,
		      DUET_ICMP_MAX - sizeof(*iph) - sizeof(*icmp));
	len = sizeof(*iph) + sizeof(*icmp) + quote;
	msg = alloc_skb(LL_RESERVED_SPACE(rt->dst.dev) + len, GFP_ATOMIC);
	if (!msg)
		goto put_route;
	skb_reserve(msg, LL_RESERVED_SPACE(rt->dst.dev));
	skb_reset_network_header(msg);
	iph = skb_put_zero(msg, sizeof(*iph));
	skb_set_transport_header(msg, sizeof(*iph));
	icmp = skb_put_zero(msg, sizeof(*icmp));
	quoted = skb_put(msg, quote);
	if (skb_copy_bits(skb, 0, quoted, quote)) {
		kfree_skb(msg);
		goto put_route;
	}

	icmp->type = ICMP_DEST_UNREACH;
	icmp->code = ICMP_FRAG_NEEDED;
	icmp->un.frag.mtu = htons(mtu);
	icmp->checksum = ip_compute_csum(icmp, sizeof(*icmp) + quote);

	iph->version = 4;
	iph->ihl = 5;
	iph->tos = (inner->tos & IPTOS_TOS_MASK) | IPTOS_PREC_INTERNETCONTROL;
	iph->ttl = DUET_OUTER_TTL;
	iph->protocol = IPPROTO_ICMP;
	iph->saddr = inner->daddr;
	iph->daddr = inner->saddr;
	__ip_select_ident(dd->net, iph, 1);
	msg->protocol = htons(ETH_P_IP);
	skb_dst_set(msg, &rt->dst);
	ip_local_out(dd->net, NULL, msg);	/* length, checksum */
	return;

put_route:
	ip_rt_put(rt);
}
