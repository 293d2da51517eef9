// SPDX-License-Identifier: GPL-2.0
/* duetctl trace: the way of a flow through fabric, mux and host, as the controller computes it. */
#include "duetctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "out.h"

/* end_of - "192.0.2.9:4000", "192.0.2.9", "[2001:db8::1]:80", "2001:db8::1" */
static int end_of(const char *text, char address[ADDR_STRLEN], uint16_t *port)
{
	struct addr a;

	*port = 0;
	if (addr_port_parse(text, &a, port) && addr_parse(text, &a)) {
		fprintf(stderr, "duetctl: trace: ADDRESS:PORT or ADDRESS, not %s\n", text);
		return -EINVAL;
	}
	addr_str(&a, address);
	return 0;
}

/* ways - "core1 core2 > agg1 agg2 > tor1", one a line after the first's label */
static void ways(struct table *t, const char *label, json_t *list)
{
	json_t *way, *hop, *s;
	char text[2048];
	size_t i, k, m, n;

	json_array_foreach(list, i, way) {
		n = 0;
		json_array_foreach(json_object_get(way, "from"), k, s)
			if (n < sizeof(text))
				n += snprintf(text + n, sizeof(text) - n, "%s%s", k ? " " : "", json_string_value(s));
		json_array_foreach(json_object_get(way, "hops"), k, hop) {
			json_array_foreach(hop, m, s)
				if (n < sizeof(text))
					n += snprintf(text + n, sizeof(text) - n, "%s%s", m ? " " : " > ", json_string_value(s));
		}
		table_cell(t, "%s", i ? "" : label);
		table_cell(t, "%s", text);
	}
	if (!json_array_size(list)) {
		table_cell(t, "%s", label);
		table_cell(t, "no way that is known");
	}
}

static void muxes(struct table *t, json_t *list)
{
	json_t *m;
	size_t i;

	json_array_foreach(list, i, m) {
		table_cell(t, "%s", i ? "" : "mux");
		table_cell(t, "%s (%s, %s, %s)", text_of(m, "name"), text_of(m, "mode"), text_of(m, "local"), text_of(m, "state"));
	}
	if (!json_array_size(list)) {
		table_cell(t, "mux");
		table_cell(t, "none");
	}
}

static void target(struct table *t, json_t *o)
{
	const char *how = text_of(o, "delivery");

	if (!strcmp(how, "lo") || !*how)
		return;
	table_cell(t, "target");
	if (*text_of(o, "target"))
		table_cell(t, "%s port %lld (%s)", text_of(o, "target"), number_of(o, "target-port"), how);
	else
		table_cell(t, "all are down (%s)", how);
}

static void print_trace(json_t *o, const char *src, uint16_t sport, uint16_t dport, const char *proto)
{
	struct table *t = table_new("STEP", "WHERE", NULL);
	const char *verdict = text_of(o, "verdict"), *source = text_of(o, "source");

	table_cell(t, "flow");
	table_cell(t, "%s port %u to %s port %u, %s; from %s", src, sport, text_of(o, "vip"), dport, proto,
		   *source ? source : "outside");
	ways(t, "fabric", json_object_get(o, "way-in"));
	table_cell(t, "VIP");
	table_cell(t, "%s %s, on %s", text_of(o, "vip"), text_of(o, "name"), text_of(o, "mux"));
	muxes(t, json_object_get(o, "muxes"));
	table_cell(t, "table");
	if (!strcmp(verdict, "no-rule"))
		table_cell(t, "no rule is for it: dropped");
	else
		table_cell(t, "rule %lld, hash %08llx, bucket %lld%s", number_of(o, "rule") + 1, number_of(o, "hash"),
			   number_of(o, "bucket"), strcmp(verdict, "all-down") ? "" : "; all DIPs are down: dropped");
	if (!strcmp(verdict, "encap")) {
		table_cell(t, "DIP");
		table_cell(t, "%s", text_of(o, "dip"));
		if (json_object_get(o, "way-out"))
			ways(t, "fabric", json_object_get(o, "way-out"));
		table_cell(t, "host");
		if (*text_of(o, "host"))
			table_cell(t, "%s on %s%s%s", text_of(o, "host"), text_of(o, "switch"), *text_of(o, "host-state") ? ", " : "",
				   text_of(o, "host-state"));
		else
			table_cell(t, "no server of the topology");
		target(t, o);
	}
	table_print(t);
}

CTL_COMMAND(show_trace)
{
	char src[ADDR_STRLEN], dst[ADDR_STRLEN], path[512], *s, *d, *p;
	const char *proto = n > 2 ? args[2] : "tcp";
	uint16_t sport, dport;
	json_t *o;
	int ret;

	if (end_of(args[0], src, &sport) || end_of(args[1], dst, &dport))
		return CTL_USAGE;
	s = ctl_escape(src);
	d = ctl_escape(dst);
	p = ctl_escape(proto);
	snprintf(path, sizeof(path), "/v1/trace?src=%.100s&dst=%.100s&sport=%u&dport=%u&proto=%.64s", s, d, sport, dport, p);
	free(s);
	free(d);
	free(p);
	ret = ctl_get(c, path, &o);
	if (ret)
		return ctl_end(ret);
	print_trace(o, src, sport, dport, proto);
	json_decref(o);
	return CTL_OK;
}
