// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps the moves: those under way and the queue of those to come, each in the
 * store before anything is sent; killed at any point, the next incarnation
 * goes on from there. All that are under way are looked at in one pass, whose
 * changes are one transaction. How one goes from step to step is in step.c.
 */
#include "priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define DELAY_MIN_MS 4	 /* between two questions to an agent */
#define DELAY_MAX_MS 200
#define PASS_MS	     3	 /* between two passes, when many are under way */
#define QUEUE_MS     100
#define MANY	     64

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
	[MOVE_MOVE] = "move", [MOVE_CHANGE] = "change", [MOVE_DELETE] = "delete", [MOVE_REKEY] = "rekey",
};

const char *move_kind_name(enum move_kind kind)
{
	return kinds[kind];
}

const char *move_state_name(enum move_state state)
{
	return states[state];
}

bool move_keep(struct move *mv)
{
	mv->changed_ms = wall_ms();
	mv->id = store_move_put(mv->u->store, &(struct store_move){ .id = mv->id,
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
								    .over = mv->state >= MOVE_DONE,
								    .back = mv->back,
								    .drains = mv->drains });
	return true;
}

void move_enter(struct move *mv, enum move_state state)
{
	mv->state = state;
	mv->note[0] = 0;
	move_keep(mv);
	mv->entered_ms = mono_ms();
	mv->confirmed = mv->rest = false;
	mv->delay_ms = DELAY_MIN_MS;
}

void move_forget(struct move *mv)
{
	struct updater *u = mv->u;

	if (mv->active) {
		TAILQ_REMOVE(&u->moves, mv, list);
		u->n_active--;
	} else {
		TAILQ_REMOVE(&u->queue, mv, list);
		u->n_queued--;
	}
	if (mv->vip && mv->vip->move == mv) {
		mv->vip->move = NULL;
		if (!u->stopping)
			snat_changed(u, mv->vip);
	}
	if (mv->call && !u->stopping)
		http_cancel(mv->call);
	sd_event_source_disable_unref(mv->timer);
	json_decref(mv->def);
	free(mv);
}

static int look_again(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct move *mv = ctx;

	mv->armed = mv->rest = false;
	moves_run(mv->u);
	return 0;
}

void move_ask_again(struct move *mv)
{
	if (mv->call || mv->armed)
		return;
	mv->armed = true;
	once(mv->u->ctl->loop, &mv->timer, mv->delay_ms, look_again, mv);
	mv->delay_ms = mv->delay_ms * 3 / 2 > DELAY_MAX_MS ? DELAY_MAX_MS : mv->delay_ms * 3 / 2;
}

static void admit(struct updater *u)
{
	struct move *mv, *next;
	char why[sizeof(mv->note)];

	for (mv = TAILQ_FIRST(&u->queue); mv; mv = next) {
		next = TAILQ_NEXT(mv, list);
		if (!limit_admits(u, mv, why, sizeof(why))) {
			snprintf(mv->note, sizeof(mv->note), "%s", why);
			/* one that is too large must not hold up the smaller ones after it */
			if (u->n_active >= u->control.max_moves || u->control.stop)
				break;
			continue;
		}
		TAILQ_REMOVE(&u->queue, mv, list);
		u->n_queued--;
		mv->note[0] = 0;
		mv->active = true;
		mv->entered_ms = mono_ms();
		TAILQ_INSERT_TAIL(&u->moves, mv, list);
		u->n_active++;
	}
}

/* pass - everything that is under way, as far as it goes now, as one transaction */
static int pass(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct updater *u = ctx;
	struct move *mv, *next;
	bool over = false;

	u->pass_armed = false;
	u->passed_ms = mono_ms();
	if (!u->model || (TAILQ_EMPTY(&u->moves) && TAILQ_EMPTY(&u->queue)))
		return 0;
	updater_begin(u);
	limits_count(u);
	admit(u);
	for (mv = TAILQ_FIRST(&u->moves); mv; mv = next) {
		enum step step;

		next = TAILQ_NEXT(mv, list);
		do {
			step = move_step(mv);
		} while (step == STEP_AGAIN);
		if (step == STEP_OVER)
			over = true;
		else
			move_ask_again(mv);
	}
	if (!updater_commit(u) && over)
		moves_run(u);	/* one that ends may let others go on */
	if (!u->pass_armed && u->n_queued && mono_ms() >= u->stalled_ms)	/* what keeps them waiting may go by itself */
		once(u->ctl->loop, &u->pass_timer, QUEUE_MS, pass, u);
	return 0;
}

void moves_run(struct updater *u)
{
	bool many = u->n_active > MANY && mono_ms() - u->passed_ms < PASS_MS;

	if (u->pass_armed || mono_ms() < u->stalled_ms)
		return;
	u->pass_armed = true;
	once(u->ctl->loop, &u->pass_timer, many ? PASS_MS : 0, pass, u);
}

static struct move *append(struct updater *u, struct uvip *v)
{
	struct move *mv = calloc(1, sizeof(*mv));

	if (!mv)
		return NULL;
	mv->u = u;
	mv->vip = v;
	mv->delay_ms = DELAY_MIN_MS;
	mv->entered_ms = mono_ms();
	TAILQ_INSERT_TAIL(&u->queue, mv, list);
	u->n_queued++;
	return mv;
}

