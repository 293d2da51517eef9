// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps the blocks of SNAT ports: in the store before a host is told, and no
 * block with two hosts, ever. What is taken from a host goes three ways before
 * another gets it: leaving, until the host has taken a state without it (or
 * couldn't be told for longer than snat-hold-s); resting, until what may still
 * be in TIME_WAIT is over; then free. All times are this incarnation's own: a
 * clock that jumps, or a restart, makes them longer and never shorter.
 *
 * Connections that are open when a block is taken go on. The far end's packets
 * select a DIP by all four numbers, so that even a host that gets the block
 * later can't choose the numbers of a connection that lives.
 */
#include "snat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fault.h"
#include "log.h"

#define SOON_MS	  2	/* changes that come together are one transaction */
#define RANGE_KEY 64

static const char *const states[] = {
	[SNAT_HELD] = "held", [SNAT_LEAVING] = "leaving", [SNAT_RESTING] = "quarantined",
};

const char *snat_state_name(enum snat_state state)
{
	return states[state];
}

bool snat_conf(json_t *def, struct snat_conf *c)
{
	json_t *snat = json_object_get(def, "snat");

	if (!json_is_object(snat))
		return false;
	c->first = get_u64(snat, "first", 32768);
	c->last = get_u64(snat, "last", 65535);
	c->block = get_u64(snat, "block", 64);
	c->max = get_u64(snat, "max_blocks", SNAT_BLOCKS_MAX);
	return true;
}

unsigned int snat_conf_blocks(const struct snat_conf *c)
{
	return (c->last - c->first + 1) / c->block;
}

static int run(sd_event_source *s, uint64_t usec, void *ctx);

static void arm(struct updater *u, uint64_t at_ms)
{
	uint64_t now = mono_ms();

	if (u->snat_due_ms && u->snat_due_ms <= at_ms)
		return;
	u->snat_due_ms = at_ms;
	once(u->ctl->loop, &u->snat_timer, at_ms > now ? at_ms - now : 0, run, u);
}

void snat_soon(struct updater *u, struct snat_pool *p)
{
	p->dirty = true;
	arm(u, mono_ms() + SOON_MS);
}

void snat_due(struct snat_pool *p, uint64_t ms)
{
	if (!p->due_ms || ms < p->due_ms)
		p->due_ms = ms;
}

/* pool_of - of a VIP, or of one that is gone */
static struct snat_pool *pool_of(struct updater *u, struct uvip *v, const char *text)
{
	struct snat_pool *p = v ? v->snat : NULL;

	if (p)
		return p;
	TAILQ_FOREACH(p, &u->pools, list) {
		if (p->vip)
			p = NULL;
		if (!p || !strcmp(p->text, text))
			break;
	}
	if (p && v) {
		TAILQ_REMOVE(&u->pools, p, list);
	} else if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return NULL;
		snprintf(p->text, sizeof(p->text), "%s", text);
		if (!v)
			TAILQ_INSERT_HEAD(&u->pools, p, list);
	}
	if (v) {
		TAILQ_INSERT_TAIL(&u->pools, p, list);
		p->vip = v;
		v->snat = p;
	}
	return p;
}

struct snat_pool *snat_find(struct updater *u, const char *text)
{
	struct uvip *v = vip_find(u, text);
	struct snat_pool *p;

	if (v)
		return v->snat;
	TAILQ_FOREACH(p, &u->pools, list)
		if (p->vip || !strcmp(p->text, text))
			break;
	return p && !p->vip ? p : NULL;
}

struct snat_pool *snat_make(struct updater *u, const char *text)
{
	return pool_of(u, vip_find(u, text), text);
}

void snat_forget(struct updater *u, struct uvip *v)
{
	struct snat_pool *p = v->snat;

	if (!p)
		return;
	p->vip = NULL;
	v->snat = NULL;
	TAILQ_REMOVE(&u->pools, p, list);
	TAILQ_INSERT_HEAD(&u->pools, p, list);
	snat_soon(u, p);
}

static void pool_free(struct updater *u, struct snat_pool *p)
{
	TAILQ_REMOVE(&u->pools, p, list);
	if (p->vip)
		p->vip->snat = NULL;
	free(p->blocks);
	free(p->users);
	free(p);
}

void snat_free(struct updater *u)
{
	while (!TAILQ_EMPTY(&u->pools))
		pool_free(u, TAILQ_FIRST(&u->pools));
}

struct snat_user *snat_user(struct snat_pool *p, struct host *h)
{
	unsigned int i;

	for (i = 0; i < p->n_users; i++)
		if (p->users[i].host == h)
			return &p->users[i];
	return NULL;
}

static struct snat_user *user_make(struct snat_pool *p, struct host *h)
{
	struct snat_user *user = snat_user(p, h);

