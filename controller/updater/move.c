// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps the moves under way and takes them through their states (enum
 * move_state), each kept in the store before anything is sent: killed at any
 * point, the next incarnation goes on from there.
 *
 *   preparing     some SMux holds the VIP, hosts know DIPs that are to come
 *   withdrawing   its HMux withdraws the /32 and goes on serving; over when the
 *                 agent says it is no longer exported
 *   switching     on the SMuxes; a new definition is in force from here and all
 *                 SMuxes take it; over when all moves of the wave are here
 *   announcing    the new HMux programs and announces; over when it is exported
 *
 * A mux that doesn't answer for SILENT_MS is not waited for in the first three:
 * its switch may be dead, and the VIP is safe on the SMuxes. Announcing waits
 * for ever, shown: the VIP stays on the SMuxes meanwhile.
 */
#include "priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define DELAY_MIN_MS   4 /* between two questions to an agent */
#define DELAY_MAX_MS   200
#define ASK_TIMEOUT_MS 2000
#define HOSTS_MS       3000  /* how long hosts are waited for */
#define REFUSED_MS     10000 /* how long a full mux is tried: what leaves it may make room */

static const char *const states[] = {
	[MOVE_PREPARING] = "preparing",
	[MOVE_WITHDRAWING] = "withdrawing",
	[MOVE_SWITCHING] = "switching",
	[MOVE_ANNOUNCING] = "announcing",
	[MOVE_DONE] = "done",
	[MOVE_FAILED] = "failed",
	[MOVE_SUPERSEDED] = "superseded",
};
static const char *const kinds[] = {
	[MOVE_MOVE] = "move", [MOVE_CHANGE] = "change", [MOVE_DELETE] = "delete"
};

enum step { STEP_WAIT, STEP_AGAIN, STEP_OVER };

const char *move_state_name(enum move_state state)
{
	return states[state];
}

static bool keep(struct move *mv)
{
	uint64_t id;

	mv->changed_ms = wall_ms();
	id = store_move_put(mv->u->store, &(struct store_move){ .id = mv->id,
								.wave = mv->wave,
								.vip = mv->vip->text,
								.kind = kinds[mv->kind],
								.from = mv->from,
								.to = mv->to,
								.state = states[mv->state],
								.note = mv->note,
								.def = mv->def,
								.created_ms = mv->created_ms,
								.changed_ms = mv->changed_ms,
								.over = mv->state >= MOVE_DONE });
	if (id)
		mv->id = id;
	return id;
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
	/* only what is waited for long is worth a write */
	if (strcmp(before, mv->note) && mono_ms() - mv->entered_ms > 1000)
		keep(mv);
	return STEP_WAIT;
}

static uint64_t in_state_ms(const struct move *mv)
{
	return mono_ms() - mv->entered_ms;
}

/* enter - the next state, kept; false if it can't be kept: then nothing changes */
static bool enter(struct move *mv, enum move_state state)
{
	enum move_state before = mv->state;

	mv->state = state;
	if (!keep(mv)) {
		mv->state = before;
		return false;
	}
	mv->entered_ms = mono_ms();
	mv->confirmed = mv->rest = false;
	mv->delay_ms = DELAY_MIN_MS;
	mv->note[0] = 0;
	return true;
}

static void forget(struct move *mv)
{
	struct move **p;

	for (p = &mv->u->moves; *p; p = &(*p)->next) {
		if (*p == mv) {
			*p = mv->next;
			break;
		}
	}
	if (mv->vip && mv->vip->move == mv)
		mv->vip->move = NULL;
	if (mv->call)
		http_cancel(mv->call);
	sd_event_source_disable_unref(mv->timer);
	json_decref(mv->def);
	free(mv);
}

static void look(struct updater *u, const char *mux)
{
	struct mux *m = mux_find(u, mux);

	if (m)
		mux_look(m);
}

static void touch(struct updater *u, const char *mux, struct uvip *v)
{
	struct mux *m = mux_find(u, mux);

	if (m)
		mux_touch(m, v);
}

static enum step finish(struct move *mv)
{
	struct updater *u = mv->u;
	struct uvip *v = mv->vip;
	char from[NAME_SIZE], to[NAME_SIZE];