struct move *move_new(struct updater *u, struct uvip *v, enum move_kind kind, const char *to,
		      json_t *def, uint64_t wave)
{
	struct move *old = v->move, *mv = append(u, v);
	char from[NAME_SIZE];

	if (!mv) {
		json_decref(def);
		return NULL;
	}
	mv->kind = kind;
	mv->wave = wave;
	mv->def = def;
	mv->created_ms = wall_ms();
	snprintf(mv->from, sizeof(mv->from), "%s", v->mux);
	snprintf(mv->to, sizeof(mv->to), "%s", to);
	if (old) {
		/* a definition that was on its way and is not in force yet goes along */
		if (old->def && !mv->def && kind != MOVE_DELETE && old->state < MOVE_SWITCHING) {
			mv->def = json_incref(old->def);
			mv->kind = MOVE_CHANGE;
		}
		mv->drains = old->drains && mv->def && old->state < MOVE_SWITCHING;
		old->state = MOVE_SUPERSEDED;
		snprintf(old->note, sizeof(old->note), "a later move of the VIP took over");
		move_keep(old);
		snprintf(from, sizeof(from), "%s", old->from);
		move_forget(old);
	}
	move_keep(mv);
	v->move = mv;
	if (old && mux_find(u, from))
		mux_touch(mux_find(u, from), v);
	if (mv->def) {
		hosts_note(u, v, mv->def);
		hosts_touch(u, mv->def);
	}
	return mv;
}

int move_abort(struct move *mv, struct err *e)
{
	struct updater *u = mv->u;
	struct uvip *v = mv->vip;
	char from[NAME_SIZE];
	struct move *back;

	if (mv->kind == MOVE_DELETE && mv->state >= MOVE_WITHDRAWING)
		return err_set(e, -EBUSY, "VIP %s is being deleted, and muxes may have let go of it", v->text);
	if (mv->def && mv->state >= MOVE_SWITCHING)
		return err_set(e, -EBUSY, "the new definition of VIP %s is in force on the SMuxes: to go back, "
			       "apply the old one", v->text);
	if (maintenance_waits(u, v))
		return err_set(e, -EBUSY, "VIP %s goes through the SMuxes so that a DIP can be drained: duetctl drains shows which; undrain it", v->text);
	if (mv->kind == MOVE_REKEY)
		return err_set(e, -EBUSY, "VIP %s changes its key: duetctl key rotate --abort turns the whole rotation back", v->text);
	if (mv->back)
		return err_set(e, -EALREADY, "move %llu is on its way back", (unsigned long long)mv->id);
	snprintf(from, sizeof(from), "%s", mv->from);
	if (mv->state == MOVE_PREPARING) {	/* nothing has happened */
		mv->state = MOVE_FAILED;
		snprintf(mv->note, sizeof(mv->note), "aborted before it began");
		move_keep(mv);
		move_forget(mv);
		return 0;
	}
	json_decref(mv->def);
	mv->def = NULL;
	back = move_new(u, v, MOVE_MOVE, from, NULL, mv->wave);
	if (!back)
		return err_set(e, -ENOMEM, "out of memory");
	back->back = true;
	snprintf(back->note, sizeof(back->note), "aborted: it goes back");
	move_keep(back);
	return 0;
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
	int kind = named(kinds, MOVE_REKEY + 1, row->kind), state = named(states, MOVE_DONE, row->state);
	struct move *mv = v && !v->move && kind >= 0 && state >= 0 ? append(u, v) : NULL;

	if (!mv) {
		log_err("store: move %llu of VIP %s makes no sense and is left alone",
			(unsigned long long)row->id, row->vip);
		return;
	}
	mv->id = row->id;
	mv->wave = row->wave;
	mv->kind = kind;
	mv->state = state;
	mv->back = row->back;
	mv->drains = row->drains;
	mv->def = row->def ? json_incref(row->def) : NULL;
	mv->created_ms = row->created_ms;
	mv->changed_ms = row->changed_ms;
	snprintf(mv->from, sizeof(mv->from), "%s", row->from);
	snprintf(mv->to, sizeof(mv->to), "%s", row->to);
	if (state == MOVE_SWITCHING && (mv->def || kind == MOVE_REKEY))
		v->tables_ms = mono_ms();
	if (state > MOVE_PREPARING) {	/* it is on the SMuxes already: no reason to wait */
		TAILQ_REMOVE(&u->queue, mv, list);
		TAILQ_INSERT_TAIL(&u->moves, mv, list);
		u->n_queued--;
		u->n_active++;
		mv->active = true;
	}
	v->move = mv;
}

int moves_load(struct updater *u, struct err *e)
{
	if (store_move_each(u->store, load_move, u))
		return err_set(e, -EIO, "store %s: moves can't be read", store_name(u->store));
	if (u->n_active + u->n_queued)
		log_info("%u moves go on, %u wait to begin", u->n_active, u->n_queued);
	return 0;
}

void moves_free(struct updater *u)
{
	struct move *mv;

	while ((mv = TAILQ_FIRST(&u->moves)) || (mv = TAILQ_FIRST(&u->queue)))
		move_forget(mv);
}
