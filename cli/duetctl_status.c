// SPDX-License-Identifier: GPL-2.0
/* duetctl status and explain: what is wrong, since when, and what to do. */
#include "duetctl.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fault_code.h"
#include "out.h"

/* duration_text - "3 min" of milliseconds, in one unit */
static const char *duration_text(long long ms, char buf[32])
{
	static const struct {
		long long s;
		const char *unit;
	} units[] = { { 86400, "days" }, { 3600, "h" }, { 60, "min" }, { 0, "s" } };
	long long s = ms > 0 ? ms / 1000 : 0;
	unsigned int i = 0;

	while (units[i].s && s < 2 * units[i].s)
		i++;
	snprintf(buf, 32, "%lld %s", units[i].s ? s / units[i].s : s, units[i].unit);
	return buf;
}

static void print_faults(const struct ctl *c, json_t *status)
{
	json_t *list = json_object_get(status, "faults"), *counts = json_object_get(status, "fault-counts"), *f;
	long long now = (long long)time(NULL) * 1000, all = number_of(counts, "fault") + number_of(counts, "warning");
	char since[32];
	size_t i;

	if (!all)
		puts("all is well");
	json_array_foreach(list, i, f) {
		printf("%-7s  %s: %s (for %s)\n", text_of(f, "severity"), text_of(f, "code"), text_of(f, "sentence"),
		       duration_text(now - number_of(f, "since-ms"), since));
		if (c->verbose)
			printf("         %s\n", text_of(f, "remedy"));
	}
	if (all > (long long)json_array_size(list))
		printf("and %lld more of the same codes\n", all - (long long)json_array_size(list));
	if (all && !c->verbose)
		puts("what to do: duetctl status --verbose, or duetctl explain CODE");
}

static void print_counts(const struct ctl *c, json_t *s)
{
	json_t *vips = json_object_get(s, "vips"), *dips = json_object_get(s, "dips"), *muxes = json_object_get(s, "muxes");
	json_t *hosts = json_object_get(s, "hosts");

	printf("%s at %s, version %s, epoch %lld\n", text_of(s, "name"), c->url, text_of(s, "version"), number_of(s, "epoch"));
	printf("VIPs   %lld: %lld on HMuxes, %lld on SMuxes, %lld moving (aggregate %s)\n", number_of(vips, "total"),
	       number_of(vips, "on-hmux"), number_of(vips, "on-smux"), number_of(vips, "moving"), text_of(s, "aggregate"));
	printf("DIPs   %lld: %lld down\n", number_of(dips, "total"), number_of(dips, "down"));
	printf("muxes  %lld: %lld in sync, %lld syncing, %lld unreachable, %lld refusing\n", number_of(muxes, "total"),
	       number_of(muxes, "in-sync"), number_of(muxes, "syncing"), number_of(muxes, "unreachable"), number_of(muxes, "refusing"));
	printf("hosts  %lld: %lld told, %lld silent\n", number_of(hosts, "total"), number_of(hosts, "told"), number_of(hosts, "silent"));
}

CTL_COMMAND(show_status)
{
	json_t *s, *counts;
	int ret;

	if (c->wait) {
		fputs("duetctl: status has no --watch; duetctl events --watch shows faults as they come and go\n", stderr);
		return CTL_STATUS_USAGE;
	}
	ret = ctl_call(c, "GET", "/v1/status", NULL, &s);
	if (ret)
		return ret == CTL_REFUSED ? CTL_STATUS_REFUSED : ret;
	counts = json_object_get(s, "fault-counts");
	ret = number_of(counts, "fault") ? CTL_STATUS_FAULTS : number_of(counts, "warning") ? CTL_STATUS_WARNINGS : CTL_OK;
	if (c->json) {
		out_json(s);
	} else {
		print_faults(c, s);
		print_counts(c, s);
	}
	json_decref(s);
	return ret;
}

static json_t *info_json(const struct fault_info *info)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "code", info->code, "severity", fault_severity_name(info->severity),
			 "meaning", info->what, "hurts", info->hurts, "remedy", info->remedy, "over-when", info->over);
}

static void print_info(const struct fault_info *info)
{
	printf("%s (%s)\n", info->code, fault_severity_name(info->severity));
	printf("  what it means  %s\n  what it hurts  %s\n  what to do     %s\n  over when      %s\n", info->what, info->hurts, info->remedy,
	       info->over);
}

static int explain_all(const struct ctl *c)
{
	json_t *list = json_array();
	enum fault_code code;
	struct table *t;

	for (code = 0; code < FAULT_CODES; code++)
		json_array_append_new(list, info_json(&fault_infos[code]));
	if (c->json) {
		out_json(list);
		json_decref(list);
		return CTL_OK;
	}
	json_decref(list);
	t = table_new("CODE", "SEVERITY", "WHAT IT MEANS", NULL);
	for (code = 0; code < FAULT_CODES; code++) {
		table_cell(t, "%s", fault_infos[code].code);
		table_cell(t, "%s", fault_severity_name(fault_infos[code].severity));
		table_cell(t, "%s", fault_infos[code].what);
	}
	table_print(t);
	return CTL_OK;
}

CTL_COMMAND(show_explain)
{
	enum fault_code code;
	json_t *o;

	if (!n)
		return explain_all(c);
	code = fault_find(args[0]);
	if (code == FAULT_CODES) {
		fprintf(stderr, "duetctl: there is no fault \"%s\"; duetctl explain lists all\n", args[0]);
		return CTL_REFUSED;
	}
	if (!c->json) {
		print_info(&fault_infos[code]);
		return CTL_OK;
	}
	o = info_json(&fault_infos[code]);
	out_json(o);
	json_decref(o);
	return CTL_OK;
}
