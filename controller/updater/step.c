// SPDX-License-Identifier: GPL-2.0
/*
 * Takes one move through its states (enum move_state):
 *
 *   preparing     some SMux holds the VIP, hosts know DIPs that are to come
 *   withdrawing   its HMux withdraws the /32 and goes on serving; over when the
 *                 agent says it is no longer exported, and, where DIPs change,
 *                 when the SMuxes have had time to meet its connections
 *   switching     on the SMuxes; a new definition is in force from here and all
 *                 SMuxes take it. Where DIPs were changed it stays there for
 *                 change-hold-s: an HMux keeps no connection on its DIP
 *   announcing    the new HMux programs and announces; over when it is exported
 *
 * A mux that doesn't answer for SILENT_MS is not waited for in the first three:
 * its switch may be dead, and the VIP is safe on the SMuxes. Announcing waits
 * for ever, shown: the VIP stays on the SMuxes meanwhile.
 */
#include "priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "log.h"

#define ASK_TIMEOUT_MS 2000
#define REFUSED_MS     10000 /* how long a full mux is tried: what leaves it may make room */
#define REFUSED_MAX_MS 60000 /* and how long while VIPs do leave it */
#define ARRIVE_MS      5000 /* how long the neighbours of a switch may take to have the route that it exports */
#define NOTED_MS       1000  /* only what is waited for so long is worth a write */

static uint64_t in_state_ms(const struct move *mv)
{
	return mono_ms() - mv->entered_ms;
}

static void note(struct move *mv, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(mv->note, sizeof(mv->note), fmt, ap);
	va_end(ap);
}

static enum step wait_for(struct move *mv, const char *fmt, ...)
{
	char before[sizeof(mv->note)];
	va_list ap;

	memcpy(before, mv->note, sizeof(before));
	va_start(ap, fmt);
	vsnprintf(mv->note, sizeof(mv->note), fmt, ap);
	va_end(ap);
	if (strcmp(before, mv->note) && in_state_ms(mv) > NOTED_MS)
		move_keep(mv);
	return STEP_WAIT;
}

static void touch(struct updater *u, const char *mux, struct uvip *v)
{
	struct mux *m = mux_find(u, mux);

	if (m)
		mux_touch(m, v);
}

static void look(struct updater *u, const char *mux)
{
	struct mux *m = mux_find(u, mux);

	if (m)
		m->told_ms = 0;	/* what it told of its VIPs is out of date */
}

static enum step finish(struct move *mv)
{
	struct updater *u = mv->u;
	struct uvip *v = mv->vip;
	char from[NAME_SIZE], to[NAME_SIZE];

	move_enter(mv, MOVE_DONE);
	snprintf(from, sizeof(from), "%s", mv->from);
	snprintf(to, sizeof(to), "%s", mv->to);
	store_event(u->store, "moved", v->text, "%s %llu done: %s to %s in %llu ms",
		    move_kind_name(mv->kind), (unsigned long long)mv->id, from, to,
		    (unsigned long long)(mv->changed_ms - mv->created_ms));
	move_forget(mv);
	u->resting_ms = 0;
	if (strcmp(from, v->mux))
		touch(u, from, v); /* it lets go now */
	look(u, from);
	look(u, to);
	return STEP_OVER;
}

static enum step fail(struct move *mv, const char *why)
{
	struct updater *u = mv->u;
	struct uvip *v = mv->vip;
	char to[NAME_SIZE];

	snprintf(to, sizeof(to), "%s", mv->to);
	note(mv, "%s; the VIP stays on the SMuxes", why);
	vip_place(u, v, SMUX, -1, mv->note);
	mv->state = MOVE_FAILED;
	move_keep(mv);
	store_event(u->store, "move-failed", v->text, "move %llu to %s: %s",
		    (unsigned long long)mv->id, to, mv->note);
	move_forget(mv);
	u->resting_ms = 0;
	touch(u, to, v);
	return STEP_OVER;
}

static bool ask_neighbour(struct move *mv);

