// SPDX-License-Identifier: GPL-2.0
/* What operators do besides VIPs: drains, settings, aborts, tokens, export, backup. */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "api.h"
#include "gate.h"
#include "log.h"
#include "text.h"

#define DAYS_MAX 3650

static struct updater *updater_of(void *ctx)
{
	return ((struct controller *)ctx)->updater;
}

/* kept - end a change: false (and it is answered) if the store could not keep it */
static bool kept(struct updater *u, struct http_request *req, const char *subject)
{
	api_audit(u, req, subject);
	if (!updater_commit(u))
		return true;
	api_not_kept(u, req);
	return false;
}

void api_control_get(struct http_request *req, json_t *body, void *ctx)
{
	http_reply(req, 200, control_json(updater_of(ctx)));
}

void api_control_put(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	bool stopped = u->control.stop;
	struct err e;
	char *text;

	if (control_check(body, &e)) {
		http_problem(req, 422, NULL, "%s", e.text);
		return;
	}
	text = json_dumps(body, JSON_COMPACT);
	updater_begin(u);
	control_set(u, body);
	if (u->control.stop != stopped)
		store_event(u->store, u->control.stop ? "stopped" : "resumed", "moves", "by %s",
			    gate_who(req, u->ctl));
	if (kept(u, req, text ? text : "")) {
		http_reply(req, 200, control_json(u));
		assign_schedule(u);
		snat_settings(u);
		moves_run(u);
	}
	free(text);
}

/* left - is the VIP still on a switch, or its way to the SMuxes not over, before a DIP can be drained */
static bool left(struct updater *u, const struct uvip *v, const char *key, const char *name)
{
	const struct host *h = host_find(u, name);
	size_t len = strlen(v->text);

	if (!strncmp(key, "dip/", 4))
		return !strncmp(name, v->text, len) && name[len] == '/' && maintenance_waits(u, v);
	if (!strncmp(key, "host/", 5))
		return h && json_object_get(h->vips, v->text) && maintenance_waits(u, v);
	return !strcmp(v->mux, name) || (v->move && !strcmp(v->move->from, name));
}

void api_drains_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	json_t *list = json_array(), *o, *copy;
	const char *key;
	unsigned int i;

	json_object_foreach(u->drains, key, o) {
		const char *name = strchr(key, '/') + 1;
		unsigned int vips = 0;

		for (i = 0; i < u->n_vips; i++)
			vips += left(u, u->vips[i], key, name);
		copy = json_copy(o);
		json_object_set_new(copy, "kind", json_stringn(key, name - 1 - key));
		json_object_set_new(copy, "name", json_string(name));
		json_object_set_new(copy, "vips-left", json_integer(vips));
		json_array_append_new(list, copy);
	}
	http_reply(req, 200, json_pack("{s:o}", "drains", list));
}

/* drain_check - is there such a thing, and would anything be left */
static int drain_check(struct updater *u, const char *kind, const char *name, struct err *e)
{
	struct mux *m = mux_find(u, name);
	unsigned int i, others = 0;

	if (strcmp(kind, "switch") && strcmp(kind, "rack") && strcmp(kind, "smux"))
		return err_set(e, -EINVAL, "a switch, a rack, an smux or a host can be drained, no \"%s\"", kind);
	if (!m || m->smux != !strcmp(kind, "smux"))
		return err_set(e, -ENOENT, "there is no %s \"%s\" with a mux agent", kind, name);
	for (i = 0; i < u->n_muxes; i++) {
		const struct mux *o = &u->muxes[i];

		others += o->smux && o != m && !o->drained && mux_state(o) == MUX_IN_SYNC &&
			  (strcmp(kind, "rack") || strcmp(api_rack_of(u, o->name), name));
	}
	if (strcmp(kind, "switch") && !others)
		return err_set(e, -EBUSY, "no other SMux is in sync: without %s nobody would announce %s", name,
			       u->ctl->conf.aggregate_text);
	return 0;
}

