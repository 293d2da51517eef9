// SPDX-License-Identifier: GPL-2.0
/* Rows of the store: VIPs, moves, DIPs that are down, events. */
#include "store_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define EVENTS_KEPT 10000

static void bind_text(sqlite3_stmt *st, int i, const char *text)
{
	if (st && text)
		sqlite3_bind_text(st, i, text, -1, SQLITE_TRANSIENT);
}

static void bind_json(sqlite3_stmt *st, int i, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	bind_text(st, i, text);
	free(text);
}

static void bind_int(sqlite3_stmt *st, int i, int64_t value)
{
	if (st)
		sqlite3_bind_int64(st, i, value);
}

static const char *text_of(sqlite3_stmt *st, int i)
{
	return (const char *)sqlite3_column_text(st, i);
}

static json_t *json_of(sqlite3_stmt *st, int i)
{
	const char *text = text_of(st, i);

	return text ? json_loads(text, 0, NULL) : NULL;
}

void store_vip_put(struct store *s, const struct store_vip *v)
{
	sqlite3_stmt *st;

	store_begin(s);
	st = store_prepare(s, "INSERT OR REPLACE INTO vip(vip, def, mux, mru, reason) "
			   "VALUES(?1, ?2, ?3, ?4, ?5)");
	bind_text(st, 1, v->vip);
	bind_json(st, 2, v->def);
	bind_text(st, 3, v->mux);
	if (st && v->mru >= 0)
		sqlite3_bind_double(st, 4, v->mru);
	bind_text(st, 5, v->reason);
	store_step(s, st);
	store_commit(s);
}

void store_vip_del(struct store *s, const char *vip)
{
	static const char *const sql[] = {
		"DELETE FROM vip WHERE vip = ?1",
		"DELETE FROM dip_down WHERE vip = ?1",
	};
	unsigned int i;

	store_begin(s);
	for (i = 0; i < 2; i++) {
		sqlite3_stmt *st = store_prepare(s, sql[i]);

		bind_text(st, 1, vip);
		store_step(s, st);
	}
	store_commit(s);
}

int store_vip_each(struct store *s, void (*each)(const struct store_vip *v, void *ctx), void *ctx)
{
	sqlite3_stmt *st = store_prepare(s, "SELECT vip, def, mux, mru, reason FROM vip");
	int step = SQLITE_ERROR;

	while (st && (step = sqlite3_step(st)) == SQLITE_ROW) {
		struct store_vip v = {
			.vip = text_of(st, 0), .def = json_of(st, 1), .mux = text_of(st, 2),
			.reason = text_of(st, 4), .mru = -1,
		};

		if (sqlite3_column_type(st, 3) != SQLITE_NULL)
			v.mru = sqlite3_column_double(st, 3);
		each(&v, ctx);
		json_decref(v.def);
	}
	return store_done(s, st, step);
}

#define MOVE_COLUMNS "id, wave, vip, kind, mux_from, mux_to, def, state, note, created_ms, changed_ms, over"

uint64_t store_move_put(struct store *s, const struct store_move *m)
{
	sqlite3_stmt *st;
	uint64_t id;

	store_begin(s);
	st = store_prepare(s, "INSERT OR REPLACE INTO move(" MOVE_COLUMNS ") "
			   "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)");
	if (m->id)
		bind_int(st, 1, m->id);
	bind_int(st, 2, m->wave);
	bind_text(st, 3, m->vip);
	bind_text(st, 4, m->kind);
	bind_text(st, 5, m->from);
	bind_text(st, 6, m->to);
	bind_json(st, 7, m->def);
	bind_text(st, 8, m->state);
	bind_text(st, 9, m->note);
	bind_int(st, 10, m->created_ms);
	bind_int(st, 11, m->changed_ms);
	bind_int(st, 12, m->over);
	store_step(s, st);
	id = m->id ? m->id : (uint64_t)sqlite3_last_insert_rowid(s->db);
	return store_commit(s) ? 0 : id;
}

