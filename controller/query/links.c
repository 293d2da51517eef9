// SPDX-License-Identifier: GPL-2.0
/*
 * The fabric as it is against the topology: every link, as the agents at its
 * two ends tell of their ports and of who speaks BGP over them. What one end
 * calls down is down; a neighbour whose router ID is another node's than the
 * topology's is a cable in the wrong place.
 */
#include <stdio.h>
#include <string.h>

#include "faults.h"
#include "links.h"

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

/* struct end - one end of a link of the model, and the mux at the other */
struct end {
	const char *link;		/* the name of the whole link */
	const char *name, *port, *far;
	const struct mux *other;
};

/* session_fault - of one BGP session over a port that should meet the node at the other end */
static void session_fault(const struct updater *u, const struct end *e, json_t *session, struct fault_list *list)
{
	const char *id = get_str(session, "id", ""), *state = get_str(session, "state", "");
	const char *real = *id ? by_router_id(u, id) : NULL;

	if (strcmp(state, "Established"))
		fault_add(list, FAULT_BGP_DOWN, OBJECT_LINK, e->link, "link %s %s - %s: its BGP session %s is not up: %s", e->name, e->port,
			  e->far, get_str(session, "name", ""), state);
	else if (*id && e->other && strcmp(e->other->local, id))
		fault_add(list, FAULT_BGP_WRONG_PEER, OBJECT_LINK, e->link, "link %s %s - %s: BGP meets %s there, with router ID %s", e->name,
			  e->port, e->far, real ? real : "somebody unknown", id);
}

/* neighbour_faults - of the sessions over one end's port of a link */
static void neighbour_faults(const struct updater *u, json_t *link, const char *name, unsigned int end, struct fault_list *list)
{
	struct end e = { name, get_str(link, ends[end][0], ""), get_str(link, ends[end][1], ""), get_str(link, ends[!end][0], ""), NULL };
	const struct mux *m = mux_find((struct updater *)u, e.name);
	json_t *n;
	size_t i;

	if (!tells(m))
		return;
	e.other = mux_find((struct updater *)u, e.far);
	json_array_foreach(json_object_get(json_object_get(m->status, "bird"), "neighbours"), i, n)
		if (!strcmp(get_str(n, "port", ""), e.port))
			session_fault(u, &e, n, list);
}

void fault_links(const struct updater *u, struct fault_list *list)
{
	json_t *link;
	size_t i;

	json_array_foreach(json_object_get(u->model, "links"), i, link) {
		const char *by = "", *state = link_state(u, link, &by);
		bool missing = !strcmp(state, "missing");
		char name[FAULT_NAME_SIZE];

		snprintf(name, sizeof(name), "%s %s - %s %s", get_str(link, "a", ""), get_str(link, "port-a", ""), get_str(link, "b", ""),
			 get_str(link, "port-b", ""));
		if (missing || !strcmp(state, "down")) {
			fault_add(list, missing ? FAULT_LINK_PORT_MISSING : FAULT_LINK_DOWN, OBJECT_LINK, name, "link %s: %s%s%.60s", name,
				  missing ? "one end has no such port" : "down", *by ? ", says " : "", by);
			continue;
		}
		neighbour_faults(u, link, name, 0, list);
		neighbour_faults(u, link, name, 1, list);
	}
}
