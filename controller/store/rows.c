// SPDX-License-Identifier: GPL-2.0
/* Rows of the store as JSON records: VIPs, moves, DIPs that are down, drains, tokens, SNAT blocks, events, audit. */
#include "store_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define HISTORY_KEPT 10000 /* moves that are over, events, audit lines: the last so many */

/* scan - over parsed records; what can't be read is told and left out */
struct parse {
	struct store *s;
	enum table table;
	bool (*each)(const char *key, json_t *value, void *ctx);
	void *ctx;
};

static bool parse_one(const char *key, const char *value, void *ctx)
{
	struct parse *p = ctx;
	json_t *json = json_loads(value, JSON_DECODE_ANY, NULL);
	bool more = true;

	if (json)
		more = p->each(key, json, p->ctx);
	else
		log_err("store %s: %s %s makes no sense and is left alone", p->s->name, store_tables[p->table], key);
	json_decref(json);
	return more;
}

static int scan(struct store *s, enum table table, const char *from, bool backwards,
		bool (*each)(const char *key, json_t *value, void *ctx), void *ctx)
{
	struct parse p = { s, table, each, ctx };
	struct err e;
	int ret = s->ops->scan(s, table, from, backwards, parse_one, &p, &e);

	if (ret)
		log_err("store %s can't be read: %s", s->name, e.text);
	return ret;
}

void store_vip_put(struct store *s, const struct store_vip *v)
{
	json_t *o = json_pack("{s:O, s:s, s:s?, s:I}", "def", v->def, "mux", v->mux, "reason", v->reason,
			      "generation", (json_int_t)v->generation);

	if (v->mru >= 0)
		json_object_set_new(o, "mru", json_real(v->mru));
	if (v->key)
		json_object_set_new(o, "key", json_integer(v->key));
	store_begin(s);
	store_write(s, T_VIP, v->vip, o);
	store_commit(s);
}

void store_vip_del(struct store *s, const char *vip)
{
	store_begin(s);
	store_write(s, T_VIP, vip, NULL);
	store_commit(s);
}

struct each_vip {
	void (*each)(const struct store_vip *v, void *ctx);
	void *ctx;
};

static bool vip_row(const char *key, json_t *o, void *ctx)
{
	struct each_vip *each = ctx;

	each->each(&(struct store_vip){ .vip = key, .def = json_object_get(o, "def"), .mux = get_str(o, "mux", SMUX),
					.reason = get_str(o, "reason", NULL), .mru = get_num(o, "mru", -1),
					.generation = get_u64(o, "generation", 1),
					.key = get_u64(o, "key", 0) % DUET_KEYS }, each->ctx);
	return true;
}

int store_vip_each(struct store *s, void (*each)(const struct store_vip *v, void *ctx), void *ctx)
{
	return scan(s, T_VIP, NULL, false, vip_row, &(struct each_vip){ each, ctx });
}

uint64_t store_move_put(struct store *s, const struct store_move *m)
{
	uint64_t id = m->id ? m->id : ++s->last_move;
	char key[24], old[24];
	json_t *o = json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:b}", "id", (json_int_t)id,
			      "wave", (json_int_t)m->wave, "vip", m->vip, "kind", m->kind, "from", m->from, "to",
			      m->to, "state", m->state, "note", m->note ? m->note : "", "created-ms",
			      (json_int_t)m->created_ms, "changed-ms", (json_int_t)m->changed_ms, "over", m->over,
			      "back", m->back);

	if (m->drains && !m->over)
		json_object_set_new(o, "drains", json_true());
	if (m->def && !m->over)
		json_object_set(o, "def", m->def);
	store_number_key(id, key);
	store_begin(s);
	if (m->over) {
		store_write(s, T_MOVE, key, NULL);
		if (id > HISTORY_KEPT)
			store_write(s, T_DONE, store_number_key(id - HISTORY_KEPT, old), NULL);
	}
	store_write(s, m->over ? T_DONE : T_MOVE, key, o);
	store_commit(s);
	return id;
}

struct each_move {
	void (*each)(const struct store_move *m, void *ctx);
	void *ctx;
};

static bool move_row(const char *key, json_t *o, void *ctx)
{
	struct each_move *each = ctx;

	each->each(&(struct store_move){
		.id = get_u64(o, "id", 0), .wave = get_u64(o, "wave", 0), .vip = get_str(o, "vip", ""),
		.kind = get_str(o, "kind", ""), .from = get_str(o, "from", SMUX), .to = get_str(o, "to", SMUX),
		.state = get_str(o, "state", ""), .note = get_str(o, "note", ""), .def = json_object_get(o, "def"),
		.created_ms = get_u64(o, "created-ms", 0), .changed_ms = get_u64(o, "changed-ms", 0),
		.over = json_is_true(json_object_get(o, "over")), .back = json_is_true(json_object_get(o, "back")),
		.drains = json_is_true(json_object_get(o, "drains")),
	}, each->ctx);
	return true;
}

int store_move_each(struct store *s, void (*each)(const struct store_move *m, void *ctx), void *ctx)
{
	return scan(s, T_MOVE, NULL, false, move_row, &(struct each_move){ each, ctx });
}

/* newest - the last records before a number, newest first */
struct newest {
	json_t *list;
	uint64_t before, after;
	unsigned int limit;
};

static bool newest_row(const char *key, json_t *o, void *ctx)
{
	struct newest *n = ctx;
	uint64_t id = strtoull(key, NULL, 10);

	if (id <= n->after || json_array_size(n->list) >= n->limit)
		return false;
	if (n->before && id >= n->before)
		return true;
	json_object_del(o, "def");
	json_array_append(n->list, o);
	return true;
}