int store_move_each(struct store *s, bool running, uint64_t id, unsigned int limit,
		    void (*each)(const struct store_move *m, void *ctx), void *ctx)
{
	const char *sql = id ? "SELECT " MOVE_COLUMNS " FROM move WHERE id = ?1" :
			  running ? "SELECT " MOVE_COLUMNS " FROM move WHERE over = 0 ORDER BY id" :
			  "SELECT " MOVE_COLUMNS " FROM move ORDER BY id DESC LIMIT ?1";
	sqlite3_stmt *st = store_prepare(s, sql);
	int step = SQLITE_ERROR;

	if (id || !running)
		bind_int(st, 1, id ? id : limit);
	while (st && (step = sqlite3_step(st)) == SQLITE_ROW) {
		struct store_move m = {
			.id = sqlite3_column_int64(st, 0), .wave = sqlite3_column_int64(st, 1),
			.vip = text_of(st, 2), .kind = text_of(st, 3), .from = text_of(st, 4),
			.to = text_of(st, 5), .def = json_of(st, 6), .state = text_of(st, 7),
			.note = text_of(st, 8), .created_ms = sqlite3_column_int64(st, 9),
			.changed_ms = sqlite3_column_int64(st, 10), .over = sqlite3_column_int(st, 11),
		};

		each(&m, ctx);
		json_decref(m.def);
	}
	return store_done(s, st, step);
}

void store_dip_put(struct store *s, const char *vip, const char *dip, unsigned int rule, bool down,
		   const char *reason, uint64_t since_ms)
{
	sqlite3_stmt *st;

	store_begin(s);
	if (down)
		st = store_prepare(s, "INSERT OR REPLACE INTO dip_down(vip, dip, rule, reason, since_ms) "
				   "VALUES(?1, ?2, ?3, ?4, ?5)");
	else
		st = store_prepare(s, "DELETE FROM dip_down WHERE vip = ?1 AND dip = ?2 AND rule = ?3");
	bind_text(st, 1, vip);
	bind_text(st, 2, dip);
	bind_int(st, 3, rule);
	if (down) {
		bind_text(st, 4, reason);
		bind_int(st, 5, since_ms);
	}
	store_step(s, st);
	store_commit(s);
}

int store_dip_each(struct store *s,
		   void (*each)(const char *vip, const char *dip, unsigned int rule, const char *reason,
				uint64_t since_ms, void *ctx), void *ctx)
{
	sqlite3_stmt *st = store_prepare(s, "SELECT vip, dip, rule, reason, since_ms FROM dip_down");
	int step = SQLITE_ERROR;

	while (st && (step = sqlite3_step(st)) == SQLITE_ROW)
		each(text_of(st, 0), text_of(st, 1), sqlite3_column_int64(st, 2), text_of(st, 3),
		     sqlite3_column_int64(st, 4), ctx);
	return store_done(s, st, step);
}

void store_event(struct store *s, const char *kind, const char *subject, const char *fmt, ...)
{
	char text[512];
	sqlite3_stmt *st;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_info("%s %s: %s", kind, subject, text);

	store_begin(s);
	st = store_prepare(s, "INSERT INTO event(at_ms, kind, subject, text) VALUES(?1, ?2, ?3, ?4)");
	bind_int(st, 1, wall_ms());
	bind_text(st, 2, kind);
	bind_text(st, 3, subject);
	bind_text(st, 4, text);
	store_step(s, st);
	if (sqlite3_last_insert_rowid(s->db) % 256 == 0) {
		st = store_prepare(s, "DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?1");
		bind_int(st, 1, EVENTS_KEPT);
		store_step(s, st);
	}
	store_commit(s);
}

json_t *store_events(struct store *s, uint64_t after, unsigned int limit)
{
	sqlite3_stmt *st = store_prepare(s, "SELECT id, at_ms, kind, subject, text FROM (SELECT * FROM event "
					 "WHERE id > ?1 ORDER BY id DESC LIMIT ?2) ORDER BY id");
	json_t *list = json_array();
	int step = SQLITE_ERROR;

	bind_int(st, 1, after);
	bind_int(st, 2, limit);
	while (st && (step = sqlite3_step(st)) == SQLITE_ROW)
		json_array_append_new(list, json_pack("{s:I, s:I, s:s, s:s, s:s}",
			"id", (json_int_t)sqlite3_column_int64(st, 0),
			"at-ms", (json_int_t)sqlite3_column_int64(st, 1), "kind", text_of(st, 2), "subject", text_of(st, 3), "text", text_of(st, 4)));
	store_done(s, st, step);
	return list;
}
