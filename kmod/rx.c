// SPDX-License-Identifier: GPL-2.0
/*
 * The way of a packet through a mux: look up the VIP, parse, choose a DIP.
 */
#include "rx.h"
#include "compat.h"
#include "drop.h"
#include "flow.h"
#include "icmp.h"
#include "trace.h"
#include "xmit.h"

#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/skbuff.h>
#include <net/dsfield.h>
#include <net/icmp.h>
#include <net/inet_ecn.h>
#include <net/ip_tunnels.h>

/* duet_choose_kept - an smux: flows stay where they are */
static bool duet_choose_kept(struct duet_dev *dd, struct duet_flows *flows,
			     const struct duet_tuple *t, u32 hash, bool ask,
			     struct duet_choice *choice)
{
	choice->backend = duet_flow_lookup(dd, flows, choice->rule, t, hash,
					   !ask && !(t->flags & DUET_T_ERROR));
	choice->kept = choice->backend;
	return choice->kept;
}

static __always_inline enum duet_verdict
duet_choose_inline(struct duet_dev *dd, struct duet_vip *vip,
		   const struct duet_tuple *t, bool ask,
		   struct duet_choice *choice)
{
	struct duet_rules *rules = rcu_dereference(vip->rules);
	struct duet_flows *flows = rcu_dereference(dd->flows);
	u32 flow_hash = 0;

	choice->rules = rules;
	choice->kept = false;
	choice->rule = NULL;
	if (unlikely(t->flags & DUET_T_FRAGMENT &&
		     rules->policy.fragments == DUET_FRAGMENTS_DROP))
		return DUET_VERDICT_DROP_FRAGMENT;
	choice->rule = duet_rule_match(rules, t);
	if (unlikely(!choice->rule))
		return DUET_VERDICT_DROP_NO_RULE;
	choice->set = rcu_dereference(choice->rule->set);

	if (flows && (!(t->flags & DUET_T_PORTS) ||
		      unlikely(rules->policy.kind == DUET_KIND_TIP)))
		flows = NULL;
	if (flows) {
		flow_hash = duet_flow_hash(flows, t);
		if (duet_choose_kept(dd, flows, t, flow_hash, ask, choice))
			return DUET_VERDICT_ENCAP;
	}
	if (unlikely(!choice->set->table))
		return DUET_VERDICT_DROP_NO_DIP;
	choice->hash = duet_tuple_hash(t, choice->rule->match.fields, rules->key);
	choice->bucket = duet_bucket(choice->hash, choice->set->n_buckets);
	choice->backend = choice->rule->backends[choice->set->table[choice->bucket]];
	if (flows && !ask && !(t->flags & DUET_T_ERROR))
		duet_flow_bind(flows, t, flow_hash, choice->backend);
	return DUET_VERDICT_ENCAP;
}

/* duet_own_verdict - of a packet whose source is our local address: what we
 * encapsulated ourselves, back again, or a martian of the wire. ENCAP: the
 * machine's own packet.
 */
static enum duet_verdict duet_own_verdict(const struct duet_tuple *t,
					  unsigned int how)
{
	if (t->proto == IPPROTO_IPIP || t->proto == IPPROTO_IPV6)
		return DUET_VERDICT_DROP_LOOP;
	return how & DUET_WIRE ? DUET_VERDICT_DROP_MARTIAN : DUET_VERDICT_ENCAP;
}

enum duet_verdict duet_choose(struct duet_dev *dd, struct duet_vip *vip,
			      const struct duet_tuple *t, bool ask,
			      struct duet_choice *choice)
{
	enum duet_verdict verdict = DUET_VERDICT_ENCAP;
	struct in6_addr src;

	/* the packet would not have come so far */
	duet_tuple_addr(t->src, t->family, &src);
	if (t->family == 4 ? duet_martian4(t->src[0], t->dst[0]) :
			     duet_martian6(t->src, t->dst))
		verdict = DUET_VERDICT_DROP_MARTIAN;
	else if (t->family == 4 ? duet_is_local4(dd, src.s6_addr32[3]) :
				  duet_is_local6(dd, &src))
		verdict = duet_own_verdict(t, DUET_WIRE);
	if (verdict == DUET_VERDICT_ENCAP)
		return duet_choose_inline(dd, vip, t, ask, choice);
	choice->rules = rcu_dereference(vip->rules);
	choice->rule = NULL;
	return verdict;
}

