// SPDX-License-Identifier: GPL-2.0
/* DIPs: each DIP of each rule with its state, and why; and what operators do to DIPs and hosts. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../state/damping.h"
#include "api.h"
#include "gate.h"
#include "fields.h"

static struct updater *updater_of(void *ctx)
{
	return ((struct controller *)ctx)->updater;
}

/* match_text - a rule as "tcp/80" */
static const char *match_text(json_t *rule, char *buf, size_t size)
{
	json_t *port = json_object_get(rule, "port"), *proto = json_object_get(rule, "proto");
	char name[16];

	snprintf(name, sizeof(name), "%s", get_str(rule, "proto", "any"));
	if (json_is_integer(proto))
		snprintf(name, sizeof(name), "%lld", (long long)json_integer_value(proto));
	if (json_is_integer(port))
		snprintf(buf, size, "%s/%lld", name, (long long)json_integer_value(port));
	else
		snprintf(buf, size, "%s%s%s", name, json_is_string(port) ? "/" : "", json_is_string(port) ? json_string_value(port) : "");
	return buf;
}

static const char *reason_of(const struct dip *d)
{
	if (d->state == DIP_OFF)
		return d->defined == DUET_DIP_DOWN ? "taken out by its definition" : "taken out by an operator";
	if (d->state == DIP_STANDBY)
		return "of last resort: other DIPs are up";
	if (d->state == DIP_DAMPED)
		return "it comes and goes: kept out until it is steady";
	return d->reason && d->state == DIP_DOWN ? d->reason : "";
}

static json_t *dip_to_view(struct updater *u, const struct uvip *v, const struct dip *d)
{
	json_t *rule = json_array_get(json_object_get(v->def, "rules"), d->rule);
	const struct host *h = host_at(u, d->text);
	char match[48];
	json_t *o = json_pack("{s:s, s:i, s:s, s:s, s:s?, s:i}", "vip", v->text, "rule", d->rule, "match",
			      match_text(rule, match, sizeof(match)), "dip", d->text, "host", h ? h->name : NULL, "weight", d->weight);

	json_object_set_new(o, "state", json_string(dip_state_text(d->state)));
	json_object_set_new(o, "table", json_string(dip_state_name(d->table)));
	json_object_set_new(o, "reason", json_string(reason_of(d)));
	json_object_set_new(o, "since-ms", d->since_ms ? json_integer(d->since_ms) : json_null());
	json_object_set_new(o, "penalty", json_integer(lround(penalty_at(&d->penalty, mono_ms()))));
	json_object_set_new(o, "last-resort", json_boolean(d->last_resort));
	return o;
}

static void add_dips(json_t *list, struct updater *u, const struct uvip *v)
{
	unsigned int i;

	vip_judge(u, v);
	for (i = 0; i < v->dips.n; i++)
		json_array_append_new(list, dip_to_view(u, v, &v->dips.list[i]));
}

/* one_vip - ?vip=; answered */
static void one_vip(struct http_request *req, struct updater *u, const char *text)
{
	const struct uvip *v = vip_find(u, text);
	json_t *list;

	if (!v) {
		http_problem(req, 404, NULL, "there is no VIP %s", text);
		return;
	}
	list = json_array();
	add_dips(list, u, v);
	http_reply(req, 200, json_pack("{s:o}", "dips", list));
}

/* api_dips_get - a page ends at the end of a VIP */
void api_dips_get(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	const char *vip = http_query(req, "vip");
	json_t *list, *answer;
	unsigned int i = 0;
	struct page page;
	struct addr a;
	bool found;

	if (vip) {
		one_vip(req, u, vip);
		return;
	}
	if (api_page(req, &page, PAGE_MAX))
		return;
	if (page.after && addr_parse(page.after, &a)) {
		http_problem(req, 400, NULL, "after = \"%s\": must be a VIP", page.after);
		return;
	}
	if (page.after) {
		i = vip_slot(u, &a, &found);
		i += found;
	}
	list = json_array();
	for (; i < u->n_vips && json_array_size(list) < page.limit; i++)
		add_dips(list, u, u->vips[i]);
	answer = json_pack("{s:o}", "dips", list);
	if (i < u->n_vips && i)
		json_object_set_new(answer, "next", json_string(u->vips[i - 1]->text));
	http_reply(req, 200, answer);
}

/* dip_named - the VIP and DIP of a path, as the controller writes them; NULL: it has been answered */
static struct uvip *dip_named(struct http_request *req, struct updater *u, char dip[ADDR_STRLEN])
{
	struct uvip *v = vip_find(u, http_segment(req, 0));
	bool has = false;
	struct addr a;
	unsigned int r;

	if (!v) {
		http_problem(req, 404, NULL, "there is no VIP %s", http_segment(req, 0));
		return NULL;
	}
	if (!addr_parse(http_segment(req, 1), &a))
		for (r = 0, addr_str(&a, dip); r < v->dips.n_rules; r++)
			has |= dips_find(&v->dips, dip, r) != NULL;
	if (!has)
		http_problem(req, 404, NULL, "VIP %s has no DIP %s", v->text, http_segment(req, 1));
	return has ? v : NULL;
}

