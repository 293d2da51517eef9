// SPDX-License-Identifier: GPL-2.0
/* The generator: traffic by the published curve, the rest by stated habits. */
#include "workload.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Share of all bytes that the top share of VIPs carries, read off the authors' slides (page 16,
 * within 0.02). The first point is the largest VIP: continuing the curve backwards with VIPs that
 * fall in size reaches 0.08 at the first of 30,000. Between points the share grows with the
 * logarithm of the number.
 */
static const struct { double vips, bytes; } curve[] = {
	{ 1 / 30000.0, 0.08 }, { 0.008, 0.62 }, { 0.012, 0.71 }, { 0.020, 0.81 }, { 0.035, 0.90 },
	{ 0.054, 0.955 },      { 0.076, 0.975 }, { 0.10, 0.987 }, { 1, 1 },
};

void habits_paper(struct habits *h)
{
	*h = (struct habits){ .vips = 30000, .intervals = 18, .seed = 2014, .tbps = 10,
			      .internet = 0.3, .drift = 0.35, .memory = 0.8, .churn = 0.03,
			      .wave = 0.1 };
}

double sim_uniform(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return ((x ^ x >> 31) >> 11) * 0x1p-53;
}

double sim_normal(uint64_t *state)
{
	double u = 1 - sim_uniform(state), v = sim_uniform(state);

	return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

double workload_share(double n, double total)
{
	double x = n / total, low, high;
	unsigned int i;

	if (x <= 0)
		return 0;
	if (x <= curve[0].vips)
		return curve[0].bytes * x / curve[0].vips;
	for (i = 1; x > curve[i].vips && curve[i].vips < 1; i++)
		;
	low = curve[i - 1].bytes;
	high = curve[i].bytes;
	if (i == 1) /* as a power: in logarithms the first VIPs would shrink to too little */
		return low * pow(x / curve[0].vips,
				 log(high / low) / log(curve[1].vips / curve[0].vips));
	return low + (high - low) * log(x / curve[i - 1].vips) /
			     log(curve[i].vips / curve[i - 1].vips);
}

/* drift - of the logarithm of one VIP's traffic: the more clients add up, the steadier their sum */
static double drift(const struct workload *w, unsigned int i)
{
	double s = pow(1e-4 / w->base[i], 0.25);

	return w->habits.drift * (s < 1 ? s : 1);
}

static unsigned int below(struct workload *w, unsigned int n)
{
	return sim_uniform(&w->random) * n;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x > y ? -1 : x < y;
}

/* spread_racks - n different racks: all over the fabric, or from one container on */
static void spread_racks(struct workload *w, const struct fabric *f, unsigned int n, bool near,
			 unsigned int *racks, uint8_t *taken)
{
	unsigned int i, start = below(w, f->racks);

	if (near) {
		start -= start % f->tors;
		for (i = 0; i < n; i++) {
			unsigned int r = start + below(w, f->tors);

			while (taken[r % f->racks])
				r++;
			racks[i] = r % f->racks;
			taken[racks[i]] = 1;
		}
	} else {
		for (i = 0; i < n; i++) {
			do {
				racks[i] = n > f->racks / 2 ? (start + i) % f->racks :
							      below(w, f->racks);
			} while (taken[racks[i]]);
			taken[racks[i]] = 1;
		}
	}
	for (i = 0; i < n; i++)
		taken[racks[i]] = 0;
}

static unsigned int clamp(double v, unsigned int low, unsigned int high)
{
	return v < low ? low : v > high ? high : (unsigned int)v;
}

/* make_sources - the larger the VIP, the more racks its clients sit in: the root of its share */
static int make_sources(struct workload *w, const struct fabric *f, struct engine_vip *v,
			double share, unsigned int *racks, uint8_t *taken)
{
	unsigned int i, n = clamp(4 + f->racks * sqrt(share / 0.002), 1, f->racks);
	double sum = 0;

	v->from = malloc((n + 1) * sizeof(*v->from));
	if (!v->from)
		return -ENOMEM;
	spread_racks(w, f, n, n <= f->tors / 2 && sim_uniform(&w->random) < 0.5, racks, taken);
	for (i = 0; i < n; i++) {
		v->from[i] = (struct engine_share){ f->tor0 + racks[i], 0.5 + sim_uniform(&w->random) };
		sum += v->from[i].share;
	}
	for (i = 0; i < n; i++)
		v->from[i].share *= (1 - w->habits.internet) / sum;
	v->from[n] = (struct engine_share){ f->border, w->habits.internet };
	v->n_from = n + 1;
	return 0;
}

/* make_dips - likewise, with a spread of its own; at most two of a VIP in one rack, if it can be */
static int make_dips(struct workload *w, const struct fabric *f, struct engine_vip *v, double share,
		     unsigned int *racks, uint8_t *taken)
{
	double n = (3 + 6000 * sqrt(share)) * exp(0.5 * sim_normal(&w->random) - 0.125);
	unsigned int i, n_racks;

	v->n_dips = clamp(n, 2, f->servers);
	n_racks = clamp(ceil(v->n_dips / 2.0), 1, f->racks);
	v->members = v->n_dips;
	v->rules = sim_uniform(&w->random) < 0.2; /* one in five is of one port only */
	v->dips = malloc(v->n_dips * sizeof(*v->dips));
	v->dip_node = malloc(v->n_dips * sizeof(*v->dip_node));
	v->to = malloc(n_racks * sizeof(*v->to));
	if (!v->dips || !v->dip_node || !v->to)
		return -ENOMEM;
	spread_racks(w, f, n_racks, n_racks <= f->tors / 2 && sim_uniform(&w->random) < 0.5, racks,
		     taken);
	for (i = 0; i < n_racks; i++)
		v->to[i] = (struct engine_share){ f->tor0 + racks[i], 0 };
	v->n_to = n_racks;
	for (i = 0; i < v->n_dips; i++) {
		v->dips[i] = w->model.n_dips++;
		v->dip_node[i] = f->tor0 + racks[i % n_racks];
		v->to[i % n_racks].share += 1.0 / v->n_dips;
	}
	return 0;
}

static void vip_free(struct engine_vip *v)
{
	free(v->from);
	free(v->to);
	free(v->dips);
	free(v->dip_node);
	memset(v, 0, sizeof(*v));
}

static int make_vip(struct workload *w, const struct fabric *f, unsigned int i)
{
	struct engine_vip *v = &w->model.vips[i];
	unsigned int *racks = malloc(f->racks * sizeof(*racks)), number = w->fresh++;
	uint8_t *taken = calloc(f->racks, 1);
	int ret = racks && taken ? 0 : -ENOMEM;

	vip_free(v);
	free(w->tips[i]);
	w->tips[i] = NULL;
	/* an address of 10/8 per VIP ever made */
	snprintf(w->names[i], sizeof(*w->names), "10.%u.%u.%u", 128 + (number >> 16) % 128,
		 number >> 8 & 255, number & 255);
	v->vip = w->names[i];
	v->current = ENGINE_SMUX;
	w->noise[i] = sim_normal(&w->random);
	w->bytes[i] = 400 + 1000 * sim_uniform(&w->random);
	if (!ret)
		ret = make_sources(w, f, v, w->base[i], racks, taken);
	if (!ret)
		ret = make_dips(w, f, v, w->base[i], racks, taken);
	free(racks);
	free(taken);
	return ret;
}

/* traffic - Mbps of all VIPs in this interval */
static void traffic(struct workload *w)
{
	const struct habits *h = &w->habits;
	double sum = 0;
	unsigned int i;

	w->total = h->tbps * 1e6 * (1 + h->wave * sin(2 * M_PI * w->interval / 36.0));
	for (i = 0; i < w->model.n_vips; i++) {
		w->model.vips[i].mbps =
			w->base[i] * (w->interval ? exp(drift(w, i) * w->noise[i]) : 1);
		sum += w->model.vips[i].mbps;
	}
	for (i = 0; i < w->model.n_vips; i++)
		w->model.vips[i].mbps *= w->total / sum;
}

static int room(struct workload *w, const struct fabric *f, unsigned int vips)
{
	w->model.switches = f->switches;
	w->model.n_switches = f->n_switches;
	w->model.links = f->links;
	w->model.n_links = f->n_links;
	w->model.n_vips = vips;
	w->model.vips = calloc(vips + 1, sizeof(*w->model.vips));
	w->base = calloc(vips + 1, sizeof(*w->base));
	w->noise = calloc(vips + 1, sizeof(*w->noise));
	w->bytes = calloc(vips + 1, sizeof(*w->bytes));
	w->names = calloc(vips + 1, sizeof(*w->names));
	w->tips = calloc(vips + 1, sizeof(*w->tips));
	return w->model.vips && w->base && w->noise && w->bytes && w->names && w->tips ? 0 :
											 -ENOMEM;
}

int workload_new(struct workload *w, const struct fabric *f, const struct habits *h, struct err *e)
{
	unsigned int i, of = h->of ? h->of : h->vips;
	double sum = workload_share(h->skip + h->vips, of) - workload_share(h->skip, of);
	int ret;

	memset(w, 0, sizeof(*w));
	w->habits = *h;
	w->random = h->seed;
	ret = room(w, f, h->vips);
	for (i = 0; !ret && i < h->vips; i++)
		w->base[i] = (workload_share(h->skip + i + 1, of) - workload_share(h->skip + i, of)) / sum;
	if (!ret)
		qsort(w->base, h->vips, sizeof(*w->base), by_size);
	for (i = 0; !ret && i < h->vips; i++)
		ret = make_vip(w, f, i);
	if (ret) {
		workload_free(w);
		return err_set(e, ret, "out of memory");
	}
	traffic(w);
	return 0;
}

void workload_rates(struct workload *w)
{
	size_t i;

	w->total = 0;
	for (i = 0; i < w->model.n_vips; i++)
		w->model.vips[i].mbps = 0;
	for (i = 0; i < w->n_rates; i++)
		if (w->rates[i].interval == w->interval)
			w->model.vips[w->rates[i].vip].mbps = w->rates[i].mbps;
	for (i = 0; i < w->model.n_vips; i++)
		w->total += w->model.vips[i].mbps;
}

int workload_next(struct workload *w, const struct fabric *f)
{
	const struct habits *h = &w->habits;
	double m = h->memory;
	unsigned int i;
	int ret = 0;

	w->interval++;
	if (w->rates) {
		workload_rates(w);
		return 0;
	}
	for (i = 0; !ret && i < w->model.n_vips; i++) {
		if (sim_uniform(&w->random) < h->churn)
			ret = make_vip(w, f, i);
		else
			w->noise[i] = m * w->noise[i] + sqrt(1 - m * m) * sim_normal(&w->random);
	}
	traffic(w);
	return ret;
}

int workload_settle(struct workload *w, const struct engine_choice *choices)
{
	unsigned int i, k;

	for (i = 0; i < w->model.n_vips; i++) {
		struct engine_vip *v = &w->model.vips[i];

		v->current = choices[i].mux;
		free(w->tips[i]);
		w->tips[i] = NULL;
		v->current_tips = NULL;
		v->n_current_tips = 0;
		if (choices[i].mux < 0 || !choices[i].n_tips)
			continue;
		w->tips[i] = malloc(choices[i].n_tips * sizeof(**w->tips));
		if (!w->tips[i])
			return -ENOMEM;
		for (k = 0; k < choices[i].n_tips; k++)
			w->tips[i][k] = choices[i].tips[k].mux;
		v->current_tips = w->tips[i];
		v->n_current_tips = choices[i].n_tips;
	}
	return 0;
}

void workload_free(struct workload *w)
{
	unsigned int i;

	for (i = 0; w->model.vips && i < w->model.n_vips; i++) {
		vip_free(&w->model.vips[i]);
		if (w->tips)
			free(w->tips[i]);
	}
	free(w->model.vips);
	free(w->base);
	free(w->noise);
	free(w->bytes);
	free(w->names);
	free(w->tips);
	free(w->rates);
	memset(w, 0, sizeof(*w));
}
