// SPDX-License-Identifier: GPL-2.0
/* duetctl key: which VIPs choose by which key of the hash, and its rotation. */
#include "duetctl.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "out.h"

#define POLL_MS 100

static void print_key(json_t *k)
{
	json_t *names = json_object_get(k, "names");
	long long more = number_of(k, "vips") - (long long)json_array_size(names);

	printf("key %lld    fingerprint %s, %lld VIPs%s\n", number_of(k, "slot"), text_of(k, "fingerprint"), number_of(k, "vips"),
	       json_is_true(json_object_get(k, "current")) ? ", for new VIPs" : "");
	if (json_array_size(names))
		printf("         %s", joined(names));
	if (more > 0)
		printf(" and %lld more", more);
	if (json_array_size(names))
		putchar('\n');
}

static void print_state(json_t *s)
{
	char since[32];

	printf("rotation %s%s", text_of(s, "state"), json_is_true(json_object_get(s, "aborted")) ? ", aborted" : "");
	if (json_object_get(s, "begun-ms")) {
		clock_text(number_of(s, "begun-ms"), since, sizeof(since));
		printf(", since %s", since);
	}
	putchar('\n');
}

CTL_COMMAND(show_key)
{
	json_t *s, *o;
	size_t i;
	int ret = ctl_get(c, "/v1/key", &s);

	if (ret)
		return ctl_end(ret);
	print_state(s);
	json_array_foreach(json_object_get(s, "keys"), i, o)
		print_key(o);
	json_array_foreach(json_object_get(s, "changing"), i, o)
		printf("VIP %s changes: move %lld is %s%s%s\n", text_of(o, "vip"), number_of(o, "move"), text_of(o, "state"),
		       *text_of(o, "note") ? ": " : "", text_of(o, "note"));
	json_array_foreach(json_object_get(s, "waiting"), i, o)
		printf("waits for %s %s: %s\n", text_of(o, "kind"), text_of(o, "name"), text_of(o, "why"));
	if (number_of(s, "waiting-total") > (long long)i)
		printf("waits for %lld more\n", number_of(s, "waiting-total") - (long long)i);
	json_decref(s);
	return CTL_OK;
}

/* late - the sentence for a rotation that isn't settled at the deadline */
static void late(const struct ctl *c, json_t *s)
{
	json_t *o = json_array_get(json_object_get(s, "waiting"), 0);

	fprintf(stderr, "duetctl: the rotation is still %s after %u s", text_of(s, "state"), c->timeout_s);
	if (o)
		fprintf(stderr, "; it waits for %s %s: %s", text_of(o, "kind"), text_of(o, "name"), text_of(o, "why"));
	fputs("; it continues: duetctl key show\n", stderr);
}

/* wait_settled - until no rotation is under way; prints each phase */
static int wait_settled(const struct ctl *c)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000 };
	unsigned long long deadline = mono_ms() + c->timeout_s * 1000ull;
	char last[32] = "";
	json_t *s;
	int ret;

	for (;;) {
		bool settled;

		ret = ctl_call(c, "GET", "/v1/key", NULL, &s);
		if (ret)
			return ret;
		settled = !strcmp(text_of(s, "state"), "settled");
		if (!c->json && strcmp(last, text_of(s, "state")))
			print_state(s);
		snprintf(last, sizeof(last), "%s", text_of(s, "state"));
		ret = settled ? CTL_OK : CTL_REFUSED;
		if (settled && c->json)
			out_json(json_incref(s));
		if (!settled && mono_ms() > deadline)
			late(c, s);
		json_decref(s);
		if (settled || mono_ms() > deadline)
			return ret;
		nanosleep(&pause, NULL);
	}
}

CTL_COMMAND(change_key)
{
	json_t *s;
	int ret = ctl_call(c, c->abort ? "DELETE" : "POST", "/v1/key/rotate", c->abort ? NULL : json_object(), &s);

	if (ret)
		return ret;
	if (c->json && !c->wait)
		out_json(json_incref(s));
	else if (!c->json && !c->wait)
		puts(c->abort ? "the rotation is turned back: duetctl key show" : "the rotation is under way: duetctl key show");
	json_decref(s);
	return c->wait ? wait_settled(c) : CTL_OK;
}
