// SPDX-License-Identifier: GPL-2.0
/* SNAT ports: "snat" of a definition checked, and who has which blocks shown. */
#include "api.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "../updater/snat.h"
#include "fields.h"
#include "metrics.h"

#define PORT_MIN  1024
#define BLOCK_MAX 4096

/* rule_for - the one rule that takes what comes back to any port of the range, or NULL; -EINVAL: not one alone does */
static int rule_for(const struct vip *vip, uint8_t proto, const struct snat_conf *c, const char *where,
		    const struct vip_rule **rule, struct err *e)
{
	unsigned int last = c->last;

	*rule = vip_rule_at(vip, proto, c->first, &last);
	if (last == c->last)
		return 0;
	return err_set(e, -EINVAL, "%s: its SNAT ports %u-%u are not all one rule's: what comes back to port %u goes by another "
		       "than to port %u; choose ports beside those that rules name", where, c->first, c->last, last + 1, last);
}

/* check_rules - will what comes back reach the host that opened the connection */
static int check_rules(const struct vip *vip, const struct snat_conf *c, const char *where, struct err *e)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };
	const struct vip_rule *rules[2];
	unsigned int i, n = 0;

	for (i = 0; i < 2; i++) {
		if (rule_for(vip, protos[i], c, where, &rules[i], e))
			return -EINVAL;
		if (!rules[i])
			continue;
		if (rules[i]->fields != DUET_FIELDS_5TUPLE)
			return err_set(e, -EINVAL, "%s: SNAT chooses a port by the hash, and the rule of its ports %u-%u hashes on %s: "
				       "it must be 5tuple", where, c->first, c->last, fields_name(rules[i]->fields));
		n = rules[i]->n_dips > n ? rules[i]->n_dips : n;
	}
	if (!rules[0] && !rules[1])
		return err_set(e, -EINVAL, "%s: no rule takes what comes back to its SNAT ports %u-%u: it needs one without a port, "
			       "or one of this range", where, c->first, c->last);
	if (snat_conf_blocks(c) < n)
		return err_set(e, -EINVAL, "%s: its SNAT ports %u-%u make %u blocks of %u, and there are %u DIPs: each needs one", where,
			       c->first, c->last, snat_conf_blocks(c), c->block, n);
	if (c->block < n)
		return err_set(e, -EINVAL, "%s: of %u DIPs each can use one SNAT port in %u towards a destination: a block of %u may "
			       "have none; \"block\" must not be smaller", where, n, n, c->block);
	return 0;
}

int snat_check(json_t *snat, json_t *def, const struct vip *vip, const char *where, struct err *e)
{
	static const char *const members[] = { "first", "last", "block", "max_blocks", NULL };
	struct snat_conf c;
	char at[128];
	int ret;

	if (!snat)
		return 0;
	snprintf(at, sizeof(at), "%s, snat", where);
	if (!json_is_object(snat))
		return err_set(e, -EINVAL, "%s: it is an object, {} for what is usual", at);
	ret = fields_known(snat, members, at, e);
	if (!ret)
		ret = api_number(snat, "first", PORT_MIN, 65535, at, e);
	if (!ret)
		ret = api_number(snat, "last", PORT_MIN, 65535, at, e);
	if (!ret)
		ret = api_number(snat, "block", 1, BLOCK_MAX, at, e);
	if (!ret)
		ret = api_number(snat, "max_blocks", 1, SNAT_BLOCKS_MAX, at, e);
	if (ret)
		return ret;
	snat_conf(def, &c);
	if (c.last < c.first)
		return err_set(e, -EINVAL, "%s: \"last\" %u is before \"first\" %u", at, c.last, c.first);
	if (c.block & (c.block - 1) || (c.last - c.first + 1) % c.block)
		return err_set(e, -EINVAL, "%s: \"block\" %u must be a power of two that divides the %u ports from %u to %u", at, c.block,
			       c.last - c.first + 1, c.first, c.last);
	return check_rules(vip, &c, where, e);
}

static unsigned int count_ports(const struct snat_pool *p, enum snat_state state)
{
	unsigned int i, n = 0;

	for (i = 0; i < p->n_blocks; i++)
		if (p->blocks[i].state == state)
			n += p->blocks[i].last - p->blocks[i].first + 1;
	return n;
}

static json_t *block_view(const struct updater *u, const struct snat_block *b)
{
	uint64_t age = mono_ms() - b->since_ms, rest = u->control.snat_quarantine_s * 1000ull;
	json_t *o = json_pack("{s:i, s:i, s:s, s:s}", "first", b->first, "last", b->last, "host", b->host, "state",
			      snat_state_name(b->state));

	if (b->state == SNAT_HELD)
		json_object_set_new(o, "used", b->used < 0 ? json_null() : json_integer(b->used));
	if (b->state == SNAT_RESTING)
		json_object_set_new(o, "free-in-ms", json_integer(age < rest ? rest - age : 0));
	return o;
}

