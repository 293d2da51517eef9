// SPDX-License-Identifier: GPL-2.0
/*
 * GET /v1/learned/ID: which host routes BIRD here has accepted from the BGP neighbour with this router ID. What another
 * mux exports it only offers; an import filter or a limit here may refuse it. The controller asks neighbours of a switch
 * whether its VIPs have arrived.
 */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SESSIONS_MAX	8	/* parallel links to one neighbour */
#define CALLS_MAX	16

struct learned_call {
	struct agent *agent;
	struct http_request *req;
	json_t *prefixes;		/* {"203.0.113.1": true} */
	char vip[ADDR_STRLEN + 4];	/* the only prefix asked for, or empty */
	char sessions[SESSIONS_MAX][64];
	unsigned int n, at;
};

static void call_end(struct learned_call *c, unsigned int status, const char *why)
{
	json_t *list = json_array(), *yes;
	const char *prefix;

	json_object_foreach(c->prefixes, prefix, yes)
		json_array_append_new(list, json_string(prefix));
	if (status == 200)
		http_reply(c->req, 200, json_pack("{s:i, s:O}", "sessions", c->n, "vips", list));
	else if (status)
		http_problem(c->req, status, NULL, "BIRD can't be asked: %s", why);
	c->agent->n_learned_calls--;
	json_decref(list);
	json_decref(c->prefixes);
	free(c);
}

static void route_of(const struct prefix *p, void *ctx)
{
	struct learned_call *c = ctx;
	char text[ADDR_STRLEN];

	if (p->len == host_prefix(&p->addr).len)
		json_object_set_new(c->prefixes, addr_str(&p->addr, text), json_true());
}

static void session_next(struct learned_call *c);

static void on_routes(int code, const char *text, void *ctx)
{
	struct learned_call *c = ctx;

	if (code == -ECANCELED) {	/* the agent ends, and the request with it */
		call_end(c, 0, NULL);
		return;
	}
	if (code < 0) {
		call_end(c, 503, strerror(-code));
		return;
	}
	if (code < 8000)	/* 8001: no such route */
		bird_routes(text, route_of, c);
	c->at++;
	session_next(c);
}

static void session_next(struct learned_call *c)
{
	char command[200];
	int ret;

	if (c->at == c->n) {
		call_end(c, 200, NULL);
		return;
	}
	snprintf(command, sizeof(command), "show route %s protocol %s%s", c->vip, c->sessions[c->at],
		 *c->vip ? "" : " where net.len = 32 || net.len = 128");
	ret = bird_command(c->agent->bird, command, on_routes, c);
	if (ret)
		call_end(c, 503, strerror(-ret));
}

void learned_get(struct http_request *req, json_t *body, void *ctx)
{
	const char *id = http_segment(req, 0), *vip = http_query(req, "vip");
	struct agent *a = ctx;
	struct learned_call *c;
	struct prefix p;
	struct addr addr;
	unsigned int i;

	if (!api_address(req, &addr))
		return;
	if (vip && addr_parse(vip, &addr)) {
		http_problem(req, 400, NULL, "?vip=%.45s is no address", vip);
		return;
	}
	c = a->n_learned_calls < CALLS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		http_problem(req, 503, NULL, "too many such questions are being answered");
		return;
	}
	*c = (struct learned_call){ .agent = a, .req = req, .prefixes = json_object() };
	a->n_learned_calls++;
	p = host_prefix(&addr);
	if (vip) {
		addr_str(&p.addr, c->vip);
		snprintf(c->vip + strlen(c->vip), 5, "/%u", p.len);
	}
	for (i = 0; i < a->n_neighbours && c->n < SESSIONS_MAX; i++)
		if (!strcmp(a->neighbours[i].id, id) && !strcmp(a->neighbours[i].state, "Established"))
			memcpy(c->sessions[c->n++], a->neighbours[i].name, sizeof(c->sessions[0]));
	session_next(c);
}
