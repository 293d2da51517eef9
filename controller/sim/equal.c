// SPDX-License-Identifier: GPL-2.0
/*
 * Does the fast search choose as the plain one does? Small fabrics are assigned
 * by both from beginning to end. On large ones the plain search takes an hour,
 * so it is asked step by step: in the state that all VIPs before it have made,
 * a VIP is placed by the plain search, taken off, and placed by the fast one.
 * If they agree at every step the whole assignments are the same, and steps can
 * be shared out to several processes.
 */
#include "sim.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* struct equality - the fast and the plain engine over one fabric */
struct equality {
	unsigned int on, different;	/* VIPs on switches, and placed differently */
	double fast, plain;		/* seconds */
};

static int equal(const struct fabric *f, const struct habits *h, const struct engine_options *o,
		 struct equality *q, struct err *e)
{
	struct engine_options slow = *o;
	struct engine_choice *a = NULL, *b = NULL;
	struct engine *ea = NULL, *eb = NULL;
	struct workload w;
	double run;
	unsigned int i, k;
	int ret = workload_new(&w, f, h, e);

	if (ret)
		return ret;
	slow.plain = true;
	*q = (struct equality){ 0 };
	ret = sim_timed(&w, o, &q->fast, &run, &ea, &a);
	if (!ret)
		ret = sim_timed(&w, &slow, &q->plain, &run, &eb, &b);
	for (i = 0; !ret && i < h->vips; i++) {
		bool same = a[i].mux == b[i].mux && a[i].n_tips == b[i].n_tips;

		for (k = 0; same && k < a[i].n_tips; k++)
			same = a[i].tips[k].mux == b[i].tips[k].mux;
		q->different += !same;
	}
	q->on = ret ? 0 : vips_on(&w.model, a);
	sim_done(&ea, &a);
	sim_done(&eb, &b);
	workload_free(&w);
	return ret;
}

int equal_small(const struct sim *s, json_t *out, struct err *e)
{
	unsigned int i, n = 300, wrong = 0;
	uint64_t seed = s->habits.seed;
	struct equality q;
	struct fabric f;
	int ret = 0;

	for (i = 0; !ret && i < n; i++) {
		struct habits h = s->habits;
		unsigned int a = 1 + 2 * sim_uniform(&seed), k = 1 + 3 * sim_uniform(&seed);

		fabric_paper(&f);
		f.planes = 1 + 3 * sim_uniform(&seed);
		f.aggs = f.planes * a;
		f.cores = f.planes * k;
		f.containers = 1 + 4 * sim_uniform(&seed);
		f.tors = 2 + 6 * sim_uniform(&seed);
		f.tunnels = 20 + 500 * sim_uniform(&seed);
		f.servers = 40 * f.containers * f.tors;
		h.vips = 20 + 100 * sim_uniform(&seed);
		h.seed = seed;
		h.tbps = f.containers * f.tors * 0.02 * sim_uniform(&seed);
		ret = fabric_build(&f, e);
		if (!ret)
			ret = equal(&f, &h, &s->options, &q, e);
		wrong += ret || q.different;
		fabric_free(&f);
	}
	json_object_set_new(out, "fabrics", json_integer(n));
	json_object_set_new(out, "different", json_integer(wrong));
	return ret;
}

json_t *equal_compared(const struct fabric *f, const struct habits *h,
		       const struct engine_options *o, struct err *e)
{
	struct equality q;

	if (equal(f, h, o, &q, e))
		return NULL;
	return json_pack("{s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:i}", "switches", f->n_switches - 1,
			 "links", f->n_links, "vips", h->vips, "on_switches", q.on, "fast_s", q.fast,
			 "plain_s", q.plain, "ratio", q.fast > 0 ? q.plain / q.fast : 0, "different",
			 q.different);
}

/* struct steps - what one process has done so far; shared memory */
struct steps {
	unsigned int on, compared, different;
	double seconds;		/* processor, all of it */
	int ret;
	bool whole;		/* places and loads are those of an assignment in one go */
};

/* as_one - the steps' choices and loads against those of engine_run() */
static bool as_one(const struct sim *s, const struct workload *w, const struct engine *e,
		   const struct engine_choice *c)
{
	struct engine_load a = { 0 }, b = { 0 };
	struct engine_choice *all = NULL;
	struct engine *other = NULL;
	bool same = !sim_assign(w, &s->options, &other, &all) && !engine_load_get(e, &a) &&
		    !engine_load_get(other, &b);
	unsigned int i;

	for (i = 0; same && i < w->model.n_vips; i++)
		same = c[i].mux == all[i].mux && c[i].n_tips == all[i].n_tips;
	for (i = 0; same && i < w->model.n_links; i++)
		same = a.link[0][i] == b.link[0][i] && a.link[1][i] == b.link[1][i];
	engine_load_free(&a);
	engine_load_free(&b);
	sim_done(&other, &all);
	return same;
}