/* hosts_view - each that has ports, and how it is off */
static json_t *hosts_view(struct updater *u, struct snat_pool *p)
{
	json_t *list = json_array(), *at = json_object(), *o;
	unsigned int i;

	for (i = 0; i < p->n_blocks; i++) {
		const struct snat_block *b = &p->blocks[i];
		struct host *h = host_find(u, b->host);
		struct snat_user *user = h ? snat_user(p, h) : NULL;
		unsigned int n = b->last - b->first + 1;

		if (b->state != SNAT_HELD)
			continue;
		o = json_object_get(at, b->host);
		if (o) {
			json_object_set_new(o, "blocks", json_integer(get_u64(o, "blocks", 0) + 1));
			json_object_set_new(o, "ports", json_integer(get_u64(o, "ports", 0) + n));
			continue;
		}
		o = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:b}", "host", b->host, "blocks", 1, "ports", n, "used",
			      user ? user->used : 0, "busiest", user ? user->busiest : 0, "fit", user ? user->fit : 0, "low",
			      user && user->low);
		json_object_set(at, b->host, o);
		json_array_append_new(list, o);
	}
	json_decref(at);
	return list;
}

static json_t *pool_view(struct updater *u, struct snat_pool *p)
{
	struct snat_conf c = {};
	bool conf = p->vip && snat_conf(p->vip->def, &c);
	json_t *blocks = json_array(), *o;
	unsigned int i;

	for (i = 0; i < p->n_blocks; i++)
		json_array_append_new(blocks, block_view(u, &p->blocks[i]));
	o = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "vip", p->text, "held", count_ports(p, SNAT_HELD), "leaving",
		      count_ports(p, SNAT_LEAVING), "quarantined", count_ports(p, SNAT_RESTING), "free", conf ? p->free * c.block : 0,
		      "first", c.first, "last", c.last, "block", c.block, "max_blocks", c.max);
	json_object_set_new(o, "hosts-without", json_integer(p->without));
	json_object_set_new(o, "hosts-wanting", json_integer(p->wanting));
	json_object_set_new(o, "hosts", hosts_view(u, p));
	json_object_set_new(o, "blocks", blocks);
	return o;
}

/* VIPs with SNAT in the order of their addresses; those that are gone, and whose ports aren't yet, on the first page */
void api_snat_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	json_t *list = json_array(), *answer;
	struct snat_pool *p;
	unsigned int i = 0;
	struct page page;
	struct addr a;
	bool found;

	if (api_page(req, &page, PAGE_MAX))
		goto err_list;
	if (page.after && addr_parse(page.after, &a)) {
		http_problem(req, 400, NULL, "after = \"%s\": must be a VIP", page.after);
		goto err_list;
	}
	if (page.after) {
		i = vip_slot(u, &a, &found);
		i += found;
	}
	for (p = TAILQ_FIRST(&u->pools); p && !p->vip && !page.after; p = TAILQ_NEXT(p, list))
		json_array_append_new(list, pool_view(u, p));
	for (; i < u->n_vips && json_array_size(list) < page.limit; i++)
		if (u->vips[i]->snat)
			json_array_append_new(list, pool_view(u, u->vips[i]->snat));
	answer = json_pack("{s:o}", "snat", list);
	if (i && i < u->n_vips)
		json_object_set_new(answer, "next", json_string(u->vips[i - 1]->text));
	http_reply(req, 200, answer);
	return;

err_list:
	json_decref(list);
}

void snat_metrics(const struct updater *u, struct metrics *m)
{
	unsigned int i, ports[SNAT_RESTING + 1] = {}, free = 0, used = 0, shorts = 0;
	const struct snat_pool *p;
	uint64_t refused = 0;
	enum snat_state s;
	struct snat_conf c;

	TAILQ_FOREACH(p, &u->pools, list) {
		for (s = SNAT_HELD; s <= SNAT_RESTING; s++)
			ports[s] += count_ports(p, s);
		for (i = 0; i < p->n_users; i++)
			used += p->users[i].used;
		if (p->vip && snat_conf(p->vip->def, &c))
			free += p->free * c.block;
		shorts += p->without || p->wanting || p->bound;
	}
	for (i = 0; i < u->n_hosts; i++)
		refused += u->hosts[i].snat_refused;
	metrics_family(m, "duet_controller_snat_ports", "gauge", "SNAT ports by state; used: of those held, as hosts report");
	for (s = SNAT_HELD; s <= SNAT_RESTING; s++)
		metrics_add(m, ports[s], "state", snat_state_name(s), NULL);
	metrics_add(m, free, "state", "free", NULL);
	metrics_add(m, used, "state", "used", NULL);
	metrics_family(m, "duet_controller_snat_short", "gauge", "VIPs with hosts that need more SNAT ports than they can get");
	metrics_add(m, shorts, NULL);
	metrics_family(m, "duet_controller_snat_refused", "gauge", "Connections hosts had no SNAT port for, as they report");
	metrics_add(m, refused, NULL);
}
