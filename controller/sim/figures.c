// SPDX-License-Identifier: GPL-2.0
/* Figures 15 to 18 of the paper: the workload, SMuxes, latency, Random. */
#include "sim.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

static int falling(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x > y ? -1 : x < y;
}

static void cumulate(double *list, unsigned int n)
{
	double sum = 0, all = 0;
	unsigned int i;

	qsort(list, n, sizeof(*list), falling);
	for (i = 0; i < n; i++)
		all += list[i];
	for (i = 0; i < n; i++) {
		sum += list[i];
		list[i] = sum / all;
	}
}

int fig15_rows(const struct sim *s, FILE *csv, struct err *e)
{
	struct workload w;
	double *list[3];
	unsigned int i, k, n;
	int ret = sim_workload(s, 0, &w, e);

	if (ret)
		return ret;
	n = w.model.n_vips;
	for (k = 0; k < 3; k++)
		list[k] = malloc((n + 1) * sizeof(double));
	if (!list[0] || !list[1] || !list[2]) {
		ret = err_set(e, -ENOMEM, "out of memory");
		goto out;
	}
	for (i = 0; i < n; i++) {
		list[0][i] = w.model.vips[i].mbps;
		list[1][i] = w.model.vips[i].mbps / (w.bytes[i] > 0 ? w.bytes[i] : 1000);
		list[2][i] = w.model.vips[i].n_dips;
	}
	for (k = 0; k < 3; k++)
		cumulate(list[k], n);
	fprintf(csv, "fraction_of_vips,bytes,packets,dips,bytes_paper\n");
	for (i = 0; i < n; i = i < 300 ? i + 1 : i + 100)
		fprintf(csv, "%.6f,%.4f,%.4f,%.4f,%.4f\n", (i + 1.0) / n, list[0][i], list[1][i],
			list[2][i], workload_share(i + 1, n));
	fprintf(csv, "1,1,1,1,1\n");
out:
	for (k = 0; k < 3; k++)
		free(list[k]);
	workload_free(&w);
	return ret;
}

/* one - the paper's rule (or Random) at one load; need and share of traffic on switches */
static int one(const struct sim *s, double tbps, bool random, struct need *n, double *total,
	       double *share, unsigned int *on, double *mru, struct err *e)
{
	struct engine_options o = s->options;
	struct engine_choice *c;
	struct engine_load load;
	struct engine *engine;
	struct workload w;
	int ret = sim_workload(s, tbps, &w, e);

	if (ret)
		return ret;
	o.random = random;
	o.seed = s->habits.seed;
	ret = sim_assign(&w, &o, &engine, &c);
	if (!ret)
		ret = engine_load_get(engine, &load);
	if (!ret) {
		need_find(&s->fabric, &w.model, c, s->habits.seed, n);
		*total = w.total;
		*share = on_switches(&w.model, c);
		*mru = load.mru;
		*on = vips_on(&w.model, c);
		engine_load_free(&load);
		engine_free(engine);
		free(c);
	}
	workload_free(&w);
	return ret ? err_set(e, ret, "out of memory") : 0;
}

int fig16_rows(const struct sim *s, FILE *csv, struct err *e)
{
	static const double loads[] = LOADS, capacity[] = { SMUX_MBPS, 10000 };
	unsigned int i, k, on;
	double total, share, mru;
	struct need n;
	int ret = 0;

	fprintf(csv, "tbps,smux_gbps,ananta,duet,ratio,duet_p99,duet_worst,vips_on_switches,share_on_switches,mru,"
		     "unassigned_gbps,container_gbps,three_gbps,three_mean_gbps,three_worst_gbps\n");
	for (i = 0; !ret && i < 4; i++) {
		ret = one(s, loads[i], false, &n, &total, &share, &on, &mru, e);
		for (k = 0; !ret && k < 2; k++) {
			struct need p99 = n, worst = n;
			unsigned int ananta = ananta_smuxes(total, capacity[k]);
			unsigned int duet = need_smuxes(&n, capacity[k]);

			p99.three = n.three_p99;
			worst.three = n.three_worst;
			fprintf(csv, "%g,%g,%u,%u,%.2f,%u,%u,%u,%.5f,%.4f,%.2f,%.2f,%.2f,%.2f,%.2f\n",
				loads[i], capacity[k] / 1000, ananta, duet, (double)ananta / duet,
				need_smuxes(&p99, capacity[k]), need_smuxes(&worst, capacity[k]), on,
				share, mru, n.unassigned / 1000, n.container / 1000, n.three / 1000,
				n.three_mean / 1000, n.three_worst / 1000);
		}
		progress(s, "%g Tbps assigned", loads[i]);
	}
	return ret;
}

int fig17_rows(const struct sim *s, FILE *csv, struct err *e)
{
	static const unsigned int counts[] = { 230, 500, 1000, 2000, 2500, 3000, 4000, 5000, 6000,
					       8000, 10000, 12000, 15000 };
	double total, share, mru, kpps;
	unsigned int i, on, smuxes;
	struct need n;
	int ret = one(s, 10, false, &n, &total, &share, &on, &mru, e);

	if (ret)
		return ret;
	fprintf(csv, "who,smuxes,median_us\n");
	/* all of Ananta's packets pass an SMux at its even share of the load */
	for (i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		kpps = total / counts[i] / SMUX_MBPS * SMUX_KPPS;
		fprintf(csv, "ananta,%u,%.0f\n", counts[i], RTT_US + smux_delay_us(kpps));
	}
	/* more than half of Duet's packets pass an HMux: the detour, at most four switches more at
	 * a microsecond each; otherwise the SMuxes' delay would be the median
	 */
	smuxes = need_smuxes(&n, SMUX_MBPS);
	kpps = n.unassigned / smuxes / SMUX_MBPS * SMUX_KPPS;
	fprintf(csv, "duet,%u,%.0f\n", smuxes,
		RTT_US + (share > 0.5 ? 4 : smux_delay_us(kpps)));
	return 0;
}

int fig18_rows(const struct sim *s, FILE *csv, struct err *e)
{
	static const double loads[] = LOADS;
	unsigned int i, k, on[2];
	double total, share[2], mru;
	struct need n[2];
	int ret = 0;

	fprintf(csv, "tbps,duet,random,more_percent,duet_share,random_share,duet_vips,random_vips,"
		     "duet_unassigned_gbps,random_unassigned_gbps,duet_failure_gbps,random_failure_gbps\n");
	for (i = 0; i < 4; i++) {
		for (k = 0; !ret && k < 2; k++)
			ret = one(s, loads[i], k, &n[k], &total, &share[k], &on[k], &mru, e);
		if (ret)
			break;
		fprintf(csv, "%g,%u,%u,%.1f,%.5f,%.5f,%u,%u,%.2f,%.2f,%.2f,%.2f\n", loads[i],
			need_smuxes(&n[0], SMUX_MBPS), need_smuxes(&n[1], SMUX_MBPS),
			100.0 * need_smuxes(&n[1], SMUX_MBPS) / need_smuxes(&n[0], SMUX_MBPS) - 100,
			share[0], share[1], on[0], on[1], n[0].unassigned / 1000, n[1].unassigned / 1000,
			fmax(n[0].container, n[0].three) / 1000, fmax(n[1].container, n[1].three) / 1000);
		progress(s, "%g Tbps assigned by both", loads[i]);
	}
	return ret;
}