/* duet_parse - the flow of the packet at skb->data, pulling what that needs */
static __always_inline enum duet_verdict
duet_parse(struct sk_buff *skb, bool v6, struct duet_view *view,
	   struct duet_tuple *t)
{
	enum duet_verdict verdict;

	view->gso = skb_is_gso(skb);
	for (;;) {
		view->data = skb->data;
		view->linear = skb_headlen(skb);
		view->len = skb->len;
		verdict = v6 ? duet_parse6(view, t) : duet_parse4(view, t);
		if (likely(verdict == DUET_VERDICT_ENCAP || !view->want))
			return verdict;
		if (!pskb_may_pull(skb, view->want))
			return DUET_VERDICT_DROP_MEMORY;
	}
}

/* duet_take - parse and choose; the packet is sent or dropped. False: the
 * VIP's policy is to leave it to the routing table, and but for padding it is
 * untouched. how: DUET_HOP, DUET_WIRE.
 */
static __always_inline bool duet_take(struct duet_dev *dd, struct duet_vip *vip,
				      struct sk_buff *skb, unsigned int how,
				      bool v6)
{
	/* the parser and the chooser write all that is read */
	struct duet_choice choice __uninitialized;
	struct duet_tuple tuple __uninitialized;
	struct duet_view view __uninitialized;
	enum duet_verdict verdict;

	verdict = duet_parse(skb, v6, &view, &tuple);
	if (unlikely(verdict != DUET_VERDICT_ENCAP))
		goto drop;
	if (unlikely(duet_martian(skb->data, v6))) {
		verdict = DUET_VERDICT_DROP_MARTIAN;
		goto drop;
	}
	if (unlikely(v6 ? duet_is_local6(dd, (struct in6_addr *)(skb->data + 8)) :
			  duet_is_local4(dd, *(__be32 *)(skb->data + 12)))) {
		verdict = duet_own_verdict(&tuple, how);
		if (verdict != DUET_VERDICT_ENCAP)
			goto drop;
	}
	/* what is quoted to the client has no padding either */
	if (unlikely(skb->len > view.len && pskb_trim_rcsum(skb, view.len))) {
		verdict = DUET_VERDICT_DROP_MEMORY;
		goto drop;
	}
	verdict = duet_choose_inline(dd, vip, &tuple, false, &choice);
	if (unlikely(verdict != DUET_VERDICT_ENCAP)) {
		if (verdict != DUET_VERDICT_DROP_NO_DIP)
			goto drop;
		if (choice.rules->policy.all_down == DUET_ALL_DOWN_PASS)
			return false;
		if (choice.rules->policy.all_down == DUET_ALL_DOWN_REJECT)
			duet_icmp_unreachable(dd, skb, &tuple);
		goto drop;
	}

	skb_orphan(skb);
	skb_reset_network_header(skb);
	skb_set_transport_header(skb, view.l4);
	verdict = v6 ? duet_xmit6(dd, choice.rules, choice.backend->tunnel, skb,
				  &tuple, how) :
		       duet_xmit4(dd, choice.rules, choice.backend->tunnel, skb,
				  &tuple, how);
	duet_count(dd, verdict, view.len);
	trace_duet_packet(dd->dev, verdict, &vip->addr,
			  &choice.backend->tunnel->addr, view.len);
	if (likely(verdict == DUET_VERDICT_ENCAP)) {
		duet_stats_add(this_cpu_ptr(vip->stats), view.len);
		duet_stats_add(this_cpu_ptr(choice.backend->stats), view.len);
	}
	return true;

drop:
	duet_count(dd, verdict, view.len);
	trace_duet_packet(dd->dev, verdict, &vip->addr, NULL, view.len);
	duet_drop(skb, verdict);
	return true;
}

/* One copy of the way of a packet for each family. */
static noinline bool duet_take4(struct duet_dev *dd, struct duet_vip *vip,
				struct sk_buff *skb, unsigned int how)
{
	return duet_take(dd, vip, skb, how, false);
}

static noinline bool duet_take6(struct duet_dev *dd, struct duet_vip *vip,
				struct sk_buff *skb, unsigned int how)
{
	return duet_take(dd, vip, skb, how, true);
}

/* duet_tip_outer - the outer header of a packet to a TIP: its length, next
 * protocol and ECN; 0 with *verdict if it isn't one
 */
