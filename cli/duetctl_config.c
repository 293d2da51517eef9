// SPDX-License-Identifier: GPL-2.0
/*
 * The configuration as a whole: what is exported can be applied, and what
 * would change is told first by diff. The controller says what differs; how
 * is found out here, member by member, DIPs by their addresses.
 */
#include "duetctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "out.h"

CTL_COMMAND(config_export)
{
	json_t *config;
	int ret = ctl_call(c, "GET", "/v1/config", NULL, &config);

	if (!ret)
		out_json(config);
	return ret;
}

/* load - the file's JSON, or NULL after a sentence with the place */
static json_t *load(const char *file)
{
	json_error_t error;
	json_t *config;

	if (!strcmp(file, "-"))
		config = json_loadf(stdin, JSON_REJECT_DUPLICATES, &error);
	else
		config = json_load_file(file, JSON_REJECT_DUPLICATES, &error);
	if (!config && error.line > 0)
		fprintf(stderr, "duetctl: %s:%d:%d: %s\n", file, error.line, error.column, error.text);
	else if (!config)
		fprintf(stderr, "duetctl: %s\n", error.text);
	return config;
}

/* flatten - "rules[1].dips[10.1.1.1].weight": value, of every leaf */
static void flatten(json_t *value, const char *path, json_t *leaves)
{
	char at[512];
	const char *key;
	json_t *v;
	size_t i;

	json_object_foreach(value, key, v) {
		if (!strcmp(key, "vip") || !strcmp(key, "address"))
			continue;
		snprintf(at, sizeof(at), "%.400s%s%.100s", path, *path ? "." : "", key);
		flatten(v, at, leaves);
	}
	json_array_foreach(value, i, v) {
		if (*text_of(v, "address"))
			snprintf(at, sizeof(at), "%.400s[%.64s]", path, text_of(v, "address"));
		else
			snprintf(at, sizeof(at), "%.400s[%zu]", path, i + 1);
		if (*text_of(v, "address"))
			json_object_set_new(leaves, at, json_null()); /* it is there */
		flatten(v, at, leaves);
	}
	if (!json_is_object(value) && !json_is_array(value))
		json_object_set(leaves, path, value);
}

static void print_leaf(char sign, const char *path, json_t *value)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY);

	printf("  %c %s%s%s\n", sign, path, json_is_null(value) ? "" : ": ", json_is_null(value) || !text ? "" : text);
	free(text);
}

static void print_change(json_t *change)
{
	json_t *old = json_object(), *new = json_object(), *value;
	const char *path, *what = text_of(change, "vip");
	bool had = json_is_object(json_object_get(change, "old")), has = json_is_object(json_object_get(change, "new"));
	bool told = false;

	flatten(json_object_get(change, "old"), "", old);
	flatten(json_object_get(change, "new"), "", new);
	printf("%s %s%s%s\n", !had ? "+" : !has ? "-" : "~", *what ? "VIP " : "settings", what,
	       !had ? " is added" : !has ? " is removed" : "");
	json_object_foreach(old, path, value)
		if (!json_equal(value, json_object_get(new, path))) {
			print_leaf('-', path, value);
			told = true;
		}
	json_object_foreach(new, path, value)
		if (!json_equal(value, json_object_get(old, path))) {
			print_leaf('+', path, value);
			told = true;
		}
	if (!told)
		puts("  ~ the order of its DIPs");
	json_decref(old);
	json_decref(new);
}

/* diff - CTL_OK and the number of changes, which are printed */
static int diff(const struct ctl *c, size_t *n)
{
	json_t *config = load(c->file), *answer, *change;
	size_t i;
	int ret;

	if (!config)
		return CTL_REFUSED;
	ret = ctl_call(c, "POST", "/v1/config/diff", config, &answer);
	if (ret)
		return ret;
	*n = json_array_size(json_object_get(answer, "changes"));
	if (!c->json)
		json_array_foreach(json_object_get(answer, "changes"), i, change)
			print_change(change);
	else
		out_json(json_incref(answer));
	json_decref(answer);
	return CTL_OK;
}

CTL_COMMAND(config_diff)
{
	size_t changes = 0;
	int ret = diff(c, &changes);

	return ret ? ret : changes ? CTL_REFUSED : CTL_OK;
}

CTL_COMMAND(config_apply)
{
	json_t *config, *answer;
	size_t changes;
	int ret;

	if (c->dry_run)
		return diff(c, &changes);
	config = load(c->file);
	if (!config)
		return CTL_REFUSED;
	ret = ctl_call(c, "PUT", "/v1/config", config, &answer);
	if (ret)
		return ret;
	if (!c->json)
		printf("%zu VIPs added, %zu changed, %zu removed, %lld unchanged%s\n",
		       json_array_size(json_object_get(answer, "added")), json_array_size(json_object_get(answer, "changed")),
		       json_array_size(json_object_get(answer, "removed")), number_of(answer, "unchanged"),
		       json_is_true(json_object_get(answer, "settings-changed")) ? "; settings changed" : "");
	return ctl_follow(c, answer);
}
