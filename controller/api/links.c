// SPDX-License-Identifier: GPL-2.0
/*
 * The fabric as it is against the topology: every link, as the agents at its
 * two ends tell of their ports and of who speaks BGP over them. What one end
 * calls down is down; a neighbour whose router ID is another node's than the
 * topology's is a cable in the wrong place.
 */
#include <stdio.h>
#include <string.h>

#include "api.h"

static const char *const ends[][2] = { { "a", "port-a" }, { "b", "port-b" } };

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

/* tells - an agent that is configured with no ports knows of none */
static bool tells(const struct mux *m)
{
	return m && m->status && !m->lost_ms && json_array_size(json_object_get(m->status, "links"));
}

/* says - the member, which agents that are older don't tell */
static bool says(json_t *port, const char *key)
{
	return !json_is_false(json_object_get(port, key));
}

const char *link_state(const struct updater *u, json_t *link, const char **by)
{
	const char *state = "unknown";
	unsigned int i;

	for (i = 0; i < 2; i++) {
		const struct mux *m = mux_find((struct updater *)u, get_str(link, ends[i][0], ""));
		json_t *p = port_of(m, get_str(link, ends[i][1], ""));

		if (!tells(m))
			continue;
		if (by)
			*by = m->name;
		if (!p || !says(p, "there"))
			return "missing";
		if (!json_is_true(json_object_get(p, "up")) || !says(p, "carrier"))
			return "down";
		state = "up";
	}
	return state;
}

/* by_router_id - name of the node that has this address as its own, or NULL */
static const char *by_router_id(const struct updater *u, const char *id)
{
	unsigned int i;

	for (i = 0; i < u->n_muxes; i++)
		if (!strcmp(u->muxes[i].local, id))
			return u->muxes[i].name;
	return NULL;
}

/* neighbour_faults - of the sessions over one end's port of a link */
static void neighbour_faults(const struct updater *u, json_t *link, unsigned int end, json_t *faults)
{
	const char *name = get_str(link, ends[end][0], ""), *port = get_str(link, ends[end][1], "");
	const char *far = get_str(link, ends[!end][0], "");
	const struct mux *m = mux_find((struct updater *)u, name), *other = mux_find((struct updater *)u, far);
	json_t *n;
	size_t i;

	if (!tells(m))
		return;
	json_array_foreach(json_object_get(json_object_get(m->status, "bird"), "neighbours"), i, n) {
		const char *id = get_str(n, "id", ""), *state = get_str(n, "state", ""), *real;

		if (strcmp(get_str(n, "port", ""), port))
			continue;
		real = *id ? by_router_id(u, id) : NULL;
		if (strcmp(state, "Established"))
			api_fault(faults, "link %s %s - %s: its BGP session %s is not up: %s", name, port, far, get_str(n, "name", ""), state);
		else if (*id && other && strcmp(other->local, id))
			api_fault(faults, "link %s %s - %s: BGP meets %s there, with router ID %s", name, port, far,
				  real ? real : "somebody unknown", id);
	}
}

void link_faults(struct updater *u, json_t *faults)
{
	json_t *link;
	size_t i;

	json_array_foreach(json_object_get(u->model, "links"), i, link) {
		const char *by = "", *state = link_state(u, link, &by);
		char text[512];

		if (strcmp(state, "down") && strcmp(state, "missing")) {
			neighbour_faults(u, link, 0, faults);
			neighbour_faults(u, link, 1, faults);
			continue;
		}
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
