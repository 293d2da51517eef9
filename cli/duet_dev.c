// SPDX-License-Identifier: GPL-2.0
/*
 * duet dev, duet port, duet stats: a device's settings, ports and counters.
 */
#include "duet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *tables_json(const struct duet_tables *t)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "vips", (json_int_t)t->vips, "rules", (json_int_t)t->rules,
			 "members", (json_int_t)t->members, "tunnels", (json_int_t)t->tunnels);
}

static json_t *dev_json(const struct duet_dev *dev)
{
	json_t *ports = json_array(), *json;
	char text[ADDR_STRLEN];
	unsigned int i;

	for (i = 0; i < dev->n_ports; i++)
		json_array_append_new(ports, json_string(dev->ports[i].name));
	json = json_pack("{s:s, s:i, s:s, s:I, s:I}", "name", dev->name, "ifindex", dev->ifindex,
			 "mode", mode_name(dev->mode), "seed", (json_int_t)dev->seed,
			 "generation", (json_int_t)dev->generation);
	json_object_set_new(json, "local", addr_is_none(&dev->local4) ? json_null() :
			    json_string(addr_str(&dev->local4, text)));
	json_object_set_new(json, "ports", ports);
	json_object_set_new(json, "used", tables_json(&dev->used));
	json_object_set_new(json, "limits", tables_json(&dev->limits));
	return json;
}

static void print_table(const char *name, uint32_t used, uint32_t limit)
{
	if (limit)
		printf("%s %u/%u", name, used, limit);
	else
		printf("%s %u", name, used);
}

static void print_dev(const struct duet_dev *dev)
{
	char text[ADDR_STRLEN];
	unsigned int i;

	printf("%s: %s local %s seed %u generation %llu\n", dev->name, mode_name(dev->mode),
	       addr_is_none(&dev->local4) ? "none" : addr_str(&dev->local4, text), dev->seed,
	       (unsigned long long)dev->generation);
	printf("    ports");
	for (i = 0; i < dev->n_ports; i++)
		printf(" %s", dev->ports[i].name);
	printf("%s\n    ", dev->n_ports ? "" : " none");
	print_table("vips", dev->used.vips, dev->limits.vips);
	print_table("  rules", dev->used.rules, dev->limits.rules);
	print_table("  members", dev->used.members, dev->limits.members);
	print_table("  tunnels", dev->used.tunnels, dev->limits.tunnels);
	putchar('\n');
}

static int dev_show(struct cli *cli, int n, char **args)
{
	struct duet_dev *devs = NULL, one;
	json_t *json = json_array();
	unsigned int count = 0, i;
	struct err e;
	int ret;

	if (n > 1)
		return cli_usage("dev show takes one device at most");
	ret = cli_open(cli, &e);
	if (!ret && n) {
		ret = duet_nl_dev_get(cli->nl, args[0], &one, &e);
		devs = &one;
		count = 1;
	} else if (!ret) {
		ret = duet_nl_dev_dump(cli->nl, &devs, &count, &e);
	}
	if (ret) {
		json_decref(json);
		return cli_refused(&e, NULL);
	}
	for (i = 0; i < count; i++) {
		if (cli->json)
			json_array_append_new(json, dev_json(&devs[i]));
		else
			print_dev(&devs[i]);
		duet_dev_release(&devs[i]);
	}
	if (!n)
		free(devs);
	if (cli->json)
		out_json(json);
	else
		json_decref(json);
	return EXIT_OK;
}

/* limits_set - "vips N rules N members N tunnels N", any of them */
static int limits_set(int *n, char ***args, struct duet_tables *limits)
{
	int first = *n;

	limits->vips = limits->rules = limits->members = limits->tunnels = DUET_LIMIT_KEEP;
	for (; *n >= 2; *n -= 2, *args += 2) {
		const char *key = (*args)[0];
		unsigned long value;
		uint32_t *limit = !strcmp(key, "vips") ? &limits->vips :
				  !strcmp(key, "rules") ? &limits->rules :
				  !strcmp(key, "members") ? &limits->members :
				  !strcmp(key, "tunnels") ? &limits->tunnels : NULL;

		if (!limit)
			break;
		if (!cli_uint(key, (*args)[1], DUET_LIMIT_KEEP - 1, &value))
			return EXIT_USAGE;
		*limit = value;
	}
	if (*n == first)
		return cli_usage("limits are vips N, rules N, members N or tunnels N; 0 is no limit");
	return EXIT_OK;
}

