// SPDX-License-Identifier: GPL-2.0
/*
 * VIPs as JSON. The one reader of VIP definitions: whatever is wrong with one
 * is said here, with VIP, rule and DIP, before anything is done with it.
 */
#include "vip.h"

#include <duet/limits.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* where - "VIP 203.0.113.1, rule 2": what a sentence is about */
struct where {
	char text[80];
};

static int dip_cmp(const void *a, const void *b)
{
	return addr_cmp(&((const struct vip_dip *)a)->addr, &((const struct vip_dip *)b)->addr);
}

/* Rules in the kernel's order: with a port, with a protocol, the default */
static int rule_cmp(const void *a, const void *b)
{
	const struct vip_rule *x = a, *y = b;

	if (!x->port != !y->port)
		return x->port ? -1 : 1;
	if (!x->proto != !y->proto)
		return x->proto ? -1 : 1;
	if (x->proto != y->proto)
		return x->proto < y->proto ? -1 : 1;
	return (int)x->port - y->port;
}

static int dip_from_json(json_t *json, const struct addr *vip, const struct where *w,
			 struct vip_dip *dip, struct err *e)
{
	const char *text = json_string_value(json_object_get(json, "address"));
	json_t *weight = json_object_get(json, "weight");
	json_t *state = json_object_get(json, "state");
	const char *why;

	if (!json_is_object(json) || !text)
		return err_set(e, -EINVAL, "%s: a DIP is an object with an \"address\"", w->text);
	why = addr_host_parse(text, &dip->addr);
	if (why)
		return err_set(e, -EINVAL, "%s: DIP \"%s\" is no unicast address of a host: it is %s",
			       w->text, text, why);
	if (!addr_cmp(&dip->addr, vip))
		return err_set(e, -EINVAL, "%s: the VIP can't be its own DIP", w->text);
	dip->weight = 1;
	if (weight) {
		if (!json_is_integer(weight) || json_integer_value(weight) < 0 ||
		    json_integer_value(weight) > DUET_WEIGHT_MAX)
			return err_set(e, -EINVAL, "%s: DIP %s: a weight is a whole number from 0 to %u",
				       w->text, text, DUET_WEIGHT_MAX);
		dip->weight = json_integer_value(weight);
	}
	dip->state = DUET_DIP_UP;
	if (state && (!json_is_string(state) ||
		      dip_state_parse(json_string_value(state), &dip->state)))
		return err_set(e, -EINVAL, "%s: DIP %s: a state is \"up\", \"down\" or \"drain\"", w->text, text);
	return 0;
}

static int dips_from_json(json_t *array, const struct addr *vip, const struct where *w,
			  struct vip_rule *rule, struct err *e)
{
	size_t n = json_array_size(array), i;
	char text[ADDR_STRLEN];
	bool weighted = false;
	int ret;

	if (!json_is_array(array) || !n)
		return err_set(e, -EINVAL, "%s: no DIPs", w->text);
	if (n > DUET_SET_DIPS_MAX)
		return err_set(e, -E2BIG, "%s: %zu DIPs, and a rule has at most %u", w->text, n,
			       DUET_SET_DIPS_MAX);
	rule->dips = calloc(n, sizeof(*rule->dips));
	if (!rule->dips)
		return err_set(e, -ENOMEM, "%s: no memory", w->text);
	for (i = 0; i < n; i++) {
		ret = dip_from_json(json_array_get(array, i), vip, w, &rule->dips[i], e);
		if (ret)
			return ret;
		weighted |= rule->dips[i].weight;
	}
	rule->n_dips = n;
	qsort(rule->dips, n, sizeof(*rule->dips), dip_cmp);
	for (i = 1; i < n; i++)
		if (!dip_cmp(&rule->dips[i - 1], &rule->dips[i]))
			return err_set(e, -EINVAL, "%s: DIP %s is given twice", w->text,
				       addr_str(&rule->dips[i].addr, text));
	if (!weighted)
		return err_set(e, -EINVAL, "%s: every DIP has weight 0", w->text);
	return 0;
}

/* port_from_json - 80, "80" or "8000-8080" */
static int port_from_json(json_t *json, struct vip_rule *rule)
{
	unsigned long first, last;
	const char *text;
	char *end;

	if (json_is_integer(json)) {
		first = last = json_integer_value(json);
	} else if (json_is_string(json)) {
		text = json_string_value(json);
		if (*text < '0' || *text > '9')
			return -EINVAL;
		first = last = strtoul(text, &end, 10);
		if (*end == '-' && end[1] >= '0' && end[1] <= '9')
			last = strtoul(end + 1, &end, 10);
		if (*end)
			return -EINVAL;
	} else {
		return -EINVAL;
	}
	if (first < 1 || last > 65535 || last < first)
		return -EINVAL;
	rule->port = first;
	rule->port_last = last;
	return 0;
}

static bool proto_has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP ||
	       proto == IPPROTO_UDPLITE || proto == IPPROTO_DCCP;
}

