// SPDX-License-Identifier: GPL-2.0
/*
 * REST, what is asked of the agent. A request is read whole and refused whole,
 * with a sentence, before anything changes; requests older than the fence
 * (lib/fence.h) are refused with 409.
 */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

/* fence - may the request be obeyed? It is the newest from now on. false: answered */
static bool fence(struct agent *a, struct http_request *req, uint64_t epoch, uint64_t generation)
{
	struct err e;
	int ret = fence_pass(&a->fence, epoch, generation, &e);

	a->count.puts++;
	if (!ret)
		return true;
	log_warn("refused %s: %s", http_peer_name(req), e.text);
	if (ret == -ESTALE)
		a->count.stale++;
	http_problem(req, ret == -ESTALE ? 409 : ret == -ERANGE ? 422 : 503,
		     json_pack("{s:I, s:I}", "epoch", (json_int_t)a->fence.epoch, "generation", (json_int_t)a->fence.generation),
		     "%s", e.text);
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

static bool needs_local6(const struct vip *vip)
{
	unsigned int r, d;

	for (r = 0; r < vip->n_rules; r++)
		for (d = 0; d < vip->rules[r].n_dips; d++)
			if (!addr_is_v4(&vip->rules[r].dips[d].addr))
				return true;
	return false;
}

/* allowed - does p lie in what this node's configuration allows it to serve and announce? */
static bool allowed(const struct agent *a, const struct prefix *p)
{
	return prefixes_allow(a->config.allowed, a->config.n_allowed, p);
}

/* wanted_parse - a VIP; keys: those of the state that it is part of */
static int wanted_parse(struct agent *a, json_t *json, const struct secret keys[DUET_KEYS], struct wanted *w, struct err *e)
{
	json_t *announce = json_object_get(json, "announce");
	char text[ADDR_STRLEN], where[ADDR_STRLEN + 8];
	int ret = vip_from_json(json, &w->vip, e);
	struct prefix host;

	if (ret)
		return ret;
	host = host_prefix(&w->vip->addr);
	snprintf(where, sizeof(where), "VIP %s", addr_str(&w->vip->addr, text));
	if (keys_have(keys, w->vip->policy.key, where, e))
		goto err_free;
	if (!allowed(a, &host)) {
		err_set(e, -EINVAL, "VIP %s is in none of the prefixes that this mux may serve ([announce] allow)",
			addr_str(&w->vip->addr, text));
		goto err_free;
	}
	w->announce = ANNOUNCE_NO;
	if (announce && (!json_is_string(announce) || announce_parse(json_string_value(announce), &w->announce))) {
		err_set(e, -EINVAL, "VIP %s: \"announce\" is yes, no or drain", addr_str(&w->vip->addr, text));
		goto err_free;
	}
	if (addr_is_none(&a->config.local6) && needs_local6(w->vip)) {
		err_set(e, -EINVAL, "VIP %s: it has IPv6 DIPs, and this mux has no IPv6 address to send from ([device] local6)",
			addr_str(&w->vip->addr, text));
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

/* What a whole state says. */
struct state {
	struct wanted *list;
	size_t n;
	struct secret keys[DUET_KEYS];
	struct prefix aggregates[AGGREGATES_MAX];
	unsigned int n_aggregates;
	bool drain;
};

static int aggregate_read(struct agent *a, json_t *json, struct state *s, struct err *e)
{
	const char *text = json_string_value(json);

	if (s->n_aggregates == AGGREGATES_MAX)
		return err_set(e, -E2BIG, "more than %u aggregates", AGGREGATES_MAX);
	if (!text || prefix_parse(text, &s->aggregates[s->n_aggregates]))
		return err_set(e, -EINVAL, "\"aggregate\" isn't a prefix, nor a list of them");
	if (!allowed(a, &s->aggregates[s->n_aggregates]))
		return err_set(e, -EINVAL, "aggregate %s is in none of the prefixes that this mux may announce ([announce] allow)", text);
	return guard_aggregate(a, &s->aggregates[s->n_aggregates++], e);
}

/* state_put_read - the whole body; 0 or -errno */
static int state_put_read(struct agent *a, json_t *body, struct state *state, struct err *e)
{
	json_t *vips = json_object_get(body, "vips");
	json_t *agg = json_object_get(body, "aggregate"), *drain = json_object_get(body, "drain");
	char text[ADDR_STRLEN];
	int ret = 0;
	size_t i;

	if (!json_is_array(vips))
		return err_set(e, -EINVAL, "\"vips\" is missing, or isn't a list");
	if (keys_from_json(body, true, state->keys, e))
		return -EINVAL;
	if (drain && !json_is_boolean(drain))
		return err_set(e, -EINVAL, "\"drain\" is true or false");
	state->drain = json_is_true(drain);
	for (i = 0; !ret && i < json_array_size(agg); i++)
		ret = aggregate_read(a, json_array_get(agg, i), state, e);
	if (agg && !json_is_null(agg) && !json_is_array(agg))
		ret = aggregate_read(a, agg, state, e);
	if (ret)
		return ret;
	state->list = calloc(json_array_size(vips) + 1, sizeof(*state->list));
	if (!state->list)
		return err_set(e, -ENOMEM, "no memory");
	for (; state->n < json_array_size(vips); state->n++) {
		ret = wanted_parse(a, json_array_get(vips, state->n), state->keys, &state->list[state->n], e);
		if (ret)
			return ret;
	}
	qsort(state->list, state->n, sizeof(*state->list), wanted_cmp);
	for (i = 1; i < state->n; i++)
		if (!wanted_cmp(&state->list[i - 1], &state->list[i]))
			return err_set(e, -EINVAL, "VIP %s is given twice", addr_str(&state->list[i].vip->addr, text));
	return 0;
}

static void state_put_answer(struct agent *a, struct http_request *req, const struct changes *c)
{
	http_reply(req, 200, json_pack("{s:{s:i, s:i, s:i, s:i, s:i, s:i}, s:o}", "changed", "added", c->added,
				       "replaced", c->replaced, "removed", c->removed, "announced", c->announced,
				       "withdrawn", c->withdrawn, "dips", c->dips, "refused", refused_json(a)));
}

/* state_take - it is what is wanted from now on; 0 or -ENOMEM */
static int state_take(struct agent *a, struct state *s)
{
	size_t i;

	/* entries first: no memory, nothing changed */
	for (i = 0; i < s->n; i++)
		if (!state_get(a, &s->list[i].vip->addr))
			return -ENOMEM;
	for (i = 0; i < a->n_vips; i++)
		a->vips[i]->keep = true;	/* marks what isn't spoken of below */
	for (i = 0; i < s->n; i++) {
		state_want(state_find(a, &s->list[i].vip->addr), s->list[i].vip, s->list[i].announce);
		s->list[i].vip = NULL;
	}
	for (i = 0; i < a->n_vips; i++)
		if (a->vips[i]->keep)
			state_want(a->vips[i], NULL, ANNOUNCE_NO);
	memcpy(a->keys, s->keys, sizeof(a->keys));
	a->drained = s->drain;
	for (i = 0; i < a->n_aggregates; i++)
		a->aggregates[i].want = false;
	for (i = 0; i < s->n_aggregates; i++)
		announce_aggregate_want(a, &s->aggregates[i]);
	a->synced = true;
	a->retry = true;
	return 0;
}

static void state_put(struct http_request *req, json_t *body, void *ctx)
{
	uint64_t epoch, generation;
	struct changes c = {};
	struct agent *a = ctx;
	struct state s = {};
	struct err e;
	size_t i;

	if (!get_fence(body, req, &epoch, &generation))
		return;
	if (state_put_read(a, body, &s, &e)) {
		http_problem(req, 422, NULL, "%s", e.text);
		goto out;
	}
	if (!fence(a, req, epoch, generation))
		goto out;
	if (state_take(a, &s))
		http_problem(req, 500, NULL, "no memory");
	else if (state_run(a, &c, &e))
		http_problem(req, 503, NULL, "%s", e.text);
	else if (!state_finish(a, req, &c, state_put_answer))
		http_problem(req, 503, NULL, "too many wait for long changes already; this one is under way too: see /v1/status");
out:
	for (i = 0; s.list && i <= s.n; i++)
		vip_free(s.list[i].vip);
	free(s.list);
}

bool api_address(struct http_request *req, struct addr *addr)
{
	const char *segment = http_segment(req, 0);

	if (!addr_parse(segment, addr))
		return true;
	http_problem(req, 400, NULL, "\"%s\" is no address", segment);
	return false;
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

	if (!api_address(req, &addr))
		return;
	if (!get_fence(body, req, &epoch, &generation))
		return;
	if (wanted_parse(a, body, a->keys, &w, &e)) {
		http_problem(req, 422, NULL, "%s", e.text);
		return;
	}
	if (addr_cmp(&w.vip->addr, &addr)) {
		http_problem(req, 422, NULL, "the body speaks of another VIP than %s", segment);
		goto out;
	}
	if (!fence(a, req, epoch, generation))
		goto out;
	v = state_get(a, &addr);
	if (!v) {
		http_problem(req, 500, NULL, "no memory");
		goto out;
	}
	state_want(v, w.vip, w.announce);
	w.vip = NULL;
	a->urgent = v;
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

	if (!api_address(req, &addr))
		return;
	if (!query_u64(req, "epoch", &epoch) || !query_u64(req, "generation", &generation)) {
		http_problem(req, 400, NULL, "?epoch= and &generation= are missing, or aren't whole numbers");
		return;
	}
	v = state_find(a, &addr);
	if (!v) {
		http_problem(req, 404, NULL, "this mux has no VIP %s", segment);
		return;
	}
	if (!fence(a, req, epoch, generation))
		return;
	state_want(v, NULL, ANNOUNCE_NO);
	if (state_run(a, &c, &e)) {
		http_problem(req, 503, NULL, "%s", e.text);
		return;
	}
	/* gone, or withdrawn and served until the hold time is over */
	http_reply(req, 202, json_pack("{s:s, s:s}", "vip", segment, "state",
				       state_find(a, &addr) ? state_name(VIP_WITHDRAWING) : state_name(VIP_ABSENT)));
}

/* vip_announce - of a VIP that is here already, only whether it is announced */
static void vip_announce(struct http_request *req, json_t *body, struct agent *a, enum announce announce)
{
	const char *segment = http_segment(req, 0);
	uint64_t epoch, generation;
	struct changes c = {};
	struct mux_vip *v;
	struct addr addr;
	struct err e;

	if (!api_address(req, &addr))
		return;
	if (!get_fence(body, req, &epoch, &generation))
		return;
	v = state_find(a, &addr);
	if (!v || !v->want) {
		http_problem(req, 404, NULL, "this mux %s VIP %s", v ? "was not told yet to serve" : "has no", segment);
		return;
	}
	if (announce != ANNOUNCE_NO && a->config.mode == DUET_MODE_SMUX) {
		http_problem(req, 422, NULL, "VIP %s: an SMux announces the aggregate, never a single VIP: it would beat the HMux",
			     segment);
		return;
	}
	if (!fence(a, req, epoch, generation))
		return;
	v->announce = announce;
	v->drift = v->drift && !v->same;	/* a trigger changed by hand is overruled by an order */
	if (state_run(a, &c, &e))
		http_problem(req, 503, NULL, "%s", e.text);
	else
		http_reply(req, 200, show_vip(a, v, NULL));
}

static void vip_post_announce(struct http_request *req, json_t *body, void *ctx)
{
	vip_announce(req, body, ctx, ANNOUNCE_YES);
}

static void vip_post_drain(struct http_request *req, json_t *body, void *ctx)
{
	vip_announce(req, body, ctx, ANNOUNCE_DRAIN);
}

static void vip_post_withdraw(struct http_request *req, json_t *body, void *ctx)
{
	vip_announce(req, body, ctx, ANNOUNCE_NO);
}

/* drain_put - the whole mux: no aggregate, and every VIP with graceful shutdown */
static void drain_put(struct http_request *req, json_t *body, void *ctx)
{
	json_t *drain = json_object_get(body, "drain");
	uint64_t epoch, generation;
	struct changes c = {};
	struct agent *a = ctx;
	struct err e;

	if (!get_fence(body, req, &epoch, &generation))
		return;
	if (!json_is_boolean(drain)) {
		http_problem(req, 422, NULL, "\"drain\" is true or false");
		return;
	}
	if (!fence(a, req, epoch, generation))
		return;
	a->drained = json_is_true(drain);
	log_notice("%s, as %s asked", a->drained ? "drain" : "drain no more", http_peer_name(req));
	if (state_run(a, &c, &e))
		http_problem(req, 503, NULL, "%s", e.text);
	else
		http_reply(req, 200, json_pack("{s:b}", "drain", a->drained));
}

/* fence_delete - after an epoch that no controller has: whoever commands next is obeyed */
static void fence_delete(struct http_request *req, json_t *body, void *ctx)
{
	struct agent *a = ctx;
	struct fence was = a->fence;
	struct err e;

	if (fence_reset(&a->fence, &e)) {
		http_problem(req, 503, NULL, "%s", e.text);
		return;
	}
	log_notice("%s removed the fence of epoch %llu generation %llu: the next controller is obeyed", http_peer_name(req),
		   (unsigned long long)was.epoch, (unsigned long long)was.generation);
	http_reply(req, 200, json_pack("{s:I, s:I}", "epoch", (json_int_t)was.epoch, "generation", (json_int_t)was.generation));
}

const struct http_route api_routes[] = {
	{ "GET", "/v1/status", show_status, RIGHT_READ },
	{ "PUT", "/v1/state", state_put, RIGHT_COMMAND, DUET_HTTP_BODY_MAX },
	{ "PUT", "/v1/drain", drain_put, RIGHT_COMMAND, 4096 },
	{ "DELETE", "/v1/fence", fence_delete, RIGHT_ADMIN },
	{ "GET", "/v1/links", show_links, RIGHT_READ },
	{ "GET", "/v1/learned/*", learned_get, RIGHT_READ },
	{ "POST", "/v1/probes", probes_post, RIGHT_COMMAND, 65536 },
	{ "GET", "/v1/vips", show_vips, RIGHT_READ },
	{ "GET", "/v1/vips/*", show_one, RIGHT_READ },
	{ "PUT", "/v1/vips/*", vip_put, RIGHT_COMMAND, 1 << 20 },
	{ "DELETE", "/v1/vips/*", vip_delete, RIGHT_COMMAND },
	{ "POST", "/v1/vips/*/announce", vip_post_announce, RIGHT_COMMAND, 4096 },
	{ "POST", "/v1/vips/*/drain", vip_post_drain, RIGHT_COMMAND, 4096 },
	{ "POST", "/v1/vips/*/withdraw", vip_post_withdraw, RIGHT_COMMAND, 4096 },
	{ "GET", "/healthz", show_health, RIGHT_ANY },
	{ "GET", "/metrics", show_metrics, RIGHT_METRICS },
	{}
};
