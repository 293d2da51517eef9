// SPDX-License-Identifier: GPL-2.0
/*
 * Asks muxes whether the DIPs of silent hosts answer. A round is about several hosts: each gets up to JUDGE_WITNESSES
 * muxes, each mux one request. A request also has DIPs of hosts that report: a mux that gets no answer from these
 * either is cut off itself, and its word counts for nothing.
 */
#include "priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTROLS	3	/* DIPs of hosts that report, in each request */
#define CALL_EXTRA_MS	300	/* of a request, above the time that probes may take */

struct slot {
	unsigned int inquiry, witness, target;
};

struct ask {
	struct round *round;
	struct mux *mux;
	struct http_call *call;
	json_t *targets;
	struct slot *slots;		/* of the targets behind the controls */
	unsigned int n_slots, n_controls;
};

struct round {
	TAILQ_ENTRY(round) list;
	struct updater *u;
	struct inquiry *inquiries;
	unsigned int n, pending, n_asks;
	void (*done)(struct updater *u, struct inquiry *list, unsigned int n);
	struct ask asks[];		/* one a mux of the updater at most, by its place there */
};

/* port_of - of a rule, as probes use it; 0: it is none of one port. Of a range the first. */
static unsigned int port_of(json_t *rule)
{
	json_t *port = json_object_get(rule, "port");

	if (json_is_integer(port))
		return json_integer_value(port);
	return json_is_string(port) ? strtoul(json_string_value(port), NULL, 10) : 0;
}

static unsigned int check_port(json_t *def, json_t *rule)
{
	json_t *check = json_object_get(rule, "check");

	if (json_object_get(def, "delivery") || !strcmp(get_str(check, "type", ""), "icmp"))
		return 0;
	return get_u64(check, "port", 0);
}

bool witness_target(const struct uvip *v, json_t *rule, unsigned int index, struct target *t)
{
	json_t *proto = json_object_get(rule, "proto");
	const char *name = json_is_string(proto) ? json_string_value(proto) : "";
	bool any = !proto || !strcmp(name, "any"), tcp = !strcmp(name, "tcp") || json_integer_value(proto) == 6;

	if (!addr_is_v4(&v->addr) || (!any && !tcp && strcmp(name, "icmp")))
		return false;
	*t = (struct target){ .rule = index };
	snprintf(t->vip, sizeof(t->vip), "%s", v->text);
	t->port = any || tcp ? port_of(rule) : 0;
	if ((any || tcp) && !t->port)
		t->port = check_port(v->def, rule);
	t->exact = t->port;
	if (tcp && !t->port)
		t->port = 80;	/* a refusal is an answer, too */
	return t->port || !json_object_get(v->def, "delivery");
}

static bool has_dip(json_t *rule, const char *address)
{
	json_t *dip;
	size_t i;

	json_array_foreach(json_object_get(rule, "dips"), i, dip)
		if (!strcmp(get_str(dip, "address", ""), address))
			return true;
	return false;
}

unsigned int witness_targets(struct host *h, unsigned int from, struct target *list, unsigned int max)
{
	struct target t, first[JUDGE_TARGETS];
	unsigned int seen = 0, n = 0, n_first = 0, i;
	const char *text;
	json_t *rule, *yes;
	size_t r;

	json_object_foreach(h->vips, text, yes) {
		struct uvip *v = vip_find(h->u, text);

		json_array_foreach(v ? json_object_get(v->def, "rules") : NULL, r, rule) {
			if (!has_dip(rule, h->address) || !witness_target(v, rule, r, &t))
				continue;
			if (seen++ >= from && n < max)
				list[n++] = t;
			else if (n_first < JUDGE_TARGETS)
				first[n_first++] = t;
		}
	}
	for (i = 0; i < n_first && n < max && from; i++)	/* round and round */
		list[n++] = first[i];
	if (!n && max)	/* nothing of it is TCP: the server itself */
		list[n++] = (struct target){};
	return n;
}

bool witness_can(const struct mux *m)
{
	return m->heard_ms && !m->lost_ms && !m->quarantined && !m->fenced && m->status &&
	       strcmp(m->no_probes, m->instance);
}

