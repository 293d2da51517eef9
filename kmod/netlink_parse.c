// SPDX-License-Identifier: GPL-2.0
/*
 * Requests, parsed once into config structs, so that the rest of the module
 * never sees an attribute. Every refusal has its sentence.
 */
#include "netlink_parse.h"
#include "compat.h"

#include <duet/address.h>
#include <linux/sort.h>
#include <net/ipv6.h>

/* Addresses are 4 or 16 bytes: the policy bounds, duet_parse_addr() decides. */
#define DUET_NLA_ADDR	{ .type = NLA_BINARY, .len = 16 }

const struct nla_policy duet_dip_policy[DUET_A_DIP_MAX + 1] = {
	[DUET_A_DIP_ADDR]   = DUET_NLA_ADDR,
	[DUET_A_DIP_WEIGHT] = { .type = NLA_U16 },
	[DUET_A_DIP_STATE]  = NLA_POLICY_MAX(NLA_U32, DUET_DIP_DRAIN),
};

static const struct nla_policy duet_rule_policy[DUET_A_RULE_MAX + 1] = {
	[DUET_A_RULE_PROTO]	= NLA_POLICY_MIN(NLA_U8, 1),
	[DUET_A_RULE_PORT]	= NLA_POLICY_MIN(NLA_U16, 1),
	[DUET_A_RULE_PORT_LAST] = NLA_POLICY_MIN(NLA_U16, 1),
	[DUET_A_RULE_FIELDS]	= NLA_POLICY_MAX(NLA_U32, DUET_FIELDS_SRC),
	[DUET_A_RULE_DIPS]	= NLA_POLICY_NESTED_ARRAY(duet_dip_policy),
};

const struct nla_policy duet_vip_policy[DUET_A_VIP_MAX + 1] = {
	[DUET_A_VIP_ADDR]  = DUET_NLA_ADDR,
	[DUET_A_VIP_RULES] = NLA_POLICY_NESTED_ARRAY(duet_rule_policy),
	[DUET_A_VIP_KEY]       = NLA_POLICY_MAX(NLA_U32, DUET_KEYS - 1),
	[DUET_A_VIP_KIND]      = NLA_POLICY_MAX(NLA_U32, DUET_KIND_TIP),
	[DUET_A_VIP_FRAGMENTS] = NLA_POLICY_MAX(NLA_U32, DUET_FRAGMENTS_HASH),
	[DUET_A_VIP_OVERSIZE]  = NLA_POLICY_MAX(NLA_U32, DUET_OVERSIZE_REFUSE),
	[DUET_A_VIP_ALL_DOWN]  = NLA_POLICY_MAX(NLA_U32, DUET_ALL_DOWN_PASS),
};

#define DUET_FLOW_TIMEOUT NLA_POLICY_MIN(NLA_U32, 1)

const struct nla_policy duet_flows_policy[DUET_A_FLOWS_MAX + 1] = {
	[DUET_A_FLOWS_SIZE]	     = { .type = NLA_U32 },
	[DUET_A_FLOWS_RATE]	     = { .type = NLA_U32 },
	[DUET_A_FLOWS_TIMEOUT_NEW]   = DUET_FLOW_TIMEOUT,
	[DUET_A_FLOWS_TIMEOUT_TCP]   = DUET_FLOW_TIMEOUT,
	[DUET_A_FLOWS_TIMEOUT_FIN]   = DUET_FLOW_TIMEOUT,
	[DUET_A_FLOWS_TIMEOUT_OTHER] = DUET_FLOW_TIMEOUT,
};

const struct nla_policy duet_table_policy[DUET_A_TABLE_MAX + 1] = {
	[DUET_A_TABLE_VIPS]    = { .type = NLA_U32 },
	[DUET_A_TABLE_RULES]   = { .type = NLA_U32 },
	[DUET_A_TABLE_MEMBERS] = { .type = NLA_U32 },
	[DUET_A_TABLE_TUNNELS] = { .type = NLA_U32 },
	[DUET_A_TABLE_BACKENDS] = { .type = NLA_U32 },
};

const struct nla_policy duet_flow_policy[DUET_A_FLOW_MAX + 1] = {
	[DUET_A_FLOW_SRC]   = DUET_NLA_ADDR,
	[DUET_A_FLOW_DST]   = DUET_NLA_ADDR,
	[DUET_A_FLOW_PROTO] = { .type = NLA_U8 },
	[DUET_A_FLOW_SPORT] = { .type = NLA_U16 },
	[DUET_A_FLOW_DPORT] = { .type = NLA_U16 },
};

