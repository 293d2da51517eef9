// SPDX-License-Identifier: GPL-2.0
/* In front of every handler: is the request from where it claims, and is this controller the one to answer it? */
#include "gate.h"

bool gate_relays(const struct gate_route *r)
{
	return r->part == ROLE_UPDATER && r->route.right != RIGHT_ANY;
}

const char *gate_who(struct http_request *req, struct controller *ctl)
{
	return http_peer_name(req);
}

void gate(struct http_request *req, json_t *body, void *ctx)
{
	const struct gate_route *r = http_route_own(req);
	struct controller *ctl = ctx;

	if (!browser_good(ctl, req, body))
		return;
	if (gate_relays(r) && !ctl->updater)
		relay(ctl, req, body);
	else
		r->route.handle(req, body, ctx);
}