/* rank - who is asked first: SMuxes of other racks, then other muxes, those of the host's own rack last */
static unsigned int rank(const struct mux *m, const struct host *h)
{
	bool same = *h->rack && !strcmp(m->rack, h->rack);

	return same ? 2 : m->smux ? 0 : 1;
}

/* choose - up to JUDGE_WITNESSES muxes for a host; each round begins with others */
static unsigned int choose(struct updater *u, const struct host *h, struct mux *out[JUDGE_WITNESSES])
{
	unsigned int k, i, n = 0, from = u->n_muxes ? u->next_witness++ % u->n_muxes : 0;

	for (k = 0; k <= 2; k++)
		for (i = 0; i < u->n_muxes && n < JUDGE_WITNESSES; i++) {
			struct mux *m = &u->muxes[(from + i) % u->n_muxes];

			if (witness_can(m) && rank(m, h) == k)
				out[n++] = m;
		}
	return n;
}

json_t *witness_target_json(const char *dip, const struct target *t)
{
	json_t *o = json_pack("{s:s}", "dip", dip);

	if (!*t->vip)
		return o;
	json_object_set_new(o, "vip", json_string(t->vip));
	json_object_set_new(o, "proto", json_string(t->port ? "tcp" : "icmp"));
	if (t->port)
		json_object_set_new(o, "port", json_integer(t->port));
	return o;
}

/* add_controls - DIPs of hosts that report, others in each request */
static void add_controls(struct updater *u, struct ask *a)
{
	unsigned int i;
	struct target t;

	for (i = 0; i < u->n_hosts && a->n_controls < CONTROLS; i++) {
		struct host *h = &u->hosts[u->next_control++ % u->n_hosts];

		if (silence_suspect(&h->silence) || (!h->heard && h->silence.verdict != VERDICT_ALIVE) ||
		    !json_object_size(h->vips) || !witness_targets(h, 0, &t, 1))
			continue;
		json_array_append_new(a->targets, witness_target_json(h->address, &t));
		a->n_controls++;
	}
}

static void ask_add(struct round *r, struct mux *m, unsigned int inquiry, unsigned int witness)
{
	struct inquiry *q = &r->inquiries[inquiry];
	struct ask *a = &r->asks[m - r->u->muxes];
	struct slot *more = realloc(a->slots, (a->n_slots + q->evidence.n_targets) * sizeof(*more));
	unsigned int t;

	if (!more)
		return;
	a->slots = more;
	if (!a->targets) {
		a->targets = json_array();
		add_controls(r->u, a);
	}
	if (json_array_size(a->targets) + q->evidence.n_targets > PROBE_TARGETS_MAX)
		return;
	for (t = 0; t < q->evidence.n_targets; t++) {
		json_array_append_new(a->targets, witness_target_json(q->host->address, &q->targets[t]));
		a->slots[a->n_slots++] = (struct slot){ inquiry, witness, t };
	}
}

static enum testimony testimony_of(json_t *answer)
{
	static const struct {
		const char *word;
		enum testimony is;
	} known[] = {
		{ "syn-ack", TESTIMONY_ANSWER }, { "echo", TESTIMONY_ANSWER }, { "rst", TESTIMONY_REFUSED },
		{ "no-answer", TESTIMONY_NOTHING }, { "unreachable", TESTIMONY_NOTHING }, { "no-route", TESTIMONY_NO_ROUTE },
	};
	const char *word = get_str(answer, "answered", "");
	unsigned int i;

	for (i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(word, known[i].word))
			return known[i].is;
	return TESTIMONY_NONE;
}

/* take_answers - only of a mux that reaches hosts that are alive; the others' stay TESTIMONY_NONE */
static void take_answers(struct ask *a, json_t *list)
{
	bool sound = false;
	unsigned int i;

	if (json_array_size(list) != a->n_controls + a->n_slots)
		return;
	for (i = 0; i < a->n_controls; i++) {
		enum testimony is = testimony_of(json_array_get(list, i));

		sound |= is == TESTIMONY_ANSWER || is == TESTIMONY_REFUSED;
	}
	for (i = 0; i < a->n_slots; i++) {
		struct slot *s = &a->slots[i];
		enum testimony is = testimony_of(json_array_get(list, a->n_controls + i));

		if (sound || is == TESTIMONY_ANSWER || is == TESTIMONY_REFUSED)
			a->round->inquiries[s->inquiry].evidence.witnesses[s->witness].of[s->target] = is;
	}
}

