// SPDX-License-Identifier: GPL-2.0
/* duetctl dip: DIPs with their states, and what an operator does to one. */
#include "duetctl.h"

#include <stdio.h>
#include <stdlib.h>
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

/* put_dip - a change of a DIP; what follows from it is waited for with --wait */
static int put_dip(const struct ctl *c, char **args, json_t *body, const char *done, const char *unchanged)
{
	json_t *answer;
	char path[256];
	int ret;

	if (c->force)
		json_object_set_new(body, "force", json_true());
	ret = ctl_call(c, "PUT", dip_path(path, sizeof(path), args, ""), body, &answer);
	if (ret)
		return ret;
	if (!c->json)
		printf("DIP %s of VIP %s %s\n", args[1], args[0],
		       json_is_false(json_object_get(answer, "changed")) ? unchanged : done);
	return ctl_follow(c, answer);
}

CTL_COMMAND(change_dip_drain)
{
	return put_dip(c, args, json_pack("{s:s}", "state", "drain"), "gets no new connections", "is drained already");
}

CTL_COMMAND(change_dip_down)
{
	return put_dip(c, args, json_pack("{s:s}", "state", "down"), "is taken out", "is taken out already");
}

CTL_COMMAND(change_dip_up)
{
	return put_dip(c, args, json_pack("{s:s}", "state", "up"), "is used again if its health allows",
		       "was neither drained nor taken out by an operator");
}

CTL_COMMAND(change_dip_weight)
{
	char *end;
	long weight = strtol(args[2], &end, 10);

	if (*end || end == args[2]) {
		fprintf(stderr, "duetctl: %s is no weight: a whole number from 0 to 65535\n", args[2]);
		return CTL_USAGE;
	}
	return put_dip(c, args, json_pack("{s:I}", "weight", (json_int_t)weight), "has another weight in the definition", "");
}

static int drain_host(const struct ctl *c, const char *method, char **args, const char *sentence)
{
	json_t *answer, *body = NULL;
	char path[256];
	int ret;

	if (c->force)
		body = json_pack("{s:b}", "force", 1);
	ret = ctl_call(c, method, ctl_path(path, sizeof(path), "/v1/drains/host/%s", args[0]), body, &answer);
	if (ret)
		return ret;
	if (!c->json)
		printf("host %s: %s\n", args[0], sentence);
	return ctl_follow(c, answer);
}

CTL_COMMAND(change_host_drain)
{
	return drain_host(c, "PUT", args, "its DIPs get no new connections, also those of VIPs to come");
}

CTL_COMMAND(change_host_undrain)
{
	return drain_host(c, "DELETE", args, "its DIPs are used again if their health allows");
}
