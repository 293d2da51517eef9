// SPDX-License-Identifier: GPL-2.0
/*
 * Answers: devices, VIPs and their counters as netlink attributes.
 */
#include "netlink_get.h"
#include "flow.h"
#include "port.h"

#include <net/ipv6.h>

#define STATS_SIZE (nla_total_size(0) + 2 * nla_total_size_64bit(8))

int duet_put_addr(struct sk_buff *msg, int type, const struct in6_addr *addr)
{
	if (ipv6_addr_v4mapped(addr))
		return nla_put_in_addr(msg, type, addr->s6_addr32[3]);
	return nla_put_in6_addr(msg, type, addr);
}

static int duet_put_stats(struct sk_buff *msg, int type,
			  const struct duet_stats __percpu *stats)
{
	struct nlattr *nest = nla_nest_start(msg, type);
	struct duet_stats_sum sum = {};

	duet_stats_read(stats, &sum);
	if (!nest ||
	    nla_put_u64_64bit(msg, DUET_A_STATS_PACKETS, sum.packets,
			      DUET_A_STATS_PAD) ||
	    nla_put_u64_64bit(msg, DUET_A_STATS_BYTES, sum.bytes,
			      DUET_A_STATS_PAD))
		return -EMSGSIZE;
	nla_nest_end(msg, nest);
	return 0;
}

static int duet_put_tables(struct sk_buff *msg, int type,
			   const struct duet_tables *t)
{
	struct nlattr *nest = nla_nest_start(msg, type);

	if (!nest || nla_put_u32(msg, DUET_A_TABLE_VIPS, t->vips) ||
	    nla_put_u32(msg, DUET_A_TABLE_RULES, t->rules) ||
	    nla_put_u32(msg, DUET_A_TABLE_MEMBERS, t->members) ||
	    nla_put_u32(msg, DUET_A_TABLE_TUNNELS, t->tunnels) ||
	    nla_put_u32(msg, DUET_A_TABLE_BACKENDS, t->backends))
		return -EMSGSIZE;
	nla_nest_end(msg, nest);
	return 0;
}

static int duet_put_ports(struct sk_buff *msg, struct duet_dev *dd)
{
	struct nlattr *ports = nla_nest_start(msg, DUET_A_PORTS), *nest;
	struct duet_port *port;

	if (!ports)
		return -EMSGSIZE;
	list_for_each_entry(port, &dd->ports, node) {
		nest = nla_nest_start(msg, 1);
		if (!nest ||
		    nla_put_u32(msg, DUET_A_PORT_INDEX, port->dev->ifindex) ||
		    nla_put_string(msg, DUET_A_PORT_NAME, port->name))
			return -EMSGSIZE;
		nla_nest_end(msg, nest);
	}
	nla_nest_end(msg, ports);
	return 0;
}

static int duet_put_verdicts(struct sk_buff *msg, struct duet_dev *dd)
{
	struct nlattr *stats, *verdicts;
	int v;

	stats = nla_nest_start(msg, DUET_A_STATS);
	if (!stats)
		return -EMSGSIZE;
	verdicts = nla_nest_start(msg, DUET_A_DEV_STATS_VERDICTS);
	if (!verdicts)
		return -EMSGSIZE;
	for (v = 0; v < __DUET_VERDICT_MAX; v++)
		if (duet_put_stats(msg, v + 1, &dd->verdicts->v[v]))
			return -EMSGSIZE;
	nla_nest_end(msg, verdicts);
	nla_nest_end(msg, stats);
	return 0;
}

static int duet_put_flows(struct sk_buff *msg, struct duet_dev *dd)
{
	struct nlattr *nest = nla_nest_start(msg, DUET_A_FLOWS);
	const struct duet_flow_config *c = &dd->flow_config;
	struct duet_flow_sum sum;

	duet_flows_sum(dd, &sum);
	if (!nest || nla_put_u32(msg, DUET_A_FLOWS_SIZE, c->max) ||
	    nla_put_u32(msg, DUET_A_FLOWS_RATE, c->rate) ||
	    nla_put_u32(msg, DUET_A_FLOWS_TIMEOUT_NEW, c->timeout_new) ||
	    nla_put_u32(msg, DUET_A_FLOWS_TIMEOUT_TCP, c->timeout_tcp) ||
	    nla_put_u32(msg, DUET_A_FLOWS_TIMEOUT_FIN, c->timeout_fin) ||
	    nla_put_u32(msg, DUET_A_FLOWS_TIMEOUT_OTHER, c->timeout_other) ||
	    nla_put_u32(msg, DUET_A_FLOWS_USED, sum.used) ||
	    nla_put_u64_64bit(msg, DUET_A_FLOWS_BYTES, sum.bytes, DUET_A_FLOWS_PAD) ||
	    nla_put_u64_64bit(msg, DUET_A_FLOWS_HITS, sum.hits, DUET_A_FLOWS_PAD) ||
	    nla_put_u64_64bit(msg, DUET_A_FLOWS_ADDED, sum.added, DUET_A_FLOWS_PAD) ||
	    nla_put_u64_64bit(msg, DUET_A_FLOWS_FULL, sum.full, DUET_A_FLOWS_PAD) ||
	    nla_put_u64_64bit(msg, DUET_A_FLOWS_LIMITED, sum.limited, DUET_A_FLOWS_PAD))
		return -EMSGSIZE;
	nla_nest_end(msg, nest);
	return 0;
}