static void tell(const struct sim *s, const struct steps *all, unsigned int jobs, unsigned int vip)
{
	unsigned int i, compared = 0, different = 0;

	for (i = 0; i < jobs; i++) {
		compared += all[i].compared;
		different += all[i].different;
	}
	progress(s, "plain against fast: %u VIPs, at VIP %u, %u different", compared, vip, different);
}

/* walk - process `me` of `jobs`; every so manieth VIP is compared */
static void walk(const struct sim *s, const struct workload *w, unsigned int step,
		 struct steps *all, unsigned int me, unsigned int jobs)
{
	struct engine_choice *c = calloc(w->model.n_vips + 1, sizeof(*c));
	struct engine *e = engine_new(&w->model, &s->options);
	double began = cpu_s(), told = began;
	struct steps *mine = &all[me];
	unsigned int i;
	int ret = e && c ? 0 : -ENOMEM;

	for (i = 0; ret >= 0 && i < w->model.n_vips && (!i || c[i - 1].why != ENGINE_FULL); i++) {
		if (step && i % step == step / 2 && i / step % jobs == me) {
			ret = engine_check(e, i, c);
			mine->compared += ret >= 0;
			mine->different += ret == 1;
			mine->seconds = cpu_s() - began;
			if (!me && (step > 100 || cpu_s() > told + 10)) {
				tell(s, all, jobs, i);
				told = cpu_s();
			}
		} else {
			ret = engine_change(e, &i, 1, c);
		}
		mine->on += c[i].mux >= 0;
	}
	for (; ret >= 0 && i < w->model.n_vips; i++)
		c[i] = (struct engine_choice){ .mux = ENGINE_SMUX };
	mine->whole = ret >= 0 && (me || as_one(s, w, e, c));
	mine->ret = ret < 0 ? ret : 0;
	engine_free(e);
	free(c);
}

int equal_steps(const struct sim *s, const struct workload *w, unsigned int step,
		unsigned int jobs, json_t *out)
{
	struct steps *all = mmap(NULL, jobs * sizeof(*all), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0), sum = { .whole = true };
	unsigned int i;
	int status;

	if (all == MAP_FAILED)
		return -ENOMEM;
	for (i = 1; i < jobs; i++) {
		pid_t child = fork();

		all[i].ret = -ECHILD;
		if (child < 0)
			continue;
		if (!child) {
			all[i].ret = 0;
			walk(s, w, step, all, i, jobs);
			_exit(0);
		}
	}
	walk(s, w, step, all, 0, jobs);
	while (wait(&status) > 0)
		sum.ret = status ? -ECHILD : sum.ret;
	for (i = 0; i < jobs; i++) {
		sum.compared += all[i].compared;
		sum.different += all[i].different;
		sum.seconds += all[i].seconds;
		sum.whole &= all[i].whole;
		sum.ret = all[i].ret ? all[i].ret : sum.ret;
	}
	json_object_set_new(out, "switches", json_integer(w->model.n_switches - 1));
	json_object_set_new(out, "links", json_integer(w->model.n_links));
	json_object_set_new(out, "vips", json_integer(w->model.n_vips));
	json_object_set_new(out, "on_switches", json_integer(all[0].on));
	json_object_set_new(out, "compared", json_integer(sum.compared));
	json_object_set_new(out, "different", json_integer(sum.different));
	json_object_set_new(out, "as_in_one_go", json_boolean(sum.whole));
	json_object_set_new(out, "processor_s", json_real(sum.seconds));
	munmap(all, jobs * sizeof(*all));
	return sum.ret;
}

int equal_json(const struct sim *s, unsigned int jobs, FILE *file, struct err *e)
{
	json_t *out = json_object();
	struct workload w;
	int ret = sim_workload(s, 0, &w, e);

	if (!ret) {
		ret = equal_steps(s, &w, 1, jobs, out);
		if (ret)
			err_set(e, ret, "a process ended early: %s", strerror(-ret));
		else
			json_dumpf(out, file, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
		workload_free(&w);
	}
	json_decref(out);
	return ret;
}