	if (!enter(mv, MOVE_DONE))
		return STEP_WAIT;
	snprintf(from, sizeof(from), "%s", mv->from);
	snprintf(to, sizeof(to), "%s", mv->to);
	store_event(u->store, "moved", v->text, "%s %llu done: %s to %s in %llu ms",
		    kinds[mv->kind], (unsigned long long)mv->id, from, to,
		    (unsigned long long)(wall_ms() - mv->created_ms));
	forget(mv);
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
	bool kept;

	snprintf(to, sizeof(to), "%s", mv->to);
	note(mv, "%s; the VIP stays on the SMuxes", why);
	store_begin(u->store);
	vip_place(u, v, SMUX, -1, mv->note);
	mv->state = MOVE_FAILED;
	keep(mv);
	store_event(u->store, "move-failed", v->text, "move %llu to %s: %s",
		    (unsigned long long)mv->id, to, mv->note);
	kept = !store_commit(u->store);
	if (!kept)
		log_err("move %llu: its failure is not kept", (unsigned long long)mv->id);
	forget(mv);
	touch(u, to, v);
	return STEP_OVER;
}

static void answered(const struct http_result *r, void *ctx)
{
	struct move *mv = ctx;
	bool exported = json_is_true(json_object_get(r->body, "exported"));
	struct updater *u = mv->u;

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
	}
	mv->rest = !mv->confirmed;
	moves_run(u);
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

	for (i = 0; i < u->n_muxes; i++) {
		const struct mux *m = &u->muxes[i];

		if (m->smux && !m->lost_ms && !m->fenced && mux_clean(m, v) && !mux_refusal(m, v))
			return true;
	}
	return false;
}

static enum step prepare(struct move *mv)
{
	struct updater *u = mv->u;
	struct uvip *v = mv->vip;
	const char *name;

	if (mv->kind != MOVE_DELETE && strcmp(v->mux, SMUX) && !some_smux_holds(u, v))
		return wait_for(
			mv, "no SMux confirms that it holds the VIP: it is not withdrawn from %s",
			v->mux);
	if (mv->def && !hosts_ready(u, mv->def, &name) && in_state_ms(mv) < HOSTS_MS)
		return wait_for(mv, "host %s is not ready", name);
	if (!enter(mv, MOVE_WITHDRAWING))
		return STEP_WAIT;
	if (strcmp(mv->from, SMUX))
		touch(u, mv->from, v);
	return STEP_AGAIN;
}

/* withdrawn - the VIP is off its HMux: delete it, or switch it */
static enum step withdrawn(struct move *mv)
{
	struct updater *u = mv->u;
	struct uvip *v = mv->vip;
	json_t *def = mv->def ? json_incref(mv->def) : NULL;
	unsigned int i;

	if (mv->kind == MOVE_DELETE) {
		store_begin(u->store);
		mv->state = MOVE_DONE;
		keep(mv);
		store_event(u->store, "vip-deleted", v->text, "it is gone from all muxes");
		mv->vip = NULL;
		def = v->def ? json_incref(v->def) : NULL;
		for (i = 0; i < u->n_muxes; i++)
			json_object_set_new(u->muxes[i].dirty, v->text, json_true());
		forget(mv);
		vip_remove(u, v);
		store_commit(u->store);
		for (i = 0; i < u->n_muxes; i++)
			mux_kick(&u->muxes[i]);
		hosts_touch(u, def);
		json_decref(def);
		return STEP_OVER;
	}
	store_begin(u->store);
	vip_place(u, v, SMUX, v->mru, NULL);
	if (def)
		vip_adopt(u, v, def);
	i = enter(mv, MOVE_SWITCHING);
	if (store_commit(u->store) || !i) {
		log_err("move %llu: the store can't keep it; it goes on in memory",
			(unsigned long long)mv->id);
		mv->state = MOVE_SWITCHING;
	}
	if (def) {
		vips_touch(u, v);
		hosts_touch(u, def);
	}
	return STEP_AGAIN;
}

static enum step withdraw(struct move *mv)
{
	struct mux *m = strcmp(mv->from, SMUX) ? mux_find(mv->u, mv->from) : NULL;

