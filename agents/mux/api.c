// SPDX-License-Identifier: GPL-2.0
/*
 * REST, what is asked of the agent. A request is read whole and refused whole,
 * with a sentence, before anything changes; older epochs and generations than
 * the held ones are refused with 409.
 */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

bool api_fence(struct agent *a, struct http_request *req, uint64_t epoch, uint64_t generation)
{
	a->count.puts++;
	if (epoch > a->epoch || (epoch == a->epoch && generation >= a->generation)) {
		a->epoch = epoch;
		a->generation = generation;
		return true;
	}
	a->count.stale++;
	http_problem(req, 409, json_pack("{s:I, s:I}", "epoch", (json_int_t)a->epoch, "generation", (json_int_t)a->generation),
		     "epoch %llu generation %llu is older than epoch %llu generation %llu that the agent holds",
		     (unsigned long long)epoch, (unsigned long long)generation,
		     (unsigned long long)a->epoch, (unsigned long long)a->generation);
	return false;
}

/* get_fence - "epoch" and "generation" of a body */
static bool get_fence(json_t *body, struct http_request *req, uint64_t *epoch, uint64_t *generation)
{
	json_t *e = json_object_get(body, "epoch"), *g = json_object_get(body, "generation");

	if (!json_is_integer(e) || !json_is_integer(g) || json_integer_value(e) < 0 || json_integer_value(g) < 0) {
		http_problem(req, 400, NULL, "\"epoch\" and \"generation\" are missing, or aren't whole numbers");
		return false;
	}
	*epoch = json_integer_value(e);
	*generation = json_integer_value(g);
	return true;
}

struct wanted {
	struct vip *vip;
	enum announce announce;
};

static int wanted_parse(struct agent *a, json_t *json, struct wanted *w, struct err *e)
{
	json_t *announce = json_object_get(json, "announce");
	char text[ADDR_STRLEN];
	int ret = vip_from_json(json, &w->vip, e);

	if (ret)
		return ret;
	w->announce = ANNOUNCE_NO;
	if (announce && (!json_is_string(announce) || announce_parse(json_string_value(announce), &w->announce))) {
		err_set(e, -EINVAL, "VIP %s: \"announce\" is yes, no or drain", addr_str(&w->vip->addr, text));
		goto err_free;
	}
	if (w->announce != ANNOUNCE_NO && a->config.mode == DUET_MODE_SMUX) {
		err_set(e, -EINVAL, "VIP %s: an SMux announces the aggregate, never a single VIP: it would beat the HMux",
			addr_str(&w->vip->addr, text));
		goto err_free;
	}
	return 0;

err_free:
	vip_free(w->vip);
	w->vip = NULL;
	return -EINVAL;
}

static int wanted_cmp(const void *a, const void *b)
{
	return addr_cmp(&((const struct wanted *)a)->vip->addr, &((const struct wanted *)b)->vip->addr);
}

static json_t *refused_json(struct agent *a)
{
	json_t *list = json_array();
	char text[ADDR_STRLEN];
	unsigned int i;

	for (i = 0; i < a->n_vips; i++)
		if (state_of(a, a->vips[i]) == VIP_REFUSED)
			json_array_append_new(list, json_pack("{s:s, s:s}", "vip", addr_str(&a->vips[i]->addr, text),
							      "reason", a->vips[i]->reason));
	return list;
}

/* state_put_read - the whole body into list[n] and the settings; 0 or -errno */
static int state_put_read(struct agent *a, json_t *body, struct wanted **list, size_t *n, uint32_t *seed,
			  struct prefix *aggregate, struct err *e)
{
	json_t *vips = json_object_get(body, "vips"), *s = json_object_get(body, "seed");
	json_t *agg = json_object_get(body, "aggregate");
	char text[ADDR_STRLEN];
	size_t i;
	int ret;

	if (!json_is_array(vips))
		return err_set(e, -EINVAL, "\"vips\" is missing, or isn't a list");
	if (!json_is_integer(s) || json_integer_value(s) < 0 || json_integer_value(s) > UINT32_MAX)
		return err_set(e, -EINVAL, "\"seed\" is missing, or isn't a number of 32 bits");
	*seed = json_integer_value(s);
	memset(aggregate, 0, sizeof(*aggregate));
	if (agg && !json_is_null(agg) &&
	    (!json_is_string(agg) || prefix_parse(json_string_value(agg), aggregate)))
		return err_set(e, -EINVAL, "\"aggregate\" isn't a prefix");
	*n = json_array_size(vips);
	*list = calloc(*n + 1, sizeof(**list));
	if (!*list)
		return err_set(e, -ENOMEM, "no memory");
	for (i = 0; i < *n; i++) {
		ret = wanted_parse(a, json_array_get(vips, i), &(*list)[i], e);
		if (ret)
			return ret;
	}
	qsort(*list, *n, sizeof(**list), wanted_cmp);
	for (i = 1; i < *n; i++)
		if (!wanted_cmp(&(*list)[i - 1], &(*list)[i]))
			return err_set(e, -EINVAL, "VIP %s is given twice", addr_str(&(*list)[i].vip->addr, text));
	return 0;
}

