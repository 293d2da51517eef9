// SPDX-License-Identifier: GPL-2.0
/*
 * A VIP probed now: each mux that carries it asks each of its DIPs through its own tunnel, as traffic would. Nothing is
 * changed by what comes out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../updater/silence.h"
#include "api.h"

#define SMUXES_MAX	8	/* of a large deployment; the others on demand, by ?mux= */
#define PROBES_MS	1000
#define CALL_MS		3000

struct probe_run {
	struct http_request *req;
	json_t *rows, *left_out;
	unsigned int pending;
};

/* What one mux is asked: its answers come in the order of the rows. */
struct probe_mux {
	struct probe_run *run;
	char name[NAME_SIZE];
	json_t *rows;
};

static void run_end(struct probe_run *run)
{
	http_reply(run->req, 200, json_pack("{s:o, s:o}", "probes", run->rows, "left-out", run->left_out));
	free(run);
}

static void leave_out(struct probe_run *run, const char *what, const char *name, const char *why)
{
	json_array_append_new(run->left_out, json_pack("{s:s, s:s}", what, name, "why", why));
}

static void answered(const struct http_result *r, void *ctx)
{
	struct probe_mux *pm = ctx;
	struct probe_run *run = pm->run;
	json_t *answers = json_object_get(r->body, "targets"), *row;
	size_t i;

	if (r->status != 200 || json_array_size(answers) != json_array_size(pm->rows)) {
		leave_out(run, "mux", pm->name, r->error ?: "it answers for other targets than it was asked about");
	} else {
		json_array_foreach(pm->rows, i, row) {
			json_t *answer = json_array_get(answers, i);

			json_object_set_new(row, "answered", json_string(get_str(answer, "answered", "no-answer")));
			json_object_set_new(row, "ms", json_integer(get_u64(answer, "ms", 0)));
			json_array_append(run->rows, row);
		}
	}
	json_decref(pm->rows);
	free(pm);
	if (!--run->pending)
		run_end(run);
}

static json_t *row_of(const struct mux *m, const struct dip *d, const struct target *t)
{
	json_t *row = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s}", "mux", m->name, "mode", m->smux ? "smux" : "hmux", "rule",
				d->rule, "dip", d->text, "state", dip_state_text(d->state), "proto", t->port ? "tcp" : "icmp");

	if (t->port)
		json_object_set_new(row, "port", json_integer(t->port));
	return row;
}

/* ask - one mux about all DIPs that can be probed */
static void ask(struct probe_run *run, const struct mux *m, const struct uvip *v)
{
	json_t *rules = json_object_get(v->def, "rules"), *targets = json_array();
	struct probe_mux *pm = calloc(1, sizeof(*pm));
	struct target t;
	unsigned int i;

	if (!pm) {
		json_decref(targets);
		return;
	}
	pm->run = run;
	pm->rows = json_array();
	snprintf(pm->name, sizeof(pm->name), "%s", m->name);
	for (i = 0; i < v->dips.n && json_array_size(targets) < PROBE_TARGETS_MAX; i++) {
		const struct dip *d = &v->dips.list[i];

		if (!witness_target(v, json_array_get(rules, d->rule), d->rule, &t))
			continue;
		json_array_append_new(targets, witness_target_json(d->text, &t));
		json_array_append_new(pm->rows, row_of(m, d, &t));
	}
	if (!witness_call(m, targets, PROBES_MS, CALL_MS, answered, pm)) {
		json_decref(pm->rows);
		free(pm);
		pm = NULL;
	}
	json_decref(targets);
	run->pending += pm != NULL;
}

/* rules_left_out - those of which no DIP can be probed; false: all of them */
static bool rules_left_out(struct probe_run *run, const struct uvip *v)
{
	unsigned int probed = 0;
	struct target t;
	json_t *rule;
	char name[24];
	size_t r;

	json_array_foreach(json_object_get(v->def, "rules"), r, rule) {
		if (witness_target(v, rule, r, &t)) {
			probed++;
			continue;
		}
		snprintf(name, sizeof(name), "%zu", r + 1);
		leave_out(run, "rule", name, "only TCP and ICMP over IPv4 can be probed");
	}
	if (v->dips.n > PROBE_TARGETS_MAX)
		leave_out(run, "dips", "the last ones", "a mux probes the first 250 at once");
	return probed;
}

static bool carries(const struct mux *m, const struct uvip *v, const char *only)
{
	if (only)
		return !strcmp(m->name, only);
	return m->smux ? !m->drained : !strcmp(m->name, v->mux);
}

void api_vip_probe(struct http_request *req, json_t *body, void *ctx)
{
	struct updater *u = ((struct controller *)ctx)->updater;
	const char *only = http_query(req, "mux");
	struct uvip *v = vip_find(u, http_segment(req, 0));
	unsigned int i, smuxes = 0;
	struct probe_run *run;

	if (!v || (only && !mux_find(u, only))) {
		http_problem(req, 404, NULL, "there is no %s %s", v ? "mux" : "VIP", v ? only : http_segment(req, 0));
		return;
	}
	run = calloc(1, sizeof(*run));
	if (!run) {
		http_problem(req, 500, NULL, "out of memory");
		return;
	}
	run->req = req;
	run->rows = json_array();
	run->left_out = json_array();
	run->pending = 1;	/* this function */
	vip_judge(u, v);
	for (i = rules_left_out(run, v) ? 0 : u->n_muxes; i < u->n_muxes; i++) {
		const struct mux *m = &u->muxes[i];

		if (!carries(m, v, only))
			continue;
		if (!witness_can(m))
			leave_out(run, "mux", m->name, "it is unreachable, or its agent can't probe");
		else if (m->smux && !only && smuxes++ >= SMUXES_MAX)
			leave_out(run, "mux", m->name, "eight SMuxes are asked unless one is named");
		else
			ask(run, m, v);
	}
	if (!--run->pending)
		run_end(run);
}
