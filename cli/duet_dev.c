// SPDX-License-Identifier: GPL-2.0
/*
 * duet dev, duet port, duet stats: a device's settings, ports and counters.
 */
#include "duet.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


static json_t *tables_json(const struct duet_tables *t)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "vips", (json_int_t)t->vips, "rules", (json_int_t)t->rules,
			 "members", (json_int_t)t->members, "tunnels", (json_int_t)t->tunnels);
}

static json_t *flows_json(const struct duet_flows *f)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			 "max", (json_int_t)f->max, "rate", (json_int_t)f->rate,
			 "new", (json_int_t)f->timeout_new, "tcp", (json_int_t)f->timeout_tcp,
			 "fin", (json_int_t)f->timeout_fin, "other", (json_int_t)f->timeout_other,
			 "used", (json_int_t)f->used, "bytes", (json_int_t)f->bytes,
			 "hits", (json_int_t)f->hits, "added", (json_int_t)f->added,
			 "full", (json_int_t)f->full, "limited", (json_int_t)f->limited);
}

/* underlay_json - how outer packets leave */
static void underlay_json(const struct duet_dev *dev, json_t *json)
{
	char name[IF_NAMESIZE], tos[8];
	json_t *link = json_null();

	if (dev->link)
		link = if_indextoname(dev->link, name) ? json_string(name) : json_integer(dev->link);
	json_object_set_new(json, "link", link);
	json_object_set_new(json, "fwmark", json_integer(dev->mark));
	json_object_set_new(json, "tos", json_string(duet_tos_text(dev->tos, tos)));
	json_object_set_new(json, "spread", dev->spread4 < 32 ? json_integer(dev->spread4) : json_null());
}

static void print_underlay(const struct duet_dev *dev)
{
	char name[IF_NAMESIZE], tos[8];

	if (!dev->link && !dev->mark && dev->tos == DUET_TOS_INHERIT && dev->spread4 >= 32)
		return;
	printf("    tunnels");
	if (dev->link && if_indextoname(dev->link, name))
		printf(" link %s", name);
	else if (dev->link)
		printf(" link %u (deleted)", dev->link);
	if (dev->mark)
		printf(" fwmark 0x%x", dev->mark);
	if (dev->tos != DUET_TOS_INHERIT)
		printf(" tos %s", duet_tos_text(dev->tos, tos));
	if (dev->spread4 < 32)
		printf(" spread %u", dev->spread4);
	putchar('\n');
}

