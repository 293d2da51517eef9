// SPDX-License-Identifier: GPL-2.0
/* duetctl's views of the fabric: switches, muxes, hosts, links, what is drained. */
#include "duetctl.h"

#include <stdio.h>
#include <string.h>

#include "out.h"

CTL_COMMAND(show_muxes)
{
	static const struct ctl_column columns[] = {
		{ "MUX", "name" }, { "MODE", "mode" }, { "ADDRESS", "local" }, { "STATE", "state" },
		{ ">VIPS", "vips", COLUMN_NUMBER }, { ">TUNNELS", "used.tunnels", COLUMN_NUMBER },
		{ ">OF", "limits.tunnels", COLUMN_LIMIT }, { ">REFUSED", "refused", COLUMN_COUNT },
		{ "BIRD", "bird.state" }, { "DRAINED", "drained", COLUMN_YES }, { "WHY", "why" }, {}
	};

	return show_list(c, "/v1/muxes", "muxes", 0, columns);
}

CTL_COMMAND(show_hosts)
{
	static const struct ctl_column columns[] = {
		{ "HOST", "name" }, { "ADDRESS", "address" }, { "RACK", "switch" }, { "STATE", "state" },
		{ ">HEARD", "s", COLUMN_TENTHS }, { ">DIPS", "dips", COLUMN_COUNT }, { ">DOWN", "down", COLUMN_NUMBER },
		{ "DRAINED", "drained", COLUMN_YES }, { "TOLD", "told", COLUMN_YES }, { "WHY", "why" }, {}
	};
	json_t *answer, *h, *d;
	size_t i, k;
	int ret = ctl_get_list(c, "/v1/hosts", "hosts", 0, &answer);

	if (ret)
		return ctl_end(ret);
	json_array_foreach(json_object_get(answer, "hosts"), i, h) {
		unsigned int down = 0;

		json_array_foreach(json_object_get(h, "dips"), k, d)
			down += !strcmp(text_of(d, "state"), "down");
		json_object_set_new(h, "down", json_integer(down));
		if (json_object_get(h, "age-ms"))
			json_object_set_new(h, "s", json_real(number_of(h, "age-ms") / 1000.0));
	}
	print_list(json_object_get(answer, "hosts"), columns);
	json_decref(answer);
	return CTL_OK;
}

CTL_COMMAND(show_topology)
{
	static const struct ctl_column switches[] = {
		{ "SWITCH", "name" }, { "ROLE", "role" }, { "CONTAINER", "container", COLUMN_NUMBER }, { "MUX ADDRESS", "local" },
		{ ">TUNNELS", "tables.tunnels", COLUMN_NUMBER }, { "AGENT", "agent" }, {}
	};
	static const struct ctl_column links[] = {
		{ "LINK", "a" }, { "PORT", "port-a" }, { "TO", "b" }, { "PORT", "port-b" }, { ">MBPS", "mbps", COLUMN_NUMBER }, {}
	};
	json_t *s;
	int ret = ctl_get(c, "/v1/topology", &s);

	if (ret)
		return ctl_end(ret);
	print_list(json_object_get(s, "switches"), switches);
	putchar('\n');
	print_list(json_object_get(s, "links"), links);
	printf("\n%zu SMuxes, %zu servers\n", json_array_size(json_object_get(s, "smuxes")),
	       json_array_size(json_object_get(s, "servers")));
	json_decref(s);
	return CTL_OK;
}

/* named - the one of a list, or NULL after a sentence */
static json_t *named(json_t *list, const char *name, const char *kind)
{
	json_t *o;
	size_t i;

	json_array_foreach(list, i, o)
		if (!strcmp(text_of(o, "name"), name))
			return o;
	fprintf(stderr, "duetctl: there is no %s \"%s\"\n", kind, name);
	return NULL;
}

/* show_one - the list has it: print it as JSON, or as print() does */
static int show_one(const struct ctl *c, const char *path, const char *key, const char *kind, const char *name,
		    void (*print)(json_t *one))
{
	json_t *s, *one;
	int ret = ctl_list(c, path, key, 0, &s);

	if (ret)
		return ret;
	one = named(json_object_get(s, key), name, kind);
	if (one && c->json)
		out_json(json_incref(one));
	else if (one)
		print(one);
	json_decref(s);
	return one ? CTL_OK : CTL_REFUSED;
}