size_t duet_dev_size(const struct duet_dev *dd)
{
	return 1024 + dd->n_ports * nla_total_size(nla_total_size(4) +
						  nla_total_size(IFNAMSIZ)) +
	       __DUET_VERDICT_MAX * STATS_SIZE;
}

int duet_put_dev(struct sk_buff *msg, struct duet_dev *dd)
{
	if (nla_put_u32(msg, DUET_A_IFINDEX, dd->dev->ifindex) ||
	    nla_put_string(msg, DUET_A_IFNAME, dd->name) ||
	    nla_put_u32(msg, DUET_A_MODE, dd->mode) ||
	    nla_put(msg, DUET_A_KEY, DUET_KEY_LEN, dd->keys[0].bytes) ||
	    nla_put(msg, DUET_A_KEY1, DUET_KEY_LEN, dd->keys[1].bytes) ||
	    nla_put_u64_64bit(msg, DUET_A_GENERATION, dd->generation,
			      DUET_A_PAD) ||
	    (dd->local4 && nla_put_in_addr(msg, DUET_A_LOCAL4, dd->local4)) ||
	    (dd->has_local6 &&
	     nla_put_in6_addr(msg, DUET_A_LOCAL6, &dd->local6)) ||
	    nla_put_u32(msg, DUET_A_KEEPALIVE, dd->keepalive.ms) ||
	    nla_put_u32(msg, DUET_A_LINK, dd->underlay.link) ||
	    nla_put_u32(msg, DUET_A_MARK, dd->underlay.mark) ||
	    nla_put_u8(msg, DUET_A_TOS, dd->underlay.tos) ||
	    nla_put_u8(msg, DUET_A_SPREAD4, dd->underlay.spread4) ||
	    duet_put_tables(msg, DUET_A_LIMITS, &dd->limits) ||
	    duet_put_tables(msg, DUET_A_USED, &dd->used) ||
	    duet_put_ports(msg, dd) || duet_put_verdicts(msg, dd) ||
	    (dd->mode == DUET_MODE_SMUX && duet_put_flows(msg, dd)))
		return -EMSGSIZE;
	return 0;
}

static int duet_put_dip(struct sk_buff *msg, const struct duet_rule *rule,
			const struct duet_set *set,
			const struct duet_set_counts *counts, u32 i, bool stats)
{
	const struct duet_backend *backend = rule->backends[i];
	struct nlattr *nest = nla_nest_start(msg, 1);

	if (!nest ||
	    duet_put_addr(msg, DUET_A_DIP_ADDR, &backend->tunnel->addr) ||
	    nla_put_u16(msg, DUET_A_DIP_WEIGHT, set->dips[i].weight) ||
	    nla_put_u32(msg, DUET_A_DIP_STATE,
			set->dips[i].down) ||
	    nla_put_u32(msg, DUET_A_DIP_BUCKETS, counts->buckets[i]) ||
	    (stats && duet_put_stats(msg, DUET_A_DIP_STATS, backend->stats)))
		return -EMSGSIZE;
	nla_nest_end(msg, nest);
	return 0;
}

/* duet_put_rule - with all DIPs, or with the backend `only` if `one` */
static int duet_put_rule(struct sk_buff *msg, const struct duet_rule *rule,
			 struct duet_set *set, bool one,
			 const struct duet_backend *only, bool stats)
{
	const struct duet_set_counts *counts = duet_set_count(set);
	struct nlattr *nest = nla_nest_start(msg, 1), *dips;
	u32 i;

	if (!counts)
		return -ENOMEM;
	if (!nest ||
	    (rule->match.proto && nla_put_u8(msg, DUET_A_RULE_PROTO, rule->match.proto)) ||
	    (rule->match.port &&
	     (nla_put_u16(msg, DUET_A_RULE_PORT, rule->match.port) ||
	      nla_put_u16(msg, DUET_A_RULE_PORT_LAST, rule->match.port_last))) ||
	    nla_put_u32(msg, DUET_A_RULE_FIELDS, rule->match.fields) ||
	    nla_put_u32(msg, DUET_A_RULE_BUCKETS, set->n_buckets) ||
	    nla_put_u64_64bit(msg, DUET_A_RULE_DIGEST, counts->digest,
			      DUET_A_RULE_PAD) ||
	    (rule->lineup->shared && nla_put_flag(msg, DUET_A_RULE_SHARED)))
		return -EMSGSIZE;
	dips = nla_nest_start(msg, DUET_A_RULE_DIPS);
	if (!dips)
		return -EMSGSIZE;
	for (i = 0; i < set->group->n; i++)
		if ((!one || only == rule->backends[i]) &&
		    duet_put_dip(msg, rule, set, counts, i, stats))
			return -EMSGSIZE;
	nla_nest_end(msg, dips);
	nla_nest_end(msg, nest);
	return 0;
}