static void round_free(struct round *r)
{
	unsigned int i;

	TAILQ_REMOVE(&r->u->rounds, r, list);
	r->u->n_rounds--;
	for (i = 0; i < r->n_asks; i++) {
		json_decref(r->asks[i].targets);
		free(r->asks[i].slots);
	}
	free(r->inquiries);
	free(r);
}

static void answered(const struct http_result *result, void *ctx)
{
	struct ask *a = ctx;
	struct round *r = a->round;

	a->call = NULL;
	if (result->status == 200)
		take_answers(a, json_object_get(result->body, "targets"));
	else if (result->status == 404 || result->status == 405 || result->status == 501)
		snprintf(a->mux->no_probes, sizeof(a->mux->no_probes), "%s", a->mux->instance);	/* until it is another */
	if (--r->pending)
		return;
	r->done(r->u, r->inquiries, r->n);
	round_free(r);
}

struct http_call *witness_call(const struct mux *m, json_t *targets, unsigned int ms, unsigned int within_ms,
			       void (*done)(const struct http_result *result, void *ctx), void *ctx)
{
	struct http_call *call;
	char url[320];

	snprintf(url, sizeof(url), "%s/v1/probes", m->url);
	call = http_call(m->u->ctl->client, "POST", url, json_pack("{s:O, s:i}", "targets", targets, "timeout-ms", ms),
			 within_ms, done, ctx);
	http_call_budget(call, 256u << 10, 16u << 10);
	return call;
}

static void ask_send(struct ask *a)
{
	unsigned int ms = silence_probe_ms(a->round->u);

	a->call = witness_call(a->mux, a->targets, ms, ms + CALL_EXTRA_MS, answered, a);
	if (a->call)
		a->round->pending++;
}

static struct round *round_new(struct updater *u, const struct inquiry *list, unsigned int n)
{
	struct round *r = calloc(1, sizeof(*r) + u->n_muxes * sizeof(r->asks[0]));
	unsigned int i;

	if (!r)
		return NULL;
	r->u = u;
	r->n = n;
	r->n_asks = u->n_muxes;
	r->inquiries = malloc(n * sizeof(*list));
	TAILQ_INSERT_TAIL(&u->rounds, r, list);
	u->n_rounds++;
	for (i = 0; i < u->n_muxes; i++) {
		r->asks[i].round = r;
		r->asks[i].mux = &u->muxes[i];
	}
	if (r->inquiries)
		memcpy(r->inquiries, list, n * sizeof(*list));
	return r;
}

bool witness_ask(struct updater *u, const struct inquiry *list, unsigned int n,
		 void (*done)(struct updater *u, struct inquiry *list, unsigned int n))
{
	struct round *r = round_new(u, list, n);
	struct mux *muxes[JUDGE_WITNESSES];
	unsigned int i, w;

	if (!r)
		return false;
	r->done = done;
	for (i = 0; r->inquiries && i < n; i++) {
		struct evidence *e = &r->inquiries[i].evidence;

		e->n_witnesses = choose(u, list[i].host, muxes);
		for (w = 0; w < e->n_witnesses; w++) {
			snprintf(e->witnesses[w].name, sizeof(e->witnesses[w].name), "%s", muxes[w]->name);
			ask_add(r, muxes[w], i, w);
		}
	}
	for (i = 0; i < r->n_asks; i++)
		if (r->asks[i].n_slots)
			ask_send(&r->asks[i]);
	if (r->pending)
		return true;
	round_free(r);
	return false;
}

void witness_stop(struct updater *u)
{
	while (!TAILQ_EMPTY(&u->rounds))	/* their calls went with the client */
		round_free(TAILQ_FIRST(&u->rounds));
}