void api_dip_release(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = updater_of(ctx);
	char dip[ADDR_STRLEN];
	struct uvip *v = dip_named(req, u, dip);
	unsigned int n;

	if (!v)
		return;
	updater_begin(u);
	api_audit(u, req, dip);
	if (updater_commit(u)) {
		api_not_kept(u, req);
		return;
	}
	n = health_release(u, v, dip);
	if (n)
		vips_touch(u, v, true);
	http_reply(req, 200, json_pack("{s:s, s:s, s:i}", "vip", v->text, "dip", dip, "released", n));
}

/* finish - the changes of operators are in the store, or nothing was changed; answers */
static void finish(struct http_request *req, struct maintenance *m, const char *subject, unsigned int status, json_t *answer)
{
	json_object_set_new(answer, "moves", m->moves);
	api_audit(m->u, req, subject);
	if (updater_commit(m->u)) {
		json_decref(answer);
		api_not_kept(m->u, req);
		return;
	}
	http_reply(req, status, answer);
	moves_run(m->u);
}

/* begin - a change by who asks for it; "force" is read from the body */
static struct maintenance begin(struct http_request *req, struct updater *u, json_t *body)
{
	struct maintenance m = { .u = u, .by = gate_who(req, u->ctl), .force = json_is_true(json_object_get(body, "force")),
				 .moves = json_array() };

	updater_begin(u);
	return m;
}

static int state_of(json_t *body, enum dip_operator *state, struct err *e)
{
	const char *text = get_str(body, "state", "");

	if (strcmp(text, "up") && strcmp(text, "drain") && strcmp(text, "down"))
		return err_set(e, -EINVAL, "a DIP's \"state\" is \"up\", \"drain\" or \"down\"");
	*state = !strcmp(text, "down") ? OPERATOR_DOWN : !strcmp(text, "drain") ? OPERATOR_DRAIN : OPERATOR_NONE;
	return 0;
}

static void put_state(struct http_request *req, struct updater *u, struct uvip *v, const char *dip, json_t *body)
{
	enum dip_operator state = OPERATOR_NONE, was = dip_operator(u, v, dip);
	struct maintenance m;
	struct err e;
	int ret = state_of(body, &state, &e);

	if (!ret && state != OPERATOR_NONE && state != was && !json_is_true(json_object_get(body, "force")))
		ret = dip_last(u, v, dip, &e);
	if (ret) {
		http_problem(req, ret == -EBUSY ? 409 : 422, NULL, "%s", e.text);
		return;
	}
	m = begin(req, u, body);
	if (state != was || m.force)
		dip_operate(&m, v, dip, state);
	finish(req, &m, dip, 202, json_pack("{s:s, s:s, s:s, s:b}", "vip", v->text, "dip", dip, "state", get_str(body, "state", ""),
					    "changed", state != was));
}

void api_dip_put(struct http_request *req, json_t *body, void *ctx)
{
	static const char *const known[] = { "state", "weight", "force", NULL };
	struct updater *u = updater_of(ctx);
	json_t *weight = json_object_get(body, "weight");
	char dip[ADDR_STRLEN];
	struct uvip *v;
	struct err e;

	if (!u->model) {
		http_problem(req, 503, NULL, "the topology is not known yet");
		return;
	}
	v = dip_named(req, u, dip);
	if (!v)
		return;
	if (!json_is_object(body) || fields_known(body, known, "a change of a DIP", &e) ||
	    !weight == !json_object_get(body, "state"))
		http_problem(req, 400, NULL, "a change of a DIP is an object with \"state\", and perhaps \"force\", or with \"weight\"");
	else if (weight && !json_is_integer(weight))
		http_problem(req, 422, NULL, "DIP %s: a weight is a whole number", dip);
	else if (weight)
		api_dip_weight(req, u, v, dip, json_integer_value(weight));
	else
		put_state(req, u, v, dip, body);
}

void api_host_drain(struct http_request *req, struct controller *ctl, json_t *body, bool on)
{
	struct updater *u = ctl->updater;
	const char *name = http_segment(req, 1);
	struct host *h = host_find(u, name);
	struct maintenance m;
	struct err e;
	int ret = 0;

	if (!u->model)
		ret = err_set(&e, -EAGAIN, "the topology is not known yet");
	else if (!h || (!on && !drained(u, "host", name)))
		ret = err_set(&e, -ENOENT, h ? "host %.64s is not drained" : "there is no host \"%.64s\"", name);
	else if (on && !drained(u, "host", name) && !json_is_true(json_object_get(body, "force")))
		ret = host_last(u, h, &e);
	if (ret) {
		http_problem(req, ret == -ENOENT ? 404 : ret == -EAGAIN ? 503 : 409, NULL, "%s", e.text);
		return;
	}
	m = begin(req, u, body);
	host_operate(&m, h, on);
	finish(req, &m, name, on ? 202 : 200, json_pack("{s:s, s:s}", "kind", "host", "name", h->name));
}
