// SPDX-License-Identifier: GPL-2.0
/* Asks neighbours of switches which of their VIPs have arrived: see arrival.h. */
#include "priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS		250
#define AGAIN_MS	700	/* between the first rounds after a change: BGP may need a moment */
#define ROUNDS		2	/* so many must miss a VIP before that is said */
#define IDLE_MS		10000	/* between rounds when nothing changes */
#define TIMEOUT_MS	5000
#define ASKED_MAX	32	/* switches asked about at once */

/* session_with - does n's status have an established session with m? */
static bool session_with(const struct mux *n, const struct mux *m)
{
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(n->status, "bird"), "neighbours"), i, one)
		if (!strcmp(get_str(one, "id", ""), m->local) && !strcmp(get_str(one, "state", ""), "Established"))
			return true;
	return false;
}

struct mux *arrival_neighbour(const struct mux *m, unsigned int k)
{
	unsigned int i;

	for (i = 0; i < m->arrival.n_linked; i++) {
		struct mux *n = m->arrival.linked[i];

		if (!n->lost_ms && !n->quarantined && session_with(n, m) && !k--)
			return n;
	}
	return NULL;
}

enum arrived arrival_has(const struct http_result *r, const char *vip)
{
	json_t *one;
	size_t i;

	if (r->status != 200 || !get_u64(r->body, "sessions", 0))
		return ARRIVED_UNKNOWN;
	json_array_foreach(json_object_get(r->body, "vips"), i, one)
		if (json_is_string(one) && !strcmp(json_string_value(one), vip))
			return ARRIVED_YES;
	return ARRIVED_NO;
}

enum arrived arrival_of(const struct mux *m, const struct uvip *v)
{
	const struct arrival *w = &m->arrival;
	unsigned int i, n = 0;

	for (i = 0; i < ARRIVAL_NEIGHBOURS; i++) {
		if (json_object_get(w->at[i].vips, v->text))
			return ARRIVED_YES;
		n += w->at[i].vips != NULL;
	}
	return n && w->rounds >= ROUNDS ? ARRIVED_NO : ARRIVED_UNKNOWN;
}

const char *arrival_lacking(const struct mux *m, const struct uvip *v, char *text, size_t size)
{
	const struct arrival *w = &m->arrival;
	unsigned int i;
	size_t len = 0;

	text[0] = '\0';
	for (i = 0; i < ARRIVAL_NEIGHBOURS && len < size; i++)
		if (w->at[i].vips && !json_object_get(w->at[i].vips, v->text))
			len += snprintf(text + len, size - len, "%s%s", len ? ", " : "", w->at[i].name);
	return text;
}

static void end_of_round(struct mux *m)
{
	struct arrival *w = &m->arrival;

	w->rounds++;
	w->next_ms = mono_ms() + (w->rounds < ROUNDS ? AGAIN_MS : IDLE_MS);
	m->u->n_arrivals--;
}

static void heard(const struct http_result *r, void *ctx)
{
	struct arrival_at *at = ctx;
	json_t *one;
	size_t i;

	json_decref(at->vips);
	at->vips = NULL;
	if (r->status == 200 && get_u64(r->body, "sessions", 0)) {
		at->vips = json_object();
		json_array_foreach(json_object_get(r->body, "vips"), i, one)
			if (json_is_string(one))
				json_object_set_new(at->vips, json_string_value(one), json_true());
	}
	if (!--at->of->arrival.pending)
		end_of_round(at->of);
}

static void ask_about(struct mux *m)
{
	struct arrival *w = &m->arrival;
	struct http_call *call;
	unsigned int k;
	char url[400];

	w->asked_ms = mono_ms();
	for (k = 0; k < ARRIVAL_NEIGHBOURS; k++) {
		struct mux *n = arrival_neighbour(m, k);
		struct arrival_at *at = &w->at[k];

		if (!n) {
			json_decref(at->vips);
			at->vips = NULL;
			continue;
		}
		at->of = m;
		snprintf(at->name, sizeof(at->name), "%s", n->name);
		snprintf(url, sizeof(url), "%s/v1/learned/%s", n->url, m->local);
		call = http_call(m->u->ctl->client, "GET", url, NULL, TIMEOUT_MS, heard, at);
		http_call_budget(call, 4u << 20, 256u << 10);
		w->pending += call != NULL;
	}
	m->u->n_arrivals++;
	if (!w->pending)
		end_of_round(m);
}

static int tick(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct updater *u = ctx;
	uint64_t now = mono_ms();
	unsigned int i;

	for (i = 0; i < u->n_muxes && u->n_arrivals < ASKED_MAX; i++) {
		struct mux *m = &u->muxes[i];

		if (!m->smux && !m->arrival.pending && json_object_size(m->exported) && !m->lost_ms && m->arrival.next_ms <= now)
			ask_about(m);
	}
	return once(u->ctl->loop, &u->arrival_timer, TICK_MS, tick, u);
}

void arrival_changed(struct mux *m)
{
	m->arrival.rounds = 0;
	m->arrival.next_ms = 0;
}

/* linked - the two ends of a link, if both are muxes; without memory nobody can be asked */
static void linked(struct mux *m, struct mux *other)
{
	struct arrival *w = &m->arrival;
	struct mux **more = reallocarray(w->linked, w->n_linked + 1, sizeof(*more));

	if (!more)
		return;
	w->linked = more;
	w->linked[w->n_linked++] = other;
}

int arrival_start(struct updater *u)
{
	json_t *link;
	size_t i;

	json_array_foreach(json_object_get(u->model, "links"), i, link) {
		struct mux *a = mux_find(u, get_str(link, "a", "")), *b = mux_find(u, get_str(link, "b", ""));

		if (!a || !b)
			continue;
		linked(a, b);
		linked(b, a);
	}
	return once(u->ctl->loop, &u->arrival_timer, TICK_MS, tick, u);
}

void arrival_stop(struct updater *u)
{
	unsigned int i, k;

	for (i = 0; i < u->n_muxes; i++) {
		for (k = 0; k < ARRIVAL_NEIGHBOURS; k++)
			json_decref(u->muxes[i].arrival.at[k].vips);
		free(u->muxes[i].arrival.linked);
	}
	sd_event_source_disable_unref(u->arrival_timer);
}