static unsigned int duet_tip_outer(struct duet_dev *dd, struct sk_buff *skb,
				   bool v6, u8 *proto, u8 *ecn,
				   enum duet_verdict *verdict)
{
	struct duet_tuple tuple __uninitialized;
	struct duet_view view __uninitialized;
	bool own;

	*verdict = duet_parse(skb, v6, &view, &tuple);
	if (*verdict != DUET_VERDICT_ENCAP)
		return 0;
	*verdict = DUET_VERDICT_DROP_MARTIAN;
	if (duet_martian(skb->data, v6))
		return 0;
	*verdict = DUET_VERDICT_DROP_FRAGMENT;
	if (tuple.flags & DUET_T_FRAGMENT)
		return 0;
	*proto = tuple.proto;
	*verdict = DUET_VERDICT_DROP_NO_TUNNEL;
	if (*proto != IPPROTO_IPIP && *proto != IPPROTO_IPV6)
		return 0;
	own = v6 ? duet_is_local6(dd, (struct in6_addr *)(skb->data + 8)) :
		   duet_is_local4(dd, cpu_to_be32(tuple.src[0]));
	*verdict = DUET_VERDICT_DROP_LOOP;
	if (own)
		return 0;
	*ecn = v6 ? duet_tclass6(skb->data) : skb->data[1];
	*verdict = DUET_VERDICT_DROP_HEADER;
	if (skb->len > view.len && pskb_trim_rcsum(skb, view.len))
		return 0;
	return view.l4;
}

/* duet_tip_ecn - what the outer header's ECN says goes into the inner one */
static bool duet_tip_ecn(struct sk_buff *skb, bool v6, u8 outer)
{
	u8 inner = v6 ? duet_tclass6(skb->data) : skb->data[1];
	int ecn = duet_ecn_decap(outer, inner);

	if (ecn < 0)
		return false;
	if (ecn == (inner & INET_ECN_MASK))
		return true;
	if (skb_ensure_writable(skb, v6 ? DUET_IP6_HEADER : DUET_IP4_HEADER))
		return false;
	if (v6)
		ipv6_change_dsfield((struct ipv6hdr *)skb->data,
				    (u8)~INET_ECN_MASK, ecn);
	else
		ipv4_change_dsfield((struct iphdr *)skb->data,
				    (u8)~INET_ECN_MASK, ecn);
	return true;
}

/* duet_take_tip - a packet that another mux sent to a TIP of ours: its outer
 * header goes, and what is inside is balanced at the second level
 */
static noinline void duet_take_tip(struct duet_dev *dd, struct duet_vip *vip,
				   struct sk_buff *skb, bool v6)
{
	enum duet_verdict verdict;
	unsigned int outer, len = skb->len;
	u8 proto, ecn;
	bool inner6;

	outer = duet_tip_outer(dd, skb, v6, &proto, &ecn, &verdict);
	if (!outer)
		goto drop;
	inner6 = proto == IPPROTO_IPV6;
	verdict = DUET_VERDICT_DROP_HEADER;
	if (!pskb_may_pull(skb, outer + (inner6 ? DUET_IP6_HEADER : DUET_IP4_HEADER)))
		goto drop;
	skb_pull_rcsum(skb, outer);
	skb_reset_network_header(skb);
	skb->protocol = inner6 ? htons(ETH_P_IPV6) : htons(ETH_P_IP);
	verdict = DUET_VERDICT_DROP_MEMORY;
	if (iptunnel_pull_offloads(skb))
		goto drop;
	verdict = DUET_VERDICT_DROP_HEADER;
	if (skb->data[0] >> 4 != (inner6 ? 6 : 4) || !duet_tip_ecn(skb, inner6, ecn))
		goto drop;
	/* whatever way the outer packet came, the inner one meets a hop */
	if (inner6 ? duet_take6(dd, vip, skb, DUET_HOP) :
		     duet_take4(dd, vip, skb, DUET_HOP))
		return;
	verdict = DUET_VERDICT_DROP_NO_DIP;
drop:
	duet_count(dd, verdict, len);
	trace_duet_packet(dd->dev, verdict, &vip->addr, NULL, len);
	duet_drop(skb, verdict);
}

static bool duet_is_tip(const struct duet_vip *vip)
{
	return rcu_dereference(vip->rules)->policy.kind == DUET_KIND_TIP;
}

/* duet_rx_odd - a packet for a VIP that isn't ours alone, or one for a TIP */
static noinline bool duet_rx_odd(struct duet_dev *dd, struct duet_vip *vip,
				 struct sk_buff *skb, bool v6)
{
	struct sk_buff *own = skb;

