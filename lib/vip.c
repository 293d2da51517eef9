// SPDX-License-Identifier: GPL-2.0
/*
 * VIPs in memory: what two of them have in common, their tables' digests, and
 * the names that JSON and command lines use for the kernel's numbers. The JSON
 * form is in vip_json.c.
 */
#include "vip.h"

#include <duet/limits.h>
#include <duet/table.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void vip_free(struct vip *vip)
{
	unsigned int i;

	if (!vip)
		return;
	for (i = 0; i < vip->n_rules; i++)
		free(vip->rules[i].dips);
	free(vip->rules);
	free(vip);
}

struct vip *vip_dup(const struct vip *vip)
{
	struct vip *copy = malloc(sizeof(*copy));
	unsigned int i;

	if (!copy)
		return NULL;
	*copy = *vip;
	copy->n_rules = 0;
	copy->rules = calloc(vip->n_rules ?: 1, sizeof(*copy->rules));
	if (!copy->rules)
		goto err_free;
	for (i = 0; i < vip->n_rules; i++) {
		const struct vip_rule *from = &vip->rules[i];
		struct vip_rule *to = &copy->rules[i];

		*to = *from;
		to->dips = calloc(from->n_dips ?: 1, sizeof(*to->dips));
		if (!to->dips)
			goto err_free;
		memcpy(to->dips, from->dips, from->n_dips * sizeof(*to->dips));
		copy->n_rules++;
	}
	return copy;

err_free:
	vip_free(copy);
	return NULL;
}

static enum vip_diff rule_compare(const struct vip_rule *a, const struct vip_rule *b)
{
	enum vip_diff diff = VIP_SAME;
	unsigned int i;

	if (a->proto != b->proto || a->port != b->port || a->port_last != b->port_last ||
	    a->fields != b->fields || a->n_dips != b->n_dips)
		return VIP_CONFIG;
	for (i = 0; i < a->n_dips; i++) {
		if (addr_cmp(&a->dips[i].addr, &b->dips[i].addr) ||
		    a->dips[i].weight != b->dips[i].weight)
			return VIP_CONFIG;
		if (a->dips[i].state != b->dips[i].state)
			diff = VIP_STATES;
	}
	return diff;
}

enum vip_diff vip_compare(const struct vip *a, const struct vip *b)
{
	enum vip_diff diff = VIP_SAME, one;
	unsigned int i;

	if (addr_cmp(&a->addr, &b->addr) || a->n_rules != b->n_rules ||
	    a->policy.kind != b->policy.kind || a->policy.fragments != b->policy.fragments ||
	    a->policy.oversize != b->policy.oversize || a->policy.all_down != b->policy.all_down ||
	    a->policy.key != b->policy.key)
		return VIP_CONFIG;
	for (i = 0; i < a->n_rules; i++) {
		one = rule_compare(&a->rules[i], &b->rules[i]);
		if (one > diff)
			diff = one;
	}
	return diff;
}

/* The tables of one rule; -ENOENT: no weight */
static int rule_digest(struct vip_rule *rule)
{
	uint32_t n = rule->n_dips, buckets = duet_table_buckets(n), i, b;
	struct duet_dip *dips = calloc(n ?: 1, sizeof(*dips));
	struct duet_walk *walk = calloc(n ?: 1, sizeof(*walk));
	uint32_t *keys = calloc(n ?: 1, sizeof(*keys));
	uint16_t *base = calloc(2 * (size_t)buckets + 1, sizeof(*base));
	uint16_t *table = base + buckets;
	int ret = -ENOMEM;

	if (!dips || !walk || !keys || !base)
		goto out;
	for (i = 0; i < n; i++) {
		memcpy(dips[i].addr, rule->dips[i].addr.b, sizeof(dips[i].addr));
		dips[i].weight = rule->dips[i].weight;
		dips[i].down = rule->dips[i].state != DUET_DIP_UP;
		keys[i] = duet_dip_key(&dips[i]);
		rule->dips[i].buckets = 0;
	}
	ret = duet_table_fill(dips, n, walk, base, buckets);
	if (ret)
		goto out;
	rule->buckets = buckets;
	rule->digest = 0;
	if (duet_table_down(dips, n, base, table, buckets)) {
		rule->digest = duet_table_digest(table, buckets, keys);
		for (b = 0; b < buckets; b++)
			rule->dips[table[b]].buckets++;
	}
out:
	free(base);
	free(keys);
	free(walk);
	free(dips);
	return ret;
}

int vip_digests(struct vip *vip)
{
	unsigned int i;
	int ret;

	for (i = 0; i < vip->n_rules; i++) {
		ret = rule_digest(&vip->rules[i]);
		if (ret)
			return ret;
	}
	return 0;
}

/* A name is an index into one of these tables */
static const char *const state_names[] = {
	[DUET_DIP_UP] = "up", [DUET_DIP_DOWN] = "down", [DUET_DIP_DRAIN] = "drain",
};

