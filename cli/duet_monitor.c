// SPDX-License-Identifier: GPL-2.0
/*
 * duet monitor: changes as the kernel tells them, a line each.
 */
#include "duet.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/* event_name - of the command; table_name - of what is full */
static const char *event_name(enum duet_cmd cmd)
{
	return cmd == DUET_CMD_DEV_NTF ? "dev" : cmd == DUET_CMD_VIP_NTF ? "vip" :
	       cmd == DUET_CMD_DIP_NTF ? "dip" : "full";
}

static const char *table_name(uint32_t table)
{
	static const char *const names[] = { "flows", "vips", "rules", "members", "tunnels" };

	return table < sizeof(names) / sizeof(names[0]) ? names[table] : "?";
}

static json_t *event_json(const struct duet_event *ev)
{
	char text[ADDR_STRLEN], name[IF_NAMESIZE] = "";
	json_t *json = json_object();

	if (!ev->dev[0])
		if_indextoname(ev->ifindex, name);
	json_object_set_new(json, "event", json_string(event_name(ev->cmd)));
	json_object_set_new(json, "dev", json_string(ev->dev[0] ? ev->dev : name));
	json_object_set_new(json, "generation", json_integer(ev->generation));
	if (ev->deleted)
		json_object_set_new(json, "deleted", json_true());
	if (!addr_is_none(&ev->vip_addr))
		json_object_set_new(json, "vip", json_string(addr_str(&ev->vip_addr, text)));
	if (ev->cmd == DUET_CMD_VIP_NTF && !ev->deleted) {
		json_t *vip = vip_to_json(ev->vip, false);

		json_object_set(json, "rules", json_object_get(vip, "rules"));
		json_decref(vip);
	}
	if (ev->cmd == DUET_CMD_DIP_NTF) {
		json_object_set_new(json, "dip", json_string(addr_str(&ev->dip, text)));
		json_object_set_new(json, "state", json_string(dip_state_name(ev->state)));
	}
	if (ev->cmd == DUET_CMD_FULL_NTF)
		json_object_set_new(json, "table", json_string(table_name(ev->table)));
	return json;
}

static void event_text(const struct duet_event *ev)
{
	char name[IF_NAMESIZE] = "?", text[ADDR_STRLEN];
	unsigned int i, k;

	if (!ev->dev[0])
		if_indextoname(ev->ifindex, name);
	printf("%s generation %llu:", ev->dev[0] ? ev->dev : name, (unsigned long long)ev->generation);
	if (!addr_is_none(&ev->vip_addr))
		printf(" vip %s", addr_str(&ev->vip_addr, text));
	if (ev->cmd == DUET_CMD_DIP_NTF)
		printf(" dip %s %s", addr_str(&ev->dip, text), dip_state_name(ev->state));
	for (i = 0; ev->cmd == DUET_CMD_VIP_NTF && !ev->deleted && i < ev->vip->n_rules; i++)
		for (k = 0; k < ev->vip->rules[i].n_dips; k++)
			printf(" %s", addr_str(&ev->vip->rules[i].dips[k].addr, text));
	if (ev->cmd == DUET_CMD_FULL_NTF)
		printf(" table %s is full", table_name(ev->table));
	puts(ev->deleted ? " deleted" : ev->cmd == DUET_CMD_DEV_NTF ? " changed" : "");
}

static void print_event(const struct duet_event *ev, void *ctx)
{
	const struct cli *cli = ctx;

	if (cli->json) {
		json_t *json = event_json(ev);

		json_dumpf(json, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
		putchar('\n');
		json_decref(json);
	} else {
		event_text(ev);
	}
	fflush(stdout);
}

static int monitor(struct cli *cli, int n, char **args)
{
	struct err e;
	int fd, ret;

	if (n)
		return cli_usage("monitor takes nothing");
	if (cli_open(cli, &e))
		return cli_refused(&e, NULL);
	fd = duet_nl_events_fd(cli->nl, &e);
	if (fd < 0)
		return cli_refused(&e, NULL);
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return EXIT_REFUSED;
		ret = duet_nl_events_read(cli->nl, print_event, cli);
		if (ret == -ENOBUFS) {
			fputs("duet: events were lost\n", stderr);
		} else if (ret) {
			err_set(&e, ret, "monitor: %s", strerror(-ret));
			return cli_refused(&e, NULL);
		}
		if (ferror(stdout))
			return EXIT_OK;
	}
}

const struct command monitor_commands[] = {
	{ "monitor", NULL, monitor, "" },
	{}
};