/* arrival - what a neighbour of the new switch has; one that has the route is enough */
static void neighbour_answered(const struct http_result *r, void *ctx)
{
	struct move *mv = ctx;
	enum arrived has = arrival_has(r, mv->vip->text);
	const struct mux *to = mux_find(mv->u, mv->to), *n = to ? arrival_neighbour(to, mv->asked) : NULL;

	mv->call = NULL;
	mv->asked++;
	mv->confirmed = has == ARRIVED_YES;
	if (has == ARRIVED_NO) {
		mv->lacking++;
		note(mv, "%s does not have %s from %s: its import filter or its limit refuses it", n ? n->name : "a neighbour",
		     mv->vip->text, mv->to);
	}
	if (!mv->confirmed && ask_neighbour(mv))
		return;
	mv->confirmed |= !mv->lacking;	/* nobody can say: what is offered counts */
	mv->rest = !mv->confirmed;
	if (mv->confirmed)
		moves_run(mv->u);
	else
		move_ask_again(mv);
}

/* ask_neighbour - the next one, whether the route has arrived there; false: there is no more */
static bool ask_neighbour(struct move *mv)
{
	struct mux *to = mux_find(mv->u, mv->to), *n;
	char url[400];

	n = to && mv->asked < ARRIVAL_NEIGHBOURS ? arrival_neighbour(to, mv->asked) : NULL;
	if (!n)
		return false;
	snprintf(url, sizeof(url), "%s/v1/learned/%s?vip=%s", n->url, to->local, mv->vip->text);
	mv->call = http_call(mv->u->ctl->client, "GET", url, NULL, ASK_TIMEOUT_MS, neighbour_answered, mv);
	return mv->call;
}

static void answered(const struct http_result *r, void *ctx)
{
	struct move *mv = ctx;
	bool exported = json_is_true(json_object_get(r->body, "exported"));

	mv->call = NULL;
	if (mv->state == MOVE_WITHDRAWING) {
		mv->confirmed = r->status == 404 || (r->status == 200 && !exported);
		if (!mv->confirmed)
			note(mv, "%s still exports it", mv->from);
	} else if (mv->state == MOVE_ANNOUNCING) {
		mv->confirmed = r->status == 200 && exported;
		if (r->status == 200 && !exported)
			note(mv, "%s has it %s, not yet exported", mv->to,
			     get_str(r->body, "state", "programmed"));
		mv->asked = mv->lacking = 0;
		if (mv->confirmed && ask_neighbour(mv)) {
			mv->confirmed = false;
			return;
		}
	}
	mv->rest = !mv->confirmed;
	if (mv->confirmed)
		moves_run(mv->u);
	else
		move_ask_again(mv);
}

/* ask - the mux whether it still or already exports the VIP */
static enum step ask(struct move *mv, const struct mux *m)
{
	char url[400];

	if (!mv->call && !mv->rest) {
		snprintf(url, sizeof(url), "%s/v1/vips/%s", m->url, mv->vip->text);
		mv->call = http_call(mv->u->ctl->client, "GET", url, NULL, ASK_TIMEOUT_MS, answered,
				     mv);
	}
	return STEP_WAIT;
}

static bool some_smux_holds(const struct updater *u, const struct uvip *v)
{
	unsigned int i;

	for (i = u->n_muxes; i; i--) {	/* they come last */
		const struct mux *m = &u->muxes[i - 1];

		if (m->smux && !m->drained && !m->lost_ms && !m->fenced && mux_clean(m, v) && !mux_refusal(m, v))
			return true;
	}
	return false;
}

static enum step prepare(struct move *mv)
{
	struct updater *u = mv->u;
	struct uvip *v = mv->vip;
	char why[sizeof(mv->note)];
	const char *name;

	if (mv->kind == MOVE_REKEY && v->key == u->key)	/* the rotation was turned back before this one began */
		return finish(mv);
	if (mv->kind == MOVE_REKEY && rotation_vip_waits(u, v, why, sizeof(why)))
		return wait_for(mv, "%s", why);
	if (mv->kind != MOVE_DELETE && v->fresh_ms)
		return wait_for(mv, "the hosts of its DIPs are being told of the VIP");
	if (mv->kind != MOVE_DELETE && strcmp(v->mux, SMUX) && !some_smux_holds(u, v))
		return wait_for(
			mv, "no SMux confirms that it holds the VIP: it is not withdrawn from %s",
			v->mux);
	if (mv->def && !hosts_ready(u, mv->def, &name) && in_state_ms(mv) < HOSTS_MS)
		return wait_for(mv, "host %s is not ready", name);
	move_enter(mv, MOVE_WITHDRAWING);
	if (strcmp(mv->from, SMUX))
		touch(u, mv->from, v);
	return STEP_AGAIN;
}