size_t duet_vip_size(const struct duet_dev *dd, const struct duet_vip *vip)
{
	const struct duet_rules *rules = duet_rules_locked(dd, vip);
	size_t size = 320;
	u32 i;

	for (i = 0; i < rules->n; i++)
		size += 96 + duet_set_locked(dd, &rules->rule[i])->group->n *
			(nla_total_size(0) + nla_total_size(16) +
			 3 * nla_total_size(4) + STATS_SIZE);
	return size;
}

int duet_put_vip(struct sk_buff *msg, const struct duet_dev *dd,
		 const struct duet_vip *vip, bool stats)
{
	const struct duet_rules *rules = duet_rules_locked(dd, vip);
	struct nlattr *nest, *array;
	int ret;
	u32 i;

	if (nla_put_u32(msg, DUET_A_IFINDEX, dd->dev->ifindex) ||
	    nla_put_u64_64bit(msg, DUET_A_GENERATION, dd->generation, DUET_A_PAD))
		return -EMSGSIZE;
	nest = nla_nest_start(msg, DUET_A_VIP);
	if (!nest || duet_put_addr(msg, DUET_A_VIP_ADDR, &vip->addr) ||
	    nla_put_u32(msg, DUET_A_VIP_KIND, rules->policy.kind) ||
	    nla_put_u32(msg, DUET_A_VIP_FRAGMENTS, rules->policy.fragments) ||
	    nla_put_u32(msg, DUET_A_VIP_OVERSIZE, rules->policy.oversize) ||
	    nla_put_u32(msg, DUET_A_VIP_ALL_DOWN, rules->policy.all_down) ||
	    nla_put_u32(msg, DUET_A_VIP_KEY, rules->policy.key) ||
	    (stats && duet_put_stats(msg, DUET_A_VIP_STATS, vip->stats)))
		return -EMSGSIZE;
	array = nla_nest_start(msg, DUET_A_VIP_RULES);
	if (!array)
		return -EMSGSIZE;
	for (i = 0; i < rules->n; i++) {
		ret = duet_put_rule(msg, &rules->rule[i],
				    duet_set_locked(dd, &rules->rule[i]), false,
				    NULL, stats);
		if (ret)
			return ret;
	}
	nla_nest_end(msg, array);
	nla_nest_end(msg, nest);
	return 0;
}

int duet_put_trace(struct sk_buff *msg, const struct duet_vip *vip,
		   const struct duet_choice *choice, bool has_dip)
{
	struct nlattr *nest, *array;
	int ret;

	nest = nla_nest_start(msg, DUET_A_VIP);
	if (!nest || duet_put_addr(msg, DUET_A_VIP_ADDR, &vip->addr))
		return -EMSGSIZE;
	if (choice->rule) {
		array = nla_nest_start(msg, DUET_A_VIP_RULES);
		if (!array)
			return -EMSGSIZE;
		ret = duet_put_rule(msg, choice->rule, choice->set, true,
				    has_dip ? choice->backend : NULL, false);
		if (ret)
			return ret;
		nla_nest_end(msg, array);
	}
	nla_nest_end(msg, nest);
	return 0;
}

int duet_put_flow(struct sk_buff *msg, const struct duet_flow *flow,
		  const struct in6_addr *flow_dip)
{
	struct in6_addr src, dst;
	struct nlattr *nest;

	duet_tuple_addr(flow->src, flow->family, &src);
	duet_tuple_addr(flow->dst, flow->family, &dst);
	nest = nla_nest_start(msg, DUET_A_FLOW);
	if (!nest || duet_put_addr(msg, DUET_A_FLOW_SRC, &src) ||
	    duet_put_addr(msg, DUET_A_FLOW_DST, &dst) ||
	    nla_put_u8(msg, DUET_A_FLOW_PROTO, flow->proto) ||
	    nla_put_u16(msg, DUET_A_FLOW_SPORT, flow->sport) ||
	    nla_put_u16(msg, DUET_A_FLOW_DPORT, flow->dport) ||
	    nla_put_u8(msg, DUET_A_FLOW_STATE, flow->state == DUET_FLOW_KEPT ?
		       DUET_FLOW_OPEN : flow->state) ||
	    (flow->rank && nla_put_flag(msg, DUET_A_FLOW_KEPT)) ||
	    nla_put_u32(msg, DUET_A_FLOW_IDLE, ((u32)jiffies - flow->used) / HZ))
		return -EMSGSIZE;
	nla_nest_end(msg, nest);
	nest = nla_nest_start(msg, DUET_A_DIP);
	if (!nest || duet_put_addr(msg, DUET_A_DIP_ADDR, flow_dip))
		return -EMSGSIZE;
	nla_nest_end(msg, nest);
	return 0;
}
