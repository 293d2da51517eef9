// SPDX-License-Identifier: GPL-2.0
/* Builds the switches and links of a Clos fabric from a few numbers. */
#include "fabric.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "duet/limits.h"

#define SWITCHES_MAX 200000
#define LINKS_MAX 2000000

void fabric_paper(struct fabric *f)
{
	*f = (struct fabric){
		.containers = 40,
		.tors = 40,
		.aggs = 4,
		.cores = 40,
		.planes = 4,
		.servers = 50000,
		.tor_mbps = 10000,
		.core_mbps = 40000,
		.border_mbps = 1600000, /* not in the paper: as much as a core has downwards */
		.hosts = DUET_PAPER_VIPS,
		.rules = DUET_PAPER_RULES,
		.members = DUET_PAPER_MEMBERS,
		.tunnels = DUET_PAPER_TUNNELS,
	};
}

static int number(json_t *o, const char *key, unsigned int *out, unsigned int max, struct err *e)
{
	json_t *v = json_object_get(o, key);

	if (!v)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > max)
		return err_set(e, -EINVAL, "fabric: \"%s\" must be a number from 0 to %u", key, max);
	*out = json_integer_value(v);
	return 0;
}

static int rate(json_t *o, const char *key, double *out, struct err *e)
{
	json_t *v = json_object_get(o, key);

	if (!v)
		return 0;
	if (!json_is_number(v) || !(json_number_value(v) > 0) ||
	    json_number_value(v) > ENGINE_MBPS_MAX)
		return err_set(e, -EINVAL, "fabric: \"%s\" must be Mbps above 0, at most %.0f", key,
			       ENGINE_MBPS_MAX);
	*out = json_number_value(v);
	return 0;
}

static int read_numbers(struct fabric *f, json_t *o, struct err *e)
{
	json_t *tables = json_object_get(o, "tables");
	const struct { json_t *in; const char *key; unsigned int *out, max; } keys[] = {
		{ o, "containers", &f->containers, 10000 },
		{ o, "tors", &f->tors, 10000 },
		{ o, "aggs", &f->aggs, 1000 },
		{ o, "cores", &f->cores, 100000 },
		{ o, "planes", &f->planes, 1000 },
		{ o, "servers", &f->servers, 100000000 },
		{ tables, "hosts", &f->hosts, 100000000 },
		{ tables, "rules", &f->rules, 100000000 },
		{ tables, "members", &f->members, 100000000 },
		{ tables, "tunnels", &f->tunnels, 100000000 },
	};
	unsigned int i;
	int ret = 0;

	if (!json_is_object(o))
		return err_set(e, -EINVAL, "fabric: it must be a JSON object");
	for (i = 0; !ret && i < sizeof(keys) / sizeof(*keys); i++)
		ret = number(keys[i].in, keys[i].key, keys[i].out, keys[i].max, e);
	if (!ret)
		ret = rate(o, "tor-agg-mbps", &f->tor_mbps, e);
	if (!ret)
		ret = rate(o, "agg-core-mbps", &f->core_mbps, e);
	if (!ret)
		ret = rate(o, "border-mbps", &f->border_mbps, e);
	return ret ? ret : fabric_build(f, e);
}

int fabric_parse(struct fabric *f, const char *text, size_t len, struct err *e)
{
	json_error_t error;
	json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	int ret;

	fabric_paper(f);
	if (!o)
		return err_set(e, -EINVAL, "fabric: line %d: %s", error.line, error.text);
	ret = read_numbers(f, o, e);
	json_decref(o);
	return ret;
}

int fabric_read(struct fabric *f, const char *file, struct err *e)
{
	json_error_t error;
	json_t *o = json_load_file(file, JSON_REJECT_DUPLICATES, &error);
	int ret;

	fabric_paper(f);
	if (!o)
		return err_set(e, -EINVAL, "%s: line %d: %s", file, error.line, error.text);
	ret = read_numbers(f, o, e);
	json_decref(o);
	return ret;
}

static void add_switches(struct fabric *f, unsigned int n, const char *name, enum engine_tier tier)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct engine_switch *s = &f->switches[f->n_switches];

		if (tier == ENGINE_BORDER)
			snprintf(f->names[f->n_switches], sizeof(*f->names), "%s", name);
		else
			snprintf(f->names[f->n_switches], sizeof(*f->names), "%s%u", name, i + 1);
		*s = (struct engine_switch){
			.name = f->names[f->n_switches++],
			.candidate = tier != ENGINE_BORDER,
			.hosts = f->hosts,
			.rules = f->rules,
			.members = f->members,
			.tunnels = f->tunnels,
			.tier = tier,
		};
	}
}

static void add_link(struct fabric *f, unsigned int a, unsigned int b, double mbps)
{
	f->links[f->n_links++] = (struct engine_link){ .a = a, .b = b, .mbps = mbps };
}

int fabric_build(struct fabric *f, struct err *e)
{
	unsigned int a, k, x, t, i;
	size_t switches, links;

	if (!f->containers || !f->tors || !f->aggs || !f->cores || !f->planes || !f->servers)
		return err_set(e, -EINVAL,
			       "fabric: containers, tors, aggs, cores, planes and servers must be above 0");
	if (f->aggs % f->planes || f->cores % f->planes)
		return err_set(e, -EINVAL,
			       "fabric: %u Aggs a container and %u cores can't be cut into %u planes",
			       f->aggs, f->cores, f->planes);
	a = f->aggs / f->planes;
	k = f->cores / f->planes;
	f->racks = f->containers * f->tors;
	switches = (size_t)f->containers * (f->tors + f->aggs) + f->cores + 1;
	links = (size_t)f->racks * f->aggs + (size_t)f->containers * f->aggs * k + f->cores;
	if (switches > SWITCHES_MAX || links > LINKS_MAX)
		return err_set(e, -EINVAL, "fabric: %zu switches and %zu links are too many", switches,
			       links);
	f->switches = calloc(switches, sizeof(*f->switches));
	f->links = calloc(links, sizeof(*f->links));
	f->names = calloc(switches, sizeof(*f->names));
	if (!f->switches || !f->links || !f->names) {
		fabric_free(f);
		return err_set(e, -ENOMEM, "out of memory");
	}
	add_switches(f, f->cores, "core", ENGINE_CORE);
	f->border = f->n_switches;
	add_switches(f, 1, "border", ENGINE_BORDER);
	f->agg0 = f->n_switches;
	add_switches(f, f->containers * f->aggs, "agg", ENGINE_AGG);
	f->tor0 = f->n_switches;
	add_switches(f, f->racks, "tor", ENGINE_TOR);
	for (i = 0; i < f->cores; i++)
		add_link(f, f->border, i, f->border_mbps);
	for (x = 0; x < f->containers; x++) {
		for (i = 0; i < f->aggs; i++)
			for (t = 0; t < k; t++)
				add_link(f, f->agg0 + x * f->aggs + i, i / a * k + t, f->core_mbps);
		for (t = 0; t < f->tors; t++)
			for (i = 0; i < f->aggs; i++)
				add_link(f, f->tor0 + x * f->tors + t, f->agg0 + x * f->aggs + i,
					 f->tor_mbps);
	}
	return 0;
}

void fabric_free(struct fabric *f)
{
	free(f->switches);
	free(f->links);
	free(f->names);
	f->switches = NULL;
	f->links = NULL;
	f->names = NULL;
}
