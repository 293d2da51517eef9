/* SPDX-License-Identifier: GPL-2.0 */
/*
 * VIPs and their rules (the paper's host and ACL tables).
 *
 * A packet reads vip->rules and rule->set under rcu_read_lock(). Replacing a
 * VIP publishes a new rules object, so a packet meets the old VIP or the new
 * one; a change of DIP states publishes new sets one by one.
 */
#ifndef DUET_VIP_H
#define DUET_VIP_H

#include "set.h"

struct duet_rule {
	struct duet_set __rcu *set;
	u16 port, port_last;		/* 0: any */
	u8 proto;			/* 0: any */
	u8 fields;			/* enum duet_fields */
};

struct duet_rules {
	struct rcu_head rcu;
	u32 n;
	/* The default rule (any protocol, any port) is the last one, if there
	 * is one; before it those of a protocol with any port, first those
	 * with a port: the first that matches is the one.
	 */
	struct duet_rule rule[];
};

struct duet_vip {
	struct hlist_node node;		/* in duet_dev.vips, RCU */
	__be32 addr4;
	struct duet_rules __rcu *rules;
	struct duet_stats __percpu *stats;
	struct in6_addr addr;		/* IPv4 mapped */
	struct rcu_head rcu;
};

/* What netlink parsed, checked for everything but the device's own state. */
struct duet_rule_config {
	u16 port, port_last;
	u8 proto;
	u8 fields;
	u32 n_dips;
	struct duet_dip *dips;		/* sorted, in duet_vip_config.dips */
};

struct duet_vip_config {
	struct in6_addr addr;
	u32 n_rules;
	struct duet_rule_config rules[DUET_VIP_RULES_MAX];
	struct duet_dip dips[DUET_VIP_DIPS_MAX];
};

/* A flow as the data path sees it, addresses and ports in host order. */
struct duet_flow4 {
	u32 src, dst;
	u16 sport, dport;
	u8 proto;
	bool ports;	/* has ports: else sport is an ICMP id or 0 */
};

static inline u32 duet_vip_hash4(__be32 addr)
{
	return ((__force u32)addr * 0x9e3779b1u) >> (32 - DUET_VIP_HASH_BITS);
}

/* duet_vip_lookup4 - RCU */
static inline struct duet_vip *duet_vip_lookup4(const struct duet_dev *dd,
						__be32 addr)
{
	struct duet_vip *vip;

	hlist_for_each_entry_rcu(vip, &dd->vips[duet_vip_hash4(addr)], node)
		if (vip->addr4 == addr)
			return vip;
	return NULL;
}

static inline bool duet_rule_matches(const struct duet_rule *rule,
				     const struct duet_flow4 *flow)
{
	if (rule->proto && rule->proto != flow->proto)
		return false;
	return !rule->port || (flow->ports && flow->dport >= rule->port &&
			       flow->dport <= rule->port_last);
}

/* duet_rule_match - the rule that takes the flow, or NULL; RCU */
static inline struct duet_rule *duet_rule_match(struct duet_rules *rules,
						const struct duet_flow4 *flow)
{
	u32 i;

	for (i = 0; i < rules->n; i++)
		if (duet_rule_matches(&rules->rule[i], flow))
			return &rules->rule[i];
	return NULL;
}

/* duet_rule_hash4 - the hash of a flow under a rule's choice of fields */
static inline u32 duet_rule_hash4(const struct duet_rule *rule,
				  const struct duet_flow4 *f, u32 seed)
{
	switch (rule->fields) {
	case DUET_FIELDS_SRC:
		return duet_hash_v4(f->src, f->dst, 0, 0, seed);
	case DUET_FIELDS_SRC_PORT:
		return duet_hash_v4(f->src, f->dst, (u32)f->sport << 16,
				    f->proto, seed);
	default:
		return duet_hash_v4(f->src, f->dst,
				    (u32)f->sport << 16 | f->dport, f->proto,
				    seed);
	}
}

/* All below: duet_net->lock held. */

/* duet_vip_set - create or replace. Sets
 * *changed if the device's configuration is another now.
 */
int duet_vip_set(struct duet_dev *dd, const struct duet_vip_config *config,
		 bool *changed, struct netlink_ext_ack *extack);
int duet_vip_del(struct duet_dev *dd, const struct in6_addr *addr,
		 struct netlink_ext_ack *extack);
void duet_vip_flush(struct duet_dev *dd);
struct duet_vip *duet_vip_find(struct duet_dev *dd, const struct in6_addr *addr);

/* duet_dip_set - state of a DIP in one VIP (vip not NULL) or in all */
int duet_dip_set(struct duet_dev *dd, const struct in6_addr *vip,
		 const struct in6_addr *dip, enum duet_dip_state state,
		 bool *changed, struct netlink_ext_ack *extack);

/* Rules of a VIP for writers and dumps, under the lock. */
#define duet_rules_locked(vip) rcu_dereference_protected((vip)->rules, 1)
#define duet_set_locked(rule) rcu_dereference_protected((rule)->set, 1)

#endif