static void drain(struct http_request *req, struct controller *ctl, bool on)
{
	struct updater *u = ctl->updater;
	const char *kind = http_segment(req, 0), *name = http_segment(req, 1);
	char key[NAME_SIZE * 2];
	struct err e;
	int ret = u->model ? 0 : err_set(&e, -EAGAIN, "the topology is not known yet");

	snprintf(key, sizeof(key), "%.20s/%.63s", kind, name);
	if (!ret && on)
		ret = drain_check(u, kind, name, &e);
	else if (!ret && !json_object_get(u->drains, key))
		ret = err_set(&e, -ENOENT, "%s %s is not drained", kind, name);
	if (ret) {
		http_problem(req, ret == -ENOENT ? 404 : ret == -EAGAIN ? 503 : 422, NULL, "%s", e.text);
		return;
	}
	updater_begin(u);
	if (on)
		json_object_set_new(u->drains, key, json_pack("{s:s, s:I}", "by", gate_who(req, ctl), "at-ms",
							     (json_int_t)wall_ms()));
	store_set_put(u->store, STORE_DRAINS, key, on ? json_incref(json_object_get(u->drains, key)) : NULL);
	if (!on)
		json_object_del(u->drains, key);
	store_event(u->store, on ? "drain" : "undrain", name, "%s, by %s", kind, gate_who(req, ctl));
	drains_apply(u);
	if (!kept(u, req, key))
		return;
	http_reply(req, on ? 202 : 200, json_pack("{s:s, s:s}", "kind", kind, "name", name));
	if (strcmp(kind, "smux"))
		assign_soon(u, on ? "drain" : "undrain");
}

void api_drain_put(struct http_request *req, json_t *body, void *ctx)
{
	if (!strcmp(http_segment(req, 0), "host"))
		api_host_drain(req, ctx, body, true);
	else
		drain(req, ctx, true);
}

void api_drain_delete(struct http_request *req, json_t *body, void *ctx)
{
	if (!strcmp(http_segment(req, 0), "host"))
		api_host_drain(req, ctx, body, false);
	else
		drain(req, ctx, false);
}

void api_move_abort(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	uint64_t id = strtoull(http_segment(req, 0), NULL, 10);
	struct move *mv = api_move_running(u, id);
	struct err e;
	int ret;

	if (!mv) {
		http_problem(req, 404, NULL, "no move %s is under way", http_segment(req, 0));
		return;
	}
	updater_begin(u);
	ret = move_abort(mv, &e);
	if (!kept(u, req, http_segment(req, 0)))
		return;
	if (ret)
		http_problem(req, 409, NULL, "%s", e.text);
	else
		http_reply(req, 202, json_pack("{s:I}", "aborted", (json_int_t)id));
	moves_run(u);
}

void api_wave_abort(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	uint64_t wave = strtoull(http_segment(req, 0), NULL, 10);
	json_t *done = json_array(), *cannot = json_array();
	unsigned int i;
	struct err e;

	updater_begin(u);
	for (i = 0; i < u->n_vips; i++) {
		struct move *mv = u->vips[i]->move;
		uint64_t id = mv ? mv->id : 0;

		if (!mv || mv->wave != wave || mv->back)
			continue;
		if (move_abort(mv, &e))
			json_array_append_new(cannot, json_pack("{s:I, s:s}", "id", (json_int_t)id, "why", e.text));
		else
			json_array_append_new(done, json_integer(id));
	}
	if (json_array_size(done))
		store_event(u->store, "aborted", "wave", "%llu: %zu moves go back", (unsigned long long)wave,
			    json_array_size(done));
	if (!kept(u, req, http_segment(req, 0))) {
		json_decref(done);
		json_decref(cannot);
		return;
	}
	http_reply(req, 202, json_pack("{s:o, s:o}", "aborted", done, "not", cannot));
	moves_run(u);
}

void api_tokens_get(struct http_request *req, json_t *body, void *ctx)
{
	json_t *list = json_array(), *t;
	const char *name;

	json_object_foreach(updater_of(ctx)->tokens, name, t)
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:O*}", "name", name, "role", get_str(t, "role", ""),
						      "created-ms", (json_int_t)get_u64(t, "created-ms", 0), "expires-ms",
						      json_object_get(t, "expires-ms")));
	http_reply(req, 200, json_pack("{s:o}", "tokens", list));
}