	if (!user) {
		user = realloc(p->users, (p->n_users + 1) * sizeof(*user));
		if (!user)
			return NULL;
		p->users = user;
		user += p->n_users++;
		*user = (struct snat_user){ .host = h };
	}
	return user;
}

static void keep(struct updater *u, const struct snat_pool *p, const struct snat_block *b, bool gone)
{
	char key[RANGE_KEY];

	snprintf(key, sizeof(key), "%s|%05u", p->text, b->first);
	store_set_put(u->store, STORE_SNAT, key,
		      gone ? NULL : json_pack("{s:s, s:i, s:i, s:s, s:s, s:I}", "vip", p->text, "first", b->first, "last",
					      b->last, "host", b->host, "state", states[b->state], "number",
					      (json_int_t)b->number));
}

struct snat_block *snat_insert(struct snat_pool *p, unsigned int first, unsigned int last)
{
	struct snat_block *list = realloc(p->blocks, (p->n_blocks + 1) * sizeof(*list));
	unsigned int i = 0;

	if (!list)
		return NULL;
	p->blocks = list;
	while (i < p->n_blocks && list[i].first < first)
		i++;
	memmove(list + i + 1, list + i, (p->n_blocks - i) * sizeof(*list));
	p->n_blocks++;
	list[i] = (struct snat_block){ .first = first, .last = last, .used = -1, .since_ms = mono_ms() };
	return &list[i];
}

void snat_drop(struct updater *u, struct snat_pool *p, unsigned int at)
{
	keep(u, p, &p->blocks[at], true);
	p->n_blocks--;
	memmove(p->blocks + at, p->blocks + at + 1, (p->n_blocks - at) * sizeof(*p->blocks));
}

void snat_hold(struct updater *u, struct snat_pool *p, struct snat_block *b, struct host *h, enum snat_state state)
{
	snprintf(b->host, sizeof(b->host), "%s", h->name);
	b->state = state;
	b->number = ++u->snat_number;
	b->generation = u->generation;
	b->since_ms = mono_ms();
	h->snat_leaving |= state == SNAT_LEAVING;
	keep(u, p, b, false);
	host_touch(h);	/* it is told when the store has it */
}

bool snat_give(struct updater *u, struct snat_pool *p, struct host *h, unsigned int first, unsigned int last)
{
	struct snat_block *b = snat_insert(p, first, last);

	if (!b)
		return false;
	snat_hold(u, p, b, h, SNAT_HELD);
	return true;
}

void snat_leave(struct updater *u, struct snat_pool *p, struct snat_block *b)
{
	struct host *h = host_find(u, b->host);

	b->state = SNAT_LEAVING;
	b->generation = u->generation;
	b->since_ms = mono_ms();
	keep(u, p, b, false);
	if (!h)
		return;
	h->snat_leaving = true;
	host_touch(h);
}

/* is_back - its host has it no more, or is taken for dead; else when that may be (0: when it answers) */
static bool is_back(struct updater *u, const struct snat_block *b, uint64_t now, uint64_t *when)
{
	struct host *h = host_find(u, b->host);
	uint64_t since = h ? h->lost_ms : b->since_ms;

	*when = 0;
	if (h && h->acked > b->generation)
		return true;
	if (h && !h->lost_ms && !h->push && !h->dirty)
		host_touch(h);
	if (h)
		h->snat_leaving = true;
	if (!since)
		return false;
	*when = (since > b->since_ms ? since : b->since_ms) + u->control.snat_hold_s * 1000ull;
	if (*when <= now)
		store_event(u->store, "snat-host-gone", b->host, "ports %u-%u are taken back: %s for %u s", b->first, b->last,
			    h ? "it could not be told" : "the topology has it no more", u->control.snat_hold_s);
	return *when <= now;
}

/* age - one block, as far as it gets on its way back; false: it is free */
static bool age(struct updater *u, struct snat_pool *p, struct snat_block *b, uint64_t now)
{
	uint64_t when;

	if (b->state == SNAT_LEAVING && is_back(u, b, now, &when)) {
		b->state = SNAT_RESTING;
		b->since_ms = now;
		keep(u, p, b, false);
	} else if (b->state == SNAT_LEAVING) {
		if (when)
			snat_due(p, when);
		return true;
	}
	if (b->state != SNAT_RESTING)
		return true;
	when = b->since_ms + u->control.snat_quarantine_s * 1000ull;
	if (when > now) {
		snat_due(p, when);
		return true;
	}
	keep(u, p, b, true);
	return false;
}

/* fits - is it one of the blocks that the definition makes of its range */
static bool fits(const struct snat_conf *c, const struct snat_block *b)
{
	return b->first >= c->first && b->last <= c->last && b->last - b->first + 1u == c->block &&
	       !((b->first - c->first) % c->block);
}