	if (!m) /* on the SMuxes, or its switch has left the topology */
		return withdrawn(mv);
	if (mux_lost(m)) {
		store_event(mv->u->store, "unconfirmed", mv->vip->text,
			    "%s does not answer (%s): it is taken for dead, its route for gone",
			    m->name, m->why);
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

/* wave_waits - is another move of the wave still to be withdrawn */
static bool wave_waits(const struct move *mv)
{
	const struct move *other;

	for (other = mv->u->moves; other; other = other->next)
		if (other != mv && other->wave == mv->wave && other->state < MOVE_SWITCHING)
			return true;
	return false;
}

static enum step switch_over(struct move *mv)
{
	struct updater *u = mv->u;
	struct uvip *v = mv->vip;
	unsigned int i;

	for (i = 0; mv->def && i < u->n_muxes; i++) {
		struct mux *m = &u->muxes[i];
		bool concerned = m->smux || !strcmp(m->name, mv->from);

		if (concerned && !m->fenced && !mux_lost(m) && !mux_clean(m, v))
			return wait_for(mv, "%s has not taken the new definition%s%s", m->name,
					m->why[0] ? ": " : "", m->why);
	}
	if (!strcmp(mv->to, SMUX))
		return finish(mv);
	if (wave_waits(mv))
		return wait_for(mv, "other VIPs of its wave are still withdrawn");
	if (!mux_find(u, mv->to))
		return fail(mv, "the topology has no such switch");
	store_begin(u->store);
	vip_place(u, v, mv->to, v->mru, NULL);
	i = enter(mv, MOVE_ANNOUNCING);
	if (store_commit(u->store) || !i) {
		vip_place(u, v, SMUX, v->mru, NULL);
		mv->state = MOVE_SWITCHING;
		return wait_for(mv, "the store can't keep it");
	}
	if (strcmp(mv->from, mv->to))
		touch(u, mv->from, v);
	touch(u, mv->to, v);
	return STEP_AGAIN;
}

static enum step announce(struct move *mv)
{
	struct mux *m = mux_find(mv->u, mv->to);
	const char *why;

	if (!m)
		return fail(mv, "the topology has no such switch");
	if (mv->confirmed)
		return finish(mv);
	if (m->fenced)
		return wait_for(mv, "%s obeys another controller", m->name);
	if (!mux_clean(m, mv->vip) || m->lost_ms)
		return wait_for(mv, "%s has not confirmed%s%s", m->name, m->why[0] ? ": " : "",
				m->why);
	why = mux_refusal(m, mv->vip);
	if (why && in_state_ms(mv) > REFUSED_MS)
		return fail(mv, why);
	if (why) {
		wait_for(mv, "%s refuses: %s", m->name, why);
		if (mv->delay_ms >= DELAY_MAX_MS)
			mux_touch(m, mv->vip);
		return STEP_WAIT;
	}
	return ask(mv, m);
}

static int look_again(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct move *mv = ctx;

	mv->armed = mv->rest = false;
	moves_run(mv->u);
	return 0;
}

/* run - as far as it goes now; true if it is over (and gone) */
static bool run(struct move *mv)
{
	enum step step;

	do {
		switch (mv->state) {
		case MOVE_PREPARING:
			step = prepare(mv);
			break;
		case MOVE_WITHDRAWING:
			step = withdraw(mv);
			break;
		case MOVE_SWITCHING:
			step = switch_over(mv);
			break;
		default:
			step = announce(mv);
			break;
		}
	} while (step == STEP_AGAIN);
	if (step == STEP_OVER)
		return true;
	if (!mv->call && !mv->armed) {
		mv->armed = true;
		once(mv->u->ctl->loop, &mv->timer, mv->delay_ms, look_again, mv);
		mv->delay_ms = mv->delay_ms * 3 / 2 > DELAY_MAX_MS ? DELAY_MAX_MS
								   : mv->delay_ms * 3 / 2;
	}
	return false;
}

void moves_run(struct updater *u)
{
	struct move *mv, *next;
	bool over;

	if (!u->model)
		return;
	/* one that ends may let others of its wave go on */
	do {
		over = false;
		for (mv = u->moves; mv; mv = next) {
			next = mv->next;
			over |= run(mv);
		}
	} while (over && u->moves);
}

struct move *move_new(struct updater *u, struct uvip *v, enum move_kind kind, const char *to,
		      json_t *def, uint64_t wave)
{
	struct move *mv = calloc(1, sizeof(*mv)), *old = v->move, **p;

	if (!mv) {
		json_decref(def);
		return NULL;
	}
	mv->u = u;
	mv->vip = v;
	mv->kind = kind;
	mv->wave = wave;
	mv->def = def;
	mv->created_ms = wall_ms();
	mv->delay_ms = DELAY_MIN_MS;
	mv->entered_ms = mono_ms();
	snprintf(mv->from, sizeof(mv->from), "%s", v->mux);
	snprintf(mv->to, sizeof(mv->to), "%s", to);
	/* a definition that was on its way and is not in force yet goes along */
	if (old && old->def && !mv->def && kind != MOVE_DELETE && old->state < MOVE_SWITCHING) {
		mv->def = json_incref(old->def);
		mv->kind = MOVE_CHANGE;
	}
	store_begin(u->store);
	if (old) {
		old->state = MOVE_SUPERSEDED;
		note(old, "a later move of the VIP took over");
		keep(old);
	}
	keep(mv);
	if (store_commit(u->store) || !mv->id) {
		json_decref(mv->def);
		free(mv);
		return NULL;
	}
	if (old) {
		char from[NAME_SIZE];

		snprintf(from, sizeof(from), "%s", old->from);
		forget(old);
		v->move = mv;
		touch(u, from, v);
	}
	for (p = &u->moves; *p; p = &(*p)->next)
		;
	*p = mv;
	v->move = mv;
	if (mv->def)
		hosts_touch(u, mv->def);
	return mv;
}

static int named(const char *const *list, int n, const char *name)
{
	int i;

	for (i = 0; i < n; i++)
		if (!strcmp(list[i], name))
			return i;
	return -1;
}

static void load_move(const struct store_move *row, void *ctx)
{
	struct updater *u = ctx;
	struct uvip *v = vip_find(u, row->vip);
	int kind = named(kinds, 3, row->kind), state = named(states, MOVE_DONE, row->state);
	struct move *mv = v && !v->move && kind >= 0 && state >= 0 ? calloc(1, sizeof(*mv)) : NULL;
	struct move **p;

	if (!mv) {
		log_err("store: move %llu of VIP %s makes no sense and is left alone",
			(unsigned long long)row->id, row->vip);
		return;
	}
	mv->u = u;
	mv->id = row->id;
	mv->wave = row->wave;
	mv->vip = v;
	mv->kind = kind;
	mv->state = state;
	mv->def = row->def ? json_incref(row->def) : NULL;
	mv->created_ms = row->created_ms;
	mv->changed_ms = row->changed_ms;
	mv->delay_ms = DELAY_MIN_MS;
	mv->entered_ms = mono_ms();
	snprintf(mv->from, sizeof(mv->from), "%s", row->from);
	snprintf(mv->to, sizeof(mv->to), "%s", row->to);
	for (p = &u->moves; *p; p = &(*p)->next)
		;
	*p = mv;
	v->move = mv;
	log_info("move %llu of VIP %s goes on: %s", (unsigned long long)mv->id, v->text,
		 states[state]);
}

int moves_load(struct updater *u, struct err *e)
{
	if (store_move_each(u->store, true, 0, 0, load_move, u))
		return err_set(e, -EIO, "store %s: moves can't be read", u->ctl->conf.store);
	return 0;
}

void moves_free(struct updater *u)
{
	struct move *mv;

	while ((mv = u->moves)) {
		mv->call = NULL; /* the client is gone, and its calls with it */
		forget(mv);
	}
}

json_t *move_to_json(const struct store_move *m)
{
	json_t *o = json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b}", "id",
			      (json_int_t)m->id, "wave", (json_int_t)m->wave, "vip", m->vip, "kind",
			      m->kind, "from", m->from, "to", m->to, "state", m->state, "note",
			      m->note ? m->note : "", "created-ms", (json_int_t)m->created_ms,
			      "changed-ms", (json_int_t)m->changed_ms, "over", m->over);

	return o;
}