/* duet_has_ipv6 - nothing of IPv6 is configured where the kernel has none: its
 * routing tables aren't there, and the data path doesn't ask
 */
static bool duet_has_ipv6(const struct nlattr *attr, const char *what,
			  struct netlink_ext_ack *extack)
{
	if (ipv6_mod_enabled())
		return true;
	DUET_EXTACK_FMT(extack, "%s: IPv6 is off in this kernel (CONFIG_IPV6, ipv6.disable=1)",
			what);
	NL_SET_BAD_ATTR(extack, attr);
	return false;
}

int duet_parse_addr(const struct nlattr *attr, const char *what,
		    struct in6_addr *addr, struct netlink_ext_ack *extack)
{
	char text[DUET_ADDR_TEXT];
	const char *class;

	if (!attr) {
		DUET_EXTACK_FMT(extack, "%s: no address", what);
		return -EINVAL;
	}
	if (nla_len(attr) == 4) {
		ipv6_addr_set_v4mapped(nla_get_in_addr(attr), addr);
	} else if (nla_len(attr) == 16) {
		if (!duet_has_ipv6(attr, what, extack))
			return -EAFNOSUPPORT;
		*addr = nla_get_in6_addr(attr);
		if (ipv6_addr_v4mapped(addr)) {
			DUET_EXTACK_FMT(extack, "%s %pI6c: an IPv4 address is given in 4 bytes",
					what, addr);
			goto err_attr;
		}
	} else {
		DUET_EXTACK_FMT(extack, "%s: an address is 4 or 16 bytes, not %d",
				what, nla_len(attr));
		goto err_attr;
	}
	class = duet_addr_class_text(duet_addr_class(addr->s6_addr));
	if (!class)
		return 0;
	DUET_EXTACK_FMT(extack, "%s %s is %s", what, duet_addr_text(text, addr),
			class);
err_attr:
	NL_SET_BAD_ATTR(extack, attr);
	return -EINVAL;
}

/* duet_parse_vip_addr - DUET_A_VIP_ADDR of the nest DUET_A_VIP */
int duet_parse_vip_addr(const struct nlattr *nest, struct in6_addr *addr,
			struct netlink_ext_ack *extack)
{
	struct nlattr *tb[DUET_A_VIP_MAX + 1];
	int ret;

	if (!nest) {
		NL_SET_ERR_MSG(extack, "no VIP is named");
		return -EINVAL;
	}
	ret = duet_parse_nest(tb, DUET_A_VIP_MAX, nest, extack);
	if (ret)
		return ret;
	return duet_parse_addr(tb[DUET_A_VIP_ADDR], "VIP", addr, extack);
}

static int duet_dip_sort_cmp(const void *a, const void *b)
{
	return duet_dip_cmp(a, b);
}

/* duet_parse_dips - DIPs of one rule into dips, of which room are free */
static int duet_parse_dips(const struct nlattr *array,
			   struct duet_rule_config *rule, u32 room,
			   struct netlink_ext_ack *extack)
{
	struct nlattr *tb[DUET_A_DIP_MAX + 1], *attr;
	char text[DUET_ADDR_TEXT];
	struct in6_addr addr;
	int rem, ret;
	u32 i;

	nla_for_each_nested(attr, array, rem) {
		struct duet_dip *dip = &rule->dips[rule->n_dips];

		if (rule->n_dips == DUET_SET_DIPS_MAX || rule->n_dips == room) {
			DUET_EXTACK_FMT(extack, "too many DIPs: a rule has at most %u, a VIP %u",
					DUET_SET_DIPS_MAX, DUET_VIP_DIPS_MAX);
			return -E2BIG;
		}
		ret = duet_parse_nest(tb, DUET_A_DIP_MAX, attr, extack);
		if (ret)
			return ret;
		ret = duet_parse_addr(tb[DUET_A_DIP_ADDR], "DIP", &addr, extack);
		if (ret)
			return ret;
		memset(dip, 0, sizeof(*dip));
		memcpy(dip->addr, &addr, sizeof(addr));
		dip->weight = tb[DUET_A_DIP_WEIGHT] ?
			      nla_get_u16(tb[DUET_A_DIP_WEIGHT]) : 1;
		if (tb[DUET_A_DIP_STATE])
			dip->down = nla_get_u32(tb[DUET_A_DIP_STATE]);
		rule->n_dips++;
	}
	sort(rule->dips, rule->n_dips, sizeof(*rule->dips), duet_dip_sort_cmp, NULL);
	for (i = 1; i < rule->n_dips; i++) {
		if (!duet_dip_cmp(&rule->dips[i - 1], &rule->dips[i])) {
			memcpy(&addr, rule->dips[i].addr, sizeof(addr));
			DUET_EXTACK_FMT(extack, "DIP %s is given twice",
					duet_addr_text(text, &addr));
			return -EINVAL;
		}
	}
	return 0;
}

