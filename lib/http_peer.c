// SPDX-License-Identifier: GPL-2.0
/*
 * What each peer has of the server: connections, streams, bytes of bodies. A peer
 * is a certificate's name, a user of the unix socket, or as long as nothing else is
 * known the address. Nobody gets more than a peer's share, and the last part
 * of what is shared is for those whom the daemon needs: the controller that
 * commands it, administrators, root, and agents that report health.
 */
#include "http_priv.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#define REPORT_MAX	(256u << 10)	/* bytes of a body that counts as a report of health */

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct http_peer *)a)->id, ((const struct http_peer *)b)->id);
}

struct http_peer *peer_get(struct http_server *s, const char *id)
{
	struct http_peer *new = calloc(1, sizeof(*new)), **node;

	if (!new)
		return NULL;
	snprintf(new->id, sizeof(new->id), "%s", id);
	node = tsearch(new, &s->peers, compare);
	if (!node || *node != new)
		free(new);
	if (node)
		(*node)->connections++;
	return node ? *node : NULL;
}

void peer_put(struct http_server *s, struct http_peer *peer)
{
	if (!peer || --peer->connections)
		return;
	tdelete(peer, &s->peers, compare);
	free(peer);
}

int peer_named(struct http_conn *conn)
{
	struct http_server *s = conn->listener->server;
	struct http_peer *peer = peer_get(s, conn->name);

	if (!peer)
		return -ENOMEM;
	peer_put(s, conn->of);
	conn->of = peer;
	return 0;
}

enum peer_class peer_class(const struct http_request *r)
{
	const rights_t vital = RIGHT_BIT(RIGHT_COMMAND) | RIGHT_BIT(RIGHT_ADMIN) | RIGHT_BIT(RIGHT_PART);

	if ((r->rights & vital) || (r->conn && r->conn->listener->local))
		return PEER_VITAL;
	if (r->route && r->route->right == RIGHT_AGENT && r->announced <= REPORT_MAX && r->room <= REPORT_MAX)
		return PEER_REPORT;
	return PEER_OTHER;
}

bool peer_may_buffer(const struct http_request *r, size_t more)
{
	const struct http_server *s = r->server;
	size_t quarter = s->max_bodies / 4, all = s->buffered + more;

	switch (peer_class(r)) {
	case PEER_VITAL:
		return all <= s->max_bodies;
	case PEER_REPORT:
		return all <= 3 * quarter;
	default:
		/* all others together, and one of them half of that */
		return all <= 2 * quarter && r->conn->of->buffered + more <= quarter;
	}
}
