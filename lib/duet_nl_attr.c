// SPDX-License-Identifier: GPL-2.0
/*
 * Attributes of the "duet" family, written and read. Attributes that a newer
 * kernel adds are skipped.
 */
#include "duet_nl_priv.h"

#include <duet/limits.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <stdlib.h>
#include <string.h>

void nl_put_addr(struct nlmsghdr *nlh, uint16_t type, const struct addr *a)
{
	size_t len;
	const void *raw = addr_raw(a, &len);

	mnl_attr_put(nlh, type, len, raw);
}

void nl_put_vip_addr(struct nlmsghdr *nlh, const struct addr *vip)
{
	struct nlattr *nest = mnl_attr_nest_start(nlh, DUET_A_VIP);

	nl_put_addr(nlh, DUET_A_VIP_ADDR, vip);
	mnl_attr_nest_end(nlh, nest);
}

static void put_rule(struct nlmsghdr *nlh, const struct vip_rule *rule)
{
	struct nlattr *nest = mnl_attr_nest_start(nlh, 1), *dips, *one;
	unsigned int i;

	if (rule->proto)
		mnl_attr_put_u8(nlh, DUET_A_RULE_PROTO, rule->proto);
	if (rule->port) {
		mnl_attr_put_u16(nlh, DUET_A_RULE_PORT, rule->port);
		mnl_attr_put_u16(nlh, DUET_A_RULE_PORT_LAST, rule->port_last);
	}
	mnl_attr_put_u32(nlh, DUET_A_RULE_FIELDS, rule->fields);
	dips = mnl_attr_nest_start(nlh, DUET_A_RULE_DIPS);
	for (i = 0; i < rule->n_dips; i++) {
		one = mnl_attr_nest_start(nlh, 1);
		nl_put_addr(nlh, DUET_A_DIP_ADDR, &rule->dips[i].addr);
		mnl_attr_put_u16(nlh, DUET_A_DIP_WEIGHT, rule->dips[i].weight);
		mnl_attr_put_u32(nlh, DUET_A_DIP_STATE, rule->dips[i].state);
		mnl_attr_nest_end(nlh, one);
	}
	mnl_attr_nest_end(nlh, dips);
	mnl_attr_nest_end(nlh, nest);
}

/* A VIP of the kernel's limits fits the buffer and an attribute's 64 KiB */
int nl_put_vip(struct nlmsghdr *nlh, const struct vip *vip, struct err *e)
{
	struct nlattr *nest, *rules;
	unsigned int i, dips = 0;
	char text[ADDR_STRLEN];

	for (i = 0; i < vip->n_rules; i++)
		dips += vip->rules[i].n_dips;
	if (vip->n_rules > DUET_VIP_RULES_MAX || dips > DUET_VIP_DIPS_MAX)
		return err_set(e, -E2BIG, "VIP %s: %u rules with %u DIPs, and a VIP has at most %u with %u",
			       addr_str(&vip->addr, text), vip->n_rules, dips,
			       DUET_VIP_RULES_MAX, DUET_VIP_DIPS_MAX);
	nest = mnl_attr_nest_start(nlh, DUET_A_VIP);
	nl_put_addr(nlh, DUET_A_VIP_ADDR, &vip->addr);
	mnl_attr_put_u32(nlh, DUET_A_VIP_KIND, vip->policy.kind);
	mnl_attr_put_u32(nlh, DUET_A_VIP_FRAGMENTS, vip->policy.fragments);
	mnl_attr_put_u32(nlh, DUET_A_VIP_OVERSIZE, vip->policy.oversize);
	mnl_attr_put_u32(nlh, DUET_A_VIP_ALL_DOWN, vip->policy.all_down);
	mnl_attr_put_u32(nlh, DUET_A_VIP_KEY, vip->policy.key);
	rules = mnl_attr_nest_start(nlh, DUET_A_VIP_RULES);
	for (i = 0; i < vip->n_rules; i++)
		put_rule(nlh, &vip->rules[i]);
	mnl_attr_nest_end(nlh, rules);
	mnl_attr_nest_end(nlh, nest);
	return 0;
}

void nl_put_dip_state(struct nlmsghdr *nlh, const struct addr *vip, const struct addr *dip,
		      enum duet_dip_state state)
{
	struct nlattr *nest;

