// SPDX-License-Identifier: GPL-2.0
/* A workload for a run, an assignment of it, and words about the progress. */
#include "sim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

double cpu_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

void progress(const struct sim *s, const char *fmt, ...)
{
	va_list args;

	if (s->quiet)
		return;
	fprintf(stderr, "%7.1f s  ", cpu_s());
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

int sim_workload(const struct sim *s, double tbps, struct workload *w, struct err *e)
{
	struct habits h = s->habits;
	int ret;

	if (s->trace)
		return workload_read(w, &s->fabric, s->trace, e);
	if (tbps > 0)
		h.tbps = tbps;
	ret = workload_new(w, &s->fabric, &h, e);
	return ret;
}

int sim_timed(const struct workload *w, const struct engine_options *o, double *all,
	      double *run, struct engine **e, struct engine_choice **c)
{
	double began = cpu_s(), ready;
	int ret = -ENOMEM;

	*e = engine_new(&w->model, o);
	ready = cpu_s();
	*c = calloc(w->model.n_vips + 1, sizeof(**c));
	if (*e && *c)
		ret = engine_run(*e, *c);
	*all = cpu_s() - began;
	*run = cpu_s() - ready;
	return ret;
}

void sim_done(struct engine **e, struct engine_choice **c)
{
	engine_free(*e);
	free(*c);
	*e = NULL;
	*c = NULL;
}

int sim_assign(const struct workload *w, const struct engine_options *o, struct engine **e,
	       struct engine_choice **c)
{
	double all, run;
	int ret = sim_timed(w, o, &all, &run, e, c);

	if (ret)
		sim_done(e, c);
	return ret;
}
