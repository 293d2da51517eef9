// SPDX-License-Identifier: GPL-2.0
/*
 * What hosts say of the ports they hold, against what the store says.
 *
 * A store that comes from a backup or an export is older than what hosts hold: ports
 * given since would be given a second time. It says so (STORE_COPY, written where it
 * is made), and until every host has been heard nothing is given or taken, a host is
 * told the blocks that it reports and no others, and what it reports is right: a block
 * that nobody reports it to have is, in the end, whose the store says. A host not
 * heard is sent nothing meanwhile; after snat-hold-s it is taken for dead.
 *
 * At other times the store is right. A host that reports what the store knows nothing of
 * gives it back the usual way; what another has it is told to let go, at once and shown.
 */
#include "snat.h"

#include <stdio.h>
#include <string.h>

#include "log.h"

void snat_learn_load(struct updater *u)
{
	int64_t value = 0;

	u->snat_learning = !store_get(u->store, STORE_COPY, &value) && value;
}

/* end - what was held back goes out now */
static void end(struct updater *u)
{
	struct snat_pool *p;
	unsigned int i;

	updater_begin(u);
	store_set(u->store, STORE_COPY, 0);
	store_event(u->store, "snat-learned", "snat", "%u of %u hosts have said which ports they hold%s", u->n_heard, u->n_hosts,
		    u->n_heard < u->n_hosts ? "; the others keep what the store says" : "");
	u->snat_learning = false;
	TAILQ_FOREACH(p, &u->pools, list)
		for (i = 0; i < p->n_blocks; i++) {
			struct host *h = host_find(u, p->blocks[i].host);

			if (h && p->blocks[i].state == SNAT_HELD && !p->blocks[i].claimed)
				host_touch(h);
		}
	if (updater_commit(u))
		return;
	for (i = 0; i < u->n_hosts; i++)
		host_kick(&u->hosts[i]);
	snat_settings(u);	/* every pool is looked at */
}

static int over(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct updater *u = ctx;

	if (u->snat_learning)
		end(u);
	return 0;
}

void snat_learn_start(struct updater *u)
{
	if (!u->snat_learning)
		return;
	log_notice("the store is a copy: no SNAT port is given before %u hosts have said which they hold, for %u s at most",
		   u->n_hosts, u->control.snat_hold_s);
	once(u->ctl->loop, &u->learn_timer, u->n_heard == u->n_hosts ? 0 : u->control.snat_hold_s * 1000ull, over, u);
}

void snat_heard(struct host *h)
{
	struct updater *u = h->u;

	if (h->heard)
		return;
	h->heard = true;
	u->n_heard++;
	if (!u->snat_learning)
		return;
	host_kick(h);
	if (u->n_heard == u->n_hosts)
		once(u->ctl->loop, &u->learn_timer, 0, over, u);
}

/* conflict - another has them */
static void conflict(struct updater *u, struct host *h, const struct snat_pool *p, const struct snat_block *b, unsigned int first,
		     unsigned int last)
{
	if (!h->snat_conflicts++)
		store_event(u->store, "snat-conflict", h->name, "it holds ports %u-%u of VIP %s, of which %s has %u-%u: it is told to let go",
			    first, last, p->text, b->host, b->first, b->last);
	host_touch(h);
}

/* held_by - the host's block of exactly these ports, as the store has it, or NULL */
static struct snat_block *held_by(const struct snat_pool *p, const struct host *h, unsigned int first, unsigned int last)
{
	unsigned int i;

	for (i = 0; p && i < p->n_blocks; i++)
		if (p->blocks[i].first == first && p->blocks[i].last == last && !strcmp(p->blocks[i].host, h->name))
			return &p->blocks[i];
	return NULL;
}

/* may_claim - could these ports have been given to the host: the VIP is there, it has a DIP at the host, the ports
 * are of its range, and with what the host has already they aren't more than one host may have
 */
static bool may_claim(const struct host *h, const struct snat_pool *p, const struct uvip *v, unsigned int first, unsigned int last)
{
	unsigned int i, ports = last - first + 1;
	struct snat_conf c;

	if (!v || !snat_conf(v->def, &c) || !json_object_get(h->vips, v->text) || first < c.first || last > c.last)
		return false;
	for (i = 0; p && i < p->n_blocks; i++)
		if (!strcmp(p->blocks[i].host, h->name) && p->blocks[i].state != SNAT_RESTING)
			ports += p->blocks[i].last - p->blocks[i].first + 1;
	return ports <= c.max * c.block;
}

/* claim - a host reports that it holds these ports; true: something has changed */
static bool claim(struct updater *u, struct host *h, struct snat_pool *p, unsigned int first, unsigned int last)
{
	struct snat_block *b = held_by(p, h, first, last);
	unsigned int i;

	if (b) {
		/* it had let go of it, says the store: a report of before that, or a store of before it was given again */
		if (u->snat_learning && !b->claimed && b->state != SNAT_HELD)
			snat_hold(u, p, b, h, SNAT_HELD);
		b->claimed = true;
		return false;
	}
	for (i = 0; i < p->n_blocks; i++) {
		b = &p->blocks[i];
		if (b->first > last || b->last < first)
			continue;
		if (!u->snat_learning || b->claimed) {
			conflict(u, h, p, b, first, last);
			return false;
		}
	}
	for (i = p->n_blocks; i; i--)
		if (p->blocks[i - 1].first <= last && p->blocks[i - 1].last >= first)
			snat_drop(u, p, i - 1);
	b = snat_insert(p, first, last);
	if (!b)
		return false;
	b->claimed = true;
	snat_hold(u, p, b, h, u->snat_learning ? SNAT_HELD : SNAT_LEAVING);
	store_event(u->store, "snat-unknown", h->name, "it holds ports %u-%u of VIP %s, which the store did not know: %s", first, last,
		    p->text, u->snat_learning ? "they are its own" : "they are taken back");
	host_touch(h);
	return true;
}

void snat_claims(struct updater *u, struct host *h, json_t *vips)
{
	json_t *item, *range;
	size_t i, k;

	h->snat_conflicts = 0;
	h->snat_foreign = 0;
	json_array_foreach(vips, i, item) {
		const char *text = get_str(item, "vip", "");
		struct snat_pool *p = snat_find(u, text);
		bool changed = false;

		json_array_foreach(json_object_get(item, "ranges"), k, range) {
			unsigned int first = get_u64(range, "first", 0), last = get_u64(range, "last", 0);
			const struct snat_block *b = held_by(p, h, first, last);

			if (!first || last < first || last > 65535 || (b && b->claimed))
				continue;	/* the second is what nearly every report says, of every block */
			if (!b && !may_claim(h, p, vip_find(u, text), first, last)) {
				if (!h->snat_foreign++)
					host_touch(h);	/* it is sent what it has */
				continue;
			}
			p = p ? p : snat_make(u, text);
			if (!p)
				return;
			updater_begin(u);
			changed |= claim(u, h, p, first, last);
			if (updater_commit(u))
				return;	/* memory is the store's again */
		}
		if (changed)
			snat_soon(u, p);
	}
}