	if (vip)
		nl_put_vip_addr(nlh, vip);
	nest = mnl_attr_nest_start(nlh, DUET_A_DIP);
	nl_put_addr(nlh, DUET_A_DIP_ADDR, dip);
	mnl_attr_put_u32(nlh, DUET_A_DIP_STATE, state);
	mnl_attr_nest_end(nlh, nest);
}

int nl_get_addr(const struct nlattr *attr, struct addr *a)
{
	return addr_from_raw(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr), a);
}

static void get_stats(const struct nlattr *nest, struct stats *stats)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest) {
		if (mnl_attr_get_type(attr) == DUET_A_STATS_PACKETS)
			stats->packets = mnl_attr_get_u64(attr);
		else if (mnl_attr_get_type(attr) == DUET_A_STATS_BYTES)
			stats->bytes = mnl_attr_get_u64(attr);
	}
}

static void get_tables(const struct nlattr *nest, struct duet_tables *t)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest) {
		switch (mnl_attr_get_type(attr)) {
		case DUET_A_TABLE_VIPS:
			t->vips = mnl_attr_get_u32(attr);
			break;
		case DUET_A_TABLE_RULES:
			t->rules = mnl_attr_get_u32(attr);
			break;
		case DUET_A_TABLE_MEMBERS:
			t->members = mnl_attr_get_u32(attr);
			break;
		case DUET_A_TABLE_TUNNELS:
			t->tunnels = mnl_attr_get_u32(attr);
			break;
		case DUET_A_TABLE_BACKENDS:
			t->backends = mnl_attr_get_u32(attr);
			break;
		}
	}
}

static int port_cmp(const void *a, const void *b)
{
	return strcmp(((const struct duet_port *)a)->name, ((const struct duet_port *)b)->name);
}

static int get_ports(const struct nlattr *array, struct duet_dev *dev)
{
	const struct nlattr *nest, *attr;
	unsigned int n = 0;

	mnl_attr_for_each_nested(nest, array)
		n++;
	dev->ports = calloc(n ?: 1, sizeof(*dev->ports));
	if (!dev->ports)
		return -ENOMEM;
	mnl_attr_for_each_nested(nest, array) {
		struct duet_port *port = &dev->ports[dev->n_ports++];

		mnl_attr_for_each_nested(attr, nest) {
			if (mnl_attr_get_type(attr) == DUET_A_PORT_INDEX)
				port->ifindex = mnl_attr_get_u32(attr);
			else if (mnl_attr_get_type(attr) == DUET_A_PORT_NAME)
				snprintf(port->name, sizeof(port->name), "%s", mnl_attr_get_str(attr));
		}
	}
	qsort(dev->ports, dev->n_ports, sizeof(*dev->ports), port_cmp);
	return 0;
}

static void get_verdicts(const struct nlattr *nest, struct duet_dev *dev)
{
	const struct nlattr *array, *attr;

	mnl_attr_for_each_nested(array, nest) {
		if (mnl_attr_get_type(array) != DUET_A_DEV_STATS_VERDICTS)
			continue;
		mnl_attr_for_each_nested(attr, array) {
			unsigned int v = mnl_attr_get_type(attr) - 1;

			if (v < __DUET_VERDICT_MAX)
				get_stats(attr, &dev->verdicts[v]);
		}
	}
}

static void get_key(const struct nlattr *attr, struct secret *key)
{
	if (mnl_attr_get_payload_len(attr) == sizeof(*key))
		memcpy(key, mnl_attr_get_payload(attr), sizeof(*key));
}