static json_t *dev_json(const struct duet_dev *dev)
{
	json_t *ports = json_array(), *json;
	char text[ADDR_STRLEN], print[KEY_FINGERPRINT];
	unsigned int i;

	for (i = 0; i < dev->n_ports; i++)
		json_array_append_new(ports, json_string(dev->ports[i].name));
	json = json_pack("{s:s, s:i, s:s, s:I}", "name", dev->name, "ifindex", dev->ifindex,
			 "mode", mode_name(dev->mode),
			 "generation", (json_int_t)dev->generation);
	for (i = 0; i < DUET_KEYS; i++)
		if (!i || !key_is_none(&dev->keys[i]))
			json_object_set_new(json, key_names[i], json_pack("{s:s, s:s}", "key", key_is_none(&dev->keys[i]) ?
					    "none" : "(hidden)", "fingerprint", key_fingerprint(&dev->keys[i], print)));
	json_object_set_new(json, "local", addr_is_none(&dev->local4) ? json_null() :
			    json_string(addr_str(&dev->local4, text)));
	json_object_set_new(json, "local6", addr_is_none(&dev->local6) ? json_null() :
			    json_string(addr_str(&dev->local6, text)));
	json_object_set_new(json, "keepalive_ms", json_integer(dev->keepalive_ms));
	underlay_json(dev, json);
	json_object_set_new(json, "ports", ports);
	json_object_set_new(json, "used", tables_json(&dev->used));
	json_object_set_new(json, "limits", tables_json(&dev->limits));
	json_object_set_new(json, "backends", json_pack("{s:I, s:I}", "used", (json_int_t)dev->used.backends,
							"limit", (json_int_t)dev->limits.backends));
	if (dev->mode == DUET_MODE_SMUX)
		json_object_set_new(json, "flows", flows_json(&dev->flows));
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
	char text[ADDR_STRLEN], print[KEY_FINGERPRINT];
	unsigned int i;

	printf("%s: %s local %s", dev->name, mode_name(dev->mode),
	       addr_is_none(&dev->local4) ? "none" : addr_str(&dev->local4, text));
	if (!addr_is_none(&dev->local6))
		printf(" %s", addr_str(&dev->local6, text));
	for (i = 0; i < DUET_KEYS; i++)
		if (!key_is_none(&dev->keys[i]))
			printf(" %s (hidden) fingerprint %s", key_names[i], key_fingerprint(&dev->keys[i], print));
		else if (!i)
			printf(" key none");
	printf(" generation %llu", (unsigned long long)dev->generation);
	if (dev->keepalive_ms)
		printf(" keepalive %u ms", dev->keepalive_ms);
	putchar('\n');
	print_underlay(dev);
	printf("    ports");
	for (i = 0; i < dev->n_ports; i++)
		printf(" %s", dev->ports[i].name);
	printf("%s\n    ", dev->n_ports ? "" : " none");
	print_table("vips", dev->used.vips, dev->limits.vips);
	print_table("  rules", dev->used.rules, dev->limits.rules);
	print_table("  members", dev->used.members, dev->limits.members);
	print_table("  tunnels", dev->used.tunnels, dev->limits.tunnels);
	print_table("  backends", dev->used.backends, dev->limits.backends);
	putchar('\n');
	if (dev->mode == DUET_MODE_SMUX && dev->flows.max)
		printf("    flows %u/%u  new %u s, tcp %u s, fin %u s, other %u s, rate %u  hits %llu added %llu full %llu limited %llu\n",
		       dev->flows.used, dev->flows.max, dev->flows.timeout_new, dev->flows.timeout_tcp,
		       dev->flows.timeout_fin, dev->flows.timeout_other, dev->flows.rate,
		       (unsigned long long)dev->flows.hits, (unsigned long long)dev->flows.added,
		       (unsigned long long)dev->flows.full, (unsigned long long)dev->flows.limited);
	else if (dev->mode == DUET_MODE_SMUX)
		puts("    flows off");
}

/* key_show - the key itself, for who asks for it by name */
static int key_show(struct cli *cli, const char *name, unsigned int key)
{
	char text[KEY_TEXT];
	struct duet_dev dev;
	struct err e;

	if (cli_open(cli, &e) || duet_nl_dev_get(cli->nl, name, &dev, &e))
		return cli_refused(&e, NULL);
	puts(key_is_none(&dev.keys[key]) ? "none" : key_text(&dev.keys[key], text));
	duet_dev_release(&dev);
	return EXIT_OK;
}