static struct snat_taker *taker_of(struct snat_taker *takers, unsigned int n, const char *host)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (!strcmp(takers[i].host->name, host))
			return &takers[i];
	return NULL;
}

static void pool_pass(struct updater *u, struct snat_pool *p, uint64_t now)
{
	struct uvip *v = p->vip;
	struct snat_taker *takers = NULL, *t;
	unsigned int i, k = 0, n = 0;
	struct snat_conf c = {};
	bool conf = v && snat_conf(v->def, &c);
	bool was = p->without || p->wanting;

	p->dirty = false;
	p->due_ms = 0;
	p->free = p->without = p->wanting = p->bound = 0;
	if (conf)
		n = snat_takers(u, v, &c, &takers);
	for (i = 0; i < p->n_blocks; i++) {
		struct snat_block *b = &p->blocks[i];

		t = b->state == SNAT_HELD ? taker_of(takers, n, b->host) : NULL;
		if (t && fits(&c, b))
			t->held++;
		/* while the VIP moves to another definition, what it comes to is not known */
		else if (b->state == SNAT_HELD && !(conf && v->move))
			snat_leave(u, p, b);
	}
	for (i = 0; i < p->n_blocks; i++)
		if (age(u, p, &p->blocks[i], now))
			p->blocks[k++] = p->blocks[i];
	p->n_blocks = k;
	if (conf)
		snat_share(u, p, &c, takers, n);
	free(takers);
	if (was != (p->without || p->wanting))
		store_event(u->store, was ? "snat-enough" : "snat-exhausted", p->text,
			    was ? "every host has the ports it needs" : SNAT_SHORT, p->without, p->wanting);
}

static int run(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct snat_pool *p, *next;
	struct updater *u = ctx;
	uint64_t now = mono_ms(), due = 0;

	u->snat_due_ms = 0;
	if (!u->model || !u->configured || u->snat_learning)
		return 0;
	if (now < u->stalled_ms) {	/* the store could not keep it the last time */
		arm(u, u->stalled_ms);
		return 0;
	}
	updater_begin(u);
	TAILQ_FOREACH(p, &u->pools, list)
		if (p->dirty || (p->due_ms && p->due_ms <= now))
			pool_pass(u, p, now);
	fault("snat-shared");
	if (updater_commit(u))
		return 0;
	for (p = TAILQ_FIRST(&u->pools); p; p = next) {
		next = TAILQ_NEXT(p, list);
		if (!p->vip && !p->n_blocks)
			pool_free(u, p);
		else if (p->due_ms && (!due || p->due_ms < due))
			due = p->due_ms;
	}
	if (due)
		arm(u, due);
	return 0;
}

void snat_changed(struct updater *u, struct uvip *v)
{
	struct snat_pool *p = v->snat;
	struct snat_conf c;

	if (!p && snat_conf(v->def, &c))
		p = pool_of(u, v, v->text);
	if (p)
		snat_soon(u, p);
}

void snat_follow(struct updater *u, struct uvip *v)
{
	if (!v->snat)
		return;
	hosts_touch(u, v->def);
	snat_soon(u, v->snat);
}

void snat_settings(struct updater *u)
{
	struct snat_pool *p;

	TAILQ_FOREACH(p, &u->pools, list)
		snat_soon(u, p);
}

void snat_start(struct updater *u)
{
	unsigned int i;

	for (i = 0; i < u->n_vips; i++)
		snat_changed(u, u->vips[i]);
	snat_settings(u);	/* those of VIPs that are gone, too */
	snat_learn_start(u);
}

void snat_acked(struct updater *u, struct host *h)
{
	struct snat_pool *p;
	unsigned int i;

	if (!h->snat_leaving)
		return;
	h->snat_leaving = false;
	TAILQ_FOREACH(p, &u->pools, list)
		for (i = 0; i < p->n_blocks && !p->dirty; i++)
			if (p->blocks[i].state == SNAT_LEAVING && !strcmp(p->blocks[i].host, h->name))
				snat_soon(u, p);
}

static void load_block(struct updater *u, json_t *row)
{
	const char *text = get_str(row, "vip", ""), *state = get_str(row, "state", "");
	struct snat_pool *p = pool_of(u, vip_find(u, text), text);
	struct snat_block *b;

	b = p ? snat_insert(p, get_u64(row, "first", 0), get_u64(row, "last", 0)) : NULL;
	if (!b)
		return;
	snprintf(b->host, sizeof(b->host), "%s", get_str(row, "host", ""));
	/* a state that makes no sense is taken for the one that is safe */
	b->state = !strcmp(state, states[SNAT_HELD]) ? SNAT_HELD : !strcmp(state, states[SNAT_RESTING]) ? SNAT_RESTING : SNAT_LEAVING;
	b->number = get_u64(row, "number", 0);
	b->generation = u->generation;
	if (b->number > u->snat_number)
		u->snat_number = b->number;
	snat_soon(u, p);
}

