// SPDX-License-Identifier: GPL-2.0
/* duetctl's views of the fabric: switches, muxes, hosts, links, what is drained. */
#include "duetctl.h"

#include <stdio.h>
#include <string.h>

#include "out.h"

CTL_COMMAND(show_muxes)
{
	struct table *t;
	json_t *s, *m;
	size_t i;
	int ret = ctl_get_list(c, "/v1/muxes", "muxes", 0, &s);

	if (ret)
		return ctl_end(ret);
	t = table_new("MUX", "MODE", "ADDRESS", "STATE", ">VIPS", ">TUNNELS", ">OF", ">REFUSED",
		      "BIRD", "WHY", NULL);
	json_array_foreach(json_object_get(s, "muxes"), i, m) {
		json_t *used = json_object_get(m, "used"), *limits = json_object_get(m, "limits");

		table_cell(t, "%s", text_of(m, "name"));
		table_cell(t, "%s", text_of(m, "mode"));
		table_cell(t, "%s", text_of(m, "local"));
		table_cell(t, "%s", text_of(m, "state"));
		table_cell(t, "%lld", number_of(m, "vips"));
		table_cell(t, "%lld", number_of(used, "tunnels"));
		if (number_of(limits, "tunnels"))
			table_cell(t, "%lld", number_of(limits, "tunnels"));
		else
			table_cell(t, "-");
		table_cell(t, "%zu", json_object_size(json_object_get(m, "refused")));
		table_cell(t, "%s", text_of(json_object_get(m, "bird"), "state"));
		table_cell(t, "%s", text_of(m, "why"));
	}
	table_print(t);
	json_decref(s);
	return CTL_OK;
}

CTL_COMMAND(show_hosts)
{
	struct table *t;
	json_t *s, *h, *d;
	size_t i, k;
	int ret = ctl_get_list(c, "/v1/hosts", "hosts", 0, &s);

	if (ret)
		return ctl_end(ret);
	t = table_new("HOST", "ADDRESS", "RACK", "STATE", ">HEARD", ">DIPS", ">DOWN", "TOLD", "WHY", NULL);
	json_array_foreach(json_object_get(s, "hosts"), i, h) {
		json_t *dips = json_object_get(h, "dips");
		size_t down = 0;

		json_array_foreach(dips, k, d)
			down += !strcmp(text_of(d, "state"), "down");
		table_cell(t, "%s", text_of(h, "name"));
		table_cell(t, "%s", text_of(h, "address"));
		table_cell(t, "%s", text_of(h, "switch"));
		table_cell(t, "%s", text_of(h, "state"));
		if (json_object_get(h, "age-ms"))
			table_cell(t, "%.1f s", number_of(h, "age-ms") / 1000.0);
		else
			table_cell(t, "-");
		table_cell(t, "%zu", json_array_size(dips));
		table_cell(t, "%zu", down);
		table_cell(t, "%s", json_is_true(json_object_get(h, "told")) ? "yes" : "no");
		table_cell(t, "%s", text_of(h, "why"));
	}
	table_print(t);
	json_decref(s);
	return CTL_OK;
}

CTL_COMMAND(show_topology)
{
	json_t *s, *o;
	struct table *t;
	size_t i;
	int ret = ctl_get(c, "/v1/topology", &s);

	if (ret)
		return ctl_end(ret);
	t = table_new("SWITCH", "ROLE", "CONTAINER", "MUX ADDRESS", ">TUNNELS", "AGENT", NULL);
	json_array_foreach(json_object_get(s, "switches"), i, o) {
		table_cell(t, "%s", text_of(o, "name"));
		table_cell(t, "%s", text_of(o, "role"));
		if (json_object_get(o, "container"))
			table_cell(t, "%lld", number_of(o, "container"));
		else
			table_cell(t, "-");
		table_cell(t, "%s", text_of(o, "local"));
		table_cell(t, "%lld", number_of(json_object_get(o, "tables"), "tunnels"));
		table_cell(t, "%s", text_of(o, "agent"));
	}
	table_print(t);
	putchar('\n');
	t = table_new("LINK", "TO", ">MBPS", NULL);
	json_array_foreach(json_object_get(s, "links"), i, o) {
		table_cell(t, "%s %s", text_of(o, "a"), text_of(o, "port-a"));
		table_cell(t, "%s %s", text_of(o, "b"), text_of(o, "port-b"));
		table_cell(t, "%lld", number_of(o, "mbps"));
	}
	table_print(t);
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
	struct table *t = table_new("VIP", ">RULE", "DIP", "STATE", "WHY", NULL);
	json_t *d;
	size_t i;

	printf("host %s on %s, %s\n", text_of(h, "name"), text_of(h, "switch"), text_of(h, "address"));
	printf("state    %s, %s\n", text_of(h, "state"), json_is_true(json_object_get(h, "told")) ?
	       "told what it has to hold" : "not told yet what it has to hold");
	if (*text_of(h, "why"))
		printf("because  %s\n", text_of(h, "why"));
	putchar('\n');
	json_array_foreach(json_object_get(h, "dips"), i, d) {
		table_cell(t, "%s", text_of(d, "vip"));
		table_cell(t, "%lld", number_of(d, "rule") + 1);
		table_cell(t, "%s", text_of(d, "dip"));
		table_cell(t, "%s", text_of(d, "state"));
		table_cell(t, "%s", text_of(d, "reason"));
	}
	table_print(t);
}

