// SPDX-License-Identifier: GPL-2.0
/*
 * The way of a packet through a mux: parse, look up the VIP, choose a DIP.
 */
#include "rx.h"
#include "icmp.h"
#include "xmit.h"

#include <linux/icmp.h>
#include <linux/ip.h>
#include <linux/skbuff.h>
#include <net/icmp.h>
#include <net/ip.h>

enum duet_verdict duet_choose4(const struct duet_dev *dd, struct duet_vip *vip,
			       const struct duet_flow4 *flow,
			       struct duet_choice *choice)
{
	choice->rule = duet_rule_match(rcu_dereference(vip->rules), flow);
	if (unlikely(!choice->rule))
		return DUET_VERDICT_DROP_NO_RULE;
	choice->set = rcu_dereference(choice->rule->set);
	if (unlikely(!choice->set->table))
		return DUET_VERDICT_DROP_NO_DIP;
	choice->hash = duet_rule_hash4(choice->rule, flow, READ_ONCE(dd->seed));
	choice->bucket = duet_bucket(choice->hash, choice->set->n_buckets);
	choice->member = choice->set->table[choice->bucket];
	return DUET_VERDICT_ENCAP;
}

/* duet_flow4_ports - ports of the packet at offset; false: cut short */
static bool duet_flow4_ports(struct sk_buff *skb, unsigned int offset,
			     struct duet_flow4 *flow)
{
	const __be16 *ports;

	if (!pskb_may_pull(skb, offset + 4))
		return false;
	ports = (const __be16 *)(skb->data + offset);
	flow->sport = be16_to_cpu(ports[0]);
	flow->dport = be16_to_cpu(ports[1]);
	flow->ports = true;
	return true;
}

/* duet_parse4 - flow of the packet at skb->data, whose IP header is pulled and
 * checked. An ICMP error to the VIP becomes the flow it quotes, turned round.
 */
static enum duet_verdict duet_parse4(struct sk_buff *skb, unsigned int ihl,
				     struct duet_flow4 *flow)
{
	const struct iphdr *iph = (const struct iphdr *)skb->data;

	flow->src = be32_to_cpu(iph->saddr);
	flow->dst = be32_to_cpu(iph->daddr);
	flow->proto = iph->protocol;
	flow->sport = 0;
	flow->dport = 0;
	flow->ports = false;

	if (unlikely(ip_is_fragment(iph)))
		return DUET_VERDICT_DROP_FRAGMENT;

	switch (iph->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP:
		if (unlikely(!duet_flow4_ports(skb, ihl, flow)))
			return DUET_VERDICT_DROP_HEADER;
		return DUET_VERDICT_ENCAP;
	case IPPROTO_ICMP:
		return duet_icmp_parse4(skb, ihl, flow);
	}
	return DUET_VERDICT_ENCAP;
}

/* duet_rx4 - a packet of vip; consumed */
static void duet_rx4(struct duet_dev *dd, struct duet_vip *vip,
		     struct sk_buff *skb)
{
	const struct iphdr *iph = (const struct iphdr *)skb->data;
	unsigned int len = ntohs(iph->tot_len);
	unsigned int ihl = iph->ihl * 4;
	const struct duet_member *member;
	struct duet_choice choice;
	enum duet_verdict verdict;
	struct duet_flow4 flow;

	/* GRO packets above 64 KiB have tot_len 0 (BIG TCP) */
	if (unlikely(!len && skb_is_gso(skb)))
		len = skb->len;

	verdict = DUET_VERDICT_DROP_HEADER;
	if (unlikely(iph->ihl < 5 || len < ihl || skb->len < len))
		goto drop;
	if (unlikely(!pskb_may_pull(skb, ihl)))
		goto drop;
	if (unlikely(ip_fast_csum(skb->data, ihl / 4)))
		goto drop;
	if (unlikely(skb->len > len && pskb_trim_rcsum(skb, len)))
		goto drop;
	skb_set_transport_header(skb, ihl);

	verdict = duet_parse4(skb, ihl, &flow);
	if (unlikely(verdict != DUET_VERDICT_ENCAP))
		goto drop;
	verdict = duet_choose4(dd, vip, &flow, &choice);
	if (unlikely(verdict != DUET_VERDICT_ENCAP))
		goto drop;

	member = &choice.set->members[choice.member];
	verdict = duet_xmit4(dd, member->tunnel, skb);
	duet_count(dd, verdict, len);
	if (likely(verdict == DUET_VERDICT_ENCAP)) {
		duet_stats_add(this_cpu_ptr(vip->stats), len);
		duet_stats_add(this_cpu_ptr(member->stats), len);
	}
	return;

drop:
	duet_count(dd, verdict, len);
	kfree_skb(skb);
}

bool duet_rx_port(struct duet_dev *dd, struct sk_buff *skb)
{
	const struct iphdr *iph;
	struct duet_vip *vip;

	if (unlikely(!pskb_may_pull(skb, sizeof(*iph))))
		return false;
	iph = (const struct iphdr *)skb->data;
	vip = iph->version == 4 ? duet_vip_lookup4(dd, iph->daddr) : NULL;
	if (!vip) {
		duet_count(dd, DUET_VERDICT_PASS, skb->len);
		return false;
	}
	skb = skb_share_check(skb, GFP_ATOMIC);
	if (unlikely(!skb)) {
		duet_count(dd, DUET_VERDICT_DROP_MEMORY, 0);
		return true;
	}
	skb_reset_network_header(skb);
	skb_orphan(skb);
	duet_rx4(dd, vip, skb);
	return true;
}

void duet_rx_route(struct duet_dev *dd, struct sk_buff *skb)
{
	struct duet_vip *vip = NULL;

	if (skb->protocol == htons(ETH_P_IP) &&
	    pskb_may_pull(skb, sizeof(struct iphdr)))
		vip = duet_vip_lookup4(dd, ((struct iphdr *)skb->data)->daddr);
	if (!vip) {
		duet_count(dd, DUET_VERDICT_PASS, skb->len);
		/* nobody behind us takes it: a route without a VIP */
		icmp_send(skb, ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, 0);
		kfree_skb(skb);
		return;
	}
	duet_rx4(dd, vip, skb);
}
