// SPDX-License-Identifier: GPL-2.0
/*
 * Trace files: one line a VIP and interval, blanks between fields, '#' begins
 * a comment. A VIP's first line says where its clients and DIPs are, later
 * ones may say "-": as before. A VIP without a line in an interval is idle.
 *
 *   INTERVAL VIP MBPS RULES FROM TO
 *   0 10.0.0.1 120.5 0 border:0.3,tor1:0.5,tor2:0.2 tor3:2,tor4:1
 *   1 10.0.0.1 130 0 - -
 *
 * FROM: switch and share of the traffic; TO: rack and number of DIPs.
 */
#include "workload.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define INTERVALS_MAX	10000
#define DIPS_MAX	1000000
#define VIPS_MAX	2000000

/* struct names - switches by name, sorted, so that lines can be looked up quickly */
struct names {
	const struct fabric *f;
	unsigned int *index;
};

static int by_name(const void *a, const void *b, void *ctx)
{
	const struct fabric *f = ctx;

	return strcmp(f->names[*(const unsigned int *)a], f->names[*(const unsigned int *)b]);
}

static int find(const struct names *n, const char *name)
{
	unsigned int low = 0, high = n->f->n_switches;

	while (low < high) {
		unsigned int mid = (low + high) / 2;
		int c = strcmp(n->f->names[n->index[mid]], name);

		if (!c)
			return n->index[mid];
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return -1;
}

struct reading {
	struct workload *w;
	const struct fabric *f;
	const char *file;
	unsigned int line, room, intervals;
	struct names names;
	/* the last VIPs looked up, so that traces in a fixed order need no search */
	unsigned int next;
};

static int bad(const struct reading *r, struct err *e, const char *why, const char *what)
{
	return err_set(e, -EINVAL, "%s:%u: %s%s%.80s", r->file, r->line, why, what ? ": " : "",
		       what ? what : "");
}

static int pairs(struct reading *r, char *text, struct engine_share **list, unsigned int *n,
		 struct err *e)
{
	char *save, *item, *end;
	unsigned int count = 1;

	for (item = text; *item; item++)
		count += *item == ',';
	free(*list);
	*n = 0;
	*list = calloc(count, sizeof(**list));
	if (!*list)
		return err_set(e, -ENOMEM, "out of memory");
	for (item = strtok_r(text, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
		char *colon = strchr(item, ':');
		double value;
		int node;

		if (!colon)
			return bad(r, e, "no colon in a pair", item);
		*colon = 0;
		value = strtod(colon + 1, &end);
		if (end == colon + 1 || *end || !(value > 0) || value > DIPS_MAX)
			return bad(r, e, "not a number above 0", colon + 1);
		node = find(&r->names, item);
		if (node < 0)
			return bad(r, e, "no such switch", item);
		(*list)[(*n)++] = (struct engine_share){ node, value };
	}
	return 0;
}

static int dips(struct reading *r, struct engine_vip *v, struct err *e)
{
	unsigned int i, k, n = 0;

	for (i = 0; i < v->n_to; i++) {
		if (v->to[i].share != floor(v->to[i].share))
			return bad(r, e, "DIPs of a rack are a whole number", NULL);
		if (r->f->switches[v->to[i].node].tier != ENGINE_TOR)
			return bad(r, e, "DIPs are in racks only, not at",
				   r->f->names[v->to[i].node]);
		n += v->to[i].share;
		if (n > DIPS_MAX)
			return bad(r, e, "more DIPs than any VIP may have", NULL);
	}
	free(v->dips);
	free(v->dip_node);
	v->dips = malloc((n + 1) * sizeof(*v->dips));
	v->dip_node = malloc((n + 1) * sizeof(*v->dip_node));
	if (!v->dips || !v->dip_node)
		return err_set(e, -ENOMEM, "out of memory");
	if (r->w->model.n_dips > UINT32_MAX - n)
		return bad(r, e, "too many DIPs in all", NULL);
	v->n_dips = v->members = 0;
	for (i = 0; i < v->n_to; i++) {
		for (k = 0; k < v->to[i].share; k++) {
			v->dip_node[v->n_dips] = v->to[i].node;
			v->dips[v->n_dips++] = r->w->model.n_dips++;
		}
	}
	for (i = 0; i < v->n_to; i++)
		v->to[i].share /= n;
	v->members = n;
	return 0;
}

static int vip_index(struct reading *r, const char *name, struct err *e)
{
	struct workload *w = r->w;
	unsigned int i, n = w->model.n_vips;

	for (i = 0; i < n; i++) {
		unsigned int k = (r->next + i) % n;

		if (!strcmp(w->names[k], name)) {
			r->next = k + 1;
			return k;
		}
	}
	if (strlen(name) >= sizeof(*w->names))
		return bad(r, e, "too long for an address", name);
	if (n >= VIPS_MAX)
		return bad(r, e, "too many VIPs", NULL);
	if (n == r->room) {
		unsigned int room = 2 * r->room + 64;
		void *vips = realloc(w->model.vips, room * sizeof(*w->model.vips));
		void *names = vips ? realloc(w->names, room * sizeof(*w->names)) : NULL;

		if (vips)
			w->model.vips = vips;
		if (!names)
			return err_set(e, -ENOMEM, "out of memory");
		w->names = names;
		r->room = room;
	}
	memset(&w->model.vips[n], 0, sizeof(*w->model.vips));
	w->model.vips[n].current = ENGINE_SMUX;
	strcpy(w->names[n], name);
	w->model.n_vips++;
	r->next = n + 1;
	return n;
}

/* keep_rate - Mbps of a VIP in an interval, in the trace that workload_next() walks */
static int keep_rate(struct reading *r, unsigned int interval, unsigned int vip, double mbps,
		     struct err *e)
{
	struct workload *w = r->w;
	struct trace_rate *rates;

	if (w->n_rates == w->room_rates) {
		w->room_rates = 2 * w->room_rates + 256;
		rates = realloc(w->rates, w->room_rates * sizeof(*rates));
		if (!rates)
			return err_set(e, -ENOMEM, "out of memory");
		w->rates = rates;
	}
	w->rates[w->n_rates++] = (struct trace_rate){ interval, vip, mbps };
	return 0;
}

static int one_line(struct reading *r, char *text, struct err *e)
{
	char *save, *field[6], *end;
	unsigned long interval, rules;
	struct engine_vip *v;
	unsigned int i;
	double mbps, sum = 0;
	int at, ret = 0;

	for (i = 0; i < 6; i++) {
		field[i] = strtok_r(i ? NULL : text, " \t\r\n", &save);
		if (!field[i] && !i)
			return 0;
		if (!field[i])
			return bad(r, e, "a line has six fields: INTERVAL VIP MBPS RULES FROM TO", NULL);
	}
	interval = strtoul(field[0], &end, 10);
	if (*end || interval >= INTERVALS_MAX || field[0][0] == '-')
		return bad(r, e, "not an interval", field[0]);
	mbps = strtod(field[2], &end);
	if (*end || end == field[2] || !(mbps >= 0) || mbps > ENGINE_MBPS_MAX)
		return bad(r, e, "not a rate in Mbps", field[2]);
	rules = strtoul(field[3], &end, 10);
	if (*end || rules > 65535 || field[3][0] == '-')
		return bad(r, e, "not a number of port rules", field[3]);
	at = vip_index(r, field[1], e);
	if (at < 0)
		return at;
	v = &r->w->model.vips[at];
	v->rules = rules;
	if (strcmp(field[4], "-")) {
		ret = pairs(r, field[4], &v->from, &v->n_from, e);
		for (i = 0; !ret && i < v->n_from; i++)
			sum += v->from[i].share;
		for (i = 0; !ret && i < v->n_from; i++)
			v->from[i].share /= sum;
	}
	if (!ret && strcmp(field[5], "-")) {
		ret = pairs(r, field[5], &v->to, &v->n_to, e);
		if (!ret)
			ret = dips(r, v, e);
	}
	if (!ret && (!v->n_from || !v->n_to))
		return bad(r, e, "the first line of a VIP names its clients and DIPs", field[1]);
	if (interval + 1 > r->intervals)
		r->intervals = interval + 1;
	return ret ? ret : keep_rate(r, interval, at, mbps, e);
}

int workload_parse(struct workload *w, const struct fabric *f, FILE *in, const char *name,
		   struct err *e)
{
	struct reading r = { .w = w, .f = f, .file = name, .names = { .f = f } };
	char *text = NULL;
	size_t size = 0;
	unsigned int i;
	int ret = 0;

	memset(w, 0, sizeof(*w));
	r.names.index = malloc((f->n_switches + 1) * sizeof(*r.names.index));
	if (!r.names.index)
		return err_set(e, -ENOMEM, "out of memory");
	for (i = 0; i < f->n_switches; i++)
		r.names.index[i] = i;
	qsort_r(r.names.index, f->n_switches, sizeof(*r.names.index), by_name, (void *)f);
	while (!ret && getline(&text, &size, in) >= 0) {
		r.line++;
		text[strcspn(text, "#")] = 0;
		ret = one_line(&r, text, e);
	}
	if (!ret && !w->model.n_vips)
		ret = err_set(e, -EINVAL, "%s: no VIP in it", name);
	free(text);
	free(r.names.index);
	if (!ret) {
		w->model.switches = f->switches;
		w->model.n_switches = f->n_switches;
		w->model.links = f->links;
		w->model.n_links = f->n_links;
		w->habits.intervals = r.intervals;
		for (i = 0; i < w->model.n_vips; i++)
			w->model.vips[i].vip = w->names[i];
		w->tips = calloc(w->model.n_vips + 1, sizeof(*w->tips));
		w->bytes = calloc(w->model.n_vips + 1, sizeof(*w->bytes));
		if (!w->tips || !w->bytes)
			ret = err_set(e, -ENOMEM, "out of memory");
		else
			workload_rates(w);
	}
	if (ret)
		workload_free(w);
	return ret;
}

int workload_read(struct workload *w, const struct fabric *f, const char *file, struct err *e)
{
	FILE *in = fopen(file, "r");
	int ret;

	if (!in)
		return err_set(e, -errno, "%s: %s", file, strerror(errno));
	ret = workload_parse(w, f, in, file, e);
	fclose(in);
	return ret;
}

int workload_write(const struct workload *w, const struct fabric *f, FILE *out)
{
	unsigned int i, k;

	fprintf(out, "# INTERVAL VIP MBPS RULES FROM TO\n");
	for (i = 0; i < w->model.n_vips; i++) {
		const struct engine_vip *v = &w->model.vips[i];

		fprintf(out, "%u %s %.17g %u ", w->interval, v->vip, v->mbps, v->rules);
		for (k = 0; k < v->n_from; k++)
			fprintf(out, "%s%s:%.17g", k ? "," : "", f->names[v->from[k].node],
				v->from[k].share);
		fputc(' ', out);
		for (k = 0; k < v->n_to; k++)
			fprintf(out, "%s%s:%.0f", k ? "," : "", f->names[v->to[k].node],
				v->to[k].share * v->n_dips);
		fputc('\n', out);
	}
	return ferror(out) ? -EIO : 0;
}
