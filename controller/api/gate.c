// SPDX-License-Identifier: GPL-2.0
/* In front of every handler: the path to the leader. */
#include "gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lead.h"
#include "../updater/priv.h"

#define RELAY_MS 60000

static bool matches(const char *pattern, const char *path)
{
	while (*pattern) {
		if (*pattern == '*') {
			size_t len = strcspn(path, "/");

			if (!len)
				return false;
			path += len;
			pattern++;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	return !*path;
}

static const struct gate_route *route_of(const struct controller *ctl, struct http_request *req)
{
	const struct gate_route *r;

	for (r = gate_routes; r->part; r++)
		if ((r->part & ctl->roles) && !strcmp(r->route.method, http_method(req)) &&
		    matches(r->route.path, http_path(req)))
			return r;
	return NULL;
}

bool gate_relays(const struct gate_route *r)
{
	return r->part == ROLE_UPDATER && r->route.right != RIGHT_ANY;
}

static void relayed(const struct http_result *r, void *ctx)
{
	struct http_request *req = ctx;
	json_t *body = r->body;

	if (!r->status)
		http_problem(req, 502, NULL, "the controller that leads: %s", r->error);
	else if (r->status >= 400 && json_is_object(body))
		http_problem(req, r->status, json_copy(body), "%s", get_str(body, "detail", "refused"));
	else
		http_reply(req, r->status, json_incref(body));
}

/* relay - to the leader; a request that has been carried once is not carried on */
static void relay(struct controller *ctl, struct http_request *req, json_t *body)
{
	const char *url = ctl->lead ? lead_url(ctl->lead) : "", *given = http_header(req, "Authorization");
	const char *match = http_header(req, "If-Match");
	char as[256], auth[300], *to = NULL, etag[64], *target, *text;
	const char *headers[5] = { "X-Duet-Relayed: 1" };
	unsigned int n = 1;

	if (!*url || http_header(req, "X-Duet-Relayed")) {
		http_problem(req, 503, NULL, "this controller stands by, and who leads is not known yet");
		return;
	}
	if (http_header(req, "Accept") && strstr(http_header(req, "Accept"), "text/event-stream")) {
		http_problem(req, 421, NULL, "a stream comes from the controller that leads only: %s", url);
		return;
	}
	snprintf(auth, sizeof(auth), "Authorization: %.250s", given ? given : "");
	if (!given)
		snprintf(auth, sizeof(auth), "Authorization: Bearer %s", ctl->secret);
	if (!given && !http_is_local(req)) {
		snprintf(as, sizeof(as), "X-Duet-As: %s %.200s", http_role(req), http_peer_name(req));
		headers[n++] = as;
	}
	headers[n++] = auth;
	snprintf(etag, sizeof(etag), "If-Match: %.40s", match ? match : "");
	if (match)
		headers[n++] = etag;
	headers[n] = NULL;
	target = http_target(req);
	text = body ? json_dumps(body, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	if (!target || (body && !text) || asprintf(&to, "%s%s", url, target) < 0 ||
	    !http_call_text(ctl->client, http_method(req), to, text, headers, RELAY_MS, relayed, req))
		http_problem(req, 500, NULL, "out of memory");
	free(to);
	free(target);
	free(text);
}

const char *gate_who(struct http_request *req, struct controller *ctl)
{
	return http_peer_name(req);
}

void gate(struct http_request *req, json_t *body, void *ctx)
{
	struct controller *ctl = ctx;
	const struct gate_route *r = route_of(ctl, req);

	if (!browser_good(ctl, req, body))
		return;
	if (!r)
		http_problem(req, 404, NULL, "there is no %s here", http_path(req));
	else if (gate_relays(r) && !ctl->updater)
		relay(ctl, req, body);
	else if (!http_may(req, r->route.right))	/* a token that was another controller's to look up, until now */
		http_refuse(req, r->route.right);
	else
		r->route.handle(req, body, ctx);
}
