// SPDX-License-Identifier: GPL-2.0
/*
 * Who has how many blocks of SNAT ports. Everyone has one before anyone has a
 * second, and if need be the one with most gives one up for that; then those
 * that run low get as many again as they have, the poorest first; those that
 * use less than a quarter of theirs for a while give half of the unused back.
 */
#include "snat.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* is_up - by its definition and by its health, in all rules that have it */
static bool is_up(const struct uvip *v, const char *address)
{
	json_t *rule, *dip;
	size_t r, i;

	json_array_foreach(json_object_get(v->def, "rules"), r, rule)
		json_array_foreach(json_object_get(rule, "dips"), i, dip)
			if (!strcmp(get_str(dip, "address", ""), address) &&
			    (strcmp(get_str(dip, "state", "up"), "up") || vip_dip_down(v, address, r)))
				return false;
	return true;
}

static int by_place(const void *a, const void *b)
{
	const struct snat_taker *x = a, *y = b;

	return (x->host > y->host) - (x->host < y->host);
}

unsigned int snat_takers(struct updater *u, const struct uvip *v, const struct snat_conf *c, struct snat_taker **takers)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };
	const struct vip_rule *rules[2] = {}, *r;
	unsigned int i, k, last, n = 0;
	struct snat_taker *list;
	char text[ADDR_STRLEN];
	struct vip *vip = NULL;
	struct err e;

	if (vip_from_json(v->def, &vip, &e))
		return 0;
	for (i = 0; i < 2; i++) {
		last = c->last;
		rules[i] = vip_rule_at(vip, protos[i], c->first, &last);
	}
	if (rules[0] == rules[1])
		rules[1] = NULL;
	list = calloc((rules[0] ? rules[0]->n_dips : 0) + (rules[1] ? rules[1]->n_dips : 0) + 1, sizeof(*list));
	for (i = 0; list && i < 2; i++) {
		r = rules[i];
		for (k = 0; r && k < r->n_dips; k++) {
			struct host *h = host_at(u, addr_str(&r->dips[k].addr, text));

			if (h && r->dips[k].weight)
				list[n++] = (struct snat_taker){ h, snat_user(v->snat, h), 0, is_up(v, text) };
		}
	}
	vip_free(vip);
	if (n)
		qsort(list, n, sizeof(*list), by_place);
	for (i = k = 0; i < n; i++)	/* a DIP of both rules is there twice */
		if (!k || list[k - 1].host != list[i].host)
			list[k++] = list[i];
	*takers = list;
	return k;
}

/* next_free - first port of the lowest block that overlaps none; 0: there is none */
static unsigned int next_free(const struct snat_pool *p, const struct snat_conf *c, unsigned int from)
{
	unsigned int i = 0;

	for (; from + c->block - 1 <= c->last; from += c->block) {
		while (i < p->n_blocks && p->blocks[i].last < from)
			i++;
		if (i == p->n_blocks || p->blocks[i].first > from + c->block - 1)
			return from;
	}
	return 0;
}

static unsigned int count_free(const struct snat_pool *p, const struct snat_conf *c)
{
	unsigned int at = c->first, n = 0;

	for (at = next_free(p, c, at); at; at = next_free(p, c, at + c->block))
		n++;
	return n;
}

static bool give(struct updater *u, struct snat_pool *p, const struct snat_conf *c, struct snat_taker *t)
{
	unsigned int first = next_free(p, c, c->first);

	if (!first || !snat_give(u, p, t->host, first, first + c->block - 1))
		return false;
	t->held++;
	return true;
}

/* least_used - of the blocks of a host; NULL: it has none */
static struct snat_block *least_used(struct snat_pool *p, const struct host *h)
{
	struct snat_block *best = NULL;
	unsigned int i;

	for (i = 0; i < p->n_blocks; i++) {
		struct snat_block *b = &p->blocks[i];

		if (b->state == SNAT_HELD && !strcmp(b->host, h->name) && (!best || (unsigned int)b->used < (unsigned int)best->used))
			best = b;
	}
	return best;
}

/* take_from_rich - for hosts that have none, unless enough is on its way back */
static void take_from_rich(struct updater *u, struct snat_pool *p, struct snat_taker *takers, unsigned int n)
{
	unsigned int i, coming = 0;

	for (i = 0; i < p->n_blocks; i++)
		coming += p->blocks[i].state != SNAT_HELD;
	for (; coming < p->without; coming++) {
		struct snat_taker *rich = NULL;

		for (i = 0; i < n; i++)
			if (takers[i].held > 1 && (!rich || takers[i].held > rich->held))
				rich = &takers[i];
		if (!rich)
			return;
		snat_leave(u, p, least_used(p, rich->host));
		rich->held--;
	}
}

/* take_idle - half of what a host hasn't used for a while */
static void take_idle(struct updater *u, struct snat_pool *p, struct snat_taker *t)
{
	uint64_t now = mono_ms(), wait = u->control.snat_idle_s * 1000ull;
	unsigned int i, unused = 0;

	if (!t->user || !t->user->idle_ms || t->held < 2)
		return;
	if (t->user->idle_ms + wait > now) {
		snat_due(p, t->user->idle_ms + wait);
		return;
	}
	for (i = 0; i < p->n_blocks; i++)
		unused += p->blocks[i].state == SNAT_HELD && !p->blocks[i].used && !strcmp(p->blocks[i].host, t->host->name);
	for (unused = (unused + 1) / 2; unused && t->held > 1; unused--, t->held--)
		snat_leave(u, p, least_used(p, t->host));
	t->user->idle_ms = 0;	/* the next report says whether it still is */
}

static bool wants(const struct snat_taker *t, const struct snat_conf *c)
{
	return t->up && t->held && t->held < c->max && t->user && t->user->low;
}

/* give_more - one block after the other to the poorest, until each has twice what it had or there are none */
static void give_more(struct updater *u, struct snat_pool *p, const struct snat_conf *c, struct snat_taker *takers, unsigned int n,
		      unsigned int kept)
{
	unsigned int *had = calloc(n + 1, sizeof(*had)), i, left = count_free(p, c);

	for (i = 0; had && i < n; i++) {
		p->bound += takers[i].up && takers[i].user && takers[i].user->low && takers[i].held >= c->max;
		had[i] = wants(&takers[i], c) ? takers[i].held : 0;
	}
	for (; had && left > kept; left--) {
		struct snat_taker *poor = NULL;

		for (i = 0; i < n; i++)
			if (takers[i].held < had[i] * 2 && takers[i].held < c->max && (!poor || takers[i].held < poor->held))
				poor = &takers[i];
		if (!poor || !give(u, p, c, poor))
			break;
		poor->user->low = false;	/* until it says so of what it has now */
	}
	for (i = 0; had && i < n; i++)
		p->wanting += had[i] && takers[i].held == had[i];
	free(had);
}

void snat_share(struct updater *u, struct snat_pool *p, const struct snat_conf *c, struct snat_taker *takers, unsigned int n)
{
	unsigned int i, down = 0;

	for (i = 0; i < n; i++) {
		if (takers[i].held)
			continue;
		if (!takers[i].up)
			down++;
		else if (!give(u, p, c, &takers[i]))
			p->without++;
	}
	take_from_rich(u, p, takers, n);
	for (i = 0; i < n; i++)
		take_idle(u, p, &takers[i]);
	/* hosts that are down and have none must find one when they come back */
	give_more(u, p, c, takers, n, p->without + down);
	p->free = count_free(p, c);
}