static void print_mux(json_t *m)
{
	static const char *const tables[] = { "vips", "rules", "dips", "tunnels", "members", "flows", NULL };
	json_t *used = json_object_get(m, "used"), *limits = json_object_get(m, "limits"), *why;
	const char *const *k, *vip;

	printf("mux %s (%s), %s\n", text_of(m, "name"), text_of(m, "mode"), text_of(m, "local"));
	printf("state    %s%s%s%s\n", text_of(m, "state"), json_is_true(json_object_get(m, "drained")) ? ", drained" : "",
	       *text_of(m, "why") ? ": " : "", text_of(m, "why"));
	printf("agent    %s, instance %s", text_of(m, "agent"), text_of(m, "instance"));
	if (json_object_get(m, "age-ms"))
		printf(", heard %.1f s ago", number_of(m, "age-ms") / 1000.0);
	printf("\nBIRD     %s\nVIPs     %lld, %lld exported, %lld to be told\n", text_of(json_object_get(m, "bird"), "state"),
	       number_of(m, "vips"), number_of(m, "exported"), number_of(m, "pending"));
	for (k = tables; *k; k++)
		if (json_object_get(used, *k) && number_of(limits, *k))
			printf("%-8s %lld of %lld\n", *k, number_of(used, *k), number_of(limits, *k));
	json_object_foreach(json_object_get(m, "refused"), vip, why)
		printf("refused  VIP %s: %s\n", vip, json_string_value(why));
}

CTL_COMMAND(show_mux)
{
	return show_one(c, "/v1/muxes", "muxes", "mux", args[0], print_mux);
}

static void print_host(json_t *h)
{
	static const struct ctl_column columns[] = {
		{ "VIP", "vip" }, { ">RULE", "rule", COLUMN_NUMBER }, { "DIP", "dip" }, { "STATE", "state" }, { "WHY", "reason" }, {}
	};
	json_t *d;
	size_t i;

	printf("host %s on %s, %s\n", text_of(h, "name"), text_of(h, "switch"), text_of(h, "address"));
	printf("state    %s%s, %s\n", text_of(h, "state"), json_is_true(json_object_get(h, "drained")) ? ", drained" : "", json_is_true(json_object_get(h, "told")) ?
	       "told what it has to hold" : "not told yet what it has to hold");
	if (*text_of(h, "why"))
		printf("because  %s\n", text_of(h, "why"));
	putchar('\n');
	json_array_foreach(json_object_get(h, "dips"), i, d)	/* people count from 1 */
		json_object_set_new(d, "rule", json_integer(number_of(d, "rule") + 1));
	print_list(json_object_get(h, "dips"), columns);
}

CTL_COMMAND(show_host)
{
	return show_one(c, "/v1/hosts", "hosts", "host", args[0], print_host);
}

/* show_switches - the topology's, each with what its mux agent says of its tables */
CTL_COMMAND(show_switches)
{
	static const struct ctl_column columns[] = {
		{ "SWITCH", "name" }, { "ROLE", "role" }, { "CONTAINER", "container", COLUMN_NUMBER }, { "STATE", "mux.state" },
		{ "DRAINED", "mux.drained", COLUMN_YES }, { ">VIPS", "mux.vips", COLUMN_NUMBER },
		{ ">EXPORTED", "mux.exported", COLUMN_NUMBER }, { ">TUNNELS", "mux.used.tunnels", COLUMN_NUMBER },
		{ ">OF", "tables.tunnels", COLUMN_LIMIT }, { "WHY", "mux.why" }, {}
	};
	json_t *topology = NULL, *s = NULL, *list, *o, *m;
	size_t i, k;
	int ret = ctl_call(c, "GET", "/v1/topology", NULL, &topology);

	if (!ret)
		ret = ctl_list(c, "/v1/muxes", "muxes", 0, &s);
	if (ret)
		goto out;
	list = json_object_get(topology, "switches");
	json_array_foreach(list, i, o)
		json_array_foreach(json_object_get(s, "muxes"), k, m)
			if (!strcmp(text_of(m, "name"), text_of(o, "name")))
				json_object_set(o, "mux", m);
	if (c->json) {
		out_json(json_pack("{s:O}", "switches", list));
		goto out;
	}
	print_list(list, columns);
out:
	json_decref(topology);
	json_decref(s);
	return ret;
}

CTL_COMMAND(show_links)
{
	static const struct ctl_column columns[] = {
		{ "LINK", "a" }, { "PORT", "port-a" }, { "TO", "b" }, { "PORT", "port-b" },
		{ ">MBPS", "mbps", COLUMN_NUMBER }, { "STATE", "state" }, { "SAYS", "told-by" }, {}
	};

	return show_list(c, "/v1/links", "links", 0, columns);
}

CTL_COMMAND(show_drains)
{
	static const struct ctl_column columns[] = {
		{ "KIND", "kind" }, { "NAME", "name" }, { "SINCE", "at-ms", COLUMN_CLOCK }, { "BY", "by" },
		{ ">VIPS LEFT", "vips-left", COLUMN_NUMBER }, {}
	};

	return show_list(c, "/v1/drains", "drains", 0, columns);
}

CTL_COMMAND(show_traffic)
{
	static const struct ctl_column columns[] = {
		{ "VIP", "vip" }, { ">MBPS", "mbps", COLUMN_TENTHS }, { ">EWMA", "ewma-mbps", COLUMN_TENTHS },
		{ ">PEAK", "peak-mbps", COLUMN_TENTHS }, {}
	};

	return show_list(c, "/v1/traffic", "traffic", 0, columns);
}