void api_token_put(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	const char *name = http_segment(req, 0), *role = get_str(body, "role", "");
	json_t *days = json_object_get(body, "days");
	unsigned char random[24];
	char token[64], hex[65];
	enum right right;
	unsigned int i;
	json_t *t;

	if (right_parse(role, &right)) {
		http_problem(req, 422, NULL, "a token has a \"role\": agent, read, operate or admin");
		return;
	}
	if (!name_good(name)) {
		http_problem(req, 422, NULL, "a token's name has " NAME_RULE);
		return;
	}
	if (days && !(json_is_integer(days) && json_integer_value(days) >= 1 && json_integer_value(days) <= DAYS_MAX)) {
		http_problem(req, 422, NULL, "a token's \"days\" are from 1 to %d; without them it never expires", DAYS_MAX);
		return;
	}
	if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
		http_problem(req, 500, NULL, "no random numbers");
		return;
	}
	for (i = 0; i < sizeof(random); i++)
		snprintf(token + 2 * i, 3, "%02x", random[i]);
	auth_hash(token, hex);
	t = json_pack("{s:s, s:s, s:I}", "sha256", hex, "role", role, "created-ms", (json_int_t)wall_ms());
	if (days)
		json_object_set_new(t, "expires-ms", json_integer(wall_ms() + json_integer_value(days) * 86400000));
	updater_begin(u);
	store_set_put(u->store, STORE_TOKENS, name, json_incref(t));
	if (kept(u, req, name)) {
		json_object_set(u->tokens, name, t);
		http_reply(req, 201, json_pack("{s:s, s:s, s:s}", "name", name, "role", role, "token", token));
	}
	json_decref(t);
}

void tokens_expire(struct updater *u)
{
	uint64_t now = wall_ms();
	const char *name;
	json_t *t;
	void *next;

	json_object_foreach_safe(u->tokens, next, name, t) {
		if (get_u64(t, "expires-ms", UINT64_MAX) > now)
			continue;
		updater_begin(u);
		store_set_put(u->store, STORE_TOKENS, name, NULL);
		store_event(u->store, "token-expired", name, "it was a token for %s", get_str(t, "role", ""));
		if (updater_commit(u))
			log_err("token %s has expired, and the store can't forget it", name);
		json_object_del(u->tokens, name);
	}
}

void api_token_delete(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	const char *name = http_segment(req, 0);

	if (!json_object_get(u->tokens, name)) {
		http_problem(req, 404, NULL, "there is no token %s", name);
		return;
	}
	updater_begin(u);
	store_set_put(u->store, STORE_TOKENS, name, NULL);
	if (!kept(u, req, name))
		return;
	json_object_del(u->tokens, name);
	http_reply(req, 200, json_pack("{s:s}", "deleted", name));
}

void api_mux_unfence(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	struct mux *m = mux_find(u, http_segment(req, 0));

	if (m)
		fence_remove(u, req, m->name, m->url, false);
	else
		http_problem(req, 404, NULL, "there is no mux %.63s", http_segment(req, 0));
}

void api_host_unfence(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	struct host *h = host_find(u, http_segment(req, 0));

	if (h)
		fence_remove(u, req, h->name, h->url, true);
	else
		http_problem(req, 404, NULL, "there is no host %.63s", http_segment(req, 0));
}

void api_export_get(struct http_request *req, json_t *body, void *ctx)
{
	json_t *dump = store_export(updater_of(ctx)->store, false);

	if (dump)
		http_reply(req, 200, dump);
	else
		http_problem(req, 500, NULL, "the store can't be read: see the log");
}

void api_backup_post(struct http_request *req, json_t *body, void *ctx)
{
	struct controller *ctl = ctx;
	const char *name = get_str(body, "name", "");
	char dir[512], file[1024];
	struct err e;
	int ret;

	if (!name_good(name)) {
		http_problem(req, 422, NULL, "a backup has a \"name\", of a file beside the store: " NAME_RULE);
		return;
	}
	snprintf(dir, sizeof(dir), "%s", ctl->conf.store);
	snprintf(file, sizeof(file), "%s/%.255s", dirname(dir), name);
	ret = store_backup(ctl->updater->store, file, &e);
	if (ret)
		http_problem(req, ret == -EEXIST || store_is_etcd(ctl->conf.store) ? 409 : 507, NULL, "%s", e.text);
	else
		http_reply(req, 201, json_pack("{s:s}", "file", file));
}
