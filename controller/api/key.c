// SPDX-License-Identifier: GPL-2.0
/* The key of the hash: which VIPs choose by which, and its rotation. No answer has a key, only fingerprints. */
#include <errno.h>
#include <stdio.h>

#include "api.h"
#include "gate.h"
#include "metrics.h"

#define NAMES_MAX	100	/* VIPs of a key, agents that are waited for */

/* key_view - one slot; NULL: it has no key */
static json_t *key_view(const struct updater *u, unsigned int slot)
{
	char print[KEY_FINGERPRINT];
	json_t *names = json_array();
	unsigned int i, n = 0;

	for (i = 0; i < u->n_vips; i++) {
		if (u->vips[i]->key != slot)
			continue;
		if (n++ < NAMES_MAX)
			json_array_append_new(names, json_string(u->vips[i]->text));
	}
	if (!n && key_is_none(&u->keys[slot])) {
		json_decref(names);
		return NULL;
	}
	return json_pack("{s:i, s:s, s:b, s:i, s:o}", "slot", slot, "fingerprint", key_fingerprint(&u->keys[slot], print),
			 "current", u->key == slot, "vips", n, "names", names);
}

static json_t *changing(const struct updater *u)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < u->n_vips && json_array_size(list) < NAMES_MAX; i++) {
		const struct move *mv = u->vips[i]->move;

		if (mv && mv->kind == MOVE_REKEY)
			json_array_append_new(list, json_pack("{s:s, s:I, s:s, s:s}", "vip", u->vips[i]->text, "move", (json_int_t)mv->id,
							      "state", move_state_name(mv->state), "note", mv->note));
	}
	return list;
}

static void waits(json_t *list, unsigned int *n, const char *kind, const char *name, const char *why)
{
	if (why && (*n)++ < NAMES_MAX)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "kind", kind, "name", name, "why", why));
}

/* waiting - the agents that must confirm; *n: of all, also those the list has no room for */
static json_t *waiting(const struct updater *u, unsigned int *n)
{
	json_t *list = json_array();
	unsigned int i;

	*n = 0;
	for (i = 0; u->rotation.phase && i < u->n_muxes; i++)
		waits(list, n, "mux", u->muxes[i].name, rotation_mux_waits(&u->muxes[i]));
	for (i = 0; u->rotation.phase && i < u->n_hosts; i++)
		waits(list, n, "host", u->hosts[i].name, rotation_host_waits(&u->hosts[i]));
	return list;
}

static json_t *rotation_view(const struct updater *u)
{
	json_t *keys = json_array(), *o, *list;
	unsigned int i, n;

	for (i = 0; i < DUET_KEYS; i++) {
		o = key_view(u, i);
		if (o)
			json_array_append_new(keys, o);
	}
	list = waiting(u, &n);
	o = json_pack("{s:s, s:b, s:o, s:o, s:o, s:i}", "state", rotation_phase_name(u->rotation.phase), "aborted",
		      u->rotation.phase && u->rotation.back, "keys", keys, "changing", changing(u), "waiting", list, "waiting-total", n);
	if (u->rotation.phase)
		json_object_set_new(o, "begun-ms", json_integer(u->rotation.begun_ms));
	return o;
}

void api_key_get(struct http_request *req, json_t *body, void *ctx)
{
	http_reply(req, 200, rotation_view(((struct controller *)ctx)->updater));
}

static void change(struct http_request *req, struct updater *u, int (*how)(struct updater *u, const char *by, struct err *e))
{
	struct err e;
	int ret;

	updater_begin(u);
	ret = how(u, gate_who(req, u->ctl), &e);
	if (!ret)
		api_audit(u, req, "key");
	if (updater_commit(u)) {
		api_not_kept(u, req);
		return;
	}
	if (ret)
		http_problem(req, ret == -ENOENT ? 404 : ret == -EAGAIN ? 503 : ret == -EBUSY || ret == -EALREADY ? 409 : 500, NULL, "%s", e.text);
	else
		http_reply(req, 202, rotation_view(u));
}

void api_key_rotate(struct http_request *req, json_t *body, void *ctx)
{
	change(req, ((struct controller *)ctx)->updater, rotation_begin);
}

void api_key_abort(struct http_request *req, json_t *body, void *ctx)
{
	change(req, ((struct controller *)ctx)->updater, rotation_abort);
}

void key_metrics(const struct updater *u, struct metrics *m)
{
	static const char *const slots[DUET_KEYS] = { "0", "1" };
	enum rotation_phase phase;
	unsigned int i, slot, n;

	metrics_family(m, "duet_controller_key_rotation", "gauge", "1 for the phase that the rotation of the key is in");
	for (phase = ROTATION_NONE; phase <= ROTATION_REMOVING; phase++)
		metrics_add(m, u->rotation.phase == phase, "phase", rotation_phase_name(phase), NULL);
	metrics_family(m, "duet_controller_key_vips", "gauge", "VIPs by the key that they choose by");
	for (slot = 0; slot < DUET_KEYS; slot++) {
		for (i = n = 0; i < u->n_vips; i++)
			n += u->vips[i]->key == slot;
		metrics_add(m, n, "key", slots[slot], NULL);
	}
	metrics_family(m, "duet_controller_key_waiting", "gauge", "Muxes and hosts that the rotation of the key waits for");
	json_decref(waiting(u, &n));
	metrics_add(m, n, NULL);
}