int snat_load(struct updater *u, struct err *e)
{
	json_t *rows = store_set_all(u->store, STORE_SNAT), *row;
	const char *key;
	unsigned int i;

	if (!rows)
		return err_set(e, -EIO, "store %s: SNAT blocks can't be read", store_name(u->store));
	json_object_foreach(rows, key, row)
		load_block(u, row);
	json_decref(rows);
	snat_learn_load(u);
	for (i = 0; u->model && i < u->n_vips; i++)
		snat_changed(u, u->vips[i]);
	return 0;
}

/* tell_blocks - ports in use of each block; those of all in *ports, blocks with some in *busy */
static void tell_blocks(struct snat_pool *p, const struct host *h, json_t *ranges, unsigned int *ports, unsigned int *held,
			unsigned int *busy)
{
	json_t *r;
	size_t k;
	unsigned int i;

	*ports = *held = *busy = 0;
	for (i = 0; i < p->n_blocks; i++) {
		struct snat_block *b = &p->blocks[i];

		if (b->state != SNAT_HELD || strcmp(b->host, h->name))
			continue;
		b->used = -1;
		json_array_foreach(ranges, k, r)
			if (get_u64(r, "first", 0) == b->first && get_u64(r, "last", 0) == b->last)
				b->used = json_is_integer(json_object_get(r, "used")) ? (int)get_u64(r, "used", 0) : -1;
		*ports += b->last - b->first + 1;
		*held += 1;
		*busy += b->used != 0;
	}
}

static void report_of(struct updater *u, struct host *h, json_t *item, bool refused)
{
	struct uvip *v = vip_find(u, get_str(item, "vip", NULL));
	struct snat_user *user = v && v->snat ? user_make(v->snat, h) : NULL;
	unsigned int ports, held, busy;

	if (!user)
		return;
	user->ports = get_u64(item, "ports", 0);
	user->used = get_u64(item, "used", 0);
	user->fit = get_u64(item, "fit", 0);
	user->busiest = get_u64(item, "busiest", 0);
	tell_blocks(v->snat, h, json_object_get(item, "ranges"), &ports, &held, &busy);
	/* of before it had what it has been given: it says nothing of its need now */
	if (user->ports != ports)
		return;
	/* one whose DIP is down can use no port: more of them are no help */
	user->low = user->fit && (refused || user->busiest >= user->fit || (user->fit - user->busiest) * 4 < user->fit);
	if (busy * 4 >= held || held < 2)
		user->idle_ms = 0;
	else if (!user->idle_ms)
		user->idle_ms = mono_ms();
	if (user->low || user->idle_ms)
		snat_soon(u, v->snat);
}

void snat_report(struct updater *u, struct host *h, json_t *report)
{
	uint64_t exhausted = get_u64(report, "exhausted", 0);
	bool refused = h->snat_heard && exhausted > h->snat_refused;
	json_t *item;
	size_t i;

	snat_claims(u, h, json_object_get(report, "vips"));
	if (!report)
		return;
	h->snat_refused = exhausted;
	h->snat_heard = true;
	json_array_foreach(json_object_get(report, "vips"), i, item)
		report_of(u, h, item, refused);
}

static int later(const void *a, const void *b)
{
	const struct snat_block *x = *(struct snat_block *const *)a, *y = *(struct snat_block *const *)b;

	return (x->number < y->number) - (x->number > y->number);
}

/* the newest first: an agent looks for a port in this order, and the newest was given for want of free ones */
void snat_desired(const struct host *h, const struct uvip *v, json_t *vip, json_t *blocks)
{
	const struct snat_block *mine[SNAT_BLOCKS_MAX];
	struct snat_pool *p = v->snat;
	unsigned int i, n = 0;

	for (i = 0; p && i < p->n_blocks && n < SNAT_BLOCKS_MAX; i++)
		if (p->blocks[i].state == SNAT_HELD && (p->blocks[i].claimed || !h->u->snat_learning) &&
		    !strcmp(p->blocks[i].host, h->name))
			mine[n++] = &p->blocks[i];
	if (!n)
		return;
	qsort(mine, n, sizeof(*mine), later);
	for (i = 0; i < n; i++)
		json_array_append_new(blocks, json_pack("{s:s, s:i, s:i}", "vip", v->text, "first", mine[i]->first, "last",
							mine[i]->last));
	json_object_set_new(vip, "rules", desired_rules(h->u, v));
	if (!strcmp(v->mux, SMUX))
		json_object_set_new(vip, "keep", json_true());
}
