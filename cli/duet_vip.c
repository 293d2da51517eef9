// SPDX-License-Identifier: GPL-2.0
/*
 * duet vip, duet dip, duet trace: what is balanced, and onto what.
 */
#include "duet.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_vip(const struct vip *vip)
{
	char text[ADDR_STRLEN], port[16], proto[8];
	unsigned int i, k;

	printf("%s%s  packets %llu bytes %llu\n", addr_str(&vip->addr, text), vip->policy.key ? "  key 1" : "",
	       (unsigned long long)vip->stats.packets, (unsigned long long)vip->stats.bytes);
	for (i = 0; i < vip->n_rules; i++) {
		const struct vip_rule *r = &vip->rules[i];
		struct table *t = table_new("    dip", ">weight", "state", ">buckets", ">packets", ">bytes", NULL);

		if (r->port && r->port != r->port_last)
			snprintf(port, sizeof(port), "%u-%u", r->port, r->port_last);
		else if (r->port)
			snprintf(port, sizeof(port), "%u", r->port);
		else
			strcpy(port, "any");
		printf("  %s port %s fields %s buckets %u digest %016llx%s\n", proto_name(r->proto, proto), port,
		       fields_name(r->fields), r->buckets, (unsigned long long)r->digest,
		       r->shared ? " counters shared" : "");
		for (k = 0; k < r->n_dips; k++) {
			const struct vip_dip *d = &r->dips[k];

			table_cell(t, "    %s", addr_str(&d->addr, text));
			table_cell(t, "%u", d->weight);
			table_cell(t, "%s", dip_state_name(d->state));
			table_cell(t, "%u", d->buckets);
			table_cell(t, "%llu", (unsigned long long)d->stats.packets);
			table_cell(t, "%llu", (unsigned long long)d->stats.bytes);
		}
		table_print(t);
	}
}

static int vip_show(struct cli *cli, int n, char **args)
{
	struct vip **vips = NULL, *one = NULL;
	unsigned int count = 0, i;
	struct addr addr;
	json_t *json;
	struct err e;
	int ret;

	if (n < 1 || n > 2)
		return cli_usage("vip show DEV [VIP]");
	if (n == 2 && !cli_addr(args[1], &addr))
		return EXIT_USAGE;
	ret = cli_open(cli, &e);
	if (!ret && n == 2) {
		ret = duet_nl_vip_get(cli->nl, args[0], &addr, &one, &e);
		vips = &one;
		count = 1;
	} else if (!ret) {
		ret = duet_nl_vip_dump(cli->nl, args[0], &vips, &count, NULL, &e);
	}
	if (ret)
		return cli_refused(&e, n == 2 ? args[1] : NULL);
	json = json_array();
	for (i = 0; i < count; i++) {
		if (cli->json)
			json_array_append_new(json, vip_to_json(vips[i], true));
		else
			print_vip(vips[i]);
		vip_free(vips[i]);
	}
	if (n == 1)
		free(vips);
	if (cli->json)
		out_json(json);
	else
		json_decref(json);
	return EXIT_OK;
}

/* vip_file - {"vips": [...]}, a list of VIPs or one VIP; - is stdin */
static int vip_file(const char *file, json_t **out, struct err *e)
{
	json_error_t error;
	json_t *json = strcmp(file, "-") ? json_load_file(file, JSON_REJECT_DUPLICATES, &error) :
					   json_loadf(stdin, JSON_REJECT_DUPLICATES, &error);
	json_t *vips;

	if (!json && error.line < 0)
		return err_set(e, -EINVAL, "%s", error.text);
	if (!json)
		return err_set(e, -EINVAL, "%s:%d: %s", file, error.line, error.text);
	if (json_is_array(json)) {
		*out = json;
		return 0;
	}
	vips = json_object_get(json, "vips");
	if (json_is_array(vips)) {
		*out = json_incref(vips);
		json_decref(json);
		return 0;
	}
	*out = json_pack("[o]", json);
	return 0;
}

/* dip_arg - "10.1.1.1" or "10.1.1.1:3"; NULL after printing what is wrong */
static json_t *dip_arg(const char *text)
{
	const char *colon = strrchr(text, ':');
	unsigned long weight = 1;

	if (colon && strchr(text, ':') != colon)
		colon = NULL;	/* an IPv6 address */
	if (colon && !cli_uint("a weight", colon + 1, UINT16_MAX, &weight))
		return NULL;
	return json_pack("{s:s%, s:i}", "address", text, colon ? (size_t)(colon - text) : strlen(text),
			 "weight", (int)weight);
}