static json_t *newest(struct store *s, enum table table, uint64_t before, uint64_t after, unsigned int limit)
{
	struct newest n = { json_array(), before, after, limit };
	char key[24];

	if (scan(s, table, before ? store_number_key(before, key) : NULL, true, newest_row, &n)) {
		json_decref(n.list);
		return NULL;
	}
	return n.list;
}

json_t *store_moves(struct store *s, bool running, uint64_t before, unsigned int limit)
{
	json_t *a = newest(s, T_MOVE, before, 0, limit), *b, *list;
	size_t i = 0, k = 0;

	if (!a || running)
		return a;
	b = newest(s, T_DONE, before, 0, limit);
	list = b ? json_array() : NULL;
	while (list && json_array_size(list) < limit && (i < json_array_size(a) || k < json_array_size(b))) {
		json_t *x = json_array_get(a, i), *y = json_array_get(b, k);

		if (!y || get_u64(x, "id", 0) > get_u64(y, "id", 0)) {
			json_array_append(list, x);
			i++;
		} else {
			json_array_append(list, y);
			k++;
		}
	}
	json_decref(a);
	json_decref(b);
	return list;
}

json_t *store_move(struct store *s, uint64_t id)
{
	char key[24], *text = NULL;
	json_t *o = NULL;
	struct err e;

	store_number_key(id, key);
	if (!s->ops->get(s, T_MOVE, key, &text, &e) || !s->ops->get(s, T_DONE, key, &text, &e))
		o = json_loads(text, 0, NULL);
	json_object_del(o, "def");
	free(text);
	return o;
}

static const char *dip_key(const char *vip, const char *dip, unsigned int rule, char buf[STORE_KEY_SIZE])
{
	snprintf(buf, STORE_KEY_SIZE, "%s|%s|%u", vip, dip, rule);
	return buf;
}

void store_dip_put(struct store *s, const char *vip, const char *dip, unsigned int rule, bool down,
		   const char *reason, uint64_t since_ms)
{
	char key[STORE_KEY_SIZE];

	store_begin(s);
	store_write(s, T_DIP, dip_key(vip, dip, rule, key),
		    !down ? NULL : json_pack("{s:s, s:s, s:i, s:s?, s:I}", "vip", vip, "dip", dip, "rule", rule,
					     "reason", reason, "since-ms", (json_int_t)since_ms));
	store_commit(s);
}

struct each_dip {
	void (*each)(const char *vip, const char *dip, unsigned int rule, const char *reason, uint64_t since_ms,
		     void *ctx);
	void *ctx;
};

static bool dip_row(const char *key, json_t *o, void *ctx)
{
	struct each_dip *each = ctx;

	each->each(get_str(o, "vip", ""), get_str(o, "dip", ""), get_u64(o, "rule", 0), get_str(o, "reason", ""),
		   get_u64(o, "since-ms", 0), each->ctx);
	return true;
}

int store_dip_each(struct store *s,
		   void (*each)(const char *vip, const char *dip, unsigned int rule, const char *reason,
				uint64_t since_ms, void *ctx), void *ctx)
{
	return scan(s, T_DIP, NULL, false, dip_row, &(struct each_dip){ each, ctx });
}

static const enum table sets[] = { [STORE_DRAINS] = T_DRAIN, [STORE_TOKENS] = T_TOKEN, [STORE_SNAT] = T_SNAT };

void store_set_put(struct store *s, enum store_set set, const char *key, json_t *value)
{
	store_begin(s);
	store_write(s, sets[set], key, value);
	store_commit(s);
}

static bool set_row(const char *key, json_t *o, void *ctx)
{
	json_object_set(ctx, key, o);
	return true;
}

json_t *store_set_all(struct store *s, enum store_set set)
{
	json_t *all = json_object();

	if (!scan(s, sets[set], NULL, false, set_row, all))
		return all;
	json_decref(all);
	return NULL;
}

static void append(struct store *s, enum table table, uint64_t id, json_t *o)
{
	char key[24];

	if (id > HISTORY_KEPT)
		store_write(s, table, store_number_key(id - HISTORY_KEPT, key), NULL);
	store_write(s, table, store_number_key(id, key), o);
}

void store_event(struct store *s, const char *kind, const char *subject, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	json_t *o;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_info("%s %s: %s", kind, subject, text);
	o = json_pack("{s:I, s:I, s:s, s:s, s:s}", "id", (json_int_t)++s->last_event, "at-ms",
		      (json_int_t)wall_ms(), "kind", kind, "subject", subject, "text", text);
	json_array_append(s->told, o);
	append(s, T_EVENT, s->last_event, o);
}

void store_listen(struct store *s, void (*event)(json_t *event, void *ctx), void *ctx)
{
	s->event = event;
	s->event_ctx = ctx;
}

static json_t *oldest_first(json_t *list)
{
	json_t *out = list ? json_array() : NULL;
	size_t i;

	for (i = json_array_size(list); i; i--)
		json_array_append(out, json_array_get(list, i - 1));
	json_decref(list);
	return out;
}

json_t *store_events(struct store *s, uint64_t after, unsigned int limit)
{
	return oldest_first(newest(s, T_EVENT, 0, after, limit));
}

void store_audit(struct store *s, const char *who, const char *by_way_of, const char *what, const char *subject)
{
	append(s, T_AUDIT, s->last_audit + 1,
	       json_pack("{s:I, s:I, s:s, s:s*, s:s, s:s}", "id", (json_int_t)(s->last_audit + 1), "at-ms",
			 (json_int_t)wall_ms(), "who", who, "by-way-of", by_way_of, "what", what, "subject", subject));
	s->last_audit++;
}

json_t *store_audits(struct store *s, uint64_t after, unsigned int limit)
{
	return oldest_first(newest(s, T_AUDIT, 0, after, limit));
}
