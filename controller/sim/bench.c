// SPDX-License-Identifier: GPL-2.0
/* Times and memory of the engine, and how it grows. Seconds are of the processor, not the wall. */
#include "sim.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int one_size(const struct fabric *f, const struct habits *h, const struct engine_options *o,
		    const char *what, FILE *csv, double *seconds, struct err *e)
{
	struct engine_choice *c;
	struct engine *engine;
	struct workload w;
	double all, run;
	int ret = workload_new(&w, f, h, e);

	if (ret)
		return ret;
	ret = sim_timed(&w, o, &all, &run, &engine, &c);
	if (csv && !ret)
		fprintf(csv, "%s,%u,%u,%.4f,%.4f,%u\n", what, h->vips, f->n_switches, all, run,
			vips_on(&w.model, c));
	if (seconds)
		*seconds = all;
	sim_done(&engine, &c);
	workload_free(&w);
	return ret;
}

int growth_rows(const struct sim *s, FILE *csv, struct err *e)
{
	static const unsigned int vips[] = { 1000, 2000, 4000, 8000, 16000, 30000 };
	static const unsigned int containers[] = { 5, 10, 20, 40, 80, 160 };
	struct habits h = s->habits;
	struct fabric f;
	unsigned int i;
	int ret = 0;

	fprintf(csv, "what,vips,switches,full_cpu_s,run_cpu_s,on_switches\n");
	for (i = 0; !ret && i < 6; i++) {
		/* the same VIPs, the smaller ones left out */
		h.vips = vips[i];
		h.of = s->habits.vips;
		ret = one_size(&s->fabric, &h, &s->options, "vips", csv, NULL, e);
		progress(s, "%u VIPs", vips[i]);
	}
	for (i = 0; !ret && i < 6; i++) {
		fabric_paper(&f);
		f.containers = containers[i];
		h = s->habits;
		h.tbps = 10.0 * (containers[i] < 40 ? containers[i] : 40) / 40;
		ret = fabric_build(&f, e);
		if (!ret)
			ret = one_size(&f, &h, &s->options, "switches", csv, NULL, e);
		fabric_free(&f);
		progress(s, "%u containers", containers[i]);
	}
	return ret;
}

int beyond_rows(const struct sim *s, FILE *csv, struct err *e)
{
	static const struct {
		const char *name;
		struct engine_options o;
	} rules[] = {
		{ .name = "paper" },
		{ .name = "goes on", .o.go_on = true },
		{ .name = "by density", .o = { .go_on = true, .order = ENGINE_BY_DENSITY } },
		{ .name = "local search", .o = { .go_on = true, .rounds = 2 } },
		{ .name = "failure-aware",
		  .o = { .go_on = true, .switch_blast = 0.03, .container_blast = 0.03 } },
	};
	static const double loads[] = { 10, 20, 30 };
	struct engine_choice *c;
	struct engine_load load;
	struct engine *engine;
	struct workload w;
	double all, run;
	unsigned int i, k;
	int ret = 0;

	fprintf(csv, "tbps,rule,vips_on_switches,share_on_switches,mru,container_gbps,smuxes,smuxes_worst,"
		     "unassigned_gbps,three_gbps,three_worst_gbps,cpu_s\n");
	for (k = 0; !ret && k < 3; k++) {
		ret = sim_workload(s, loads[k], &w, e);
		for (i = 0; !ret && i < sizeof(rules) / sizeof(*rules); i++) {
			struct engine_options o = rules[i].o;
			struct need need, worst;

			o.link_share = s->options.link_share;
			o.delta = s->options.delta;
			o.tips = true;
			ret = sim_timed(&w, &o, &all, &run, &engine, &c);
			if (!ret)
				ret = engine_load_get(engine, &load);
			if (ret)
				break;
			need_find(&s->fabric, &w.model, c, s->habits.seed, &need);
			worst = need;
			worst.three = need.three_worst;
			fprintf(csv, "%g,%s,%u,%.5f,%.4f,%.1f,%u,%u,%.1f,%.1f,%.1f,%.3f\n", loads[k],
				rules[i].name, vips_on(&w.model, c), on_switches(&w.model, c), load.mru,
				need.container / 1000, need_smuxes(&need, SMUX_MBPS),
				need_smuxes(&worst, SMUX_MBPS), need.unassigned / 1000,
				need.three / 1000, need.three_worst / 1000, all);
			engine_load_free(&load);
			sim_done(&engine, &c);
			progress(s, "%g Tbps, %s", loads[k], rules[i].name);
		}
		workload_free(&w);
	}
	return ret ? err_set(e, ret, "out of memory") : 0;
}