static bool concerned(const struct move *mv, const struct mux *m)
{
	return m->smux || !strcmp(m->name, mv->from);
}

static enum step deleted(struct move *mv)
{
	struct updater *u = mv->u;
	struct uvip *v = mv->vip;
	json_t *def = json_incref(v->def);
	unsigned int i;

	mv->state = MOVE_DONE;
	move_keep(mv);
	store_event(u->store, "vip-deleted", v->text, "it is gone from all muxes");
	for (i = 0; i < u->n_muxes; i++) {
		struct mux *m = &u->muxes[i];

		if (concerned(mv, m) || !m->digests || json_object_get(m->digests, v->text))
			mux_dirty(m, v->text);
	}
	move_forget(mv);
	vip_remove(u, v);
	hosts_touch(u, def);
	json_decref(def);
	return STEP_OVER;
}

/* switches - do muxes get something else of it on the way */
static bool switches(const struct move *mv)
{
	return mv->def || mv->kind == MOVE_REKEY;
}

/* met - the SMuxes know the connections that were its HMux's: one they have not seen a packet of
 * is not kept on its DIP when others are added
 */
static bool met(struct move *mv)
{
	uint64_t now = mono_ms();
	bool smux = !strcmp(mv->from, SMUX);

	if (mv->kind != MOVE_REKEY && (!mv->def || smux))
		return true;
	if (!mv->met_ms) {
		/* a VIP that is resident there was learned since it came; every connection of it would get another DIP */
		mv->met_ms = smux ? mv->vip->smux_ms : now;
		mv->rehash = mv->kind == MOVE_REKEY || vip_other_tables(mv->vip, mv->def) || maintenance_waits(mv->u, mv->vip);
	}
	return !mv->rehash || now - mv->met_ms >= mv->u->control.change_learn_s * 1000ull;
}

/* withdrawn - the VIP is off its HMux: delete it, or switch it */
static enum step withdrawn(struct move *mv)
{
	struct updater *u = mv->u;
	struct uvip *v = mv->vip;

	if (mv->kind == MOVE_DELETE)
		return deleted(mv);
	if (!met(mv))
		return wait_for(mv, "the SMuxes meet its connections for %u s before its %s", u->control.change_learn_s,
				mv->kind == MOVE_REKEY ? "key changes" : "DIPs change");
	vip_place(u, v, SMUX, v->mru, NULL);
	if (mv->def)
		vip_adopt(u, v, json_incref(mv->def));
	if (mv->kind == MOVE_REKEY && v->key != u->key)
		vip_rekey(u, v, u->key);
	if (mv->rehash)
		v->tables_ms = mono_ms();
	move_enter(mv, MOVE_SWITCHING);
	if (switches(mv)) {
		vip_changed(v);		/* drains that waited for this are in force */
		vips_touch(u, v, false);
		hosts_touch(u, v->def);
	}
	return STEP_AGAIN;
}

static enum step withdraw(struct move *mv)
{
	struct mux *m = strcmp(mv->from, SMUX) ? mux_find(mv->u, mv->from) : NULL;

	if (!m) /* on the SMuxes, or its switch has left the topology */
		return withdrawn(mv);
	if (mux_lost(m) && mv->kind == MOVE_REKEY)
		return wait_for(mv, "%s does not answer (%s): if it serves on, it chooses by the old key", m->name, m->why);
	if (mux_lost(m)) {
		if (!mv->unconfirmed)
			store_event(mv->u->store, "unconfirmed", mv->vip->text,
				    "%s does not answer (%s): it is taken for dead, its route for gone",
				    m->name, m->why);
		mv->unconfirmed = true;
		return withdrawn(mv);
	}
	if (m->fenced)
		return wait_for(mv, "%s obeys another controller", m->name);
	if (!mux_clean(m, mv->vip) || m->lost_ms)
		return wait_for(mv, "%s has not confirmed%s%s", m->name, m->why[0] ? ": " : "",
				m->why);
	if (mv->confirmed)
		return withdrawn(mv);
	return ask(mv, m);
}