static int dev_set(struct cli *cli, int n, char **args)
{
	struct duet_dev dev = {};
	unsigned int what = 0;
	unsigned long value;
	const char *name;
	struct err e;
	int ret;

	if (n < 3)
		return cli_usage("dev set DEV, then what to set");
	name = args[0];
	for (n--, args++; n;) {
		const char *key = args[0], *text = n > 1 ? args[1] : "";

		if (!strcmp(key, "limits")) {
			n--, args++;
			ret = limits_set(&n, &args, &dev.limits);
			if (ret)
				return ret;
			what |= DUET_SET_LIMITS;
			continue;
		}
		if (n < 2)
			return cli_usage("dev set: \"%s\" needs a value", key);
		if (!strcmp(key, "mode")) {
			if (mode_parse(text, &dev.mode))
				return cli_usage("a mode is hmux or smux, not \"%s\"", text);
			what |= DUET_SET_MODE;
		} else if (!strcmp(key, "seed")) {
			if (!cli_uint("seed", text, UINT32_MAX, &value))
				return EXIT_USAGE;
			dev.seed = value;
			what |= DUET_SET_SEED;
		} else if (!strcmp(key, "local")) {
			if (strcmp(text, "none") && (addr_parse(text, &dev.local4) || !addr_is_v4(&dev.local4)))
				return cli_usage("\"%s\" is no IPv4 address", text);
			what |= DUET_SET_LOCAL4;
		} else {
			return cli_usage("dev set: no setting \"%s\"", key);
		}
		n -= 2;
		args += 2;
	}
	if (cli_open(cli, &e) || duet_nl_dev_set(cli->nl, name, what, &dev, &e))
		return cli_refused(&e, NULL);
	return EXIT_OK;
}

static int port_change(struct cli *cli, int n, char **args, bool add)
{
	struct err e;

	if (n < 2)
		return cli_usage("port %s DEV PORT ...", add ? "add" : "del");
	if (cli_open(cli, &e))
		return cli_refused(&e, NULL);
	for (int i = 1; i < n; i++)
		if (duet_nl_port(cli->nl, args[0], args[i], add, &e))
			return cli_refused(&e, args[i]);
	return EXIT_OK;
}

static int port_add(struct cli *cli, int n, char **args)
{
	return port_change(cli, n, args, true);
}

static int port_del(struct cli *cli, int n, char **args)
{
	return port_change(cli, n, args, false);
}

static int stats(struct cli *cli, int n, char **args)
{
	struct duet_dev dev;
	struct table *t;
	struct err e;
	unsigned int v;

	if (n != 1)
		return cli_usage("stats DEV");
	if (cli_open(cli, &e) || duet_nl_dev_get(cli->nl, args[0], &dev, &e))
		return cli_refused(&e, NULL);
	if (cli->json) {
		json_t *verdicts = json_object();

		for (v = 0; v < __DUET_VERDICT_MAX; v++)
			json_object_set_new(verdicts, verdict_name(v),
					    json_pack("{s:I, s:I}", "packets", (json_int_t)dev.verdicts[v].packets,
						      "bytes", (json_int_t)dev.verdicts[v].bytes));
		out_json(json_pack("{s:s, s:o}", "name", dev.name, "verdicts", verdicts));
	} else {
		t = table_new("verdict", ">packets", ">bytes", NULL);
		for (v = 0; v < __DUET_VERDICT_MAX; v++) {
			table_cell(t, "%s%s", v > DUET_VERDICT_ENCAP ? "drop " : "", verdict_name(v));
			table_cell(t, "%llu", (unsigned long long)dev.verdicts[v].packets);
			table_cell(t, "%llu", (unsigned long long)dev.verdicts[v].bytes);
		}
		table_print(t);
	}
	duet_dev_release(&dev);
	return EXIT_OK;
}

const struct command dev_commands[] = {
	{ "dev", "show", dev_show, "[DEV]" },
	{ "dev", "set", dev_set, "DEV [mode hmux|smux] [seed N] [local ADDR|none] [limits [vips N] [rules N] [members N] [tunnels N]]" },
	{ "port", "add", port_add, "DEV PORT ..." },
	{ "port", "del", port_del, "DEV PORT ..." },
	{ "stats", NULL, stats, "DEV" },
	{}
};