/* peak_mib - of a process of its own that makes one full assignment */
static double peak_mib(const struct sim *s)
{
	struct rusage use = { 0 };
	struct err e;
	pid_t child = fork();

	if (child == 0) {
		struct engine_choice *c;
		struct engine *engine;
		struct workload w;

		if (sim_workload(s, 0, &w, &e) || sim_assign(&w, &s->options, &engine, &c))
			_exit(1);
		_exit(0);
	}
	wait4(child, NULL, 0, &use);
	return use.ru_maxrss / 1024.0;
}

static int ratio(const struct sim *s, json_t *out, struct err *e)
{
	struct habits h = s->habits;
	struct fabric f;
	int ret;

	fabric_paper(&f);
	f.containers = 8;
	f.tors = 20;
	f.servers = 5000;
	h.vips = 2000;
	h.tbps = 1;
	ret = fabric_build(&f, e);
	if (ret)
		return ret;
	ret = json_object_set_new(out, "largest_plain", equal_compared(&f, &h, &s->options, e));
	fabric_free(&f);
	return ret ? -ENOMEM : 0;
}

static int one_vip(const struct workload *w, struct engine *engine, struct engine_choice *c,
		   json_t *out)
{
	double began = cpu_s(), worst = 0;
	unsigned int i, n = 0;
	int ret = 0;

	for (i = 7; !ret && i < w->model.n_vips; i += 97, n++) {
		double t = cpu_s();

		ret = engine_change(engine, &i, 1, c);
		t = cpu_s() - t;
		worst = t > worst ? t : worst;
	}
	json_object_set_new(out, "one_vip_ms", json_real((cpu_s() - began) * 1000 / n));
	json_object_set_new(out, "one_vip_worst_ms", json_real(worst * 1000));
	return ret;
}

static int ten_times(const struct sim *s, json_t *out, struct err *e)
{
	static const char *const keys[] = { "ten_times_s", "ten_times_all_tables_s" };
	struct habits h = s->habits;
	struct fabric f;
	double seconds;
	int ret = 0, i;

	h.vips = 300000;
	h.tbps = 100;
	for (i = 0; !ret && i < 2; i++) {
		fabric_paper(&f);
		f.containers = 400;
		f.cores = 40;
		f.servers = 500000;
		f.hosts = i ? 10 * f.hosts : f.hosts; /* and with host tables that have grown as well */
		ret = fabric_build(&f, e);
		if (!ret)
			ret = one_size(&f, &h, &s->options, "", NULL, &seconds, e);
		json_object_set_new(out, keys[i], json_real(seconds));
		progress(s, "ten times: %.2f s", seconds);
		fabric_free(&f);
	}
	return ret;
}