static int dev_show(struct cli *cli, int n, char **args)
{
	struct duet_dev *devs = NULL, one;
	json_t *json = json_array();
	unsigned int count = 0, i;
	struct err e;
	int ret;

	if (n == 2 && (!strcmp(args[1], "key") || !strcmp(args[1], "key1")))
		return key_show(cli, args[0], !!args[1][3]);
	if (n > 1)
		return cli_usage("dev show takes one device at most, and after it \"key\" or \"key1\"");
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

struct number {
	const char *key;
	uint32_t *value;
};

/* numbers_set - "KEY N ...", keys of those known, any of them; the others keep what they are */
static int numbers_set(int *n, char ***args, const struct number *known, size_t n_known, const char *usage)
{
	unsigned long value;
	int first = *n;
	size_t i;

	for (i = 0; i < n_known; i++)
		*known[i].value = DUET_LIMIT_KEEP;
	for (; *n >= 2; *n -= 2, *args += 2) {
		for (i = 0; i < n_known && strcmp((*args)[0], known[i].key); i++)
			;
		if (i == n_known)
			break;
		if (!cli_uint(known[i].key, (*args)[1], DUET_LIMIT_KEEP - 1, &value))
			return EXIT_USAGE;
		*known[i].value = value;
	}
	return *n == first ? cli_usage("%s", usage) : EXIT_OK;
}

static int limits_set(int *n, char ***args, struct duet_tables *limits)
{
	const struct number known[] = {
		{ "vips", &limits->vips },
		{ "rules", &limits->rules },
		{ "members", &limits->members },
		{ "tunnels", &limits->tunnels },
		{ "backends", &limits->backends },
	};

	return numbers_set(n, args, known, sizeof(known) / sizeof(known[0]),
			   "limits are vips N, rules N, members N, tunnels N or backends N; 0 is no limit");
}

static int flows_set(int *n, char ***args, struct duet_flows *f)
{
	const struct number known[] = {
		{ "max", &f->max }, { "rate", &f->rate }, { "new", &f->timeout_new },
		{ "tcp", &f->timeout_tcp }, { "fin", &f->timeout_fin }, { "other", &f->timeout_other },
	};

	return numbers_set(n, args, known, sizeof(known) / sizeof(known[0]),
			   "flows are max N, rate N, new S, tcp S, fin S or other S");
}

/* local_set - an address of either family, or none of both */
static int local_set(const char *text, struct duet_dev *dev, unsigned int *what)
{
	struct addr addr;

	if (!strcmp(text, "none")) {
		memset(&dev->local4, 0, sizeof(dev->local4));
		memset(&dev->local6, 0, sizeof(dev->local6));
		*what |= DUET_SET_LOCAL4 | DUET_SET_LOCAL6;
		return EXIT_OK;
	}
	if (!cli_addr(text, &addr))
		return EXIT_USAGE;
	if (addr_is_v4(&addr)) {
		dev->local4 = addr;
		*what |= DUET_SET_LOCAL4;
	} else {
		dev->local6 = addr;
		*what |= DUET_SET_LOCAL6;
	}
	return EXIT_OK;
}

/* underlay_set - one of link, fwmark, tos and spread; EXIT_OK, or what went wrong */
static int underlay_set(const char *key, const char *text, struct duet_dev *dev, unsigned int *what)
{
	bool none = !strcmp(text, "none");
	unsigned long value = 0;

	switch (key[0]) {
	case 'l':
		*what |= DUET_SET_LINK;
		dev->link = none ? 0 : if_nametoindex(text);
		return none || dev->link ? EXIT_OK : cli_usage("link: no network device %s here", text);
	case 'f':
		*what |= DUET_SET_MARK;
		if (!none && !cli_uint("fwmark", text, UINT32_MAX, &value))
			return EXIT_USAGE;
		dev->mark = value;
		return EXIT_OK;
	case 't':
		*what |= DUET_SET_TOS;
		return duet_tos_parse(text, &dev->tos) ? cli_usage("tos is inherit, or a number up to 0xfc whose lowest two bits (ECN) are 0, not \"%s\"", text) : EXIT_OK;
	default:
		*what |= DUET_SET_SPREAD;
		if (!none && (!cli_uint("spread", text, 32, &value) || value < DUET_SPREAD4_MIN))
			return none ? EXIT_OK : cli_usage("spread is none, or a prefix length from %d to 32, not \"%s\"", DUET_SPREAD4_MIN, text);
		dev->spread4 = none ? 32 : value;
		return EXIT_OK;
	}
}

/* key_set - FILE, "-", 32 hex digits, or "none"; file: only the first two */
static int key_set(const char *text, bool second, bool file, struct duet_dev *dev, unsigned int *what)
{
	struct secret *key = &dev->keys[second];
	struct err e;

	*what |= second ? DUET_SET_KEY1 : DUET_SET_KEY;
	if (!file && !strcmp(text, "none")) {
		*key = (struct secret){};
		return EXIT_OK;
	}
	return (file || key_parse(text, key)) && key_read(text, false, key, &e) ? cli_refused(&e, NULL) : EXIT_OK;
}

static int genkey(struct cli *cli, int n, char **args)
{
	char text[KEY_TEXT];
	struct secret key;
	struct stat st;

	if (n)
		return cli_usage("genkey takes nothing");
	if (key_make(&key))
		return cli_usage("genkey: no random numbers: %s", strerror(errno));
	if (!fstat(STDOUT_FILENO, &st) && S_ISREG(st.st_mode) && st.st_mode & 077)
		fprintf(stderr, "duet: warning: the file is open to others; run umask 077 first\n");
	puts(key_text(&key, text));
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
		if (!strcmp(key, "flows")) {
			n--, args++;
			ret = flows_set(&n, &args, &dev.flows);
			if (ret)
				return ret;
			what |= DUET_SET_FLOWS;
			continue;
		}
		if (n < 2)
			return cli_usage("dev set: \"%s\" needs a value", key);
		if (!strcmp(key, "mode")) {
			if (mode_parse(text, &dev.mode))
				return cli_usage("a mode is hmux or smux, not \"%s\"", text);
			what |= DUET_SET_MODE;
		} else if (!strcmp(key, "key") || !strcmp(key, "key1") || !strcmp(key, "key-file")) {
			ret = key_set(text, key[3] == '1', key[3] == '-', &dev, &what);
			if (ret)
				return ret;
		} else if (!strcmp(key, "seed")) {
			return cli_usage("dev set: the hash has a key of 128 bits and no seed: dev set %s key FILE; duet genkey makes one", name);
		} else if (!strcmp(key, "keepalive")) {
			if (!cli_uint("keepalive", text, UINT32_MAX, &value))
				return EXIT_USAGE;
			dev.keepalive_ms = value;
			what |= DUET_SET_KEEPALIVE;
		} else if (!strcmp(key, "local")) {
			ret = local_set(text, &dev, &what);
			if (ret)
				return ret;
		} else if (!strcmp(key, "link") || !strcmp(key, "fwmark") || !strcmp(key, "tos") || !strcmp(key, "spread")) {
			ret = underlay_set(key, text, &dev, &what);
			if (ret)
				return ret;
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

static int dev_add(struct cli *cli, int n, char **args)
{
	enum duet_mode mode = DUET_MODE_HMUX;
	struct err e;

	if ((n != 1 && n != 3) || (n == 3 && strcmp(args[1], "mode")))
		return cli_usage("dev add NAME [mode hmux|smux]");
	if (n == 3 && mode_parse(args[2], &mode))
		return cli_usage("a mode is hmux or smux, not \"%s\"", args[2]);
	return duet_nl_dev_add(args[0], mode, &e) ? cli_refused(&e, NULL) : EXIT_OK;
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
			table_cell(t, "%s%s", v > DUET_VERDICT_ENCAP && v != DUET_VERDICT_OUTER_ERROR ? "drop " : "",
				   verdict_name(v));
			table_cell(t, "%llu", (unsigned long long)dev.verdicts[v].packets);
			table_cell(t, "%llu", (unsigned long long)dev.verdicts[v].bytes);
		}
		table_print(t);
	}
	duet_dev_release(&dev);
	return EXIT_OK;
}

const struct command dev_commands[] = {
	{ "dev", "show", dev_show, "[DEV [key|key1]]" },
	{ "dev", "add", dev_add, "NAME [mode hmux|smux]" },
	{ "dev", "set", dev_set, "DEV [mode hmux|smux] [key FILE|-|HEX32|none] [key1 FILE|-|HEX32|none] [local ADDR|none] [link DEV|none] [fwmark N|none] [tos inherit|N] [spread LEN|none] [keepalive MS] [limits [vips N] [rules N] [members N] [tunnels N] [backends N]] [flows [max N] [rate N] [new S] [tcp S] [fin S] [other S]]" },
	{ "port", "add", port_add, "DEV PORT ..." },
	{ "port", "del", port_del, "DEV PORT ..." },
	{ "stats", NULL, stats, "DEV" },
	{ "genkey", NULL, genkey, "" },
	{}
};