CTL_COMMAND(show_host)
{
	return show_one(c, "/v1/hosts", "hosts", "host", args[0], print_host);
}

/* show_switches - the topology's, each with what its mux agent says of its tables */
CTL_COMMAND(show_switches)
{
	json_t *topology = NULL, *s = NULL, *list, *o, *m;
	struct table *t;
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
	t = table_new("SWITCH", "ROLE", "CONTAINER", "STATE", ">VIPS", ">EXPORTED", ">TUNNELS", ">OF", "WHY", NULL);
	json_array_foreach(list, i, o) {
		m = json_object_get(o, "mux");
		table_cell(t, "%s", text_of(o, "name"));
		table_cell(t, "%s", text_of(o, "role"));
		if (json_object_get(o, "container"))
			table_cell(t, "%lld", number_of(o, "container"));
		else
			table_cell(t, "-");
		table_cell(t, "%s%s", m ? text_of(m, "state") : "no mux agent",
			   json_is_true(json_object_get(m, "drained")) ? ", drained" : "");
		table_cell(t, "%lld", number_of(m, "vips"));
		table_cell(t, "%lld", number_of(m, "exported"));
		table_cell(t, "%lld", number_of(json_object_get(m, "used"), "tunnels"));
		table_cell(t, "%lld", number_of(json_object_get(o, "tables"), "tunnels"));
		table_cell(t, "%s", text_of(m, "why"));
	}
	table_print(t);
out:
	json_decref(topology);
	json_decref(s);
	return ret;
}

CTL_COMMAND(show_links)
{
	struct table *t;
	json_t *s, *o;
	size_t i;
	int ret = ctl_get_list(c, "/v1/links", "links", 0, &s);

	if (ret)
		return ctl_end(ret);
	t = table_new("LINK", "TO", ">MBPS", "STATE", "SAYS", NULL);
	json_array_foreach(json_object_get(s, "links"), i, o) {
		table_cell(t, "%s %s", text_of(o, "a"), text_of(o, "port-a"));
		table_cell(t, "%s %s", text_of(o, "b"), text_of(o, "port-b"));
		table_cell(t, "%lld", number_of(o, "mbps"));
		table_cell(t, "%s", text_of(o, "state"));
		table_cell(t, "%s", text_of(o, "told-by"));
	}
	table_print(t);
	json_decref(s);
	return CTL_OK;
}

CTL_COMMAND(show_drains)
{
	struct table *t;
	char when[48];
	json_t *s, *o;
	size_t i;
	int ret = ctl_get(c, "/v1/drains", &s);

	if (ret)
		return ctl_end(ret);
	t = table_new("KIND", "NAME", "SINCE", "BY", ">VIPS LEFT", NULL);
	json_array_foreach(json_object_get(s, "drains"), i, o) {
		clock_text(number_of(o, "at-ms"), when, sizeof(when));
		table_cell(t, "%s", text_of(o, "kind"));
		table_cell(t, "%s", text_of(o, "name"));
		table_cell(t, "%s", when);
		table_cell(t, "%s", text_of(o, "by"));
		table_cell(t, "%lld", number_of(o, "vips-left"));
	}
	table_print(t);
	json_decref(s);
	return CTL_OK;
}

CTL_COMMAND(show_traffic)
{
	struct table *t;
	json_t *s, *o;
	size_t i;
	int ret = ctl_get(c, "/v1/traffic", &s);

	if (ret)
		return ctl_end(ret);
	t = table_new("VIP", ">MBPS", ">EWMA", ">PEAK", NULL);
	json_array_foreach(json_object_get(s, "traffic"), i, o) {
		table_cell(t, "%s", text_of(o, "vip"));
		table_cell(t, "%.1f", json_number_value(json_object_get(o, "mbps")));
		table_cell(t, "%.1f", json_number_value(json_object_get(o, "ewma-mbps")));
		table_cell(t, "%.1f", json_number_value(json_object_get(o, "peak-mbps")));
	}
	table_print(t);
	json_decref(s);
	return CTL_OK;
}