int vip_match_from_json(json_t *json, const char *where, struct vip_rule *rule, struct err *e)
{
	json_t *proto = json_object_get(json, "proto");
	json_t *port = json_object_get(json, "port");
	json_t *fields = json_object_get(json, "fields");
	char number[24];

	if (!json_is_object(json))
		return err_set(e, -EINVAL, "%s: a rule is an object", where);
	if (json_is_integer(proto)) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(proto));
		if (proto_parse(number, &rule->proto))
			return err_set(e, -EINVAL, "%s: protocol %s is not from 1 to 255", where, number);
	} else if (proto && (!json_is_string(proto) ||
			     proto_parse(json_string_value(proto), &rule->proto))) {
		return err_set(e, -EINVAL, "%s: \"proto\" is any, tcp, udp, sctp, icmp or a number from 1 to 255",
			       where);
	}
	if (port && !json_is_null(port) && port_from_json(port, rule))
		return err_set(e, -EINVAL, "%s: \"port\" is a number from 1 to 65535 or a range \"8000-8080\"", where);
	if (rule->port && !proto_has_ports(rule->proto))
		return err_set(e, -EINVAL, "%s: a port needs a \"proto\" that has ports: tcp, udp, sctp", where);
	if (fields && (!json_is_string(fields) ||
		       fields_parse(json_string_value(fields), &rule->fields)))
		return err_set(e, -EINVAL, "%s: \"fields\" is 5tuple, src-port or src", where);
	return 0;
}

static int rule_from_json(json_t *json, const struct addr *vip, const struct where *w,
			  struct vip_rule *rule, struct err *e)
{
	int ret = vip_match_from_json(json, w->text, rule, e);

	return ret ?: dips_from_json(json_object_get(json, "dips"), vip, w, rule, e);
}

/* rules_check - what no single rule shows: overlaps, too many DIPs */
static int rules_check(const struct vip *vip, const char *text, struct err *e)
{
	unsigned int i, dips = 0;

	for (i = 0; i < vip->n_rules; i++) {
		const struct vip_rule *x = &vip->rules[i], *next = x + 1;
		char name[8];

		dips += x->n_dips;
		if (i + 1 < vip->n_rules && x->proto == next->proto &&
		    !x->port == !next->port && next->port <= x->port_last)
			return err_set(e, -EINVAL, "VIP %s: rules overlap: %s port %u-%u and %u-%u (0: any)",
				       text, proto_name(x->proto, name), x->port, x->port_last,
				       next->port, next->port_last);
	}
	if (dips > DUET_VIP_DIPS_MAX)
		return err_set(e, -E2BIG, "VIP %s: %u DIPs in all its rules, and a VIP has at most %u",
			       text, dips, DUET_VIP_DIPS_MAX);
	return 0;
}

/* A policy: its member, its words in the order of the kernel's numbers. */
static const struct policy_name {
	const char *key, *words[3];
	size_t offset;
} policy_names[] = {
	{ "kind", { "vip", "tip" }, offsetof(struct vip_policy, kind) },
	{ "fragments", { "drop", "hash" }, offsetof(struct vip_policy, fragments) },
	{ "oversize", { "fragment", "refuse" }, offsetof(struct vip_policy, oversize) },
	{ "all_down", { "drop", "reject", "pass" }, offsetof(struct vip_policy, all_down) },
};

#define N_POLICIES (sizeof(policy_names) / sizeof(policy_names[0]))
_Static_assert(sizeof(enum duet_all_down) == sizeof(unsigned int), "a policy is an unsigned int");

int vip_policy_from_json(json_t *json, const char *text, struct vip_policy *policy, struct err *e)
{
	unsigned int i, k;
	json_t *value;

	for (i = 0; i < N_POLICIES; i++) {
		const struct policy_name *p = &policy_names[i];
		const char *word;

		value = json_object_get(json, p->key);
		word = json_string_value(value);
		if (!value)
			continue;
		for (k = 0; k < 3 && p->words[k]; k++)
			if (word && !strcmp(word, p->words[k]))
				break;
		if (k == 3 || !p->words[k])
			return err_set(e, -EINVAL, "VIP %s: \"%s\" is \"%s\" or \"%s\"%s%s%s", text, p->key,
				       p->words[0], p->words[1], p->words[2] ? " or \"" : "",
				       p->words[2] ?: "", p->words[2] ? "\"" : "");
		memcpy((char *)policy + p->offset, &k, sizeof(k));
	}
	value = json_object_get(json, "key");
	if (value && (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) >= DUET_KEYS))
		return err_set(e, -EINVAL, "VIP %s: \"key\" is 0 or 1, the key of the deployment that it chooses by", text);
	policy->key = json_integer_value(value);
	if (policy->kind == DUET_KIND_TIP && policy->all_down == DUET_ALL_DOWN_PASS)
		return err_set(e, -EINVAL, "VIP %s: a TIP can't pass packets on: they have lost their tunnel", text);
	return 0;
}