static int smuxes(const struct sim *s, json_t *out, struct err *e)
{
	static const double loads[] = LOADS;
	json_t *all = json_object();
	int ret = 0, i, k;

	for (i = 0; !ret && i < 4; i++) {
		json_t *at = json_object();
		char key[16];

		for (k = 0; !ret && k < 2; k++) {
			struct engine_options o = s->options;
			struct engine_choice *c;
			struct engine *engine;
			struct workload w;
			struct need n;

			o.random = k;
			o.seed = s->habits.seed;
			ret = sim_workload(s, loads[i], &w, e);
			if (ret)
				break;
			ret = sim_assign(&w, &o, &engine, &c);
			if (!ret) {
				need_find(&s->fabric, &w.model, c, s->habits.seed, &n);
				json_object_set_new(at, k ? "random" : "duet",
						    json_integer(need_smuxes(&n, SMUX_MBPS)));
				json_object_set_new(at, "ananta",
						    json_integer(ananta_smuxes(w.total, SMUX_MBPS)));
				sim_done(&engine, &c);
			}
			workload_free(&w);
		}
		snprintf(key, sizeof(key), "%g", loads[i]);
		json_object_set_new(all, key, at);
	}
	json_object_set_new(out, "smuxes", all);
	return ret;
}

/* sticky_step - the second interval of Figure 20, from the places of the first. At 10 Tbps the largest
 * VIP grows beyond any switch by then, and the paper's rule stops at once: nothing to measure.
 */
static int sticky_step(const struct sim *s, json_t *out, struct err *e)
{
	struct engine_options o = s->options;
	struct engine_choice *c = NULL;
	struct engine *engine = NULL;
	struct workload w;
	double all, run;
	int ret = sim_workload(s, CHANGE_TBPS, &w, e);

	if (ret)
		return ret;
	ret = sim_timed(&w, &o, &all, &run, &engine, &c);
	if (!ret)
		ret = workload_settle(&w, c);
	sim_done(&engine, &c);
	o.sticky = true;
	if (!ret)
		ret = workload_next(&w, &s->fabric);
	if (!ret)
		ret = sim_timed(&w, &o, &all, &run, &engine, &c);
	if (!ret) {
		json_object_set_new(out, "sticky_step_s", json_real(all));
		json_object_set_new(out, "sticky_step_on_switches", json_integer(vips_on(&w.model, c)));
	}
	sim_done(&engine, &c);
	workload_free(&w);
	return ret;
}

int bench_json(const struct sim *s, unsigned int step, FILE *file, struct err *e)
{
	json_t *out = json_object(), *same = json_object(), *full = json_object();
	struct engine_choice *c = NULL;
	struct engine *engine = NULL;
	struct workload w;
	double all, run, best = 1e9;
	unsigned int i;
	int ret;

	json_object_set_new(out, "clock", json_string("processor seconds of one thread (CLOCK_PROCESS_CPUTIME_ID)"));
	json_object_set_new(out, "command", json_string("make out/results/engine.json"));
	json_object_set_new(out, "peak_mib", json_real(peak_mib(s)));
	ret = sim_workload(s, 0, &w, e);
	if (ret)
		goto out;
	for (i = 0; !ret && i < 5; i++) {
		sim_done(&engine, &c);
		ret = sim_timed(&w, &s->options, &all, &run, &engine, &c);
		best = all < best ? all : best;
		progress(s, "full assignment: %.3f s, %.3f s of it the greedy", all, run);
	}
	if (ret)
		goto out;
	json_object_set_new(out, "full_assignment_s", json_real(best));
	json_object_set_new(out, "full_assignment_last_s", json_real(all));
	json_object_set_new(out, "full_assignment_on_switches", json_integer(vips_on(&w.model, c)));
	ret = one_vip(&w, engine, c, out);
	if (!ret)
		ret = equal_steps(s, &w, step, 1, full);
	json_object_set_new(same, "paper_fabric", full);
	workload_free(&w);
	sim_done(&engine, &c);
	if (!ret)
		ret = sticky_step(s, out, e);
	if (!ret)
		ret = equal_small(s, same, e);
	json_object_set_new(out, "fast_equals_plain", same);
	if (!ret)
		ret = ratio(s, out, e);
	if (!ret)
		ret = smuxes(s, out, e);
	if (!ret)
		ret = ten_times(s, out, e);
	if (!ret)
		json_dumpf(out, file, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
out:
	json_decref(out);
	return ret;
}
