// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer: what duet-sim reads. The first line is a fabric as JSON, the rest
 * a trace on it. What is refused is refused with a sentence; what is taken is
 * the same workload after it was written and read again, and the fast search
 * and the plain one place it alike in every interval.
 */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../controller/sim/workload.h"

#define LINKS_MOST	400	/* more only takes longer */
#define WORK_MOST	20000	/* DIPs and clients in all */
#define INTERVALS_MOST	3

static void must(bool x)
{
	if (!x)
		__builtin_trap();
}

static int parse(struct workload *w, const struct fabric *f, const void *text, size_t size,
		 struct err *e)
{
	FILE *in = fmemopen((void *)text, size, "r");
	int ret;

	if (!in)
		abort();
	ret = workload_parse(w, f, in, "trace", e);
	fclose(in);
	return ret;
}

/* again - written and read */
static void again(const struct workload *w, const struct fabric *f)
{
	struct err e = { "" };
	struct workload copy;
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	unsigned int i;

	must(out && !workload_write(w, f, out) && !fclose(out));
	must(!parse(&copy, f, text, size, &e));
	must(copy.model.n_vips == w->model.n_vips);
	for (i = 0; i < w->model.n_vips; i++) {
		const struct engine_vip *a = &w->model.vips[i], *b = &copy.model.vips[i];

		must(!strcmp(a->vip, b->vip) && a->mbps == b->mbps && a->rules == b->rules &&
		     a->n_dips == b->n_dips && a->n_from == b->n_from && a->n_to == b->n_to);
		must(!memcmp(a->dip_node, b->dip_node, a->n_dips * sizeof(*a->dip_node)));
	}
	workload_free(&copy);
	free(text);
}

static struct engine_choice *assign(struct workload *w, bool plain, struct engine **e)
{
	struct engine_options o = {
		.link_share = 0.8, .delta = 0.05, .sticky = true, .tips = true, .plain = plain
	};
	struct engine_choice *c = calloc(w->model.n_vips + 1, sizeof(*c));

	*e = engine_new(&w->model, &o);
	must(c && *e && !engine_run(*e, c));
	return c;
}

static void alike(struct workload *w)
{
	struct engine *fast, *plain;
	struct engine_choice *a = assign(w, false, &fast), *b = assign(w, true, &plain);
	struct engine_load load;
	unsigned int i, k;

	for (i = 0; i < w->model.n_vips; i++) {
		must(a[i].mux == b[i].mux && a[i].why == b[i].why && a[i].n_tips == b[i].n_tips);
		for (k = 0; k < a[i].n_tips; k++)
			must(a[i].tips[k].mux == b[i].tips[k].mux);
	}
	must(!engine_load_get(fast, &load) && load.mru <= 1 + 1e-6);
	engine_load_free(&load);
	must(!workload_settle(w, a));
	engine_free(fast);
	engine_free(plain);
	free(a);
	free(b);
}

static void run(struct workload *w, const struct fabric *f)
{
	unsigned int i, work = 0;

	for (i = 0; i < w->model.n_vips; i++)
		work += w->model.vips[i].n_dips + w->model.vips[i].n_from;
	if (work > WORK_MOST)
		return;
	again(w, f);
	for (i = 0; i < w->habits.intervals && i < INTERVALS_MOST; i++) {
		if (i)
			must(!workload_next(w, f));
		alike(w);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\n', size);
	size_t line = end ? end - data : size;
	struct err e = { "" };
	struct workload w;
	struct fabric f;

	if (fabric_parse(&f, (const char *)data, line, &e)) {
		must(e.text[0] && !f.switches);
		return 0;
	}
	if (end && line + 1 < size && f.n_links <= LINKS_MOST) {
		if (parse(&w, &f, end + 1, size - line - 1, &e))
			must(e.text[0]);
		else
			run(&w, &f);
		workload_free(&w);
	}
	fabric_free(&f);
	return 0;
}