/* policy_to_json - what isn't the default */
static void policy_to_json(json_t *json, const struct vip_policy *policy)
{
	unsigned int i, k;

	for (i = 0; i < N_POLICIES; i++) {
		memcpy(&k, (const char *)policy + policy_names[i].offset, sizeof(k));
		if (k && k < 3 && policy_names[i].words[k])
			json_object_set_new(json, policy_names[i].key, json_string(policy_names[i].words[k]));
	}
	if (policy->key)
		json_object_set_new(json, "key", json_integer(policy->key));
}

int vip_from_json(json_t *json, struct vip **out, struct err *e)
{
	const char *text = json_string_value(json_object_get(json, "vip"));
	json_t *rules = json_object_get(json, "rules");
	struct vip *vip;
	const char *why;
	size_t n, i;
	int ret;

	if (!json_is_object(json) || !text)
		return err_set(e, -EINVAL, "a VIP is an object with a \"vip\", its address");
	vip = calloc(1, sizeof(*vip));
	if (!vip)
		return err_set(e, -ENOMEM, "VIP %s: no memory", text);
	ret = -EINVAL;
	why = addr_host_parse(text, &vip->addr);
	if (why) {
		err_set(e, ret, "VIP \"%.64s\" is no unicast address of a host: it is %s", text, why);
		goto err_free;
	}
	ret = vip_policy_from_json(json, text, &vip->policy, e);
	if (ret)
		goto err_free;
	ret = -EINVAL;
	n = json_array_size(rules);
	if (!json_is_array(rules) || !n) {
		err_set(e, ret, "VIP %s: no rules, so no DIPs", text);
		goto err_free;
	}
	if (n > DUET_VIP_RULES_MAX) {
		ret = err_set(e, -E2BIG, "VIP %s: %zu rules, and a VIP has at most %u", text, n,
			      DUET_VIP_RULES_MAX);
		goto err_free;
	}
	vip->rules = calloc(n, sizeof(*vip->rules));
	if (!vip->rules) {
		ret = err_set(e, -ENOMEM, "VIP %s: no memory", text);
		goto err_free;
	}
	for (i = 0; i < n; i++) {
		struct where w;

		snprintf(w.text, sizeof(w.text), n > 1 ? "VIP %s, rule %zu" : "VIP %s", text, i + 1);
		vip->n_rules++;
		ret = rule_from_json(json_array_get(rules, i), &vip->addr, &w, &vip->rules[i], e);
		if (ret)
			goto err_free;
	}
	qsort(vip->rules, n, sizeof(*vip->rules), rule_cmp);
	ret = rules_check(vip, text, e);
	if (ret)
		goto err_free;
	*out = vip;
	return 0;

err_free:
	vip_free(vip);
	return ret;
}

static json_t *dip_to_json(const struct vip_dip *dip, bool with_state)
{
	char text[ADDR_STRLEN];
	json_t *json = json_pack("{s:s, s:i}", "address", addr_str(&dip->addr, text),
				 "weight", dip->weight);

	json_object_set_new(json, "state", json_string(dip_state_name(dip->state)));
	if (with_state) {
		json_object_set_new(json, "buckets", json_integer(dip->buckets));
		json_object_set_new(json, "packets", json_integer(dip->stats.packets));
		json_object_set_new(json, "bytes", json_integer(dip->stats.bytes));
	}
	return json;
}

static json_t *rule_to_json(const struct vip_rule *rule, bool with_state)
{
	json_t *json = json_object(), *dips = json_array();
	char text[32];
	unsigned int i;

	json_object_set_new(json, "proto", json_string(proto_name(rule->proto, text)));
	if (rule->port && rule->port == rule->port_last) {
		json_object_set_new(json, "port", json_integer(rule->port));
	} else if (rule->port) {
		snprintf(text, sizeof(text), "%u-%u", rule->port, rule->port_last);
		json_object_set_new(json, "port", json_string(text));
	}
	json_object_set_new(json, "fields", json_string(fields_name(rule->fields)));
	if (with_state) {
		snprintf(text, sizeof(text), "%016llx", (unsigned long long)rule->digest);
		json_object_set_new(json, "digest", json_string(text));
		if (rule->shared)
			json_object_set_new(json, "shared", json_true());
		json_object_set_new(json, "buckets", json_integer(rule->buckets));
	}
	for (i = 0; i < rule->n_dips; i++)
		json_array_append_new(dips, dip_to_json(&rule->dips[i], with_state));
	json_object_set_new(json, "dips", dips);
	return json;
}

json_t *vip_to_json(const struct vip *vip, bool with_state)
{
	json_t *json = json_object(), *rules = json_array();
	char text[ADDR_STRLEN];
	unsigned int i;

	json_object_set_new(json, "vip", json_string(addr_str(&vip->addr, text)));
	policy_to_json(json, &vip->policy);
	if (with_state) {
		json_object_set_new(json, "packets", json_integer(vip->stats.packets));
		json_object_set_new(json, "bytes", json_integer(vip->stats.bytes));
	}
	for (i = 0; i < vip->n_rules; i++)
		json_array_append_new(rules, rule_to_json(&vip->rules[i], with_state));
	json_object_set_new(json, "rules", rules);
	return json;
}