int nl_parse_dev(const struct nlmsghdr *nlh, struct duet_dev *dev)
{
	const struct nlattr *attr;
	int ret = 0;

	memset(dev, 0, sizeof(*dev));
	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		switch (mnl_attr_get_type(attr)) {
		case DUET_A_IFINDEX:
			dev->ifindex = mnl_attr_get_u32(attr);
			break;
		case DUET_A_IFNAME:
			snprintf(dev->name, sizeof(dev->name), "%s", mnl_attr_get_str(attr));
			break;
		case DUET_A_MODE:
			dev->mode = mnl_attr_get_u32(attr);
			break;
		case DUET_A_KEY:
			get_key(attr, &dev->keys[0]);
			break;
		case DUET_A_KEY1:
			get_key(attr, &dev->keys[1]);
			break;
		case DUET_A_LOCAL4:
			ret = nl_get_addr(attr, &dev->local4);
			break;
		case DUET_A_LOCAL6:
			ret = nl_get_addr(attr, &dev->local6);
			break;
		case DUET_A_GENERATION:
			dev->generation = mnl_attr_get_u64(attr);
			break;
		case DUET_A_LIMITS:
			get_tables(attr, &dev->limits);
			break;
		case DUET_A_USED:
			get_tables(attr, &dev->used);
			break;
		case DUET_A_PORTS:
			ret = get_ports(attr, dev);
			break;
		case DUET_A_STATS:
			get_verdicts(attr, dev);
			break;
		case DUET_A_FLOWS:
			nl_get_flows(attr, &dev->flows);
			break;
		case DUET_A_KEEPALIVE:
			dev->keepalive_ms = mnl_attr_get_u32(attr);
			break;
		case DUET_A_LINK:
			dev->link = mnl_attr_get_u32(attr);
			break;
		case DUET_A_MARK:
			dev->mark = mnl_attr_get_u32(attr);
			break;
		case DUET_A_TOS:
			dev->tos = mnl_attr_get_u8(attr);
			break;
		case DUET_A_SPREAD4:
			dev->spread4 = mnl_attr_get_u8(attr);
			break;
		}
		if (ret) {
			duet_dev_release(dev);
			return ret;
		}
	}
	return 0;
}

void duet_dev_release(struct duet_dev *dev)
{
	free(dev->ports);
	dev->ports = NULL;
	dev->n_ports = 0;
}

static int get_dip(const struct nlattr *nest, struct vip_dip *dip)
{
	const struct nlattr *attr;
	int ret = 0;

	mnl_attr_for_each_nested(attr, nest) {
		switch (mnl_attr_get_type(attr)) {
		case DUET_A_DIP_ADDR:
			ret = nl_get_addr(attr, &dip->addr);
			break;
		case DUET_A_DIP_WEIGHT:
			dip->weight = mnl_attr_get_u16(attr);
			break;
		case DUET_A_DIP_STATE:
			dip->state = mnl_attr_get_u32(attr);
			break;
		case DUET_A_DIP_BUCKETS:
			dip->buckets = mnl_attr_get_u32(attr);
			break;
		case DUET_A_DIP_STATS:
			get_stats(attr, &dip->stats);
			break;
		}
		if (ret)
			return ret;
	}
	return 0;
}

static unsigned int count(const struct nlattr *array)
{
	const struct nlattr *attr;
	unsigned int n = 0;

	mnl_attr_for_each_nested(attr, array)
		n++;
	return n;
}

static int get_rule(const struct nlattr *nest, struct vip_rule *rule)
{
	const struct nlattr *attr, *dip;
	int ret;

	mnl_attr_for_each_nested(attr, nest) {
		switch (mnl_attr_get_type(attr)) {
		case DUET_A_RULE_PROTO:
			rule->proto = mnl_attr_get_u8(attr);
			break;
		case DUET_A_RULE_PORT:
			rule->port = mnl_attr_get_u16(attr);
			break;
		case DUET_A_RULE_PORT_LAST:
			rule->port_last = mnl_attr_get_u16(attr);
			break;
		case DUET_A_RULE_FIELDS:
			rule->fields = mnl_attr_get_u32(attr);
			break;
		case DUET_A_RULE_BUCKETS:
			rule->buckets = mnl_attr_get_u32(attr);
			break;
		case DUET_A_RULE_DIGEST:
			rule->digest = mnl_attr_get_u64(attr);
			break;
		case DUET_A_RULE_SHARED:
			rule->shared = true;
			break;
		case DUET_A_RULE_DIPS:
			rule->dips = calloc(count(attr) ?: 1, sizeof(*rule->dips));
			if (!rule->dips)
				return -ENOMEM;
			mnl_attr_for_each_nested(dip, attr) {
				ret = get_dip(dip, &rule->dips[rule->n_dips++]);
				if (ret)
					return ret;
			}
			break;
		}
	}
	if (rule->port && !rule->port_last)
		rule->port_last = rule->port;
	return 0;
}

