// SPDX-License-Identifier: GPL-2.0
/*
 * duet flow: what the flow table of an smux remembers.
 */
#include "duet.h"

#include <stdio.h>
#include <string.h>

/* filter - "[vip VIP] [dip DIP]"; false after printing what is wrong */
static bool filter(int n, char **args, struct addr *vip, struct addr *dip)
{
	memset(vip, 0, sizeof(*vip));
	memset(dip, 0, sizeof(*dip));
	for (; n >= 2; n -= 2, args += 2) {
		if (strcmp(args[0], "vip") && strcmp(args[0], "dip"))
			break;
		if (!cli_addr(args[1], strcmp(args[0], "vip") ? dip : vip))
			return false;
	}
	if (n)
		cli_usage("\"%s\" isn't vip VIP or dip DIP", args[0]);
	return !n;
}

static const struct addr *given(const struct addr *a)
{
	return addr_is_none(a) ? NULL : a;
}

struct shown {
	json_t *json;		/* or NULL: the table */
	struct table *t;
};

static const char *endpoint(const struct addr *a, uint16_t port, char *buf, size_t size)
{
	char text[ADDR_STRLEN];

	snprintf(buf, size, addr_is_v4(a) ? "%s:%u" : "[%s]:%u", addr_str(a, text), port);
	return buf;
}

static void show_one(const struct duet_kept *kept, void *ctx)
{
	static const char *const states[] = {
		[DUET_FLOW_NEW] = "new", [DUET_FLOW_OPEN] = "open", [DUET_FLOW_CLOSING] = "closing",
	};
	const char *state = (unsigned int)kept->state < 3 ? states[kept->state] : "?";
	char src[ADDR_STRLEN + 8], dst[ADDR_STRLEN + 8], dip[ADDR_STRLEN], proto[8];
	struct shown *s = ctx;

	endpoint(&kept->flow.src, kept->flow.sport, src, sizeof(src));
	endpoint(&kept->flow.dst, kept->flow.dport, dst, sizeof(dst));
	addr_str(&kept->dip, dip);
	if (s->json) {
		json_array_append_new(s->json, json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:I}",
			"proto", proto_name(kept->flow.proto, proto), "src", src, "dst", dst,
			"dip", dip, "state", state, "kept", kept->kept, "idle", (json_int_t)kept->idle));
		return;
	}
	table_cell(s->t, "%s", proto_name(kept->flow.proto, proto));
	table_cell(s->t, "%s", src);
	table_cell(s->t, "%s", dst);
	table_cell(s->t, "%s", dip);
	table_cell(s->t, "%s%s", state, kept->kept ? "" : ", on probation");
	table_cell(s->t, "%u", kept->idle);
}

static int flow_show(struct cli *cli, int n, char **args)
{
	struct shown s = {};
	struct addr vip, dip;
	struct err e;

	if (n < 1)
		return cli_usage("flow show DEV [vip VIP] [dip DIP]");
	if (!filter(n - 1, args + 1, &vip, &dip))
		return EXIT_USAGE;
	if (cli->json)
		s.json = json_array();
	else
		s.t = table_new("proto", "client", "vip", "dip", "state", ">idle", NULL);
	if (cli_open(cli, &e) ||
	    duet_nl_flows(cli->nl, args[0], given(&vip), given(&dip), show_one, &s, &e))
		return cli_refused(&e, NULL);
	if (cli->json)
		out_json(s.json);
	else
		table_print(s.t);
	return EXIT_OK;
}

static int flow_flush(struct cli *cli, int n, char **args)
{
	struct addr vip, dip;
	struct err e;

	if (n < 1)
		return cli_usage("flow flush DEV [vip VIP] [dip DIP]");
	if (!filter(n - 1, args + 1, &vip, &dip))
		return EXIT_USAGE;
	if (cli_open(cli, &e) || duet_nl_flow_flush(cli->nl, args[0], given(&vip), given(&dip), &e))
		return cli_refused(&e, NULL);
	return EXIT_OK;
}

const struct command flow_commands[] = {
	{ "flow", "show", flow_show, "DEV [vip VIP] [dip DIP]" },
	{ "flow", "flush", flow_flush, "DEV [vip VIP] [dip DIP]" },
	{}
};
