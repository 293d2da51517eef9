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

#include <duet/packet.h>
#include "backend.h"
#include "set.h"

#include <net/ipv6.h>

struct duet_rule {
	struct duet_match match;
	u32 id;				/* stays while the VIP has the match */
	struct duet_set __rcu *set;
	struct duet_set *next;		/* lock: prepared, to be published */
	u32 next_at;			/* lock: the DIP that is another in next */
	struct duet_lineup *lineup;	/* reference held */
	struct duet_backend **backends;	/* its: in the order of the set's DIPs */
};

struct duet_policy {
	u8 kind;			/* enum duet_vip_kind */
	u8 fragments;			/* enum duet_fragments */
	u8 oversize;			/* enum duet_oversize */
	u8 all_down;			/* enum duet_all_down */
	u8 key;				/* which of duet_dev.keys */
};

struct duet_rules {
	struct rcu_head rcu;
	struct duet_policy policy;
	const struct duet_key *key;	/* of policy.key, of the kind's level */
	u32 n, room;
	/* The default rule (any protocol, any port) is the last one, if there
	 * is one; before it those of a protocol with any port, first those
	 * with a port: the first that matches is the one.
	 */
	struct duet_rule rule[];
};

struct duet_vip {
	struct hlist_node node;		/* in duet_dev.vips, RCU */
	__be32 addr4;			/* 0: an IPv6 VIP */
	u32 stats_slot;
	struct duet_rules __rcu *rules;
	struct duet_stats __percpu *stats;
	struct in6_addr addr;		/* IPv4 mapped */
	struct rcu_head rcu;
};

extern struct kmem_cache *duet_vip_cache;

/* What netlink parsed, checked for everything but the device's own state. */
struct duet_rule_config {
	struct duet_match match;
	u32 n_dips;
	struct duet_dip *dips;		/* sorted, in duet_vip_config.dips */
};

struct duet_vip_config {
	struct in6_addr addr;
	struct duet_policy policy;
	u32 n_rules;
	u32 rules_room, dips_room;
	struct duet_rule_config *rules;	/* behind this */
	struct duet_dip *dips;		/* behind them */
};

static inline struct hlist_head *duet_vip_head(const struct duet_dev *dd,
					       u32 word)
{
	return &dd->vips[(word * 0x9e3779b1u) >> (32 - DUET_VIP_HASH_BITS)];
}

/* duet_vip_lookup4, duet_vip_lookup6 - RCU */
static inline struct duet_vip *duet_vip_lookup4(const struct duet_dev *dd,
						__be32 addr)
{
	struct duet_vip *vip;

	hlist_for_each_entry_rcu(vip, duet_vip_head(dd, (__force u32)addr), node)
		if (vip->addr4 == addr)
			return vip;
	return NULL;
}

static inline struct duet_vip *duet_vip_lookup6(const struct duet_dev *dd,
						const struct in6_addr *addr)
{
	struct duet_vip *vip;

	hlist_for_each_entry_rcu(vip, duet_vip_head(dd, ipv6_addr_hash(addr)), node)
		if (!vip->addr4 && ipv6_addr_equal(&vip->addr, addr))
			return vip;
	return NULL;
}

/* duet_tuple_addr - an address of a tuple */
static inline void duet_tuple_addr(const u32 word[4], u8 family,
				   struct in6_addr *addr)
{
	int i;

	if (family == 4) {
		ipv6_addr_set_v4mapped(cpu_to_be32(word[0]), addr);
		return;
	}
	for (i = 0; i < 4; i++)
		addr->s6_addr32[i] = cpu_to_be32(word[i]);
}

/* duet_rule_match - the rule that takes the flow, or NULL; RCU */
static inline struct duet_rule *duet_rule_match(struct duet_rules *rules,
						const struct duet_tuple *t)
{
	u32 i;

	for (i = 0; i < rules->n; i++)
		if (duet_match(&rules->rule[i].match, t))
			return &rules->rule[i];
	return NULL;
}

/* All below: duet_net->lock held. */

/* duet_vip_set - create or replace. Sets *changed if the device's configuration
 * is another now.
 */
int duet_vip_set(struct duet_dev *dd, const struct duet_vip_config *config,
		 bool *changed, struct netlink_ext_ack *extack);
int duet_vip_del(struct duet_dev *dd, const struct in6_addr *addr,
		 struct netlink_ext_ack *extack);
void duet_vip_flush(struct duet_dev *dd);
struct duet_vip *duet_vip_find(struct duet_dev *dd, const struct in6_addr *addr);

/* duet_vips_use_key - does any VIP choose by this one of duet_dev.keys? */
bool duet_vips_use_key(struct duet_dev *dd, unsigned int key);

/* duet_dip_set - state of a DIP in one VIP (vip not NULL) or in all */
int duet_dip_set(struct duet_dev *dd, const struct in6_addr *vip,
		 const struct in6_addr *dip, enum duet_dip_state state,
		 bool *changed, struct netlink_ext_ack *extack);

/* duet_addr_text - for sentences; IPv4 as such */
#define DUET_ADDR_TEXT	48
const char *duet_addr_text(char text[DUET_ADDR_TEXT], const struct in6_addr *addr);

/* Rules of a VIP for writers and dumps, under the lock. */
#define duet_rules_locked(dd, vip) rcu_dereference_protected((vip)->rules, duet_locked(dd))
#define duet_set_locked(dd, rule) rcu_dereference_protected((rule)->set, duet_locked(dd))

#endif
