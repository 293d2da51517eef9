// SPDX-License-Identifier: GPL-2.0
/* duetctl's views: each a request and a table, or with -j the answer itself. */
#include "duetctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "out.h"

CTL_COMMAND(show_vips)
{
	struct table *t;
	json_t *s, *v, *r;
	size_t i, k;
	int ret = ctl_get_list(c, "/v1/vips", "vips", 0, &s);

	if (ret)
		return ctl_end(ret);
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
	return CTL_OK;
}

/* print_delivery - what hosts do with its packets; nothing: they are the VIP's own */
static void print_delivery(json_t *delivery)
{
	json_t *ports = json_object_get(delivery, "ports"), *list, *item;
	const char *dip, *sep = ": ";
	size_t i;

	if (!delivery)
		return;
	printf("delivery %s", text_of(delivery, "type"));
	json_array_foreach(ports, i, item) {
		long long port = number_of(item, "port");

		printf("%s%s %lld to %lld", sep, text_of(item, "proto"), port, json_object_get(item, "to") ? number_of(item, "to") : port);
		sep = ", ";
	}
	putchar('\n');
	json_object_foreach(json_object_get(delivery, "targets"), dip, list) {
		printf("behind   %s:", dip);
		json_array_foreach(list, i, item) {
			printf(" %s", text_of(item, "address"));
			if (json_object_get(item, "weight"))
				printf(":%lld", number_of(item, "weight"));
		}
		putchar('\n');
	}
}

CTL_COMMAND(show_vip)
{
	json_t *v, *status, *mru;
	char path[256];
	int ret = ctl_get(c, ctl_path(path, sizeof(path), "/v1/vips/%s", args[0]), &v);

	if (ret)
		return ctl_end(ret);
	status = json_object_get(v, "status");
	mru = json_object_get(status, "mru");
	printf("VIP %s %s\n", text_of(v, "vip"), text_of(v, "name"));
	printf("on       %s (%s)", text_of(status, "mux"), text_of(status, "state"));
	if (strcmp(text_of(status, "mux"), text_of(status, "wanted")))
		printf(", going to %s", text_of(status, "wanted"));
	printf("\nbecause  %s", text_of(status, "reason"));
	if (json_is_real(mru))
		printf(", MRU %.3f", json_real_value(mru));
	if (*text_of(status, "health") && strcmp(text_of(status, "health"), "normal"))
		printf("\nhealth   %s", text_of(status, "health"));
	printf("\nexported %s\n", joined(json_object_get(status, "exported-by")));
	print_delivery(json_object_get(v, "delivery"));
	if (json_is_object(json_object_get(status, "snat"))) {
		json_t *snat = json_object_get(status, "snat");

		printf("SNAT     ports %lld-%lld in blocks of %lld, at most %lld a host\n", number_of(snat, "first"),
		       number_of(snat, "last"), number_of(snat, "block"), number_of(snat, "max_blocks"));
	}
	putchar('\n');
	json_decref(v);
	return print_dips(c, args[0]);
}

const struct ctl_column plan_columns[] = {
	{ "VIP", "vip" }, { "NAME", "name" }, { "ON", "mux" }, { ">MRU", "mru", COLUMN_SHARE }, { "BECAUSE", "reason" }, {}
};

CTL_COMMAND(show_assignment)
{
	return show_list(c, "/v1/assignment", "assignment", 0, plan_columns);
}

CTL_COMMAND(show_moves)
{
	static const struct ctl_column columns[] = {
		{ ">MOVE", "id", COLUMN_NUMBER }, { ">WAVE", "wave", COLUMN_NUMBER }, { "SINCE", "created-ms", COLUMN_CLOCK },
		{ "VIP", "vip" }, { "KIND", "kind" }, { "FROM", "from" }, { "TO", "to" }, { "STATE", "state" },
		{ ">MS", "ms", COLUMN_NUMBER }, { "NOTE", "note" }, {}
	};
	json_t *answer, *m;
	size_t i;
	int ret = ctl_get_list(c, "/v1/moves", "moves", c->limit, &answer);

	if (ret)
		return ctl_end(ret);
	json_array_foreach(json_object_get(answer, "moves"), i, m)
		json_object_set_new(m, "ms", json_integer(number_of(m, "changed-ms") - number_of(m, "created-ms")));
	print_list(json_object_get(answer, "moves"), columns);
	json_decref(answer);
	return CTL_OK;
}

CTL_COMMAND(show_move)
{
	char path[256], when[48];
	json_t *m;
	int ret = ctl_get(c, ctl_path(path, sizeof(path), "/v1/moves/%s", args[0]), &m);

	if (ret)
		return ctl_end(ret);
	clock_text(number_of(m, "created-ms"), when, sizeof(when));
	printf("move %lld of VIP %s (%s), wave %lld: %s to %s\n", number_of(m, "id"), text_of(m, "vip"), text_of(m, "kind"),
	       number_of(m, "wave"), text_of(m, "from"), text_of(m, "to"));
	printf("since    %s\n%s   %s, in %lld ms\n", when, json_is_true(json_object_get(m, "over")) ? "over " : "state",
	       text_of(m, "state"), number_of(m, "changed-ms") - number_of(m, "created-ms"));
	if (*text_of(m, "note"))
		printf("note     %s\n", text_of(m, "note"));
	json_decref(m);
	return CTL_OK;
}