static int get_vip(const struct nlattr *nest, struct vip **out)
{
	struct vip *vip = calloc(1, sizeof(*vip));
	const struct nlattr *attr, *rule;
	int ret = 0;

	if (!vip)
		return -ENOMEM;
	mnl_attr_for_each_nested(attr, nest) {
		switch (mnl_attr_get_type(attr)) {
		case DUET_A_VIP_ADDR:
			ret = nl_get_addr(attr, &vip->addr);
			break;
		case DUET_A_VIP_KIND:
			vip->policy.kind = mnl_attr_get_u32(attr);
			break;
		case DUET_A_VIP_FRAGMENTS:
			vip->policy.fragments = mnl_attr_get_u32(attr);
			break;
		case DUET_A_VIP_OVERSIZE:
			vip->policy.oversize = mnl_attr_get_u32(attr);
			break;
		case DUET_A_VIP_ALL_DOWN:
			vip->policy.all_down = mnl_attr_get_u32(attr);
			break;
		case DUET_A_VIP_KEY:
			vip->policy.key = mnl_attr_get_u32(attr);
			break;
		case DUET_A_VIP_STATS:
			get_stats(attr, &vip->stats);
			break;
		case DUET_A_VIP_RULES:
			vip->rules = calloc(count(attr) ?: 1, sizeof(*vip->rules));
			if (!vip->rules) {
				ret = -ENOMEM;
				break;
			}
			mnl_attr_for_each_nested(rule, attr) {
				ret = get_rule(rule, &vip->rules[vip->n_rules++]);
				if (ret)
					break;
			}
			break;
		}
		if (ret) {
			vip_free(vip);
			return ret;
		}
	}
	*out = vip;
	return 0;
}

int nl_parse_vip_msg(const struct nlmsghdr *nlh, struct vip **vip, uint64_t *generation)
{
	const struct nlattr *attr;
	struct vip *found = NULL;
	int ret;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(attr) == DUET_A_GENERATION) {
			*generation = mnl_attr_get_u64(attr);
		} else if (mnl_attr_get_type(attr) == DUET_A_VIP && !found) {
			ret = get_vip(attr, &found);
			if (ret)
				return ret;
		}
	}
	if (!found)
		return -EPROTO;
	*vip = found;
	return 0;
}

int nl_parse_trace(const struct nlmsghdr *nlh, struct duet_trace *trace)
{
	const struct nlattr *attr;
	bool hashed = false;
	int ret;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		switch (mnl_attr_get_type(attr)) {
		case DUET_A_VIP:
			if (trace->vip)
				return -EPROTO;
			ret = get_vip(attr, &trace->vip);
			if (ret)
				return ret;
			break;
		case DUET_A_HASH:
			trace->hash = mnl_attr_get_u32(attr);
			hashed = true;
			break;
		case DUET_A_BUCKET:
			trace->bucket = mnl_attr_get_u32(attr);
			break;
		case DUET_A_VERDICT:
			trace->verdict = mnl_attr_get_u32(attr);
			break;
		}
	}
	trace->kept = trace->verdict == DUET_VERDICT_ENCAP && !hashed;
	return 0;
}

int nl_parse_event(const struct nlmsghdr *nlh, struct duet_event *ev)
{
	const struct genlmsghdr *genl = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;
	struct vip_dip dip = {};
	int ret = 0;

	ev->cmd = genl->cmd;
	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		switch (mnl_attr_get_type(attr)) {
		case DUET_A_IFINDEX:
			ev->ifindex = mnl_attr_get_u32(attr);
			break;
		case DUET_A_IFNAME:
			snprintf(ev->dev, sizeof(ev->dev), "%s", mnl_attr_get_str(attr));
			break;
		case DUET_A_GENERATION:
			ev->generation = mnl_attr_get_u64(attr);
			break;
		case DUET_A_DELETED:
			ev->deleted = true;
			break;
		case DUET_A_TABLE:
			ev->table = mnl_attr_get_u32(attr);
			break;
		case DUET_A_VIP:
			if (!ev->vip)
				ret = get_vip(attr, &ev->vip);
			if (!ret)
				ev->vip_addr = ev->vip->addr;
			break;
		case DUET_A_DIP:
			ret = get_dip(attr, &dip);
			ev->dip = dip.addr;
			ev->state = dip.state;
			break;
		}
		if (ret) {
			vip_free(ev->vip);
			ev->vip = NULL;
			return ret;
		}
	}
	return 0;
}