	if (skb_shared(skb)) {
		own = skb_clone(skb, GFP_ATOMIC);
		if (!own) {
			duet_count(dd, DUET_VERDICT_DROP_MEMORY, skb->len);
			duet_drop(skb, DUET_VERDICT_DROP_MEMORY);
			return true;
		}
	}
	if (duet_is_tip(vip)) {
		duet_take_tip(dd, vip, own, v6);
	} else if (!(v6 ? duet_take6(dd, vip, own, DUET_HOP | DUET_WIRE) :
			  duet_take4(dd, vip, own, DUET_HOP | DUET_WIRE))) {
		if (own != skb)
			kfree_skb(own);
		return false;
	}
	if (own != skb)
		consume_skb(skb);
	return true;
}

unsigned int duet_rx_vip(struct duet_dev *dd, struct duet_vip *vip,
			 struct sk_buff *skb, bool v6)
{
	bool taken;

	if (unlikely(skb_shared(skb) || duet_is_tip(vip)))
		taken = duet_rx_odd(dd, vip, skb, v6);
	else
		taken = v6 ? duet_take6(dd, vip, skb, DUET_HOP | DUET_WIRE) :
			     duet_take4(dd, vip, skb, DUET_HOP | DUET_WIRE);
	if (likely(taken))
		return NF_STOLEN;
	duet_count(dd, DUET_VERDICT_PASS, skb->len);
	return NF_ACCEPT;
}

unsigned int duet_rx_other(struct duet_dev *dd, struct sk_buff *skb, bool v6)
{
	unsigned int header = v6 ? DUET_IP6_HEADER : DUET_IP4_HEADER;
	struct duet_vip *vip;

	/* a shared one can't be pulled */
	if (skb_headlen(skb) >= header ||
	    (!skb_shared(skb) && pskb_may_pull(skb, header))) {
		vip = v6 ? duet_vip_lookup6(dd, &((struct ipv6hdr *)skb->data)->daddr) :
			   duet_vip_lookup4(dd, ((struct iphdr *)skb->data)->daddr);
		if (vip)
			return duet_rx_vip(dd, vip, skb, v6);
		if (duet_icmp_is_outer(dd, skb, v6) && duet_icmp_outer(dd, skb, v6))
			return NF_STOLEN;
	}
	duet_count(dd, DUET_VERDICT_PASS, skb->len);
	return NF_ACCEPT;
}

/* duet_route_vip - the VIP of a packet routed into the device */
static struct duet_vip *duet_route_vip(struct duet_dev *dd, struct sk_buff *skb)
{
	if (skb->protocol == htons(ETH_P_IP) &&
	    pskb_may_pull(skb, sizeof(struct iphdr)))
		return duet_vip_lookup4(dd, ((struct iphdr *)skb->data)->daddr);
	if (skb->protocol == htons(ETH_P_IPV6) &&
	    pskb_may_pull(skb, sizeof(struct ipv6hdr)))
		return duet_vip_lookup6(dd, &((struct ipv6hdr *)skb->data)->daddr);
	return NULL;
}

void duet_rx_route(struct duet_dev *dd, struct sk_buff *skb)
{
	struct duet_vip *vip = duet_route_vip(dd, skb);
	bool v6 = skb->protocol == htons(ETH_P_IPV6);

	if (vip && duet_is_tip(vip)) {
		duet_take_tip(dd, vip, skb, v6);
		return;
	}
	/* the stack was the hop, or this machine is where the packet begins */
	if (vip && (v6 ? duet_take6(dd, vip, skb, 0) : duet_take4(dd, vip, skb, 0)))
		return;
	/* nobody behind us takes it: a route without a VIP, or with no DIP up.
	 * skb->cb is the queueing discipline's, so never icmp_send(), which
	 * reads IP options there.
	 */
	duet_count(dd, vip ? DUET_VERDICT_DROP_NO_DIP : DUET_VERDICT_PASS, skb->len);
	if (skb->protocol == htons(ETH_P_IP))
		icmp_ndo_send(skb, ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, 0);
	else if (v6 && ipv6_mod_enabled())
		icmpv6_ndo_send(skb, ICMPV6_DEST_UNREACH, ICMPV6_ADDR_UNREACH, 0);
	duet_drop(skb, vip ? DUET_VERDICT_DROP_NO_DIP : DUET_VERDICT_PASS);
}
