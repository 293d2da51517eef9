// SPDX-License-Identifier: GPL-2.0
/* GET /v1/links: every link of the topology, and what its two ends report of it. */
#include "../query/links.h"
#include "api.h"

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
