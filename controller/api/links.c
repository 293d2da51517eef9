// SPDX-License-Identifier: GPL-2.0
/*
 * The fabric as it is against the topology: every link, as the agents at its
 * two ends tell of their ports. What one end calls down is down.
 */
#include <stdio.h>
#include <string.h>

#include "api.h"

/* port_of - what a mux tells of one of its ports, or NULL */
static json_t *port_of(const struct mux *m, const char *port)
{
	json_t *p;
	size_t i;

	json_array_foreach(json_object_get(m ? m->status : NULL, "links"), i, p)
		if (!strcmp(get_str(p, "port", ""), port))
			return p;
	return NULL;
}

static bool tells(const struct mux *m)
{
	return m && m->status && !m->lost_ms && json_is_array(json_object_get(m->status, "links"));
}

const char *link_state(const struct updater *u, json_t *link, const char **by)
{
	static const char *const ends[][2] = { { "a", "port-a" }, { "b", "port-b" } };
	const char *state = "unknown";
	unsigned int i;

	for (i = 0; i < 2; i++) {
		const struct mux *m = mux_find((struct updater *)u, get_str(link, ends[i][0], ""));
		json_t *p = port_of(m, get_str(link, ends[i][1], ""));

		if (!tells(m))
			continue;
		if (by)
			*by = m->name;
		if (!p)
			return "missing";
		if (!json_is_true(json_object_get(p, "up")))
			return "down";
		state = "up";
	}
	return state;
}

void link_faults(struct updater *u, json_t *faults)
{
	json_t *link;
	size_t i;

	json_array_foreach(json_object_get(u->model, "links"), i, link) {
		const char *by = "", *state = link_state(u, link, &by);
		char text[512];

		if (!strcmp(state, "up") || !strcmp(state, "unknown"))
			continue;
		snprintf(text, sizeof(text), "link %s %s - %s %s: %s", get_str(link, "a", ""), get_str(link, "port-a", ""),
			 get_str(link, "b", ""), get_str(link, "port-b", ""),
			 strcmp(state, "down") ? "one end has no such port" : "down");
		if (strlen(text) + 64 < sizeof(text))
			snprintf(text + strlen(text), sizeof(text) - strlen(text), ", says %.60s", by);
		json_array_append_new(faults, json_string(text));
	}
}

void api_links_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	json_t *list = json_array(), *link, *o, *answer;
	struct page page;
	size_t i;

	if (api_page(req, &page, PAGE_MAX)) {
		json_decref(list);
		return;
	}
	json_array_foreach(json_object_get(u->model, "links"), i, link) {
		const char *by = NULL;

		if (i < page.after_id)
			continue;
		if (json_array_size(list) == page.limit)
			break;
		o = json_copy(link);
		json_object_set_new(o, "state", json_string(link_state(u, link, &by)));
		json_object_set_new(o, "told-by", by ? json_string(by) : json_null());
		json_array_append_new(list, o);
	}
	answer = json_pack("{s:o}", "links", list);
	if (i < json_array_size(json_object_get(u->model, "links")))
		json_object_set_new(answer, "next", json_integer(i));
	http_reply(req, 200, answer);
}
