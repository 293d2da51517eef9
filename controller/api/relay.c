// SPDX-License-Identifier: GPL-2.0
/*
 * A standby asks the leader: what a token may, before the body is read, and
 * then all of the request. It goes on as it came, in the name of who sent it;
 * the certificate of the standby lends it nothing.
 */
#include "gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lead.h"

#define RELAY_MS	60000
#define LOOK_UP_MS	5000

/* what of an answer's headers is for the peer */
static const char *const passed_on[] = { "ETag", "Location", "Retry-After", "WWW-Authenticate" };

static void relayed(const struct http_result *r, void *ctx)
{
	struct http_request *req = ctx;
	json_t *body = r->body;
	const char *value;
	unsigned int i;

	if (!r->status) {
		http_problem(req, 502, NULL, "the controller that leads: %s", r->error);
		return;
	}
	for (i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++) {
		value = http_result_header(r, passed_on[i]);
		if (value)
			http_reply_header(req, passed_on[i], value);
	}
	if (r->status >= 400 && json_is_object(body))
		http_problem(req, r->status, json_copy(body), "%s", get_str(body, "detail", "refused"));
	else
		http_reply(req, r->status, json_incref(body));
}

/* leader_of - its URL; NULL: there is none to ask, and the request has been answered */
static const char *leader_of(struct controller *ctl, struct http_request *req)
{
	const char *url = ctl->lead ? lead_url(ctl->lead) : "";

	/* a request that has been carried once is not carried on */
	if (*url && !http_header(req, "X-Duet-Relayed"))
		return url;
	http_problem(req, 503, NULL, "this controller stands by, and who leads is not known yet");
	return NULL;
}

/* The headers of a request to the leader. */
struct headers {
	char *line[4];
	unsigned int n;
	bool failed;
};

static void add(struct headers *h, const char *name, const char *value)
{
	if (asprintf(&h->line[h->n], "%s: %s", name, value) < 0)
		h->failed = true;
	else
		h->n++;
}

static void ask(struct controller *ctl, struct http_request *req, const char *method, const char *target, const char *body,
		struct headers *h, unsigned int timeout_ms, void (*done)(const struct http_result *r, void *ctx))
{
	const char *url = leader_of(ctl, req);
	const char *lines[] = { "X-Duet-Relayed: 1", h->line[0], h->line[1], h->line[2], NULL };
	char *to = NULL;

	if (url && (h->failed || asprintf(&to, "%s%s", url, target) < 0 ||
		    !http_call_text(ctl->client, method, to, body, lines, timeout_ms, done, req)))
		http_problem(req, 500, NULL, "out of memory");
	free(to);
	while (h->n)
		free(h->line[--h->n]);
}

/* add_sender - the peer's own token, or who it is with our word for it */
static void add_sender(struct headers *h, const struct controller *ctl, struct http_request *req)
{
	const char *given = http_header(req, "Authorization");
	char as[AUTH_ID_SIZE + 16], word[sizeof(ctl->secret) + 8];

	if (given) {
		add(h, "Authorization", given);
		return;
	}
	snprintf(word, sizeof(word), "Bearer %s", ctl->secret);
	add(h, "Authorization", word);
	if (http_is_local(req))
		return;
	snprintf(as, sizeof(as), "%s %s", http_role(req), http_peer_name(req));
	add(h, "X-Duet-As", as);
}

void relay(struct controller *ctl, struct http_request *req, json_t *body)
{
	char *text = body ? json_dumps(body, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	const char *accept = http_header(req, "Accept"), *match = http_header(req, "If-Match");
	struct headers h = {};

	if (accept && strstr(accept, "text/event-stream")) {
		http_problem(req, 421, NULL, "a stream comes from the controller that leads only: %s",
			     ctl->lead ? lead_url(ctl->lead) : "");
		free(text);
		return;
	}
	add_sender(&h, ctl, req);
	if (match)
		add(&h, "If-Match", match);
	h.failed = h.failed || (body && !text);
	ask(ctl, req, http_method(req), http_target(req), text, &h, RELAY_MS, relayed);
	free(text);
}

/* looked_up - the leader's GET /v1/whoami */
static void looked_up(const struct http_result *r, void *ctx)
{
	struct http_request *req = ctx;
	const char *id = get_str(r->body, "identity", "");
	enum right right;

	if (!r->status)
		http_problem(req, 502, NULL, "the controller that leads, which knows the tokens: %s", r->error);
	else if (r->status == 200 && !strncmp(id, "token:", 6) && auth_name(id) && !right_parse(get_str(r->body, "role", ""), &right))
		http_resolved(req, auth_role_rights(right), id);
	else
		http_resolved(req, 0, "");
}

void relay_look_up(struct http_request *req, void *ctx)
{
	struct headers h = {};

	add(&h, "Authorization", http_header(req, "Authorization"));
	ask(ctx, req, "GET", "/v1/whoami", NULL, &h, LOOK_UP_MS, looked_up);
}