static int duet_parse_rule(const struct nlattr *attr,
			   struct duet_rule_config *rule, u32 room,
			   struct netlink_ext_ack *extack)
{
	struct nlattr *tb[DUET_A_RULE_MAX + 1];
	int ret;

	ret = duet_parse_nest(tb, DUET_A_RULE_MAX, attr, extack);
	if (ret)
		return ret;
	if (tb[DUET_A_RULE_PROTO])
		rule->match.proto = nla_get_u8(tb[DUET_A_RULE_PROTO]);
	if (tb[DUET_A_RULE_PORT])
		rule->match.port = nla_get_u16(tb[DUET_A_RULE_PORT]);
	rule->match.port_last = tb[DUET_A_RULE_PORT_LAST] ?
			  nla_get_u16(tb[DUET_A_RULE_PORT_LAST]) : rule->match.port;
	if (tb[DUET_A_RULE_FIELDS])
		rule->match.fields = nla_get_u32(tb[DUET_A_RULE_FIELDS]);

	if (!rule->match.port && rule->match.port_last) {
		NL_SET_ERR_MSG_ATTR(extack, tb[DUET_A_RULE_PORT_LAST],
				    "rule: last port without a first");
		return -EINVAL;
	}
	if (rule->match.port_last < rule->match.port) {
		DUET_EXTACK_FMT(extack, "rule: port range %u-%u runs backwards",
				rule->match.port, rule->match.port_last);
		return -EINVAL;
	}
	if (rule->match.port && rule->match.proto != IPPROTO_TCP &&
	    rule->match.proto != IPPROTO_UDP && rule->match.proto != IPPROTO_SCTP &&
	    rule->match.proto != IPPROTO_UDPLITE && rule->match.proto != IPPROTO_DCCP) {
		NL_SET_ERR_MSG_ATTR(extack, attr,
				    "rule: a port needs a protocol that has ports");
		return -EINVAL;
	}
	if (tb[DUET_A_RULE_DIPS]) {
		ret = duet_parse_dips(tb[DUET_A_RULE_DIPS], rule, room, extack);
		if (ret)
			return ret;
	}
	if (!rule->n_dips) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "rule has no DIPs");
		return -EINVAL;
	}
	return 0;
}

/* Rules in the order the data path tries them: those with a port, then those
 * with a protocol only, the default last.
 */
static int duet_rule_sort_cmp(const void *a, const void *b)
{
	const struct duet_rule_config *x = a, *y = b;

	if (!x->match.port != !y->match.port)
		return x->match.port ? -1 : 1;
	if (!x->match.proto != !y->match.proto)
		return x->match.proto ? -1 : 1;
	if (x->match.proto != y->match.proto)
		return x->match.proto < y->match.proto ? -1 : 1;
	return (int)x->match.port - y->match.port;
}

static int duet_check_overlap(const struct duet_vip_config *config,
			      struct netlink_ext_ack *extack)
{
	u32 i;

	for (i = 1; i < config->n_rules; i++) {
		const struct duet_rule_config *x = &config->rules[i - 1];
		const struct duet_rule_config *y = &config->rules[i];

		if (x->match.proto == y->match.proto && !x->match.port == !y->match.port &&
		    y->match.port <= x->match.port_last) {
			DUET_EXTACK_FMT(extack, "rules overlap: protocol %u, port %u-%u and %u-%u",
					x->match.proto, x->match.port, x->match.port_last,
					y->match.port, y->match.port_last);
			return -EINVAL;
		}
	}
	return 0;
}