/* vip_args - "[kind K] [fragments F] [oversize O] [all-down A] [key 0|1] [proto P]
 * [port N[-M]] [fields F] dip ADDR[:WEIGHT] ..." as JSON;
 * NULL after printing what is wrong
 */
static json_t *vip_args(const char *vip, int n, char **args)
{
	json_t *dips = json_array(), *rule = json_pack("{s:o}", "dips", dips), *dip;
	json_t *json = json_pack("{s:s, s:[o]}", "vip", vip, "rules", rule);
	static const struct {
		const char *word, *key;
		bool rule;
	} keys[] = {
		{ "kind", "kind", false }, { "fragments", "fragments", false },
		{ "oversize", "oversize", false }, { "all-down", "all_down", false }, { "key", "key", false },
		{ "proto", "proto", true }, { "port", "port", true }, { "fields", "fields", true },
	};
	unsigned int i;

	for (; n && strcmp(args[0], "dip"); n -= 2, args += 2) {
		for (i = 0; i < sizeof(keys) / sizeof(keys[0]) && strcmp(args[0], keys[i].word); i++)
			;
		if (n < 2 || i == sizeof(keys) / sizeof(keys[0])) {
			cli_usage("vip set: \"%s\" isn't proto P, port N, fields F, kind K, fragments F, oversize O, all-down A, key 0|1 or dip ADDR[:WEIGHT] ...",
				  args[0]);
			goto err_free;
		}
		json_object_set_new(keys[i].rule ? rule : json, keys[i].key,
				    !strcmp(args[0], "key") && strlen(args[1]) == 1 ? json_integer(args[1][0] - '0') :
										      json_string(args[1]));
	}
	if (n < 2) {
		cli_usage("vip set: which DIPs? dip ADDR[:WEIGHT] ...");
		goto err_free;
	}
	for (n--, args++; n; n--, args++) {
		dip = dip_arg(args[0]);
		if (!dip)
			goto err_free;
		json_array_append_new(dips, dip);
	}
	return json_pack("[o]", json);

err_free:
	json_decref(json);
	return NULL;
}

static int vip_cmp(const void *a, const void *b)
{
	return addr_cmp(&(*(struct vip *const *)a)->addr, &(*(struct vip *const *)b)->addr);
}

/* vip_apply - every VIP is checked before the first is sent */
static int vip_apply(struct cli *cli, const char *dev, json_t *list, struct err *e)
{
	size_t n = json_array_size(list), i, refused = 0;
	struct duet_op *ops = calloc(n ?: 1, sizeof(*ops));
	struct vip **vips = calloc(n ?: 1, sizeof(struct vip *));
	char text[ADDR_STRLEN];
	int ret = -ENOMEM;

	if (!ops || !vips) {
		err_set(e, ret, "no memory");
		goto out;
	}
	for (i = 0; i < n; i++) {
		ret = vip_from_json(json_array_get(list, i), &vips[i], e);
		if (ret)
			goto out;
	}
	qsort(vips, n, sizeof(struct vip *), vip_cmp);
	for (i = 0; i < n; i++) {
		if (i && !vip_cmp(&vips[i - 1], &vips[i])) {
			ret = err_set(e, -EINVAL, "VIP %s is there twice", addr_str(&vips[i]->addr, text));
			goto out;
		}
		ops[i].op = DUET_OP_VIP_SET;
		ops[i].vip = vips[i];
	}
	ret = cli_open(cli, e);
	if (!ret)
		ret = duet_nl_batch(cli->nl, dev, ops, n, e);
	for (i = 0; !ret && i < n; i++) {
		if (!ops[i].result)
			continue;
		if (refused++)
			fprintf(stderr, "duet: %s\n", e->text);
		err_set(e, 0, "VIP %s: %s", addr_str(&vips[i]->addr, text), ops[i].why);
	}
	if (refused)
		ret = -EINVAL;
out:
	for (i = 0; vips && i < n; i++)
		vip_free(vips[i]);
	free(vips);
	free(ops);
	return ret;
}

static int vip_set(struct cli *cli, int n, char **args)
{
	json_t *list = NULL;
	struct err e;
	int ret;

	if (n < 3)
		return cli_usage("vip set DEV -f FILE, or DEV VIP ... dip ADDR ...");
	if (!strcmp(args[1], "-f")) {
		if (vip_file(args[2], &list, &e))
			return cli_refused(&e, NULL);
	} else {
		list = vip_args(args[1], n - 2, args + 2);
		if (!list)
			return EXIT_USAGE;
	}
	ret = vip_apply(cli, args[0], list, &e);
	json_decref(list);
	return ret ? cli_refused(&e, NULL) : EXIT_OK;
}

