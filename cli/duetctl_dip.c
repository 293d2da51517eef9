// SPDX-License-Identifier: GPL-2.0
/* duetctl dip: DIPs with their states, and what an operator does to one. */
#include "duetctl.h"

#include <stdio.h>
#include <string.h>

#include "out.h"

/* dip_path - "/v1/vips/VIP/dips/DIP" and what follows */
static const char *dip_path(char *buf, size_t size, char **args, const char *rest)
{
	char vip[160];

	ctl_path(vip, sizeof(vip) - 32, "/v1/vips/%s", args[0]);
	snprintf(vip + strlen(vip), sizeof(vip) - strlen(vip), "/dips/%%s%s", rest);
	return ctl_path(buf, size, vip, args[1]);
}

/* print_dips - of one VIP, or of all (NULL) */
int print_dips(const struct ctl *c, const char *vip)
{
	static const struct ctl_column columns[] = {
		{ "VIP", "vip" }, { "RULE", "match" }, { "DIP", "dip" }, { "HOST", "host" }, { ">WEIGHT", "weight", COLUMN_NUMBER },
		{ "STATE", "state" }, { "TABLE", "table" }, { "SINCE", "since-ms", COLUMN_CLOCK }, { "WHY", "reason" }, {}
	};
	char path[256];

	return show_list(c, vip ? ctl_path(path, sizeof(path), "/v1/dips?vip=%s", vip) : "/v1/dips", "dips", 0, columns);
}

CTL_COMMAND(show_dips)
{
	return print_dips(c, n ? args[0] : NULL);
}

CTL_COMMAND(change_dip_release)
{
	json_t *answer;
	char path[256];
	int ret = ctl_call(c, "DELETE", dip_path(path, sizeof(path), args, "/damping"), NULL, &answer);

	if (ret)
		return ret;
	if (c->json)
		out_json(json_incref(answer));
	else if (number_of(answer, "released"))
		printf("DIP %s of VIP %s is damped no more\n", args[1], args[0]);
	else
		printf("DIP %s of VIP %s was not damped\n", args[1], args[0]);
	json_decref(answer);
	return CTL_OK;
}
