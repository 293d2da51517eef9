// SPDX-License-Identifier: GPL-2.0
/*
 * The fabric as this node sees it: its ports, who speaks BGP over which, and
 * whether the tunnels' source is its own address. The controller holds it
 * against the topology.
 */
#include "agent.h"

#include <stdlib.h>
#include <string.h>

json_t *links_json(struct agent *a)
{
	char *list = strdup(a->config.ports), *at = list, *word;
	json_t *links = json_array();

	while (list && (word = strsep(&at, " \t,"))) {
		struct rt_link link = {};
		const char *why = NULL;
		bool there, attached;

		if (!*word)
			continue;
		there = !rt_link_get(a->rt, word, &link, NULL);
		attached = a->backend->ops->port ? a->backend->ops->port(a->backend, word, &why) : there;
		json_array_append_new(links, json_pack("{s:s, s:b, s:b, s:b, s:i, s:b, s:s?}", "port", word, "there", there, "up",
						       link.up, "carrier", link.carrier, "mtu", link.mtu, "attached",
						       there && attached, "reason", why));
	}
	free(list);
	return links;
}

const char *links_port_trouble(struct agent *a)
{
	char *list = strdup(a->config.ports), *at = list, *word;
	const char *why, *trouble = NULL;

	while (!trouble && list && a->backend->ops->port && (word = strsep(&at, " \t,"))) {
		if (!*word || a->backend->ops->port(a->backend, word, &why))
			continue;
		snprintf(a->port_trouble, sizeof(a->port_trouble), "port %s takes no packets: %s", word, why ?: "not attached yet");
		trouble = a->port_trouble;
	}
	free(list);
	return trouble;
}

json_t *neighbours_json(struct agent *a)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < a->n_neighbours; i++) {
		struct neighbour *n = &a->neighbours[i];
		char dev[16];
		struct addr addr;

		snprintf(dev, sizeof(dev), "%s", n->link);
		if (!*dev && !addr_parse(n->address, &addr))
			rt_route_link(a->rt, &addr, dev, NULL);
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:i}", "name", n->name, "state", n->state,
						      "address", n->address, "id", n->id, "asn", (json_int_t)n->asn, "port",
						      dev, "exported", n->exported));
	}
	return list;
}

/* foreign - the kernel would not take a packet to it for its own */
static bool foreign(struct agent *a, const struct addr *local)
{
	char dev[16];

	return !addr_is_none(local) && !rt_route_link(a->rt, local, dev, NULL) && strcmp(dev, "lo");
}

const char *links_local_trouble(struct agent *a)
{
	const struct addr *local = foreign(a, &a->config.local) ? &a->config.local :
				   foreign(a, &a->config.local6) ? &a->config.local6 : NULL;
	char text[ADDR_STRLEN];

	if (!local)
		return NULL;
	snprintf(a->local_trouble, sizeof(a->local_trouble),
		 "%s, the tunnels' source, is no address of this machine: what is sent through tunnels has no route", addr_str(local, text));
	return a->local_trouble;
}

void show_links(struct http_request *req, json_t *body, void *ctx)
{
	http_reply(req, 200, json_pack("{s:o, s:o}", "links", links_json(ctx), "neighbours", neighbours_json(ctx)));
}