static int vip_del(struct cli *cli, int n, char **args)
{
	struct addr addr;
	struct err e;
	bool all;
	int ret;

	if (n != 2)
		return cli_usage("vip del DEV VIP|all");
	all = !strcmp(args[1], "all");
	if (!all && !cli_addr(args[1], &addr))
		return EXIT_USAGE;
	ret = cli_open(cli, &e);
	if (!ret)
		ret = all ? duet_nl_vip_flush(cli->nl, args[0], &e) :
			    duet_nl_vip_del(cli->nl, args[0], &addr, &e);
	return ret ? cli_refused(&e, all ? NULL : args[1]) : EXIT_OK;
}

static int dip_set(struct cli *cli, int n, char **args)
{
	enum duet_dip_state state;
	struct addr dip, vip;
	struct err e;

	if (n != 3 && !(n == 5 && !strcmp(args[3], "vip")))
		return cli_usage("dip set DEV DIP up|down|drain [vip VIP]");
	if (!cli_addr(args[1], &dip) || (n == 5 && !cli_addr(args[4], &vip)))
		return EXIT_USAGE;
	if (dip_state_parse(args[2], &state))
		return cli_usage("a state is up, down or drain, not \"%s\"", args[2]);
	if (cli_open(cli, &e) ||
	    duet_nl_dip_set(cli->nl, args[0], n == 5 ? &vip : NULL, &dip, state, &e))
		return cli_refused(&e, NULL);
	return EXIT_OK;
}

/* endpoint - "10.1.1.1:80" or "10.1.1.1" */
static bool endpoint(const char *text, struct addr *a, uint16_t *port)
{
	*port = 0;
	return !addr_parse(text, a) || !addr_port_parse(text, a, port);
}

static int trace(struct cli *cli, int n, char **args)
{
	struct duet_trace t;
	struct duet_flow flow = { .proto = IPPROTO_TCP };
	char vip[ADDR_STRLEN], dip[ADDR_STRLEN];
	struct err e;
	bool chosen;

	if (n < 3 || n > 4)
		return cli_usage("trace DEV SRC[:PORT] DST[:PORT] [PROTO]");
	if (!endpoint(args[1], &flow.src, &flow.sport) || !endpoint(args[2], &flow.dst, &flow.dport))
		return cli_usage("\"%s\" or \"%s\" is no ADDR[:PORT]", args[1], args[2]);
	if (n == 4 && (proto_parse(args[3], &flow.proto) || !flow.proto))
		return cli_usage("\"%s\" is no protocol", args[3]);
	if (cli_open(cli, &e) || duet_nl_trace(cli->nl, args[0], &flow, &t, &e))
		return cli_refused(&e, NULL);
	chosen = t.verdict == DUET_VERDICT_ENCAP && t.vip && t.vip->n_rules && t.vip->rules[0].n_dips;
	if (t.vip)
		addr_str(&t.vip->addr, vip);
	if (chosen)
		addr_str(&t.vip->rules[0].dips[0].addr, dip);
	if (cli->json) {
		json_t *json = json_pack("{s:s}", "verdict", verdict_name(t.verdict));

		if (t.vip)
			json_object_set_new(json, "vip", json_string(vip));
		if (chosen) {
			json_object_set_new(json, "dip", json_string(dip));
			json_object_set_new(json, "kept", json_boolean(t.kept));
			if (!t.kept) {
				json_object_set_new(json, "hash", json_integer(t.hash));
				json_object_set_new(json, "bucket", json_integer(t.bucket));
			}
		}
		out_json(json);
	} else if (chosen && t.kept) {
		printf("%s -> %s (kept by the flow table)\n", vip, dip);
	} else if (chosen) {
		printf("%s -> %s (hash %08x, bucket %u of %u)\n", vip, dip, t.hash, t.bucket, t.vip->rules[0].buckets);
	} else if (t.vip) {
		printf("%s: dropped, %s\n", vip, verdict_name(t.verdict));
	} else {
		puts("of no VIP: passes");
	}
	vip_free(t.vip);
	return EXIT_OK;
}

const struct command vip_commands[] = {
	{ "vip", "show", vip_show, "DEV [VIP]" },
	{ "vip", "set", vip_set, "DEV -f FILE|-  |  DEV VIP [kind vip|tip] [fragments drop|hash] [oversize fragment|refuse] [all-down drop|reject|pass] [key 0|1] [proto P] [port N[-M]] [fields 5tuple|src-port|src] dip ADDR[:WEIGHT] ..." },
	{ "vip", "del", vip_del, "DEV VIP|all" },
	{ "dip", "set", dip_set, "DEV DIP up|down|drain [vip VIP]" },
	{ "trace", NULL, trace, "DEV SRC[:PORT] DST[:PORT] [PROTO]" },
	{}
};
