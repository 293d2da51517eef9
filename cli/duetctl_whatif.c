// SPDX-License-Identifier: GPL-2.0
/* duetctl whatif: words to a question, and what the controller's plan for it would change. */
#include "duetctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "out.h"

static int wrong(const char *what, const char *word)
{
	fprintf(stderr, "duetctl: whatif: %s %s\n", what, word);
	return CTL_USAGE;
}

/* vip_word - "2000" (Mbps), "x2", "gone"; new reference, NULL: none of them */
static json_t *vip_word(const char *word)
{
	double value;
	char *end;

	if (!strcmp(word, "gone"))
		return json_null();
	value = strtod(word + (*word == 'x'), &end);
	if (end == word + (*word == 'x') || *end || !(value >= 0))
		return NULL;
	return json_pack("{s:f}", *word == 'x' ? "factor" : "mbps", value);
}

/* question - the words as the body of a request */
static int question(int n, char **args, json_t *body)
{
	json_t *without = json_object_get(body, "without"), *vips = json_object_get(body, "vips"), *what;
	int i = 0;

	while (i < n) {
		if (i + 1 < n && (!strcmp(args[i], "switch") || !strcmp(args[i], "smux"))) {
			json_array_append_new(without, json_string(args[i + 1]));
			i += 2;
		} else if (i + 2 < n && !strcmp(args[i], "vip")) {
			what = vip_word(args[i + 2]);
			if (!what)
				return wrong("what a VIP may have is MBPS, xFACTOR or gone, not", args[i + 2]);
			json_object_set_new(vips, args[i + 1], what);
			i += 3;
		} else {
			return wrong("switch NAME, smux NAME, or vip VIP MBPS|xFACTOR|gone, not", args[i]);
		}
	}
	return CTL_OK;
}

static const struct ctl_column move_columns[] = {
	{ "VIP", "vip" }, { "NAME", "name" }, { ">MBPS", "mbps", COLUMN_NUMBER }, { "FROM", "from" }, { "TO", "to" },
	{ ">MRU", "mru", COLUMN_SHARE }, { "BECAUSE", "reason" }, {}
};
static const struct ctl_column none_columns[] = {
	{ "VIP", "vip" }, { "NAME", "name" }, { ">MBPS", "mbps", COLUMN_NUMBER }, { "BECAUSE", "reason" }, {}
};

static void print_smuxes(json_t *s)
{
	json_t *mbps = json_object_get(s, "mbps");

	printf("SMuxes   %lld of %lld left", number_of(s, "left"), number_of(s, "total"));
	if (json_is_number(mbps))
		printf(", which carry %.0f Mbps", json_number_value(mbps));
	printf("; rest on them: %.0f Mbps before, %.0f after; fall to them at first: %.0f%s\n",
	       json_number_value(json_object_get(s, "before-mbps")), json_number_value(json_object_get(s, "after-mbps")),
	       json_number_value(json_object_get(s, "falls-mbps")),
	       json_is_true(json_object_get(s, "enough")) ? "" : ": MORE THAN THEY CARRY");
}

static void print_answer(json_t *a)
{
	json_t *before = json_object_get(a, "before"), *after = json_object_get(a, "after");
	json_t *moves = json_object_get(a, "moves"), *none = json_object_get(a, "without-hmux");

	printf("MRU      %.3f before (%s), %.3f after (%s)\n", json_number_value(json_object_get(before, "mru")),
	       text_of(before, "most-used"), json_number_value(json_object_get(after, "mru")), text_of(after, "most-used"));
	print_smuxes(json_object_get(a, "smuxes"));
	printf("moves    %zu\nno HMux  %zu\n", json_array_size(moves), json_array_size(none));
	if (json_array_size(moves)) {
		puts("\nVIPs that would move:");
		print_list(moves, move_columns);
	}
	if (json_array_size(none)) {
		puts("\nVIPs that would have no HMux:");
		print_list(none, none_columns);
	}
}

CTL_COMMAND(show_whatif)
{
	json_t *body = json_pack("{s:[], s:{}}", "without", "vips"), *answer;
	int ret = question(n, args, body);

	if (ret) {
		json_decref(body);
		return ret;
	}
	ret = ctl_call(c, "POST", "/v1/what-if", body, &answer);
	if (ret)
		return ret;
	if (!c->json)
		print_answer(answer);
	else
		out_json(json_incref(answer));
	json_decref(answer);
	return CTL_OK;
}
