// SPDX-License-Identifier: GPL-2.0
/* What handlers share: pages of lists, generations as ETags, the audit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "gate.h"

int api_page(struct http_request *req, struct page *page, unsigned int fallback)
{
	const char *limit = http_query(req, "limit");
	char *end = NULL;
	unsigned long n = limit ? strtoul(limit, &end, 10) : fallback;

	if (limit && (*end || *limit < '0' || *limit > '9' || !n || n > PAGE_MAX)) {
		http_problem(req, 400, NULL, "limit = \"%s\": must be a number from 1 to %u", limit, PAGE_MAX);
		return -1;
	}
	page->limit = n;
	page->after = http_query(req, "after");
	page->after_id = page->after ? strtoull(page->after, NULL, 10) : 0;
	return 0;
}

void api_etag(struct http_request *req, uint64_t generation)
{
	char text[32];

	snprintf(text, sizeof(text), "\"%llu\"", (unsigned long long)generation);
	http_reply_header(req, "ETag", text);
}

int api_match(struct http_request *req, uint64_t generation)
{
	const char *match = http_header(req, "If-Match");
	char text[32];

	snprintf(text, sizeof(text), "\"%llu\"", (unsigned long long)generation);
	if (!match || !strcmp(match, "*") || !strcmp(match, text))
		return 0;
	http_problem(req, 412, json_pack("{s:I}", "generation", (json_int_t)generation),
		     "it has been changed since: it is of generation %llu now, not %s",
		     (unsigned long long)generation, match);
	return -1;
}

void api_audit(struct updater *u, struct http_request *req, const char *subject)
{
	char what[256];

	snprintf(what, sizeof(what), "%s %.200s", http_method(req), http_path(req));
	store_audit(u->store, gate_who(req, u->ctl), http_carrier(req), what, subject);
}

void api_not_kept(struct updater *u, struct http_request *req)
{
	http_problem(req, 507, NULL, "nothing was changed: the store can't keep it: %s", store_trouble(u->store));
}

struct move *api_move_running(struct updater *u, uint64_t id)
{
	struct move *mv;

	TAILQ_FOREACH(mv, &u->moves, list)
		if (mv->id == id)
			return mv;
	TAILQ_FOREACH(mv, &u->queue, list)
		if (mv->id == id)
			return mv;
	return NULL;
}

const char *api_rack_of(const struct updater *u, const char *smux)
{
	json_t *node;
	size_t i;

	json_array_foreach(json_object_get(u->model, "smuxes"), i, node)
		if (!strcmp(get_str(node, "name", ""), smux))
			return get_str(node, "switch", "");
	return "";
}