static int duet_parse_policy(struct nlattr **tb, struct duet_policy *policy,
			     struct netlink_ext_ack *extack)
{
	if (tb[DUET_A_VIP_KIND])
		policy->kind = nla_get_u32(tb[DUET_A_VIP_KIND]);
	if (tb[DUET_A_VIP_FRAGMENTS])
		policy->fragments = nla_get_u32(tb[DUET_A_VIP_FRAGMENTS]);
	if (tb[DUET_A_VIP_OVERSIZE])
		policy->oversize = nla_get_u32(tb[DUET_A_VIP_OVERSIZE]);
	if (tb[DUET_A_VIP_ALL_DOWN])
		policy->all_down = nla_get_u32(tb[DUET_A_VIP_ALL_DOWN]);
	if (tb[DUET_A_VIP_KEY])
		policy->key = nla_get_u32(tb[DUET_A_VIP_KEY]);
	if (policy->kind == DUET_KIND_TIP &&
	    policy->all_down == DUET_ALL_DOWN_PASS) {
		NL_SET_ERR_MSG_ATTR(extack, tb[DUET_A_VIP_ALL_DOWN],
				    "a TIP can't pass packets on: they have lost their tunnel");
		return -EINVAL;
	}
	return 0;
}

int duet_parse_flows(const struct nlattr *nest, struct duet_flow_config *config,
		     struct netlink_ext_ack *extack)
{
	u32 *value[] = {
		[DUET_A_FLOWS_SIZE]	     = &config->max,
		[DUET_A_FLOWS_RATE]	     = &config->rate,
		[DUET_A_FLOWS_TIMEOUT_NEW]   = &config->timeout_new,
		[DUET_A_FLOWS_TIMEOUT_TCP]   = &config->timeout_tcp,
		[DUET_A_FLOWS_TIMEOUT_FIN]   = &config->timeout_fin,
		[DUET_A_FLOWS_TIMEOUT_OTHER] = &config->timeout_other,
	};
	struct nlattr *tb[DUET_A_FLOWS_MAX + 1];
	int i, ret;

	ret = duet_parse_nest(tb, DUET_A_FLOWS_MAX, nest, extack);
	if (ret)
		return ret;
	for (i = DUET_A_FLOWS_SIZE; i < ARRAY_SIZE(value); i++) {
		if (!tb[i])
			continue;
		*value[i] = nla_get_u32(tb[i]);
		if (i >= DUET_A_FLOWS_TIMEOUT_NEW &&
		    *value[i] > DUET_FLOW_TIMEOUT_MAX) {
			DUET_EXTACK_FMT(extack, "a flow's timeout is at most %u s",
					DUET_FLOW_TIMEOUT_MAX);
			return -EINVAL;
		}
	}
	if (config->max > DUET_FLOWS_MAX) {
		DUET_EXTACK_FMT(extack, "a flow table has at most %u entries",
				DUET_FLOWS_MAX);
		return -EINVAL;
	}
	return 0;
}

struct duet_vip_config *duet_vip_config_new(const struct nlattr *nest)
{
	/* a DIP has an address, a rule a DIP: what is shorter is refused before
	 * room matters, if there is room for one
	 */
	u32 dip_len = nla_total_size(nla_total_size(sizeof(struct in_addr)));
	u32 rule_len = nla_total_size(nla_total_size(dip_len));
	u32 len = nest ? nla_len(nest) : 0;
	u32 rules = clamp_t(u32, len / rule_len, 1, DUET_VIP_RULES_MAX);
	u32 dips = clamp_t(u32, len / dip_len, 1, DUET_VIP_DIPS_MAX);
	struct duet_vip_config *config;

	config = kvmalloc(sizeof(*config) + rules * sizeof(*config->rules) +
			  dips * sizeof(*config->dips), GFP_KERNEL);
	if (!config)
		return NULL;
	config->rules_room = rules;
	config->dips_room = dips;
	config->rules = (void *)(config + 1);
	config->dips = (void *)(config->rules + rules);
	return config;
}

int duet_parse_vip(const struct nlattr *nest,
		   struct duet_vip_config *config,
		   struct netlink_ext_ack *extack)
{
	struct nlattr *tb[DUET_A_VIP_MAX + 1], *attr;
	u32 used = 0;
	int rem, ret;

