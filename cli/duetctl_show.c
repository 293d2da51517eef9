// SPDX-License-Identifier: GPL-2.0
/* duetctl's views: each a request and a table, or with -j the answer itself. */
#include "duetctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "out.h"

const char *text_of(json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

long long number_of(json_t *object, const char *key)
{
	json_t *v = json_object_get(object, key);

	return json_is_number(v) ? (long long)json_number_value(v) : 0;
}

/* get - 0 and the answer; -1: it has been printed as JSON; 1: failed */
static int get(const struct ctl *c, const char *path, json_t **answer)
{
	int ret = ctl_call(c, "GET", path, NULL, answer);

	if (ret || !c->json)
		return ret;
	out_json(*answer);
	return -1;
}

static int failed(int ret)
{
	return ret > 0;
}

/* joined - strings of a list, "-" if empty; to be used before the next call */
static const char *joined(json_t *list)
{
	static char buf[512];
	size_t i, n = 0;
	json_t *item;

	buf[0] = 0;
	json_array_foreach(list, i, item)
		if (n < sizeof(buf))
			n += snprintf(buf + n, sizeof(buf) - n, "%s%s", i ? " " : "", json_string_value(item));
	return buf[0] ? buf : "-";
}

static void clock_text(long long ms, char *buf, size_t size)
{
	time_t t = ms / 1000;
	struct tm tm;
	size_t n;

	localtime_r(&t, &tm);
	n = strftime(buf, size, "%F %T", &tm);
	snprintf(buf + n, size - n, ".%03d", (int)(ms % 1000));
}

int show_status(const struct ctl *c)
{
	json_t *s, *o, *item;
	size_t i;
	int ret = get(c, "/v1/status", &s);

	if (ret)
		return failed(ret);
	printf("%s at %s, version %s, epoch %lld\n", text_of(s, "name"), c->url,
	       text_of(s, "version"), number_of(s, "epoch"));
	o = json_object_get(s, "vips");
	printf("VIPs   %lld: %lld on HMuxes, %lld on SMuxes, %lld moving (aggregate %s)\n",
	       number_of(o, "total"), number_of(o, "on-hmux"), number_of(o, "on-smux"),
	       number_of(o, "moving"), text_of(s, "aggregate"));
	o = json_object_get(s, "dips");
	printf("DIPs   %lld: %lld down\n", number_of(o, "total"), number_of(o, "down"));
	o = json_object_get(s, "muxes");
	printf("muxes  %lld: %lld in sync, %lld syncing, %lld unreachable, %lld refusing\n",
	       number_of(o, "total"), number_of(o, "in-sync"), number_of(o, "syncing"),
	       number_of(o, "unreachable"), number_of(o, "refusing"));
	o = json_object_get(s, "hosts");
	printf("hosts  %lld: %lld told, %lld silent\n", number_of(o, "total"),
	       number_of(o, "told"), number_of(o, "silent"));
	o = json_object_get(s, "faults");
	if (!json_array_size(o))
		puts("all is well");
	json_array_foreach(o, i, item)
		printf("fault: %s\n", json_string_value(item));
	json_decref(s);
	return 0;
}

int show_vips(const struct ctl *c)
{
	struct table *t;
	json_t *s, *v, *r;
	size_t i, k;
	int ret = get(c, "/v1/vips", &s);

	if (ret)
		return failed(ret);
	t = table_new("VIP", "NAME", ">RULES", ">DIPS", ">DOWN", ">MBPS", "ON", "STATE", "EXPORTED BY", NULL);
	json_array_foreach(json_object_get(s, "vips"), i, v) {
		json_t *status = json_object_get(v, "status"), *rules = json_object_get(v, "rules");
		size_t dips = 0;

		json_array_foreach(rules, k, r)
			dips += json_array_size(json_object_get(r, "dips"));
		table_cell(t, "%s", text_of(v, "vip"));
		table_cell(t, "%s", text_of(v, "name"));
		table_cell(t, "%zu", json_array_size(rules));
		table_cell(t, "%zu", dips);
		table_cell(t, "%zu", json_array_size(json_object_get(status, "down")));
		table_cell(t, "%lld", number_of(json_object_get(v, "traffic"), "mbps"));
		table_cell(t, "%s", text_of(status, "mux"));
		table_cell(t, "%s", text_of(status, "state"));
		table_cell(t, "%s", joined(json_object_get(status, "exported-by")));
	}
	table_print(t);
	json_decref(s);
	return 0;
}

/* dip_state - of a DIP in a VIP's view: what the operator said, then health */
static const char *dip_state(json_t *vip, json_t *dip, size_t rule, const char **why)
{
	json_t *d;
	size_t i;

	*why = "";
	if (!strcmp(text_of(dip, "state"), "down")) {
		*why = "taken out by its definition";
		return "down";
	}
	json_array_foreach(json_object_get(json_object_get(vip, "status"), "down"), i, d) {
		if (strcmp(text_of(d, "dip"), text_of(dip, "address")) || number_of(d, "rule") != (long long)rule)
			continue;
		*why = text_of(d, "reason");
		return "down";
	}
	return "up";
}

static void rule_text(json_t *rule, char *buf, size_t size)
{
	json_t *port = json_object_get(rule, "port"), *proto = json_object_get(rule, "proto");
	const char *name = json_is_string(proto) ? json_string_value(proto) : "any";

	if (json_is_integer(proto))
		snprintf(buf, size, "protocol %lld", (long long)json_integer_value(proto));
	else if (json_is_integer(port))
		snprintf(buf, size, "%s %lld", name, (long long)json_integer_value(port));
	else
		snprintf(buf, size, "%s%s%s", name, json_is_string(port) ? " " : "", json_is_string(port) ?
			 json_string_value(port) : "");
}

static void dip_rows(struct table *t, json_t *vip)
{
	json_t *rule, *dip;
	size_t r, i;

	json_array_foreach(json_object_get(vip, "rules"), r, rule) {
		char text[64];

		rule_text(rule, text, sizeof(text));
		json_array_foreach(json_object_get(rule, "dips"), i, dip) {
			const char *why, *state = dip_state(vip, dip, r, &why);

			table_cell(t, "%s", text_of(vip, "vip"));
			table_cell(t, "%s", text);
			table_cell(t, "%s", text_of(dip, "address"));
			table_cell(t, "%lld", json_object_get(dip, "weight") ? number_of(dip, "weight") : 1);
			table_cell(t, "%s", state);
			table_cell(t, "%s", why);
		}
	}
}

int show_dips(const struct ctl *c)
{
	struct table *t;
	json_t *s, *v;
	size_t i;
	int ret = get(c, "/v1/vips", &s);

	if (ret)
		return failed(ret);
	t = table_new("VIP", "RULE", "DIP", ">WEIGHT", "STATE", "WHY", NULL);
	json_array_foreach(json_object_get(s, "vips"), i, v)
		dip_rows(t, v);
	table_print(t);
	json_decref(s);
	return 0;
}

int show_vip(const struct ctl *c, const char *vip)
{
	char path[256], *escaped = ctl_escape(vip);
	struct table *t;
	json_t *v, *status, *mru;
	int ret;

	snprintf(path, sizeof(path), "/v1/vips/%.200s", escaped);
	free(escaped);
	ret = get(c, path, &v);
	if (ret)
		return failed(ret);
	status = json_object_get(v, "status");
	mru = json_object_get(status, "mru");
	printf("VIP %s %s\n", text_of(v, "vip"), text_of(v, "name"));
	printf("on       %s (%s)", text_of(status, "mux"), text_of(status, "state"));
	if (strcmp(text_of(status, "mux"), text_of(status, "wanted")))
		printf(", going to %s", text_of(status, "wanted"));
	printf("\nbecause  %s", text_of(status, "reason"));
	if (json_is_real(mru))
		printf(", MRU %.3f", json_real_value(mru));
	printf("\nexported %s\n\n", joined(json_object_get(status, "exported-by")));
	t = table_new("VIP", "RULE", "DIP", ">WEIGHT", "STATE", "WHY", NULL);
	dip_rows(t, v);
	table_print(t);
	json_decref(v);
	return 0;
}

int show_muxes(const struct ctl *c)
{
	struct table *t;
	json_t *s, *m;
	size_t i;
	int ret = get(c, "/v1/muxes", &s);

	if (ret)
		return failed(ret);
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
	return 0;
}

int show_hosts(const struct ctl *c)
{
	struct table *t;
	json_t *s, *h, *d;
	size_t i, k;
	int ret = get(c, "/v1/hosts", &s);

	if (ret)
		return failed(ret);
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
	return 0;
}

void print_plan(json_t *list)
{
	struct table *t = table_new("VIP", "NAME", "ON", ">MRU", "BECAUSE", NULL);
	json_t *v, *mru;
	size_t i;

	json_array_foreach(list, i, v) {
		mru = json_object_get(v, "mru");
		table_cell(t, "%s", text_of(v, "vip"));
		table_cell(t, "%s", text_of(v, "name"));
		table_cell(t, "%s", text_of(v, "mux"));
		if (json_is_number(mru))
			table_cell(t, "%.3f", json_number_value(mru));
		else
			table_cell(t, "-");
		table_cell(t, "%s", text_of(v, "reason"));
	}
	table_print(t);
}

int show_assignment(const struct ctl *c)
{
	json_t *s;
	int ret = get(c, "/v1/assignment", &s);

	if (ret)
		return failed(ret);
	print_plan(json_object_get(s, "assignment"));
	json_decref(s);
	return 0;
}

int show_moves(const struct ctl *c)
{
	char path[64], when[48];
	struct table *t;
	json_t *s, *m;
	size_t i;
	int ret;

	snprintf(path, sizeof(path), "/v1/moves?limit=%u", c->limit);
	ret = get(c, path, &s);
	if (ret)
		return failed(ret);
	t = table_new(">MOVE", ">WAVE", "SINCE", "VIP", "KIND", "FROM", "TO", "STATE", ">MS", "NOTE", NULL);
	json_array_foreach(json_object_get(s, "moves"), i, m) {
		clock_text(number_of(m, "created-ms"), when, sizeof(when));
		table_cell(t, "%lld", number_of(m, "id"));
		table_cell(t, "%lld", number_of(m, "wave"));
		table_cell(t, "%s", when);
		table_cell(t, "%s", text_of(m, "vip"));
		table_cell(t, "%s", text_of(m, "kind"));
		table_cell(t, "%s", text_of(m, "from"));
		table_cell(t, "%s", text_of(m, "to"));
		table_cell(t, "%s", text_of(m, "state"));
		table_cell(t, "%lld", number_of(m, "changed-ms") - number_of(m, "created-ms"));
		table_cell(t, "%s", text_of(m, "note"));
	}
	table_print(t);
	json_decref(s);
	return 0;
}

int show_events(const struct ctl *c)
{
	char path[64], when[48];
	struct table *t;
	json_t *s, *e;
	size_t i;
	int ret;

	snprintf(path, sizeof(path), "/v1/events?limit=%u", c->limit);
	ret = get(c, path, &s);
	if (ret)
		return failed(ret);
	t = table_new("TIME", "EVENT", "OF", "WHAT", NULL);
	json_array_foreach(json_object_get(s, "events"), i, e) {
		clock_text(number_of(e, "at-ms"), when, sizeof(when));
		table_cell(t, "%s", when);
		table_cell(t, "%s", text_of(e, "kind"));
		table_cell(t, "%s", text_of(e, "subject"));
		table_cell(t, "%s", text_of(e, "text"));
	}
	table_print(t);
	json_decref(s);
	return 0;
}

int show_topology(const struct ctl *c)
{
	json_t *s, *o;
	struct table *t;
	size_t i;
	int ret = get(c, "/v1/topology", &s);

	if (ret)
		return failed(ret);
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
	return 0;
}