static const char *const field_names[] = {
	[DUET_FIELDS_5TUPLE] = "5tuple", [DUET_FIELDS_SRC_PORT] = "src-port",
	[DUET_FIELDS_SRC] = "src",
};

static const char *const mode_names[] = {
	[DUET_MODE_HMUX] = "hmux", [DUET_MODE_SMUX] = "smux",
};

static const char *const verdict_names[] = {
	[DUET_VERDICT_PASS] = "pass",
	[DUET_VERDICT_ENCAP] = "encap",
	[DUET_VERDICT_DROP_HEADER] = "header",
	[DUET_VERDICT_DROP_NO_RULE] = "no-rule",
	[DUET_VERDICT_DROP_NO_DIP] = "no-dip",
	[DUET_VERDICT_DROP_FRAGMENT] = "fragment",
	[DUET_VERDICT_DROP_TTL] = "ttl",
	[DUET_VERDICT_DROP_TOO_BIG] = "too-big",
	[DUET_VERDICT_DROP_NO_ROUTE] = "no-route",
	[DUET_VERDICT_DROP_NO_LOCAL] = "no-local",
	[DUET_VERDICT_DROP_MEMORY] = "memory",
	[DUET_VERDICT_DROP_LOOP] = "loop",
	[DUET_VERDICT_DROP_NO_TUNNEL] = "no-tunnel",
	[DUET_VERDICT_OUTER_ERROR] = "outer-error",
	[DUET_VERDICT_DROP_MARTIAN] = "martian",
};
_Static_assert(sizeof(verdict_names) / sizeof(verdict_names[0]) == __DUET_VERDICT_MAX,
	       "every verdict has a name");

#define NAME(names, i) ((unsigned int)(i) < sizeof(names) / sizeof(names[0]) ? names[i] : "?")

static int name_parse(const char *const *names, unsigned int n, const char *s)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (!strcmp(names[i], s))
			return i;
	return -EINVAL;
}

#define PARSE(names, s, out) do {						\
	int __i = name_parse(names, sizeof(names) / sizeof(names[0]), s);	\
										\
	if (__i < 0)								\
		return __i;							\
	*(out) = __i;								\
	return 0;								\
} while (0)

const char *dip_state_name(enum duet_dip_state state)
{
	return NAME(state_names, state);
}

int dip_state_parse(const char *s, enum duet_dip_state *state)
{
	PARSE(state_names, s, state);
}

const char *fields_name(enum duet_fields fields)
{
	return NAME(field_names, fields);
}

int fields_parse(const char *s, enum duet_fields *fields)
{
	PARSE(field_names, s, fields);
}

const char *mode_name(enum duet_mode mode)
{
	return NAME(mode_names, mode);
}

int mode_parse(const char *s, enum duet_mode *mode)
{
	PARSE(mode_names, s, mode);
}

const char *verdict_name(enum duet_verdict verdict)
{
	return NAME(verdict_names, verdict);
}

static const struct {
	const char *name;
	uint8_t proto;
} protos[] = {
	{ "any", 0 }, { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP },
	{ "sctp", IPPROTO_SCTP }, { "icmp", IPPROTO_ICMP },
};

const char *proto_name(uint8_t proto, char buf[8])
{
	unsigned int i;

	for (i = 0; i < sizeof(protos) / sizeof(protos[0]); i++)
		if (protos[i].proto == proto)
			return protos[i].name;
	snprintf(buf, 8, "%u", proto);
	return buf;
}

int proto_parse(const char *s, uint8_t *proto)
{
	unsigned long n;
	unsigned int i;
	char *end;

	for (i = 0; i < sizeof(protos) / sizeof(protos[0]); i++) {
		if (!strcmp(protos[i].name, s)) {
			*proto = protos[i].proto;
			return 0;
		}
	}
	if (*s < '0' || *s > '9')
		return -EINVAL;
	n = strtoul(s, &end, 10);
	if (*end || n < 1 || n > 255)
		return -EINVAL;
	*proto = n;
	return 0;
}

const struct vip_rule *vip_rule_at(const struct vip *vip, uint8_t proto, unsigned int port, unsigned int *last)
{
	const struct vip_rule *of_proto = NULL, *any = NULL;
	unsigned int i;

	for (i = 0; i < vip->n_rules; i++) {
		const struct vip_rule *r = &vip->rules[i];

		if (r->proto && r->proto != proto)
			continue;
		if (!r->port) {
			*(r->proto ? &of_proto : &any) = r;
		} else if (port >= r->port && port <= r->port_last) {
			if (*last > r->port_last)
				*last = r->port_last;
			return r;
		} else if (port < r->port && *last >= r->port) {
			*last = r->port - 1;
		}
	}
	return of_proto ?: any;
}