/* same_tables - do all muxes that told have the same tables of it now */
static const struct mux *other_table(const struct move *mv)
{
	const struct updater *u = mv->u;
	const char *first = NULL, *digest;
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++) {
		const struct mux *m = &u->muxes[i];

		if (!m->smux || m->lost_ms || m->fenced || m->told_ms < mv->entered_ms)
			continue;
		digest = json_string_value(json_object_get(m->digests, mv->vip->text));
		if (digest && first && strcmp(first, digest))
			return m;
		first = digest ? digest : first;
	}
	return NULL;
}

static enum step switch_over(struct move *mv)
{
	struct updater *u = mv->u;
	struct uvip *v = mv->vip;
	const struct mux *other;
	unsigned int i;
	struct mux *to;

	for (i = 0; switches(mv) && i < u->n_muxes; i++) {
		struct mux *m = &u->muxes[i];
		bool gone = m->fenced || mux_lost(m);

		if (!concerned(mv, m) || mux_clean(m, v) || (gone && mv->kind != MOVE_REKEY))
			continue;
		return wait_for(mv, "%s has not taken the new %s%s%s", m->name, mv->kind == MOVE_REKEY ? "key" : "definition",
				m->why[0] ? ": " : "", m->why);
	}
	other = mv->def ? other_table(mv) : NULL;
	if (other)
		return wait_for(mv, "%s has another table than the other SMuxes", other->name);
	if (!strcmp(mv->to, SMUX))
		return finish(mv);
	to = mux_find(u, mv->to);
	if (!to)
		return fail(mv, "the topology has no such switch");
	if (v->tables_ms && mono_ms() - v->tables_ms < u->control.change_hold_s * 1000ull)
		return wait_for(mv, "connections of before its DIPs or key changed go on at the SMuxes, which know them, for %u s", u->control.change_hold_s);
	if (to->leaving)
		return wait_for(mv, "other VIPs are still withdrawn from %s", to->name);
	vip_place(u, v, mv->to, v->mru, NULL);
	move_enter(mv, MOVE_ANNOUNCING);
	if (strcmp(mv->from, mv->to))
		touch(u, mv->from, v);
	touch(u, mv->to, v);
	snat_follow(u, v);	/* an HMux keeps no connections: hosts end those that it sends elsewhere */
	return STEP_AGAIN;
}

static bool others_leave(const struct mux *m, const struct move *mine)
{
	const struct move *mv;

	if (m->leaving)
		return true;
	TAILQ_FOREACH(mv, &m->u->queue, list)
		if (mv != mine && !strcmp(mv->from, m->name))
			return true;
	return false;
}

/* not_arrived - the switch exports it, and no neighbour takes it: it would carry nothing */
static enum step not_arrived(struct move *mv)
{
	char why[sizeof(mv->note)];

	snprintf(why, sizeof(why), "%.150s", mv->note);
	return fail(mv, why);
}

static enum step announce(struct move *mv)
{
	struct mux *m = mux_find(mv->u, mv->to);
	const char *why;

	if (!m)
		return fail(mv, "the topology has no such switch");
	if (mv->confirmed)
		return finish(mv);
	if (mv->lacking && !mv->call && in_state_ms(mv) > ARRIVE_MS)
		return not_arrived(mv);
	if (m->fenced)
		return wait_for(mv, "%s obeys another controller", m->name);
	if (!mux_clean(m, mv->vip) || m->lost_ms)
		return wait_for(mv, "%s has not confirmed%s%s", m->name, m->why[0] ? ": " : "",
				m->why);
	why = mux_refusal(m, mv->vip);
	if (why && in_state_ms(mv) > (others_leave(m, mv) ? REFUSED_MAX_MS : REFUSED_MS))
		return fail(mv, why);
	if (why) {
		wait_for(mv, "%s refuses: %s", m->name, why);
		if (!mv->armed && mv->delay_ms > 100)	/* it is asked for again, less and less often */
			mux_touch(m, mv->vip);
		return STEP_WAIT;
	}
	return ask(mv, m);
}

enum step move_step(struct move *mv)
{
	if (mv->u->control.stop)
		return wait_for(mv, "stopped by the operator");
	switch (mv->state) {
	case MOVE_PREPARING:
		return prepare(mv);
	case MOVE_WITHDRAWING:
		return withdraw(mv);
	case MOVE_SWITCHING:
		return switch_over(mv);
	default:
		return announce(mv);
	}
}