	config->n_rules = 0;
	memset(&config->policy, 0, sizeof(config->policy));
	if (!nest) {
		NL_SET_ERR_MSG(extack, "no VIP is given");
		return -EINVAL;
	}
	ret = duet_parse_nest(tb, DUET_A_VIP_MAX, nest, extack);
	if (ret)
		return ret;
	ret = duet_parse_addr(tb[DUET_A_VIP_ADDR], "VIP", &config->addr, extack);
	if (ret)
		return ret;
	ret = duet_parse_policy(tb, &config->policy, extack);
	if (ret)
		return ret;
	if (tb[DUET_A_VIP_RULES]) {
		nla_for_each_nested(attr, tb[DUET_A_VIP_RULES], rem) {
			struct duet_rule_config *rule;

			if (config->n_rules == config->rules_room) {
				DUET_EXTACK_FMT(extack, "too many rules: a VIP has at most %u",
						DUET_VIP_RULES_MAX);
				return -E2BIG;
			}
			rule = &config->rules[config->n_rules++];
			memset(rule, 0, sizeof(*rule));
			rule->dips = config->dips + used;
			ret = duet_parse_rule(attr, rule,
					      config->dips_room - used, extack);
			if (ret)
				return ret;
			used += rule->n_dips;
		}
	}
	if (!config->n_rules) {
		NL_SET_ERR_MSG(extack, "VIP has no rules, so no DIPs");
		return -EINVAL;
	}
	sort(config->rules, config->n_rules, sizeof(config->rules[0]),
	     duet_rule_sort_cmp, NULL);
	return duet_check_overlap(config, extack);
}

int duet_parse_limits(struct duet_dev *dd, const struct nlattr *nest,
		      struct duet_tables *limits,
		      struct netlink_ext_ack *extack)
{
	struct {
		u32 *limit, used;
		const char *name;
	} tables[] = {
		[DUET_A_TABLE_VIPS]    = { &limits->vips, dd->used.vips, "host" },
		[DUET_A_TABLE_RULES]   = { &limits->rules, dd->used.rules, "ACL" },
		[DUET_A_TABLE_MEMBERS] = { &limits->members, dd->used.members, "ECMP" },
		[DUET_A_TABLE_TUNNELS] = { &limits->tunnels, dd->used.tunnels, "tunnelling" },
		[DUET_A_TABLE_BACKENDS] = { &limits->backends, dd->used.backends, "backend" },
	};
	struct nlattr *tb[DUET_A_TABLE_MAX + 1];
	int i, ret;

	ret = duet_parse_nest(tb, DUET_A_TABLE_MAX, nest, extack);
	if (ret)
		return ret;
	for (i = DUET_A_TABLE_VIPS; i <= DUET_A_TABLE_MAX; i++) {
		if (!tb[i])
			continue;
		*tables[i].limit = nla_get_u32(tb[i]);
		if (*tables[i].limit && *tables[i].limit < tables[i].used) {
			DUET_EXTACK_FMT(extack,
					"%s table: %u entries are in use, the limit can't be %u",
					tables[i].name, tables[i].used,
					*tables[i].limit);
			return -EBUSY;
		}
	}
	return 0;
}

int duet_parse_flow(const struct nlattr *nest, struct duet_tuple *t,
		    struct netlink_ext_ack *extack)
{
	struct nlattr *tb[DUET_A_FLOW_MAX + 1];
	struct in6_addr src, dst;
	int ret, i;

	if (!nest) {
		NL_SET_ERR_MSG(extack, "no flow is given");
		return -EINVAL;
	}
	ret = duet_parse_nest(tb, DUET_A_FLOW_MAX, nest, extack);
	if (ret)
		return ret;
	memset(t, 0, sizeof(*t));
	ret = duet_parse_addr(tb[DUET_A_FLOW_SRC], "flow's source", &src, extack);
	if (ret)
		return ret;
	ret = duet_parse_addr(tb[DUET_A_FLOW_DST], "flow's destination", &dst, extack);
	if (ret)
		return ret;
	if (ipv6_addr_v4mapped(&src) != ipv6_addr_v4mapped(&dst)) {
		NL_SET_ERR_MSG(extack, "flow: source and destination are of different families");
		return -EINVAL;
	}
	t->family = ipv6_addr_v4mapped(&src) ? 4 : 6;
	for (i = 0; i < 4; i++) {
		int word = t->family == 4 ? 3 : i;

		t->src[i] = be32_to_cpu(src.s6_addr32[word]);
		t->dst[i] = be32_to_cpu(dst.s6_addr32[word]);
	}
	if (!tb[DUET_A_FLOW_PROTO]) {
		NL_SET_ERR_MSG(extack, "flow: no protocol");
		return -EINVAL;
	}
	t->proto = nla_get_u8(tb[DUET_A_FLOW_PROTO]);
	if (tb[DUET_A_FLOW_SPORT])
		t->sport = nla_get_u16(tb[DUET_A_FLOW_SPORT]);
	if (tb[DUET_A_FLOW_DPORT])
		t->dport = nla_get_u16(tb[DUET_A_FLOW_DPORT]);
	if (duet_has_ports(t->proto))
		t->flags = DUET_T_PORTS;
	return 0;
}