static void state_put(struct http_request *req, json_t *body, void *ctx)
{
	uint64_t epoch, generation;
	struct wanted *list = NULL;
	struct changes c = {};
	struct prefix aggregate;
	struct agent *a = ctx;
	size_t n = 0, i;
	uint32_t seed = 0;
	struct err e;

	if (!get_fence(body, req, &epoch, &generation))
		return;
	if (state_put_read(a, body, &list, &n, &seed, &aggregate, &e)) {
		http_problem(req, 422, NULL, "%s", e.text);
		goto out;
	}
	if (!api_fence(a, req, epoch, generation))
		goto out;
	for (i = 0; i < a->n_vips; i++)
		a->vips[i]->keep = true;	/* marks what isn't spoken of below */
	for (i = 0; i < n; i++) {
		struct mux_vip *v = state_get(a, &list[i].vip->addr);

		if (!v) {
			http_problem(req, 500, NULL, "no memory");
			goto out;
		}
		state_want(v, list[i].vip, list[i].announce);
		list[i].vip = NULL;
	}
	for (i = 0; i < a->n_vips; i++)
		if (a->vips[i]->keep)
			state_want(a->vips[i], NULL, ANNOUNCE_NO);
	a->seed = seed;
	a->aggregate = aggregate;
	a->synced = true;
	if (state_run(a, &c, &e)) {
		http_problem(req, 503, NULL, "%s", e.text);
		goto out;
	}
	http_reply(req, 200, json_pack("{s:{s:i, s:i, s:i, s:i, s:i, s:i}, s:o}", "changed", "added", c.added,
				       "replaced", c.replaced, "removed", c.removed, "announced", c.announced,
				       "withdrawn", c.withdrawn, "dips", c.dips, "refused", refused_json(a)));
out:
	for (i = 0; list && i < n; i++)
		vip_free(list[i].vip);
	free(list);
}

static void vip_put(struct http_request *req, json_t *body, void *ctx)
{
	const char *segment = http_segment(req, 0);
	uint64_t epoch, generation;
	struct wanted w = {};
	struct changes c = {};
	struct agent *a = ctx;
	struct mux_vip *v;
	struct addr addr;
	struct err e;

	if (addr_parse(segment, &addr)) {
		http_problem(req, 400, NULL, "\"%s\" is no address", segment);
		return;
	}
	if (!get_fence(body, req, &epoch, &generation))
		return;
	if (wanted_parse(a, body, &w, &e)) {
		http_problem(req, 422, NULL, "%s", e.text);
		return;
	}
	if (addr_cmp(&w.vip->addr, &addr)) {
		http_problem(req, 422, NULL, "the body speaks of another VIP than %s", segment);
		goto out;
	}
	if (!api_fence(a, req, epoch, generation))
		goto out;
	v = state_get(a, &addr);
	if (!v) {
		http_problem(req, 500, NULL, "no memory");
		goto out;
	}
	state_want(v, w.vip, w.announce);
	w.vip = NULL;
	if (state_run(a, &c, &e)) {
		http_problem(req, 503, NULL, "%s", e.text);
		goto out;
	}
	if (state_of(a, v) == VIP_REFUSED)
		http_problem(req, v->invalid ? 422 : 507, NULL, "VIP %s: %s", segment, v->reason);
	else
		http_reply(req, 200, show_vip(a, v, NULL));
out:
	vip_free(w.vip);
}

static bool query_u64(struct http_request *req, const char *name, uint64_t *out)
{
	const char *text = http_query(req, name);
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	*out = strtoull(text, &end, 10);
	return !*end;
}

static void vip_delete(struct http_request *req, json_t *body, void *ctx)
{
	const char *segment = http_segment(req, 0);
	uint64_t epoch, generation;
	struct changes c = {};
	struct agent *a = ctx;
	struct mux_vip *v;
	struct addr addr;
	struct err e;

	if (addr_parse(segment, &addr)) {
		http_problem(req, 400, NULL, "\"%s\" is no address", segment);
		return;
	}
	if (!query_u64(req, "epoch", &epoch) || !query_u64(req, "generation", &generation)) {
		http_problem(req, 400, NULL, "?epoch= and &generation= are missing, or aren't whole numbers");
		return;
	}
	if (!api_fence(a, req, epoch, generation))
		return;
	v = state_find(a, &addr);
	if (!v) {
		http_problem(req, 404, NULL, "this mux has no VIP %s", segment);
		return;
	}
	state_want(v, NULL, ANNOUNCE_NO);
	if (state_run(a, &c, &e)) {
		http_problem(req, 503, NULL, "%s", e.text);
		return;
	}
	/* gone, or withdrawn and served until the hold time is over */
	http_reply(req, 202, json_pack("{s:s, s:s}", "vip", segment, "state",
				       state_find(a, &addr) ? state_name(VIP_WITHDRAWING) : state_name(VIP_ABSENT)));
}

const struct http_route api_routes[] = {
	{ "GET", "/v1/status", show_status },
	{ "PUT", "/v1/state", state_put },
	{ "GET", "/v1/vips", show_vips },
	{ "GET", "/v1/vips/*", show_one },
	{ "PUT", "/v1/vips/*", vip_put },
	{ "DELETE", "/v1/vips/*", vip_delete },
	{ "GET", "/healthz", show_health },
	{ "GET", "/metrics", show_metrics },
	{}
};
