// SPDX-License-Identifier: GPL-2.0
/* duetctl's view of SNAT ports: what each VIP has, and which host has how many of them. */
#include "duetctl.h"

#include <stdio.h>

#include "out.h"

CTL_COMMAND(show_snat)
{
	static const struct ctl_column pools[] = {
		{ "VIP", "vip" }, { "PORTS", "range" }, { ">BLOCK", "block", COLUMN_LIMIT }, { ">HELD", "held", COLUMN_NUMBER },
		{ ">LEAVING", "leaving", COLUMN_NUMBER }, { ">QUARANTINED", "quarantined", COLUMN_NUMBER },
		{ ">FREE", "free", COLUMN_NUMBER }, { ">HOSTS", "hosts", COLUMN_COUNT }, { ">WITHOUT", "hosts-without", COLUMN_NUMBER },
		{ ">WANTING", "hosts-wanting", COLUMN_NUMBER }, {}
	};
	static const struct ctl_column columns[] = {
		{ "VIP", "vip" }, { "HOST", "host" }, { ">BLOCKS", "blocks", COLUMN_NUMBER }, { ">PORTS", "ports", COLUMN_NUMBER },
		{ ">USED", "used", COLUMN_NUMBER }, { ">BUSIEST", "busiest", COLUMN_NUMBER }, { ">OF", "fit", COLUMN_LIMIT },
		{ "LOW", "low", COLUMN_YES }, {}
	};
	json_t *answer, *list, *hosts = json_array(), *p, *h;
	size_t i, k;
	int ret = ctl_list(c, "/v1/snat", "snat", 0, &answer);

	if (ret || c->json) {
		json_decref(hosts);
		if (!ret)
			out_json(answer);
		return ret;
	}
	list = json_object_get(answer, "snat");
	json_array_foreach(list, i, p) {
		if (number_of(p, "first"))
			json_object_set_new(p, "range", json_sprintf("%lld-%lld", number_of(p, "first"), number_of(p, "last")));
		json_array_foreach(json_object_get(p, "hosts"), k, h) {
			json_object_set(h, "vip", json_object_get(p, "vip"));
			json_array_append(hosts, h);
		}
	}
	print_list(list, pools);
	putchar('\n');
	print_list(hosts, columns);
	json_decref(hosts);
	json_decref(answer);
	return CTL_OK;
}
